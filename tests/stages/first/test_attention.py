"""Fitting finds the terms that patterns were made of, and spends none where nothing is gained."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import checkpoints
from pellucid.base.address import Address
from pellucid.forms.forms import AfterSame, Distance, First, Looks, Offset, SameToken
from pellucid.stages.first.attention import WORTH, Queries, choose, divergence, propose, propose_looks, terms_for

LENGTH = 24
TERMS = terms_for(LENGTH)
HEAD = Address("QK", 0, 0)
PLANTED = [
    Looks(HEAD),
    Looks(HEAD, ((Offset(1), 5.0), (First(), 2.0))),
    Looks(HEAD, ((AfterSame(), 4.0), (SameToken(), -3.0), (First(), 1.5))),
]


def queries(form: Looks, seed: int, noise: float = 0.0) -> Queries:
    """All queries of random rows whose head 0 looks as `form` says, its scores disturbed by `noise`."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(6, (12, LENGTH), generator=generator)
    seen = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril().repeat(len(ids), 1)
    features = torch.stack([term.twin(ids).expand(len(ids), -1, -1) for term in TERMS], -1).flatten(0, 1)
    scores: Tensor = form.twin(ids).flatten(0, 1)
    scores = scores + noise * torch.randn(scores.shape, generator=generator)
    pattern = scores.masked_fill(~seen, -torch.inf).softmax(-1)
    return Queries(seen, features * seen[..., None], pattern[None])


@pytest.mark.parametrize("planted", PLANTED, ids=lambda form: form.name())
def test_planted_terms_are_recovered(planted: Looks) -> None:
    proposal = propose(HEAD, TERMS, queries(planted, 0), queries(planted, 1))
    found = proposal.chosen.form
    assert {term for term, _ in found.terms} == {term for term, _ in planted.terms}
    for term, weight in planted.terms:
        assert dict(found.terms)[term] == pytest.approx(weight, abs=0.02)
    assert proposal.chosen.tune_kl == pytest.approx(0, abs=1e-4)
    assert proposal.chosen.tune_variation == pytest.approx(0, abs=1e-2)


def test_a_curve_of_distances_is_approached_bend_by_bend() -> None:
    curve = Looks(HEAD, ((Distance(2), 1.0), (Distance(8), -0.5)))
    proposal = propose(HEAD, TERMS, queries(curve, 0), queries(curve, 1))
    assert proposal.candidates[-1].tune_kl < 0.01 * proposal.candidates[0].tune_kl


def test_candidates_go_from_simple_to_rich_and_fit_ever_better() -> None:
    proposal = propose(HEAD, TERMS, queries(PLANTED[2], 0, 1.0), queries(PLANTED[2], 1, 1.0))
    assert [len(candidate.form.terms) for candidate in proposal.candidates] == list(range(len(proposal.candidates)))
    fitted = [candidate.fit_kl for candidate in proposal.candidates]
    assert fitted == sorted(fitted, reverse=True)
    assert 0.3 < proposal.explained < 1


def test_the_simplest_form_wins_where_little_is_gained() -> None:
    assert choose([1.0, 1.0 - WORTH / 2, 1.0 - WORTH]) == 0
    assert choose([1.0, 0.5, 0.5 - 2 * WORTH]) == 2
    assert choose([1.0, 1.0, 0.5]) == 2


def test_separable_patterns_leave_weights_finite() -> None:
    hard = Looks(HEAD, ((Offset(1), 80.0),))
    proposal = propose(HEAD, TERMS, queries(hard, 0), queries(hard, 1))
    assert proposal.chosen.form.terms[0][0] == Offset(1)
    assert 5 < proposal.chosen.form.terms[0][1] < 100
    assert proposal.explained > 0.99


def test_every_head_of_a_model_gets_a_proposal_that_predicts_its_pattern() -> None:
    model, _ = checkpoints.random_model(0, n_positions=LENGTH)
    rows = torch.randint(model.n_vocab, (24, LENGTH), generator=torch.Generator().manual_seed(0))
    first, again = (propose_looks(model, rows[:16], rows[16:]) for _ in range(2))
    assert set(first) == {Address("QK", layer, head) for layer in range(2) for head in range(2)}
    assert first == again
    for proposal in first.values():
        assert proposal.chosen.tune_kl <= proposal.candidates[0].tune_kl


def test_divergence_is_that_of_the_rounded_form() -> None:
    sampled = queries(PLANTED[1], 0)
    kl, variation = divergence(Looks(HEAD), TERMS, sampled)
    p = sampled.patterns[0].double()
    uniform = sampled.seen / sampled.seen.sum(1, keepdim=True)
    assert kl == pytest.approx(float((torch.special.xlogy(p, p / uniform.clamp(min=1e-9))).sum(1).mean()), rel=1e-6)
    assert variation == pytest.approx(float((p - uniform).abs().sum(1).mean()) / 2, rel=1e-6)
