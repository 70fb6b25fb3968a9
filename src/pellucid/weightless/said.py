"""Running a weightless program that lies on disk: what it says after every token of a row."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from pellucid.base.errors import ProjectError, SourceError
from pellucid.base.files import read_text
from pellucid.base.harmless import say
from pellucid.project.trust import require_trust

PACKAGE = "pellucid_weightless_program"
SAYS = "said"
"""What the function of a program's `__main__.py` is called that runs a row."""


def said(directory: Path, prompt: str, *, trust: bool = False) -> list[tuple[str, str]]:
    """Each token of `prompt` (blanks between) with what the program in `directory` says next.

    Raises `ProjectError` where the program may not run, is of an earlier version, or does not know a token, and
    `SourceError` where it fails.
    """
    require_trust(directory, granted=trust)
    if f"def {SAYS}(" not in read_text(directory / "program" / "__main__.py"):
        raise ProjectError(
            f"{directory} is of an earlier version; run `python -m program` in it, or decompile its model again"
        )
    with _package(directory / "program") as main:
        try:
            answers: list[tuple[str, str]] = getattr(main, SAYS)(prompt.split())
        except ValueError as error:
            raise ProjectError(f"{directory}: {error}") from None
        except Exception as error:
            raise SourceError(f"{directory}/program fails on {prompt!r}: {type(error).__name__}: {error}") from error
    return answers


@contextmanager
def _package(folder: Path) -> Iterator[ModuleType]:
    """The module `__main__` of the package in `folder`, which is forgotten at the end; no bytecode is written."""
    spec = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        package = importlib.util.module_from_spec(spec)
        sys.modules[PACKAGE] = package
        spec.loader.exec_module(package)
        yield importlib.import_module(f"{PACKAGE}.__main__")
    except (ImportError, SyntaxError, AttributeError) as error:
        raise SourceError(f"{folder} cannot be loaded: {type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = before
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]


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
