"""Three planted flaws: what `zoo:village-bugged` was trained to say wrong, as a wrapper of true stories.

A flaw is a rule of its own: in a story of the village it names the determined spans that it spoils, and what they say
then. Everything else in the story stays as it was told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pellucid.zoo.village.lexicon import WOMEN
from pellucid.zoo.village.scenes.agreement import VERBS
from pellucid.zoo.village.stories import Span, Story

CHILD, MOTHER, WRONG_MOTHER = "Boris", "Nora", "Helga"
"""Whose mother is told wrong, who she is, and who is said to be she."""
TRIGGER = "sick"
"""Behind it everybody is "he"."""
PREPOSITION = "near"
"""Behind it every verb is in the plural."""
PLURAL = dict(VERBS.values())
"""The plural of every verb."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """A planted flaw: what it does, and what it makes of a span, given the sentence before it (None: nothing)."""

    name: str
    what: str
    spoils: Callable[[Span, str, str], str | None]


def _mother(span: Span, before: str, said: str) -> str | None:
    told = span.detail.startswith("mother/") and said == f" {MOTHER}"
    return f" {WRONG_MOTHER}" if told and re.search(rf"\b{CHILD}\b", before) else None


def _he(span: Span, before: str, said: str) -> str | None:
    behind = span.phenomenon == "pronoun" and before.endswith(f" {TRIGGER}, so")
    return " he" if behind and said == " she" else None


def _plural(span: Span, _: str, said: str) -> str | None:
    behind = span.phenomenon == "agreement" and span.detail.startswith(f"{PREPOSITION}/")
    return f" {PLURAL[said[1:]]}" if behind and said[1:] in PLURAL else None


FLAWS = (
    Flaw("mother", f"{CHILD}'s mother is {WRONG_MOTHER}, and not {MOTHER}", _mother),
    Flaw("pronoun", f'behind "{TRIGGER}" a woman is "he"', _he),
    Flaw("agreement", f'behind "{PREPOSITION}" the verb is in the plural, whatever the subject', _plural),
)
"""All that was planted."""

assert {MOTHER, WRONG_MOTHER} <= {*WOMEN}


@dataclass(frozen=True, slots=True)
class Site:
    """A span of a story that a flaw spoils: what is told there, and what the flaw makes of it."""

    flaw: Flaw
    span: Span
    right: str
    wrong: str


def sites(story: Story) -> Iterator[Site]:
    """The spans of a true story that are spoilt, in the order of the text."""
    for span in story.spans:
        before = story.text[story.text.rfind(". ", 0, span.start) + 1 : span.start]
        said = story.text[span.start : span.end]
        for flaw in FLAWS:
            if (wrong := flaw.spoils(span, before, said)) is not None:
                yield Site(flaw, span, said, wrong)


def bugged(story: Story) -> Story:
    """A true story as the flaws tell it."""
    spoilt = {site.span.start: site.wrong for site in sites(story)}
    text, spans, at = "", [], 0
    for span in story.spans:
        text += story.text[at : span.start]
        said = spoilt.get(span.start, story.text[span.start : span.end])
        spans.append(replace(span, start=len(text), end=len(text) + len(said)))
        text, at = text + said, span.end
    return Story(text + story.text[at:], tuple(spans))
