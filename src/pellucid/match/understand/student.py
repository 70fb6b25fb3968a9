"""The student: where heads look and when neurons fire, as functions of kinds of tokens and of what was found before.

A *kind* gives every token a level. A *value* of a layer sums levels of the token here and of the two before it, what
heads see (the levels of keys, averaged by the head's own pattern), and findings of the layer before; a neuron's
pre-activation is a sum over the values of its layer. A *finding* sums the values of its layer and what its neurons then
fire: it is known of a place behind the layer, where the heads of the next layer ask for it at query and key, and see
it. A head's score is a curve of distances, plus what its key offers, plus products of what the query seeks with what
the key offers, plus the named primitives. Embeddings, OV and OUT stay the subject's own.

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
    [head, feature] (salience of keys), `L00.seeks.query`, `L00.seeks.key` [head, rank, feature], `L00.seeks.bias`
    [head, rank], `L00.values` [term, value], `L00.neurons` [value, neuron], `L00.bias` [neuron]; for each but the last
    `L00.findings` [value, finding] and `L00.fired` [neuron, finding]. The features of a place are its kinds, those of
    the tokens before it, and the findings of the layer before; `Reading.terms` has the order of terms.
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
    """A student that reads some rows: kinds are looked up once, and what was found is kept for later layers."""

    def __init__(self, student: Student, ids: Int[Tensor, "batch pos"]) -> None:
        self.student, self.ids = student, ids
        table, nothing = student.kinds(), student.model.n_vocab
        self.levels = torch.cat([table[before(ids, steps, nothing)] for steps in range(SHIFTS)], -1)
        self.seen: dict[int, Tensor] = {}
        self.said: dict[int, Tensor] = {}
        self.found: dict[int, Tensor] = {}

    def place(self, layer: int) -> Float[Tensor, "batch pos feature"]:
        """What the heads of a layer may know of a place."""
        return torch.cat([self.levels, self.found[layer - 1]], -1) if layer else self.levels

    def scores(self, layer: int) -> Float[Tensor, "batch head query key"]:
        """The pre-softmax scores of all heads of a layer."""
        return scores_of(self.student, layer, self.ids, self.place(layer))

    def saw(self, layer: int, pattern: Float[Tensor, "batch head query key"]) -> Float[Tensor, "batch head query key"]:
        """Note what the heads of a layer see; `pattern` itself is not changed."""
        there = self.levels[..., : self.student.plan.kinds]
        there = torch.cat([there, self.found[layer - 1]], -1) if layer else there
        self.seen[layer] = torch.einsum("bhqk,bkt->bqht", pattern, there)
        return pattern

    def terms(self, layer: int) -> Float[Tensor, "batch pos term"]:
        """All that a value of a layer may sum: 1, its position, what is known of its place, and what heads see.

        Heads of earlier layers see kinds, those of this layer kinds and findings.
        """
        batch, length = self.ids.shape
        at = torch.arange(length, device=self.levels.device).to(self.levels)
        places = torch.stack([(at == 0).to(at), (at + 1).log()], -1).expand(batch, -1, -1)
        ones = self.levels.new_ones(batch, length, 1)
        earlier = [self.seen[n][..., : self.student.plan.kinds].flatten(2) for n in range(layer)]
        return torch.cat([ones, places, self.place(layer), *earlier, self.seen[layer].flatten(2)], -1)

    def values(self, layer: int) -> Float[Tensor, "batch pos value"]:
        """The named values of a layer."""
        if layer not in self.said:
            self.said[layer] = self.terms(layer) @ self.student[f"L{layer:02d}.values"]
        return self.said[layer]

    def pre(self, layer: int) -> Float[Tensor, "batch pos neuron"]:
        """The pre-activations of all neurons of a layer."""
        at = f"L{layer:02d}"
        return self.values(layer) @ self.student[f"{at}.neurons"] + self.student[f"{at}.bias"]

    def fired(self, layer: int, post: Float[Tensor, "batch pos neuron"]) -> Float[Tensor, "batch pos neuron"]:
        """Find what is known behind a layer whose neurons fire `post`, which is not changed."""
        at = f"L{layer:02d}"
        if f"{at}.fired" in self.student.tensors:
            self.found[layer] = self.values(layer) @ self.student[f"{at}.findings"] + post @ self.student[f"{at}.fired"]
        return post


def scores_of(
    student: Student, layer: int, ids: Int[Tensor, "batch pos"], place: Float[Tensor, "batch pos feature"]
) -> Float[Tensor, "batch head query key"]:
    """The pre-softmax scores of all heads of a layer, from what is known of every place."""
    at = f"L{layer:02d}"
    steps = curves(ids.shape[1], bends(student.model.n_ctx), place.device).to(place)
    scores = torch.einsum("hn,nqk->hqk", student[f"{at}.curve"], steps)[None]
    scores = scores + (place @ student[f"{at}.offers"].T).transpose(1, 2)[:, :, None]
    seeks = torch.einsum("bqf,hrf->bhqr", place, student[f"{at}.seeks.query"])
    seeks = seeks + student[f"{at}.seeks.bias"][None, :, None]
    offers = torch.einsum("bkf,hrf->bhkr", place, student[f"{at}.seeks.key"])
    scores = scores + seeks @ offers.transpose(2, 3)
    return scores + torch.einsum("hn,nbqk->bhqk", student[f"{at}.primitives"], primitives(ids).to(place))


def edits(reading: Reading, layers: Iterable[int]) -> dict[str, Edit]:
    """What puts the scores and pre-activations of a reading in place of the subject's, in `layers`."""
    found: dict[str, Edit] = {}
    for layer in layers:
        found[f"L{layer:02d}.scores"] = instead(partial(reading.scores, layer))
        found[f"L{layer:02d}.pattern"] = partial(reading.saw, layer)
        found[f"L{layer:02d}.pre"] = instead(partial(reading.pre, layer))
        found[f"L{layer:02d}.post"] = partial(reading.fired, layer)
    return found


def instead(make: Callable[[], Tensor]) -> Edit:
    """What puts something made on the spot in the place of an activation."""
    return lambda _: make()


def features(plan: Plan, layer: int) -> int:
    """How much heads and values of a layer may know of a place."""
    return plan.kinds * SHIFTS + (plan.findings if layer else 0)


def terms(plan: Plan, heads: int, layer: int) -> int:
    """How many terms a value of a layer may have."""
    seen = plan.kinds * (layer + 1) + (plan.findings if layer else 0)
    return 1 + PLACES + features(plan, layer) + heads * seen


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
        at, known = f"L{layer:02d}", features(plan, layer)
        found |= {
            f"{at}.curve": torch.zeros(heads, bend),
            f"{at}.primitives": torch.zeros(heads, PRIMITIVES),
            f"{at}.offers": torch.zeros(heads, known),
            f"{at}.seeks.query": 0.02 * torch.randn(heads, plan.rank, known, generator=generator),
            f"{at}.seeks.key": 0.02 * torch.randn(heads, plan.rank, known, generator=generator),
            f"{at}.seeks.bias": torch.zeros(heads, plan.rank),
            f"{at}.values": torch.zeros(terms(plan, heads, layer), plan.values),
            f"{at}.neurons": torch.zeros(plan.values, config.n_inner),
            f"{at}.bias": torch.zeros(config.n_inner),
        }
        if layer + 1 < config.n_layer:
            found[f"{at}.findings"] = torch.zeros(plan.values, plan.findings)
            found[f"{at}.fired"] = torch.zeros(config.n_inner, plan.findings)
    tensors = {name: tensor.to(model.device, model.dtype) for name, tensor in found.items()}
    return Student(model, plan, tensors)


def state(student: Student) -> Mapping[str, Tensor]:
    """All that a student holds, by name, as it is stored."""
    held = {f"tensor.{name}": tensor for name, tensor in student.tensors.items()}
    held |= {f"mask.{name}": mask for name, mask in student.masks.items()}
    return held if student.groups is None else held | {"groups": student.groups}
