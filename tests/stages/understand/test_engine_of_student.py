"""The graph without what a student replaces computes what the whole graph does."""

from __future__ import annotations

import pytest
import torch

import checkpoints
from pellucid.exact.model import Model
from pellucid.stages.understand.plan import Plan
from pellucid.stages.understand.student import Student, new_student


@pytest.mark.parametrize("activation", ["gelu_new", "relu"])
def test_logits_and_gradients_are_the_same(activation: str) -> None:
    model = checkpoints.random_model(
        5, n_head=2, n_embd=16, n_positions=24, n_inner=12, vocab_size=40, activation_function=activation
    )[0]
    ids = torch.randint(40, (3, 20), generator=torch.Generator().manual_seed(0))
    kinds = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
    found = []
    for whole in (True, False):
        student = noisy(new_student(model, Plan(kinds=6, values=5, late=4, rank=2, steps=10, budget=900), kinds))
        said = model.run(ids, ("logits",), edits=student.edits(ids))["logits"] if whole else student.logits(ids)
        torch.autograd.backward(said.log_softmax(-1)[..., 3].mean())
        found.append([said.detach(), *(tensor.grad for tensor in student.tensors.values())])
    for own, other in zip(*found, strict=True):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-4)
    assert all(gradient.abs().max() > 0 for gradient in found[1][1:])


def noisy(student: Student) -> Student:
    """With every number a little off, so that everything is read."""
    generator = torch.Generator().manual_seed(2)
    for name, tensor in student.tensors.items():
        student.tensors[name] = (tensor + 0.3 * torch.randn(tensor.shape, generator=generator)).requires_grad_()
    return student


def test_it_leaves_the_model_alone() -> None:
    model: Model = checkpoints.random_model(5, n_head=2, n_embd=16, n_positions=24, n_inner=12, vocab_size=40)[0]
    ids = torch.randint(40, (3, 20), generator=torch.Generator().manual_seed(0))
    before = model.logits(ids)
    plan = Plan(kinds=6, values=5, late=4, rank=2, steps=10, budget=900)
    assert new_student(model, plan, torch.zeros(40, 6)).engine.weights == model.weights
    assert torch.equal(model.logits(ids), before)
