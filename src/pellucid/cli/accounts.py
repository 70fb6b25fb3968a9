"""Commands about accounts: short programs for what a model says, questions for their readers, and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pellucid.base.defaults import (
    ACCOUNT_TOKENS,
    FEWEST_TOKENS,
    LARGEST_SEED,
    LEAST_QUESTIONS,
    SYMBOL_PRICE,
)
from pellucid.base.terminal import say
from pellucid.cli.options import AsJson, Directory, SubjectPath, Trust
from pellucid.cli.output import plain_errors, print_json

MILLION = 1e6


def accounts(
    directory: Directory,
    measure: Annotated[bool, typer.Option("--measure", help="Find nothing; measure those that are there.")] = False,
    tokens: Annotated[
        int,
        typer.Option(min=FEWEST_TOKENS, metavar="TOKENS", help="Fit text that rules are found on, at most."),
    ] = ACCOUNT_TOKENS,
    price: Annotated[
        float,
        typer.Option(
            min=0, help="How many of a million places a symbol must make right; more of it, shorter accounts."
        ),
    ] = MILLION * SYMBOL_PRICE,
    ties: Annotated[
        bool, typer.Option("--ties", help="Find what carries each variable, where that is not known yet.")
    ] = False,
    trust: Trust = False,
    subject: SubjectPath = None,
    json_: AsJson = False,
) -> None:
    """Find the accounts of the program in DIR and measure them: short programs for what it says, in program/accounts.

    What you wrote there, or changed, stays.
    """
    with plain_errors():
        from pellucid.accounts.command import metered
        from pellucid.accounts.find.command import found_anew
        from pellucid.accounts.show import lines
        from pellucid.project.project import REPORT, Project
        from pellucid.view.report import write_page

        project = Project.open(directory, trust=trust, subject=subject)
        found = metered(project, ties) if measure else found_anew(project, tokens, ties, price / MILLION)
        if found and (project.directory / REPORT).is_file():
            write_page(project)
        print_json(found) if json_ else say("\n".join(lines(found)))


def readers(
    directory: Directory,
    count: Annotated[int, typer.Option("-n", min=LEAST_QUESTIONS, help="How many questions.")] = 100,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="What they are drawn by.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="QUESTIONS.jsonl", help="Draw questions into this file.")
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option("--score", metavar="ANSWERS.jsonl", help='Mark answers: {"id": …, "answer": …} a line.'),
    ] = None,
    subject: SubjectPath = None,
    json_: AsJson = False,
) -> None:
    """Draw questions about the model of DIR for readers of its program, or mark their answers.

    A reader, a person or a program, has the text of the program and runs nothing.
    """
    with plain_errors():
        from pellucid.accounts.command import tested
        from pellucid.accounts.show import marks
        from pellucid.project.project import Project

        found = tested(Project.open(directory, subject=subject), count, seed, output, answers)
        shown = marks(found) if answers else [f"{found['questions']} questions in {found['file']}"]
        print_json(found) if json_ else say("\n".join(shown))


def table(
    subject: Annotated[str, typer.Argument(help="A checkpoint directory, a hub name, zoo:NAME, or a DIR.")],
    ask: Annotated[
        list[str], typer.Option(metavar="WORDING", help="What is asked, with {} for each subject. May be repeated.")
    ],
    of: Annotated[Path, typer.Option(metavar="SUBJECTS.txt", help="The subjects, one a line.")],
    answers: Annotated[
        Path | None,
        typer.Option(metavar="ANSWERS.txt", help="Choose among these, one a line; else among those that it gives."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the table there; - is standard output.")
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="WORDING is what a user says: the chat template makes a conversation of it.")
    ] = False,
    trust: Trust = False,
    json_: AsJson = False,
) -> None:
    """Fill a table by asking SUBJECT in several wordings: one line a subject, with agreement, margin and chance.

    An answer is the one of all answers that is likelier behind the prompt than it is of other subjects, in most
    wordings; beside it stands what is said plainly. Where a fact is carried (its tie) is found by `pellucid accounts`.
    """
    with plain_errors():
        from pellucid.accounts.table_command import STANDARD_OUTPUT, asked, csv_text, lines, write_csv
        from pellucid.base.errors import PellucidError

        if csv == STANDARD_OUTPUT and json_:
            raise PellucidError("--csv - and --json both print on standard output; give --csv a file")
        found = asked(subject, ask, of, answers, trust=trust, chat=chat)
        if csv == STANDARD_OUTPUT:
            say(csv_text(found).removesuffix("\n"))
            return
        if csv is not None:
            write_csv(found, csv)
        print_json(found.to_dict()) if json_ else say("\n".join(lines(found)))
