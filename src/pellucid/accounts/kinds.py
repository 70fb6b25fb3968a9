"""Kinds of position: what a text ends in there, in words and slots, as patterns of accounts have it.

Places are put together by their last word, and these by the word before it where enough of them have the same one, and
so on. A word that is a member of a class counts as the slot of that class, so that " {name} lives in" is one kind.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pellucid.accounts.folder import FOLDER, Folder
from pellucid.accounts.language import TABLES, AccountError, AccountText, spans
from pellucid.base.errors import SourceError

LONGEST = 6
"""Words by which kinds are told apart, at most."""
Ends = tuple[str, ...]
"""Words and slots before a place, the last first, each with the blank before it."""


def slots_of(folder: Folder) -> dict[str, str]:
    """The slots of all members of the classes of `folder`; of a word that is in several, that of the largest.

    Raises `SourceError` naming the line of a file that is no class.
    """
    try:
        classes = [(p.stem, spans(p.name, folder.path)) for p in folder.tables if p.suffix == ".txt"]
    except AccountError as error:
        raise SourceError(f"{FOLDER}/{TABLES}/{error}") from None
    found: dict[str, str] = {}
    for name, members in sorted(classes, key=lambda one: (len(one[1].members), one[0])):
        found |= dict.fromkeys(members.members, f"{{{name}}}")
    return found


def ends(row: AccountText, first: int, place: int, slots: Mapping[str, str]) -> Ends:
    """The words and slots of a text that begins at the token `first`, back from the token at `place` on.

    Behind a token that ends a text there is none: that token itself.
    """
    return tuple(_back(row, first, place, slots)) or (escaped(row.pieces[place]),)


def _back(row: AccountText, first: int, place: int, slots: Mapping[str, str]) -> Iterator[str]:
    starts = row.bounds[0]
    last = bisect_right(starts, place) - 1
    for number in range(last, max(-1, last - LONGEST), -1):
        word = row.words[number]
        if word.start < first:
            return
        text = row.word(word.start, min(word.end, place + 1)).text
        whole = word.end <= place + 1
        apart = row.whole[word.at - 1 : word.at] == " " or (row.spaced and word.start == first and text[:1].isalnum())
        yield " " * apart + (slots[text] if whole and text in slots else escaped(text))


def escaped(text: str) -> str:
    """A text as it stands in a pattern."""
    return text.replace("{", "{{").replace("}", "}}")


def kinds(places: Sequence[Ends], least: int) -> list[tuple[str, list[int]]]:
    """The kinds of `places` with at least `least` of them, the largest first, by number.

    A kind is what its places end in, as a pattern, and has none of those of a longer kind. What is left over at a last
    word that is too rare is of no kind.
    """
    found: list[tuple[str, list[int]]] = []

    def split(end: Ends, members: list[int]) -> None:
        depth = len(end)
        nexts = [places[at][depth] if depth < len(places[at]) else None for at in members]
        often = {text: count for text, count in Counter(nexts).items() if text is not None and count >= least}
        for text in often:
            split((*end, text), [at for at, next_ in zip(members, nexts, strict=True) if next_ == text])
        rest = [at for at, text in zip(members, nexts, strict=True) if text not in often]
        if end and rest:
            found.append(("".join(reversed(end)), rest))

    split((), list(range(len(places))))
    return sorted(found, key=lambda kind: (-len(kind[1]), kind[0]))
