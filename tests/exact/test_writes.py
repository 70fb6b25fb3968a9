"""The final residual stream is the sum of what all addresses write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import checkpoints
from pellucid.exact.model import Model
from pellucid.exact.writes import totals
from pellucid.subject.load import load_subject
from pellucid.zoo import registry


def check(model: Model, ids: Tensor, writes: Iterable[tuple[object, Tensor]]) -> None:
    name = model.last_resid
    final = model.run(ids, (name,))[name]
    total = torch.zeros_like(final)
    for _, write in writes:
        total += write
    assert float((total - final).norm()) <= 1e-4 * float(final.norm())


@pytest.mark.parametrize("seed", range(12))
def test_on_random_configurations(seed: int) -> None:
    model, ids = checkpoints.random_model(seed, **checkpoints.random_switches(seed))
    check(model, ids, model.writes(ids))
    check(model, ids, totals(model, ids))


def test_every_address_that_writes_does_so_once_in_order() -> None:
    model, ids = checkpoints.random_model(n_inner=5, n_layer=2)
    writers = [address for address, _ in model.writes(ids)]
    kinds = {"EMB.TOK", "EMB.POS", "OV", "ATTN.B", "OUT", "MLP.B"}
    assert writers == sorted(a for a in model.decoder.addresses.addresses() if a.kind in kinds)


def test_totals_are_named_by_patterns_of_addresses() -> None:
    model, ids = checkpoints.random_model(n_inner=5, n_layer=2)
    named = [address for pattern, _ in totals(model, ids) for address in model.decoder.addresses.match(pattern)]
    assert named == [address for address, _ in model.writes(ids)]


def test_on_novelist(novelist: Path) -> None:
    model, ids = Model(load_subject(novelist)), torch.randint(4096, (1, 24))
    check(model, ids, model.writes(ids))
    check(model, ids, totals(model, ids))


def test_on_village() -> None:
    if "village" not in registry.names():
        pytest.skip("zoo:village does not ship its checkpoint yet")
    model = Model(load_subject("zoo:village"))
    ids = torch.randint(model.n_vocab, (1, 24))
    check(model, ids, model.writes(ids))
    check(model, ids, totals(model, ids))
