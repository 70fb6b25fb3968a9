"""The command line: a thin coat over `pellucid.load`, `pellucid.open` and `decompile`.

Every command ends with code 0, or with one clear line on standard error and code 2 for input that it cannot use.
Commands import what they need when they run, so that help and completion come at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from pellucid.base.output import print_anything
from pellucid.base.signals import answer_signals
from pellucid.base.terminal import say
from pellucid.cli import accounts, change, decompile, dictionary, explain, measure, read, run, timeline, zoo
from pellucid.cli.heard import hear

COMMANDS: dict[str, Callable[..., None]] = {
    "decompile": decompile.decompile,
    "verify": measure.verify,
    "front": measure.front,
    "next": measure.next_,
    "scratch": measure.scratch,
    "check": measure.check,
    "run": run.run,
    "why": run.why,
    "diff": change.diff,
    "edit": change.edit,
    "export": change.export,
    "migrate": change.migrate,
    "timeline": timeline.timeline,
    "report": read.report,
    "show": read.show,
    "accounts": accounts.accounts,
    "readers": accounts.readers,
    "table": accounts.table,
    "explain": explain.explain,
}
"""The commands by name, in the order of `pellucid --help`."""
ZOO: dict[str, Callable[..., None]] = {"list": zoo.list_, "card": zoo.card, "stories": zoo.stories}
"""Those of `pellucid zoo`."""
DICTIONARY: dict[str, Callable[..., None]] = {
    "train": dictionary.train,
    "score": dictionary.score,
    "convert": dictionary.convert,
}
"""Those of `pellucid dictionary`."""


def _version(wanted: bool) -> bool:
    if wanted:
        from pellucid import __version__

        say(f"pellucid {__version__}")
        raise typer.Exit
    return wanted


def main_options(
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="On standard error say nothing but what went wrong, and questions.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="On standard error also log what begins and ends, and when.")
    ] = False,
    log: Annotated[
        Path | None, typer.Option("--log", metavar="FILE", help="Add what is said meanwhile to FILE, with the time.")
    ] = None,
) -> None:
    """A decompiler for trained transformers."""
    hear(quiet=quiet, verbose=verbose, log=log)


def group(name: str, help_: str, commands: dict[str, Callable[..., None]], *, completion: bool = False) -> typer.Typer:
    """`commands` under one name; with `completion` a shell can be told to complete them."""
    made = typer.Typer(
        name=name, help=help_, no_args_is_help=True, add_completion=completion, pretty_exceptions_enable=False
    )
    for each, command in commands.items():
        made.command(each)(command)
    return made


app = group(
    "pellucid",
    "A decompiler for trained transformers: from checkpoint to readable, runnable, verified Python.",
    COMMANDS,
    completion=True,
)
app.callback()(main_options)
app.add_typer(group("dictionary", "Sparse features of what passes in a model.", DICTIONARY))
app.add_typer(group("zoo", "The subjects that ship with pellucid.", ZOO))


def main() -> None:
    """Run the command line."""
    answer_signals()
    print_anything()
    app()
