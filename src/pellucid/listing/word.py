"""Words of statements: how what is said in one word is read, counted, told of, and run where the word is a form's own.

A source that is a function stands under `@source`, whatever its form. Everything else that a page says of a part is a
call of one word at its top, such as `fires("L01.N0012.IN", …)`, and what is particular to that word is in one object
here. `spoken.py` has those that every program knows; a form may bring one of its own (`forms/form.py`), with the file
of the program that runs it.
"""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from pellucid.listing.language import OWN
from pellucid.listing.statement import Statement


class StatementWord(ABC):
    """A word in which statements about parts are written.

    Args:
        name: What is called at the top of a page.
        form: What `Statement.form` says; words that say one thing in several ways share it. The name, if not given.
    """

    module: str = "prelude"
    """The file of a program, without its ending, that pages import the word from."""
    text: str = ""
    """The whole text of that file where the word brings it; it imports `.prelude`, `.wires` and NumPy alone.

    The function there enters a statement (`prelude._register`) whose own function is what runs.
    """

    def __init__(self, name: str, form: str = "") -> None:
        self.name, self.form = name, form or name

    @abstractmethod
    def read(self, call: ast.Call, file: str) -> Statement:
        """What a call of the word says, without its place: key and form, and what `numbers` and `says` need of it.

        Raises `SourceError` naming `file` and line for what the word does not say.
        """

    def numbers(self, statement: Statement) -> int:
        """How many numbers a statement holds for each of its addresses."""
        del statement
        return 1

    def says(self, statement: Statement) -> str:
        """A statement as one plain sentence; empty where its text says all."""
        del statement
        return ""

    def function(self, statement: Statement, decorator: str, name: str) -> str | None:
        """The same as a function `name` under a decorator, in the language of sources; None where it cannot be one."""
        del statement, decorator, name
        return None


_BY_NAME: dict[str, StatementWord] = {}
_BY_FORM: dict[str, StatementWord] = {}


def register(word: StatementWord) -> None:
    """Make a word known to all that reads, checks, counts, shows and prints programs.

    Raises `ValueError` where the name, or the file that comes with it, is another word's.
    """
    if _BY_NAME.setdefault(word.name, word) is not word:
        raise ValueError(f"there is a word {word.name} already; give this one another name")
    if word.text:
        others = [other for other in _BY_NAME.values() if other.module == word.module and other is not word]
        if any(other.text != word.text for other in others):
            del _BY_NAME[word.name]
            raise ValueError(f"there is a file {word.module}.py already; give that of {word.name} another name")
        OWN[word.name] = word.module
    _BY_FORM.setdefault(word.form, word)


def forget(word: StatementWord) -> None:
    """Undo `register`."""
    for held in (_BY_NAME, _BY_FORM):
        for key in [key for key, found in held.items() if found is word]:
            del held[key]
    OWN.pop(word.name, None)


def word_called(name: str) -> StatementWord | None:
    """The word that a page calls by a name, if it is one."""
    return _BY_NAME.get(name)


def word_of(statement: Statement) -> StatementWord | None:
    """The word that a statement is written in; None for a function under `@source`."""
    return _BY_FORM.get(statement.form)


def files_of(statements: Iterable[Statement]) -> Iterator[tuple[str, str]]:
    """The names and texts of the files that bring the words which statements are written in."""
    words = {word.name: word for word in map(word_of, statements) if word and word.text}
    yield from {f"{word.module}.py": word.text for word in words.values()}.items()
