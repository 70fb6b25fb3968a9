"""Ask the accounts: `python -m program.accounts "Some text"`."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pellucid.accounts.language import AccountError, Accounts, Said, spelling_of
from pellucid.program.model import CONFIG
from pellucid.program.prelude import ProgramError
from pellucid.program.vocabulary import Vocabulary


def main() -> int:
    """Print what comes next and who says so; 2 for what cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m program.accounts", description="What comes next, and why.")
    parser.add_argument("text", help="the text so far")
    options = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print(*answer(options.text), sep="\n")
    except (ProgramError, AccountError) as error:
        print(f"program.accounts: {error}", file=sys.stderr)
        return 2
    return 0


def answer(text: str) -> Iterator[str]:
    """The lines that say what comes next behind `text`."""
    vocabulary = Vocabulary()
    spelling = spelling_of(vocabulary, CONFIG.vocabulary, vocabulary.is_words)
    return told(Accounts(Path(__file__).parent, spelling), vocabulary.opened(text))


def told(accounts: Accounts, ids: Sequence[int]) -> Iterator[str]:
    """The lines that say what comes next behind the tokens `ids`."""
    return said_lines(accounts, accounts.said(ids)[-1] if ids else None)


def said_lines(accounts: Accounts, said: Said | None) -> Iterator[str]:
    """The lines that tell what comes next, which rule says so, and what it asked."""
    if said is None:
        yield "no account speaks"
        return
    rule = accounts.rules[said.rule]
    going = f", tokens of it so far: {said.begun}" if said.begun else ""
    yield f"{accounts.spelling.pieces[said.token]!r}  of the answer {str(said.answer)!r}{going}"
    yield f"{rule}  {rule.text}"
    for name, value in said.values.items():
        tie, moved = accounts.ties[name]
        beside = f"  ({tie}{'' if moved is None else f', moved {moved}'})" if tie else ""
        yield f"    {name} = {value!r}{beside}"
    yield from (accounts.tables[name].told(key) for name, key in said.lines)


if __name__ == "__main__":
    sys.exit(main())
