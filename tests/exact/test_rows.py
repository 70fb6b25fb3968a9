"""Rows of different lengths run together as each of them alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import checkpoints
from pellucid.base.errors import PellucidError
from pellucid.exact.cache import ModelCache
from pellucid.exact.model import Model
from pellucid.exact.rows import Rows

TEXTS = ["w3 w1 w4", "w5 w9 w2 w6 w5 w3", "w8"]


@pytest.fixture(scope="module")
def model() -> Model:
    return checkpoints.random_model(2, n_embd=15, n_head=3, n_inner=7, n_layer=2)[0]


def check_rows(found: Tensor, model: Model, texts: list[str]) -> None:
    """Each row ends with the logits of its text alone, and has NaN in front."""
    for row, text in zip(found, texts, strict=True):
        alone = model.logits(text)[0]
        torch.testing.assert_close(row[-len(alone) :], alone, rtol=1e-5, atol=1e-5)
        assert bool(row[: -len(alone)].isnan().all())


def test_texts_of_any_lengths_have_the_logits_that_they_have_alone(model: Model) -> None:
    check_rows(model.logits(TEXTS), model, TEXTS)
    check_rows(model(TEXTS), model, TEXTS)
    assert torch.equal(model.logits(TEXTS[0]), model.logits(model.ids(TEXTS[0])))
    same = model.logits([TEXTS[0], "w1 w2 w3"])
    assert torch.equal(same, model.logits(torch.tensor([[3, 1, 4], [1, 2, 3]])))


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_mask_says_where_padding_is(model: Model, side: str) -> None:
    ids = torch.full((3, 8), 7)
    mask = torch.zeros(3, 8, dtype=torch.long)
    for row, text in enumerate(TEXTS):
        own = model.ids(text)[0]
        at = slice(8 - len(own), 8) if side == "left" else slice(0, len(own))
        ids[row, at], mask[row, at] = own, 1
    check_rows(model.logits(ids, mask), model, TEXTS)
    mask[1, 3 if side == "right" else 5] = 0
    with pytest.raises(PellucidError, match="leaves out tokens between others"):
        model.logits(ids, mask)
    with pytest.raises(PellucidError, match="there is a prompt without tokens"):
        model.logits(ids, mask * 0)
    with pytest.raises(PellucidError, match=r"shape \[3, 8\] and their mask \[3, 7\]"):
        model.logits(ids, mask[:, 1:])


def test_padding_is_looked_at_by_nobody_and_looks_at_nothing(model: Model) -> None:
    rows = model.rows(TEXTS)
    assert (rows.lengths, len(rows.groups)) == ([3, 6, 1], 3)
    pattern = model.run(rows.ids, ("L01.pattern",), pads=rows.pads)["L01.pattern"]
    assert float(pattern[0, :, :, :3].abs().max()) == 0
    assert float(pattern[0, :, :3].abs().max()) == 0
    torch.testing.assert_close(pattern[0, :, 3:].sum(-1), torch.ones(3, 3))
    noise = Rows(rows.ids + (~rows.mask) * 9, rows.pads)
    torch.testing.assert_close(model.logits(noise), model.logits(rows), equal_nan=True)


def test_a_cache_goes_on_behind_padding(model: Model) -> None:
    rows = model.rows(TEXTS)
    first = ModelCache().grown(4)
    model.run(rows.ids[:, :4], ("final",), cache=first, pads=rows.pads)
    found = model.run(rows.ids[:, 4:], ("logits",), cache=first.grown(2), pads=rows.pads)["logits"]
    torch.testing.assert_close(found[:, -1], model.logits(TEXTS)[:, -1], rtol=1e-4, atol=1e-5)


def test_groups_are_cut_out_and_put_back(model: Model) -> None:
    rows = model.rows(TEXTS)
    x = torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    axes = ("batch", "head", "query", "key")
    for group, length in zip(rows.groups, (6, 3, 1), strict=True):
        own = group.cut(x, axes)
        assert own.shape == (1, 2, length, length)
        assert torch.equal(group.put(x, axes, own), x)
        assert float((group.put(x, axes, own + 1) - x).sum()) == pytest.approx(own.numel(), rel=1e-4)
    assert [row.tolist() for row in rows.apart()] == [[3, 1, 4], [5, 9, 2, 6, 5, 3], [8]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ([], "there is no prompt"),
        (["w1", 3], "3 is no prompt"),
        (torch.zeros(3), r"token ids have shape \[3\] of float32"),
        (torch.zeros(0, 2, dtype=torch.long), r"token ids have shape \[0, 2\]"),
    ],
)
def test_what_is_no_text_is_named(model: Model, text: object, message: str) -> None:
    with pytest.raises(PellucidError, match=message):
        model.rows(text)
