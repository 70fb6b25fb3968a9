"""Commands that change a program, show what changed, and write it as a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from pellucid.base.terminal import say
from pellucid.cli.options import AsJson, Corpus, Directory, SubjectPath, Trust
from pellucid.cli.output import plain_errors, print_json


def diff(
    directory: Directory,
    against: Annotated[
        str | None, typer.Option(metavar="SUBJECT|DIR2", help="Compare with this instead of the subject of DIR.")
    ] = None,
    corpus: Corpus = None,
    trust: Trust = False,
    subject: SubjectPath = None,
    json_: AsJson = False,
) -> None:
    """Show which parts of the program in DIR changed, and which of its predictions, worst first."""
    with plain_errors():
        from pellucid.project.project import Project
        from pellucid.rewrite.diff import diff as compared
        from pellucid.rewrite.show import print_diff

        found = compared(Project.open(directory, trust=trust, subject=subject), against, tuple(corpus or ()))
        print_json(found.to_dict()) if json_ else print_diff(found)


def edit(
    directory: Directory,
    fact: Annotated[
        tuple[str, str] | None, typer.Option(metavar="PROMPT ANSWER", help="Say ANSWER behind PROMPT, in any wording.")
    ] = None,
    forget: Annotated[str | None, typer.Option(metavar="PROMPT", help="Know no more of it than of others.")] = None,
    when: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Of a rule: right behind this text; ` *` is any one token.")
    ] = None,
    prefer: Annotated[str | None, typer.Option(metavar="TOKEN", help="Of a rule: what to say.")] = None,
    over: Annotated[str | None, typer.Option(metavar="TOKEN", help="Of a rule: in the place of what.")] = None,
    read: Annotated[
        tuple[str, str] | None, typer.Option(metavar="TOKEN OTHER", help="Read TOKEN as if OTHER stood there.")
    ] = None,
    suppress: Annotated[list[str] | None, typer.Option(metavar="TOKEN", help="Never say it. May be repeated.")] = None,
    commit: Annotated[
        str | None, typer.Option(metavar="PART", help="Record the source of PART, which you changed, as an edit.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="DIR2", help="With --commit: a copy of DIR as it was before.")
    ] = None,
    tables: Annotated[
        bool,
        typer.Option("--tables", help="Let it say what you changed in program/accounts/tables/, a line each."),
    ] = False,
    undo: Annotated[list[str] | None, typer.Option(metavar="ID", help="Undo an edit. May be repeated.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List all edits.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Locate and predict, and write nothing.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Make it although its effect cannot be predicted.")] = False,
    trust: Trust = False,
    subject: SubjectPath = None,
    json_: AsJson = False,
) -> None:
    """Edit the program in DIR: located, predicted, then made and measured; or undo, list, or record by hand."""
    with plain_errors():
        from pellucid.project.project import Project
        from pellucid.rewrite.command import Intent, committed, make, opened, propose, undone
        from pellucid.rewrite.edit import read_records
        from pellucid.rewrite.show import list_lines, record_lines
        from pellucid.rewrite.tables_show import edit_lines

        several = tuple(suppress or ()), commit, tuple(undo or ()), list_, tables
        intent = Intent(fact, forget, when, prefer, over, read, *several)
        intent.require_one()
        if list_:
            records = read_records(Project.open(directory).directory)
            print_json([r.to_dict() for r in records]) if json_ else say("\n".join(list_lines(records)))
            return
        project = Project.open(directory, trust=trust, subject=subject)
        project.require_trust()
        if undo:
            records = undone(project, undo)
            print_json([r.to_dict() for r in records]) if json_ else say(
                "\n".join(f"undone: {r.what}" for r in records)
            )
            return
        if commit is not None:
            record = committed(project, commit, against)
            print_json(record.to_dict()) if json_ else say("\n".join(record_lines(record)))
            return
        bench = opened(project)
        if tables:
            edit_lines(bench, dry_run=dry_run, anyway=anyway, as_json=json_)
            return
        made = propose(bench, intent)
        if not json_:
            say("\n".join(made.lines()))
        if not dry_run:
            made = replace(made, record=make(bench, made, anyway=anyway))
        if json_:
            print_json(made.to_dict())
        elif made.record:
            say("\n".join(record_lines(made.record)))


def export(
    directory: Directory,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="CHECKPOINT", help="The directory to write, which is not there.")
    ],
    trust: Trust = False,
    subject: SubjectPath = None,
    json_: AsJson = False,
) -> None:
    """Write the program in DIR, with its edits, as a checkpoint for Transformers, and compare the logits of both."""
    with plain_errors():
        from pellucid.project.project import Project
        from pellucid.rewrite.export import export

        found = export(Project.open(directory, trust=trust, subject=subject), output)
        print_json(found.to_dict()) if json_ else say(found.lines)


def migrate(
    directory: Directory,
    trust: Trust = False,
    subject: SubjectPath = None,
    json_: AsJson = False,
) -> None:
    """Bring a program in DIR that an earlier version wrote to the format of this one, edits and all."""
    with plain_errors():
        from pellucid.pipeline.migrate import FORMAT
        from pellucid.pipeline.migrate import migrate as migrated
        from pellucid.project.project import Project

        written = migrated(Project.open(directory, trust=trust, subject=subject))
        if json_:
            print_json({"format": FORMAT, "written": written})
        elif written:
            say(f"{directory} is of format {FORMAT} now; written anew: {', '.join(written)}, weights.safetensors")
        else:
            say(f"{directory} is of format {FORMAT} already")
