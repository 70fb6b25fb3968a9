"""Scores of parts on the subject's own activations: 0 is what the mean in a part's place scores, 1 is perfect."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.forms.form import StoredForm, Together, Written, grouped
from pellucid.measure.record import Recording, record


class ClassScore(ABC):
    """Sums over text about forms of one class in one layer, and the scores that follow from them."""

    watched: tuple[str, ...] = ()
    """The activations that are compared, by their short names."""

    def __init__(self, group: Together[Any]) -> None:
        self.group = group
        self.names = [*map(group.at.named, self.watched), *group.reads]

    def own(self, batch: Recording, name: str) -> Tensor:
        """What the layer itself does there."""
        return batch.values[self.group.at.named(name)]

    def said(self, batch: Recording) -> list[Tensor]:
        """What the forms say, in pieces."""
        return [piece for _, piece in self.group.pieces(self.group.seen(batch.ids, batch.values))]

    @abstractmethod
    def add(self, batch: Recording) -> None:
        """Take in a batch."""

    @abstractmethod
    def scores(self) -> Sequence[float]:
        """One a form."""


def scores(model: Model, forms: Mapping[Address, Written], rows: Int[Tensor, "row pos"]) -> dict[Address, float]:
    """For a neuron the correlation of its source's pre-activations with its own, over all positions of `rows`.

    For a head the share that its source removes of the total variation between its own pattern and the uniform one.
    """
    found: dict[Address, float] = {}
    for _, groups in groupby(grouped(model, forms.values()), key=lambda group: group.layer):  # memory holds a layer's
        asked = [_Closeness(group) if group.output.name == "scores" else _Correlation(group) for group in groups]
        found |= measured(asked, rows)
    return found


def kept(model: Model, forms: Iterable[StoredForm], rows: Int[Tensor, "row pos"]) -> dict[Address, float]:
    """The share of variance that each lifted form keeps of what its part computes, over all positions of `rows`.

    Of a head's write (OV), of a neuron's pre-activation (IN), and of a head's scores around their mean over the keys
    as it sees them (QK). 0 is what the mean keeps, and a part that never varies. What a neuron writes is no matter of
    directions; it has no share.
    """
    by_kind: dict[str, type[ClassScore]] = {"z": _Moved, "pre": _Read, "scores": _Compared}
    groups = [group for group in grouped(model, forms) if group.output.name in by_kind]
    return measured([by_kind[group.output.name](group) for group in groups], rows)


def measured(asked: Sequence[ClassScore], rows: Int[Tensor, "row pos"]) -> dict[Address, float]:
    """What `asked` come to on `rows`."""
    names = sorted({name for score in asked for name in score.names})
    for batch in record(asked[0].group.model, rows, names) if asked else ():
        for score in asked:
            score.add(batch)
    pairs = (zip(score.group.addresses, score.scores(), strict=True) for score in asked)
    return {address: value for of_group in pairs for address, value in of_group}


def head_out(model: Model, address: Address) -> Float[Tensor, "dim model"]:
    """The rows through which a head writes."""
    return model.layer(address.layer).out[address.index]


# --- sources ----------------------------------------------------------------------------------------------------------


class _Shares(ClassScore):
    """What is left of a whole, part by part: the score is the share that is not."""

    def __init__(self, group: Together[Any]) -> None:
        super().__init__(group)
        self.sums = [[0.0, 0.0] for _ in group.forms]

    def add(self, batch: Recording) -> None:
        """Take in a batch."""
        for sums, part, said in zip(self.sums, self.group.parts, self.said(batch), strict=True):
            for n, value in enumerate(self.compare(batch, part, said)):
                sums[n] += float(value)

    @abstractmethod
    def compare(self, batch: Recording, part: int, said: Tensor) -> tuple[Tensor, Tensor]:
        """What is left, and the whole, of one part of which a form says so much."""

    def scores(self) -> list[float]:
        """One a form; 0 where there is nothing to remove."""
        return [1 - left / whole if whole else 0.0 for left, whole in self.sums]


class _Closeness(_Shares):
    """How near patterns are, beside the uniform one."""

    watched = ("pattern",)

    def compare(self, batch: Recording, part: int, said: Tensor) -> tuple[Tensor, Tensor]:
        """Total variation of both, twice."""
        own = self.own(batch, "pattern")[:, part]
        left, whole = (self.pattern(scores) - own for scores in (said, torch.zeros_like(said)))
        return left.abs().sum(), whole.abs().sum()

    def pattern(self, scores: Tensor) -> Tensor:
        """What scores of a head of this layer give."""
        return self.group.output.feel(scores, self.group.model, self.group.layer)


class _Correlation(ClassScore):
    """How pre-activations go with each other; of gated neurons, activations."""

    def __init__(self, group: Together[Any]) -> None:
        self.watched = (group.output.name,)
        super().__init__(group)
        self.sums, self.count = torch.zeros(5, len(group.forms), dtype=torch.float64), 0

    def add(self, batch: Recording) -> None:
        """Take in a batch."""
        (piece,) = self.said(batch)
        own, said = (x.flatten(0, 1).double() for x in (self.own(batch, *self.watched)[..., self.group.parts], piece))
        self.sums += torch.stack([x.sum(0) for x in (own, said, own * own, said * said, own * said)])
        self.count += batch.ids.numel()

    def scores(self) -> list[float]:
        """One a neuron."""
        found: list[float] = pearson(self.sums, self.count).tolist()
        return found


def pearson(sums: Float64[Tensor, "5 neuron"], n: int) -> Float64[Tensor, " neuron"]:
    """Correlations from Σa, Σb, Σa², Σb², Σab; 0 where one side does not vary."""
    a, b, aa, bb, ab = sums / n
    spread = ((aa - a * a).clamp(min=0) * (bb - b * b).clamp(min=0)).sqrt()
    return torch.where(spread > 1e-12, (ab - a * b) / spread.clamp(min=1e-12), 0.0)


# --- lifted parts -----------------------------------------------------------------------------------------------------


class _Moved(_Shares):
    """What is kept of the variance of a head's write; its forms know their part's `mean`."""

    watched = ("z",)

    def compare(self, batch: Recording, part: int, said: Tensor) -> tuple[Tensor, Tensor]:
        """Σ |said − own|² and Σ |own − mean|²."""
        z, form = self.own(batch, "z")[:, :, part], self.group.forms[self.group.parts.index(part)]
        out = head_out(self.group.model, form.address)
        left, whole = (said - z) @ out, (z - form.mean) @ out
        return left.double().square().sum(), whole.double().square().sum()


class _Compared(_Shares):
    """The same of a head's scores, less their mean over keys; a key counts as much as the head sees of it."""

    watched = ("scores", "pattern")

    def compare(self, batch: Recording, part: int, said: Tensor) -> tuple[Tensor, Tensor]:
        """Σ |said − own|² and Σ |own|², around their means."""
        own, weight = (self.own(batch, name)[:, part] for name in ("scores", "pattern"))
        left, whole = (
            (weight * (x - (weight * x).sum(-1, keepdim=True)).square()).double().sum() for x in (said - own, own)
        )
        return left, whole


class _Read(ClassScore):
    """The same of the pre-activations of neurons."""

    watched = ("pre",)

    def __init__(self, group: Together[Any]) -> None:
        super().__init__(group)
        self.sums, self.count = torch.zeros(3, len(group.forms), dtype=torch.float64), 0

    def add(self, batch: Recording) -> None:
        """Take in a batch."""
        (said,) = self.said(batch)
        own = self.own(batch, "pre").flatten(0, 1)[:, self.group.parts].double()
        left = said.flatten(0, 1) - own
        self.sums += torch.stack([left.square().sum(0), own.sum(0), own.square().sum(0)])
        self.count += len(own)

    def scores(self) -> list[float]:
        """1 − Σ |said − own|² / Σ |own − mean|² of each neuron."""
        left, total, square = self.sums
        whole = square - total.square() / max(1, self.count)
        found: list[float] = torch.where(whole > 1e-12 * square, 1 - left / whole.clamp(min=1e-30), 0.0).tolist()
        return found
