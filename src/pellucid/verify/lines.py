"""Where to change what was said: from the causes of a prediction to lines of the program, and the edit to try.

Prompts, tokens and sources are data: what cannot be printed is shown escaped, and commands are quoted for the shell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pellucid.base.address import Address
from pellucid.base.shell import quoted
from pellucid.listing.edits import PAGE
from pellucid.listing.parse import Listing
from pellucid.study.why import Cause, Why

CARRIES = 0.1
"""The least share of the difference that a part must carry for its lines to be shown."""
SHOWN, NEURONS, LONGEST = 8, 2, 12
"""Causes, neurons of one MLP, and lines of one source that are shown."""
BEHIND = 2
"""Tokens that a rule is suggested behind."""


@dataclass(frozen=True)
class SourceLine:
    """What the program says of a part that carries the answer: `file:line`, its form, and its source text."""

    part: str
    share: float | None
    place: str
    form: str
    text: str

    @property
    def shown(self) -> Iterator[str]:
        """As the terminal shows it."""
        share = "" if self.share is None else f"{100 * self.share:6.1f} %  "
        yield f"{share}{self.place}  {self.part}, {self.form}"
        lines = self.text.split("\n")
        yield from (f"            {printable(line)}".rstrip() for line in lines[:LONGEST])
        if len(lines) > LONGEST:
            yield f"            … {len(lines) - LONGEST} more lines"


@dataclass(frozen=True)
class Where:
    """The lines to change, what changing them takes, and commands to try."""

    lines: tuple[SourceLine, ...]
    how: str
    commands: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {"lines": [asdict(line) for line in self.lines], "how": self.how, "commands": list(self.commands)}

    @property
    def text(self) -> str:
        """To read below the table of causes."""
        shown = [piece for line in self.lines for piece in line.shown]
        return "\n".join(["lines to change:", *shown, self.how, *(f"  {command}" for command in self.commands)])


def where(found: Why, listing: Listing, directory: str) -> Where:
    """The lines of the program in `directory` that carry what `found` explains, those of the largest share first."""
    causes = [cause for cause in found.causes if _carries(cause, found)][:SHOWN]
    unique: dict[str, SourceLine] = {}
    for cause in causes:
        for line in _lines(cause, listing):
            unique.setdefault(line.place, line)
    lines = tuple(unique.values())
    return Where(lines, _how(lines, causes), tuple(_commands(found, directory)))


def _carries(cause: Cause, found: Why) -> bool:
    """Whether a part carries enough of the difference; where that is near zero, enough of the largest effect."""
    if cause.share is not None:
        return cause.share >= CARRIES
    return abs(cause.effect) >= CARRIES * max(abs(other.effect) for other in found.causes) > 0


def _lines(cause: Cause, listing: Listing) -> Iterator[SourceLine]:
    """What the program says of the addresses behind a cause, its edits first."""
    for address in _addresses(cause):
        for edit in listing.edits.statements if listing.edits else ():
            if edit.address == str(address) and (address.kind != "EMB.TOK" or cause.token in edit.over):
                yield SourceLine(str(address), cause.share, f"{PAGE}:{edit.line}", f"edit {edit.number:04d}", edit.text)
        said = listing[address]
        form = "described" if said.described else said.part_form
        yield SourceLine(str(address), cause.share, said.at, form, said.text)


def _addresses(cause: Cause) -> Iterator[Address]:
    """What a head moves and where it looks, what neurons write and when, or an embedding."""
    if cause.part.endswith(".OV"):
        yield from (Address.parse(cause.part), Address.parse(f"{cause.part.removesuffix('.OV')}.QK"))
    elif cause.neurons:
        names = [name for name, value in cause.neurons if value * cause.effect > 0][:NEURONS]
        yield from (Address.parse(f"{name}.{side}") for name in names for side in ("OUT", "IN"))
    elif "_" not in cause.part:
        yield Address.parse(cause.part)


def _how(lines: Sequence[SourceLine], causes: Sequence[Cause]) -> str:
    """What it takes to change these lines."""
    told = [line.part for line in lines if line.form in ("source", "described", "lifted")]
    edited = [line.form for line in lines if line.form.startswith("edit ")]
    says = [f"change or undo {' and '.join(edited)}"] if edited else []
    if told:
        says.append(f"change the source of {told[0]}, then `--commit {told[0]}`")
    heads = [cause.part for cause in causes if cause.part.endswith(".OV")]
    raw = [head for head in dict.fromkeys(heads) if head not in told]
    if raw:
        says.append(f"for what is raw, insert an edit in program/{PAGE}, at {' or '.join(raw)}")
    elif not heads:
        says.append(f"no head carries {CARRIES:.0%} of it: insert an edit as a part of its own, in program/{PAGE}")
    tokens = [cause.token for cause in causes if cause.part == "EMB.TOK"]
    if tokens:
        says.append(f"let {tokens[0]!r} be read as another token, with --read")
    return "\n".join([*(f"{'or ' if n else ''}{said}" for n, said in enumerate(says)), "to try, without writing:"])


def _commands(found: Why, directory: str) -> Iterator[str]:
    """The edits to try: of the fact in whatever wording, and of the behaviour right behind the last tokens."""
    edit = f"pellucid edit {quoted(directory)}"
    if found.instead.strip():
        yield f"{edit} --fact {quoted(found.prompt)} {quoted(found.instead.strip())} --dry-run"
    pattern = "".join(found.tokens[-BEHIND:])
    sides = f"--prefer {quoted(found.instead)} --over {quoted(found.said)}"
    yield f"{edit} --when {quoted(pattern)} {sides} --dry-run"


def printable(text: str) -> str:
    """Text in which nothing steers a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
