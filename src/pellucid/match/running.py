"""A decompiled program as the engine runs it: the exact model with the program's weights, and its sources on their way.

Means, constants and lifted parts are folded into the program's own copies of the weights; sources of scores and
pre-activations are called by the program. What comes out agrees with the program to 1e-4 of its logits (tested).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.base.errors import ProjectError
from pellucid.exact.graph import Edit
from pellucid.exact.model import Model
from pellucid.listing.load import Program
from pellucid.match.manifest import MANIFEST
from pellucid.match.project import Project
from pellucid.subject.load import load_subject


class Running:
    """A program in the engine's terms: a model, and what takes the place of its activations."""

    def __init__(self, model: Model, program: Program) -> None:
        self.program = program
        self.model = copy(model)
        self.model.weights = dict(model.weights)
        self._looks: dict[int, list[int]] = {}
        self._fires: dict[int, list[int]] = {}
        embedding = program.model.embed
        if any(how != "raw" for how, _ in embedding.ways):
            raise ProjectError(f"{program.directory} replaces embeddings; the engine runs programs that keep them")
        for layer, (attention, mlp) in enumerate(program.model.layers):
            if attention.moves or mlp.writes:
                raise ProjectError(
                    f"{program.directory} has sources of what heads or neurons of layer {layer} write; the engine runs "
                    "those of where heads look and when neurons fire"
                )
            self._put(f"h.{layer}.attn.c_attn", attention)
            self._put(f"h.{layer}.attn.c_proj", attention, out=True)
            self._put(f"h.{layer}.mlp.c_fc", mlp)
            self._put(f"h.{layer}.mlp.c_proj", mlp, out=True)
            self._looks[layer] = [head for head, _ in attention.looks]
            self._fires[layer] = [neuron for neuron, _ in mlp.fires]

    @property
    def edited(self) -> bool:
        """Whether any source runs by itself."""
        return any(self._looks.values()) or any(self._fires.values())

    def edits(self, ids: Int[Tensor, "batch pos"]) -> dict[str, Edit]:
        """What the program's sources put in place of scores and pre-activations for whole rows `ids`."""
        found: dict[str, Edit] = {}
        for layer, heads in self._looks.items():
            if heads:
                found[f"L{layer:02d}.scores"] = self._edit(ids, [f"L{layer:02d}.H{n:02d}.QK" for n in heads], heads, 1)
        for layer, neurons in self._fires.items():
            if neurons:
                keys = [f"L{layer:02d}.N{n:04d}.IN" for n in neurons]
                found[f"L{layer:02d}.pre"] = self._edit(ids, keys, neurons, 2)
        return found

    def _put(self, name: str, piece: Any, *, out: bool = False) -> None:
        side = "out" if out else "in"
        for kind, value in (("weight", getattr(piece, f"w_{side}")), ("bias", getattr(piece, f"b_{side}"))):
            tensor = torch.from_numpy(np.array(value, np.float32))
            self.model.weights[f"{name}.{kind}"] = tensor.to(self.model.device, self.model.dtype)

    def _edit(self, ids: Tensor, keys: list[str], members: list[int], axis: int) -> Edit:
        rows = ids.cpu().numpy()
        batch, pos = rows.shape
        shape = (batch, pos, pos) if axis == 1 else (batch, pos)

        def said() -> Tensor:
            return torch.from_numpy(np.stack([self.program.source_output(key, rows, shape) for key in keys], axis))

        return _placed(said, members, axis)


def _placed(said: Callable[[], Tensor], members: list[int], axis: int) -> Edit:
    return lambda x: x.index_copy(axis, torch.tensor(members, device=x.device), said().to(x))


def running(model: Model, program: Program) -> Model | Running:
    """`program` (of the subject `model`) for the engine; an exact model where none of its sources runs by itself."""
    found = Running(model, program)
    return found if found.edited else found.model


def open_subject(name: str, *, source_only: bool = False, trust: bool = False) -> Model | Running:
    """What the engine runs for a directory that `decompile` wrote, or for a subject as `pellucid.load` takes it.

    Raises `PellucidError` for what is neither, for a stranger's program that is not trusted, and where `source_only` is
    asked of what is no program.
    """
    if (Path(name) / MANIFEST).is_file():
        project = Project.open(name, trust=trust)
        return running(project.model, project.program("code" if source_only else None))
    if source_only:
        raise ProjectError(f"{name} is no directory of a program, which alone can run without residuals")
    return Model(load_subject(name))
