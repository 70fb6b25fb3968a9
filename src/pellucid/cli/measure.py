"""Commands that measure a program, or a part of it, and say what is left to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pellucid.base.effort import Effort
from pellucid.cli.options import AsJson, Corpus, Directory, FitCorpus, Quick, SubjectPath, Trust, Watch
from pellucid.cli.output import finish, plain_errors, print_json

if TYPE_CHECKING:
    from pellucid.base.address import Address
    from pellucid.project.project import Project


def verify(
    directory: Directory,
    address: Annotated[
        str | None, typer.Argument(help="One part, such as L00.H01.QK; without it, the program.")
    ] = None,
    source_only: Annotated[bool, typer.Option("--source-only", help="Show its domains instead.")] = False,
    quick: Quick = False,
    watching: Watch = False,
    trust: Trust = False,
    subject: SubjectPath = None,
    json_: AsJson = False,
) -> None:
    """Measure the program in DIR, or one part of it, against its subject on held-out text."""
    with plain_errors():
        from pellucid.base.errors import PellucidError
        from pellucid.project.project import Project
        from pellucid.verify.verify import verify as verified

        project = Project.open(directory, trust=trust, subject=subject)
        if address is not None:
            found = project.listing().decoder.addresses.match(address)
            repeated(project, found, lambda: examine_all(project, found, Effort.of(quick), json_), watching)
            return
        if watching:
            raise PellucidError("--watch repeats the measurement of a part; name one, such as L00.H01.QK")
        verified(project, Effort.of(quick))
        finish(project, json_, "source_only" if source_only else "full")


def front(
    directory: Directory,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Where front.png and front.json go; else DIR.")
    ] = None,
    quick: Quick = False,
    trust: Trust = False,
    subject: SubjectPath = None,
    json_: AsJson = False,
) -> None:
    """Draw fidelity against program size: the programs in DIR, lifting at several ranks, and the references."""
    with plain_errors():
        from pellucid.base.files import write_text
        from pellucid.base.lock import writing
        from pellucid.base.nulls import nulled
        from pellucid.base.terminal import terminal
        from pellucid.project.project import Project
        from pellucid.verify.front import front as measured
        from pellucid.view.front import drawn, table

        project = Project.open(directory, trust=trust, subject=subject)
        target = output or directory
        with nullcontext() if output else writing(directory):
            found = measured(project, Effort.of(quick))
            write_text(target / "front.json", json.dumps(nulled(found.to_dict()), indent=1) + "\n")
            drawn(found).save_png(target / "front.png")
        print_json(found.to_dict()) if json_ else terminal().print(table(found))


def next_(
    directory: Directory,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many parts to list.")] = 15,
    subject: SubjectPath = None,
    json_: AsJson = False,
) -> None:
    """List the parts that are most worth working on, those that leave most unexplained first."""
    with plain_errors():
        from pellucid.project.project import Project
        from pellucid.verify.next import next_parts
        from pellucid.view.next_text import print_suggestions

        found = next_parts(Project.open(directory, subject=subject), count)
        print_json([entry.to_dict() for entry in found]) if json_ else print_suggestions(found)


def scratch(
    directory: Directory,
    address: Annotated[str, typer.Argument(help="Where a head looks or when a neuron fires, such as L00.H01.QK.")],
    watching: Watch = False,
    trust: Trust = False,
    subject: SubjectPath = None,
    json_: AsJson = False,
) -> None:
    """Try the source of a part on frozen text: edit it in program/ and try again in seconds, without the model."""
    with plain_errors():
        from pellucid.project.project import Project
        from pellucid.verify.scratch import scratch as tried
        from pellucid.view.scratch_text import print_scratch

        project = Project.open(directory, trust=trust, subject=subject)

        def once() -> None:
            found = tried(project, address)
            print_json(found.to_dict()) if json_ else print_scratch(found)

        repeated(project, project.listing().decoder.addresses.match(address), once, watching)


def check(
    directory: Directory,
    against: Annotated[Path | None, typer.Option(help="Another report.json to compare with.")] = None,
    no_measure: Annotated[bool, typer.Option("--no-measure", help="Compare what was measured already.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Measure on 5,000 contexts instead of 500.")] = False,
    corpus: Corpus = None,
    fit_corpus: FitCorpus = None,
    trust: Trust = False,
    subject: SubjectPath = None,
    json_: AsJson = False,
) -> None:
    """Exit with code 1 if anything in DIR got worse since its last report; nothing is written.

    Text that is not where it was is given again with --corpus and --fit-corpus; its hashes must match.
    """
    with plain_errors():
        from pellucid.project.project import Project
        from pellucid.verify.check import check as checked
        from pellucid.verify.check import moved
        from pellucid.view.check_text import print_check

        project = moved(Project.open(directory, trust=trust), subject, corpus or (), fit_corpus or ())
        found = checked(project, against, measured=not no_measure, full=full)
        print_json(found.to_dict()) if json_ else print_check(found)
        if not found.passed:
            raise typer.Exit(1)


def examine_all(project: Project, addresses: list[Address], effort: Effort, as_json: bool) -> None:
    """Measure the parts among `addresses` that have a source, and print their figures: by address if several may."""
    from pellucid.verify.examine import examine
    from pellucid.view.parts_text import figures_dict, print_figures

    listing = project.listing()
    sources = [address for address in addresses if listing.form(address) != "raw"] or addresses[:1]
    found = {str(address): examine(project, address, effort) for address in sources}
    if as_json:
        figures = {address: figures_dict(of_part) for address, of_part in found.items()}
        print_json(figures if len(addresses) > 1 else figures[str(addresses[0])])
        return
    for address, of_part in found.items():
        print_figures(address, of_part)


def repeated(project: Project, addresses: list[Address], action: Callable[[], None], watching: bool) -> None:
    """Run `action` once, or with `watching` whenever a file of `addresses` is saved."""
    from pellucid.listing.statement import pages_of
    from pellucid.view.watch import watch

    if watching:
        project.require_trust()
        project.granted = True  # what is saved from now on is the work of whoever watches
        pages = sorted({page for address in addresses for page in pages_of(str(address))})
        watch([project.directory / "program" / page for page in pages], action)
    else:
        action()
