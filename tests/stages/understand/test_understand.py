"""Sources over kinds and values: the printed program is the trained student, within its budget, resumed or not."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch

import checkpoints
from far import far_away
from pellucid.base.address import Address
from pellucid.base.errors import CorpusError
from pellucid.exact.model import Model
from pellucid.forms.forms import token_texts
from pellucid.listing.count import count_program
from pellucid.listing.emit import emit
from pellucid.listing.load import load_program
from pellucid.listing.numbers import literal
from pellucid.listing.outline import outline
from pellucid.listing.parse import read_program
from pellucid.stages.lift.means import averages, named
from pellucid.stages.understand import train as training
from pellucid.stages.understand.kinds import varimax
from pellucid.stages.understand.plan import MOST_BRISK, Plan, plan_for
from pellucid.stages.understand.prove import prove, worst_contexts
from pellucid.stages.understand.prune import held, join_levels, prices, prune
from pellucid.stages.understand.spread import spread
from pellucid.stages.understand.student import PLACES, Student, StudentReading, edits, new_student, of_model
from pellucid.stages.understand.ties import tie
from pellucid.stages.understand.train import kl_of, train
from pellucid.stages.understand.trim import printed
from pellucid.stages.understand.write import write_up
from pellucid.stages.words_page import unique, word
from printed import write_content

BUDGET = 900


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(kinds=6, values=5, late=4, rank=2, steps=60, budget=BUDGET)


def run(model: Model, plan: Plan, rows: torch.Tensor, path: Path) -> tuple[Student, float]:
    text = token_texts(model.tokenizer)
    numbers = torch.tensor([float(literal(text(token))) for token in range(40)])

    def count(student: Student) -> int:
        """The numbers of its program."""
        with TemporaryDirectory() as name:
            return sum(count_program(read_program(written(model, printed(student), rows, Path(name)))).values())

    return train(model, plan, rows[:100], rows[100:], numbers, path, 0, count)


@pytest.fixture(scope="module")
def student(model: Model, plan: Plan, rows: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> Student:
    return printed(run(model, plan, rows, tmp_path_factory.mktemp("student") / "state.safetensors")[0])


def written(model: Model, student: Student, rows: torch.Tensor, directory: Path) -> Path:
    emit(model.subject, directory, named(model, averages(model, rows)))
    texts = write_up(student, token_texts(model.tokenizer))
    values = {layer: list(functions.values()) for layer, functions in enumerate(texts.values)}
    write_content(directory, words=texts.words, values=values, statements=texts.statements)
    return directory


def test_the_program_computes_what_the_student_does(
    model: Model, student: Student, rows: torch.Tensor, tmp_path: Path
) -> None:
    program = load_program(written(model, student, rows, tmp_path), source_only="code")
    wanted = student.logits(rows[:6]).detach().numpy()
    found = program.logits(rows[:6].numpy())
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
    raw = model.logits(rows[:6]).numpy()
    assert np.abs(found - raw).max() > 1e-2 * np.abs(raw).max()


@pytest.mark.parametrize("reach", [2, 4])
def test_the_program_of_all_that_a_student_can_say(reach: int, tmp_path: Path, monkeypatch: Any) -> None:
    """Every term is there: late values of late values, seen, fired and asked for by heads."""
    monkeypatch.setattr("pellucid.stages.understand.student.REACH", reach)
    model = checkpoints.random_model(4, n_layer=3, n_head=2, n_embd=8, n_positions=16, n_inner=6, vocab_size=40)[0]
    rows = torch.randint(40, (8, 16), generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    student = new_student(model, Plan(kinds=3, values=3, late=2, rank=1, steps=1, budget=1), torch.zeros(40, 3))
    for name, tensor in student.tensors.items():
        student.tensors[name] = 0.2 * torch.randn(tensor.shape, generator=generator)
    join_levels(student, torch.ones(40, 3))
    ties, tied = tie(student, {name: torch.ones_like(tensor) for name, tensor in student.tensors.items()}, 0.01)
    assert sum(found.numbers for found in ties.values()) < 0.8 * sum(len(found.groups) for found in ties.values())
    student.tensors |= tied
    student = printed(student)
    program = load_program(written(model, student, rows, tmp_path), source_only="code")
    wanted = student.logits(rows).numpy()
    assert np.abs(program.logits(rows.numpy()) - wanted).max() <= 1e-4 * np.abs(wanted).max()
    listing = read_program(tmp_path)
    late = [value for value in listing.values.values() if "_late_" in value.name]
    assert len(late) == 4
    assert all(value.fired for value in late)
    assert any(value.values and any(seen.what in value.values for seen in value.seen) for value in late)
    assert "late_" in listing[Address("QK", 2, 0)].text.split('"""')[0]


def test_what_nothing_reads_is_not_printed(model: Model, plan: Plan) -> None:
    student = new_student(model, plan, torch.randn(40, plan.kinds, generator=torch.Generator().manual_seed(0)))
    student.tensors["L00.late"][0] = 1.0
    student.tensors["L01.seeks.query.late"][0, 0, 1] = 1.0  # no key answers
    student.tensors["L01.seeks.key.late"].zero_()
    student.tensors["L01.seeks.key"].zero_()
    student.tensors["L01.offers.late"][1, 2] = 1.0
    join_levels(student, torch.ones(40, plan.kinds))
    small = printed(student)
    assert (small.tensors["L00.late"] != 0).any(0).tolist() == [False, False, True, False]
    assert not small.tensors["L01.seeks.query.late"].any()


def test_every_head_and_neuron_is_written_within_the_budget(
    model: Model, student: Student, rows: torch.Tensor, tmp_path: Path
) -> None:
    listing = read_program(written(model, student, rows, tmp_path))
    code = [address for address in model.decoder.addresses.addresses() if address.kind in ("QK", "IN")]
    assert {listing.form(address) for address in code} == {"source"}
    counted = count_program(listing)
    assert 0.9 * BUDGET < sum(counted.values()) <= BUDGET
    texts = write_up(student, token_texts(model.tokenizer))
    said = {str(address): text for address, text in texts.statements.items()}
    alone = outline(model.decoder, texts.words, [of_layer.values() for of_layer in texts.values], said)
    assert count_program(alone) == counted  # as it is counted while training, without being written


def test_training_lowers_the_divergence(model: Model, plan: Plan, rows: torch.Tensor, tmp_path: Path) -> None:
    begun = training.begin(model, plan, rows[:100], 0).student
    before = kl_of(begun, rows[100:])
    after = run(model, replace(plan, budget=10_000), rows, tmp_path / "state.safetensors")[1]
    assert after < before


class KilledError(Exception):
    """Stands for a kill in the middle of training."""


@contextmanager
def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    advance = training.advance

    def stop(state: Any, ids: torch.Tensor) -> None:
        if state.step == step:
            raise KilledError
        advance(state, ids)

    with monkeypatch.context() as patch:
        patch.setattr(training, "SAVE_SECONDS", 0.0)
        patch.setattr(training, "advance", stop)
        yield


@pytest.mark.parametrize("step", [0, 7, 30, 52])
def test_killed_training_goes_on_to_the_same_end(
    step: int, model: Model, plan: Plan, rows: torch.Tensor, student: Student, tmp_path: Path, monkeypatch: Any
) -> None:
    path = tmp_path / "state.safetensors"
    with killed_at(step, monkeypatch), pytest.raises(KilledError):
        run(model, plan, rows, path)
    resumed = printed(run(model, plan, rows, path)[0])
    for name, tensor in student.tensors.items():
        assert torch.equal(resumed.tensors[name], tensor), name  # to the last bit: longer training tears them apart


def test_what_was_stored_lies_as_it_lay(model: Model, plan: Plan, rows: torch.Tensor, tmp_path: Path) -> None:
    """In the same order, and in memory that products of matrices read as they read any other."""
    path = tmp_path / "state.safetensors"
    begun = training.begin(model, plan, rows[:100], 0)
    training.advance(begun, rows[:4])
    training.save(begun, path, "about")
    found = training.resume(model, plan, path, "about")
    assert found is not None
    assert list(found.student.tensors) == list(begun.student.tensors) != sorted(begun.student.tensors)
    held = [*found.student.tensors.values(), *found.student.masks.values()]
    held += [value for state in found.optimiser.state.values() for name, value in state.items() if name != "step"]
    assert all(tensor.data_ptr() % 64 == 0 for tensor in held)


def test_training_elsewhere_ends_the_same(model: Model, plan: Plan, rows: torch.Tensor, tmp_path: Path) -> None:
    """No tensor of the CPU meets one of the device; a student can be taken from there."""

    def trained(where: Model, path: Path) -> Student:
        def count(found: Student) -> int:
            return int((printed(of_model(found, model)).kinds() != 0).sum()) + 300

        return train(where, plan, rows[:100], rows[100:], torch.ones(40), path, 0, count)[0]

    here = trained(model, tmp_path / "here")
    with far_away() as device:
        found = trained(Model(model.subject, device=device), tmp_path / "there")
        assert {tensor.device for tensor in found.tensors.values()} == {device}
        there = of_model(found, model)
    assert there.tensors.keys() == here.tensors.keys()
    for name, tensor in here.tensors.items():
        torch.testing.assert_close(there.tensors[name], tensor.detach())


def test_divergence_is_undone_and_said(
    model: Model, plan: Plan, rows: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    state = training.begin(model, plan, rows[:100], 0)
    before = {name: tensor.detach().clone() for name, tensor in state.student.tensors.items()}
    training.advance(state, rows[:4])
    with torch.no_grad():
        state.student.tensors["L01.neurons"].fill_(float("nan"))
    training.advance(state, rows[4:8])
    assert "undone, the rate is halved" in capsys.readouterr().err
    assert state.rate == plan.rate / 2
    for name, tensor in state.student.tensors.items():
        torch.testing.assert_close(tensor.detach(), before[name])
    training.advance(state, rows[4:8])
    assert len(state.losses) == 2
    assert not capsys.readouterr().err


def test_steps_are_in_sizes_of_what_they_move(model: Model, plan: Plan, rows: torch.Tensor) -> None:
    """A term that is a hundred times as large as another goes a hundred times as far, whatever its neighbours."""
    state = training.begin(model, plan, rows[:100], 0)
    values = state.student.tensors["L00.values"]
    state.student.masks.pop("L00.values", None)
    with torch.no_grad():
        values.fill_(0.01)
        values[3] = 1.0
        before = values.clone()
    values.grad = torch.ones_like(values)
    state.optimiser.param_groups[0]["lr"] = 0.02
    training.take_step(state)
    moved = before - values.detach()
    torch.testing.assert_close(moved[3], torch.full_like(moved[3], 0.02))
    torch.testing.assert_close(moved[4], torch.full_like(moved[4], 0.0002))


def test_a_student_shrinks_by_the_same_share_at_every_step(model: Model, plan: Plan, rows: torch.Tensor) -> None:
    state = training.begin(model, plan, rows[:100], 0)
    state.whole = 100.0 * plan.budget
    paid = []
    for step in range(plan.dense_until, plan.pruned_at + 1):
        state.step = step
        paid.append(training.allowed(state) / plan.budget)
    assert paid[0] == pytest.approx(plan.first_budgets)
    assert paid[-1] == pytest.approx(1.0)
    shares = [after / before for before, after in pairwise(paid)]
    assert max(shares) == pytest.approx(min(shares))


def test_what_pruning_costs_is_no_divergence(
    model: Model, plan: Plan, rows: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    state = training.begin(model, replace(plan, budget=400), rows[:100], 0)
    training.advance(state, rows[:4])
    state.step, state.losses = plan.pruned_at, [1e-9] * 50
    training.reshape(state, torch.ones(40))
    training.advance(state, rows[:4])
    assert not capsys.readouterr().err
    assert state.rate == plan.rate


def test_pruning_keeps_the_budget_and_what_matters(model: Model, plan: Plan, rows: torch.Tensor) -> None:
    student = training.begin(model, plan, rows[:100], 0).student
    student.tensors = {name: tensor.detach() for name, tensor in student.tensors.items()}
    price = prices(student, torch.ones(40))
    squares = {name: torch.ones_like(tensor) for name, tensor in student.tensors.items()}
    student.tensors["L00.neurons"][0, 0] = 1e3
    prune(student, squares, price, 700.0)
    assert held(student, price) <= 700
    assert student["L00.neurons"][0, 0] == 1e3
    left = {name: int((student[name] != 0).sum()) for name in student.tensors}
    prune(student, squares, price, 500.0)
    assert all(int((student[name] != 0).sum()) <= count for name, count in left.items())


def test_proof(model: Model, student: Student, rows: torch.Tensor) -> None:
    found = prove(student, rows[:20])
    code = {address for address in model.decoder.addresses.addresses() if address.kind in ("QK", "IN")}
    assert set(found.scores) == set(found.costs) == code
    assert all(-1 <= score <= 1 for score in found.scores.values())
    assert all(cost >= 0 for cost in found.costs.values())
    chosen = {Address("QK", 1, 0), Address("IN", 0, 3)}
    worst = worst_contexts(student, rows[:20], chosen)
    assert set(worst) == chosen
    assert all(len(entry["tokens"]) == len(entry["weights"]) for entries in worst.values() for entry in entries)


def test_a_student_of_unpruned_weights_scores_well(model: Model, rows: torch.Tensor, tmp_path: Path) -> None:
    """Nothing is pruned, so no program is counted: numbers cost what their prices say."""
    rich = Plan(kinds=16, values=16, late=16, rank=8, steps=200, budget=10**6)
    student = train(model, rich, rows[:100], rows[100:], torch.ones(40), tmp_path / "state.safetensors")[0]
    proof = prove(student, rows[:20])
    first = [score for address, score in proof.scores.items() if address.kind == "IN" and address.layer == 0]
    assert sum(first) / len(first) > 0.5


def test_too_little_text_is_said(model: Model) -> None:
    said = "1,000 tokens of fit text are too few for sources of 600 numbers; give at least 1,200 tokens .* fewer steps"
    with pytest.raises(CorpusError, match=said):
        plan_for(model.decoder, 600, 10, 1_000)


def test_sources_hold_no_more_numbers_than_text_stands_behind(model: Model) -> None:
    """A step reads 2,048 tokens, of a brisk training 1,024, and two stand behind every number; rows are whole."""
    for steps, each in ((4, 1024), (MOST_BRISK, 1024), (MOST_BRISK + 1, 2048)):
        tokens = steps * each
        whole = tokens // 24 * 24
        assert plan_for(model.decoder, 10**7, steps, tokens).budget == tokens // 2
        assert plan_for(model.decoder, 10**7, steps, whole).budget == tokens // 2
        assert plan_for(model.decoder, 600, steps, tokens).budget == 600
        said = f"{whole - 1:,} tokens of fit text are too few for sources of {tokens // 2:,} numbers"
        with pytest.raises(CorpusError, match=said):
            plan_for(model.decoder, 10**7, steps, whole - 1)


@pytest.mark.parametrize("steps", range(4, 12))
def test_pruning_ends_before_levels_are_joined(model: Model, steps: int) -> None:
    plan = plan_for(model.decoder, 600, steps, 10**6)
    assert plan.dense_until < plan.pruned_at < plan.levelled_at < steps


@pytest.mark.parametrize("words", [2, 9, 16])
def test_few_words_make_fewer_kinds(words: int, tmp_path: Path) -> None:
    """Of a vocabulary no larger than the stream is wide: centred embeddings span fewer dimensions."""
    model = checkpoints.random_model(3, n_head=2, n_embd=16, n_positions=24, n_inner=12, vocab_size=words)[0]
    rows = torch.randint(words, (60, 24), generator=torch.Generator().manual_seed(0))
    longer, brisk = (plan_for(model.decoder, 500, steps, 10**7) for steps in (MOST_BRISK + 1, MOST_BRISK))
    assert longer.kinds == words - 1
    assert brisk.kinds == max(1, (words - 1) * 3 // 4)
    for name, plan in (("longer", longer), ("brisk", brisk)):
        few = replace(plan, steps=4)
        student, kl = train(model, few, rows[:50], rows[50:], torch.ones(words), tmp_path / name)
        assert math.isfinite(kl)
        assert all(bool(tensor.isfinite().all()) for tensor in student.tensors.values())


def test_varimax_turns_and_makes_sparse() -> None:
    generator = torch.Generator().manual_seed(0)
    sparse = torch.randn(200, 4, generator=generator, dtype=torch.double) ** 3
    mixed = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.double)).Q
    turn = varimax(sparse @ mixed)
    torch.testing.assert_close(turn.T @ turn, torch.eye(4, dtype=torch.double))
    found = (sparse @ mixed @ turn).abs()
    assert float((found**4).sum() / (found**2).sum() ** 2) > 0.9 * float((sparse**4).sum() / (sparse**2).sum() ** 2)


def test_names() -> None:
    assert unique(["a", "b", "a", "a_2"]) == ["a", "b", "a_2", "a_2_2"]
    assert [word(token) for token in (" He", ",", 7, "é", "'s\n")] == ["he", "comma", "token_7", "", "s"]


def test_names_follow_what_varies_most(model: Model, plan: Plan, rows: torch.Tensor) -> None:
    """A large number times what never varies does nothing, and names nothing."""
    student = new_student(model, plan, torch.randn(40, plan.kinds, generator=torch.Generator().manual_seed(0)))
    student.tensors["L00.values"][1, 0] = 9.0  # at the start of a text, which is one place of 24
    student.tensors["L00.values"][1 + PLACES, 0] = 3.0
    student.tensors["L00.neurons"][0, 0] = 1.0
    join_levels(student, torch.ones(40, plan.kinds))
    student = printed(student)
    text = token_texts(model.tokenizer)
    name = next(iter(write_up(student, text, spread(student, rows)).values[0]))
    assert next(iter(write_up(student, text).values[0])) == "l0_at_the_start"
    assert name.startswith("l0_on_like_")


def test_names_follow_what_values_go_with(model: Model, plan: Plan, rows: torch.Tensor) -> None:
    """Two neurons that fire by the same kind name a value after that kind, though it sums neurons alone."""
    student = new_student(model, plan, torch.randn(40, plan.kinds, generator=torch.Generator().manual_seed(0)))
    student.tensors["L00.values"][1 + PLACES + plan.kinds + 2, 0] = 1.0  # the kind of the token before
    student.tensors["L00.neurons"][0, :2] = torch.tensor([3.0, 2.0])
    student.tensors["L00.late"][-model.decoder.sizes.neuron :][:2, 0] = torch.tensor([1.0, -0.2])
    student.tensors["L01.values"][1, 0] = 1.0  # at the start
    student.tensors["L01.neurons"][0, 0] = 1.0
    student.tensors["L01.offers.late"][0, 0] = 1.0
    join_levels(student, torch.ones(40, plan.kinds))
    student = printed(student)
    text = token_texts(model.tokenizer)
    (name, said), *_ = list(write_up(student, text, spread(student, rows)).values[0].items())[1:]
    assert name.startswith("l0_late_after_like_")
    assert re.search(r"Goes with after like_\w+ \(r = 0\.\d\d\)\. Rises as L00\.N0000 fires", " ".join(said.split()))
    assert "l0_late_as_l00_n0000_fires" in write_up(student, text).values[0]


def test_spread(model: Model, student: Student, rows: torch.Tensor) -> None:
    found = spread(student, rows[:10])
    kinds = StudentReading(student, rows[:10]).levels[:, :, 0].flatten(0, 1).std(0, unbiased=False)
    torch.testing.assert_close(found.kinds, kinds, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.terms[0][1 + PLACES :][: len(kinds)], kinds, atol=1e-5, rtol=1e-4)
    assert [len(each) for each in found.late] == [4]
    reading = StudentReading(student, rows[:10])
    student.engine.run(rows[:10], ("L01.post",), edits=edits(reading, range(2)))
    known, late = torch.cat(reading.terms(0), -1).flatten(0, 1), reading.late(0).flatten(0, 1)
    expected = torch.corrcoef(torch.cat([known, late], -1).double().T)[: known.shape[1], known.shape[1] :]
    torch.testing.assert_close(found.late_with[0].double(), expected.nan_to_num(0.0), atol=1e-4, rtol=1e-3)
    assert found.values_with[1].shape == (len(student.tensors["L01.values"]) - model.decoder.sizes.neuron, 5)
    assert len(found.terms[1]) == len(student.tensors["L01.values"]) + model.decoder.sizes.neuron
