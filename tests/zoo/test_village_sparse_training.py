"""How the sparse village is trained: what comes again, what stays and what grows back, and that finishing keeps it."""

from __future__ import annotations

import sys
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pellucid import zoo

sys.path.append(str(Path(__file__).resolve().parents[2] / "training"))
import village_sparse
from village_sparse import KEPT, Regrowth, Rows, finished, forward, kind_of, name_of, prune, tensors, untensored


def test_lost_rows_come_again_and_leave_room_for_fresh_ones() -> None:
    rows = Rows(repeat(np.zeros((village_sparse.BATCH, 3), dtype=np.int64)), again=0.25)
    seen = np.arange(2 * village_sparse.BATCH)[:, None].repeat(3, 1)
    rows.note(seen, np.isin(seen[:, 0], [5, 7, 9]))
    batch, fresh = rows.draw()
    assert fresh == len(batch) - 3
    assert batch[fresh:, 0].tolist() == [5, 7, 9]
    rows.note(seen, np.ones(len(seen), dtype=bool))
    batch, fresh = rows.draw()
    most = village_sparse.BATCH // 4
    assert fresh == len(batch) - most
    assert batch[fresh:, 0].tolist() == list(range(most)), "the oldest first"
    without = Rows(repeat(seen[: village_sparse.BATCH]))
    without.note(seen, np.ones(len(seen), dtype=bool))
    assert without.draw()[1] == village_sparse.BATCH


def test_as_many_weights_are_left_as_before_some_grew_back() -> None:
    grown = Regrowth(steps=100, peak=1e-3, share=0.1)
    assert grown.left("qk", 0, 0.0) == round(1.1 * KEPT["qk"])
    assert grown.left("qk", 0, village_sparse.REGROW_PRUNED) == grown.left("qk", 0, 1.0) == KEPT["qk"]
    assert grown.rate(0) < grown.rate(49) < grown.peak
    assert grown.rate(99) == pytest.approx(grown.peak / 100)
    assert grown.rate(100) == 0


def test_the_smallest_of_a_kind_go_across_layers_but_not_what_was_just_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(village_sparse, "KEPT", {"qk": 3})
    parameters = {"0.q": torch.tensor([[4.0, 0.0, 3.0]]), "1.k": torch.tensor([[0.5, 2.0, 9.0]])}
    masks = {"0.q": torch.tensor([[1.0, 1.0, 1.0]]), "1.k": torch.tensor([[1.0, 1.0, 0.0]])}
    prune(parameters, masks, lambda _, whole: whole - 1)
    assert masks["0.q"].tolist() == [[1, 1, 1]], "a zero that was opened stays where there is room"
    assert masks["1.k"].tolist() == [[1, 1, 0]]
    prune(parameters, masks, lambda kind, _: village_sparse.KEPT[kind])
    assert masks["0.q"].tolist() == [[1, 0, 1]]
    assert masks["1.k"].tolist() == [[0, 1, 0]]


@pytest.fixture(scope="module")
def shipped() -> dict[str, Tensor]:
    return untensored(load_file(zoo.path("village-sparse") / "model.safetensors"))


def test_finishing_changes_nothing_of_what_is_finished(shipped: dict[str, Tensor]) -> None:
    ids = torch.randint(1000, (2, 40), generator=torch.Generator().manual_seed(0))
    again = finished(shipped)
    assert {name: int((value != 0).sum()) for name, value in again.items()} == {
        name: int((value != 0).sum()) for name, value in shipped.items()
    }
    torch.testing.assert_close(forward(again, ids), forward(shipped, ids), atol=1e-3, rtol=1e-3)
    stored = load_file(zoo.path("village-sparse") / "model.safetensors")
    for name, tensor in tensors(again)[0].items():
        torch.testing.assert_close(tensor, stored[name], atol=2e-3, rtol=0.02)


def test_another_regrowth_of_the_same_weights_has_another_name(shipped: dict[str, Tensor]) -> None:
    names = {name_of(shipped, grown) for grown in (Regrowth(), Regrowth(), Regrowth(share=0.01))}
    moved = shipped | {"head": shipped["head"] + 1}
    assert len(names | {name_of(moved, Regrowth())}) == 3
    assert {kind_of(name) for name in shipped} == {*KEPT, None}
