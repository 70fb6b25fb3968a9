"""Recording what parts do on text: activations and gradients, a batch at a time, so that memory never grows with text.

Gradients are those of the log-likelihood of tokens that the model itself draws at each position: their outer product
is, in expectation, the Fisher information, the curvature of KL (Martens, arXiv 1412.1193, section 5). Of a large
vocabulary tokens are drawn at a sample of places, and gradients made larger by as much as keeps that expectation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.exact.model import Model
from pellucid.exact.ops import leaf

BATCH_TOKENS = 2048
BATCH_LOGITS = 1 << 25
STEP_LOGITS = 1 << 24
"""How many logits are drawn from or compared at a time: of a large vocabulary, those of so many places."""


@dataclass(frozen=True)
class Recording:
    """Activations of a batch of rows by name and, one dictionary a draw, the gradients at those that were asked for."""

    ids: Int[Tensor, "batch pos"]
    values: dict[str, Tensor]
    gradients: tuple[dict[str, Tensor], ...]


def batches(rows: Int[Tensor, "row pos"], vocab: int) -> Iterator[Int[Tensor, "batch pos"]]:
    """`rows` in groups of about `BATCH_TOKENS` tokens, fewer where logits for `vocab` tokens would grow too large."""
    tokens = min(BATCH_TOKENS, BATCH_LOGITS // vocab)
    step = max(1, tokens // rows.shape[1])
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def compared_places(model: Model, ids: Int[Tensor, "batch pos"], seed: int) -> Int[Tensor, " place"]:
    """The places of flattened `ids` whose predictions are drawn from or compared: all, or a random sample of them."""
    most = max(1, STEP_LOGITS // model.n_vocab)
    if ids.numel() <= most:
        return torch.arange(ids.numel(), device=model.device)
    drawn = torch.randperm(ids.numel(), generator=torch.Generator().manual_seed(seed))[:most]
    return drawn.sort().values.to(model.device)


def logits_at(
    model: Model, final: Float[Tensor, "batch pos model"], at: Int[Tensor, " place"]
) -> Float[Tensor, "place vocab"]:
    """The logits at some places of the flattened normed stream."""
    return model.unembed(final.flatten(0, 1)[None, at])[0]


def predictions(
    model: Model, final: Float[Tensor, "batch pos model"], at: Int[Tensor, " place"]
) -> Float[Tensor, "place vocab"]:
    """The logarithms of what is predicted at some places of the flattened normed stream."""
    return logits_at(model, final, at).log_softmax(-1)


def record(
    model: Model,
    rows: Int[Tensor, "row pos"],
    names: Sequence[str],
    gradients: Sequence[str] = (),
    draws: int = 1,
    seed: int = 0,
) -> Iterator[Recording]:
    """The activations `names` of every batch of `rows`, with gradients at those in `gradients`.

    The tokens are drawn from `seed` and the number of the batch: the same rows give the same recordings every time.
    """
    for number, ids in enumerate(batches(rows, model.n_vocab)):
        if not gradients:
            with torch.no_grad():
                yield Recording(ids, model.run(ids, tuple(names)), ())
            continue
        generator = torch.Generator(model.device).manual_seed(1_000_003 * seed + number)
        at = compared_places(model, ids, 1_000_003 * seed + number)
        with torch.enable_grad():
            values = model.run(ids, (*names, "final"), edits=dict.fromkeys(gradients, leaf))
            final = values["final"] if "final" in names else values.pop("final")
            logits, scale = logits_at(model, final, at), math.sqrt(ids.numel() / len(at))
            found = tuple(_draw(logits, [values[name] for name in gradients], scale, generator) for _ in range(draws))
        by_name = tuple(dict(zip(gradients, draw, strict=True)) for draw in found)
        yield Recording(ids, {name: value.detach() for name, value in values.items()}, by_name)


def _draw(
    logits: Float[Tensor, "place vocab"], at: Sequence[Tensor], scale: float, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Draw a token at every place from `logits`; `scale` times the gradients of their summed log-likelihood at `at`.

    With p the model's distribution and y the token drawn, the gradient of log p(y) at the logits is onehot(y) − p.
    """
    with torch.no_grad():
        direction = logits.softmax(-1)
        drawn = _sample(direction, generator)
        direction.neg_().scatter_add_(1, drawn, torch.ones_like(drawn, dtype=direction.dtype)).mul_(scale)
    return torch.autograd.grad(logits, list(at), direction, retain_graph=True)


def _sample(probabilities: Float[Tensor, "place vocab"], generator: torch.Generator) -> Int[Tensor, "place one"]:
    """A token at every place, by inverting the cumulative distribution (`multinomial` takes thrice as long)."""
    below = probabilities.cumsum(-1)
    uniform = torch.rand(len(below), 1, generator=generator, device=below.device, dtype=below.dtype)
    return torch.searchsorted(below, uniform * below[..., -1:]).clamp(max=below.shape[-1] - 1)
