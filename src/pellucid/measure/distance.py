"""How far what something else predicts is from what the subject does: KL in nats, and how often top tokens agree."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.exact.model import Model
from pellucid.exact.predictor import Predictor
from pellucid.measure.record import batches

_CHUNK = 1 << 24
"""Logits that are in memory in double precision at a time."""


def divergence(p: Float[Tensor, "batch pos vocab"], q: Float[Tensor, "batch pos vocab"]) -> float:
    """Σ over positions of KL(softmax(p) ‖ softmax(q)) in nats, computed in double precision."""
    total = 0.0
    places = max(1, _CHUNK // p.shape[-1])
    p, q = p.flatten(0, 1), q.flatten(0, 1)
    for start in range(0, len(p), places):
        a, b = (logits[start : start + places].double().log_softmax(-1) for logits in (p, q))
        total += float((a.exp() * (a - b)).sum())
    return total


def distance(model: Model, logits: Callable[[Tensor], Tensor], rows: Int[Tensor, "row pos"]) -> tuple[float, float]:
    """KL(subject ‖ what gives `logits`) over `rows` in nats per token, and how many top tokens agree in percent."""
    total, agree = 0.0, 0
    with torch.no_grad():
        for ids in batches(rows, model.n_vocab):
            there = ids.to(model.device)
            own = model.logits(there)
            said = logits(there).to(own)
            total += divergence(own, said)
            agree += int((own.argmax(-1) == said.argmax(-1)).sum())
    return total / rows.numel(), 100 * agree / rows.numel()


def mean_kl(model: Model, logits: Callable[[Tensor], Tensor], rows: Int[Tensor, "row pos"]) -> float:
    """KL(subject ‖ what gives `logits`) over `rows`, in nats per token."""
    return distance(model, logits, rows)[0]


def logits_of(predictor: Predictor) -> Callable[[Int[Tensor, "batch pos"]], Float[Tensor, "batch pos vocab"]]:
    """What a predictor says of token ids that are tensors."""
    return lambda ids: torch.from_numpy(predictor.extend(ids.cpu().numpy())[0])
