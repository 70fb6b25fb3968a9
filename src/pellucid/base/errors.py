"""The errors that a user can cause; the command line prints them as one line and exits with their code."""

from __future__ import annotations

LONGEST = 800
"""Characters of a message."""


class PellucidError(Exception):
    """Something the user can fix. The message quotes the input, says what was expected and what to do next.

    `exit_code` is what the command line ends with: 2 for bad input.
    """

    exit_code = 2

    def __str__(self) -> str:
        return shortened(super().__str__())


class SubjectError(PellucidError):
    """A checkpoint, config or tokenizer that cannot be read or is not supported."""


class CorpusError(PellucidError):
    """A text that is missing, empty or too short for what was asked."""


class ProjectError(PellucidError):
    """A project directory that is broken, foreign, untrusted or belongs to another subject."""


class SourceError(PellucidError):
    """A part's source that cannot be loaded, raises, or returns something that is not its part's output."""


def shortened(message: str) -> str:
    """`message` with words and itself cut where they are so long that nobody reads on: inputs are quoted in it."""
    if len(message) <= LONGEST:
        return message
    words = (word if len(word) <= LONGEST // 2 else _cut(word, LONGEST // 4) for word in message.split(" "))
    cut = " ".join(words)
    return cut if len(cut) <= LONGEST else _cut(cut, LONGEST // 2)


def _cut(text: str, end: int) -> str:
    return f"{text[:end]}…{text[-end:]}"


def closest(wanted: str, known: list[str], count: int = 3) -> str:
    """A clause naming the entries of `known` nearest to `wanted`, empty where none is near."""
    import difflib

    near = difflib.get_close_matches(wanted, known, n=count, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""
