"""Products in bfloat16: only of wide models on devices made for it, and gradients point where they did."""

from __future__ import annotations

import pytest
import torch

import checkpoints
from pellucid.exact.model import Model
from pellucid.stages.understand import mixed as mixing
from pellucid.stages.understand import train
from pellucid.stages.understand.mixed import mixed
from pellucid.stages.understand.plan import Plan
from pellucid.stages.understand.student import new_student
from pellucid.stages.understand.train import loss_of, queries

PLAN = Plan(kinds=6, values=5, late=4, rank=2, steps=10, budget=900)


def of_width(width: int) -> Model:
    return checkpoints.random_model(5, n_head=2, n_embd=width, n_positions=24, n_inner=24, vocab_size=40)[0]


@pytest.fixture
def made_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixing, "multiplies_bfloat16", lambda _: True)


def slopes(model: Model) -> tuple[float, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    student = new_student(model, PLAN, torch.randn(40, 6, generator=generator))
    for name, tensor in student.tensors.items():
        student.tensors[name] = (tensor + 0.3 * torch.randn(tensor.shape, generator=generator)).requires_grad_()
    loss = loss_of(student, torch.randint(40, (3, 20), generator=generator), 0)
    torch.autograd.backward(loss)
    assert loss.dtype == torch.float32
    return float(loss.detach()), {name: tensor.grad for name, tensor in student.tensors.items()}  # type: ignore[misc]


@pytest.mark.usefixtures("made_for_it")
def test_gradients_point_where_they_did(monkeypatch: pytest.MonkeyPatch) -> None:
    rounded, there = slopes(of_width(mixing.WIDE))
    monkeypatch.setattr(mixing, "multiplies_bfloat16", lambda _: False)
    exact, own = slopes(of_width(mixing.WIDE))
    assert rounded != exact, "products were not rounded"
    assert rounded == pytest.approx(exact, rel=0.02)
    flat = [torch.cat([grad.flatten() for grad in found.values()]) for found in (there, own)]
    assert float(torch.cosine_similarity(*flat, dim=0)) > 0.99


@pytest.mark.usefixtures("made_for_it")
def test_narrow_models_and_those_in_double_precision_stay_exact() -> None:
    wide = of_width(mixing.WIDE)
    for model in (of_width(16), Model(wide.subject, dtype=torch.float64)):
        with mixed(model):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    with mixed(wide):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_of_long_texts_each_step_compares_other_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = torch.rand(2, 3, 7, 7)
    assert queries(pattern, 5) == slice(0, None, 1)
    monkeypatch.setattr(train, "PAIRS", pattern.numel() // 3 + 1)
    seen = [torch.arange(7)[queries(pattern, seed)].tolist() for seed in range(4)]
    assert seen == [[0, 3, 6], [1, 4], [2, 5], [0, 3, 6]]


def test_a_device_that_says_nothing_multiplies_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not mixing.multiplies_bfloat16("meta")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    assert not mixing.multiplies_bfloat16("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert mixing.multiplies_bfloat16("cpu")
