"""The village itself: its people, its facts, and any number of stories about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Literal, cast

from pellucid.zoo.village import lexicon
from pellucid.zoo.village.chance import pick, stable_hash
from pellucid.zoo.village.facts import Fact, FactBook, all_facts
from pellucid.zoo.village.people import Person, families
from pellucid.zoo.village.pieces import Phenomenon, Piece
from pellucid.zoo.village.scenes import ONCE, SCENES, Scene, Stage

Split = Literal["train", "tune", "test"]

LENGTHS = (4, 3, 5, 6)
"""How many scenes a story has, the likeliest first."""
LONGEST = 76
"""A story gets no further scene when it has this many words, so that it stays below some 110 tokens."""
ENDINGS = (" Then they all went home.", " At last it was dark.", " So the day ended.")


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` of a story: a run of whole tokens that the text before it determines."""

    start: int
    end: int
    phenomenon: Phenomenon
    held_out: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Story:
    """A short text and what in it is determined."""

    text: str
    spans: tuple[Span, ...]


def _story(pieces: Iterable[Piece]) -> Story:
    """Join `pieces`; the space before the first word goes."""
    texts: list[str] = []
    spans: list[Span] = []
    end = -1
    for piece in pieces:
        start, end = end, end + len(piece.text)
        texts.append(piece.text)
        if piece.phenomenon:
            spans.append(Span(start, end, piece.phenomenon, piece.held_out, piece.detail))
    return Story("".join(texts)[1:], tuple(spans))


def split_of_text(text: str) -> Split:
    """The only split that may contain a story of this text."""
    return cast(Split, {0: "test", 1: "tune"}.get(stable_hash("story", text) % 8, "train"))


class Village:
    """A village drawn from `seed`; `facts` replaces what would be true in it."""

    def __init__(self, seed: int = 0, facts: Iterable[Fact] | None = None) -> None:
        rng = Random(f"village {seed}")
        households = families(rng)
        self.seed = seed
        self.people: tuple[Person, ...] = tuple(person for family in households for person in family.values())
        self.facts: tuple[Fact, ...] = all_facts(households, rng) if facts is None else tuple(facts)
        self._book = FactBook(self.facts)
        self._fame = tuple(accumulate(lexicon.HEROES.get(person.name, 1.0) for person in self.people))
        self._scenes = tuple(SCENES)
        self._weights = tuple(accumulate(SCENES.values()))

    def story(self, index: int, split: Split) -> Story:
        """Story number `index` of `split`; no two splits share a text."""
        attempt = 0
        while True:
            stage = self._stage(Random(f"{self.seed} {split} {index} {attempt}"), split)
            story = _story(self._play(stage))
            if split_of_text(story.text) == split:
                return story
            attempt += 1

    def stories(self, split: Split, start: int = 0, count: int | None = None) -> Iterator[Story]:
        """`count` stories of `split` from number `start` on; without `count`, stories without end."""
        index = start
        while count is None or index < start + count:
            yield self.story(index, split)
            index += 1

    def _stage(self, rng: Random, split: Split) -> Stage:
        chosen: list[Person] = []
        while len(chosen) < 3:
            person = rng.choices(self.people, cum_weights=self._fame)[0]
            if person not in chosen:
                chosen.append(person)
        return Stage(rng, (chosen[0], chosen[1], chosen[2]), self._book, split)

    def _play(self, stage: Stage) -> Iterator[Piece]:
        """Opening, scenes, ending."""
        words = 0
        played: set[Scene] = set()
        for piece in _opening(stage):
            words += piece.text.count(" ")
            yield piece
        for _ in range(pick(stage.rng, LENGTHS)):
            if words > LONGEST:
                break
            scene = self._next_scene(stage, played, words)
            played.add(scene)
            for piece in scene(stage):
                words += piece.text.count(" ")
                yield piece
        yield Piece(stage.choose(ENDINGS))

    def _next_scene(self, stage: Stage, played: set[Scene], words: int) -> Scene:
        while True:
            scene = stage.rng.choices(self._scenes, cum_weights=self._weights)[0]
            if scene in ONCE and (scene in played or words > LONGEST // 2):
                continue
            return scene


def _opening(stage: Stage) -> Iterator[Piece]:
    """A day or a season and two people, or a fact about one."""
    form = stage.choose(("day", "season", "fact"))
    hero, companion, _ = stage.cast
    if form == "fact":
        yield from stage.tell(hero)
        return
    place = stage.choose(lexicon.PLACES)
    if form == "day":
        yield Piece(f" It was {stage.choose(lexicon.DAYS)}, and {hero.name} met {companion.name} at the {place}.")
    else:
        season = stage.choose(("spring", "summer", "autumn", "winter"))
        yield Piece(f" One {season} morning {hero.name} met {companion.name} at the {place}.")
