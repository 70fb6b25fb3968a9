"""Channels and comparisons of heads: the best directions, what they cost, the program against its twin, and tuning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

import checkpoints
from far import far_away
from pellucid.base.address import Address
from pellucid.base.effort import Effort
from pellucid.base.errors import PellucidError
from pellucid.exact.model import Model
from pellucid.family.allowance import fewest_readers, lifted_numbers, most_rank
from pellucid.family.partition import count
from pellucid.forms.channels import ChannelMoments, bilinear, roots, score_slopes
from pellucid.forms.effect import compare, estimate, exact
from pellucid.forms.form import StoredForm
from pellucid.forms.isolated import kept
from pellucid.forms.lifting import Vectors, costs, fit_vectors
from pellucid.forms.twin import Twin
from pellucid.listing.emit import emit
from pellucid.listing.load import load_program
from pellucid.measure.record import record
from pellucid.pipeline import find, link, states
from pellucid.pipeline.find import Candidates
from pellucid.pipeline.link import LINK, back_off, half_of
from pellucid.pipeline.stage import StageRun
from pellucid.project.manifest import Gate, Manifest
from pellucid.project.project import Project
from pellucid.project.rows import first_tokens
from pellucid.stages.first.sources import FirstSources
from pellucid.stages.lift import means
from pellucid.stages.lift.lifted import LiftedParts, as_many_channels, before_sources, choose
from pellucid.stages.link import linking
from pellucid.stages.link.linking import PROMISED, Unit, allowed, excess, reading_units, worth
from pellucid.stages.link.rollouts import Slips
from pellucid.stages.tune import rounds, tune
from pellucid.stages.tune.rounds import (
    SKIPS,
    START,
    START_TOKENS,
    TuneChoice,
    fewer,
    filled,
    joint_cost,
    starting,
    worth_most,
)
from pellucid.stages.tune.tune import Tunable, Tuning
from pellucid.stages.tune.tuned import TUNED, Tuned, named_tuned, with_tuned
from printed import write_lifted


@dataclass(frozen=True)
class Fitted:
    """A random model of four heads of 8 coordinates in each of two layers, and the vectors fitted on its rows."""

    model: Model
    rows: Tensor
    vectors: Vectors

    def forms(self, neurons: int = 128) -> dict[Address, StoredForm]:
        """Channels of the first neurons of layer 1, and where the heads of layer 0 look, at the most directions."""
        readers = [Address("IN", 1, n) for n in range(neurons)]
        heads = [Address("QK", 0, head) for head in range(4)]
        moves: dict[Address, StoredForm] = {Address("OV", 1, 2): self.vectors.form(Address("OV", 1, 2), 2)}
        return {a: self.vectors.form(a, self.vectors.most(a)) for a in (*readers, *heads)} | moves


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    model, _ = checkpoints.random_model(2, n_head=4, n_embd=32)
    rows = torch.randint(model.n_vocab, (48, 16), generator=torch.Generator().manual_seed(0))
    return Fitted(model, rows, fit_vectors(model, means.averages(model, rows), rows))


# --- directions -------------------------------------------------------------------------------------------------------


def test_no_other_channels_cost_less(fitted: Fitted) -> None:
    moments, model = ChannelMoments(fitted.model, 1), fitted.model
    slopes = torch.zeros(model.decoder.sizes.neuron, model.decoder.sizes.neuron, dtype=torch.float64)
    for batch in record(model, fitted.rows, moments.names, gradients=moments.gradients):
        moments.add(batch)
        slope = batch.gradients[0]["L01.pre"].flatten(0, 1).double()
        slopes += slope.T @ slope / fitted.rows.numel()
    moment = moments.stream / moments.count
    mean = moment[:-1, -1]
    spread = moment[:-1, :-1] - mean[:, None] * mean
    weight = model.weights["h.1.mlp.c_fc.weight"].double()

    def cost(through: Tensor) -> float:
        left = weight - through
        return float(torch.trace(left.T @ spread @ left @ slopes))

    found = moments.channels(6)
    ours = found.read.double() @ found.write.double()
    best, generator = cost(ours), torch.Generator().manual_seed(0)
    assert best < cost(torch.zeros_like(ours))
    for _ in range(10):
        read = found.read.double() + 0.05 * torch.randn(32, 6, generator=generator, dtype=torch.float64)
        assert best < cost(read @ torch.linalg.lstsq(read, weight).solution)
        assert best < cost(read @ found.write.double())
    whole = moments.channels(32)
    x, own = batch.values["L01.LN2"], batch.values["L01.pre"]
    torch.testing.assert_close(x @ whole.read @ whole.write + whole.bias(32), own, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(whole.read[:, :6] @ whole.write[:6], ours.float(), atol=1e-5, rtol=1e-4)


def test_all_directions_of_a_head_are_its_scores_up_to_what_is_the_same_for_all_keys(fitted: Fitted) -> None:
    moments, model = ChannelMoments(fitted.model, 0), fitted.model
    for batch in record(model, fitted.rows, [*moments.names, "L00.LN1"], gradients=moments.gradients):
        moments.add(batch)
    form = moments.comparisons(8).form(Address("QK", 0, 1), 8)
    one = torch.cat([batch.values["L00.LN1"], torch.ones(*batch.ids.shape, 1)], 2).double()
    asked, offered = bilinear(model, 0, 1)
    wanted = one @ asked @ offered.T @ one[..., :-1].transpose(1, 2) * model.decoder.blocks[0].attention.scale
    said = form.twin(batch.values["L00.LN1"], model.decoder.blocks[0].attention.scale).double()
    error = (said - wanted) * torch.ones_like(wanted).tril()
    error = error - error.sum(2, keepdim=True) / torch.arange(1, error.shape[1] + 1)[:, None]
    assert float((error * torch.ones_like(error).tril()).abs().max()) < 1e-4 * float(wanted.abs().max())
    assert kept(model, [form], fitted.rows)[form.address] > 1 - 1e-4
    found = Twin(model, [form]).logits(fitted.rows)
    torch.testing.assert_close(found, model.logits(fitted.rows), atol=1e-4, rtol=1e-3)


def test_fewer_directions_of_a_head_cost_as_little_as_any(fitted: Fitted) -> None:
    """The cost of a rank, from moments as wide as the stream: that of the best one, by a wide SVD."""
    moments, model, rank = ChannelMoments(fitted.model, 1), fitted.model, 3
    spread_q, spread_k = (torch.zeros(4, 33, 33, dtype=torch.float64) for _ in range(2))
    for batch in record(model, fitted.rows, [*moments.names, "L01.LN1"], gradients=moments.gradients):
        moments.add(batch)
        one = torch.cat([batch.values["L01.LN1"], torch.ones(*batch.ids.shape, 1)], 2).double()
        pattern, slope = batch.values["L01.pattern"].double(), batch.gradients[0]["L01.pattern"].double()
        weight = score_slopes(pattern, slope).square()
        apart = one[:, None, None] - (pattern @ one[:, None])[:, :, :, None]  # [batch head query key model]
        spread_q += torch.einsum("bhqk,bqd,bqe->hde", weight, one, one)
        spread_k += torch.einsum("bhqk,bhqkd,bhqke->hde", weight, apart, apart)
    found = moments.comparisons(rank)
    for head in range(4):
        asked, offered = bilinear(model, 1, head)
        left, right = roots(spread_q[head])[0], roots(spread_k[head][:-1, :-1])[0]
        form = found.form(Address("QK", 1, head), rank)
        said = torch.cat([form.read_q, form.bias[None]]).double() @ form.read_k.double().T
        cost = (left @ (asked @ offered.T - said) @ right).square().sum()
        rest = torch.linalg.svdvals(left @ asked @ offered.T @ right)[rank:].square().sum()
        assert cost < 1.001 * rest
        assert rest < cost * 1.001


def test_numbers_are_counted_with_their_share() -> None:
    model, _ = checkpoints.random_model(2, n_head=4, n_embd=32)
    decoder = model.decoder
    for sharing in (128, 60, 20):
        rank = most_rank(decoder, "IN", sharing)
        allowed_numbers = 0.45 * count(Address("IN", 0, 0), decoder)
        assert lifted_numbers("IN", decoder, rank=rank, sharing=sharing) <= allowed_numbers
        assert lifted_numbers("IN", decoder, rank=rank + 1, sharing=sharing) > allowed_numbers
        assert fewest_readers(decoder, rank) <= sharing
    assert most_rank(decoder, "IN", 1) == 0
    assert fewest_readers(decoder, 32) > decoder.sizes.neuron
    assert lifted_numbers("QK", decoder, rank=3) == 3 * 65
    assert most_rank(decoder, "QK") == 3  # 0.45 · 528 / 65


# --- what it costs, and what runs -------------------------------------------------------------------------------------


def test_costs_are_the_estimates_of_the_forms(fitted: Fitted) -> None:
    found, forms = costs(fitted.model, fitted.vectors, fitted.rows, seed=3), fitted.forms()
    (estimates,) = estimate(fitted.model, fitted.rows, forms.values(), seed=3)
    for address, value in estimates.items():
        if address.kind in ("IN", "QK"):
            by_layer = found.reads if address.kind == "IN" else found.looks
            assert float(by_layer[address.layer][address.index]) == pytest.approx(value, rel=1e-3, abs=1e-15)


def test_estimates_agree_with_exact_costs(fitted: Fitted) -> None:
    forms = {a: f for a, f in fitted.forms().items() if a.kind == "QK" or a.index % 8 == 0}
    (estimates,) = estimate(fitted.model, fitted.rows, forms.values(), draws=60)
    measured = exact(fitted.model, fitted.rows, forms.values())
    assert compare([(a, estimates[a], measured[a]) for a in forms]).pearson > 0.9


def test_the_program_runs_what_its_twin_does(fitted: Fitted, tmp_path: Path) -> None:
    forms, model = fitted.forms(100), fitted.model
    average = means.named(model, means.averages(model, fitted.rows))
    emit(model.subject, tmp_path, average, named_tuned(model, fitted.vectors, None))
    ranks = {address: form.rank for address, form in forms.items() if address.kind != "IN"}
    readers = [address.index for address in forms if address.kind == "IN"]
    write_lifted(tmp_path, ranks, [], {1: (most_rank(model.decoder, "IN", 100), readers)})
    rank = most_rank(model.decoder, "IN", 100)
    forms |= {a: fitted.vectors.form(a, rank) for a in forms if a.kind == "IN"}
    addresses = json.dumps([str(address) for address in forms])
    (tmp_path / "parts.toml").write_text(
        f'[[part]]\naddresses = {addresses}\nform = "lifted"\nresidual = "dropped"\n', encoding="utf-8"
    )
    said = load_program(tmp_path).logits(fitted.rows[:4].numpy())
    wanted = Twin(model, forms).logits(fitted.rows[:4]).numpy()
    np.testing.assert_allclose(said, wanted, atol=1e-4)
    assert np.abs(wanted - model.logits(fitted.rows[:4]).numpy()).max() > 1e-3


def test_neurons_of_a_layer_that_read_its_channels_are_linked_together(fitted: Fitted) -> None:
    forms, decoder = fitted.forms(), fitted.model.decoder
    lifted = LiftedParts(forms, {}, dict.fromkeys(forms, 1e-6))
    (unit,) = reading_units(lifted)
    assert [address.index for address in unit] == list(range(128))
    enough = fewest_readers(decoder, fitted.vectors.most(Address("IN", 1, 0)))
    assert set(allowed([unit[:enough]], forms, decoder)) == set(unit[:enough])
    assert allowed([unit[: enough - 1]], forms, decoder) == []
    assert sum(worth([unit[:enough], unit[enough:]], dict.fromkeys(forms, 1e-3), decoder)) == pytest.approx(2)


def test_the_neurons_that_are_left_read_as_many_channels_as_they_may_share(fitted: Fitted) -> None:
    decoder, forms = fitted.model.decoder, fitted.forms()
    few = {address: form for address, form in forms.items() if address.kind != "IN" or address.index < 40}
    parts = LiftedParts(few, {}, dict.fromkeys(few, 1.0))
    left = as_many_channels(parts, fitted.vectors, decoder)
    readers = [form for address, form in left.forms.items() if address.kind == "IN"]
    assert {form.rank for form in readers} == {most_rank(decoder, "IN", 40)}
    assert allowed(list(reading_units(left)), left.forms, decoder) == [form.address for form in readers]
    assert allowed(list(reading_units(parts)), parts.forms, decoder) == []
    assert {a: f for a, f in left.forms.items() if a.kind != "IN"} == {a: f for a, f in few.items() if a.kind != "IN"}
    one = {Address("IN", 1, 0): forms[Address("IN", 1, 0)]}
    assert not as_many_channels(LiftedParts(one, {}, {}), fitted.vectors, decoder).forms


def test_a_source_that_costs_as_little_goes_before_what_is_lifted(fitted: Fitted) -> None:
    forms = fitted.forms()
    parts = LiftedParts(forms, {}, dict.fromkeys(forms, 1e-3))
    one, other = Address("IN", 1, 0), Address("IN", 1, 1)
    left = before_sources(parts, {one: 1e-4, other: 1e-2}, 1e-5)
    assert one not in left.forms
    assert other in left.forms
    found = choose(costs(fitted.model, fitted.vectors, fitted.rows), fitted.vectors, 1e-5)
    assert {address.kind for address in found.forms} >= {"QK", "IN"}


# --- tuning -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def long_rows(fitted: Fitted) -> Tensor:
    return torch.randint(fitted.model.n_vocab, (400, 16), generator=torch.Generator().manual_seed(1))


def tuned(fitted: Fitted, rows: Tensor, path: Path, steps: int, about: str = "it") -> Tuning:
    tunable = Tunable.of(fitted.model, fitted.forms())
    return tune.tune(tunable, rows[:360], rows[360:], 0.0, path, about, steps=steps)


def test_what_is_tuned_starts_as_the_twin_and_costs_less_on_tune_text(
    fitted: Fitted, long_rows: Tensor, tmp_path: Path
) -> None:
    forms, check = fitted.forms(), long_rows[360:]
    tunable = Tunable.of(fitted.model, forms)
    before = joint_cost(fitted.model, forms, check)
    assert tune.loss_on(tunable, tunable.start, check) == pytest.approx(before, rel=1e-3)
    found = tuned(fitted, long_rows, tmp_path / "tuning", 60)
    assert found.first_kl == pytest.approx(before, rel=1e-3)
    assert found.best_kl < 0.8 * before
    whole = Tuned(found.best, tunable.sharing, found.first_kl, found.best_kl, found.step)
    assert joint_cost(fitted.model, whole.forms(fitted.vectors), check) == pytest.approx(found.best_kl, rel=1e-3)
    whole.write(tmp_path / "tuned", "state")
    again = Tuned.read(tmp_path / "tuned", "state")
    assert again is not None
    assert again.sharing == whole.sharing
    assert Tuned.read(tmp_path / "tuned", "another") is None
    parts = LiftedParts(forms, {}, dict.fromkeys(forms, 1.0))
    after = with_tuned(parts, fitted.vectors, again)
    assert sum(after.losses.values()) == pytest.approx(found.best_kl)


@pytest.mark.parametrize("neurons", [100, 128])
def test_steps_run_what_is_folded_into_the_weights(fitted: Fitted, neurons: int) -> None:
    """Where all neurons of a layer read channels, steps do not fold them."""
    tunable, model = Tunable.of(fitted.model, fitted.forms(neurons)), fitted.model
    steps = model.but(tunable.step_weights(tunable.start), tunable.graph)
    folded = model.but(tunable.weights(tunable.start), model.graph)
    torch.testing.assert_close(steps.logits(fitted.rows[:4]), folded.logits(fitted.rows[:4]), atol=1e-4, rtol=1e-4)
    assert [group.layer for group in tunable.whole] == ([1] if neurons == model.decoder.sizes.neuron else [])


def test_units_that_cost_too_much_are_passed_over() -> None:
    price = {Address("QK", 0, n): cost for n, cost in enumerate([0.1, 0.2, 5.0, 0.3, 0.3, 7.0, 0.2])}
    able: list[Unit] = [(address,) for address in price]

    def cost(chosen: Sequence[Unit]) -> float:
        return sum(price[address] for unit in chosen for address in unit)

    assert [unit[0].index for unit in filled(able, [], cost, 1.0)] == [0, 1, 3, 4]
    assert [unit[0].index for unit in filled(able[3:], able[:1], cost, 1.0)] == [0, 3, 4, 6]
    assert filled(able[:1] * (SKIPS + 5), [], lambda _: 1.0, 0.5) == []
    assert filled([], able[:2], cost, 0.0) == able[:2]


def test_what_heads_move_joins_while_it_adds_little(fitted: Fitted) -> None:
    model, forms = fitted.model, dict(fitted.forms())
    heads = [Address("OV", 1, head) for head in range(2)]
    forms |= {address: fitted.vectors.form(address, 1) for address in heads}
    losses = {address: 1e-9 if address in heads else 1e-3 for address in forms}
    sources, lifted = FirstSources({}, dict.fromkeys(forms, 1.0), {}, compare([])), LiftedParts(forms, {}, losses)
    choice = TuneChoice.of(model, sources, lifted, fitted.rows)
    found = starting(choice, lifted, fitted.rows, "next")
    code = {address: form for address, form in found.items() if address.is_code}
    assert code
    rows = first_tokens(fitted.rows, START_TOKENS)
    assert joint_cost(model, code, rows) <= START["next"]
    assert joint_cost(model, found, rows) <= joint_cost(model, code, rows) + PROMISED["next"]
    assert set(starting(choice, lifted, fitted.rows, "both")) <= set(found)


def test_momentum_is_made_orthogonal() -> None:
    matrix = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)) * torch.logspace(0, -5, 5)
    for each in (matrix, matrix.T):
        left, _, right = torch.linalg.svd(each.double(), full_matrices=False)
        torch.testing.assert_close(tune.orthogonal(each).double(), left @ right, atol=1e-4, rtol=0)
    assert tune.orthogonal(torch.zeros(4, 3)).tolist() == torch.zeros(4, 3).tolist()
    matrix[3, 1] = torch.inf
    assert tune.orthogonal(matrix).isnan().all()


def all_of(fitted: Fitted) -> tuple[TuneChoice, LiftedParts]:
    """What may be tuned of a model whose parts are all lifted, and of which all units cost alike."""
    forms = fitted.forms()
    lifted = LiftedParts(forms, {}, dict.fromkeys(forms, 1e-3))
    choice = TuneChoice.of(
        fitted.model, FirstSources({}, dict.fromkeys(forms, 1.0), {}, compare([])), lifted, fitted.rows
    )
    assert choice.costs == {u: joint_cost(fitted.model, {a: forms[a] for a in u}, fitted.rows) for u in choice.costs}
    return replace(choice, costs=dict.fromkeys(choice.costs, 1e-3)), lifted


def test_what_stays_is_worth_most_within_what_the_gate_asks(fitted: Fitted) -> None:
    shares, worths = [0.5, 0.2, 0.2, 0.06, 0.04], [3.0, 1.0, 2.5, 1.0, 0.5]
    for most in (0.05, 0.1, 0.3, 0.45, 0.7, 1.0):
        possible = [kept for count in range(6) for kept in combinations(range(5), count)]
        allowed = [kept for kept in possible if sum(shares[at] for at in kept) <= most + 1e-9]
        best = max(sum(worths[at] for at in kept) for kept in allowed)
        found = worth_most(shares, worths, most)
        assert sum(shares[at] for at in found) <= most + 1e-9
        assert sum(worths[at] for at in found) == pytest.approx(best)
    choice, lifted = all_of(fitted)
    left = [fewer(choice, lifted.forms, over) for over in (1.001, 1.5, 2.0, 1e9)]
    assert [sum(unit[0] in forms for unit in choice.costs) for forms in left] == [5, 2, 1, 0]
    assert {address.kind for address in left[2]} == {"IN"}


@dataclass
class Rounds:
    """A project in which tuning takes a few steps a round, and in which words differ as `figures` say, in turn."""

    fitted: Fitted
    directory: Path
    figures: list[float]
    judged: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    killed_at: int | None = None
    trainer: Model | None = None
    harm: float = 0.0
    starts: list[dict[str, Tensor]] = field(default_factory=list)

    def run(self, rows: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tuned | None:
        (self.directory / "scratch").mkdir(parents=True, exist_ok=True)
        project, manifest = object.__new__(Project), object.__new__(Manifest)
        manifest.__dict__.update(gate=Gate(asks="next"), settings=SimpleNamespace(seed=0))
        texts = SimpleNamespace(check=None)
        project.__dict__.update(model=self.fitted.model, directory=self.directory, manifest=manifest, texts=texts)
        for name, put in {
            "rows_for": lambda _, kind, __: rows[:360] if kind == "fit" else rows[360:],
            "rollouts": lambda *_: [],
            "tuned_state": lambda _: "state",
            "slips": self.judge,
            "tune": self.tune,
        }.items():
            monkeypatch.setattr(rounds, name, put)
        monkeypatch.setitem(START, "next", 10.0)
        _, lifted = all_of(self.fitted)
        sources, trainer = (
            FirstSources({}, dict.fromkeys(lifted.forms, 1.0), {}, compare([])),
            self.trainer or self.fitted.model,
        )
        return rounds.tune_parts(project, trainer, sources, lifted, self.fitted.vectors, 1.0, Effort.quick())

    def judge(self, twin: Twin, _: object) -> Slips:
        self.judged.append(len(twin.forms))
        return Slips(self.figures[len(self.judged) - 1], 50.0, 10)

    def tune(
        self, tunable: Tunable, fit: Tensor, check: Tensor, seconds: float, path: Path, about: str, seed: int
    ) -> Tuning:
        if len(self.steps) == self.killed_at:
            raise KeyboardInterrupt
        before = Tuning.load(path, about)
        found = tune.tune(tunable, fit, check, seconds, path, about, seed, steps=4)
        self.steps.append(found.step - (before.step if before else 0))
        self.starts.append(tunable.start)
        return replace(found, best={name: each + self.harm for name, each in found.best.items()})


def test_what_is_left_is_tuned_again_until_it_keeps_the_margin(
    fitted: Fitted,
    long_rows: Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = Rounds(fitted, tmp_path / "whole", [0.7, 0.5])
    found = whole.run(long_rows, monkeypatch)
    assert found is not None
    assert whole.judged[0] > whole.judged[1] == len(found.forms(fitted.vectors)) > 0
    assert whole.steps == [4, 4]
    assert found.steps == 8
    _, lifted = all_of(fitted)
    left = {address: lifted.forms[address] for address in found.forms(fitted.vectors)}
    assert found.before == pytest.approx(joint_cost(fitted.model, left, long_rows[360:]), rel=1e-5)
    assert found.after < found.before
    assert Tuned.read(tmp_path / "whole" / TUNED, "state") is not None
    assert not list((tmp_path / "whole" / "scratch").iterdir())
    assert f"{whole.judged[1]:,} parts tuned" in capsys.readouterr().err

    killed = Rounds(fitted, tmp_path / "killed", [0.7], killed_at=1)
    with pytest.raises(KeyboardInterrupt):
        killed.run(long_rows, monkeypatch)
    resumed = Rounds(fitted, tmp_path / "killed", [0.7, 0.5])
    again = resumed.run(long_rows, monkeypatch)
    assert resumed.steps == [0, 4]
    assert again is not None
    assert again.after == found.after

    with far_away() as device:
        far = Rounds(fitted, tmp_path / "far", [0.7, 0.5], trainer=Model(fitted.model.subject, device=device))
        there = far.run(long_rows, monkeypatch)
    assert there is not None
    assert {tensor.device for tensor in there.tensors.values()} == {torch.device("cpu")}
    assert there.after == pytest.approx(found.after)


def test_a_round_begins_untuned_where_that_costs_less(
    fitted: Fitted, long_rows: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harmed = Rounds(fitted, tmp_path, [0.7, 0.5], harm=0.5)
    harmed.run(long_rows, monkeypatch)
    first, second = harmed.starts
    assert second.keys() < first.keys()
    for name, tensor in second.items():
        if "IN" not in name:  # of a layer's neurons all or none are left, but in the order of their numbers
            torch.testing.assert_close(tensor, first[name])


def test_rounds_end_where_nothing_may_stay_or_nothing_can_be_tuned(
    fitted: Fitted, long_rows: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hopeless = Rounds(fitted, tmp_path, [99.0])
    assert hopeless.run(long_rows, monkeypatch) is not None
    assert len(hopeless.judged) == 1
    still = Rounds(fitted, tmp_path / "still", [0.8, 0.8, 0.8])
    assert still.run(long_rows, monkeypatch) is not None
    assert len(still.judged) == len(rounds.SHARES)
    monkeypatch.setattr(rounds, "starting", lambda *_: {})
    assert Rounds(fitted, tmp_path / "none", []).run(long_rows, monkeypatch) is None


@pytest.mark.parametrize("bad", [False, True], ids=["together they pass", "together they fail"])
def test_what_was_tuned_together_is_linked_first(fitted: Fitted, monkeypatch: pytest.MonkeyPatch, bad: bool) -> None:
    _, lifted = all_of(fitted)
    heads = frozenset(address for address in lifted.forms if address.kind == "QK")
    project, manifest = object.__new__(Project), object.__new__(Manifest)
    manifest.__dict__.update(gate=Gate(asks="next"))
    project.__dict__.update(model=fitted.model, manifest=manifest, texts=SimpleNamespace(check=None))
    judged: list[set[Address]] = []

    def judge(twin: Twin, _: object, **__: object) -> Slips:
        judged.append({form.address for form in twin.forms})
        return Slips(5.0 if judged[-1] >= heads and (bad or len(judged[-1]) > len(heads) + 1) else 0.0, 0.0, 10)

    monkeypatch.setattr(linking, "rollouts", lambda *_: [])
    monkeypatch.setattr(linking, "slips", judge)
    sources = FirstSources({}, dict.fromkeys(lifted.forms, 1.0), {}, compare([]))
    found = linking.link_sources(project, sources, replace(lifted, together=heads), Effort.quick())
    assert judged[0] == heads
    assert (heads <= {*found}) != bad
    assert len(found) > len(heads) or bad
    assert all(heads <= each for each in judged) != bad


def test_of_what_is_put_back_what_was_tuned_together_is_last() -> None:
    heads = [Address("QK", 0, head) for head in range(6)]
    assert half_of(heads, {*heads[1:3]}) == (heads[1], heads[2], heads[0], heads[3])
    assert half_of([heads[1], heads[2], heads[0]], {*heads[1:3]}) == (heads[1], heads[2])
    assert half_of(heads[:4], {*heads}) == (heads[0], heads[1])


def test_what_fails_the_gate_is_put_back_half_by_half(fitted: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    choice, lifted = all_of(fitted)
    (readers,) = (unit for unit in choice.costs if unit[0].kind == "IN")
    heads = [address for address in lifted.forms if address.kind == "QK"]
    stored = dict[str, str]()
    project, verdicts, settled = object.__new__(Project), [False, False, False, False, True], list[int]()
    evidence = SimpleNamespace(
        finished=lambda name, _: stored.get(name), finish=lambda n, _, said: stored.update({n: said})
    )
    project.__dict__.update(model=fitted.model, evidence=evidence)
    monkeypatch.setattr(Project, "state", lambda _: "program")
    monkeypatch.setattr(states, "link_state", lambda _: "state")
    for name, put in {
        "keeps_within": lambda *_, **__: verdicts.pop(0),
        "settle": lambda _, __, linked: settled.append(len(linked)),
    }.items():
        monkeypatch.setattr(link, name, put)
    found = Candidates(FirstSources({}, {}, {}, compare([])), replace(lifted, together=frozenset(readers)))
    run = StageRun(project, Effort.quick(), results={find.TUNED.name: found, LINK.name: (*readers, *heads)})
    assert back_off(run) == ()
    assert settled == [len(readers) + 2, len(readers) + 1, len(readers), 0]  # fewer neurons may not share the channels
    assert stored["link"] == ""


def test_the_excess_is_over_the_margin_of_what_the_gate_asks_for() -> None:
    found = Slips(1.2, 3.0, 100)
    assert excess(found, Gate(asks="next").limits) == pytest.approx(2.0)
    assert excess(found, Gate().limits) == pytest.approx(5.0)
    assert excess(found, {"wer_next": 0.0}) == float("inf")
    assert excess(Slips(0.0, 3.0, 100), {"wer_next": 0.0}) == 0


def test_a_killed_run_goes_on_and_ends_the_same(fitted: Fitted, long_rows: Tensor, tmp_path: Path) -> None:
    whole = tuned(fitted, long_rows, tmp_path / "whole", 40)
    tunable = Tunable.of(fitted.model, fitted.forms())
    half = Tuning.begin(tunable.start)
    half.first_kl = half.best_kl = whole.first_kl
    half.history.append(whole.history[0])
    rates = {name: float(tensor.square().mean().sqrt()) for name, tensor in tunable.start.items()}
    groups = list(tune.batches(long_rows[:360], fitted.model.n_vocab))
    streams = tune.Streams(fitted.model)
    streams.room = 0  # the whole run kept them
    for step in range(20):
        number = tune._drawn(step, len(groups), 0)
        own = streams(number, groups[number])
        at = tune.compared_places(fitted.model, groups[number], step)
        tune._descend(tunable, half, groups[number], own, at, rates, tune._rate(step / 40))
    assert not streams.kept
    tune._look(tunable, half, long_rows[360:])
    half.save(tmp_path / "half", "it")
    resumed = tuned(fitted, long_rows, tmp_path / "half", 40)
    assert resumed.step == whole.step == 40
    for name, tensor in whole.best.items():
        assert torch.equal(tensor, resumed.best[name])
    assert Tuning.load(tmp_path / "half", "another") is None
    (tmp_path / "half").write_bytes(b"broken")
    assert Tuning.load(tmp_path / "half", "it") is None


def test_tuning_elsewhere_ends_the_same(fitted: Fitted, long_rows: Tensor, tmp_path: Path) -> None:
    here = tuned(fitted, long_rows, tmp_path / "here", 20)
    with far_away() as device:
        there = tuned(
            replace(fitted, model=Model(fitted.model.subject, device=device)), long_rows, tmp_path / "there", 20
        )
        assert {tensor.device for tensor in there.best.values()} == {device}
        best = {name: tensor.cpu() for name, tensor in there.best.items()}
    assert there.best_kl == pytest.approx(here.best_kl)
    for name, tensor in here.best.items():
        torch.testing.assert_close(best[name], tensor)


@pytest.mark.parametrize(("limit", "looks"), [(tune.DIVERGED, 1), (float("inf"), 2)], ids=["diverged", "no better"])
def test_tuning_goes_back_to_the_best_state_at_half_the_rate(
    fitted: Fitted,
    long_rows: Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    limit: float,
    looks: int,
) -> None:
    for name, value in {"RATE": 30.0, "CHECK_STEPS": 2, "PATIENCE": 2, "DIVERGED": limit}.items():
        monkeypatch.setattr(tune, name, value)
    found = tuned(fitted, long_rows, tmp_path / "tuning", 60)
    assert found.tries == tune.TRIES
    assert found.step == 2 * looks * tune.TRIES
    assert ("tuning diverged at step 2" in capsys.readouterr().err) == (looks == 1)
    assert found.best_kl <= found.first_kl
    for name, tensor in found.tensors.items():
        assert torch.equal(tensor, found.best[name])


def test_too_little_text_says_how_much_is_needed(fitted: Fitted, tmp_path: Path) -> None:
    tunable = Tunable.of(fitted.model, fitted.forms())
    needed = -(-tunable.numbers // 2)
    with pytest.raises(PellucidError, match=rf"needs at least {needed:,} tokens of fit text, there are 160"):
        tune.tune(tunable, fitted.rows[:10], fitted.rows[10:], 1.0, tmp_path / "tuning")


def test_neurons_that_were_not_tuned_with_their_layer_are_no_candidates(fitted: Fitted) -> None:
    forms = fitted.forms(100)
    tunable = Tunable.of(fitted.model, forms)
    whole = Tuned(dict(tunable.start), tunable.sharing, 1.0, 1.0, 0)
    every = fitted.forms() | {Address("IN", 0, 3): fitted.vectors.form(Address("IN", 0, 3), 2)}
    left = with_tuned(LiftedParts(every, {}, dict.fromkeys(every, 1.0)), fitted.vectors, whole)
    assert {a.index for a in left.forms if a.kind == "IN" and a.layer == 1} == set(range(100))
    assert Address("IN", 0, 3) in left.forms
    written = Address("QK", 0, 1)
    parts = LiftedParts(every, {}, dict.fromkeys(every, 1.0)).only({*every} - {written})
    assert written in whole.forms(fitted.vectors)
    assert written not in with_tuned(parts, fitted.vectors, whole).forms
    named = named_tuned(fitted.model, fitted.vectors, whole)
    assert named["L01.IN.write"].isnan().any(0).tolist() == [n >= 100 for n in range(128)]
