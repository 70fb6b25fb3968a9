"""Commands that print what a directory holds; nothing is measured."""

from __future__ import annotations

from typing import Annotated

import typer

from pellucid.cli.options import AsJson, Directory
from pellucid.cli.output import plain_errors, print_json


def report(directory: Directory, json_: AsJson = False) -> None:
    """Print the scoreboard of the last measurement of DIR."""
    with plain_errors():
        from pellucid.project.manifest import is_weightless
        from pellucid.project.project import Project
        from pellucid.view.scoreboard import show as show_scoreboard
        from pellucid.weightless.saved import read_figures

        if is_weightless(directory):
            from pellucid.weightless.show import show as show_weightless

            print_json(read_figures(directory)) if json_ else show_weightless(directory)
            return
        data = Project.open(directory).report()
        print_json(data) if json_ else show_scoreboard(data)


def show(
    directory: Directory,
    address: Annotated[
        str, typer.Argument(help="A part such as L00.H01.QK, a pattern, or a table of accounts such as home.")
    ],
    json_: AsJson = False,
) -> None:
    """Print the source of a part, what is known about it, and where it stands.

    Of accounts a table, variable or rule by its name, such as home or homes.py:17, with its evidence.
    Of a program without weights also a function by its name, such as look_0 or '*'.
    """
    with plain_errors():
        from pellucid.accounts.cards import print_cards
        from pellucid.accounts.described import cards, naming
        from pellucid.project.manifest import is_weightless
        from pellucid.project.project import Project
        from pellucid.rewrite.edit import edited_lines
        from pellucid.view.parts_text import describe, print_parts

        if is_weightless(directory):
            from pellucid.weightless.functions import functions
            from pellucid.weightless.show import show_functions

            found = functions(directory, address)
            print_json([function.to_dict() for function in found]) if json_ else show_functions(directory, address)
            return
        project = Project.open(directory)
        if told := cards(project, address, edited_lines(directory)):
            print_json([card.to_dict() for card in told]) if json_ else print_cards(told)
            return
        with naming(project, address):
            print_json(describe(project, address)) if json_ else print_parts(project, address)
