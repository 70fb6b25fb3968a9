"""In what wordings the same is asked of the same: conditions on tokens, and places of the fit text to tune on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.rewrite import places
from pellucid.rewrite.donors import Taker
from pellucid.rewrite.places import AskedAt, alike, conditions, surveyed
from pellucid.rewrite.source import Condition
from pellucid.rewrite.words import PromptWord, conditions_in, goes_on_otherwise, spelled, token_name, word_at
from pellucid.rewrite.workbench import Workbench

TUNED = 16
"""Places, in other wordings, that the strength of an edit is found on beside its prompt."""
KEPT = 40
"""Tokens of text before such a place."""
GLANCE = 0.1
"""The share of its attention that a head gives to a token of a word which the edit should speak of as well."""


@dataclass(frozen=True)
class AskedWording:
    """When something is asked of a word that a head takes from, in whatever wording."""

    taker: Taker
    of: tuple[Condition, ...]
    """What holds at the tokens of the word that the head looks at."""
    literal: tuple[places.Condition, ...]
    """What holds at the end of a text that asks; any one of these."""
    examples: tuple[list[int], ...]
    """Places of the fit text that ask, with the word in the place of the one that they ask it of."""

    def asks(self, bench: Workbench, said: Sequence[int]) -> tuple[Condition, ...]:
        """Conditions that hold where it is asked and `said` was answered so far."""
        spoken = tuple(enumerate(reversed(said)))
        shifted = [(*spoken, *((back + len(said), token) for back, token in one)) for one in self.literal]
        return tuple(tuple((back, token_name(bench, token)) for back, token in one) for one in shifted if one)


def worded(bench: Workbench, ids: list[int], taker: Taker, apart: Sequence[str] = ()) -> AskedWording:
    """What asks the same as `ids` of the word that a head takes from there; it is told `apart` from other words.

    Raises `PellucidError` where other words begin with all that it looks at of this one.
    """
    word = word_at(bench, ids, taker.looks_at)
    survey = surveyed(bench, taker.layer, taker.head)
    of = _of(bench, ids, taker, word, survey, [other for other in apart if other != word.text])
    if survey is None:
        return AskedWording(taker, of, (tuple(enumerate(reversed(ids[word.stop :]))),), ())
    same = alike(bench, survey, torch.tensor([ids]))
    literal = tuple(conditions(survey, same, ids[::-1]))
    return AskedWording(taker, of, literal, _examples(bench, survey, same, literal, word.text))


def _of(
    bench: Workbench, ids: list[int], taker: Taker, word: PromptWord, survey: AskedAt | None, apart: Sequence[str]
) -> tuple[Condition, ...]:
    """Conditions on the tokens of a word that the head looks at, however it is spelled.

    A token in the middle of it tells it only if no other word begins alike, where the head takes from it or `apart`.
    """
    at = f"L{taker.layer:02d}.pattern"
    taken = bench.fit.inside if survey is None else torch.zeros_like(bench.fit.inside)
    if survey is not None:
        taken[survey.where[:, 0], survey.where[:, 2]] = True
    others = [spelling for other in apart for spelling in spelled(bench, other)]
    found = []
    for spelling in spelled(bench, word.text, ids[word.start : word.stop]):
        row = torch.tensor([[*ids[: word.start], *spelling, *ids[word.stop :]]])
        glances = bench.run(row, (at,))[at][0, taker.head, -1, word.start : word.start + len(spelling)] >= GLANCE
        clear = [
            place
            for place in range(len(spelling))
            if place == len(spelling) - 1
            or (
                glances[place]
                and not any(other[: place + 1] == spelling[: place + 1] for other in others)
                and not goes_on_otherwise(bench, spelling[: place + 1], spelling[place + 1 :], taken)
            )
        ]
        found.append((spelling, clear))
    own, clear = found[0]
    place = taker.looks_at - word.start
    if place not in clear:
        begun, rest = (bench.model.tokenizer.decode(side) for side in (own[: place + 1], own[place + 1 :]))
        raise PellucidError(
            f"{taker.part} looks at {begun!r} alone, and the word goes on with {rest!r}: other words begin alike, in "
            "the fit text or the table, so it is ambiguous; tell the name apart in the prompt"
        )
    return conditions_in(bench, found)


def _examples(
    bench: Workbench, survey: AskedAt, same: Tensor, literal: Sequence[places.Condition], word: str
) -> tuple[list[int], ...]:
    """Places of the fit text that ask the same, of each wording alike, with `word` for the one they ask it of."""
    found = []
    for place in _mixed(survey, same, literal)[:TUNED]:
        row, at, key = survey.where[place].tolist()
        tokens = bench.fit.ids[row].tolist()[: at + 1]
        old = word_at(bench, tokens, key)
        start = max(1, at + 1 - KEPT) if old.start >= at + 1 - KEPT else old.start
        space = bench.model.tokenizer.kind == "bpe" and bench.texts(tokens[old.start : old.start + 1])[0][:1].isspace()
        own = bench.model.tokenizer.encode(f" {word}" if space else word)
        found.append([tokens[0], *tokens[start : old.start], *own, *tokens[old.stop :]])
    return tuple(found)


def _mixed(survey: AskedAt, same: Tensor, literal: Sequence[places.Condition]) -> list[int]:
    """Places that ask the same, taken in turn from those where each condition holds and from those where none does."""
    left, groups = same.clone(), []
    for condition in literal:
        here = left & places.holds(survey.before, condition)
        left &= ~here
        groups.append(_spread(here))
    groups.append(_spread(left))
    turns = range(max((len(group) for group in groups), default=0))
    return [group[turn] for turn in turns for group in groups if turn < len(group)]


def _spread(here: Tensor) -> list[int]:
    """At most so many places as are tuned on, evenly from all of them."""
    found: list[int] = here.nonzero()[:, 0].tolist()
    return found[:: max(1, len(found) // TUNED)][:TUNED]
