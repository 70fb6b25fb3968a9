"""The student: where heads look and when neurons fire, as functions of kinds of tokens and of what heads see.

A *kind* gives every token a level. A head's score is a curve of distances, plus what its key's kinds offer, plus
products of what the query seeks with what the key offers, plus the named primitives. A *value* of a layer sums levels
of the token here and of the two before it, and what heads see: the levels of keys, averaged by the head's own pattern.
A neuron's pre-activation is a sum over the values of its layer. *Late* values of a layer may also sum what its neurons
fire; later layers build on them: heads seek and offer them and see them, and values sum them and what earlier neurons
fire. Embeddings, OV and OUT stay the subject's own.

What is written to the stream adds up; only the norm in front of a reader divides it. So every value is a sum divided by
a scale, that of LN2 of its layer, and that of LN1 of the next one for late values; a value that builds on late ones
takes them as they were before they were divided.

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
from pellucid.stages.understand.engine import engine
from pellucid.stages.understand.plan import REACH, Plan

BENDS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Distances at which a head's curve may bend."""
PRIMITIVES = 3
"""Same token, after the same token, first token."""
SHIFTS = 3
"""The token here, the one before it, and the one before that."""
RAMPS = (2, 4, 8, 16, 32, 64)
"""Positions up to which a value may count."""
PLACES = 2 + len(RAMPS)
"""What a value may know of its position: whether it is the first, its logarithm, and how near each of `RAMPS` it is."""

QueryKeys = Float[Tensor, "batch query key"]


@dataclass
class Student:
    """`tensors` by name, with `masks` of the same shapes (1 where a number is still there).

    `kinds` [vocab, kind]. For each layer: `L00.curve` [head, bend], `L00.primitives` [head, 3], `L00.offers`
    [head, kind, shift] (salience of keys), `L00.seeks.query`, `L00.seeks.key` [head, rank, kind, shift],
    `L00.seeks.bias` [head, rank], `L00.values` [feature, value], `L00.neurons` [value, neuron], `L00.bias` [neuron].
    Of all layers but the last `L00.late` [feature, late], and of all but the first what heads know of late values of
    the layer before: `L01.offers.late` [head, late], `L01.seeks.query.late`, `L01.seeks.key.late` [head, rank, late].
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
        return edits(StudentReading(self, ids), range(self.model.decoder.layers))

    def logits(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos vocab"]:
        """The logits of the program in which every QK and IN is the student's."""
        return self.engine.run(ids, ("logits",), edits=self.edits(ids))["logits"]

    @cached_property
    def engine(self) -> Model:
        """What is left of the subject where the student takes the place of all QK and IN."""
        return engine(self.model)


class StudentReading:
    """A student that reads some rows: kinds are looked up once, and what later layers build on is kept.

    `patterns`, `seen` and `fired` hold by layer where heads looked, what they saw, and what neurons fired; `scales`
    hold what norms divided by, by their names.
    """

    def __init__(self, student: Student, ids: Int[Tensor, "batch pos"]) -> None:
        self.student, self.ids = student, ids
        table, nothing = student.kinds(), student.model.n_vocab
        self.levels = torch.stack([table[before(ids, steps, nothing)] for steps in range(SHIFTS)], 2)
        self.patterns: dict[int, Tensor] = {}
        self.seen: dict[int, Tensor] = {}
        self.fired: dict[int, Tensor] = {}
        self.scales: dict[str, Tensor] = {}
        self._carried: dict[int, Tensor] = {}

    def scores(self, layer: int) -> Float[Tensor, "batch head query key"]:
        """The pre-softmax scores of all heads of a layer."""
        student, at, levels = self.student, f"L{layer:02d}", self.levels
        steps = curves(self.ids.shape[1], bends(student.model.n_ctx), levels.device).to(levels)
        scores = torch.einsum("hn,nqk->hqk", student[f"{at}.curve"], steps)[None]
        offered = torch.einsum("bkst,hts->bhk", levels, student[f"{at}.offers"])
        seeks = torch.einsum("bqst,hrts->bhqr", levels, student[f"{at}.seeks.query"])
        seeks = seeks + student[f"{at}.seeks.bias"][None, :, None]
        offers = torch.einsum("bkst,hrts->bhkr", levels, student[f"{at}.seeks.key"])
        if layer:
            late = self.late(layer - 1)
            offered = offered + torch.einsum("bkn,hn->bhk", late, student[f"{at}.offers.late"])
            seeks = seeks + torch.einsum("bqn,hrn->bhqr", late, student[f"{at}.seeks.query.late"])
            offers = offers + torch.einsum("bkn,hrn->bhkr", late, student[f"{at}.seeks.key.late"])
        scores = scores + offered[:, :, None] + seeks @ offers.transpose(2, 3)
        return scores + torch.einsum("hn,nbqk->bhqk", student[f"{at}.primitives"], primitives(self.ids).to(levels))

    def saw(self, layer: int, pattern: Float[Tensor, "batch head query key"]) -> Float[Tensor, "batch head query key"]:
        """Note where the heads of a layer look and what they see there; `pattern` itself is not changed."""
        there = self.levels[:, :, 0]
        if layer:
            there = torch.cat([there, self.late(layer - 1)], -1)
        self.patterns[layer] = pattern
        self.seen[layer] = torch.einsum("bhqk,bkt->bqht", pattern, there).flatten(2)
        return pattern

    def fire(self, layer: int, post: Float[Tensor, "batch pos neuron"]) -> Float[Tensor, "batch pos neuron"]:
        """Note what the neurons of a layer fire; `post` itself is not changed."""
        self.fired[layer] = post
        return post

    def scale(self, norm: str, stream: Float[Tensor, "batch pos model"]) -> Float[Tensor, "batch pos model"]:
        """Note what a norm divides the `stream` in front of it by; `stream` itself is not changed."""
        epsilon = self.student.model.decoder.blocks[0].attention.norm.epsilon
        self.scales[norm] = (stream.var(-1, unbiased=False, keepdim=True) + epsilon).sqrt()
        return stream

    def terms(self, layer: int) -> list[Float[Tensor, "batch pos feature"]]:
        """All that a value of a layer may sum but for what neurons fire, in the order of `features`."""
        batch, length = self.ids.shape
        place = places(length, self.levels.device).to(self.levels).expand(batch, -1, -1)
        ones = self.levels.new_ones(batch, length, 1)
        seen, late = [self.seen[n] for n in reach(layer)], [self.carried(n) for n in reach(layer)[:-1]]
        return [torch.cat([ones, place, self.levels.flatten(2)], -1), *seen, *late]

    def values(self, layer: int) -> Float[Tensor, "batch pos value"]:
        """The named values of a layer that its neurons read."""
        pieces = [*self.terms(layer), *(self.fired[n] for n in reach(layer)[:-1])]
        return total(pieces, self.student[f"L{layer:02d}.values"]) / self.scales[f"L{layer:02d}.LN2"]

    def late(self, layer: int) -> Float[Tensor, "batch pos late"]:
        """The named values of a layer that are known once its neurons have fired, as heads of the next know them."""
        return self.carried(layer) / self.scales[f"L{layer + 1:02d}.LN1"]

    def carried(self, layer: int) -> Float[Tensor, "batch pos late"]:
        """The late values of a layer before they are divided by a scale."""
        if layer not in self._carried:
            pieces = [*self.terms(layer), *(self.fired[n] for n in reach(layer))]
            self._carried[layer] = total(pieces, self.student[f"L{layer:02d}.late"])
        return self._carried[layer]

    def pre(self, layer: int) -> Float[Tensor, "batch pos neuron"]:
        """The pre-activations of all neurons of a layer."""
        at = f"L{layer:02d}"
        return self.values(layer) @ self.student[f"{at}.neurons"] + self.student[f"{at}.bias"]


def total(
    pieces: Sequence[Float[Tensor, "batch pos _"]], weight: Float[Tensor, "feature value"]
) -> Float[Tensor, "batch pos value"]:
    """The pieces side by side, times `weight`."""
    parts = torch.split(weight, [piece.shape[-1] for piece in pieces])
    found: Tensor = sum((piece @ part for piece, part in zip(pieces[1:], parts[1:], strict=True)), pieces[0] @ parts[0])
    return found


def edits(reading: StudentReading, layers: Iterable[int]) -> dict[str, Edit]:
    """What puts the scores and pre-activations of a reading in place of the subject's, in `layers`."""
    found: dict[str, Edit] = {}
    for layer in layers:
        if layer:
            found[f"L{layer:02d}.resid_pre"] = partial(reading.scale, f"L{layer:02d}.LN1")
        found[f"L{layer:02d}.resid_mid"] = partial(reading.scale, f"L{layer:02d}.LN2")
        found[f"L{layer:02d}.scores"] = instead(partial(reading.scores, layer))
        found[f"L{layer:02d}.pattern"] = partial(reading.saw, layer)
        found[f"L{layer:02d}.pre"] = instead(partial(reading.pre, layer))
        found[f"L{layer:02d}.post"] = partial(reading.fire, layer)
    return found


def instead(make: Callable[[], Tensor]) -> Edit:
    """What puts something made on the spot in the place of an activation."""
    return lambda _: make()


def reach(layer: int) -> range:
    """The layers whose heads a value of `layer` may ask; whose neurons, but for the last, and late values here."""
    return range(max(0, layer + 1 - REACH), layer + 1)


def features(plan: Plan, heads: int, layer: int) -> int:
    """How many terms a value of a layer may have beside what neurons fire.

    One for its constant, its position, the kinds here and before, what heads see of kinds and of late values, and late
    values here.
    """
    seen = sum(heads * (plan.kinds + plan.late * (n > 0)) for n in reach(layer))
    return 1 + PLACES + plan.kinds * SHIFTS + seen + plan.late * len(reach(layer)[:-1])


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


def places(length: int, device: torch.device) -> Float[Tensor, "pos place"]:
    """What values may know of each position."""
    at = torch.arange(length, device=device).float()
    return torch.stack([(at == 0).float(), (at + 1).log(), *(at.clamp(max=ramp) / ramp for ramp in RAMPS)], -1)


def primitives(ids: Int[Tensor, "batch pos"]) -> Bool[Tensor, "primitive batch query key"]:
    """Where the key's token is the query's, where it follows an earlier one of it, and where it is the first."""
    same = ids[:, :, None] == ids[:, None, :]
    after = ids[:, :, None] == before(ids, 1, -1)[:, None, :]
    first = torch.zeros_like(same)
    first[:, :, 0] = True
    return torch.stack([same, after, first])


def new_student(model: Model, plan: Plan, kinds: Float[Tensor, "vocab kind"], seed: int = 0) -> Student:
    """A student that looks everywhere alike, and whose neurons do nothing yet."""
    decoder = model.decoder
    generator = torch.Generator().manual_seed(seed)
    heads, bend = decoder.sizes.head, len(bends(model.n_ctx))
    found: dict[str, Tensor] = {"kinds": kinds}
    for layer in range(decoder.layers):
        at, known = f"L{layer:02d}", features(plan, heads, layer)
        found |= {
            f"{at}.curve": torch.zeros(heads, bend),
            f"{at}.primitives": torch.zeros(heads, PRIMITIVES),
            f"{at}.offers": torch.zeros(heads, plan.kinds, SHIFTS),
            f"{at}.seeks.query": 0.1 * torch.randn(heads, plan.rank, plan.kinds, SHIFTS, generator=generator),
            f"{at}.seeks.key": 0.1 * torch.randn(heads, plan.rank, plan.kinds, SHIFTS, generator=generator),
            f"{at}.seeks.bias": torch.zeros(heads, plan.rank),
            f"{at}.values": torch.zeros(known + len(reach(layer)[:-1]) * decoder.sizes.neuron, plan.values),
            f"{at}.neurons": torch.zeros(plan.values, decoder.sizes.neuron),
            f"{at}.bias": torch.zeros(decoder.sizes.neuron),
        }
        if layer:
            found |= {
                f"{at}.offers.late": torch.zeros(heads, plan.late),
                f"{at}.seeks.query.late": torch.zeros(heads, plan.rank, plan.late),
                f"{at}.seeks.key.late": 0.1 * torch.randn(heads, plan.rank, plan.late, generator=generator),
            }
        if layer < decoder.layers - 1:
            found[f"{at}.late"] = torch.zeros(known + len(reach(layer)) * decoder.sizes.neuron, plan.late)
    tensors = {name: tensor.to(model.device, model.dtype) for name, tensor in found.items()}
    return Student(model, plan, tensors)


def of_model(student: Student, model: Model) -> Student:
    """The same student of the same subject where `model` is."""
    if model is student.model:
        return student
    tensors, masks = (
        {name: tensor.detach().to(model.device) for name, tensor in held.items()}
        for held in (student.tensors, student.masks)
    )
    groups = None if student.groups is None else student.groups.to(model.device)
    return Student(model, student.plan, tensors, masks, groups)


def state(student: Student) -> Mapping[str, Tensor]:
    """All that a student holds, by name, as it is stored."""
    held = {f"tensor.{name}": tensor for name, tensor in student.tensors.items()}
    held |= {f"mask.{name}": mask for name, mask in student.masks.items()}
    return held if student.groups is None else held | {"groups": student.groups}
