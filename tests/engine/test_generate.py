"""Generating with changes and recording is one run over the whole text with the same changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

import checkpoints
from pellucid import ablate, generate, means, patch, replace, steer, trace
from pellucid.base.errors import PellucidError
from pellucid.engine.intervene import Change
from pellucid.engine.subjects import Subject
from pellucid.exact.graph import Edit
from pellucid.exact.model import Model

PROMPT, LENGTH, MORE = "w3 w1 w4 w6", 4, 7
NAMES = ["L00.resid_post", "L01.pattern", "L01.H02.OV", "L01.values", "L01.ATTN.B", "L00.scores"]


@pytest.fixture(scope="module")
def model() -> Model:
    return checkpoints.random_model(2, n_embd=15, n_head=3, n_inner=4, n_layer=2)[0]


class Own:
    """A program that writes into the stream what depends on each token and its place in the text."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def edits(self, ids: Tensor) -> Mapping[str, Edit]:
        places = torch.arange(ids.shape[1])
        return {"L01.resid_pre": lambda x: x + (0.1 * ids + 0.3 * places)[..., None] * torch.linspace(-1, 1, 15)}


def vector() -> Tensor:
    return torch.linspace(-2, 2, 15)


def always(model: Model) -> tuple[list[Change], Callable[[int], list[Change]]]:
    """Everywhere."""
    changes = [steer("L00.resid_post", vector()), ablate("L01.H01.OV", mean=means(model, PROMPT, ["L01.head_writes"]))]
    return changes, lambda _: changes


def prompts_end(_: Model) -> tuple[list[Change], Callable[[int], list[Change]]]:
    """At the prompt's last position alone."""
    return [steer("L00.resid_post", vector(), positions=-1)], lambda _: [
        steer("L00.resid_post", vector(), positions=LENGTH - 1)
    ]


def onwards(_: Model) -> tuple[list[Change], Callable[[int], list[Change]]]:
    """From the prompt's last position on; and never looking at its first token."""
    changes = [
        replace("L00.z", 0.5, heads=1, positions=slice(-1, None)),
        replace("L01.scores", -1e9, keys=0, positions=slice(1, None)),
    ]
    return changes, lambda _: [replace("L00.z", 0.5, heads=1, positions=slice(LENGTH - 1, None)), changes[1]]


def patched(model: Model) -> tuple[list[Change], Callable[[int], list[Change]]]:
    """What another prompt had, at all positions of the prompt."""
    source = trace(model, "w5 w2 w2 w9", ["L00.z", "L01.resid_pre"])
    changes = [patch("L00.z", source, heads=0), patch("L01.resid_pre", source, positions=[-1, 0])]
    first = slice(0, LENGTH)
    return changes, lambda _: [
        replace("L00.z", source["L00.z"][:, :, 0], heads=0, positions=first),
        replace("L01.resid_pre", source["L01.resid_pre"][:, [-1, 0]], positions=[LENGTH - 1, 0]),
    ]


@pytest.mark.parametrize("program", [False, True])
@pytest.mark.parametrize("case", [always, prompts_end, onwards, patched])
def test_what_is_said_and_recorded_is_that_of_whole_runs(
    model: Model, case: Callable[[Model], tuple[list[Change], Callable[[int], list[Change]]]], program: bool
) -> None:
    subject: Subject = Own(model) if program else model
    changes, whole = case(model)
    (found,) = generate(subject, PROMPT, MORE, changes=changes, record=NAMES)
    ids = model.ids(PROMPT)
    for _ in range(len(found.ids)):
        logits = trace(subject, ids, changes=whole(ids.shape[1])).logits[0, -1]
        ids = torch.cat([ids, logits.argmax()[None, None]], 1)
    assert list(found.ids) == ids[0, LENGTH:].tolist()
    assert found.trace is not None
    once = trace(subject, found.trace.ids, NAMES, whole(found.trace.ids.shape[1]), logits=False)
    for name in NAMES:
        got, wanted = found.trace[name], once[name]
        if name == "L00.scores":
            got, wanted = got.tril(), wanted.tril()
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    if not program:
        assert model.generate(PROMPT, MORE, changes=changes) == found.text
    assert generate(subject, PROMPT, MORE)[0].text != found.text or case is prompts_end


def test_prompts_of_any_lengths_are_continued_as_alone(model: Model) -> None:
    texts = ["w3 w1 w4", "w5", "w8 w7 w2", "w5 w9 w2 w6 w5 w3"]
    options = {"temperature": 1.2, "top_p": 0.9}
    found = generate(model, texts, 6, seed=3, changes=[steer("L00.resid_post", vector(), positions=-1)], **options)
    for row, text in enumerate(texts):
        change = steer("L00.resid_post", vector(), positions=-1)
        (alone,) = generate(model, text, 6, seed=3 + row, changes=[change], **options)
        assert found[row] == alone
        assert str(alone).startswith(text)


def test_changes_that_cannot_be_made_are_named(model: Model) -> None:
    with pytest.raises(PellucidError, match=r"positions of L00.z: 16 is not among the 16"):
        generate(model, PROMPT, changes=[ablate("L00.z", positions=16)])
    assert generate(model, PROMPT, 3, changes=[ablate("L00.z", positions=5)])[0].ids
    with pytest.raises(
        PellucidError, match=r"with steer\('L01.resid_post'\) the logits are no longer finite .* or the"
    ):
        generate(model, PROMPT, changes=[steer("L01.resid_post", vector(), 1e38)])
    with pytest.raises(PellucidError, match="names nothing in random"):
        generate(model, PROMPT, record=["L00.zz"])
    with pytest.raises(PellucidError, match="17 tokens are more than the 16 positions"):
        generate(model, "w1 " * 17)
