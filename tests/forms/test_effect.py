"""The second-order estimate agrees with exact ablations, and its shares add up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import checkpoints
from pellucid.base.address import Address
from pellucid.exact.model import Model, Taps
from pellucid.forms.effect import (
    calibrate,
    compare,
    divergence,
    effect_share,
    estimate,
    exact,
    mean_forms,
    stratified,
)
from pellucid.forms.forms import Fires, First, Looks
from pellucid.forms.outputs import causal
from pellucid.measure import record as recording
from pellucid.measure.record import compared_places, record
from pellucid.subject.load import load_subject


def mean_pre(model: Model, rows: Tensor) -> dict[str, Tensor]:
    """Mean pre-activations by layer."""
    found = model.forward(rows, Taps(record=("L*.pre",))).activations
    return {f"{name[:3]}.IN": value.mean((0, 1)) for name, value in found.items()}


@pytest.fixture(scope="module")
def subject() -> tuple[Model, Tensor]:
    """A small random model, and rows of random tokens."""
    model, _ = checkpoints.random_model(1)
    return model, torch.randint(model.n_vocab, (12, 16), generator=torch.Generator().manual_seed(0))


def test_exact_ablation_equals_a_full_forward_pass(subject: tuple[Model, Tensor]) -> None:
    model, rows = subject
    looks = Looks(Address("QK", 1, 1), ((First(), 2.0),))
    fires = Fires(Address("IN", 0, 3), 0.4, (("token", (2,), 1.0),))

    def head(pattern: Tensor) -> Tensor:
        pattern = pattern.clone()
        pattern[:, 1] = causal(looks.twin(rows))
        return pattern

    def neuron(pre: Tensor) -> Tensor:
        pre = pre.clone()
        pre[..., 3] = fires.twin(rows)
        return pre

    clean = model.logits(rows)
    found = exact(model, rows, [looks, fires])
    for form, edits in ((looks, {"L01.pattern": head}), (fires, {"L00.pre": neuron})):
        logits = model.forward(rows, Taps(replace=edits)).logits
        p, q = clean.double().log_softmax(-1), logits.double().log_softmax(-1)
        assert found[form.address] == pytest.approx(float((p.exp() * (p - q)).sum(-1).mean()), rel=1e-4)


def test_of_a_large_vocabulary_a_sample_of_places_tells(
    subject: tuple[Model, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rows = subject
    forms = [form for form in mean_forms(model, mean_pre(model, rows)).values() if form.address.layer == 0][:8]
    whole = estimate(model, rows, forms, draws=600)[0]
    monkeypatch.setattr(recording, "STEP_LOGITS", 60 * model.n_vocab)
    several = [estimate(model, rows, forms, draws=2, seed=seed)[0] for seed in range(400)]
    for address, value in whole.items():
        assert sum(found[address] for found in several) / len(several) == pytest.approx(value, rel=0.15)
    at = compared_places(model, rows, 0)
    assert len(at) == 60 < rows.numel()
    clean = model.logits(rows).flatten(0, 1)[at].double().log_softmax(-1)
    edits = {"L00.pattern": lambda own: put(own, 0, causal(forms[0].twin(rows)))}
    other = model.run(rows, ("logits",), edits=edits)["logits"]
    away = other.flatten(0, 1)[at].double().log_softmax(-1)
    assert forms[0].address == Address("QK", 0, 0)
    assert exact(model, rows, forms[:1])[forms[0].address] == pytest.approx(
        float((clean.exp() * (clean - away)).sum(-1).mean()), rel=1e-4
    )


def put(own: Tensor, head: int, pattern: Tensor) -> Tensor:
    """All patterns, one head's replaced."""
    return torch.cat([own[:, :head], pattern.expand(len(own), -1, -1)[:, None], own[:, head + 1 :]], 1)


def test_the_estimate_is_the_limit_of_small_replacements(subject: tuple[Model, Tensor]) -> None:
    model, rows = subject
    pre = mean_pre(model, rows)["L00.IN"]
    forms = list(mean_forms(model, mean_pre(model, rows)).values())
    assert len(forms) == 2 * (model.decoder.sizes.head + len(pre))
    result = calibrate(model, rows, forms, count=40, draws=100)
    assert result.n == len(result.pairs) <= 40
    assert result.pearson > 0.95
    assert result.spearman > 0.9


def test_variants_share_a_pass_and_nothing_else(subject: tuple[Model, Tensor]) -> None:
    model, rows = subject
    uniform, constant = Looks(Address("QK", 0, 0)), Fires(Address("IN", 1, 2), 0.5)
    both = estimate(model, rows, [uniform, constant])[0]
    first, second, none = estimate(model, rows, [uniform], [constant], [])
    assert first[uniform.address] == both[uniform.address]
    assert second[constant.address] == pytest.approx(both[constant.address], rel=1e-5)
    assert none == {}
    assert estimate(model, rows, []) == [{}]


def test_a_replacement_that_changes_nothing_costs_nothing(subject: tuple[Model, Tensor]) -> None:
    model, rows = subject
    clean = model.logits(rows)
    assert divergence(clean, clean) == 0
    only_key = estimate(model, rows[:, :1], [Looks(Address("QK", 0, 0))])[0]
    assert list(only_key.values()) == [0]


def test_gradients_repeat_from_their_seed(subject: tuple[Model, Tensor]) -> None:
    model, rows = subject
    one, two, other = (
        next(iter(record(model, rows, ["L00.post"], ["L00.post"], seed=seed))).gradients[0]["L00.post"]
        for seed in (3, 3, 4)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_shares_add_up_to_one() -> None:
    a, b = Address("QK", 0, 0), Address("IN", 0, 0)
    assert effect_share({a: 3.0, b: 1.0}) == {a: 0.75, b: 0.25}
    assert effect_share({a: 0.0}) == {a: 0.0}


def test_calibration_samples_all_sizes_of_effect() -> None:
    neurons = {Address("IN", 0, n): 10.0**-n for n in range(1, 100)}
    heads = {Address("QK", 0, n): 1.0 + n for n in range(40)}
    chosen = stratified(neurons | heads, 20)
    assert len(set(chosen)) == 20
    assert sum(address.kind == "QK" for address in chosen) == 5
    assert {min(9, (a.index - 1) // 10) for a in chosen if a.kind == "IN"} == set(range(10))
    assert len(stratified(neurons | heads, 1000)) == 139


def test_calibration_needs_effects() -> None:
    assert compare([(Address("IN", 0, 0), 0.0, 1.0)]).pearson is None
    pairs = [(Address("IN", 0, n), 10.0**n, 2 * 10.0**n) for n in range(4)]
    assert compare(pairs).pearson == pytest.approx(1)
    assert compare(pairs).scale == pytest.approx(2)


def test_no_rows_are_refused(subject: tuple[Model, Tensor]) -> None:
    model, rows = subject
    with pytest.raises(ValueError, match="at least one row"):
        estimate(model, rows[:0], [Looks(Address("QK", 0, 0))])


def test_the_estimate_agrees_with_exact_ablations_of_a_trained_model(novelist: Path) -> None:
    model = Model(load_subject(novelist))
    text = (novelist.parents[1] / "text" / "domains" / "novels.txt").read_text(encoding="utf-8")
    rows = torch.tensor(model.tokenizer.encode(text[:2000])[:256]).view(4, 64)
    result = calibrate(model, rows, mean_forms(model, mean_pre(model, rows)).values(), count=40, draws=16)
    assert result.pearson > 0.95
    assert 0.7 < result.scale < 1.5
