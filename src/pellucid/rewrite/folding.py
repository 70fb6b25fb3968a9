"""From a program to the weights of a checkpoint that does the same, where there are such weights.

Means, constants, lifted parts and steering vectors are biases and matrices, and a token that is read as another one is
its row of the embedding. What asks the text anew, a source that runs or an edit that speaks behind certain words, is
no weight.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.engine.sites import resolve
from pellucid.exact.model import Model
from pellucid.family import needs
from pellucid.family.blocks import Block
from pellucid.listing.language import definitions, reachable
from pellucid.listing.load import Program
from pellucid.listing.parse import Listing
from pellucid.program.changes import BEFORE
from pellucid.verify.running import Running

TOKEN, POSITION = frozenset({"token", "one_of"}), frozenset({"position"})
"""What a function may ask of a place for it to be a table of tokens, or of positions."""
SHOWN = 6
"""Obstacles that are named."""
LETTERS = {"QK": "H{:02d}", "OV": "H{:02d}", "IN": "N{:04d}", "OUT": "N{:04d}"}


@dataclass(frozen=True)
class Folded:
    """Weights by canonical name, and whether the unembedding is the embedding still."""

    weights: dict[str, Tensor]
    tied: bool


def folded(model: Model, program: Program, listing: Listing, steer: Mapping[str, Tensor | float]) -> Folded:
    """The weights that do what `program` (of the subject `model`) does, with vectors added at the activations `steer`.

    Raises `PellucidError` naming everything that no weights do.
    """
    if found := list(_obstacles(program, listing)):
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise PellucidError(
            f"{program.directory} cannot be written as weights: {'; '.join(found[:SHOWN])}{more}. Undo such edits "
            '(pellucid edit DIR --undo ID), or give such parts their residual back (residual = "on" in parts.toml)'
        )
    weights = {n: w.clone() for n, w in Running(model, program).model.weights.items() if not n.startswith("mean.")}
    decoder = model.decoder
    needs.refuse(decoder, "writing a program as a checkpoint", *needs.SWITCHES)
    if decoder.positions is None:
        raise PellucidError(f"no checkpoint can be written of {decoder.family} yet")
    written = weights[decoder.embed]
    weights |= _embeddings(program, listing, weights, (decoder.embed, decoder.positions))
    for layer, block in enumerate(decoder.blocks):
        _add_edits(program, layer, block, weights)
    for where, vector in steer.items():
        _add(weights, _bias_of(model, where), where, torch.as_tensor(vector, dtype=torch.float32))
    tied = decoder.tied and torch.equal(weights[decoder.embed], written)
    if decoder.tied and not tied:
        weights[decoder.names.unembed] = written
    return Folded(weights, tied)


# --- what no weights do -----------------------------------------------------------------------------------------------


def _obstacles(program: Program, listing: Listing) -> Iterator[str]:
    """What of a program no weights do, with places."""

    def source(key: str) -> str:
        statement = listing.statements.get(key)
        return f"{key} ({statement.at if statement else 'program'}) runs a source that asks the text"

    for how, key in program.model.embed.ways:
        if not isinstance(how, str) and _over(listing, key) is None:
            yield source(key)
    for layer, (attention, mlp) in enumerate(program.model.layers):
        at = f"L{layer:02d}"
        yield from (source(f"{at}.H{head:02d}.QK") for head, _ in attention.looks)
        yield from (source(f"{at}.H{head:02d}.OV") for head, _ in attention.moves)
        neurons = sorted({*(neuron for neuron, _ in mlp.fires), *mlp.sums.neurons})
        yield from (source(f"{at}.N{neuron:04d}.IN") for neuron in neurons)
        yield from (source(f"{at}.N{neuron:04d}.OUT") for neuron, _ in mlp.writes)
    changes = program.model.plan.changes
    for (layer, kind), deltas in changes.deltas.items():
        for member, _ in deltas:
            key = f"L{layer:02d}.{LETTERS[kind].format(member)}.{kind}"
            yield f"{key} was edited by hand, in a source that asks the text"
    for edit in _edits(program):
        if edit.layer == BEFORE and not _asked(listing, edit.function.function.__name__, "edits.py") <= TOKEN:
            yield f"edit {edit.change.number:04d} ({edit.change.address}) asks more than which token it reads"
        elif edit.layer != BEFORE and edit.function.asks:
            yield f"edit {edit.change.number:04d} ({edit.change.address}) speaks behind certain words alone"


def _edits(program: Program) -> Iterator[Any]:
    """The edits at work, but not those by hand."""
    changes = program.model.plan.changes
    for held in (changes.moves, changes.writes):
        for of_layer in held.values():
            yield from of_layer


def _asked(listing: Listing, function: str, page: str) -> frozenset[str]:
    """What a function of a page asks of places, itself or through helpers."""
    text = listing.edits.text if page == "edits.py" and listing.edits else listing.pages[page].text
    defined = definitions(ast.parse(text))
    nodes = [node for name in {function, *reachable(function, defined)} for node in ast.walk(defined[name])]
    return frozenset(node.attr for node in nodes if isinstance(node, ast.Attribute))


def _over(listing: Listing, key: str) -> frozenset[str] | None:
    """Whether the source of an embedding is a table of tokens or of positions; None for neither."""
    statement = listing.statements[key]
    asked = _asked(listing, statement.function or "", statement.file.name)
    return next((what for what in (TOKEN, POSITION) if asked <= what), None)


# --- what is added ----------------------------------------------------------------------------------------------------


def _embeddings(
    program: Program, listing: Listing, weights: Mapping[str, Tensor], names: tuple[str, str]
) -> dict[str, Tensor]:
    """The embeddings as the program has them: means, tables that sources are, and tokens that are read as others.

    `names` are what the tables of tokens and positions are called.
    """
    raw = dict(zip(("EMB.TOK", "EMB.POS"), (weights[name] for name in names), strict=True))
    tables = {key: torch.zeros_like(table) for key, table in raw.items()}
    embed = program.model.embed
    for (how, key), mean in zip(embed.ways, embed.means, strict=True):
        if how == "raw":
            tables[key] += raw[key]
        elif mean is not None:
            tables[key] += torch.from_numpy(np.array(mean, np.float32))
        else:
            _add_table(program, listing, key, tables)
    write = np.zeros((len(tables["EMB.TOK"]), 1, tables["EMB.TOK"].shape[1]), np.float32)
    every = np.arange(len(write))[:, None]
    program.model.plan.changes.write(BEFORE, write, program.sources.view(every).here)
    return {names[0]: tables["EMB.TOK"] + torch.from_numpy(write[:, 0]), names[1]: tables["EMB.POS"]}


def _add_table(program: Program, listing: Listing, key: str, tables: dict[str, Tensor]) -> None:
    """Add what the source of an embedding writes for every token, or at every position."""
    if _over(listing, key) is TOKEN:
        table = tables["EMB.TOK"]
        said = program.sources.say(key, np.arange(len(table))[:, None], 0, (len(table), 1, table.shape[1]))[:, 0]
    else:
        table = tables["EMB.POS"]
        said = program.sources.say(key, np.zeros((1, len(table)), np.int64), 0, (1, *table.shape))[0]
    table += torch.from_numpy(np.array(said))


def _add_edits(program: Program, layer: int, block: Block, weights: dict[str, Tensor]) -> None:
    """Add to the biases of a layer what edits write that speak everywhere alike."""
    changes, vocabulary = program.model.plan.changes, program.sources.vocabulary
    for held, slot in ((changes.moves, block.attention.o), (changes.writes, block.mlp.write)):
        for edit in held.get(layer, ()):
            strength = float(np.asarray(edit.function((1, 1), {})).item())
            vector = torch.from_numpy(np.array(edit.direction(vocabulary), np.float32))
            weights[slot.bias_name(layer)] += strength * vector


def _bias_of(model: Model, where: str) -> str:
    """The weights that a vector at an activation is added to. Raises `PellucidError` for activations without such."""
    sites = resolve(model, where)
    name = sites[0].activation
    at, _, kind = name.partition(".")
    if len(sites) == 1 and sites[0].members is None:
        if name in ("EMB.TOK", "EMB.POS", "L00.resid_pre"):
            return str(model.decoder.positions)
        layer = int(at[1:]) if at[1:].isdigit() else -1
        if kind == "resid_pre":
            layer, kind = layer - 1, "resid_post"
        block = model.decoder.blocks[layer]
        biases = dict.fromkeys(("resid_mid", "attn_out", "ATTN.B"), block.attention.o)
        biases |= dict.fromkeys(("resid_post", "mlp_out", "MLP.B"), block.mlp.write) | {"pre": block.mlp.first}
        if kind in biases:
            return biases[kind].bias_name(layer)
    raise PellucidError(
        f"a vector at {where!r} is no weight of a checkpoint; one at L00.resid_pre, L00.resid_mid, L00.resid_post, "
        "L00.attn_out, L00.mlp_out or L00.pre is"
    )


def _add(weights: dict[str, Tensor], name: str, where: str, vector: Float[Tensor, "*dim"]) -> None:
    """Add a vector to a bias. Raises `PellucidError` for another length."""
    size = weights[name].shape[-1]
    if vector.ndim > 1 or vector.numel() not in (1, size) or not bool(vector.isfinite().all()):
        raise PellucidError(f"the vector at {where!r} has shape {list(vector.shape)}, expected {size} finite numbers")
    weights[name] = weights[name] + vector
