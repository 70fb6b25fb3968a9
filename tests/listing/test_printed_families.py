"""The program of every family says, to rounding, what Transformers' eager attention says; and has nothing unused."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import families
from pellucid.base.errors import PellucidError
from pellucid.family import printed
from pellucid.family.activations import ACTIVATIONS
from pellucid.family.blocks import Block, Decoder
from pellucid.family.canonical import canonical, checkpoint, stored
from pellucid.listing import pages
from pellucid.listing.emit import emit
from pellucid.listing.load import load_program
from pellucid.listing.templates import holds, with_activation
from pellucid.listing.templates import printed as file_of
from pellucid.program import runtime

SEEDS = families.SEEDS


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_logits_are_those_of_transformers(family: str, seed: int, tmp_path: Path) -> None:
    """Cached and not: a text at once, and piece by piece."""
    made = families.make(family, seed)
    emit(families.in_memory(made), tmp_path)
    program = load_program(tmp_path)
    ids = torch.randint(made.decoder.sizes.vocab, (2, 20))
    with torch.inference_mode():
        theirs = made.model(ids).logits.numpy()
    limit = 1e-5 * np.abs(theirs).max()
    assert np.abs(program.logits(ids.numpy()) - theirs).max() <= limit
    cache, start = None, 0
    for length in (6, 1, 1, 3, 1, 1, 5, 1, 1):
        said, cache = program.extend(ids[:, start : start + length].numpy(), cache)
        assert np.abs(said - theirs[:, start : start + length]).max() <= limit
        start += length


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_what_is_printed_is_read_back(family: str, seed: int) -> None:
    decoder = families.make(family, seed).decoder
    fields = printed.fields_of(decoder).said
    said = {key: value.said if isinstance(value, printed.Turns) else value for key, value in fields.items()}
    found = printed.read(printed.features(decoder), said, "model.py")
    wanted = replace(canonical(decoder), family="printed", upcast=True)
    assert found == replace(wanted, blocks=tuple(within(block, decoder) for block in wanted.blocks))


def within(block: Block, decoder: Decoder) -> Block:
    """The block, without a window that all texts fit into."""
    window = block.attention.window
    wide = window is not None and window >= decoder.sizes.pos
    return replace(block, attention=replace(block.attention, window=None)) if wide else block


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("family", families.FAMILIES)
def test_weights_go_under_the_names_of_addresses_and_back(family: str, seed: int) -> None:
    made = families.make(family, seed)
    held = stored(made.decoder, made.weights)
    assert sum(t.numel() for t in held.values()) == sum(t.numel() for t in made.weights.values())
    back = checkpoint(made.decoder, {name: torch.zeros_like(t) for name, t in made.weights.items()}, held)
    for name, tensor in made.weights.items():
        torch.testing.assert_close(back[name], tensor, rtol=0, atol=1e-6)
    sizes, at = made.decoder.sizes, "L00.G*" if made.decoder.grouped else "L00.H*"
    assert held["L00.H*.Q"].shape == (sizes.model, sizes.head, sizes.dim)
    assert held[f"{at}.K"].shape == held[f"{at}.V"].shape == (sizes.model, sizes.group, sizes.dim)
    assert held["L00.H*.O"].shape == (sizes.head, sizes.dim, sizes.model)
    assert held["L00.N*.OUT"].shape == (sizes.neuron, sizes.model)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_nothing_is_printed_that_the_model_does_not_need(family: str, tmp_path: Path) -> None:
    made = families.make(family, 1)
    emit(families.in_memory(made), tmp_path)
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((tmp_path / "program").glob("*.py")))
    assert "# for:" not in text
    names = {
        "rotate(": "rotary",
        "rms_norm(": "rms norm",
        "layer_norm(": "layer norm",
        'weights["EMB.POS"]': "learned positions",
        "_for_groups(": "grouped",
        "soft_cap(": "capped",
        "w_gate": "gated",
        "self.behind": "norms behind",
        "self.window": "window",
        "gain_q": "head norms",
    }
    by = pages.switches(made.decoder)
    for name, feature in names.items():
        assert (name in text) == (feature in by), (name, feature)


def test_conditions() -> None:
    has = {"rotary", "rms norm"}
    assert [holds(condition, has) for condition in ("rotary", "not rotary", "rotary, rms norm", "rotary, not rms norm")]
    given = {"rotary": True, "not rotary": False, "rotary, rms norm": True, "rotary, not rms norm": False}
    given |= {"gated or rotary": True, "gated or not rotary": False, "not gated, not grouped": True}
    assert {condition: holds(condition, has) for condition in given} == given


def test_a_marked_statement_goes_with_its_body_and_what_it_imported() -> None:
    plain, rotary = (file_of("parts.py", frozenset(has)) for has in ({"layer norm"}, {"layer norm", "rotary"}))
    assert "from .rotary import rotate" in rotary
    assert "rotary" not in plain
    assert "def _compare" not in plain
    assert file_of("prelude.py", frozenset()) == file_of("prelude.py", frozenset({"rotary"}))


def test_layers_that_differ_in_what_must_be_alike_are_refused_by_name() -> None:
    decoder = families.make("mistral", 1).decoder
    first = replace(decoder.blocks[0], attention=replace(decoder.blocks[0].attention, cap=3.0))
    with pytest.raises(PellucidError, match="whose layers differ in caps of scores"):
        printed.features(replace(decoder, blocks=(first, decoder.blocks[0])))


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_the_runtime_has_one_activation_function(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone it computes what the table of all of them does."""
    text = with_activation(file_of("runtime.py", frozenset()), name)
    module = ModuleType("pellucid.program.runtime_of_one")
    module.__package__ = "pellucid.program"
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(text, "runtime.py", "exec"), vars(module))
    space = vars(module)
    assert list(space["ACTIVATIONS"]) == [name]
    x = np.linspace(-5, 5, 301, dtype=np.float32)
    alone, among = x.copy(), x.copy()
    space["ACTIVATIONS"][name](alone)
    runtime.ACTIVATIONS[name](among)
    np.testing.assert_array_equal(alone, among)
    helpers = [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name[0] == "_"]
    assert all(len(re.findall(rf"\b{helper}\b", text)) > 1 for helper in helpers)
