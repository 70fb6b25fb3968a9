"""The edits of a program for the engine: what they add, on whole rows, to the activations of an exact model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.graph import Edit
from pellucid.forms.outputs import output_of
from pellucid.listing.load import Program
from pellucid.program.changes import BEFORE

Ids = Int[Tensor, "batch pos"]


def has_edits(program: Program) -> bool:
    """Whether anything in the program was edited."""
    changes = program.model.plan.changes
    return bool(changes.moves or changes.writes or changes.deltas)


def edits(program: Program, ids: Ids) -> dict[str, Edit]:
    """What the program's edits do to activations, by name, when whole rows `ids` are run."""
    changes = program.model.plan.changes
    view = program.sources.view(ids.cpu().numpy())
    found: dict[str, Edit] = {"EMB.TOK": _read(program, view)} if BEFORE in changes.writes else {}
    for layer in range(len(program.model.layers)):
        at = f"L{layer:02d}"
        deltas = {kind: changes.deltas.get((layer, kind), []) for kind in ("QK", "OV", "IN", "OUT")}
        held: dict[str, Tensor] = {}
        if layer in changes.moves or deltas["OV"]:
            found[f"{at}.pattern"] = _kept(held, "pattern")
            found[f"{at}.attn_out"] = _moved(program, view, layer, held, deltas["OV"])
        if layer in changes.writes or deltas["OUT"]:
            found[f"{at}.post"] = _kept(held, "post")
            found[f"{at}.mlp_out"] = _written(program, view, layer, held, deltas["OUT"])
        for part in (Address("QK", layer, 0), Address("IN", layer, 0)):
            if own := deltas[part.kind]:
                name = f"{at}.{output_of(program.decoder, part).name}"
                found[name] = _followed(_added(view, own, part.kind), found.get(name))
    return found


def _followed(first: Edit, second: Edit | None) -> Edit:
    """The one edit, and then the other, where there is one."""
    return first if second is None else lambda x: second(first(x))


def _read(program: Program, view: Any) -> Edit:
    """Adds what is read in the place of what stands there."""

    def edit(x: Float[Tensor, "batch pos model"]) -> Tensor:
        write = np.zeros(tuple(x.shape), np.float32)
        program.model.plan.changes.write(BEFORE, write, view.here)
        return x + torch.from_numpy(write).to(x)

    return edit


def _kept(held: dict[str, Tensor], name: str) -> Edit:
    """Changes nothing, and keeps the activation for an edit behind it."""

    def edit(x: Tensor) -> Tensor:
        held[name] = x
        return x

    return edit


def _moved(program: Program, view: Any, layer: int, held: Mapping[str, Tensor], deltas: list[Any]) -> Edit:
    """Adds what edited heads move."""

    def edit(x: Float[Tensor, "batch pos model"]) -> Tensor:
        pattern = held["pattern"].detach().float().cpu().numpy()
        write = np.zeros(tuple(x.shape), np.float32)
        places = {"query": view.query(0, x.shape[1]), "key": view.key(x.shape[1])}
        for head, delta in deltas:
            write += delta(write.shape, pattern=pattern[:, head], **places)
        program.model.plan.changes.move(layer, write, pattern, **places)
        return x + torch.from_numpy(write).to(x)

    return edit


def _written(program: Program, view: Any, layer: int, held: Mapping[str, Tensor], deltas: list[Any]) -> Edit:
    """Adds what edited neurons and inserted parts write."""

    def edit(x: Float[Tensor, "batch pos model"]) -> Tensor:
        fires = held["post"].detach().float().cpu().numpy()
        write = np.zeros(tuple(x.shape), np.float32)
        for neuron, delta in deltas:
            write += delta(write.shape, here=view.here, fires=fires[..., neuron])
        program.model.plan.changes.write(layer, write, view.here)
        return x + torch.from_numpy(write).to(x)

    return edit


def _added(view: Any, deltas: list[Any], kind: str) -> Edit:
    """Adds to scores or pre-activations what sources that were edited by hand say otherwise."""

    def edit(x: Tensor) -> Tensor:
        x = x.clone()
        length = x.shape[-2] if kind == "QK" else x.shape[1]
        places = {"query": view.query(0, length), "key": view.key(length), "here": view.here}
        for member, delta in deltas:
            if kind == "QK":
                said = delta((len(x), length, length), **{k: places[k] for k in ("query", "key")})
                x[:, member] += torch.from_numpy(np.array(np.broadcast_to(said, x[:, member].shape))).to(x)
            else:
                said = delta(tuple(x.shape[:2]), here=places["here"])
                x[..., member] += torch.from_numpy(np.array(np.broadcast_to(said, tuple(x.shape[:2])))).to(x)
        return x

    return edit
