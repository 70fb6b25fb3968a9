"""The command that explains parts in words, and has explanations marked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pellucid.base.defaults import LARGEST_SEED
from pellucid.base.terminal import say
from pellucid.cli.options import AsJson, Directory, SubjectPath, Trust
from pellucid.cli.output import plain_errors, print_json


def explain(
    directory: Directory,
    parts: Annotated[
        list[str] | None, typer.Argument(help="Heads and neurons such as L02.H00; else those that carry most effect.")
    ] = None,
    count: Annotated[int, typer.Option("-n", min=1, max=10_000, help="How many parts, at most.")] = 200,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="What examples are drawn by.")] = 0,
    write: Annotated[
        Path | None,
        typer.Option(metavar="REQUESTS.jsonl", help="Write requests to readers there, in the format of batches."),
    ] = None,
    score: Annotated[
        bool, typer.Option("--score", help="With --write: have explanations marked on held-out text.")
    ] = False,
    read: Annotated[
        Path | None, typer.Option(metavar="ANSWERS.jsonl", help="Take what readers answered to such requests.")
    ] = None,
    by: Annotated[str, typer.Option(help="Who answered.")] = "reader",
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Ask a model behind an endpoint that speaks OpenAI's protocol; a key is read from PELLUCID_API_KEY.",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="The model there.")] = None,
    budget: Annotated[
        int | None, typer.Option(min=1, metavar="TOKENS", help="Tokens that the endpoint may cost, at most.")
    ] = None,
    trust: Trust = False,
    subject: SubjectPath = None,
    json_: AsJson = False,
) -> None:
    """Explain parts of the program in DIR in words, and score that on held-out text.

    Rules are found from what parts do, without a model. Readers, people or models, may explain and mark as well.
    """
    with plain_errors():
        from pellucid.base.errors import PellucidError
        from pellucid.explain import command
        from pellucid.explain.endpoint import Endpoint
        from pellucid.explain.kept import load
        from pellucid.project.project import Project

        if sum(one is not None for one in (write, read, endpoint)) > 1:
            raise PellucidError("expected one of --write, --read and --endpoint")
        if (endpoint is None) != (model is None):
            raise PellucidError("--endpoint and --model go together")
        if score and write is None:
            raise PellucidError("--score goes with --write REQUESTS.jsonl")
        project = Project.open(directory, trust=trust, subject=subject)
        if write is not None:
            asked = command.written(project, write, parts or (), count, seed, score=score)
            say(f"{asked:,} requests in {write}; take what is answered with --read ANSWERS.jsonl --by NAME")
            return
        if read is not None:
            _told(command.taken(project, read, by))
        elif endpoint is not None and model is not None:
            asked_of = Endpoint(endpoint, model, project.directory / command.CACHE, budget)
            for found in command.through(project, asked_of, parts or (), count, seed):
                _told(found)
            say(f"{asked_of.requests:,} requests, about {asked_of.spent:,} tokens at most")
        known = load(project) if read or endpoint else command.found(project, parts or (), count, seed)
        print_json(command.details(known)) if json_ else say("\n".join(command.lines(known)))


def _told(found: object) -> None:
    """Say what came of answers."""
    from pellucid.base.terminal import tell
    from pellucid.explain.work import Taken

    assert isinstance(found, Taken)
    tell(f"{found.explanations:,} explanations and {found.scores:,} marks taken")
    if found.failed:
        tell(f"{len(found.failed):,} answers have another shape than was asked for, such as that to {found.failed[0]}")
