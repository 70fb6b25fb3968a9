"""What a weightless program is made of: looks (attention by named comparisons), questions, and a tree of answers.

Comparisons and questions are Python expressions over named values. The text that is fitted is the text that is printed.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from pellucid.weightless.task import Judged, Task
from pellucid.weightless.tree import DecisionNode


@dataclass(frozen=True)
class Term:
    """A comparison of `query` and `key`, and what it adds to the score where it holds (or times its number)."""

    text: str
    weight: float


@dataclass(frozen=True)
class Look:
    """A value: what the heads of `layer` see together. `numbers` are averaged: name -> expression over keys."""

    name: str
    layer: int
    heads: tuple[int, ...]
    terms: tuple[Term, ...]
    numbers: tuple[tuple[str, str], ...] = ()
    divergence: float = 0.0
    uniform: float = 0.0

    def addresses(self) -> list[str]:
        """The addresses that it stands for."""
        return [f"L{self.layer:02d}.H{head:02d}.{side}" for head in self.heads for side in ("QK", "OV")]


@dataclass(frozen=True)
class Walk:
    """An automaton: the state after each token by the state before, and the number of the answer in each state."""

    after: dict[int, tuple[int, ...]]
    says: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class WeightlessProgram:
    """Looks in order of layers, and a tree whose questions and answers are expressions over values at a place.

    `tables` are the named constants that these use. With a `walk` it is an automaton, and there are no looks.
    `cautions` say what could not be computed on the way to it.
    """

    alphabet: Alphabet
    answer: Judged
    looks: tuple[Look, ...]
    questions: tuple[str, ...]
    choices: tuple[str, ...]
    tree: DecisionNode
    tables: dict[str, tuple[float, ...]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    walk: Walk | None = None
    cautions: tuple[str, ...] = ()

    def with_notes(self, notes: dict[str, str]) -> WeightlessProgram:
        """The same program, with what is known about its values."""
        return replace(self, notes=notes)


@dataclass(frozen=True)
class Alphabet:
    """The tokens of a task, and the names that a program gives them."""

    texts: tuple[str, ...]
    special: tuple[int, ...]

    @staticmethod
    def of(task: Task) -> Alphabet:
        """The alphabet of `task`."""
        return Alphabet(task.vocabulary, task.special)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """An identifier for each token; where two would be alike, or mean something else, their ids tell them apart."""
        plain = [_identifier(text, at) for at, text in enumerate(self.texts)]
        often = Counter(plain)
        kept = {name for name in plain if often[name] == 1 and not _RESERVED.fullmatch(name)}
        taken = set(kept)
        return tuple(name if name in kept else _free(f"{name}_{at}", taken) for at, name in enumerate(plain))

    @cached_property
    def number(self) -> np.ndarray:
        """The number that each token stands for, -1 where it is none or numbers are not in order of ids."""
        ids = [at for at, text in enumerate(self.texts) if re.fullmatch(r"\d{1,9}", text) and at not in self.special]
        values = [int(self.texts[at]) for at in ids]
        number = np.full(len(self.texts), -1)
        if len(ids) > 2 and values == list(range(values[0], values[0] + len(ids))) and ids[-1] - ids[0] == len(ids) - 1:
            number[ids] = values
        return number

    @property
    def numeric(self) -> bool:
        """Whether most tokens are numbers in order."""
        return bool((self.number >= 0).sum() > len(self.texts) / 2)

    def named(self, ids: Sequence[int]) -> dict[str, int]:
        """The constants that name `ids`."""
        return {self.names[id]: int(id) for id in ids}

    @property
    def constants(self) -> dict[str, Any]:
        """All constants by name, and what expressions may call."""
        return self.named(range(len(self.texts))) | {"log": np.log, "maximum": np.maximum, "minimum": np.minimum}


_RESERVED = re.compile(r"LOOKS|AFTER|(HANDICAP|WEIGHT)_LOOK_\d+")
"""Names that a program gives to other things than tokens. All others that it uses are in lower case."""


def _free(name: str, taken: set[str]) -> str:
    """`name`, longer by as much as it takes not to be `taken`; it then is."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _identifier(text: str, at: int) -> str:
    """A name in capitals, as Python itself writes it: of identifiers that look alike it makes one (NFKC)."""
    bare = unicodedata.normalize("NFKC", text.strip("<>|[]"))
    name = unicodedata.normalize("NFKC", bare.upper())
    if re.match(r"[A-Z]|_+[A-Z0-9]", name) and name.isidentifier() and not keyword.iskeyword(name):
        return name
    if re.fullmatch(r"\d+", bare):
        return f"N{bare}"
    if len(bare) == 1:
        return re.sub(r"\W", "_", unicodedata.name(bare, f"TOKEN_{at}"))
    return f"TOKEN_{at}"
