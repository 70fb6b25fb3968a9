"""A norm with its numbers says what the graph's norm does, and what autograd says of it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pellucid.exact import ops
from pellucid.exact.norms import NormView
from pellucid.family.blocks import Norm

KINDS = [Norm("layer", "n", 1e-2), Norm("rms", "n", 1e-2), Norm("rms", "n", 1e-2, plus_one=True)]


def view(norm: Norm) -> tuple[NormView, torch.Tensor]:
    torch.manual_seed(0)
    weights = {name: torch.randn(6) for name in ("n.weight", "n.bias")}
    return NormView.of(norm, weights), torch.randn(2, 3, 6)


def applied(own: NormView, x: torch.Tensor) -> torch.Tensor:
    if own.bias is not None:
        return ops.layer_norm(x, own.stored, own.bias, epsilon=own.norm.epsilon)
    return ops.rms_norm(x, own.stored, epsilon=own.norm.epsilon, plus_one=own.norm.plus_one)


@pytest.mark.parametrize("norm", KINDS)
def test_its_pieces_make_what_the_graph_computes(norm: Norm) -> None:
    own, x = view(norm)
    bias = 0.0 if own.bias is None else own.bias
    torch.testing.assert_close(own.centred(x) / own.scale(x) * own.gain + bias, applied(own, x))


@pytest.mark.parametrize("norm", KINDS)
def test_gradients_are_those_of_autograd(norm: Norm) -> None:
    own, x = view(norm)
    gradient = torch.randn(4, 2, 3, 6)
    at = x.requires_grad_()
    expected = torch.stack([torch.autograd.grad(applied(own, at), at, one)[0] for one in gradient])
    torch.testing.assert_close(own.pull_back(gradient, x.detach()), expected)
    frozen = torch.autograd.grad(own.centred(at) / own.scale(x.detach()) * own.gain, at, gradient[0])[0]
    torch.testing.assert_close(own.pull_back(gradient[0], x.detach(), frozen=True), frozen)


@pytest.mark.parametrize("norm", KINDS)
def test_changes_and_directions_behind_it(norm: Norm) -> None:
    own, x = view(norm)
    change, row = torch.randn_like(x), torch.randn(6)
    torch.testing.assert_close(own.changed(x, change), applied(own, x + change) - applied(own, x))
    direction, constant = own.folded(row)
    torch.testing.assert_close(x @ direction / own.scale(x)[..., 0] + constant, applied(own, x) @ row)
    assert F.cosine_similarity(own.gain, own.stored + float(norm.plus_one), dim=0) > 0.999
