"""When neurons fire: from a constant to a few sets of current and previous tokens, fitted where it matters.

A source that gives pre-activation c where the neuron's post-activation is z costs about ½ g² (act(c) − z)² nats, with
the gradient g of a drawn log-likelihood at z (see `effect.py`). A gated neuron's source gives z itself. Positions that
get the same c can be pooled: all that is needed of them are Σg², Σg²z and Σg²z². So all of this works on such moments,
of all neurons of a layer at once:

1. moments per current token give each token's own best level and what separating it from the rest would save; the
   tokens that save most per number become sets, their levels joined by one-dimensional k-means (exact, by dynamic
   programming); means of rare tokens are first drawn towards the neuron's mean;
2. the same per previous token, on what the sets of current tokens leave;
3. moments per cell (one of the sets, or none, of current tokens × the same of previous tokens) give the constants, by
   damped Gauss–Newton on the very loss, and on *tune* rows each candidate's score.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Integer, UInt8
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.exact.views import LayerView
from pellucid.family import seams
from pellucid.family.activations import activation
from pellucid.family.blocks import MLP
from pellucid.forms.form import TokenText
from pellucid.forms.forms import Fires, Which, token_texts
from pellucid.listing.numbers import literal
from pellucid.measure.record import record
from pellucid.stages.first.levels import Act, Cells, Inverse, clusters, gauss_newton, itself, loss

SETS = 3
"""The most sets about the same token."""
BUDGETS = (6, 12, 24, 48)
"""The numbers that candidates may hold, up to `max_numbers`."""
MOST_NUMBERS = 176
"""Beyond this a source would also have to count its syntax."""
ROUNDS = 3
"""How often tokens are chosen anew against the base that the choice before left."""
PRIOR = 2.0
"""A token's mean is drawn towards the neuron's as if so many average positions had been seen there."""
WORTH = 0.001
"""Every number must remove this share of the loss that the constant leaves, on *tune*."""
ENOUGH = 0.95
"""Fewer sets are preferred where they keep this share of what `SETS` sets save."""
BYTES = 4 << 30
"""The most memory that what neurons meet may take; more layers are done in several runs."""
KEPT_BYTES = 3 << 29
"""The most memory that what one layer's neurons are may take; more is computed anew for each step."""
MOST_WORDS = 8192
"""The most tokens that sets are made of; what is rarer says too little about any neuron to be worth its table."""


@dataclass(frozen=True)
class FiresCandidate:
    """A candidate source of a neuron, how many numbers it holds, and its losses in nats per token."""

    form: Fires
    numbers: int
    fit_loss: float
    tune_loss: float


@dataclass(frozen=True)
class FiresProposal:
    """All candidates of a neuron from simple to rich, the first being the constant, and which one is chosen."""

    candidates: tuple[FiresCandidate, ...]
    choice: int

    @property
    def chosen(self) -> FiresCandidate:
        return self.candidates[self.choice]

    @property
    def explained(self) -> float:
        """The share of the constant's tune loss that the chosen form removes."""
        return 1 - self.chosen.tune_loss / max(self.candidates[0].tune_loss, 1e-30)


@dataclass(frozen=True)
class TokenSets:
    """Sets of a layer's neurons: `here[token, neuron]` and `before[token, neuron]` number a token's set, 0 for none.

    Tokens are numbered as in `Words`; `here` and `before` have one row more, for no token.
    """

    here: UInt8[Tensor, "word neuron"]
    before: UInt8[Tensor, "word neuron"]

    def cells(self, words: Int[Tensor, "batch pos"], previous: Int[Tensor, "batch pos"]) -> Int[Tensor, "place neuron"]:
        """The cell of every position and neuron."""
        return ((1 + SETS) * self.here[words].long() + self.before[previous]).flatten(0, 1)


@dataclass(frozen=True)
class Usual:
    """The tokens that occur most in the fit rows, numbered; all others share the last number."""

    tokens: Int[Tensor, " word"]
    number: Int[Tensor, " vocab"]
    cost: Float[Tensor, " word"]

    @staticmethod
    def of(rows: Int[Tensor, "row pos"], vocab: int, text: TokenText) -> Usual:
        counts = torch.bincount(rows.flatten(), minlength=vocab)
        common = counts.argsort(descending=True, stable=True)[:MOST_WORDS]
        tokens = common[counts[common] > 0].sort().values
        number = torch.full((vocab,), len(tokens))
        number[tokens] = torch.arange(len(tokens))
        cost = torch.tensor([float(literal(text(int(token)))) for token in tokens])
        return Usual(tokens, number, cost)

    def __len__(self) -> int:
        return len(self.tokens)

    def pairs(self, ids: Int[Tensor, "batch pos"]) -> tuple[Int[Tensor, "batch pos"], Int[Tensor, "batch pos"]]:
        """The numbers of every token and of the one before it."""
        words = self.number[ids]
        start = torch.full_like(words[:, :1], len(self))
        return words, torch.cat([start, words[:, :-1]], 1)


def propose_fires(
    model: Model,
    fit: Int[Tensor, "fitted pos"],
    tune: Int[Tensor, "tuned pos"],
    max_numbers: int | None = None,
    seed: int = 0,
) -> dict[Address, FiresProposal]:
    """Candidates for every neuron, fitted on `fit` and scored on `tune` rows.

    None holds more numbers than the neuron's raw part (d_model + 1), nor than `max_numbers`.
    """
    limit = min(model.decoder.sizes.model + 1, MOST_NUMBERS, max_numbers or max(BUDGETS))
    text = token_texts(model.tokenizer)
    words = Usual.of(fit, model.n_vocab, text)
    together = max(1, BYTES // (2 * 4 * (fit.numel() + tune.numel()) * model.decoder.sizes.model))
    found: dict[Address, FiresProposal] = {}
    for start in range(0, model.decoder.layers, together):
        layers = range(start, min(start + together, model.decoder.layers))
        fitted, tuned = _met(model, fit, layers, words, seed), _met(model, tune, layers, words, seed + 1)
        for layer in layers:
            layer_fit = LayerFit(layer, said_through(model.decoder.blocks[layer].mlp), words, limit)
            kept = _kept(model, layer, fitted[layer])
            for step in range(3):
                for moments in kept or _moments(model, layer, fitted[layer]):
                    layer_fit.add(step, moments)
                layer_fit.finish(step)
            for moments in _moments(model, layer, tuned.pop(layer)):
                layer_fit.add(3, moments)
            del fitted[layer]
            found |= layer_fit.proposals(text)
    return found


def said_through(mlp: MLP) -> Act:
    """What turns what a source says into what its neuron writes with."""
    return itself if mlp.gate else activation(mlp.activation).torch


@dataclass(frozen=True)
class NeuronMoments:
    """A layer's neurons on a batch: weights ½g² in nats per token, post-activations, and the words at each position."""

    words: Int[Tensor, "batch pos"]
    previous: Int[Tensor, "batch pos"]
    weight: Float[Tensor, "place neuron"]
    post: Float[Tensor, "place neuron"]


@dataclass(frozen=True)
class _Met:
    """What a layer's neurons meet on all rows: what they read, the gradient at what they write, words by batches.

    That is a quarter of what they are, and they are quickly computed from it.
    """

    read: Float[Tensor, "place model"]
    slope: Float[Tensor, "place model"]
    pairs: list[tuple[Int[Tensor, "batch pos"], Int[Tensor, "batch pos"]]]


def _met(model: Model, rows: Int[Tensor, "row pos"], layers: Iterable[int], words: Usual, seed: int) -> dict[int, _Met]:
    """What the neurons of `layers` meet, by layer."""
    pairs: list[tuple[Tensor, Tensor]] = []
    room = (rows.numel(), model.decoder.sizes.model)  # taken at once: many small pieces would leave memory in shreds
    found = {
        layer: _Met(torch.empty(room, device=model.device), torch.empty(room, device=model.device), pairs)
        for layer in layers
    }
    into, out = ([of(layer) for layer in found] for of in (_read_at, partial(_written_at, model)))
    for batch in record(model, rows, (*into, *out), gradients=out, seed=seed):
        first = sum(held.numel() for held, _ in pairs)
        at = slice(first, first + batch.ids.numel())
        pairs.append(words.pairs(batch.ids))
        for layer, met in found.items():
            met.read[at] = batch.values[_read_at(layer)].flatten(0, 1)
            met.slope[at] = batch.gradients[0][_written_at(model, layer)].flatten(0, 1)
    return found


def _read_at(layer: int) -> str:
    return seams.at(layer).norm2


def _written_at(model: Model, layer: int) -> str:
    """What the neurons of a layer write together, before a norm behind them."""
    at = seams.at(layer)
    return at.mlp_sum if model.decoder.blocks[layer].mlp.behind else at.mlp_out


def _moments(model: Model, layer: int, met: _Met) -> Iterator[NeuronMoments]:
    """A layer's moments on every batch of rows."""
    own, places = model.layer(layer), 2 * len(met.read)
    sizes = [held.numel() for held, _ in met.pairs]
    reads, slopes = torch.split(met.read, sizes), torch.split(met.slope, sizes)
    for read, slope, (here, before) in zip(reads, slopes, met.pairs, strict=True):
        post = _posts(own, read)
        yield NeuronMoments(here, before, (slope @ own.write.T).square() / places, post)


def _posts(own: LayerView, read: Float[Tensor, "place model"]) -> Float[Tensor, "place neuron"]:
    """What the neurons of a layer write with, from the normed stream."""
    act = activation(own.block.mlp.activation).torch
    first = read @ own.read
    posts: Tensor = act(first if own.read_bias is None else first + own.read_bias)
    if own.block.mlp.gate is None:
        return posts
    second = read @ own.up
    return posts * (second if own.up_bias is None else second + own.up_bias)


def _kept(model: Model, layer: int, met: _Met) -> list[NeuronMoments]:
    """A layer's moments on all rows, or none where they would take too much memory."""
    room = 2 * 4 * len(met.read) * model.decoder.sizes.neuron
    return list(_moments(model, layer, met)) if room <= KEPT_BYTES else []


class LayerFit:
    """The fit of all neurons of a layer, in steps over the text; sums are all that it keeps."""

    def __init__(self, layer: int, act: Act, words: Usual, limit: int) -> None:
        self.layer, self.act, self.words, self.limit = layer, act, words, limit
        self.inverse = Inverse(act)
        self.rules: list[TokenSets] = []
        self.tables: Float[Tensor, "moment word neuron"] | None = None
        self.squares = self.price = torch.zeros(())
        self.positions = 0
        self.fit: list[Cells] = []
        self.tune: list[Cells] = []
        self.levels: list[Float[Tensor, "constant neuron"]] = []

    def add(self, step: int, m: NeuronMoments) -> None:
        """Take in a batch: moments per current token, per previous token, per cell on fit rows, or on tune rows."""
        if step == 0:
            self.tables = self._added(self.tables, m.words, m.weight, m.weight * m.post)
            self.squares = self.squares + (m.weight * m.post.square()).sum(0)
            self.positions += m.words.numel()
        elif step == 1:
            cells = self.rules[-1].cells(m.words, m.previous)
            left = m.post - self.act(self._pre(self.levels[0]).gather(0, cells))
            self.tables = self._added(self.tables, m.previous, m.weight, m.weight * left)
        else:
            into = self.fit if step == 2 else self.tune
            if not into:
                into += [torch.zeros(3, (1 + SETS) ** 2, m.post.shape[1]) for _ in self.rules]
            parts = (m.weight, m.weight * m.post, m.weight * m.post.square())
            for number, (rule, sums) in enumerate(zip(self.rules, into, strict=True)):
                if self._finer(number) is None:
                    cells = rule.cells(m.words, m.previous)
                    for part, total in zip(parts, sums, strict=True):
                        total.scatter_add_(0, cells, part)

    def _finer(self, number: int) -> int | None:
        """A rule whose cells divide those of another further, so that these need not be summed from text."""
        own, none = self.rules[number], self.rules[0].before
        if number == 0:
            return len(self.rules) - 1
        if own.before is not none:
            return None
        return next((n for n, rule in enumerate(self.rules) if rule.here is own.here and n != number), None)

    def _joined(self, found: Sequence[Cells]) -> list[Cells]:
        """The cells of every rule, those of finer ones joined."""
        whole = list(found)
        for number in range(len(self.rules)):
            finer = self._finer(number)
            if finer is not None:
                by_set = found[finer].view(3, 1 + SETS, 1 + SETS, -1).sum(2)
                by_set = F.pad(by_set.sum(1, keepdim=True), (0, 0, 0, SETS)) if number == 0 else by_set
                whole[number] = F.pad(by_set[:, :, None], (0, 0, 0, SETS)).flatten(1, 2)
        return whole

    def _added(self, tables: Tensor | None, words: Tensor, *parts: Tensor) -> Tensor:
        if tables is None:
            tables = torch.zeros(len(parts), len(self.words) + 1, parts[0].shape[1])
        for table, part in zip(tables, parts, strict=True):
            table.index_add_(0, words.flatten(), part)
        return tables

    def finish(self, step: int) -> None:
        """Draw the conclusions of a step over the fit rows."""
        if step == 2:
            self.fit = self._joined(self.fit)
            self.levels = [self._constants(rule, sums) for rule, sums in zip(self.rules, self.fit, strict=True)]
            return
        assert self.tables is not None
        weight, first = self.tables
        if step == 0:
            constant = self.squares - first.sum(0).square() / weight.sum(0).clamp(min=1e-30)
            self.price = WORTH * constant.clamp(min=0)
        prior = PRIOR * weight.sum(0) / self.positions
        known = slice(len(self.words))
        sides = [
            _sets(weight[known], first[known], prior, self.price, self.words.cost, budget - 2)
            for budget in self._budgets()
        ]
        if step == 0:
            none = torch.zeros(len(self.words) + 1, weight.shape[1], dtype=torch.uint8)
            self.rules = [TokenSets(none, none), *(TokenSets(side, none) for side in sides)]
            self.levels = [self._start(sides[-1], weight, first)]
        else:
            shared = zip(self.rules[1:-1], sides[:-1], strict=True)
            self.rules += [TokenSets(rule.here, before) for rule, before in shared]
        self.tables = None

    def _budgets(self) -> list[int]:
        return sorted({min(budget, self.limit) for budget in (*BUDGETS, self.limit)})

    def _start(
        self, side: Integer[Tensor, "word neuron"], weight: Tensor, first: Tensor
    ) -> Float[Tensor, "constant neuron"]:
        """Constants (bias, sets of the current token, of the previous one) at the sets' mean post-activations."""
        sums = torch.zeros(2, 1 + SETS, weight.shape[1])
        for part, total in zip((weight, first), sums, strict=True):
            total.scatter_add_(0, side.long(), part)
        overall = sums[1].sum(0) / sums[0].sum(0).clamp(min=1e-30)
        mean = torch.where(sums[0] > 0, sums[1] / sums[0].clamp(min=1e-30), overall)
        level = self.inverse(mean)
        return torch.cat([level[:1], level[1:] - level[:1], torch.zeros(SETS, weight.shape[1])])

    def _pre(self, levels: Float[Tensor, "constant neuron"]) -> Float[Tensor, "cell neuron"]:
        """The pre-activation in each cell."""
        none = torch.zeros_like(levels[:1])
        here, before = torch.cat([none, levels[1 : 1 + SETS]]), torch.cat([none, levels[1 + SETS :]])
        return levels[0] + (here[:, None] + before[None]).flatten(0, 1)

    def _constants(self, rule: TokenSets, cells: Cells) -> Float[Tensor, "constant neuron"]:
        """The constants of least loss."""
        by_set = cells.view(3, 1 + SETS, 1 + SETS, -1).sum(2)
        start = self._start_from(by_set)
        used = [torch.ones(1, start.shape[1], dtype=torch.bool)]
        used += [torch.stack([(side == n).any(0) for n in range(1, 1 + SETS)]) for side in (rule.here, rule.before)]
        longest = math.inf if self.act is itself else 2.0  # a parabola is least where one step leads
        return gauss_newton(self._pre, self.act, start, cells, torch.cat(used), longest)

    def _start_from(self, by_set: Float[Tensor, "moment set neuron"]) -> Float[Tensor, "constant neuron"]:
        numbers = torch.arange(1 + SETS)[:, None].expand(-1, by_set.shape[2])
        return self._start(numbers, by_set[0], by_set[1])

    def proposals(self, text: TokenText) -> dict[Address, FiresProposal]:
        """All candidates of every neuron, and the choice."""
        self.tune = self._joined(self.tune)
        candidates: list[list[Fires]] = [
            self._forms(rule, at) for rule, at in zip(self.rules, self.levels, strict=True)
        ]
        losses = [
            [self._losses(*of) for of in zip(candidates, self.rules, cells, strict=True)]
            for cells in (self.fit, self.tune)
        ]
        found: dict[Address, FiresProposal] = {}
        for neuron, forms in enumerate(zip(*candidates, strict=True)):
            tried = [
                FiresCandidate(form, form.numbers(text), *(float(split[n][neuron]) for split in losses))
                for n, form in enumerate(forms)
            ]
            found[forms[0].address] = choose(candidate for candidate in tried if candidate.numbers <= self.limit)
        return found

    def _forms(self, rule: TokenSets, levels: Float[Tensor, "constant neuron"]) -> list[Fires]:
        """The rule of every neuron with its constants, rounded."""
        members: list[list[tuple[Which, tuple[int, ...], float]]] = [[] for _ in range(levels.shape[1])]
        sides: tuple[tuple[Which, Tensor, int], ...] = (("token", rule.here, 1), ("previous", rule.before, 1 + SETS))
        for which, side, first in sides:
            groups: dict[tuple[int, int], list[int]] = {}
            for word, neuron in side.nonzero().tolist():
                groups.setdefault((neuron, int(side[word, neuron])), []).append(int(self.words.tokens[word]))
            for (neuron, number), tokens in sorted(groups.items()):
                members[neuron].append((which, tuple(tokens), float(levels[first + number - 1, neuron])))
        addresses = (Address("IN", self.layer, neuron) for neuron in range(levels.shape[1]))
        return [
            Fires(address, float(bias), tuple(sets))
            for address, bias, sets in zip(addresses, levels[0], members, strict=True)
        ]

    def _losses(self, forms: Sequence[Fires], rule: TokenSets, cells: Cells) -> Float[Tensor, " neuron"]:
        """The loss of each form, with the constants that it prints."""
        levels = torch.zeros(1 + 2 * SETS, len(forms))
        for neuron, form in enumerate(forms):
            levels[0, neuron] = form.bias
            for which, members, weight in form.sets:
                word = self.words.number[members[0]]
                first, side = (1, rule.here) if which == "token" else (1 + SETS, rule.before)
                levels[first + int(side[word, neuron]) - 1, neuron] = weight
        return loss(self.act(self._pre(levels)), cells).sum(0)


def choose(candidates: Iterable[FiresCandidate]) -> FiresProposal:
    """The candidate whose loss on *tune*, charged with `WORTH` of the constant's for each number, is least."""
    distinct = {candidate.form: candidate for candidate in candidates}.values()
    kept = tuple(sorted(distinct, key=lambda candidate: candidate.numbers))
    price = WORTH * kept[0].tune_loss
    charged = [candidate.tune_loss + price * (candidate.numbers - 1) for candidate in kept]
    return FiresProposal(kept, charged.index(min(charged)))


def _sets(
    weight: Float[Tensor, "word neuron"],
    first: Float[Tensor, "word neuron"],
    prior: Float[Tensor, " neuron"],
    price: Float[Tensor, " neuron"],
    cost: Float[Tensor, " word"],
    budget: int,
) -> UInt8[Tensor, "word_or_none neuron"]:
    """Sets of words within `budget` numbers, joined by how far they move a neuron's post-activation from its base.

    They are those words that save most per number, as long as that is more than `price`. The base is the mean over all
    other words, so choosing and taking the mean alternate.
    """
    most = min(len(cost), max(1, budget))
    chosen = torch.zeros_like(weight, dtype=torch.bool)
    for _ in range(ROUNDS):
        base = (first * ~chosen).sum(0) / (weight * ~chosen).sum(0).clamp(min=1e-30)
        shift = (first - weight * base) / (weight + prior).clamp(min=1e-30)
        gain = weight * shift.square()
        saved, order = (gain / cost[:, None]).topk(most, dim=0)
        spent = cost[order].cumsum(0) + torch.arange(1, 1 + most).clamp(max=SETS)[:, None] - 1
        kept = (spent <= budget) & (saved > price)
        chosen = torch.zeros_like(chosen).scatter_(0, order, kept)
    group = clusters(weight.gather(0, order) * kept, shift.gather(0, order), kept, SETS, ENOUGH)
    sets = torch.zeros(len(cost) + 1, weight.shape[1], dtype=torch.uint8)
    return sets.scatter_(0, order, group)


def summary(proposals: Iterable[FiresProposal]) -> float:
    """The median share of the constants' tune loss that the chosen forms remove."""
    return float(torch.tensor([proposal.explained for proposal in proposals]).median())
