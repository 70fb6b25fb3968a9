"""`pellucid decompile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pellucid.base.defaults import LARGEST_SEED
from pellucid.base.effort import Effort
from pellucid.base.terminal import say, tell
from pellucid.cli.options import AsJson, Corpus, FitCorpus, Quick, Trust, finite
from pellucid.cli.output import finish, plain_errors, print_json


def decompile(
    subject: Annotated[str, typer.Argument(help="A checkpoint directory, a hub name such as OWNER/NAME, or zoo:NAME.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the program goes.")],
    revision: Annotated[
        str | None, typer.Option(metavar="REVISION", help="Branch, tag or commit of a hub model, as in NAME@REVISION.")
    ] = None,
    corpus: Corpus = None,
    fit_corpus: FitCorpus = None,
    size: Annotated[
        Literal["small", "medium", "large"], typer.Option(help="Numbers that all sources may hold: 1, 5 or 20 %.")
    ] = "medium",
    quick: Quick = False,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Everything that is drawn at random is drawn from this.")
    ] = 0,
    raw: Annotated[bool, typer.Option("--raw", help="Stop at the program that runs wholly from the weights.")] = False,
    understand: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="STEPS",
            help="Train sources over kinds of tokens and named values for so many steps of at most 2,048 tokens.",
            show_default=False,
        ),
    ] = None,
    stray: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            callback=finite,
            metavar="SHARE",
            help="With --understand: put random tokens into this share of the text that is trained on.",
            show_default=False,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="MINUTES",
            help="Train for as many steps as about so many minutes of one core are, by the size of the model alone; "
            "3 the first time, 1.5 with --quick. 0 finds each source by itself. --understand says the steps instead.",
            show_default=False,
        ),
    ] = None,
    tune: Annotated[
        float,
        typer.Option(
            min=0,
            callback=finite,
            metavar="MINUTES",
            help="Tune the vectors of lifted parts together, for so long at most.",
        ),
    ] = 0.0,
    gate: Annotated[
        Literal["both", "next"] | None,
        typer.Option(
            help="What the full program must get right: next words and 16 words (both), or next words alone.",
            show_default="both",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Where training and tuning run: cpu, cuda or cuda:1.")
    ] = "cpu",
    keep_weak: Annotated[
        bool | None,
        typer.Option(
            "--keep-weak/--drop-weak",
            help="Also write sources that remove less than a fifth of what the mean costs.",
            show_default=False,
        ),
    ] = None,
    weightless: Annotated[
        bool | None,
        typer.Option(
            "--weightless/--weights",
            help="Write an ordinary program without weights; the default for algorithmic models with task and rows.",
            show_default=False,
        ),
    ] = None,
    accounts: Annotated[
        bool | None,
        typer.Option(
            "--accounts/--no-accounts",
            help="End with accounts: short programs for what the model says. The default but with --quick and --raw.",
            show_default=False,
        ),
    ] = None,
    trust: Trust = False,
    json_: AsJson = False,
) -> None:
    """Write the source of SUBJECT to DIR, and measure it on held-out text.

    A small algorithmic model becomes an ordinary program without weights; where that misses what is asked of it the
    exit code is 3.
    """
    with plain_errors():
        from pellucid.accounts.find.command import follow
        from pellucid.pipeline.decompile import Request
        from pellucid.pipeline.decompile import decompile as decompiled
        from pellucid.subject.locate import at_revision
        from pellucid.weightless.decompile import decompile_weightless, suits
        from pellucid.weightless.show import EXIT_MISSED
        from pellucid.weightless.show import show as show_weightless

        subject = str(at_revision(subject, revision))
        if weightless or (weightless is None and not raw and not corpus and suits(subject)):
            said_too = {"--understand": understand, "--stray": stray, "--tune": tune, "--gate": gate, "--quick": quick}
            said_too |= {"--size": size != "medium", "--seed": seed, "--device": device != "cpu", "--minutes": minutes}
            if ignored := [option for option, value in said_too.items() if value]:
                tell(
                    f"{subject} becomes an ordinary program without weights, where {', '.join(ignored)} change"
                    f"{'s' * (len(ignored) == 1)} nothing; give --weights to decompile it as other models are"
                )
            found = decompile_weightless(subject, output)
            print_json(found.figures.to_dict()) if json_ else show_weightless(output)
            if found.figures.misses:
                raise typer.Exit(EXIT_MISSED)
            return
        request = Request(
            subject=subject,
            directory=output,
            corpus=tuple(corpus or ()),
            fit_corpus=tuple(fit_corpus or ()),
            size=size,
            effort=Effort.of(quick),
            seed=seed,
            raw=raw,
            trust=trust,
            understand=understand,
            stray=stray,
            tune=tune,
            gate=gate,
            device=device,
            keep_weak=keep_weak,
            minutes=minutes,
        )
        project = decompiled(request)
        account = follow(project) if (accounts if accounts is not None else not (quick or raw)) else []
        finish(project, json_)
        say("\n".join(account)) if account and not json_ else None
