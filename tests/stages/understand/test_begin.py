"""Where training of sources begins: what heads compare, what neurons write behind a norm, what a budget is worth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import checkpoints
from pellucid.exact.model import Model
from pellucid.stages.understand import begin
from pellucid.stages.understand.axes import along, found_axes, shift
from pellucid.stages.understand.begin import by_kinds, compare, first_sources, read_before
from pellucid.stages.understand.kinds import first_kinds
from pellucid.stages.understand.plan import Plan
from pellucid.stages.understand.prune import held, prices
from pellucid.stages.understand.student import Student, StudentReading, new_student
from pellucid.stages.understand.sweep import ReadingSweep, fired_by
from pellucid.stages.understand.train import kl_of, train

WIDE = Plan(kinds=16, values=16, late=16, rank=8, steps=40, budget=2000)


def empty(model: Model, rows: torch.Tensor) -> Student:
    return new_student(model, WIDE, first_kinds(model.weights["wte.weight"], rows, WIDE.kinds))


def test_heads_compare_what_their_weights_compare(model: Model, rows: torch.Tensor) -> None:
    """With all directions and all products the scores are the model's, but for what is the same for all keys."""
    student = empty(model, rows)
    axes = found_axes(model, rows, WIDE, 0)["L01.LN1"]
    compare(student, 1, axes.write, axes.mean, (axes.mean - shift(model, "L01.LN1")) @ axes.read)
    run = model.run(rows[:4], ["L01.LN1", "L01.scores"])
    known, held = (run["L01.LN1"] - shift(model, "L01.LN1")) @ axes.read, student.tensors
    seeks = torch.einsum("bqn,hrn->bhqr", known, held["L01.seeks.query.late"]) + held["L01.seeks.bias"][:, None]
    offers = torch.einsum("bkn,hrn->bhkr", known, held["L01.seeks.key.late"])
    said = seeks @ offers.transpose(2, 3) + torch.einsum("bkn,hn->bhk", known, held["L01.offers.late"])[:, :, None]
    own = run["L01.scores"]
    difference = (said - said.mean(-1, keepdim=True)) - (own - own.mean(-1, keepdim=True))
    assert own.std() > 1e-3
    assert difference.abs().max() < 1e-3 * own.abs().max()


@pytest.mark.parametrize("kinds", [1, 3])
def test_more_products_than_there_are_kinds_add_nothing(kinds: int, model: Model, rows: torch.Tensor) -> None:
    scores = []
    for rank in (kinds, 8):
        found = first_kinds(model.weights["wte.weight"], rows, kinds)
        student = new_student(model, replace(WIDE, kinds=kinds, rank=rank), found)
        compare(student, 0, *by_kinds(student, rows))
        scores.append(StudentReading(student, rows[:4]).scores(0))
    assert scores[0].std() > 1e-3
    torch.testing.assert_close(scores[1], scores[0])


def test_what_is_written_adds_up_and_a_scale_divides_it(model: Model, rows: torch.Tensor) -> None:
    run = model.run(rows, ["L00.resid_mid", "L00.post", "L01.resid_pre", "L01.LN1"])
    reading, gain = StudentReading(empty(model, rows), rows), model.weights["h.1.ln_1.weight"]
    reading.scale("L01.LN1", run["L01.resid_pre"])
    pieces = [run["L00.resid_mid"], model.weights["h.0.mlp.c_proj.bias"]]
    pieces.append(run["L00.post"] @ model.weights["h.0.mlp.c_proj.weight"])
    said = sum(gain * (piece - piece.mean(-1, keepdim=True)) for piece in pieces) / reading.scales["L01.LN1"]
    torch.testing.assert_close(said, run["L01.LN1"] - shift(model, "L01.LN1"), atol=1e-5, rtol=1e-5)


def test_a_sweep_reads_what_a_run_from_the_start_reads() -> None:
    """In more layers than values reach back over."""
    model = checkpoints.random_model(3, n_head=2, n_embd=8, n_layer=7, n_positions=12, n_inner=6, vocab_size=30)[0]
    rows = torch.randint(30, (40, 12), generator=torch.Generator().manual_seed(0))
    plan, generator = Plan(kinds=4, values=3, late=3, rank=2, steps=40, budget=100), torch.Generator().manual_seed(1)
    student = new_student(model, plan, first_kinds(model.weights["wte.weight"], rows, plan.kinds))
    for name, tensor in student.tensors.items():
        student.tensors[name] = tensor + 0.1 * torch.randn(tensor.shape, generator=generator)
    sweep, wanted = ReadingSweep(student, rows), torch.randn(*rows.shape, 2, generator=generator)
    for layer in range(model.decoder.layers):
        sweep.attend(layer)
        if layer == model.decoder.layers - 1:
            break
        sweep.fire(layer)
        terms, left = (torch.cat(pieces) for pieces in zip(*sweep.behind(layer, AFTER[layer], wanted), strict=True))
        with torch.no_grad():
            reading = read_before(student, rows, layer + 1)
            pieces = [*reading.terms(layer), *(reading.fired[n] for n in fired_by(layer, AFTER[layer]))]
            whole = torch.cat(pieces, -1) / reading.scales[AFTER[layer]]
        torch.testing.assert_close(terms, whole.flatten(0, 1), atol=1e-5, rtol=1e-4)
        assert torch.equal(left, wanted.flatten(0, 1))


AFTER = [f"L{layer + 1:02d}.LN1" for layer in range(6)]


def test_first_sources_are_close_already(rows: torch.Tensor) -> None:
    """Where positions write nothing: those of a random model are no curves."""
    model = checkpoints.random_model(5, n_head=2, n_embd=16, n_positions=24, n_inner=12, vocab_size=40)[0]
    model.weights["wpe.weight"] = torch.zeros_like(model.weights["wpe.weight"])
    student = empty(model, rows)
    start = kl_of(student, rows[100:])
    first_sources(student, rows[:100], steps=40, tokens=2400, seed=0)
    assert kl_of(student, rows[100:]) < 0.2 * start


def test_axes_matter_in_their_order(model: Model, rows: torch.Tensor) -> None:
    """Along its axes what is read varies by one, and they are as many as the plan says."""
    few = Plan(kinds=4, values=5, late=3, rank=2, steps=1, budget=1)
    axes = found_axes(model, rows, few, 0)
    assert {name: each.read.shape[1] for name, each in axes.items()} == {"L01.LN1": 3, "L00.LN2": 5, "L01.LN2": 5}
    for name, said in along(model, rows, axes).items():
        deviation = said.flatten(0, 1).std(0)
        torch.testing.assert_close(deviation, torch.ones_like(deviation), atol=2e-2, rtol=0, msg=name)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_budget_is_spent_by_what_programs_hold(
    model: Model, rows: torch.Tensor, tmp_path: Path, share: float
) -> None:
    """Where programs hold half of what prices say, twice as much is kept."""
    plan, numbers = Plan(kinds=6, values=5, late=4, rank=2, steps=120, budget=900), torch.ones(40)
    paid: list[float] = []

    def costs(student: Student) -> float:
        """What is left of a student by prices, every entry of a kind as one."""
        assert student.groups is not None
        spread = replace(student, tensors=student.tensors | {"kinds": student.kinds()[:-1]}, groups=None)
        return held(spread, prices(spread, numbers))

    def count(student: Student) -> int:
        paid.append(costs(student))
        return int(share * paid[-1])

    student, _ = train(model, plan, rows[:100], rows[100:], numbers, tmp_path / "state.safetensors", 0, count)
    assert 5 <= len(paid) <= 7  # three times while pruning, and when numbers are shared
    assert 0.8 * 900 < costs(student) <= 1.01 * 900 / share  # shares in a token's text grow as others go
    assert share == 1 or costs(student) > 1.2 * 900


def test_the_most_promising_of_many_terms_are_screened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(begin, "MOST_TERMS", 3)
    generator = torch.Generator().manual_seed(0)
    terms = torch.randn(2000, 8, generator=generator) * torch.tensor([1.0, 2.0, 0.1, 1.0, 1.0, 1.0, 1.0, 1.0])
    wanted = torch.stack([terms[:, 0] / 2 + 10 * terms[:, 2], terms[:, 3] + terms[:, 5] / 3], 1)
    text = [(terms[:1200], wanted[:1200]), (terms[1200:], wanted[1200:])]
    price, worth = torch.ones(8), torch.ones(2)
    assert begin.screened(text, price, worth).tolist() == [0, 2, 3]
    price[3] = 100.0
    assert begin.screened(text, price, worth).tolist() == [0, 2, 5]
    assert {3, 5} <= {*begin.screened(text, torch.ones(8), torch.tensor([0.0, 1.0])).tolist()}
