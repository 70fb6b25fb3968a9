"""A small language whose next words a few rules say: what finders of accounts have to find again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pellucid.accounts.find.stream import FlatRows, Words
from pellucid.accounts.find.write import AccountFiles
from pellucid.accounts.language import Accounts, Spelling

NAMES = ["Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal", "Ida", "Jo", "Kim", "Lou"]
TOWNS = ["Rome", "Bath", "Oslo", "Nice", "Cork", "Bonn"]
THINGS = ["lamp", "coin", "ring", "bell"]
END = "<end>"
_PIECES = re.compile(r"<end>| ?[A-Za-z]{1,3}|[a-z]{1,3}| ?[^A-Za-z ]| ")


@dataclass
class Language:
    """Texts of short sentences about people, where they live and what they hand on."""

    seed: int = 0

    def text(self, rng: np.random.Generator) -> str:
        """A text."""
        one, other = rng.choice(NAMES, 2, replace=False)
        holder, thing = one, rng.choice(THINGS)
        said = [f"{one} met {other}.", f"{one} has a {thing}."]
        for _ in range(rng.integers(1, 4)):
            giver, taker = holder, other if holder == one else one
            if rng.random() < 0.3:
                giver, taker = taker, giver
                said.append(f"{taker} shows the {thing} to {giver}.")
                continue
            said.append(f"{giver} gives the {thing} to {taker}.")
            holder = taker
        said.append(f"Now the {thing} is with {holder}.")
        for name in rng.permutation([one, other]):
            said.append(f"{name} lives in {self.home[name]}.")
        return " ".join(said)

    @cached_property
    def home(self) -> dict[str, str]:
        """Where each person lives."""
        rng = np.random.default_rng(100 + self.seed)
        return {name: str(rng.choice(TOWNS)) for name in NAMES}

    @cached_property
    def pieces(self) -> list[str]:
        """All pieces of the language."""
        rng = np.random.default_rng(7)
        found = {END: None} | dict.fromkeys(piece for _ in range(400) for piece in _PIECES.findall(self.text(rng)))
        found |= dict.fromkeys(piece for name in [*NAMES, *TOWNS] for piece in _PIECES.findall(" " + name))
        return list(found)

    @cached_property
    def spelling(self) -> Spelling:
        """How its pieces are written."""
        number = {piece: at for at, piece in enumerate(self.pieces)}
        return Spelling(self.pieces, lambda text: [number[piece] for piece in _PIECES.findall(text)], frozenset({0}))

    def stream(self, texts: int, seed: int, words: Words | None = None) -> FlatRows:
        """A stream of so many texts; the model says what the text says, but for what a text begins with."""
        rng = np.random.default_rng(seed)
        ids = [token for _ in range(texts) for token in (0, *self.spelling.encode(self.text(rng)))]
        rows = np.array(ids[: len(ids) // 64 * 64]).reshape(-1, 64)
        own = np.append(rows.ravel()[1:], 0).reshape(rows.shape)
        return FlatRows.of(rows, own, Words(self.spelling) if words is None else words)


def accounts_of(written: AccountFiles, folder: Path, spelling: Spelling) -> Accounts:
    """The accounts that were written, as files of a folder."""
    (folder / "tables").mkdir()
    for name, text in written.texts().items():
        (folder / name).write_text(text)
    return Accounts(folder, spelling)
