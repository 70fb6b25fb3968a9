"""Predicted before, measured after: the same figures of both, and how they agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.rewrite.predict import EditAtWork, LogitChange, acts, predict
from pellucid.rewrite.workbench import PaddedRows, Workbench

ROWS = 16
"""Rows of text that an edit is predicted and measured on: those where it speaks, the first of them."""
COUNTED = 0.05
"""Measured changes of a logit from which on predictions are held against them."""
LIKELIEST = 5
"""Of the tokens that an edit does not name, so many of the likeliest at each place count."""
AGREE = 0.9
"""How well linear paths must agree with neurons that bend for a prediction to be sure."""
SHOWN, BEFORE = 12, 12
"""Changed predictions that are kept, and tokens before each."""


@dataclass(frozen=True)
class ChangedPrediction:
    """A prediction that changes: the text before it, the tokens before and after, and by how much the logits move."""

    domain: str
    text: str
    before: str
    after: str
    by: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Forecast:
    """What an edit is predicted to do where it can act: on `rows` rows of text, at `positions` positions of them."""

    change: LogitChange
    rows: int
    positions: int
    speaks: int
    doubt: float
    """1 less the correlation of linear paths with neurons that bend, on the tokens that count."""

    @property
    def after(self) -> Float[Tensor, "row pos vocab"]:
        """The predicted logits."""
        return self.change.before + self.change.change

    @property
    def changed(self) -> Bool[Tensor, "row pos"]:
        """Where the top token is predicted to change."""
        return (self.after.argmax(-1) != self.change.before.argmax(-1)) & self.change.text.inside

    def astray(self, tokens: Sequence[int], *, of_one: bool = False) -> int:
        """How many top tokens are predicted to change where none of `tokens` was said or is.

        With `of_one` also where none of them was said and one is: an edit about one prompt speaks where the same is
        said as there.
        """
        was, now = self.change.before.argmax(-1), self.after.argmax(-1)
        named = torch.tensor(tokens)
        strange = self.changed & ~torch.isin(was, named)
        return int((strange if of_one else strange & ~torch.isin(now, named)).sum())

    def to_dict(self, bench: Workbench) -> dict[str, Any]:
        """As the record of an edit holds it."""
        places = changed_places(bench, self.change.text, self.change.before, self.after)
        return {
            "rows": self.rows,
            "positions": self.positions,
            "speaks": self.speaks,
            "changed": int(self.changed.sum()),
            "doubt": self.doubt,
            "places": [place.to_dict() for place in places],
        }


@dataclass(frozen=True)
class ForecastOutcome:
    """What an edit did where it was predicted, and how that agrees with the prediction; None where nothing moved.

    `correlation` and `sign_errors` are of the logits that count whose measured change exceeds `COUNTED`. `surprises`
    are top tokens that changed unpredicted, `false_alarms` those predicted to change that did not.
    """

    changed: int
    correlation: float | None
    compared: int
    sign_errors: int
    surprises: int
    false_alarms: int
    places: tuple[ChangedPrediction, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self)


def forecast(
    bench: Workbench,
    edits: Sequence[EditAtWork],
    text: PaddedRows,
    tokens: Sequence[int],
    near: Sequence[int] = (),
    most: int = ROWS,
) -> Forecast:
    """Predict what `edits` will do on those rows of `text` where they speak, at `most` so many.

    `tokens` are those that they name; they speak on rows alone that hold a token of `near`, if there are any.
    """
    if near:
        text = text.take(torch.isin(text.ids, torch.tensor(near)).any(1).nonzero()[:, 0])
    speaks = acts(bench.program, edits, text, most)
    rows = speaks.any(1).nonzero()[:most, 0]
    chosen = text.take(rows)
    found = predict(bench, edits, chosen)
    at = speaks[rows, : chosen.ids.shape[1]]
    counted = _counted(found, tokens)
    doubt = 1 - _correlation(found.change[counted], found.bent[counted])
    return Forecast(found, len(rows), int(chosen.inside.sum()), int(at.sum()), doubt)


def measure(bench: Workbench, predicted: Forecast, tokens: Sequence[int]) -> ForecastOutcome:
    """Run the program, as it is now, where an edit of it was predicted."""
    change, text = predicted.change, predicted.change.text
    if not len(text.ids):
        return ForecastOutcome(0, None, 0, 0, 0, 0, ())
    after = bench.measured(text.ids)
    moved = after - change.before
    counted = _counted(change, tokens) & (moved.abs() > COUNTED)
    told, found = change.change[counted], moved[counted]
    changed = (after.argmax(-1) != change.before.argmax(-1)) & text.inside
    correlation = _correlation(told, found) if len(found) > 2 else None
    return ForecastOutcome(
        int(changed.sum()),
        correlation,
        len(found),
        int((told.sign() != found.sign()).sum()),
        int((changed & ~predicted.changed).sum()),
        int((predicted.changed & ~changed).sum()),
        tuple(changed_places(bench, text, change.before, after)),
    )


def _counted(change: LogitChange, tokens: Sequence[int]) -> Bool[Tensor, "row pos vocab"]:
    """The logits that count: of the tokens that an edit names, and of the likeliest at each place."""
    found = torch.zeros_like(change.before, dtype=torch.bool)
    if found.numel():
        found.scatter_(-1, change.before.topk(LIKELIEST, -1).indices, True)
    found[..., list(tokens)] = True
    return found & change.text.inside[..., None]


def _correlation(told: Float[Tensor, " n"], found: Float[Tensor, " n"]) -> float:
    """Pearson's, 1 where both are the same throughout."""
    if len(told) < 3 or torch.equal(told, found):
        return 1.0
    value = float(torch.corrcoef(torch.stack([told, found]).double())[0, 1])
    return value if math.isfinite(value) else 0.0


def changed_places(
    bench: Workbench, text: PaddedRows, before: Float[Tensor, "row pos vocab"], after: Float[Tensor, "row pos vocab"]
) -> list[ChangedPrediction]:
    """The predictions that differ most, by how far the token now said has overtaken the one said before."""
    was, now = before.argmax(-1), after.argmax(-1)
    at = ((was != now) & text.inside).nonzero()
    found = []
    for row, pos in at.tolist():
        old, new = int(was[row, pos]), int(now[row, pos])
        by = float((after[row, pos] - before[row, pos])[new] - (after[row, pos] - before[row, pos])[old])
        found.append((by, row, pos, old, new))
    worst = sorted(found, reverse=True)[:SHOWN]
    return [
        ChangedPrediction(text.domains[row], _text(bench, text.ids[row, : pos + 1]), was_said, is_said, round(by, 3))
        for by, row, pos, old, new in worst
        for was_said, is_said in [bench.texts([old, new])]
    ]


def _text(bench: Workbench, ids: Int[Tensor, " pos"]) -> str:
    """The last tokens of a text."""
    return str(bench.model.tokenizer.decode(ids[-BEFORE:].tolist()))
