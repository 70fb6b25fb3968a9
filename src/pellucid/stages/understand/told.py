"""What the sentences of a student say, as a student of its own: only the terms that they name are left.

A sentence is tested by it, and not by all the terms that its source sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.stages.understand.spread import Spread
from pellucid.stages.understand.student import Student
from pellucid.stages.understand.write import SHOWN


@torch.no_grad()
def told(student: Student, spread: Spread) -> Student:
    """`student` with what its sentences name alone: the terms that do most over text, each way.

    Values, late values and neurons keep their constants, and `SHOWN` terms that raise and that lower them; heads their
    curve of distances, `SHOWN` terms that keys offer, and of what they seek the largest product of two terms.
    """
    tensors = {name: tensor.detach().clone() for name, tensor in student.tensors.items()}
    for name, tensor in tensors.items():
        layer, _, what = name.partition(".")
        if what in ("values", "late"):
            constant = tensor[0].clone()
            tensor[0] = 0
            tensors[name] = largest(tensor, spread.terms[int(layer[1:])])
            tensors[name][0] = constant
        elif what == "neurons":
            tensors[name] = largest(tensor, spread.values[int(layer[1:])])
    for number in range(student.model.decoder.layers):
        _tell_heads(tensors, number, spread)
    return replace(student, tensors=tensors, masks={})


def largest(weights: Float[Tensor, "term part"], varies: Float[Tensor, " _"]) -> Float[Tensor, "term part"]:
    """Of every part the `SHOWN` terms that raise it most and those that lower it most, given how much each varies."""
    force = weights * varies[: len(weights), None].to(weights)
    kept = torch.zeros_like(weights, dtype=torch.bool)
    for side in (force, -force):
        best = side.topk(min(SHOWN, len(weights)), dim=0)
        kept |= torch.zeros_like(kept).scatter_(0, best.indices, best.values > 0)
    return weights * kept


def _tell_heads(tensors: dict[str, Tensor], layer: int, spread: Spread) -> None:
    """Leave of the heads of a layer what their sentences say."""
    at = f"L{layer:02d}"
    tensors[f"{at}.primitives"].zero_()
    tensors[f"{at}.seeks.bias"].zero_()
    asks, answers = (_tables(tensors, f"{at}.seeks.{side}", layer) for side in ("query", "key"))
    for head in range(len(tensors[f"{at}.curve"])):
        offers = [table[head] for table in _tables(tensors, f"{at}.offers", layer)]
        _keep(offers, [force.clamp(min=0) for force in _forces(offers, layer, spread)], SHOWN)
        ranks = range(asks[0].shape[1])
        sides = [[[table[head, rank] for table in tables] for rank in ranks] for tables in (asks, answers)]
        forces = [[[f.abs() for f in _forces(one, layer, spread)] for one in side] for side in sides]
        tops = [torch.stack([max(f.max() for f in found) for found in side]) for side in forces]
        best = int((tops[0] * tops[1]).argmax())
        for side, found in zip(sides, forces, strict=True):
            for rank in ranks:
                _keep(side[rank], found[rank], int(rank == best))


def _tables(tensors: dict[str, Tensor], name: str, layer: int) -> list[Tensor]:
    """What heads know of kinds and, behind the first layer, of late values."""
    return [tensors[name], *([tensors[f"{name}.late"]] if layer else [])]


def _forces(tables: Sequence[Tensor], layer: int, spread: Spread) -> list[Tensor]:
    """How much each term of one head does: its number, times how much it varies."""
    kinds = tables[0] * spread.kinds[:, None].to(tables[0])
    return [kinds, *(table * spread.late[layer - 1].to(table) for table in tables[1:])]


def _keep(tables: Sequence[Tensor], forces: Sequence[Tensor], count: int) -> None:
    """Leave the `count` terms of `tables` that do most, in place."""
    flat = torch.cat([force.flatten() for force in forces])
    best = flat.topk(min(count, len(flat)))
    kept = torch.zeros_like(flat)
    kept[best.indices[best.values > 0]] = 1
    for table, part in zip(tables, torch.split(kept, [table.numel() for table in tables]), strict=True):
        table.mul_(part.view_as(table))
