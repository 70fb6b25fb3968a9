"""The command `pellucid`, also as `python -m pellucid`: signals are answered before the rest, which takes a while."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path

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


def _said_at_once(arguments: Sequence[str]) -> bool:
    """Whether `run DIR PROMPT`, plain as that, was answered without all that other commands need.

    So it can be where the program was checked as it is now. What goes wrong is left to the command to say.
    """
    if len(arguments) != 3 or arguments[0] != "run" or any(word.startswith("-") for word in arguments):
        return False
    from pellucid.base.errors import PellucidError
    from pellucid.base.harmless import say
    from pellucid.base.output import print_anything

    gc.disable()  # what is made to answer once goes with the process
    try:
        text = _said(Path(arguments[1]), arguments[2])
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


def _said(directory: Path, prompt: str) -> str | None:
    """What `run` prints; None where that takes a while, or somebody has to be asked or told."""
    from pellucid.base.trusted import WEIGHTLESS, contents
    from pellucid.project.trust import is_trusted

    if (directory / WEIGHTLESS).is_file():
        from pellucid.weightless.said import said, said_lines

        found = contents(directory)
        return "\n".join(said_lines(said(directory, prompt, found=found))) if is_trusted(directory, found) else None
    if (directory / "weights.safetensors").stat().st_size > LARGEST:
        return None
    from pellucid.project.checked import open_as_checked, written_behind

    program = open_as_checked(directory)
    return None if program is None or program.idle else prompt + written_behind(program, prompt).text


if __name__ == "__main__":
    main()
