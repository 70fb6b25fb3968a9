"""The language of accounts: short programs that say what a model says next, in terms of the text so far.

An account is a file of this folder with a function `next_token(text)` under `@account`. It returns what comes next, a
text of one or more tokens, or None where it has nothing to say. The files are asked in the order of their names, and of
those that speak the last one counts; within a file, the first `return` that is reached. An answer of several tokens is
gone on with once it has begun, before anybody is asked.

A text that begins with a letter or digit is set apart from what stands before by a blank, if the model writes blanks;
`joined("s")` is said just as it stands. Tables are files of `tables/`: a line with the names of the columns, of which
the first two are `key` and `answer`, and one line a key. Classes of spans are files of `tables/` with one a line.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

TABLES = "tables"
COLUMNS = ["key", "answer"]
"""The first columns of a table; what stands in others is about the line, and nothing is computed from it."""
OWN = frozenset({"__init__.py", "__main__.py", "language.py"})
"""Files of the folder that are no accounts."""
_GIVEN: tuple[Any, ...] = (abs, all, any, enumerate, len, max, min, range, reversed, sorted, sum, zip)
BUILTINS = {given.__name__: given for given in _GIVEN}
"""What accounts may call beside the words of this page."""
WORDS = ("account", "joined", "one_of", "spans", "table", "variable")
"""What account files import from here."""


class AccountError(Exception):
    """An account or table that cannot be read or run; the message names file and line."""


class Joined(str):
    """A text that is said just as it stands."""


def joined(text: str) -> Joined:
    """`text` as the rest of a word, with no blank before it."""
    return Joined(text)


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

    @cached_property
    def members(self) -> frozenset[str]:
        """The keys."""
        return frozenset(self.lines)

    def __getitem__(self, key: str | None) -> str | None:
        line = self.lines.get(key) if key is not None else None
        return line[1] if line else None

    def __contains__(self, text: object) -> bool:
        return text in self.lines


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
    return Table(name, lines)


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


def spelling_of(vocabulary: Any, count: int, is_words: bool) -> Spelling:
    """The spelling of `count` tokens of a vocabulary: of what has `decode`, `encode`, and `ends` or `end`."""
    gap = " " if is_words else ""
    pieces = [gap + str(vocabulary.decode([token])) for token in range(count)]
    ends = vocabulary.ends if hasattr(vocabulary, "ends") else [vocabulary.end]  # older programs know one end alone
    return Spelling(pieces, vocabulary.encode, frozenset(end for end in ends if end is not None))


@dataclass(frozen=True)
class Span:
    """A member of a class, over the tokens from `start` to before `end`; `cut` if a longer word goes on behind it."""

    start: int
    end: int
    text: str
    cut: bool


class Row:
    """The tokens of a text, and what has been found in them."""

    def __init__(self, pieces: Sequence[str], spaced: bool) -> None:
        self.pieces, self.spaced = pieces, spaced
        self.whole = "".join(pieces)
        self.places = [0]
        for piece in pieces:
            self.places.append(self.places[-1] + len(piece))
        self._found: dict[frozenset[str], list[Span]] = {}

    def found(self, members: frozenset[str]) -> list[Span]:
        """Where members of a class stand, from token to token, in the order of their ends."""
        if members not in self._found:
            longest = max(map(len, members), default=0)
            spans = [span for start in range(len(self.pieces)) for span in self._from(start, members, longest)]
            self._found[members] = sorted(spans, key=lambda span: (span.end, -span.start))
        return self._found[members]

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
                yield Span(start, end, text, self.spaced and len(beyond) > 1 and beyond.isalnum())


class Text:
    """The text so far, or a stretch of it, as an account sees it."""

    def __init__(self, row: Row, first: int, end: int) -> None:
        self._row, self._first, self._end = row, first, end

    def __str__(self) -> str:
        return self._row.whole[self._from : self._to]

    def __repr__(self) -> str:
        return repr(str(self))

    def __len__(self) -> int:
        return self._end - self._first

    @property
    def _from(self) -> int:
        return self._row.places[self._first]

    @property
    def _to(self) -> int:
        return self._row.places[self._end]

    def ends(self, *texts: str) -> bool:
        """Whether it ends in one of `texts`."""
        return self._row.whole.endswith(texts, self._from, self._to)

    def begins(self, *texts: str) -> bool:
        """Whether it begins with one of `texts`, a blank before it left out."""
        at = self._from + self._row.whole.startswith(" ", self._from, self._to)
        return self._row.whole.startswith(texts, at, self._to)

    def has(self, *texts: str) -> bool:
        """Whether one of `texts` stands in it."""
        return any(self._row.whole.find(text, self._from, self._to) >= 0 for text in texts)

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

    def word(self, back: int = 1) -> str | None:
        """The `back`-th of what blanks set apart, from the end; None before the beginning."""
        found = str(self).split()
        return found[-back] if 0 < back <= len(found) else None

    def after(self, same: int = 1) -> Joined | None:
        """The token that followed when the last `same` tokens stood there before; None where they never did."""
        pieces, last = self._row.pieces, list(self._row.pieces[max(self._first, self._end - same) : self._end])
        for at in range(self._end - 1, self._first + same - 1, -1):
            if len(last) == same and list(pieces[at - same : at]) == last:
                return Joined(pieces[at])
        return None

    def all(self, members: Spans | Table) -> list[str]:
        """The members of a class that stand in it, in order; the longest where one is within another."""
        return [span.text for span in self._spans(members)]

    def nth(self, members: Spans | Table, number: int) -> str | None:
        """The `number`-th member of a class, counted from 1, or from -1 at the end; None where there are fewer."""
        found = self.all(members)
        at = number - 1 if number > 0 else number
        return found[at] if number and -len(found) <= at < len(found) else None

    def first(self, members: Spans | Table) -> str | None:
        """The first member of a class."""
        return self.nth(members, 1)

    def last(self, members: Spans | Table) -> str | None:
        """The last member of a class."""
        return self.nth(members, -1)

    def since(self, *marks: str) -> Text:
        """What stands behind the last token that is one of `marks`; all of it where none is."""
        at = next((at for at in range(self._end, self._first, -1) if self._is(at - 1, marks)), self._first)
        return Text(self._row, at, self._end)

    def split(self, *marks: str) -> list[Text]:
        """The stretches that end in a token that is one of `marks`, in order, and what is left behind the last."""
        cuts = [at + 1 for at in range(self._first, self._end) if self._is(at, marks)]
        bounds = [self._first, *cuts, *([] if cuts and cuts[-1] == self._end else [self._end])]
        return [Text(self._row, start, end) for start, end in pairwise(bounds)]

    def _is(self, at: int, marks: Sequence[str]) -> bool:
        piece = self._row.pieces[at]
        return piece in marks or piece.strip() in marks

    def _spans(self, members: Spans | Table) -> list[Span]:
        """Spans that are whole here: not within a longer one, and not the beginning of a longer word."""
        found = [
            span
            for span in self._row.found(members.members)
            if self._first <= span.start and span.end <= self._end and not (span.cut and span.end < self._end)
        ]
        return [a for a in found if not any(b is not a and b.start <= a.start and a.end <= b.end for b in found)]


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
class Rule:
    """A `return` of an account."""

    file: str
    line: int
    text: str

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
        said = Said(self.said.answer, self.tokens[begun], self.said.rule, begun, self.said.values)
        return Pending(said, self.tokens)


class Accounts:
    """The accounts of the folder `folder`, for a model whose tokens are written by `spelling`."""

    def __init__(self, folder: Path, spelling: Spelling) -> None:
        self.folder, self.spelling = folder, spelling
        self.rules: list[Rule] = []
        self.ties: dict[str, tuple[str, float | None]] = {}
        self._values: dict[str, Any] = {}
        self._asked: list[tuple[str, Callable[[Text], Any]]] = []
        self._tokens: dict[str, list[int]] = {}
        for path in account_files(folder):
            self._read(path)

    def _read(self, path: Path) -> None:
        """Run the file of an account; each `return` under `@account` also tells which rule it is."""
        try:
            text = path.read_text(encoding="utf-8")
            tree = ast.parse(text)
        except (OSError, ValueError, SyntaxError, RecursionError) as error:
            raise AccountError(f"{path.name} cannot be read: {error}") from error
        tree.body = [node for node in tree.body if not isinstance(node, ast.ImportFrom)]
        for node in tree.body:
            if is_account(node):
                for found in [part for part in ast.walk(node) if isinstance(part, ast.Return)]:
                    self._mark(found, path.name, text.split("\n"))
        names: dict[str, Any] = {"__builtins__": BUILTINS, "joined": joined, "one_of": one_of}
        names |= {"table": lambda name: table(name, self.folder), "spans": lambda name: spans(name, self.folder)}
        names |= {"account": lambda function: self._asked.append((path.name, function)), "variable": self._variable}
        with _told(path.name):
            exec(compile(ast.fix_missing_locations(tree), path.name, "exec"), names)

    def _mark(self, node: ast.Return, file: str, lines: Sequence[str]) -> None:
        said = node.value or ast.Constant(None)
        if not (isinstance(said, ast.Constant) and said.value is None):
            self.rules.append(Rule(file, node.lineno, lines[node.lineno - 1].strip()))
            node.value = ast.Tuple([said, ast.Constant(len(self.rules) - 1)], ast.Load())

    def _variable(self, tie: str = "", moved: float | None = None) -> Callable[[Callable[..., Any]], Any]:
        """Keeps what the function under it gives, by its name."""

        def above(function: Callable[..., Any]) -> Callable[..., Any]:
            def asked(*given: Any) -> Any:
                self._values[function.__name__] = value = function(*given)
                return value

            self.ties[function.__name__] = tie, moved
            return asked

        return above

    def ask(self, text: Text) -> tuple[str, int, Mapping[str, Any]] | None:
        """The answer to `text`, the number of its rule, and the variables asked; None if no account speaks."""
        for file, function in reversed(self._asked):
            self._values.clear()
            with _told(file):
                found: Any = function(text)
            if found is not None and found[0] is not None:
                if not isinstance(found[0], str) or not found[0]:
                    raise AccountError(f"{self.rules[found[1]]}: {found[0]!r} is no text that could come next")
                return found[0], found[1], dict(self._values)
        return None

    def said(self, ids: Sequence[int]) -> list[Said | None]:
        """What comes next behind each token of `ids`; None where no account speaks."""
        row = Row([self.spelling.pieces[token] for token in ids], self.spelling.spaced)
        first, pending = 0, None
        found: list[Said | None] = []
        for at, token in enumerate(ids):
            pending = pending.after(token) if pending else None
            if token in self.spelling.ends:
                first, pending = at + 1, None
            pending = pending or self._answered(Text(row, first, at + 1))
            found.append(pending.said if pending else None)
        return found

    def _answered(self, text: Text) -> Pending | None:
        answer = self.ask(text)
        if answer is None:
            return None
        try:
            tokens = self._spelled(answer[0], text)
        except Exception as error:
            raise AccountError(f"{self.rules[answer[1]]}: the model cannot say {answer[0]!r}: {error}") from error
        return Pending(Said(answer[0], tokens[0], answer[1], 0, answer[2]), tokens) if tokens else None

    def _spelled(self, answer: str, text: Text) -> list[int]:
        """The tokens of an answer behind `text`."""
        before = text.token()
        apart = self.spelling.spaced and not isinstance(answer, Joined) and answer[0].isalnum()
        said = " " + answer if apart and before and not before[-1:].isspace() else str(answer)
        if said not in self._tokens:
            self._tokens[said] = self.spelling.encode(said)
        return self._tokens[said]


@contextmanager
def _told(file: str) -> Iterator[None]:
    """Say of an error in an account which line it is of."""
    try:
        yield
    except AccountError as error:
        raise AccountError(f"{file}:{_line(error.__traceback__, file)}: {error}") from error
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise AccountError(f"{file}:{_line(error.__traceback__, file)}: {what}") from error


def _line(trace: Any, file: str) -> int:
    """The innermost line of `file` in a traceback; 0 where there is none."""
    line = 0
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == file else line
        trace = trace.tb_next
    return line


def account_files(folder: Path) -> list[Path]:
    """The files that are asked, in the order of their names."""
    return sorted(path for path in folder.glob("*.py") if path.name not in OWN)


def is_account(node: ast.stmt) -> bool:
    """Whether a statement is the function under `@account`."""
    above = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    return any(isinstance(decorator, ast.Name) and decorator.id == "account" for decorator in above)
