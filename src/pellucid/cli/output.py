"""How a command ends: what it prints, and the exit code of what went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from pellucid.base.errors import PellucidError
from pellucid.base.signals import Stopped, exit_code
from pellucid.base.terminal import complain, json_text, say, terminal
from pellucid.cli.heard import heard

if TYPE_CHECKING:
    from pellucid.project.project import Project


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what a user can fix into one line and its exit code; without a terminal, tell what takes long.

    What a command needs is imported within it, so that no signal is lost while that takes a while.
    """
    from pellucid.base.progress import working

    try:
        with heard(), working("still at work"):
            yield
    except PellucidError as error:
        complain(f"pellucid: {' '.join(str(error).split())}")
        raise typer.Exit(error.exit_code) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        complain(f"pellucid: {error.filename or 'the operating system'}: {error.strerror or error}")
        raise typer.Exit(PellucidError.exit_code) from None
    except KeyboardInterrupt as error:
        what = "stopped" if isinstance(error, Stopped) else "interrupted"
        complain(f"pellucid: {what}; run the same command again to go on from here")
        raise typer.Exit(exit_code(error)) from None


def print_json(data: Any) -> None:
    """Print `data` as JSON on standard output."""
    say(json_text(data))


def finish(project: Project, as_json: bool, domains_of: str = "full") -> None:
    """Write the report, and say what came out (the domains for the program `domains_of`) and where it lies."""
    from pellucid.base.shell import quoted
    from pellucid.view.report import write_page
    from pellucid.view.scoreboard import show as show_scoreboard

    data = project.report()
    page = write_page(project)
    if as_json:
        print_json(data)
        return
    show_scoreboard(data, domains_of)
    console = terminal()
    console.print(
        f'\nProgram   {project.directory / "program"}  (python -m program "…" in {quoted(project.directory)})',
        soft_wrap=True,
    )
    console.print(f"Report    {page}", soft_wrap=True)
    console.print(f"Figures   {project.directory / 'report.json'}, evidence.sqlite", soft_wrap=True)
