"""The partition: every parameter belongs to exactly one address."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.base.address import Address
from pellucid.base.errors import PellucidError
from pellucid.family.gpt2 import GPT2Config
from pellucid.family.partition import Part, count, parameters
from pellucid.family.shapes import shapes


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("layers", "heads", "dim", "neurons"), [(1, 1, 4, 7), (3, 2, 3, 24), (2, 5, 1, 1)])
def test_every_parameter_has_one_owner(tied: bool, layers: int, heads: int, dim: int, neurons: int) -> None:
    decoder = GPT2Config(layers, heads, heads * dim, neurons, n_positions=9, vocab_size=13, tied=tied).decoder
    owners = {name: np.zeros(shape, dtype=int) for name, shape in shapes(decoder).items()}
    total = 0
    for address in decoder.addresses.addresses():
        for owned in parameters(address, decoder):
            assert owners[owned.tensor][owned.index].size == owned.size > 0
            owners[owned.tensor][owned.index] += 1
        total += count(address, decoder)
    for name, cover in owners.items():
        assert (cover == 1).all(), name
    assert total == sum(cover.size for cover in owners.values())


def test_what_a_head_and_a_neuron_own() -> None:
    decoder = GPT2Config(n_layer=1, n_head=2, n_embd=6, n_inner=5, n_positions=4, vocab_size=7).decoder
    assert count(Address.parse("L00.H01.QK"), decoder) == 2 * (6 * 3 + 3)
    assert count(Address.parse("L00.H01.OV"), decoder) == 6 * 3 + 3 + 3 * 6
    assert count(Address.parse("L00.N0004.IN"), decoder) == 6 + 1
    assert count(Address.parse("L00.N0004.OUT"), decoder) == 6
    assert count(Address.parse("EMB.TOK"), decoder) == 7 * 6


@pytest.mark.parametrize("text", ["L01.H00.QK", "L00.H02.OV", "L00.N0005.IN", "L01.LN1", "UNEMB"])
def test_foreign_addresses_own_nothing(text: str) -> None:
    decoder = GPT2Config(n_layer=1, n_head=2, n_embd=6, n_inner=5, n_positions=4, vocab_size=7).decoder
    with pytest.raises(PellucidError, match="names no part of this subject"):
        parameters(Address.parse(text), decoder)


def test_a_part_starts_raw_with_its_residual_on() -> None:
    part = Part((Address.parse("L00.H01.QK"),))
    assert (part.form, part.residual, part.source) == ("raw", "on", None)
