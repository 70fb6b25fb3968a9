"""The proof of a wired program: what it says beside the subject, and how far its sentences carry, on held-out text.

A sentence names the largest terms of a part. The part with these terms alone is the rule that the sentence is: its
simulation. How well it says what the part does is its correlation with the part (Bills et al. 2023, "Language models
can explain neurons in language models"), beside that of a table of the mean by token; what it costs in the part's place
is a second-order estimate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.forms.effect import estimate
from pellucid.forms.stored import Channel, Compares, stacked
from pellucid.listing.wiring import Terms, Wires
from pellucid.measure.distance import divergence
from pellucid.measure.record import batches
from pellucid.program.wires import ONE
from pellucid.project.rows import Rows
from pellucid.stages.first.token_table import PairSums, table_scores


@dataclass(frozen=True)
class WiredProof:
    """What held-out text says: `kl` of the whole program, nats per token; the rest by address.

    `scores`: the correlation of a source's output with the raw part's; `simulated`: that of its sentence; `table`: that
    of a table of means by token; `costs`: what the sentence's rule costs in the part's place. A part whose output never
    varies has no score.
    """

    kl: float
    scores: dict[Address, float | None]
    simulated: dict[Address, float | None]
    table: dict[Address, float | None]
    costs: dict[Address, float]


@dataclass
class _Layer:
    """What is summed over text about one layer."""

    heads: PairSums = field(default_factory=PairSums)
    neurons: PairSums = field(default_factory=PairSums)
    told_heads: PairSums = field(default_factory=PairSums)
    told_neurons: PairSums = field(default_factory=PairSums)
    moved: list[tuple[Float64[Tensor, " head"], Float64[Tensor, " head"]]] = field(default_factory=list)


def prove(
    model: Model, program: Model, rules: Rules, fit: Rows, heldout: Int[Tensor, "heldout pos"], seed: int
) -> WiredProof:
    """Compare `program`, the model that the text is, and the rules of its sentences with the subject `model`."""
    table = table_scores(model, fit, heldout)
    layers = [_Layer() for _ in range(model.decoder.layers)]
    kl = 0.0
    wanted = [f"L{n:02d}.{what}" for n in range(len(layers)) for what in ("LN1", "LN2", "scores", "pre", "pattern")]
    for ids in batches(heldout, model.n_vocab):
        with torch.no_grad():
            own, said = (each.run(ids, (*wanted, "logits")) for each in (model, program))
        kl += divergence(own["logits"], said["logits"])
        for number, layer in enumerate(layers):
            _add(layer, rules, number, own, said)
    costs = estimate(model, heldout, rules.forms(), seed=seed)[0]
    return _proof(kl / heldout.numel(), layers, rules, table, costs)


def _add(layer: _Layer, rules: Rules, number: int, own: Mapping[str, Tensor], said: Mapping[str, Tensor]) -> None:
    """Count a batch in."""
    at = f"L{number:02d}"
    seen = torch.ones(own[f"{at}.scores"].shape[-2:], dtype=torch.bool).tril()
    scores, others, by_rule = (
        _centred(scores)[..., seen].permute(0, 2, 1)
        for scores in (own[f"{at}.scores"], said[f"{at}.scores"], rules.scores(number, own[f"{at}.LN1"]))
    )
    layer.heads.add(scores, others)
    layer.told_heads.add(scores, by_rule)
    pre = own[f"{at}.pre"]
    layer.neurons.add(pre, said[f"{at}.pre"])
    layer.told_neurons.add(pre, rules.pre(number, own[f"{at}.LN2"]))
    layer.moved.append(rules.moved(number, own[f"{at}.LN1"], own[f"{at}.pattern"]))


def _centred(scores: Float[Tensor, "batch head query key"]) -> Float[Tensor, "batch head query key"]:
    """Scores less their mean over the keys of a query, which does not change where a head looks."""
    seen = torch.ones(scores.shape[-2:], dtype=scores.dtype).tril()
    kept = scores.masked_fill(seen == 0, 0)  # those of later keys are minus infinity
    return kept - (kept.sum(-1) / seen.sum(-1))[..., None]


def _proof(
    kl: float,
    layers: Sequence[_Layer],
    rules: Rules,
    table: dict[Address, float | None],
    costs: dict[Address, float],
) -> WiredProof:
    scores: dict[Address, float | None] = {}
    simulated: dict[Address, float | None] = {}
    for number, layer in enumerate(layers):
        for kind, own, told in (("QK", layer.heads, layer.told_heads), ("IN", layer.neurons, layer.told_neurons)):
            for n, (score, rule) in enumerate(zip(own.correlation(), told.correlation(), strict=True)):
                address = Address(kind, number, n)  # type: ignore[arg-type]
                scores[address], simulated[address] = score, rule
        left, whole = (torch.stack([pair[side] for pair in layer.moved]).sum(0) for side in (0, 1))
        for head, (lost, all_of_it) in enumerate(zip(left.tolist(), whole.tolist(), strict=True)):
            simulated[Address("OV", number, head)] = 1 - lost / all_of_it if all_of_it else None
        simulated |= {Address("OUT", number, n): kept for n, kept in enumerate(rules.kept(number))}
    return WiredProof(kl, scores, simulated, table, costs)


class Rules:
    """The rules of sentences, as weights of all parts of a layer at once."""

    def __init__(self, model: Model, told: Mapping[Address, Wires], names: Sequence[str], signs: Sequence[int]) -> None:
        self.model, self.told = model, told
        self.at = {name: (number, sign) for number, (name, sign) in enumerate(zip(names, signs, strict=True))}
        self._all = torch.eye(model.decoder.sizes.model)

    @cached_property
    def channels(self) -> dict[Address, Channel]:
        """The rules of all IN."""
        return {address: self._channel(address) for address in self.told if address.kind == "IN"}

    @cached_property
    def looks(self) -> dict[Address, Compares]:
        """The rules of all QK."""
        return {address: self._compares(address) for address in self.told if address.kind == "QK"}

    def row(self, terms: Terms) -> Float[Tensor, " model"]:
        """Coefficients of all coordinates."""
        row = torch.zeros(self.model.decoder.sizes.model)
        for name, coefficient in terms.items():
            if name != ONE:
                at, sign = self.at[name]
                row[at] = sign * coefficient
        return row

    def _channel(self, address: Address) -> Channel:
        """The rule of a neuron's IN."""
        wires = self.told[address]
        return Channel(address, self._all, self.row(wires.terms), wires.bias or 0.0)

    def _compares(self, address: Address) -> Compares:
        """The rule of a head's QK; the scale of scores is in what it seeks."""
        pairs = self.told[address].pairs or (({}, {}),)
        scale = self.model.decoder.blocks[address.layer].attention.scale
        seeks, offers = (torch.stack([self.row(pair[side]) for pair in pairs], 1) for side in (0, 1))
        ones = torch.tensor([pair[0].get(ONE, 0.0) for pair in pairs])
        return Compares(address, seeks / scale, offers, ones / scale)

    def forms(self) -> list[Channel | Compares]:
        """The rules of all QK and IN."""
        return [*self.looks.values(), *self.channels.values()]

    def scores(self, layer: int, x: Float[Tensor, "batch pos model"]) -> Float[Tensor, "batch head query key"]:
        """What the rules of heads say."""
        scale = self.model.decoder.blocks[layer].attention.scale
        heads = range(self.model.decoder.sizes.head)
        return torch.stack([self.looks[Address("QK", layer, head)].twin(x, scale) for head in heads], 1)

    def pre(self, layer: int, x: Float[Tensor, "batch pos model"]) -> Float[Tensor, "batch pos neuron"]:
        """What the rules of neurons say."""
        _, write, bias = stacked(
            [self.channels[Address("IN", layer, n)] for n in range(self.model.decoder.sizes.neuron)]
        )
        return x @ write + bias

    def moved(
        self, layer: int, x: Float[Tensor, "batch pos model"], pattern: Float[Tensor, "batch head query key"]
    ) -> tuple[Float64[Tensor, " head"], Float64[Tensor, " head"]]:
        """For each head the squares of what its rule does not move, and of all that it moves."""
        lost, whole = [], []
        own = self.model.layer(layer)
        for head in range(self.model.decoder.sizes.head):
            exact = (pattern[:, head] @ (x @ own.value[:, head])) @ own.out[head]
            pairs = self.told[Address("OV", layer, head)].pairs
            if pairs:
                takes, gives = (torch.stack([self.row(pair[side]) for pair in pairs]) for side in (0, 1))
                told = (pattern[:, head] @ (x @ takes.T)) @ gives
            else:
                told = torch.zeros_like(exact)
            lost.append((exact - told).double().square().sum())
            whole.append(exact.double().square().sum())
        return torch.stack(lost), torch.stack(whole)

    def kept(self, layer: int) -> Iterator[float | None]:
        """For each neuron the share of the squares of what it writes that its sentence names."""
        for neuron in range(self.model.decoder.sizes.neuron):
            row = self.model.layer(layer).write[neuron]
            told, whole = self.row(self.told[Address("OUT", layer, neuron)].terms), float(row.square().sum())
            yield 1 - float((row - told).square().sum()) / whole if whole else None
