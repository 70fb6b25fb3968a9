"""What a lifted part may hold, counted by hand."""

from __future__ import annotations

import pytest

from pellucid.base.address import Address
from pellucid.family.allowance import LIFTED_SHARE, fewest_means, lifted_numbers, most_rank
from pellucid.family.blocks import Decoder
from pellucid.family.gpt2 import GPT2Config
from pellucid.family.partition import count


def config(**sizes: int) -> Decoder:
    """A GPT-2 of the given sizes."""
    whole = {"n_layer": 2, "n_head": 2, "n_embd": 8, "n_inner": 32, "n_positions": 16, "vocab_size": 11} | sizes
    return GPT2Config(**whole).decoder


@pytest.mark.parametrize(
    ("width", "heads", "most"),
    [(8, 2, 1), (128, 4, 13), (192, 6, 13), (768, 12, 28), (16, 8, 0)],
)
def test_the_highest_rank_is_the_last_within_the_limit(width: int, heads: int, most: int) -> None:
    sizes = config(n_embd=width, n_head=heads)
    assert most_rank(sizes) == most
    raw = count(Address("OV", 0, 0), sizes)
    assert raw == (width // heads) * (2 * width + 1)
    assert lifted_numbers("OV", sizes, rank=most + 1) == (2 * most + 3) * width > LIFTED_SHARE * raw
    if most:
        assert lifted_numbers("OV", sizes, rank=most) == (2 * most + 1) * width <= LIFTED_SHARE * raw


def test_neurons_share_the_vector_of_their_means() -> None:
    sizes = config(n_embd=128, n_inner=512)
    assert [lifted_numbers("OUT", sizes, sharing=n) for n in (1, 2, 3, 100)] == [128, 64, 43, 2]
    assert fewest_means(sizes) == 3
    assert fewest_means(config(n_embd=2, n_inner=8)) == 9


def test_a_mean_is_a_vector_and_a_uniform_pattern_none() -> None:
    sizes = config(n_embd=128)
    kinds = ("OV", "EMB.TOK", "EMB.POS", "QK")
    assert [lifted_numbers(kind, sizes) for kind in kinds] == [128, 128, 128, 0]
