"""Every family's graph gives, bit for bit, the logits of Hugging Face's eager attention; cached and not."""

from __future__ import annotations

import pytest
import torch

import families
from pellucid.exact.cache import ModelCache
from pellucid.exact.graph import Edit, Graph
from pellucid.exact.lift import INPUTS, lift
from pellucid.exact.model import causal_mask
from pellucid.exact.rules import refine, refined_names


def run(made: families.Made, ids: torch.Tensor, cache: ModelCache | None = None) -> torch.Tensor:
    """The logits of `ids` behind what `cache`, grown by their number, holds."""
    end = ids.shape[1] if cache is None else cache.length
    start = end - ids.shape[1]
    mask = causal_mask(ids.shape[1], end, torch.float32, torch.device("cpu"))
    values = (ids, torch.arange(start, end)[None], mask, cache, None)
    with torch.inference_mode():
        return lift(made.decoder).run(made.weights, dict(zip(INPUTS, values, strict=True)), ("logits",))["logits"]


def values(
    made: families.Made, ids: torch.Tensor, graph: Graph, names: list[str], edits: dict[str, Edit] | None = None
) -> dict[str, torch.Tensor]:
    """What `names` are on `ids`, with `edits`."""
    length = ids.shape[1]
    mask = causal_mask(length, length, torch.float32, torch.device("cpu"))
    given = dict(zip(INPUTS, (ids, torch.arange(length)[None], mask, None, None), strict=True))
    return graph.run(made.weights, given, names, edits)


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> str:
    return f"largest difference {(ours - theirs).abs().max():.3g}"


@pytest.mark.parametrize("seed", families.SEEDS)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_logits_are_the_same_bits(family: str, seed: int) -> None:
    made = families.make(family, seed)
    ids = torch.randint(made.decoder.sizes.vocab, (1 + seed % 3, 17 + seed % 5))
    with torch.inference_mode():
        theirs = made.model(ids).logits
    ours = run(made, ids)
    assert torch.equal(ours, theirs), difference(ours, theirs)


@pytest.mark.parametrize("seed", families.SEEDS)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_cached_logits_are_the_same_bits(family: str, seed: int) -> None:
    made = families.make(family, seed)
    ids, cache, past = torch.randint(made.decoder.sizes.vocab, (1 + seed % 2, 20)), ModelCache(), None
    start = 0
    for length in (6, 1, 1, 3, 1, 1, 5, 1, 1):
        piece = ids[:, start : start + length]
        with torch.inference_mode():
            given = made.model(piece, past_key_values=past, use_cache=True)
        past, cache, start = given.past_key_values, cache.grown(length), start + length
        ours = run(made, piece, cache)
        assert torch.equal(ours, given.logits), f"at {start}: {difference(ours, given.logits)}"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("family", families.FAMILIES)
def test_finer_pieces_are_the_same_function(family: str, seed: int) -> None:
    made = families.make(family, seed)
    graph, ids = lift(made.decoder), torch.randint(made.decoder.sizes.vocab, (2, 11))
    names = refined_names(graph)
    fine = refine(graph, names)
    assert {"L00.q_in", "L00.v_in", "L00.head_writes", "L00.neuron_writes", "L00.LN1.scale", "final_in"} <= set(names)
    plain = values(made, ids, graph, graph.names())
    found = values(made, ids, fine, fine.names())
    for name, value in plain.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4, msg=lambda text, at=name: f"{at}: {text}")


@pytest.mark.parametrize("family", families.FAMILIES)
def test_what_is_replaced_changes_what_follows(family: str) -> None:
    made = families.make(family, 2)
    graph, ids = lift(made.decoder), torch.randint(made.decoder.sizes.vocab, (1, 9))
    for name in graph.names():
        plain = values(made, ids, graph, ["logits"])["logits"]
        given = dict(
            zip(INPUTS, (ids, torch.arange(9)[None], causal_mask(9, 9, torch.float32, ids.device)), strict=False)
        )
        given |= {"cache": None, "pads": None}
        edited = graph.run(made.weights, given, ["logits"], {name: lambda x: x * 0.5 + 0.1})["logits"]
        assert not torch.equal(edited, plain), name
