"""Running a weightless program that lies on disk: what it says after every token of a row."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from pellucid.base.errors import ProjectError, SourceError
from pellucid.base.harmless import say
from pellucid.base.trusted import PROGRAM, Contents, contents, texts
from pellucid.listing.importing import package
from pellucid.project.trust import require_trust

SAYS = "said"
"""What the function of a program's `__main__.py` is called that runs a row."""


def said(directory: Path, prompt: str, *, trust: bool = False, found: Contents | None = None) -> list[tuple[str, str]]:
    """Each token of `prompt` (blanks between) with what the program in `directory` says next.

    `found` is what is there, where that is known.

    Raises `ProjectError` where the program may not run, is of an earlier version, or does not know a token, and
    `SourceError` where it fails.
    """
    found = found or contents(directory)
    require_trust(directory, granted=trust, found=found)
    modules = texts(directory, found)
    if f"def {SAYS}(" not in modules.get("__main__.py", ""):
        raise ProjectError(
            f"{directory} is of an earlier version; run `python -m program` in it, or decompile its model again"
        )
    with _main(directory / PROGRAM, modules) as main:
        try:
            answers: list[tuple[str, str]] = getattr(main, SAYS)(prompt.split())
        except ValueError as error:
            raise ProjectError(f"{directory}: {error}") from None
        except Exception as error:
            raise SourceError(f"{directory}/program fails on {prompt!r}: {type(error).__name__}: {error}") from error
    return answers


@contextmanager
def _main(program: Path, modules: Mapping[str, str]) -> Iterator[ModuleType]:
    """The module `__main__` of a program whose `modules` have these texts; it is forgotten at the end."""
    try:
        with package(program, modules, keeps=True) as imported:
            yield importlib.import_module(".__main__", imported.__name__)
    except (ImportError, SyntaxError, AttributeError) as error:
        raise SourceError(f"{program} cannot be loaded: {type(error).__name__}: {error}") from error


def refuse(options: Sequence[str]) -> None:
    """Raise `ProjectError` for options that a program without weights has no use for."""
    if options:
        raise ProjectError(
            f"a program without weights says what comes next after each token, and has no residuals: leave out "
            f"{' and '.join(options)}"
        )


def said_dict(prompt: str, answers: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """What was said, as JSON."""
    return {"prompt": prompt, "said": [{"token": token, "next": text} for token, text in answers]}


def said_lines(answers: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Each token with what comes next, as the program itself prints it."""
    yield from (f"{place:4}  {token:8} -> {text}" for place, (token, text) in enumerate(answers))


def print_said(answers: Sequence[tuple[str, str]]) -> None:
    """Print each token with what comes next."""
    say("\n".join(said_lines(answers)))
