"""Where heads look: from uniform attention to a few weighted terms, fitted to what each head really does.

With P the head's pattern and Q = softmax(Σ_f w_f φ_f) that of a candidate, the mean of KL(P ‖ Q) over queries is convex
in the weights w: its gradient is E_Q[φ] − E_P[φ] and its Hessian the mean covariance of φ under Q, so Newton's method
finds the optimum. Terms enter one by one. Those with the best score test, gradient² / (2 · curvature), are tried, and
the one that leaves the smallest KL stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.exact.ops import outside
from pellucid.forms.forms import AfterSame, Distance, First, Looks, Offset, SameToken, Sink, Term
from pellucid.measure.record import batches

MOST_TERMS = 6
SHORTLIST = 3
WORTH = 0.02
"""A further term must remove this share of the KL that uniform attention leaves, on *tune*."""
PAIRS = 1 << 19
"""Query-key pairs that are kept of each split by default: bounds memory and time, whatever the amount of text."""
_RIDGE = 1e-6


@dataclass(frozen=True)
class LooksCandidate:
    """A candidate source of a head and how it does: nats of pattern KL and total variation, means over queries."""

    form: Looks
    fit_kl: float
    tune_kl: float
    tune_variation: float


@dataclass(frozen=True)
class LooksProposal:
    """All candidates of a head from simple to rich, the first being uniform, and which one is chosen."""

    candidates: tuple[LooksCandidate, ...]
    choice: int

    @property
    def chosen(self) -> LooksCandidate:
        return self.candidates[self.choice]

    @property
    def explained(self) -> float:
        """The share of uniform attention's tune KL that the chosen form removes."""
        return 1 - self.chosen.tune_kl / max(self.candidates[0].tune_kl, 1e-12)


@dataclass(frozen=True)
class Queries:
    """Sampled queries: where they might look, what the terms say, and where each head of a layer does look."""

    seen: Bool[Tensor, "query key"]
    features: Float[Tensor, "query key term"]
    patterns: Float[Tensor, "head query key"]


def terms_for(length: int, sinks: bool = False) -> list[Term]:
    """The terms that heads may use in texts of up to `length` tokens, `sinks` among them."""
    limits = [1 << n for n in range(1, max(2, length.bit_length() - 1), 1)]
    first: list[Term] = [First(), Sink()] if sinks else [First()]
    return [*first, SameToken(), AfterSame(), *map(Offset, range(4)), *map(Distance, limits)]


def propose_looks(
    model: Model,
    fit: Int[Tensor, "fitted pos"],
    tune: Int[Tensor, "tuned pos"],
    seed: int = 0,
    pairs: int = PAIRS,
    sinks: bool | None = None,
) -> dict[Address, LooksProposal]:
    """Candidates for every head, fitted on `fit` and scored on `tune` rows, on so many `pairs` of tokens of each.

    Where nothing is said, `sinks` are offered if positions are not learned: a head can look at a learned one by itself.
    """
    terms = terms_for(fit.shape[1], sinks=model.decoder.positions is None if sinks is None else sinks)
    found: dict[Address, LooksProposal] = {}
    asked = [SampledQueries.of(sampled(rows, pairs), model.n_vocab, terms, seed, pairs) for rows in (fit, tune)]
    for layer, sides in enumerate(zip(*(patterns(model, side.rows) for side in asked), strict=True)):
        window = model.decoder.blocks[layer].attention.window
        samples = [side.answered(said, window) for side, said in zip(asked, sides, strict=True)]
        for head in range(model.decoder.sizes.head):
            found[Address("QK", layer, head)] = propose(Address("QK", layer, head), terms, *samples)
    return found


def sampled(rows: Int[Tensor, "row pos"], pairs: int) -> Int[Tensor, "row pos"]:
    """As many of `rows` as `pairs` allow, with eight queries each."""
    return rows[: max(1, pairs // (rows.shape[1] * 8))]


def patterns(model: Model, rows: Int[Tensor, "row pos"]) -> Iterator[Iterator[Tensor]]:
    """Layer by layer, the patterns of all heads, by batches; each layer goes on from the one before it."""
    streams: list[tuple[Tensor, dict[str, Tensor]]] = [(ids, {}) for ids in batches(rows, model.n_vocab)]

    def run(layer: int) -> Iterator[Tensor]:
        pattern, after = f"L{layer:02d}.pattern", f"L{layer:02d}.resid_post"
        for number, (ids, given) in enumerate(streams):
            with torch.no_grad():
                values = model.run(ids, (pattern, after), given)
            streams[number] = ids, {after: values[after]}
            yield values[pattern]

    for layer in range(model.decoder.layers):
        yield run(layer)


@dataclass(frozen=True)
class SampledQueries:
    """Queries of `rows`, the same ones in every layer, and what the terms say of them.

    They are spread evenly over rows and at random over positions; of the first position there are none.
    """

    rows: Int[Tensor, "row pos"]
    places: Int[Tensor, "row each"]
    seen: Bool[Tensor, "query key"]
    features: Float[Tensor, "query key term"]

    @staticmethod
    def of(
        rows: Int[Tensor, "row pos"], vocab: int, terms: Sequence[Term], seed: int, pairs: int = PAIRS
    ) -> SampledQueries:
        """The queries that a seed draws; `vocab` is how many tokens the model has, which bounds batches."""
        length = rows.shape[1]
        each = max(1, min(length - 1, pairs // (length * len(rows))))
        generator = torch.Generator().manual_seed(seed)
        places = torch.stack([1 + torch.randperm(length - 1, generator=generator)[:each] for _ in rows])
        features, start = [], 0
        for ids in batches(rows, vocab):
            here = places[start : start + len(ids)]
            start += len(here)
            pick = torch.arange(len(here))[:, None]
            said = [term.twin(ids).expand(len(here), -1, -1)[pick, here] for term in terms]
            features.append(torch.stack(said, -1).flatten(0, 1))
        seen = torch.arange(length)[None] <= places.flatten()[:, None]
        return SampledQueries(rows, places, seen, torch.cat(features) * seen[..., None])

    def answered(self, text: Iterable[Float[Tensor, "batch head query key"]], window: int | None = None) -> Queries:
        """Where the heads of a layer look from there, by their patterns on batches of the rows.

        Of a layer with a `window`, a query sees no key before that.
        """
        looked, start = [], 0
        for pattern in text:
            here = self.places[start : start + len(pattern)]
            start += len(here)
            pick = torch.arange(len(here))[:, None]
            looked.append(pattern.transpose(1, 2)[pick, here].flatten(0, 1).transpose(0, 1))
        seen = self.seen if window is None else self.seen & self._near(window)
        return Queries(seen, self.features, torch.cat(looked, 1) * seen)

    def _near(self, window: int) -> Bool[Tensor, "query key"]:
        """Which keys are within the window of each query."""
        length = self.rows.shape[1]
        return ~outside(length, length, window, self.rows.device)[self.places.flatten()]


def propose(address: Address, terms: Sequence[Term], fit: Queries, tune: Queries) -> LooksProposal:
    """Candidates of one head (`address.index` says which of the layer's), each a prefix of the greedy selection."""
    problem = _Problem.of(fit, address.index)
    chosen: list[int] = []
    weights = torch.zeros(0, dtype=torch.float64)
    forms = [Looks(address)]
    for _ in range(min(MOST_TERMS, len(terms))):
        tried = [
            (*problem.fit([*chosen, term], torch.cat([weights, weights.new_zeros(1)])), term)
            for term in problem.shortlist(chosen, weights)
        ]
        if not tried:
            break
        _, weights, term = min(tried, key=lambda result: result[0])
        chosen.append(term)
        scaled = (weights / problem.scale[chosen]).tolist()
        forms.append(Looks(address, tuple((terms[at], weight) for at, weight in zip(chosen, scaled, strict=True))))
    candidates = tuple(_score(form, terms, fit, tune) for form in forms)
    return LooksProposal(candidates, choose([candidate.tune_kl for candidate in candidates]))


def choose(losses: Sequence[float]) -> int:
    """The candidate with the least loss plus `WORTH` times the first one's loss for every step from the first."""
    charged = [loss + WORTH * losses[0] * step for step, loss in enumerate(losses)]
    return charged.index(min(charged))


def _score(form: Looks, terms: Sequence[Term], fit: Queries, tune: Queries) -> LooksCandidate:
    return LooksCandidate(form, divergence(form, terms, fit)[0], *divergence(form, terms, tune))


def divergence(form: Looks, terms: Sequence[Term], queries: Queries) -> tuple[float, float]:
    """Mean KL (nats) and total variation between the pattern of a head and that of `form`, over `queries`."""
    scores = torch.zeros(queries.seen.shape, dtype=torch.float64)
    for term, weight in form.terms:
        scores += weight * queries.features[..., terms.index(term)]
    log_q = scores.masked_fill(~queries.seen, -torch.inf).log_softmax(-1).masked_fill(~queries.seen, 0)
    p = queries.patterns[form.address.index].double()
    kl = (torch.special.xlogy(p, p) - p * log_q).sum(-1).mean()
    variation = 0.5 * (p - log_q.exp() * queries.seen).abs().sum(-1).mean()
    return float(kl), float(variation)


@dataclass(frozen=True)
class _Problem:
    """The fit of one head on the pairs that its queries see, laid out one behind the other.

    `scale` brings every term's range to at most 1; weights in here are per scaled term.
    """

    query: Int[Tensor, " pair"]
    count: int
    features: Float64[Tensor, "pair term"]
    observed: Float64[Tensor, " term"]
    entropy: float
    scale: Float64[Tensor, " term"]

    @staticmethod
    def of(queries: Queries, head: int) -> _Problem:
        query = queries.seen.nonzero()[:, 0]
        features = queries.features[queries.seen].double()
        scale = features.abs().amax(0).clamp(min=1)
        p = queries.patterns[head][queries.seen].double()
        count = len(queries.seen)
        features /= scale
        observed = (p @ features) / count
        return _Problem(query, count, features, observed, float(torch.special.xlogy(p, p).sum()) / count, scale)

    def fit(self, chosen: Sequence[int], start: Float64[Tensor, " chosen"]) -> tuple[float, Float64[Tensor, " chosen"]]:
        """The least mean KL that the terms `chosen` reach, and their weights: Newton's method with step halving."""
        features, observed = self.features[:, list(chosen)], self.observed[list(chosen)]
        weights = start
        kl, q = self._kl(features, observed, weights)
        for _ in range(30):
            weighted = features * q[:, None]
            by_query = features.new_zeros(self.count, len(weights)).index_add_(0, self.query, weighted)
            gradient = by_query.sum(0) / self.count - observed + 2 * _RIDGE * weights
            hessian = (weighted.T @ features - by_query.T @ by_query) / self.count
            step = torch.linalg.solve(hessian + 2 * _RIDGE * torch.eye(len(weights)).double(), gradient)
            step *= min(1.0, 4.0 / max(float(step.abs().max()), 1e-12))
            decrease = float(gradient @ step)
            for _ in range(8):
                tried = weights - step
                tried_kl, tried_q = self._kl(features, observed, tried)
                if tried_kl <= kl:
                    break
                step = step / 2
            else:
                break
            weights, kl, q = tried, tried_kl, tried_q
            if decrease < 1e-7:
                break
        return kl, weights

    def shortlist(self, chosen: Sequence[int], weights: Float64[Tensor, " chosen"]) -> list[int]:
        """The terms, not `chosen` yet, with the best score tests at `weights`."""
        _, q = self._kl(self.features[:, list(chosen)], self.observed[list(chosen)], weights)
        weighted = self.features * q[:, None]
        by_query = self.features.new_zeros(self.count, len(self.scale)).index_add_(0, self.query, weighted)
        gradient = by_query.sum(0) / self.count - self.observed
        variance = ((weighted * self.features).sum(0) - by_query.square().sum(0)) / self.count
        gains = gradient.square() / (2 * variance).clamp(min=1e-12)
        gains[variance < 1e-9] = 0
        gains[list(chosen)] = 0
        best = gains.argsort(descending=True)[:SHORTLIST].tolist()
        return [term for term in best if gains[term] > 1e-6]

    def _kl(
        self,
        features: Float64[Tensor, "pair chosen"],
        observed: Float64[Tensor, " chosen"],
        weights: Float64[Tensor, " chosen"],
    ) -> tuple[float, Float64[Tensor, " pair"]]:
        """The mean KL (with a ridge that keeps weights finite where data separate) and the candidate's pattern."""
        scores = features @ weights
        top = scores.new_full((self.count,), -torch.inf).scatter_reduce_(0, self.query, scores, "amax")
        q = (scores - top[self.query]).exp_()
        total = q.new_zeros(self.count).index_add_(0, self.query, q)
        log_normaliser = float((total.log() + top).sum()) / self.count
        kl = self.entropy + log_normaliser - float(observed @ weights) + _RIDGE * float(weights.square().sum())
        return kl, q / total[self.query]


def summary(proposals: Iterable[LooksProposal]) -> float:
    """The median share of pattern KL that the chosen forms remove."""
    return float(torch.tensor([proposal.explained for proposal in proposals]).median())
