"""The language of accounts: short programs that say what a model says next, in terms of the text so far.

An account is a file of this folder with a function `next_token(text)` under `@account`. It returns what comes next, a
text of one or more tokens, or None where it has nothing to say. Of several files that speak, the one counts whose rule
asks for most: for most conditions, then for the longest end of the text, then for most words that are no slots; of
those alike the last by name. Conditions are those of all `if` and `elif` above a `return`, each part of an `and` by
itself, also those that failed before an `elif` or `else`; the end of the text and `in` count as none. Within a file
the first `return` that is reached counts. An answer of several tokens is gone on with once it has begun, before anybody
is asked.

A text that begins with a letter or digit is set apart from what stands before by a blank, if the model writes blanks;
`joined("s")` is said just as it stands. Tables are files of `tables/`: a line with the names of the columns, of which
the first two are `key` and `answer`, and one line a key. Classes of spans are files of `tables/` with one a line.
`from .tables import HOME` is the table of `tables/home.tsv`, or the class of `tables/home.txt`. Variables that several
files ask for stand in `variables.py`, which holds no account, and are imported from there.

What a text ends in, begins with or has is a pattern: `{thing}` in it stands for any member of the class in
`tables/thing.txt`, or where there is none for any key of `tables/thing.tsv`; a brace that is meant is doubled.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

TABLES = "tables"
COLUMNS = ["key", "answer"]
"""The first columns of a table; what stands in others is about the line, and nothing is computed from it."""
SHARED = "variables.py"
"""Holds variables that several files import."""
OWN = frozenset({"__init__.py", "__main__.py", "language.py"})
"""Files of the folder that are no accounts."""
_GIVEN: tuple[Any, ...] = (abs, all, any, enumerate, len, max, min, range, reversed, sorted, sum, zip)
_WORD = re.compile(r"\w+|[^\w\s]")
BUILTINS = {given.__name__: given for given in _GIVEN}
"""What accounts may call beside the words of this page."""
WORDS = ("account", "joined", "one_of", "rest", "spans", "table", "variable")
"""What account files import from here."""
PATTERNED = ("begins", "ends", "has")
"""What a text is asked with patterns."""

TAIL = 3
"""Words of a tail, at most."""

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]")
STOP = re.compile(r"[.?!][\"'”’»)\]]*\s*$|[\n\r]")
"""Found in a token that ends a sentence or a line."""
_MARKS = re.compile(r"[()\[\]{}“”‘«»\"]|(?<!\w)’|’(?!\w)")  # between letters ’ is an apostrophe
_OPENS = {")": "(", "]": "[", "}": "{", "”": "“", "’": "‘", "»": "«"}


class AccountError(Exception):
    """An account or table that cannot be read or run; the message names file and line."""


class Joined(str):
    """A text that is said just as it stands."""


def joined(text: str) -> Joined:
    """`text` as the rest of a word, with no blank before it."""
    return Joined(text)


def rest(answer: str | None, begun: str) -> str | None:
    """What is left of `answer` where `begun` of it stands there already; None where something else does."""
    if not begun or not answer:
        return answer
    return Joined(answer[len(begun) :]) if answer.startswith(begun) and answer != begun else None


# --- tables and classes -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spans:
    """A class of texts, such as all names."""

    name: str
    members: frozenset[str]

    def __contains__(self, text: object) -> bool:
        return text in self.members


@dataclass(frozen=True)
class Table:
    """Keys and their answers; a key that is not there has the answer None. Its keys are a class of spans."""

    name: str
    lines: Mapping[str, tuple[str, ...]]
    columns: tuple[str, ...] = tuple(COLUMNS)
    looked_up: list[tuple[str, str]] | None = None
    """Where the name of the table and the key are noted whenever an answer is looked up."""

    @cached_property
    def members(self) -> frozenset[str]:
        """The keys."""
        return frozenset(self.lines)

    def __getitem__(self, key: str | None) -> str | None:
        line = self.lines.get(key) if key is not None else None
        if line and self.looked_up is not None:
            self.looked_up.append((self.name, line[0]))
        return line[1] if line else None

    def __contains__(self, text: object) -> bool:
        return text in self.lines

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number in its file of each line, behind the first that names the columns."""
        return {key: number for number, key in enumerate(self.lines, start=2)}

    def row(self, key: str) -> dict[str, Any]:
        """The line of `key`, by column, with its number."""
        return {"line": self.numbers[key], **dict(zip(self.columns, self.lines[key], strict=True))}

    def told(self, key: str) -> str:
        """The line of `key`, with its place and all that it says of itself."""
        line, _, answer, *more = self.row(key).items()
        beside = ", ".join(_printed(f"{name} {cell}") for name, cell in more if cell)
        return f"{TABLES}/{self.name}:{line[1]}  {key!r} -> {answer[1]!r}{f'  ({beside})' if beside else ''}"


def _printed(text: str) -> str:
    """A text in which nothing steers a terminal: columns behind the first two may hold anything."""
    return text if text.isprintable() else repr(text)


def one_of(*texts: str) -> Spans:
    """The class of these texts."""
    return Spans(" ".join(texts)[:40], frozenset(texts))


def spans(name: str, folder: Path | None = None) -> Spans:
    """The class of the lines of a file of `tables/`."""
    path = _place(name, folder)
    seen: dict[str, int] = {}
    for number, line in enumerate(_lines(path), start=1):
        _once(seen, _cell(line, path, number), path, number)
    return Spans(name, frozenset(seen))


def table(name: str, folder: Path | None = None) -> Table:
    """The table in a file of `tables/`. Raises `AccountError` naming the line that is none."""
    path = _place(name, folder)
    rows = [line.split("\t") for line in _lines(path)]
    if not rows or rows[0][:2] != COLUMNS:
        raise AccountError(f"{path.name}:1: expected the columns key and answer, with a tab between, in the first line")
    seen: dict[str, int] = {}
    lines: dict[str, tuple[str, ...]] = {}
    for number, cells in enumerate(rows[1:], start=2):
        if len(cells) != len(rows[0]):
            raise AccountError(
                f"{path.name}:{number}: {len(cells)} cells, expected {len(rows[0])}; tabs stand between cells alone"
            )
        key, answer = (_cell(cell, path, number) for cell in cells[:2])
        _once(seen, key, path, number)
        lines[key] = (key, answer, *cells[2:])
    return Table(name, lines, tuple(rows[0]))


def _place(name: str, folder: Path | None) -> Path:
    """The file `name` of `tables/`, and of nowhere else."""
    path = (folder or Path(__file__).parent) / TABLES / name
    if not name or Path(name).name != name or not path.is_file():
        raise AccountError(f"{TABLES}/{name} is not there; tables and classes are files of {TABLES}/")
    return path


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise AccountError(f"{path.name} cannot be read: {error}") from error
    return text.removesuffix("\n").split("\n") if text else []


def _cell(cell: str, path: Path, number: int) -> str:
    """A cell that can be told in one way alone."""
    if not cell or cell != cell.strip():
        raise AccountError(f"{path.name}:{number}: {cell!r}: a cell is a text with no blanks around it")
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        raise AccountError(f"{path.name}:{number}: {cell!r}: texts stand here without quotes around them")
    if bad := next((c for c in cell if not c.isprintable()), ""):
        raise AccountError(f"{path.name}:{number}: {cell!r}: {bad!r} is not a printed character")
    return cell


def _once(seen: dict[str, int], key: str, path: Path, number: int) -> None:
    if key in seen:
        raise AccountError(f"{path.name}:{number}: {key!r} stands in line {seen[key]} already; leave one line for it")
    seen[key] = number


# --- patterns ---------------------------------------------------------------------------------------------------------


class ClassSlot(str):
    """The name of a class, in a pattern."""


def parts_of(pattern: str) -> list[str]:
    """The texts and slots of a pattern. Raises `AccountError` for a brace that is neither doubled nor of a slot."""
    parts, literal, at = [], "", 0
    for found in _BRACES.finditer(pattern):
        literal, at = literal + pattern[at : found.start()], found.end()
        if found[1]:
            parts += [literal, ClassSlot(found[1])]
            literal = ""
        elif len(found[0]) == 1:
            raise AccountError(f"{pattern!r}: {found[0]} stands alone; a slot is {{name}}, a brace itself is doubled")
        else:
            literal += found[0][0]
    return [part for part in (*parts, literal + pattern[at:]) if part]


Parts = tuple[str | frozenset[str], ...]
"""The texts of a pattern, and the members of the classes between them."""


@dataclass(frozen=True)
class Patterns:
    """Several patterns that a text is asked for together; what is literal at their sides is looked for first."""

    parts: Sequence[Parts]
    slotted: bool
    tails: tuple[str, ...]
    """Of those that end in no slot."""
    tailed: Sequence[Parts]
    """These, if any of them has slots."""
    slot_ends: Sequence[tuple[frozenset[str], Parts]]
    """The others, with the class of their last slot."""
    heads: tuple[str, ...]
    """A blank before them is left out."""
    bare: frozenset[str]
    """Those without slots that begin with a blank, without it: what a text may be that begins with no blank."""
    longest: int
    """The letters of the longest bare one."""
    by_words: Sequence[tuple[tuple[int, int], Parts]]
    """All of them with their number of words and slots, and of words alone, the longest first."""
    behind: dict[str, bool] = field(default_factory=dict)
    """Whether a text may end in one of them, by its last token."""

    @cached_property
    def lasts(self) -> frozenset[str]:
        """What their last parts may stand for."""
        lasts = [one[-1] if one else "" for one in self.parts]
        return frozenset(text for last in lasts for text in ([last] if isinstance(last, str) else last))

    def may_end(self, piece: str) -> bool:
        """Whether a text whose last token is `piece` may end in one of them."""
        if piece not in self.behind:
            self.behind[piece] = any(piece.endswith(last) or last.endswith(piece) for last in self.lasts)
        return self.behind[piece]

    @staticmethod
    def of(parts: Sequence[Parts]) -> Patterns:
        """Of compiled patterns."""
        ends = [(one[-1], one) for one in parts if one]
        slot_ends = [(last, one) for last, one in ends if not isinstance(last, str)]
        tailed = [one for one in parts if not one or isinstance(one[-1], str)]
        bare = {_literal(one)[1:] for one in parts if len(one) == 1 and _literal(one).startswith(" ")} - {""}
        slotted = any(not isinstance(part, str) for one in parts for part in one)
        return Patterns(
            parts,
            slotted,
            tails=tuple(_literal(one[-1:]) for one in tailed),
            tailed=tailed if any(len(one) > 1 for one in tailed) else [],
            slot_ends=slot_ends,
            heads=tuple(" " if one == (" ",) else _literal(one[:1]).removeprefix(" ") for one in parts),
            bare=frozenset(bare),
            longest=max(map(len, bare), default=0),
            by_words=sorted(((_words_of(one), one) for one in parts), key=lambda entry: entry[0], reverse=True),
        )


def _words_of(parts: Parts) -> tuple[int, int]:
    """How many words, marks and slots a pattern has, and how many words and marks."""
    words = sum(len(_WORD.findall(part)) for part in parts if isinstance(part, str))
    return words + sum(not isinstance(part, str) for part in parts), words


def _literal(parts: Parts) -> str:
    """A part that is literal; the empty text if it is none."""
    return parts[0] if parts and isinstance(parts[0], str) else ""


class Slots:
    """The classes that slots of patterns name, in the files of a folder of accounts; patterns are compiled once."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._members: dict[str, frozenset[str]] = {}
        self.known: dict[tuple[str, ...], Patterns] = {}

    def compiled(self, texts: tuple[str, ...]) -> Patterns:
        """The patterns `texts`, compiled once. Raises `AccountError` for a slot that no file is for."""
        return self.known.get(texts) or self.patterns(texts)

    def patterns(self, texts: tuple[str, ...]) -> Patterns:
        """The patterns `texts`, compiled. Raises `AccountError` for a slot that no file is for."""
        self.known[texts] = found = Patterns.of([tuple(map(self._part, parts_of(text))) for text in texts])
        return found

    def _part(self, part: str) -> str | frozenset[str]:
        return self.members(part) if isinstance(part, ClassSlot) else part

    def members(self, name: str) -> frozenset[str]:
        """The members of the class that a slot names."""
        if name not in self._members:
            self._members[name] = self._read(name)
        return self._members[name]

    def _read(self, name: str) -> frozenset[str]:
        names, keys = slot_files(name)
        if self._is_there(names):
            return spans(names, self._folder).members
        if self._is_there(keys):
            return table(keys, self._folder).members
        raise AccountError(f"{{{name}}}: {TABLES}/ has neither {names} nor {keys}")

    def _is_there(self, file: str) -> bool:
        return self._folder is not None and (self._folder / TABLES / file).is_file()


def slot_files(name: str) -> tuple[str, str]:
    """The files that may have the class of a slot, the first of them that is there."""
    return f"{name}.txt", f"{name}.tsv"


def imported(nodes: Iterable[ast.stmt]) -> Iterator[tuple[str, int]]:
    """The names of tables and classes that statements import from `tables/`, and where."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module, node.level) == (TABLES, 1):
            yield from ((alias.name, node.lineno) for alias in node.names)


def imported_variables(nodes: Iterable[ast.stmt]) -> Iterator[tuple[str, int]]:
    """The names that statements import from `variables.py`, and where."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module, node.level) == (SHARED.removesuffix(".py"), 1):
            yield from ((alias.name, node.lineno) for alias in node.names)


def imported_files(name: str) -> tuple[str, str]:
    """The files of `tables/`, a class and a table, of which one is meant by an imported `name`."""
    return slot_files(name.lower())


def not_imported(name: str, there: Sequence[str]) -> str:
    """Why `name` cannot be imported, if these of its files are `there`."""
    of_class, of_table = imported_files(name)
    if there:
        return f'{TABLES}/ has both {of_class} and {of_table}: say spans("{of_class}") or table("{of_table}")'
    return f"there is no {name} to import: {TABLES}/ has neither {of_class} nor {of_table}"


# --- text -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spelling:
    """How a model's tokens are written."""

    pieces: Sequence[str]
    """The text of every token."""
    encode: Callable[[str], list[int]]
    ends: frozenset[int] = frozenset()
    """Tokens at which a text ends; what stands behind is another one."""

    @cached_property
    def spaced(self) -> bool:
        """Whether words are set apart by blanks."""
        return any(len(piece) > 1 and piece[0] == " " for piece in self.pieces)

    @cached_property
    def grows(self) -> bool:
        """Whether a word may go on with another token."""
        return self.spaced and any(piece[:1].isalnum() for piece in self.pieces)


def spelling_of(vocabulary: Any, count: int, is_words: bool) -> Spelling:
    """The spelling of `count` tokens of a vocabulary: of what has `decode`, `encode`, and `ends` or `end`."""
    gap = " " if is_words else ""
    pieces = [gap + str(vocabulary.decode([token])) for token in range(count)]
    ends = vocabulary.ends if hasattr(vocabulary, "ends") else [vocabulary.end]  # older programs know one end alone
    return Spelling(pieces, vocabulary.encode, frozenset(end for end in ends if end is not None))


@dataclass(eq=False)
class Span:
    """A member of a class, over the tokens from `start` to before `end`; `cut` if a longer word goes on behind it."""

    start: int
    end: int
    at: int
    """Its first letter."""
    text: str
    cut: bool
    longer: Sequence[Span] = ()
    """The spans that it is within."""


@dataclass(frozen=True)
class MembersFound:
    """Where members of a class stand in a row, in the order of their ends, and by their first and last letters."""

    spans: Sequence[Span]
    ends: Sequence[int]
    beginning: Mapping[int, Sequence[Span]]
    ending: Mapping[int, Sequence[Span]]

    @staticmethod
    def of(spans: Sequence[Span]) -> MembersFound:
        """Of spans in the order of their ends."""
        wide = [span for span in spans if span.end - span.start > 1]
        beginning: dict[int, list[Span]] = {}
        ending: dict[int, list[Span]] = {}
        for span in spans:
            span.longer = [b for b in wide if b.start <= span.start and span.end <= b.end and b is not span]
            beginning.setdefault(span.at, []).append(span)
            ending.setdefault(span.at + len(span.text), []).append(span)
        return MembersFound(spans, [span.end for span in spans], beginning, ending)


@dataclass(frozen=True)
class Word:
    """A word over the tokens from `start` to before `end`, and its first letter."""

    start: int
    end: int
    at: int
    text: str


class AccountText:
    """The tokens of a text, and what has been found in them.

    `spaced` says whether words are set apart by blanks, `grows` whether one may be of several tokens.
    """

    def __init__(
        self, pieces: Sequence[str], spaced: bool, slots: Slots | None = None, grows: bool | None = None
    ) -> None:
        self.pieces, self.spaced, self.slots = pieces, spaced, slots or Slots()
        self.grows = spaced if grows is None else grows
        self.whole = "".join(pieces)
        self.places = [0]
        for piece in pieces:
            self.places.append(self.places[-1] + len(piece))
        self._found: dict[frozenset[str], MembersFound] = {}

    def found(self, members: frozenset[str]) -> MembersFound:
        """Where members of a class stand, from token to token."""
        if (known := self._found.get(members)) is not None:
            return known
        longest = max(map(len, members), default=0)
        spans = [span for start in range(len(self.pieces)) for span in self._from(start, members, longest)]
        self._found[members] = found = MembersFound.of(sorted(spans, key=lambda span: (span.end, -span.start)))
        return found

    def _from(self, start: int, members: frozenset[str], longest: int) -> Iterator[Span]:
        at = self.places[start]
        at += self.whole.startswith(" ", at) and len(self.pieces[start]) > 1
        if self.spaced and at and self.whole[at - 1 : at + 1].isalnum():
            return
        for end in range(start + 1, len(self.places)):
            to = self.places[end]
            if to - at > longest:
                return
            if (text := self.whole[at:to]) in members:
                beyond = self.whole[to - 1 : to + 1]
                yield Span(start, end, at, text, self.spaced and len(beyond) > 1 and beyond.isalnum())

    @cached_property
    def words(self) -> list[Word]:
        """What a reader calls a word: letters and digits that stand together, or another token; no blanks alone."""
        starts = [at for at in range(len(self.pieces)) if not self._goes_on(at)]
        found = (self.word(start, end) for start, end in pairwise([*starts, len(self.pieces)]))
        return [word for word in found if word.text]

    def _goes_on(self, at: int) -> bool:
        """Whether the token is more of the word before it."""
        if not (self.grows and at and self.pieces[at][:1].isalnum()):
            return False
        return self.pieces[at - 1] == " " or self.pieces[at - 1][-1:].isalnum()

    def word(self, start: int, end: int) -> Word:
        """The word over these tokens."""
        text = self.whole[self.places[start] : self.places[end]]
        stripped = text.lstrip(" ")
        return Word(start, end, self.places[end] - len(stripped), stripped.rstrip(" "))

    @cached_property
    def bounds(self) -> tuple[list[int], list[int]]:
        """The first tokens of all words, and where they end."""
        return [word.start for word in self.words], [word.end for word in self.words]

    @cached_property
    def letters(self) -> tuple[frozenset[int], dict[int, int]]:
        """The first letters of all words, and which word ends before a letter."""
        ends = {word.at + len(word.text): number for number, word in enumerate(self.words)}
        return frozenset(word.at for word in self.words), ends

    @cached_property
    def stops(self) -> list[int]:
        """The places behind tokens that end a sentence or a line."""
        return [at for at, piece in enumerate(self.pieces, start=1) if STOP.search(piece)]


class Text:
    """The text so far, or a stretch of it, as an account sees it."""

    def __init__(self, row: AccountText, first: int, end: int) -> None:
        self._row, self._first, self._end = row, first, end
        self.reach = (0, 0)
        """Words and slots, and words alone, of the longest pattern that it was last found to end in."""
        self._from, self._to = row.places[first], row.places[end]
        self.last_token = row.pieces[end - 1] if end > first else ""
        self._kept: dict[Any, Any] = {}

    def __str__(self) -> str:
        return self._row.whole[self._from : self._to]

    def __repr__(self) -> str:
        return repr(str(self))

    def __len__(self) -> int:
        return self._end - self._first

    def ends(self, *texts: str) -> bool:
        """Whether it ends in one of the patterns `texts`; a blank that one begins with may be missing at the start."""
        row, to = self._row, self._to
        asked = row.slots.compiled(texts)
        if not asked.may_end(self.last_token):
            return False
        if found := self._ends(asked, to):
            fits = (words for words, parts in asked.by_words if self._left(parts, len(parts), to))
            self.reach = next(fits, (1, 1))
        return found

    def _ends(self, asked: Patterns, to: int) -> bool:
        row = self._row
        if row.whole.endswith(asked.tails, self._from, to) and (
            not asked.tailed or any(self._left(parts, len(parts), to) for parts in asked.tailed)
        ):
            return True
        for members, parts in asked.slot_ends:
            if to in row.found(members).ending and self._left(parts, len(parts), to):
                return True
        return to - self._from <= asked.longest and str(self) in asked.bare

    def begins(self, *texts: str) -> bool:
        """Whether it begins with one of the patterns `texts`; a blank before it, or before them, is left out."""
        row = self._row
        asked = row.slots.compiled(texts)
        at = self._from + row.whole.startswith(" ", self._from, self._to)
        if not row.whole.startswith(asked.heads, at, self._to):
            return False
        heads = zip(asked.parts, asked.heads, strict=True)
        return not asked.slotted or any(
            row.whole.startswith(head, at, self._to)
            and self._right(parts, 1 if _literal(parts[:1]) else 0, at + len(head))
            for parts, head in heads
        )

    def has(self, *texts: str) -> bool:
        """Whether one of the patterns `texts` stands in it; words at its ends are whole ones."""
        asked = self._row.slots.compiled(texts)
        return any(self._holds(parts) for parts in asked.parts)

    def _holds(self, parts: Parts) -> bool:
        """Whether a pattern stands in it: around its longest literal, or around members of its first class."""
        if not parts:
            return True
        whole, lengths = self._row.whole, [len(part) if isinstance(part, str) else 0 for part in parts]
        anchor = lengths.index(max(lengths))
        part = parts[anchor]
        if not isinstance(part, str):
            return any(self._right(parts, 0, span.at, whole=True) for span in self._back(part))
        at = whole.find(part, self._from, self._to)
        while at >= 0:
            begins = anchor > 0 or not self._within(at)
            if begins and self._left(parts, anchor, at) and self._right(parts, anchor + 1, at + len(part), whole=True):
                return True
            at = whole.find(part, at + 1, self._to)
        after = self._from + len(part) - 1
        return anchor == 0 and self._opens(parts, after) and self._right(parts, 1, after, whole=True)

    def _within(self, at: int) -> bool:
        """Whether letters of one word stand on both sides of the letter `at`."""
        whole = self._row.whole
        return self._from < at < self._to and whole[at - 1].isalnum() and whole[at].isalnum()

    def _left(self, parts: Parts, count: int, to: int) -> bool:
        """Whether the first `count` parts stand before the letter `to`."""
        if count == 0:
            return True
        part = parts[count - 1]
        if isinstance(part, str):
            if self._row.whole.endswith(part, self._from, to):
                return self._left(parts, count - 1, to - len(part))
            return count == 1 and self._opens(parts, to)
        spans = self._row.found(part).ending.get(to, ())
        return any(self._counts(span) and self._left(parts, count - 1, span.at) for span in spans)

    def _opens(self, parts: Parts, to: int) -> bool:
        """Whether all of it up to `to` is the first part but for the blank that this begins with."""
        first = _literal(parts[:1])
        if parts == (" ",) or first[:1] != " " or to - self._from != len(first) - 1:
            return False
        return self._row.whole.startswith(first[1:], self._from, self._to)

    def _right(self, parts: Parts, first: int, at: int, whole: bool = False) -> bool:
        """Whether the parts from `first` on stand from the letter `at` on; `whole` if a word may not go on there."""
        if first == len(parts):
            return not (whole and self._within(at))
        part = parts[first]
        if isinstance(part, str):
            stands = self._row.whole.startswith(part, at, self._to)
            return stands and self._right(parts, first + 1, at + len(part), whole)
        spans = self._row.found(part).beginning.get(at, ())
        return any(self._counts(span) and self._right(parts, first + 1, at + len(span.text), whole) for span in spans)

    def count(self, text: str) -> int:
        """How often `text` stands in it."""
        return self._row.whole.count(text, self._from, self._to)

    def open(self, opening: str, closing: str = "") -> bool:
        """Whether `opening` stands in it more often than `closing`; of one mark for both, an odd number of times."""
        if closing in ("", opening):
            return self.count(opening) % 2 == 1
        return self.count(opening) > self.count(closing)

    def token(self, back: int = 1) -> Joined | None:
        """The text of the `back`-th token from the end; None before the beginning."""
        return Joined(self._row.pieces[self._end - back]) if 0 < back <= len(self) else None

    def opened(self) -> str | None:
        """The last of ( [ { “ ‘ « and straight quotes that was opened and not closed; None if all were."""
        if "opened" not in self._kept:
            self._kept["opened"] = self._opened()
        found: str | None = self._kept["opened"]
        return found

    def _opened(self) -> str | None:
        left: list[str] = []
        for mark in _MARKS.findall(str(self)):
            opening = _OPENS.get(mark, mark)
            if mark in _OPENS or (mark == '"' and mark in left):
                if opening in left:
                    del left[len(left) - 1 - left[::-1].index(opening)]
            else:
                left.append(mark)
        return left[-1] if left else None

    def word(self, back: int = 1) -> str | None:
        """The `back`-th word from the end, without blanks; None before the beginning.

        A word is letters and digits that stand together, or any other token; if tokens are whole words, it is a token.
        """
        words = self._words()
        return words[-back].text if 0 < back <= len(words) else None

    def tail(self, members: Spans | Table) -> str | None:
        """The longest member of a class, or key of a table, of up to three whole words that it ends in, as they stand.

        It asks for as much as a pattern of so many words. Behind a blank there is none.
        """
        if self.last_token[-1:] == " ":
            return None
        words = self._words()
        for count in range(min(TAIL, len(words)), 0, -1):
            if (text := self._row.whole[words[-count].at : self._to]) in members.members:
                self.reach = (count, count)
                return text
        return None

    def begun(self) -> str:
        """What stands at the end of a word that may go on; the empty text behind blanks and marks."""
        return (self.word() or "") if self._may_go_on(self._end) else ""

    def behind(self, text: str | None) -> str | None:
        """The word that stood behind the last place of `text`, whole words, that has a complete one behind it."""
        if not text or not (text := text.strip(" ")):
            return None
        whole, (starts, ends) = self._row.whole, self._row.letters
        at = whole.rfind(text, self._from, self._to)
        while at >= 0:
            number = ends.get(at + len(text))
            if number is not None and (at in starts or at == self._from) and (word := self._complete(number + 1)):
                return word
            at = whole.rfind(text, self._from, at + len(text) - 1)
        return None

    def _complete(self, number: int) -> str | None:
        """A word of the row; None if it is not all here, or may go on."""
        word = self._row.words[number] if number < len(self._row.words) else None
        if word is None or word.end > self._end or (word.end == self._end and self._may_go_on(self._end)):
            return None
        return word.text

    def _may_go_on(self, end: int) -> bool:
        """Whether the next token might be more of the word that ends at `end`."""
        return self._row.grows and end > 0 and self._row.pieces[end - 1][-1:].isalnum()

    def again(self, same: int = 1) -> str | None:
        """The word that followed when the last `same` words stood there before; None where they never did."""
        words = [word.text for word in self._words()]
        last = words[-same:]
        for at in range(len(words) - 1, same - 1, -1):
            if 0 < same == len(last) and words[at - 1] == last[-1] and words[at - same : at] == last:
                return words[at]
        return None

    def _words(self) -> list[Word]:
        """Its words, in order."""
        if "words" not in self._kept:
            starts, ends = self._row.bounds
            words = self._row.words[bisect_right(ends, self._first) : bisect_left(starts, self._end)]
            for at in (0, -1) if words else ():  # a word may begin before, or go on behind
                words[at] = self._row.word(max(words[at].start, self._first), min(words[at].end, self._end))
            self._kept["words"] = [word for word in words if word.text]
        found: list[Word] = self._kept["words"]
        return found

    def after(self, same: int = 1) -> Joined | None:
        """The token that followed when the last `same` tokens stood there before; None where they never did."""
        pieces, last = self._row.pieces, list(self._row.pieces[max(self._first, self._end - same) : self._end])
        for at in range(self._end - 1, self._first + same - 1, -1):
            if len(last) == same and list(pieces[at - same : at]) == last:
                return Joined(pieces[at])
        return None

    def all(self, members: Spans | Table) -> list[str]:
        """The members of a class that stand in it, in order; the longest where one is within another."""
        return [span.text for span in self._back(members.members)][::-1]

    def nth(self, members: Spans | Table, number: int) -> str | None:
        """The `number`-th member of a class, counted from 1, or from -1 at the end; None where there are fewer."""
        if number < 0:
            return next((span.text for span in islice(self._back(members.members), -number - 1, None)), None)
        return next(iter(self.all(members)[number - 1 :]), None) if number else None

    def first(self, members: Spans | Table) -> str | None:
        """The first member of a class."""
        return self.nth(members, 1)

    def second(self, members: Spans | Table) -> str | None:
        """The first member of a class that differs from the first one."""
        found = self.all(members)
        return next((text for text in found if text != found[0]), None)

    def last(self, members: Spans | Table) -> str | None:
        """The last member of a class."""
        return self.nth(members, -1)

    def other(self, members: Spans | Table) -> str | None:
        """The last member of a class that differs from the very last one."""
        last = self.last(members)
        return next((span.text for span in self._back(members.members) if span.text != last), None)

    def sentence(self) -> Text:
        """What stands behind the last `.`, `?`, `!` or line break; all of it where none is."""
        if "sentence" not in self._kept:
            cuts = self._cuts()
            self._kept["sentence"] = Text(self._row, cuts[-1] if cuts else self._first, self._end)
        found: Text = self._kept["sentence"]
        return found

    def sentences(self) -> list[Text]:
        """The stretches that end in `.`, `?`, `!` or a line break, in order, and what is left behind the last."""
        return self._between(self._cuts())

    def lately(self, count: int = 1) -> Text:
        """The last `count` of the `sentences()`, as one stretch."""
        if ("lately", count) not in self._kept:
            cuts = [at for at in self._cuts() if at < self._end]
            start = cuts[-count] if 0 < count <= len(cuts) else self._first
            self._kept["lately", count] = Text(self._row, start, self._end)
        found: Text = self._kept["lately", count]
        return found

    def _cuts(self) -> list[int]:
        stops = self._row.stops
        return stops[bisect_right(stops, self._first) : bisect_right(stops, self._end)]

    def since(self, *marks: str) -> Text:
        """What stands behind the last token that is one of `marks`; all of it where none is."""
        at = next((at for at in range(self._end, self._first, -1) if self._is(at - 1, marks)), self._first)
        return Text(self._row, at, self._end)

    def split(self, *marks: str) -> list[Text]:
        """The stretches that end in a token that is one of `marks`, in order, and what is left behind the last."""
        return self._between([at + 1 for at in range(self._first, self._end) if self._is(at, marks)])

    def _between(self, cuts: Sequence[int]) -> list[Text]:
        """The stretches that end at `cuts`, and what is left behind the last."""
        bounds = [self._first, *cuts, *([] if cuts and cuts[-1] == self._end else [self._end])]
        return [Text(self._row, start, end) for start, end in pairwise(bounds)]

    def _is(self, at: int, marks: Sequence[str]) -> bool:
        piece = self._row.pieces[at]
        return piece in marks or piece.strip() in marks

    def _back(self, members: frozenset[str]) -> Iterator[Span]:
        """The spans that count here, from the last to the first."""
        found = self._row.found(members)
        for at in range(bisect_right(found.ends, self._end) - 1, -1, -1):
            if found.ends[at] <= self._first:
                return
            if self._counts(found.spans[at]):
                yield found.spans[at]

    def _counts(self, span: Span) -> bool:
        """Whether a span is whole here, and not within a longer one that is."""
        return self._is_whole(span) and not any(map(self._is_whole, span.longer))

    def _is_whole(self, span: Span) -> bool:
        """Whether a span is all here, and not the beginning of a longer word."""
        return self._first <= span.start and span.end <= self._end and not (span.cut and span.end < self._end)


# --- accounts ---------------------------------------------------------------------------------------------------------


def account(function: Callable[[Text], str | None]) -> Callable[[Text], str | None]:
    """Above `next_token(text)`: what comes next, or None."""
    return function


def variable(tie: str = "", moved: float | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Above a function: a named quantity. `tie` names what carries it in the model, `moved` how often that was seen."""

    def above(function: Callable[..., Any]) -> Callable[..., Any]:
        vars(function).update(tie=tie, moved=moved)
        return function

    return above


@dataclass(frozen=True)
class ReturnRule:
    """A `return` of an account."""

    file: str
    line: int
    text: str
    conditions: int = 0
    """What has to hold for it beside what the text ends in, and beside that a class or table has something."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Said:
    """What comes next at a place: the whole answer, the token that is due, which rule says so, and what it asked."""

    answer: str
    token: int
    rule: int
    begun: int
    """How many tokens of the answer stand there already."""
    values: Mapping[str, Any] = field(default_factory=dict)
    lines: tuple[tuple[str, str], ...] = ()
    """The lines of tables that were looked up for it: the name of the table, and the key."""


class Answered(NamedTuple):
    """An answer: the number of the rule, the variables that it asked, and the lines of tables, by file and key."""

    answer: str
    rule: int
    values: Mapping[str, Any]
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Pending:
    """An answer that was given: its tokens, of which `begun` stand there."""

    said: Said
    tokens: Sequence[int]

    def after(self, token: int) -> Pending | None:
        """What is left of it behind `token`; None if that is something else, or the last of it."""
        begun = self.said.begun + 1
        if token != self.said.token or begun == len(self.tokens):
            return None
        return Pending(replace(self.said, token=self.tokens[begun], begun=begun), self.tokens)


class Call(NamedTuple):
    """What a text is asked, such as `text.word(2)`."""

    name: str
    given: tuple[Any, ...]

    def of(self, text: Text) -> Any:
        """What `text` says to it."""
        return getattr(text, self.name)(*self.given)


Named = str | Call
"""A variable by its name, or what the text is asked."""


def _instead(function: Callable[..., Any], given: tuple[Any, ...], value: Any) -> Callable[..., Any]:
    """A function that says `value` to what is `given`, and all else as `function` does."""
    return lambda *asked: value if asked == given else function(*asked)


class Accounts:
    """The accounts of the folder `folder`, for a model whose tokens are written by `spelling`."""

    def __init__(self, folder: Path, spelling: Spelling) -> None:
        self.folder, self.spelling = folder, spelling
        self.rules: list[ReturnRule] = []
        self.ties: dict[str, tuple[str, float | None]] = {}
        self.tables: dict[str, Table] = {}
        self._values: dict[str, Any] = {}
        self._supposed: Mapping[str, Any] = {}
        self._functions: dict[tuple[str, str], Callable[..., Any]] = {}
        self._shared: dict[str, Any] = {}
        self._looked_up: list[tuple[str, str]] = []
        self._asked: list[tuple[str, Callable[[Text], Any]]] = []
        self._needs: dict[str, tuple[str, ...] | None] = {}
        self._may_speak: dict[str, list[tuple[str, Callable[[Text], Any]]]] = {}
        self._tokens: dict[str, list[int]] = {}
        self._slots = Slots(folder)
        if (folder / SHARED).is_file():
            own = self._read(folder / SHARED)
            self._shared = {name: own[name] for _, name in self._functions}
        for path in account_files(folder):
            self._read(path)

    def _read(self, path: Path) -> dict[str, Any]:
        """Run a file, and give its names; each `return` under `@account` also tells which rule it is."""
        try:
            text = path.read_text(encoding="utf-8")
            tree = ast.parse(text)
        except (OSError, ValueError, SyntaxError, RecursionError) as error:
            raise AccountError(f"{path.name} cannot be read: {error}") from error
        imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        tree.body = [node for node in tree.body if not isinstance(node, ast.ImportFrom)]
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and is_account(node):
                self._needs[path.name] = needed_ends(node)
                for found, conditions in list(_returns(node, 0)):
                    self._mark(found, conditions, path.name, text.split("\n"))
        names: dict[str, Any] = {"__builtins__": BUILTINS, "joined": joined, "one_of": one_of, "rest": rest}
        names |= {"table": self._table, "spans": lambda name: spans(name, self.folder)}
        names |= {name: self._imported(name, path.name, line) for name, line in imported(imports)}
        names |= {name: self._shared_by(name, path.name, line) for name, line in imported_variables(imports)}
        names |= {"account": lambda function: self._asked.append((path.name, function)), "variable": self._variable}
        with _told(path.name):
            exec(compile(ast.fix_missing_locations(tree), path.name, "exec"), names)
        return names

    def _shared_by(self, name: str, file: str, line: int) -> Any:
        """The variable of `variables.py` that a file imports by `name`."""
        if name not in self._shared:
            raise AccountError(f"{file}:{line}: {SHARED} has no variable {name} to import")
        return self._shared[name]

    def _mark(self, node: ast.Return, conditions: int, file: str, lines: Sequence[str]) -> None:
        said = node.value or ast.Constant(None)
        if not (isinstance(said, ast.Constant) and said.value is None):
            self.rules.append(ReturnRule(file, node.lineno, lines[node.lineno - 1].strip(), conditions))
            node.value = ast.Tuple([said, ast.Constant(len(self.rules) - 1)], ast.Load())

    def _imported(self, name: str, file: str, line: int) -> Table | Spans:
        """The table or class that a file imports by `name`."""
        there = [found for found in imported_files(name) if (self.folder / TABLES / found).is_file()]
        if len(there) != 1:
            raise AccountError(f"{file}:{line}: {not_imported(name, there)}")
        return self._table(there[0]) if there[0].endswith(".tsv") else spans(there[0], self.folder)

    def _table(self, name: str) -> Table:
        """A table whose look-ups are noted."""
        self.tables[name] = found = replace(table(name, self.folder), looked_up=self._looked_up)
        return found

    def _variable(self, tie: str = "", moved: float | None = None) -> Callable[[Callable[..., Any]], Any]:
        """Keeps what the function under it gives, by its name."""

        def above(function: Callable[..., Any]) -> Callable[..., Any]:
            def asked(*given: Any) -> Any:
                name = function.__name__
                self._values[name] = value = self._supposed[name] if name in self._supposed else function(*given)
                return value

            self.ties[function.__name__] = tie, moved
            self._functions[function.__code__.co_filename, function.__name__] = function
            return asked

        return above

    def ask(self, text: Text, only: str = "") -> Answered | None:
        """The answer to `text`, with its rule and what that asked; None if no account, or not the `only` one, speaks.

        Of several, that of the rule that asks for most: with most conditions, then with the longest pattern.
        """
        best: Answered | None = None
        most = (-1, (0, 0))
        for file, function in self._asked_behind(text):
            if only not in ("", file):
                continue
            self._values.clear()
            self._looked_up.clear()
            text.reach = 0, 0
            try:
                found: Any = function(text)
            except Exception as error:
                raise _told_of(error, file) from error
            if found is not None and found[0] is not None:
                if not isinstance(found[0], str) or not found[0]:
                    raise AccountError(f"{self.rules[found[1]]}: {found[0]!r} is no text that could come next")
                if (asks := (self.rules[found[1]].conditions, text.reach)) >= most:
                    lines = tuple(dict.fromkeys(self._looked_up))
                    best, most = Answered(found[0], found[1], dict(self._values), lines), asks
        return best

    def _asked_behind(self, text: Text) -> list[tuple[str, Callable[[Text], Any]]]:
        """The accounts that may speak behind the last token of `text`, as far as the ends tell that they ask for."""
        piece = text.last_token
        if piece not in self._may_speak:
            self._may_speak[piece] = [
                (file, function)
                for file, function in self._asked
                if (needs := self._needs.get(file)) is None or self._slots.compiled(needs).may_end(piece)
            ]
        return self._may_speak[piece]

    def row(self, ids: Sequence[int]) -> AccountText:
        """The tokens `ids` as texts of which accounts can be asked."""
        pieces = [self.spelling.pieces[token] for token in ids]
        return AccountText(pieces, self.spelling.spaced, self._slots, self.spelling.grows)

    def said(self, ids: Sequence[int]) -> list[Said | None]:
        """What comes next behind each token of `ids`; None where no account speaks."""
        row = self.row(ids)
        first, pending = 0, None
        found: list[Said | None] = []
        for at, token in enumerate(ids):
            pending = pending.after(token) if pending else None
            if token in self.spelling.ends:
                first, pending = at + 1, None
            pending = pending or self._answered(Text(row, first, at + 1))
            found.append(pending.said if pending else None)
        return found

    def supposing(self, row: AccountText, values: Mapping[Named, Any], only: str = "") -> Said | None:
        """What would come next behind a row of one text if variables and calls had these `values`.

        With `only` the account of that file alone is asked.
        """
        text = Text(row, 0, len(row.pieces))
        self._supposed = {name: value for name, value in values.items() if isinstance(name, str)}
        for call, value in values.items():
            if not isinstance(call, str):
                setattr(text, call.name, _instead(getattr(text, call.name), call.given, value))
        try:
            found = self._answered(text, only)
        finally:
            self._supposed = {}
        return found.said if found else None

    def value(self, file: str, name: Named, row: AccountText) -> Any:
        """The value of a variable that `file` has or imports, or of a call, behind a row of one text."""
        text = Text(row, 0, len(row.pieces))
        with _told(file):
            if not isinstance(name, str):
                return name.of(text)
            return self._functions[file if (file, name) in self._functions else SHARED, name](text)

    def _answered(self, text: Text, only: str = "") -> Pending | None:
        answer = self.ask(text, only)
        if answer is None:
            return None
        try:
            tokens = self._spelled(answer.answer, text)
        except Exception as error:
            raise AccountError(f"{self.rules[answer.rule]}: the model cannot say {answer.answer!r}: {error}") from error
        said, rule, values, lines = answer
        return Pending(Said(said, tokens[0], rule, 0, values, lines), tokens) if tokens else None

    def _spelled(self, answer: str, text: Text) -> list[int]:
        """The tokens of an answer behind `text`."""
        before = text.token()
        apart = self.spelling.spaced and not isinstance(answer, Joined) and answer[0].isalnum()
        said = " " + answer if apart and before and not before[-1:].isspace() else str(answer)
        if said not in self._tokens:
            self._tokens[said] = self.spelling.encode(said)
        return self._tokens[said]


def needed_ends(account: ast.FunctionDef) -> tuple[str, ...] | None:
    """Patterns of which a text ends in one wherever an account speaks; None where its text does not tell."""
    found: list[str] = []
    for node in account.body[1:] if ast.get_docstring(account) is not None else account.body:
        test: ast.stmt | None = node
        while test is not None:
            ends = _ends_of(test.test) if isinstance(test, ast.If) and len(test.orelse) < 2 else None
            if not isinstance(test, ast.If) or ends is None:
                return None
            found += ends
            test = next(iter(test.orelse), None)
    return tuple(dict.fromkeys(found))


def _ends_of(test: ast.expr) -> list[str] | None:
    """Patterns of which a text ends in one where a test holds; None where it does not tell."""
    match test:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="text"), attr="ends"), args=texts):
            said = [text.value for text in texts if isinstance(text, ast.Constant) and isinstance(text.value, str)]
            return said if len(said) == len(texts) else None
        case ast.BoolOp(op=ast.And(), values=values):
            return next((ends for ends in map(_ends_of, values) if ends is not None), None)
        case ast.BoolOp(op=ast.Or(), values=values):
            alternatives = [*map(_ends_of, values)]
            return None if None in alternatives else [end for ends in alternatives for end in ends or []]
    return None


def _returns(node: ast.stmt, conditions: int) -> Iterator[tuple[ast.Return, int]]:
    """The returns within a statement, with the number of conditions that they stand under."""
    if isinstance(node, ast.Return):
        yield node, conditions
    inner = conditions + _conditions(node.test) if isinstance(node, ast.If) else conditions
    for part in (*getattr(node, "body", ()), *getattr(node, "orelse", ())):
        yield from _returns(part, inner)


def _conditions(test: ast.expr) -> int:
    """How many conditions a test has, those left out that are about the end of the text or about what is in a table."""
    match test:
        case ast.BoolOp(op=ast.And(), values=values):
            return sum(map(_conditions, values))
        case ast.BoolOp(op=ast.Or(), values=values):
            return min(map(_conditions, values))
        case ast.Call(func=ast.Attribute(attr="ends")) | ast.Compare(ops=[ast.In()]):
            return 0
        case ast.UnaryOp(op=ast.Not(), operand=ast.Call(func=ast.Name(id="len"))):
            return 0
    return 1


@contextmanager
def _told(file: str) -> Iterator[None]:
    """Say of an error in an account which line it is of."""
    try:
        yield
    except Exception as error:
        raise _told_of(error, file) from error


def _told_of(error: Exception, file: str) -> AccountError:
    """The same error, with the line of `file` that it is of."""
    what = str(error) if isinstance(error, AccountError) else f"{type(error).__name__}: {error}"
    return AccountError(f"{file}:{_line(error.__traceback__, file)}: {what}")


def _line(trace: Any, file: str) -> int:
    """The innermost line of `file` in a traceback; 0 where there is none."""
    line = 0
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == file else line
        trace = trace.tb_next
    return line


def account_files(folder: Path) -> list[Path]:
    """The files that are asked, in the order of their names."""
    return sorted(path for path in folder.glob("*.py") if path.name not in OWN | {SHARED})


def is_account(node: ast.stmt) -> bool:
    """Whether a statement is the function under `@account`."""
    above = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    return any(isinstance(decorator, ast.Name) and decorator.id == "account" for decorator in above)


def is_variable(node: ast.stmt) -> bool:
    """Whether a statement is a function under `@variable(…)`."""
    above = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    calls = [decorator.func for decorator in above if isinstance(decorator, ast.Call)]
    return any(isinstance(called, ast.Name) and called.id == "variable" for called in calls)
