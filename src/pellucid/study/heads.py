"""What each attention head does on repeated random tokens, and whether its OV circuit copies.

On a sequence said twice, three habits show in the pattern alone (Olsson et al., 2022, arXiv 2209.11895): looking at the
previous token, at the same token before (duplicate), and at the token after that (induction). Copying is read off the
weights: the share Σλ / Σ|λ| of the eigenvalues of the map from a token, through the head, to the logits (Elhage et al.,
2021); 1 where every token raises its own logit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.engine.subjects import Subject, model_of
from pellucid.engine.trace import trace
from pellucid.exact.model import Model
from pellucid.exact.rules import head_weights

HABITS = ("previous_token", "duplicate_token", "induction", "copying")
LONGEST = 50
"""Tokens of the sequence that is said twice, at most."""


@dataclass(frozen=True)
class HeadScores:
    """Scores of every head: attention between 0 and 1, and copying between −1 and 1."""

    scores: dict[str, Float[Tensor, "layer head"]] = field(repr=False)
    """By habit: `previous_token`, `duplicate_token`, `induction` and `copying`; `found[HABIT]` takes one."""

    def __repr__(self) -> str:
        best = {habit: max(self.table, key=lambda line: float(line[habit])) for habit in HABITS}
        most = ", ".join(f"{habit} {line['part']} {line[habit]:.2f}" for habit, line in best.items())
        return f"<HeadScores of {len(self.table)} heads; most: {most}>"

    def __getitem__(self, habit: str) -> Float[Tensor, "layer head"]:
        """The scores for one of `HABITS`."""
        if habit not in self.scores:
            raise PellucidError(f"{habit!r} is not among the scores of heads: {', '.join(HABITS)}")
        return self.scores[habit]

    @property
    def table(self) -> list[dict[str, Any]]:
        """One line a head."""
        layers, heads = self.scores["induction"].shape
        return [
            {"part": f"L{layer:02d}.H{head:02d}"} | {habit: float(self.scores[habit][layer, head]) for habit in HABITS}
            for layer in range(layers)
            for head in range(heads)
        ]


def head_scores(subject: Subject, rows: int = 8, seed: int = 0) -> HeadScores:
    """The scores of every head of `subject`, on `rows` random sequences that are said twice.

    Source: Olsson et al. (2022, arXiv 2209.11895).

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        rows: How many random sequences are said twice.
        seed: What they are drawn from.

    Returns:
        By layer and head, shares of attention from 0 to 1, and the copying score.

    Raises:
        PellucidError: A context of fewer than four tokens.
    """
    model = model_of(subject)
    ids, half = repeated(model, rows, seed)
    names = [f"L{layer:02d}.pattern" for layer in range(model.decoder.layers)]
    with torch.no_grad():
        patterns = torch.stack(list(trace(subject, ids, names, logits=False).activations.values())).float()
    second = torch.arange(ids.shape[1] - half, ids.shape[1], device=ids.device)
    found = {
        "previous_token": patterns.diagonal(-1, 3, 4).mean((1, 3)),
        "duplicate_token": patterns[..., second, second - half].mean((1, 3)),
        "induction": patterns[..., second, second - half + 1].mean((1, 3)),
        "copying": torch.stack([_copying(model, layer) for layer in range(model.decoder.layers)]),
    }
    return HeadScores(found)


def repeated(model: Model, rows: int, seed: int = 0) -> tuple[Int[Tensor, "row pos"], int]:
    """Random sequences said twice, behind the token that begins texts if there is one; and the length of a sequence."""
    opening = list(model.tokenizer.start)
    half = min(LONGEST, (model.n_ctx - len(opening)) // 2)
    if half < 2:
        raise PellucidError(
            f"{model.subject.name} reads {model.n_ctx} tokens at most, too few to say two of them twice"
        )
    apart = {*opening, model.tokenizer.eos_id}
    allowed = torch.tensor([token for token in range(model.n_vocab) if token not in apart])
    drawn = torch.randint(len(allowed), (rows, half), generator=torch.Generator().manual_seed(seed))
    once = allowed[drawn]
    start = torch.tensor(opening, dtype=torch.long).expand(rows, -1)
    return torch.cat([start, once, once], 1).to(model.device), half


def _copying(model: Model, layer: int) -> Float[Tensor, " head"]:
    """Σλ / Σ|λ| for every head of `layer`: eigenvalues of W_U · gain · W_O · W_V · gain · W_E, of rank d_head.

    They are those of the small matrix W_O · gain · W_U · W_E · gain · W_V; embeddings are centred as the norm does.
    """
    table, unembedding, before = model.embedding.double(), model.unembedding.double(), model.layer(layer).norm1
    read, said = before.centred(table) * before.gain.double(), unembedding * model.final_norm.gain.double()
    between = model.final_norm.centred(said).T @ read
    found = []
    for head in range(model.decoder.sizes.head):
        own = head_weights(model.weights, model.decoder, layer, head)
        values = torch.linalg.eigvals(own.out.double() @ between @ own.value.double())
        found.append(values.real.sum() / values.abs().sum().clamp(min=1e-30))
    return torch.stack(found).float()
