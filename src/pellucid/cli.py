"""The command line: a thin coat over `pellucid.load`, `pellucid.open` and `decompile`.

Every command ends with code 0, or with one clear line on standard error and code 2 for input that it cannot use.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pellucid import __version__
from pellucid.accounts.cards import print_cards
from pellucid.accounts.command import metered, tested
from pellucid.accounts.described import cards, naming
from pellucid.accounts.find.command import FEWEST, PLACES, follow, found_anew
from pellucid.accounts.find.run import PRICE
from pellucid.accounts.here import Here, here
from pellucid.accounts.questions import LEAST as LEAST_QUESTIONS
from pellucid.accounts.show import lines as account_lines
from pellucid.accounts.show import marks
from pellucid.accounts.table_command import STANDARD_OUTPUT, asked, csv_text, write_csv
from pellucid.accounts.table_command import lines as table_lines
from pellucid.base.address import Address
from pellucid.base.errors import PellucidError
from pellucid.base.files import write_text
from pellucid.base.lock import writing
from pellucid.base.nulls import nulled
from pellucid.base.output import print_anything
from pellucid.base.progress import working
from pellucid.base.shell import quoted
from pellucid.base.signals import Stopped, answer_signals, exit_code
from pellucid.base.terminal import json_text, say, tell, terminal
from pellucid.experiment.subjects import model_of
from pellucid.experiment.why import TOP, why
from pellucid.listing.parse import pages_of
from pellucid.match.check import check, moved, print_check
from pellucid.match.decompile import Request, decompile
from pellucid.match.examine import examine
from pellucid.match.front import front
from pellucid.match.lines import Where, where
from pellucid.match.manifest import LARGEST_SEED, MANIFEST
from pellucid.match.next import next_parts, print_suggestions
from pellucid.match.project import REPORT, Project
from pellucid.match.running import open_subject
from pellucid.match.scoreboard import show as show_scoreboard
from pellucid.match.scratch import print_scratch, scratch
from pellucid.match.show import describe, figures_dict, print_figures, print_parts
from pellucid.match.verify import verify as verify_program
from pellucid.match.watch import watch
from pellucid.match.weightless.decompile import decompile_weightless, suits
from pellucid.match.weightless.functions import functions
from pellucid.match.weightless.said import print_said, refuse, said, said_dict
from pellucid.match.weightless.saved import is_weightless, read_figures
from pellucid.match.weightless.show import EXIT_MISSED, show_functions
from pellucid.match.weightless.show import show as show_weightless
from pellucid.match.weightless.timeline import JSON, PNG, SECONDS, timeline
from pellucid.match.weightless.timeline import show as show_timeline
from pellucid.rewrite.command import Intent, committed, make, opened, propose, undone
from pellucid.rewrite.diff import diff
from pellucid.rewrite.edit import edited_lines, read_records
from pellucid.rewrite.idle import warning
from pellucid.rewrite.show import list_lines, print_diff, record_lines
from pellucid.rewrite.tables_show import edit_lines
from pellucid.subject.locate import at_revision
from pellucid.subject.tokenizer import ids_in
from pellucid.view.front import drawn as drawn_front
from pellucid.view.front import table as front_table
from pellucid.view.pictures import graph, picture
from pellucid.view.report import write_page
from pellucid.view.timeline import drawn
from pellucid.zoo import registry
from pellucid.zoo.village import Village

app = typer.Typer(
    name="pellucid",
    help="A decompiler for trained transformers: from checkpoint to readable, runnable, verified Python.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
zoo = typer.Typer(help="The subjects that ship with pellucid.", no_args_is_help=True)
app.add_typer(zoo, name="zoo")

STORY_END = "<|endoftext|>"
MILLION = 1e6
TOKENS = 20
"""How many tokens `run` produces if nothing is said."""
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A directory that `decompile` wrote.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output instead of text.")]
AsIds = Annotated[bool, typer.Option("--ids", help="PROMPT is token ids, such as '464 3139 286'.")]
Trust = Annotated[bool, typer.Option("--trust", help="Run the program in DIR although it was not made here.")]
Quick = Annotated[
    bool,
    typer.Option("--quick", help="At most 500 contexts, as many as 90 s allow, instead of 5,000; how many is said."),
]
Corpus = Annotated[
    list[Path] | None,
    typer.Option(
        help="Text to measure on, and to fit on if there is no --fit-corpus: files or folders (.txt, .gz, .xz; "
        "documents separated by <|endoftext|>). May be repeated."
    ),
]
FitCorpus = Annotated[
    list[Path] | None,
    typer.Option(help="Other text to fit and tune on; all of --corpus is then held out. Files or folders as there."),
]
Watch = Annotated[bool, typer.Option("--watch", help="Repeat whenever the file of the part is saved.")]
SubjectPath = Annotated[
    str | None, typer.Option("--subject", help="Where the subject is now, if it has moved; its hashes must match.")
]


def finite(value: float | None) -> float | None:
    """An option that is a number. Bounds alone let `nan` pass, which no comparison refuses, and `inf`."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what a user can fix into one line and its exit code; without a terminal, tell what takes long."""
    try:
        with working("still at work"):
            yield
    except PellucidError as error:
        tell(f"pellucid: {' '.join(str(error).split())}")
        raise typer.Exit(error.exit_code) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        tell(f"pellucid: {error.filename or 'the operating system'}: {error.strerror or error}")
        raise typer.Exit(PellucidError.exit_code) from None
    except KeyboardInterrupt as error:
        what = "stopped" if isinstance(error, Stopped) else "interrupted"
        tell(f"pellucid: {what}; run the same command again to go on from here")
        raise typer.Exit(exit_code(error)) from None


def print_json(data: Any) -> None:
    """Print `data` as JSON on standard output."""
    say(json_text(data))


def _version(wanted: bool) -> bool:
    if wanted:
        say(f"pellucid {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def main_options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """A decompiler for trained transformers."""


@app.command("decompile")
def decompile_command(
    subject: Annotated[str, typer.Argument(help="A checkpoint directory, a hub name such as gpt2, or zoo:NAME.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the program goes.")],
    revision: Annotated[
        str | None, typer.Option(metavar="REVISION", help="Branch, tag or commit of a hub model, as in gpt2@REVISION.")
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
        texts = tuple(corpus or ()), tuple(fit_corpus or ())
        request = Request(
            subject,
            output,
            *texts,
            size,
            quick,
            seed,
            raw,
            trust,
            understand,
            stray,
            tune,
            gate,
            device,
            keep_weak,
            minutes,
        )
        project = decompile(request)
        account = follow(project) if (accounts if accounts is not None else not (quick or raw)) else []
        finish(project, json_)
        say("\n".join(account)) if account and not json_ else None


@app.command()
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
        project = Project.open(directory, trust=trust, subject=subject)
        if address is not None:
            found = project.listing().config.shape.match(address)
            repeated(project, found, lambda: examine_all(project, found, quick, json_), watching)
            return
        if watching:
            raise PellucidError("--watch repeats the measurement of a part; name one, such as L00.H01.QK")
        verify_program(project, quick=quick)
        finish(project, json_, "source_only" if source_only else "full")


@app.command("front")
def front_command(
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
        project = Project.open(directory, trust=trust, subject=subject)
        target = output or directory
        with nullcontext() if output else writing(directory):
            found = front(project, quick=quick)
            write_text(target / "front.json", json.dumps(nulled(found.to_dict()), indent=1) + "\n")
            drawn_front(found).save_png(target / "front.png")
        print_json(found.to_dict()) if json_ else terminal().print(front_table(found))


@app.command("next")
def next_command(
    directory: Directory,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many parts to list.")] = 15,
    subject: SubjectPath = None,
    json_: AsJson = False,
) -> None:
    """List the parts that are most worth working on, those that leave most unexplained first."""
    with plain_errors():
        found = next_parts(Project.open(directory, subject=subject), count)
        print_json([entry.to_dict() for entry in found]) if json_ else print_suggestions(found)


@app.command("scratch")
def scratch_command(
    directory: Directory,
    address: Annotated[str, typer.Argument(help="Where a head looks or when a neuron fires, such as L00.H01.QK.")],
    watching: Watch = False,
    trust: Trust = False,
    subject: SubjectPath = None,
    json_: AsJson = False,
) -> None:
    """Try the source of a part on frozen text: edit it in program/ and try again in seconds, without the model."""
    with plain_errors():
        project = Project.open(directory, trust=trust, subject=subject)

        def once() -> None:
            found = scratch(project, address)
            print_json(found.to_dict()) if json_ else print_scratch(found)

        repeated(project, project.listing().config.shape.match(address), once, watching)


@app.command("check")
def check_command(
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
        project = moved(Project.open(directory, trust=trust), subject, corpus or (), fit_corpus or ())
        found = check(project, against, measured=not no_measure, full=full)
        print_json(found.to_dict()) if json_ else print_check(found)
        if not found.passed:
            raise typer.Exit(1)


@app.command()
def run(
    directory: Directory,
    prompt: Annotated[str, typer.Argument(help="The text to go on from.")],
    tokens: Annotated[int, typer.Option(min=1, help="How many tokens to produce at most.")] = TOKENS,
    source_only: Annotated[bool, typer.Option("--source-only", help="Switch every QK and IN residual off.")] = False,
    temperature: Annotated[
        float, typer.Option(help="Draw tokens at this temperature; at 0 the likeliest is said.")
    ] = 0.0,
    top_p: Annotated[float, typer.Option(help="Draw among the likeliest tokens that hold so much probability.")] = 1.0,
    seed: Annotated[int, typer.Option(help="What is drawn, is drawn from it.")] = 0,
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="End before this text. May be repeated.")
    ] = None,
    ids: AsIds = False,
    trust: Trust = False,
    json_: AsJson = False,
) -> None:
    """Continue PROMPT with the program in DIR, with the likeliest tokens or with drawn ones.

    A program without weights says what comes next after each token of PROMPT (blanks between).
    """
    with plain_errors():
        if is_weightless(directory):
            given = {"--tokens": tokens != TOKENS, "--source-only": source_only, "--temperature": temperature != 0}
            given |= {"--top-p": top_p != 1, "--seed": seed != 0, "--stop": bool(stop), "--ids": ids}
            refuse([name for name, is_given in given.items() if is_given])
            answers = said(directory, prompt, trust=trust)
            print_json(said_dict(prompt, answers)) if json_ else print_said(answers)
            return
        project = Project.open(directory, trust=trust)
        how: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "seed": seed, "stop": stop or ()}
        if ids:
            listed = ids_in(prompt, project.listing().config.vocab_size, project.manifest.subject.name)
            text = " ".join(map(str, project.next_ids(listed, tokens, source_only=source_only, **how)))
            prompt = f"{' '.join(map(str, listed))} "
        else:
            text = project.generate(prompt, tokens, source_only=source_only, **how)
        if unheard := warning(project, "code" if source_only else None):
            tell(f"pellucid: {unheard}")
        print_json({"prompt": prompt, "continuation": text}) if json_ else say(prompt + text)


@app.command("why")
def why_command(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT|DIR", help="A subject, or a directory of its program.")],
    prompt: Annotated[str, typer.Argument(help="The text whose continuation is to be explained.")],
    instead: Annotated[
        str | None, typer.Option(help="A token that could have been said; without it, the runner-up.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many parts to verify.")] = TOP,
    source_only: Annotated[
        bool, typer.Option("--source-only", help="Switch every QK and IN residual of DIR off.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Save a picture as one HTML file.")] = None,
    png: Annotated[Path | None, typer.Option(help="Save a picture as PNG.")] = None,
    ids: AsIds = False,
    graph_: Annotated[
        Path | None, typer.Option("--graph", help="Save a graph of the parts: a name in .png, .svg or .html.")
    ] = None,
    trust: Trust = False,
    json_: AsJson = False,
) -> None:
    """Explain what is said next after PROMPT: the parts that made it, ranked, and verified by ablating them.

    Of a directory it also shows the lines of source that one would change, and what its accounts say there.
    """
    with plain_errors():
        opened_subject = open_subject(subject, source_only=source_only, trust=trust)
        asked = ids_in(prompt, model_of(opened_subject).n_vocab, subject) if ids else prompt
        found = why(opened_subject, asked, instead, top=top)
        drawn = picture(found)
        if html:
            drawn.save_html(html)
        if png:
            drawn.save_png(png)
        if graph_:
            graph(found).save(graph_)
        more: list[Where | Here] = []
        if (Path(subject) / MANIFEST).is_file():
            project = Project.open(subject, trust=trust)
            spoken = here(project, asked)
            more = [where(found, project.listing(), subject), *([spoken] if spoken else [])]
        if json_:
            print_json(found.to_dict() | {key: value for one in more for key, value in one.to_dict().items()})
        else:
            say("\n\n".join([found.text, *(one.text for one in more)]))


@app.command("diff")
def diff_command(
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
        found = diff(Project.open(directory, trust=trust, subject=subject), against, tuple(corpus or ()))
        print_json(found.to_dict()) if json_ else print_diff(found)


@app.command("edit")
def edit_command(
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


@app.command("export")
def export_command(
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
        found = Project.open(directory, trust=trust, subject=subject).export(output)
        print_json(found.to_dict()) if json_ else say(found.lines)


@app.command("timeline")
def timeline_command(
    checkpoints: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Checkpoints of one training run, or folders of them.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help=f"Where {PNG} and {JSON} go.")] = Path(
        "timeline"
    ),
    seconds: Annotated[
        float, typer.Option(min=0, callback=finite, help="How long to search for the program of one.")
    ] = SECONDS,
    json_: AsJson = False,
) -> None:
    """Decompile the checkpoints of an algorithmic model, and draw when each piece of its mechanism appears."""
    with plain_errors():
        found = timeline(checkpoints, seconds)
        found.write(output)
        drawn(found).save_png(output / PNG)
        print_json(found.to_dict()) if json_ else show_timeline(found)


@app.command()
def report(directory: Directory, json_: AsJson = False) -> None:
    """Print the scoreboard of the last measurement of DIR."""
    with plain_errors():
        if is_weightless(directory):
            print_json(read_figures(directory)) if json_ else show_weightless(directory)
            return
        data = Project.open(directory).report()
        print_json(data) if json_ else show_scoreboard(data)


@app.command()
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
        if is_weightless(directory):
            found = functions(directory, address)
            print_json([function.to_dict() for function in found]) if json_ else show_functions(directory, address)
            return
        project = Project.open(directory)
        if told := cards(project, address, edited_lines(directory)):
            print_json([card.to_dict() for card in told]) if json_ else print_cards(told)
            return
        with naming(project, address):
            print_json(describe(project, address)) if json_ else print_parts(project, address)


@app.command("accounts")
def accounts_command(
    directory: Directory,
    measure: Annotated[bool, typer.Option("--measure", help="Find nothing; measure those that are there.")] = False,
    tokens: Annotated[
        int, typer.Option(min=FEWEST, metavar="TOKENS", help="Fit text that rules are found on, at most.")
    ] = PLACES,
    price: Annotated[
        float,
        typer.Option(
            min=0, help="How many of a million places a symbol must make right; more of it, shorter accounts."
        ),
    ] = MILLION * PRICE,
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
        project = Project.open(directory, trust=trust, subject=subject)
        found = metered(project, ties) if measure else found_anew(project, tokens, ties, price / MILLION)
        if found and (project.directory / REPORT).is_file():
            write_page(project)
        print_json(found) if json_ else say("\n".join(account_lines(found)))


@app.command("readers")
def readers_command(
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
        found = tested(Project.open(directory, subject=subject), count, seed, output, answers)
        shown = marks(found) if answers else [f"{found['questions']} questions in {found['file']}"]
        print_json(found) if json_ else say("\n".join(shown))


@app.command("table")
def table_command(
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
    trust: Trust = False,
    json_: AsJson = False,
) -> None:
    """Fill a table by asking SUBJECT in several wordings: one line a subject, with agreement, margin and chance.

    An answer is the one of all answers that is likelier behind the prompt than it is of other subjects, in most
    wordings; beside it stands what is said plainly. Where a fact is carried (its tie) is found by `pellucid accounts`.
    """
    with plain_errors():
        if csv == STANDARD_OUTPUT and json_:
            raise PellucidError("--csv - and --json both print on standard output; give --csv a file")
        found = asked(subject, ask, of, answers, trust)
        if csv == STANDARD_OUTPUT:
            say(csv_text(found).removesuffix("\n"))
            return
        if csv is not None:
            write_csv(found, csv)
        print_json(found.to_dict()) if json_ else say("\n".join(table_lines(found)))


@zoo.command("list")
def zoo_list(json_: AsJson = False) -> None:
    """List the subjects that ship with pellucid."""
    with plain_errors():
        if json_:
            print_json({name: registry.card(name) for name in registry.names()})
            return
        for name in registry.names():
            say(f"zoo:{name:<20} {registry.card(name)['summary']}")


@zoo.command("card")
def zoo_card(name: Annotated[str, typer.Argument(help="A name from `zoo list`.")], json_: AsJson = False) -> None:
    """Print how a zoo subject was trained and how well it follows its rules."""
    with plain_errors():
        name = name.removeprefix("zoo:")
        if json_:
            print_json(registry.card(name))
        else:
            say((registry.path(name) / "card.md").read_text(encoding="utf-8"))


@zoo.command("stories")
def zoo_stories(
    count: Annotated[int, typer.Option(min=1, help="How many stories.")] = 100,
    first: Annotated[int, typer.Option(min=0, help="The number of the first; a number is always the same story.")] = 0,
    split: Annotated[
        Literal["train", "test"], typer.Option(help="Stories and wordings as in training, or unseen ones.")
    ] = "test",
    json_: AsJson = False,
) -> None:
    """Print stories of the village, which the models zoo:village… were trained on, as a text to work on."""
    with plain_errors():
        texts = [story.text for story in Village().stories(split, first, count)]
        print_json(texts) if json_ else say(STORY_END.join(texts))


def examine_all(project: Project, addresses: list[Address], quick: bool, as_json: bool) -> None:
    """Measure the parts among `addresses` that have a source, and print their figures: by address if several may."""
    listing = project.listing()
    sources = [address for address in addresses if listing.form(address) != "raw"] or addresses[:1]
    found = {str(address): examine(project, address, quick=quick) for address in sources}
    if as_json:
        figures = {address: figures_dict(of_part) for address, of_part in found.items()}
        print_json(figures if len(addresses) > 1 else figures[str(addresses[0])])
        return
    for address, of_part in found.items():
        print_figures(address, of_part)


def repeated(project: Project, addresses: list[Address], action: Callable[[], None], watching: bool) -> None:
    """Run `action` once, or with `watching` whenever a file of `addresses` is saved."""
    if watching:
        project.require_trust()
        project.granted = True  # what is saved from now on is the work of whoever watches
        pages = sorted({page for address in addresses for page in pages_of(str(address))})
        watch([project.directory / "program" / page for page in pages], action)
    else:
        action()


def finish(project: Project, as_json: bool, domains_of: str = "full") -> None:
    """Write the report, and say what came out (the domains for the program `domains_of`) and where it lies."""
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


def main() -> None:
    """Run the command line."""
    answer_signals()
    print_anything()
    app()
