"""Fitting finds the sets and constants that pre-activations were made of, within the budget of numbers."""

from __future__ import annotations

import pytest
import torch

import checkpoints
from pellucid.base.address import Address
from pellucid.family.activations import activation
from pellucid.forms.forms import Fires, FiringTables
from pellucid.stages.first import neurons
from pellucid.stages.first.levels import Inverse, clusters, gauss_newton, loss
from pellucid.stages.first.neurons import WORTH, FiresCandidate, LayerFit, NeuronMoments, Usual, choose, propose_fires

VOCAB = 40
NEURONS = [Address("IN", 0, n) for n in range(4)]
PLANTED = [
    Fires(NEURONS[0], 0.7),
    Fires(NEURONS[1], -0.5, (("token", (3, 8), 2.0),)),
    Fires(NEURONS[2], 0.1, (("token", (1,), -0.6), ("token", (5, 6, 7), 1.5))),
    Fires(NEURONS[3], 0.2, (("token", (2, 4), 1.0), ("previous", (9, 11), 0.75))),
]


def text(token: int) -> str:
    """Every token costs one number."""
    return chr(ord("A") + token)


def moments(seed: int, words: Usual, ids: torch.Tensor, noise: float = 0.0) -> NeuronMoments:
    """What a layer of the planted neurons does on `ids`, its pre-activations disturbed by `noise`."""
    generator = torch.Generator().manual_seed(seed)
    pre = FiringTables.of(PLANTED, VOCAB)(ids)
    pre = pre + noise * torch.randn(pre.shape, generator=generator)
    weight = torch.rand(pre.shape, generator=generator) / ids.numel()
    return NeuronMoments(*words.pairs(ids), weight.flatten(0, 1), activation("gelu_new").torch(pre).flatten(0, 1))


def fitted(limit: int, noise: float = 0.0) -> dict[Address, object]:
    """The proposals for the planted neurons."""
    ids = torch.randint(VOCAB, (300, 64), generator=torch.Generator().manual_seed(0))
    words = Usual.of(ids, VOCAB, text)
    layer = LayerFit(0, activation("gelu_new").torch, words, limit)
    for step in range(3):
        for batch in ids.split(100):
            layer.add(step, moments(int(batch[0, 0]), words, batch, noise))
        layer.finish(step)
    layer.add(3, moments(99, words, ids.flip(0), noise))
    return dict(layer.proposals(text))


def test_planted_sets_and_constants_are_recovered() -> None:
    proposals = fitted(limit=12, noise=0.05)
    for planted in PLANTED:
        found = proposals[planted.address].chosen.form  # type: ignore[attr-defined]
        sets = {(which, tuple(sorted(members))): weight for which, members, weight in found.sets}
        wanted = {(which, members): weight for which, members, weight in planted.sets}
        assert set(sets) == set(wanted), planted
        assert found.bias == pytest.approx(planted.bias, abs=0.01)
        for key, weight in wanted.items():
            assert sets[key] == pytest.approx(weight, abs=0.02)


@pytest.mark.parametrize("limit", [1, 3, 7, 30])
def test_no_candidate_holds_more_numbers_than_it_may(limit: int) -> None:
    for proposal in fitted(limit, noise=0.5).values():
        for candidate in proposal.candidates:  # type: ignore[attr-defined]
            assert candidate.numbers == candidate.form.numbers(text) <= limit


def test_the_loss_of_a_candidate_is_that_of_its_form() -> None:
    ids = torch.randint(VOCAB, (300, 64), generator=torch.Generator().manual_seed(0)).flip(0)
    m = moments(99, Usual.of(ids, VOCAB, text), ids, 0.3)
    for address, proposal in fitted(limit=12, noise=0.3).items():
        for candidate in proposal.candidates:  # type: ignore[attr-defined]
            post = activation("gelu_new").torch(candidate.form.twin(ids)).flatten()
            at = address.index
            exact = float((m.weight[:, at] * (post - m.post[:, at]).square()).sum())
            assert candidate.tune_loss == pytest.approx(exact, rel=1e-3, abs=1e-6)


def test_a_model_gets_a_proposal_for_every_neuron_and_the_same_one_each_time() -> None:
    model, _ = checkpoints.random_model(0)
    rows = torch.randint(model.n_vocab, (24, 16), generator=torch.Generator().manual_seed(0))
    first, again = (propose_fires(model, rows[:16], rows[16:], max_numbers=9) for _ in range(2))
    assert first == again
    assert set(first) == {Address("IN", layer, n) for layer in range(2) for n in range(model.decoder.sizes.neuron)}
    limit = min(9, model.decoder.sizes.model + 1)
    assert max(proposal.chosen.numbers for proposal in first.values()) <= limit
    assert all(p.chosen.tune_loss <= p.candidates[0].tune_loss for p in first.values())
    before = sum(p.candidates[0].fit_loss for p in first.values())
    assert sum(min(c.fit_loss for c in p.candidates) for p in first.values()) < 0.9 * before


def test_little_memory_costs_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = checkpoints.random_model(1)
    fit, tune = torch.randint(model.n_vocab, (2, 12, 16), generator=torch.Generator().manual_seed(0))
    own = propose_fires(model, fit, tune)
    monkeypatch.setattr(neurons, "BYTES", 1)
    monkeypatch.setattr(neurons, "KEPT_BYTES", 1)
    assert propose_fires(model, fit, tune) == own


def test_numbers_must_pay_for_themselves() -> None:
    constant = FiresCandidate(PLANTED[0], 1, 1.0, 1.0)
    assert choose([FiresCandidate(PLANTED[1], 11, 0.5, 1 - 9 * WORTH), constant]).choice == 0
    assert choose([constant, FiresCandidate(PLANTED[1], 11, 0.5, 1 - 11 * WORTH)]).choice == 1
    assert len(choose([constant, FiresCandidate(PLANTED[0], 1, 1.0, 1.0)]).candidates) == 1


@pytest.mark.parametrize("function", ["gelu_new", "relu", "silu", "tanh", "linear", "gelu", "quick_gelu"])
def test_activations_are_inverted_on_their_rising_branch(function: str) -> None:
    act = activation(function).torch
    x = torch.linspace(0.01, 3, 50)
    torch.testing.assert_close(Inverse(act)(act(x)), x, atol=2e-3, rtol=0)


def test_levels_are_joined_into_the_best_groups() -> None:
    level = torch.tensor([[0.0, 5.0, 0.1, 9.0, 5.1, 0.05]]).T
    kept = torch.tensor([[True, True, True, False, True, True]]).T
    groups = clusters(torch.ones_like(level), level - 1, kept, 3, 0.9)
    assert groups.flatten().tolist() == [1, 2, 1, 0, 2, 1]
    apart = torch.tensor([[-4.0], [4.0], [9.0]])
    spread = clusters(torch.ones_like(apart), apart, torch.ones_like(apart, dtype=torch.bool), 3, 1.0)
    assert spread.flatten().tolist() == [1, 2, 3]


def test_many_items_are_joined_almost_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    level, weight = torch.randn(1500, 2, generator=generator), torch.rand(1500, 2, generator=generator)
    kept = torch.rand(1500, 2, generator=generator) < torch.tensor([0.9, 0.2])

    def left() -> torch.Tensor:
        groups = clusters(weight, level, kept, 6, 1.0).long()
        assert ((groups > 0) == kept).all()
        sums = [torch.zeros(7, 2).scatter_add(0, groups, x) for x in (weight, weight * level)]
        mean = sums[1] / sums[0].clamp(min=1e-9)
        return (weight * kept * (level - mean.gather(0, groups)).square()).sum(0)

    joined = left()
    monkeypatch.setattr("pellucid.stages.first.levels.CELLS", 5000)
    exact = left()
    assert (joined >= exact * 0.999).all()
    assert (joined <= exact * 1.02).all()
    assert joined[0] > exact[0]
    torch.testing.assert_close(joined[1], exact[1])


def test_constants_minimise_the_pooled_loss() -> None:
    act = activation("gelu_new").torch
    target = torch.tensor([[0.3], [1.7]])
    cells = torch.stack([torch.ones(2, 1), act(target), act(target).square()])
    used = torch.ones(2, 1, dtype=torch.bool)
    found = gauss_newton(lambda c: torch.stack([c[0], c[0] + c[1]]), act, torch.zeros(2, 1), cells, used)
    torch.testing.assert_close(found, torch.tensor([[0.3], [1.4]]), atol=1e-2, rtol=0)
    assert float(loss(act(target), cells).sum()) == pytest.approx(0, abs=1e-6)
