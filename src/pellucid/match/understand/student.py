"""The student: where heads look and when neurons fire, as functions of kinds of tokens and of what heads see.

A *kind* gives every token a level. A head's score is a curve of distances, plus what its key's kinds offer, plus
products of what the query seeks with what the key offers, plus the named primitives. A *value* of a layer sums levels
of the token here and of the two before it, and what heads see: the levels of keys, averaged by the head's own pattern.
A neuron's pre-activation is a sum over the values of its layer. Embeddings, OV and OUT stay the subject's own.

All of it stands in few tensors and is differentiable; masks say which of their numbers are still there. The printed
program computes the same to 1e-4 of its logits (tested).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.exact.graph import Edit
from pellucid.exact.model import Model
from pellucid.match.understand.engine import engine
from pellucid.match.understand.plan import Plan

BENDS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Distances at which a head's curve may bend."""
PRIMITIVES = 3
"""Same token, after the same token, first token."""
SHIFTS = 3
"""The token here, the one before it, and the one before that."""
PLACES = 2
"""What a value may know of its position: whether it is the first, and its logarithm."""

Pairs = Float[Tensor, "batch query key"]


@dataclass
class Student:
    """`tensors` by name, with `masks` of the same shapes (1 where a number is still there).

    `kinds` [vocab, kind]. For each layer: `L00.curve` [head, bend], `L00.primitives` [head, 3], `L00.offers`
    [head, kind, shift] (salience of keys), `L00.seeks.query`, `L00.seeks.key` [head, rank, kind, shift],
    `L00.seeks.bias` [head, rank], `L00.values` [feature, value], `L00.neurons` [value, neuron], `L00.bias` [neuron].
    Once levelled, `levels` [level, kind] and `groups` [vocab, kind] take the place of `kinds`.
    """

    model: Model
    plan: Plan
    tensors: dict[str, Tensor]
    masks: dict[str, Tensor] = field(default_factory=dict)
    groups: Int[Tensor, "vocab kind"] | None = None

    def __getitem__(self, name: str) -> Tensor:
        """A tensor with what was pruned left out."""
        tensor = self.tensors[name]
        return tensor * self.masks[name] if name in self.masks else tensor

    def kinds(self) -> Float[Tensor, "ids kind"]:
        """The levels of every token id, and of "no token" in the last row."""
        if self.groups is None:
            table = self["kinds"]
        else:
            levels = torch.cat([self["levels"].new_zeros(1, self["levels"].shape[1]), self["levels"]])
            table = levels.gather(0, self.groups)
        return torch.cat([table, table.new_zeros(1, table.shape[1])])

    def edits(self, ids: Int[Tensor, "batch pos"]) -> dict[str, Edit]:
        """What to put in place of the subject's scores and pre-activations for the rows `ids`."""
        return edits(Reading(self, ids), range(self.model.config.n_layer))

    def logits(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos vocab"]:
        """The logits of the program in which every QK and IN is the student's."""
        return self.engine.run(ids, ("logits",), edits=self.edits(ids))["logits"]

    @cached_property
    def engine(self) -> Model:
        """What is left of the subject where the student takes the place of all QK and IN."""
        return engine(self.model)


class Reading:
    """A student that reads some rows: kinds are looked up once, and what heads saw is kept for later layers."""

    def __init__(self, student: Student, ids: Int[Tensor, "batch pos"]) -> None:
        self.student, self.ids = student, ids
        table, nothing = student.kinds(), student.model.n_vocab
        self.levels = torch.stack([table[before(ids, steps, nothing)] for steps in range(SHIFTS)], 2)
        self.seen: dict[int, Tensor] = {}

    def scores(self, layer: int) -> Float[Tensor, "batch head query key"]:
        """The pre-softmax scores of all heads of a layer."""
        student, at, levels = self.student, f"L{layer:02d}", self.levels
        steps = curves(self.ids.shape[1], bends(student.model.n_ctx), levels.device).to(levels)
        scores = torch.einsum("hn,nqk->hqk", student[f"{at}.curve"], steps)[None]
        scores = scores + torch.einsum("bkst,hts->bhk", levels, student[f"{at}.offers"])[:, :, None]
        seeks = torch.einsum("bqst,hrts->bhqr", levels, student[f"{at}.seeks.query"])
        seeks = seeks + student[f"{at}.seeks.bias"][None, :, None]
        offers = torch.einsum("bkst,hrts->bhkr", levels, student[f"{at}.seeks.key"])
        scores = scores + seeks @ offers.transpose(2, 3)
        return scores + torch.einsum("hn,nbqk->bhqk", student[f"{at}.primitives"], primitives(self.ids).to(levels))

    def saw(self, layer: int, pattern: Float[Tensor, "batch head query key"]) -> Float[Tensor, "batch head query key"]:
        """Note what the heads of a layer see; `pattern` itself is not changed."""
        found = torch.einsum("bhqk,bkt->bqht", pattern, self.levels[:, :, 0])
        self.seen[layer] = found.flatten(2)
        return pattern

    def terms(self, layer: int) -> Float[Tensor, "batch pos feature"]:
        """All that a value of a layer may sum."""
        batch, length = self.ids.shape
        at = torch.arange(length, device=self.levels.device).to(self.levels)
        places = torch.stack([(at == 0).to(at), (at + 1).log()], -1).expand(batch, -1, -1)
        ones = self.levels.new_ones(batch, length, 1)
        pieces = [ones, places, self.levels.flatten(2), *(self.seen[n] for n in range(layer + 1))]
        return torch.cat(pieces, -1)

    def values(self, layer: int) -> Float[Tensor, "batch pos value"]:
        """The named values of a layer."""
        values: Tensor = self.terms(layer) @ self.student[f"L{layer:02d}.values"]
        return values

    def pre(self, layer: int) -> Float[Tensor, "batch pos neuron"]:
        """The pre-activations of all neurons of a layer."""
        at = f"L{layer:02d}"
        return self.values(layer) @ self.student[f"{at}.neurons"] + self.student[f"{at}.bias"]


def edits(reading: Reading, layers: Iterable[int]) -> dict[str, Edit]:
    """What puts the scores and pre-activations of a reading in place of the subject's, in `layers`."""
    found: dict[str, Edit] = {}
    for layer in layers:
        found[f"L{layer:02d}.scores"] = instead(partial(reading.scores, layer))
        found[f"L{layer:02d}.pattern"] = partial(reading.saw, layer)
        found[f"L{layer:02d}.pre"] = instead(partial(reading.pre, layer))
    return found


def instead(make: Callable[[], Tensor]) -> Edit:
    """What puts something made on the spot in the place of an activation."""
    return lambda _: make()


def features(plan: Plan, heads: int, layer: int) -> int:
    """How many terms a value of a layer may have: one for its constant, its position, and the kinds it can know of."""
    return 1 + PLACES + plan.kinds * (SHIFTS + heads * (layer + 1))


def before(ids: Int[Tensor, "batch pos"], steps: int, nothing: int) -> Int[Tensor, "batch pos"]:
    """The token `steps` positions before each; `nothing` where there is none."""
    if steps == 0:
        return ids
    return torch.cat([ids.new_full((len(ids), min(steps, ids.shape[1])), nothing), ids[:, :-steps]], 1)


def bends(length: int) -> list[int]:
    """The bends of a curve in texts of up to `length` tokens."""
    return [bend for bend in BENDS if bend < length] or [1]


def curves(length: int, limits: Sequence[int], device: torch.device) -> Float[Tensor, "bend query key"]:
    """How far back each key is, counted up to each of the `limits`, as a share of it."""
    at = torch.arange(length, device=device)
    distance = (at[:, None] - at[None, :]).clamp(min=0).float()
    return torch.stack([distance.clamp(max=bend) / bend for bend in limits])


def primitives(ids: Int[Tensor, "batch pos"]) -> Bool[Tensor, "primitive batch query key"]:
    """Where the key's token is the query's, where it follows an earlier one of it, and where it is the first."""
    same = ids[:, :, None] == ids[:, None, :]
    after = ids[:, :, None] == before(ids, 1, -1)[:, None, :]
    first = torch.zeros_like(same)
    first[:, :, 0] = True
    return torch.stack([same, after, first])


def new_student(model: Model, plan: Plan, kinds: Float[Tensor, "vocab kind"], seed: int = 0) -> Student:
    """A student that looks everywhere alike, and whose neurons do nothing yet."""
    config = model.config
    generator = torch.Generator().manual_seed(seed)
    heads, bend = config.n_head, len(bends(model.n_ctx))
    found: dict[str, Tensor] = {"kinds": kinds}
    for layer in range(config.n_layer):
        at = f"L{layer:02d}"
        found |= {
            f"{at}.curve": torch.zeros(heads, bend),
            f"{at}.primitives": torch.zeros(heads, PRIMITIVES),
            f"{at}.offers": torch.zeros(heads, plan.kinds, SHIFTS),
            f"{at}.seeks.query": 0.1 * torch.randn(heads, plan.rank, plan.kinds, SHIFTS, generator=generator),
            f"{at}.seeks.key": 0.1 * torch.randn(heads, plan.rank, plan.kinds, SHIFTS, generator=generator),
            f"{at}.seeks.bias": torch.zeros(heads, plan.rank),
            f"{at}.values": torch.zeros(features(plan, heads, layer), plan.values),
            f"{at}.neurons": torch.zeros(plan.values, config.n_inner),
            f"{at}.bias": torch.zeros(config.n_inner),
        }
    tensors = {name: tensor.to(model.device, model.dtype) for name, tensor in found.items()}
    return Student(model, plan, tensors)


def state(student: Student) -> Mapping[str, Tensor]:
    """All that a student holds, by name, as it is stored."""
    held = {f"tensor.{name}": tensor for name, tensor in student.tensors.items()}
    held |= {f"mask.{name}": mask for name, mask in student.masks.items()}
    return held if student.groups is None else held | {"groups": student.groups}
