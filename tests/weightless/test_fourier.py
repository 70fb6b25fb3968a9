"""Waves in logits, on logits made of known waves; and the program that they make."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pellucid.weightless import fourier
from pellucid.weightless.clock import program_text
from pellucid.weightless.emit import count
from pellucid.weightless.fourier import Losses, Waves
from pellucid.weightless.hooked import Hooked

P = 31
PAIRS = np.array([(a, b) for a in range(P) for b in range(P)])
TOTAL = PAIRS.sum(1) % P
MADE = Waves(P, ((5, 1.0), (11, 0.6), (2, 0.3)))


def logits(noise: float = 0.0) -> np.ndarray:
    """Logits of the waves of `MADE`, ten times as large, with noise."""
    wave = 10 * MADE.logits(MADE.angles(TOTAL))
    return wave + noise * np.random.default_rng(0).normal(size=wave.shape)


def test_key_frequencies_and_their_weights_are_found() -> None:
    found = fourier.key_waves(logits(noise=0.5), TOTAL)
    assert [frequency for frequency, _ in found.weights] == [5, 11, 2]
    np.testing.assert_allclose([weight for _, weight in found.weights], [1.0, 0.6, 0.3], atol=0.03)


def test_without_the_key_waves_nothing_is_left() -> None:
    found = fourier.losses(logits(), PAIRS[:, 0], PAIRS[:, 1], MADE)
    assert found.restricted == pytest.approx(found.whole, abs=1e-6)
    assert found.excluded == pytest.approx(np.log(P), abs=1e-3)
    assert found.whole < 0.1


def test_few_frequencies_are_told_from_many() -> None:
    turn = 2 * np.pi * 3 * np.arange(P) / P
    few = np.stack([np.cos(turn), np.sin(turn)], 1)
    assert fourier.concentration(few) > 0.9
    assert fourier.concentration(np.random.default_rng(0).normal(size=(P, 200))) < 0.2


def test_the_program_adds() -> None:
    text = program_text(MADE, Losses(0.1, 0.1, 3.0), [], "toy")
    scope: dict[str, object] = {}
    exec(text, scope)
    answer = scope["answer"]
    assert all(answer(a, b) == (a + b) % P for a, b in PAIRS[::7])  # type: ignore[operator]
    assert count(text) < 20


def test_an_edit_reaches_the_logits() -> None:
    draw = torch.Generator().manual_seed(0)
    shapes = {"embed.W_E": (6, 8), "pos_embed.W_pos": (3, 8), "unembed.W_U": (8, 6)}
    shapes |= {f"blocks.0.attn.W_{part}": (2, 8, 4) for part in "QKV"} | {"blocks.0.attn.W_O": (2, 4, 8)}
    shapes |= {"blocks.0.mlp.W_in": (8, 16), "blocks.0.mlp.b_in": (16,), "blocks.0.mlp.W_out": (16, 8)}
    shapes |= {"blocks.0.mlp.b_out": (8,)}
    model = Hooked({name: torch.randn(shape, generator=draw) for name, shape in shapes.items()})
    ids = torch.tensor([[0, 1, 5], [2, 3, 5]])
    plain = model.run(ids)
    same = model.run(ids, {"post": lambda post: post + 0})
    silent = model.run(ids, {"post": torch.zeros_like})
    torch.testing.assert_close(plain["logits"], same["logits"])
    assert not torch.allclose(plain["logits"], silent["logits"])
    torch.testing.assert_close(model.run(ids[:, :2])["logits"], plain["logits"][:, :2])
