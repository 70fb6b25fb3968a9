"""Behaviours as rules: what to say in the place of something else wherever a pattern stands, and what never to say."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.rewrite.intent import EXAMPLES, MARGIN, Proposal, rows_of, tuned
from pellucid.rewrite.locate import Located, locate
from pellucid.rewrite.source import Condition, Speech
from pellucid.rewrite.words import one_token, pattern_conditions, token_name
from pellucid.rewrite.workbench import BATCH, Workbench

SEARCHED = 256
"""Rows of the fit text in which places of a rule are looked for."""


def rule(bench: Workbench, pattern: str, prefer: str, over: str) -> Proposal:
    """Let the program say `prefer` where it would say `over` right behind `pattern`.

    Raises `PellucidError` for what is not one token, and where the program says `over` nowhere behind the pattern.
    """
    token, old = one_token(bench, prefer), one_token(bench, over)
    if token == old:
        raise PellucidError(f"{prefer!r} is preferred over itself; name two tokens")
    asks = pattern_conditions(bench, pattern)
    rows, ends = _places(bench, asks, (old,))
    if not rows:
        raise PellucidError(
            f"nowhere in the fit text does the program say {over!r} behind {pattern!r}, so nothing shows where that is "
            "decided; check the space at its beginning, or give another pattern"
        )
    text = rows_of(rows)
    located = locate(bench, text.ids, ends, [old] * len(rows))
    address, why = _address(bench, located)
    sides = (token_name(bench, token),), (token_name(bench, old),)

    def margin(after: Float[Tensor, "place vocab"], _: Float[Tensor, "place vocab"]) -> float:
        others = after.index_fill(1, torch.tensor([token]), -torch.inf).max(1).values
        return float((after[:, token] - others).quantile(0.05)) - 1 + MARGIN  # a margin of 1 at all but few places

    speech, least = tuned(bench, Speech(address, *sides, asks), text, list(enumerate(ends)), margin)
    what = f"Says {prefer!r} and not {over!r}" + (f" behind {pattern!r}." if pattern else ".")
    asked = f"--when {pattern!r} --prefer {prefer!r} --over {over!r}"
    prompt = tuple(rows[0])
    return Proposal("rule", what, asked, (speech,), (token, old), located.sites, least, why, len(rows), prompt)


def suppress(bench: Workbench, words: Sequence[str]) -> Proposal:
    """Let the program hardly ever say these tokens: the last layer's bias speaks against them.

    Raises `PellucidError` for what is not one token.
    """
    tokens = [one_token(bench, word) for word in words]
    if not tokens:
        raise PellucidError("no token is named; give some, such as --suppress ' damn'")
    rows, ends = _places(bench, (), tokens)
    speeches, least = [], MARGIN
    address = f"L{bench.model.decoder.layers - 1:02d}.MLP.B"
    text = rows_of(rows or [bench.fit.ids[0, :8].tolist()])
    places = list(enumerate(ends or [7]))
    for token in tokens:

        def margin(after: Float[Tensor, "place vocab"], _: Float[Tensor, "place vocab"], at: int = token) -> float:
            return float((after.max(1).values - after[:, at]).quantile(0.1)) - 0.5 + MARGIN

        speech, reached = tuned(bench, Speech(address, (), (token_name(bench, token),), ()), text, places, margin)
        speeches.append(speech)
        least = min(least, reached)
    what = f"Does not say {', '.join(map(repr, words))}."
    asked = f"--suppress {' '.join(map(repr, words))}"
    return Proposal("suppress", what, asked, tuple(speeches), tuple(tokens), (), least, "", len(rows))


def _address(bench: Workbench, located: Located) -> tuple[str, str]:
    """The part that an edit belongs to, and why it is one of its own, if it is."""
    if heads := located.heads():
        return heads[0].part, ""
    best = located.sites[0]
    layer = bench.model.decoder.layers - 1
    why = f"no head carries enough of it (most: {best.part} with {best.share:.0%})"
    return f"L{layer:02d}.E{bench.next_part:02d}", why


def _places(bench: Workbench, asks: tuple[Condition, ...], tokens: Sequence[int]) -> tuple[list[list[int]], list[int]]:
    """Rows of the fit text up to places where the program says one of `tokens`, and the places."""
    vocabulary = bench.program.sources.vocabulary
    rows: list[list[int]] = []
    for start in range(0, min(SEARCHED, len(bench.fit.ids)), BATCH):
        ids = bench.fit.ids[start : start + BATCH]
        met = _met(ids, [[(back, vocabulary.id_of(token)) for back, token in condition] for condition in asks])
        met &= bench.fit.inside[start : start + BATCH]
        if not met.any():
            continue
        top = bench.run(ids, ("logits",))["logits"].argmax(-1)
        for row, at in (met & torch.isin(top, torch.tensor(tokens))).nonzero().tolist():
            rows.append(ids[row, : at + 1].tolist())
        if len(rows) >= EXAMPLES:
            break
    rows = rows[:EXAMPLES]
    return rows, [len(row) - 1 for row in rows]


def _met(ids: Int[Tensor, "row pos"], conditions: Sequence[Sequence[tuple[int, int]]]) -> Tensor:
    """Where any of the conditions on tokens holds; everywhere if there are none."""
    found = torch.zeros_like(ids, dtype=torch.bool) if conditions else torch.ones_like(ids, dtype=torch.bool)
    for condition in conditions:
        held = torch.ones_like(found)
        for back, token in condition:
            before = torch.nn.functional.pad(ids, (back, 0), value=-1)[:, : ids.shape[1]]
            held &= before == token
        found |= held
    return found
