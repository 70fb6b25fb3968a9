"""The command `pellucid`, also as `python -m pellucid`: signals are answered before the rest, which takes a while."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pellucid.base.defaults import TOKENS
from pellucid.base.signals import answer_signals, exit_code

LARGEST = 64 * 2**20
"""Bytes of weights that are read so soon that nothing has to be said meanwhile."""


def main() -> None:
    """The entry point."""
    answer_signals()
    try:
        if _said_at_once(sys.argv[1:]):
            return
        from pellucid.cli import main as run
    except KeyboardInterrupt as error:
        sys.exit(exit_code(error))
    run()


@dataclass(frozen=True)
class _Asked:
    """`run DIR PROMPT`, which may also say how many tokens, and whether sources run alone."""

    directory: Path
    prompt: str
    tokens: int = TOKENS
    source_only: bool = False

    @staticmethod
    def of(arguments: Sequence[str]) -> _Asked | None:
        """What a command line asks; None where it is another command, or says more or something else."""
        if not arguments or arguments[0] != "run":
            return None
        words, tokens = [*arguments[1:]], TOKENS
        if sources := words[-1:] == ["--source-only"]:
            words.pop()
        if words[-2:-1] == ["--tokens"] and words[-1].isascii() and words[-1].isdecimal() and len(words[-1]) < 7:
            tokens = int(words.pop())
            words.pop()
        if len(words) != 2 or any(word.startswith("-") for word in words) or not tokens:
            return None
        return _Asked(Path(words[0]), words[1], tokens, sources)


def _said_at_once(arguments: Sequence[str]) -> bool:
    """Whether `run DIR PROMPT`, plain as that, was answered without all that other commands need.

    So it can be where the program was checked as it is now. What goes wrong is left to the command to say.
    """
    if (asked := _Asked.of(arguments)) is None:
        return False
    from pellucid.base.errors import PellucidError
    from pellucid.base.harmless import say
    from pellucid.base.output import print_anything

    gc.disable()  # what is made to answer once goes with the process
    try:
        text = _said(asked)
    except (OSError, PellucidError):
        return False
    finally:
        gc.enable()
    if text is None:
        return False
    print_anything()
    say(text)
    gc.freeze()  # and is not looked through for what could be freed before
    return True


def _said(asked: _Asked) -> str | None:
    """What `run` prints; None where that takes a while, or somebody has to be asked or told."""
    from pellucid.base.trusted import WEIGHTLESS, contents
    from pellucid.project.trust import is_trusted

    directory, prompt = asked.directory, asked.prompt
    if (directory / WEIGHTLESS).is_file():
        from pellucid.weightless.said import said, said_lines

        if asked != _Asked(directory, prompt):
            return None
        found = contents(directory)
        return "\n".join(said_lines(said(directory, prompt, found=found))) if is_trusted(directory, found) else None
    if (directory / "weights.safetensors").stat().st_size > LARGEST:
        return None
    from pellucid.project.checked import open_as_checked, written_behind

    program = open_as_checked(directory, "code" if asked.source_only else None)
    if program is None or program.idle:
        return None
    return prompt + written_behind(program, prompt, tokens=asked.tokens).text


if __name__ == "__main__":
    main()
