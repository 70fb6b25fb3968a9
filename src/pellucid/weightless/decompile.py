"""From the directory of an algorithmic model to its program, measured: the one route for every model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from pellucid.base.errors import ProjectError, SubjectError
from pellucid.base.files import write_text
from pellucid.base.lock import writing
from pellucid.base.progress import working
from pellucid.exact.model import Model
from pellucid.project.trust import trust
from pellucid.subject.load import load_subject
from pellucid.subject.locate import locate
from pellucid.weightless import describe, mechanism, search
from pellucid.weightless.clock import decompiled_clock
from pellucid.weightless.emit import count, files, json_text, lines, program_text
from pellucid.weightless.hooked import is_hooked, load_hooked
from pellucid.weightless.language import WeightlessProgram
from pellucid.weightless.measure import Match, match
from pellucid.weightless.probes import draw_probes
from pellucid.weightless.runner import Runner
from pellucid.weightless.sample import sampled, with_pairs
from pellucid.weightless.saved import REPORT
from pellucid.weightless.split import BandSplit, split
from pellucid.weightless.task import INPUTS, TASK, Task, TaskRow, read_task
from pellucid.weightless.teacher import read
from pellucid.weightless.threads import one_thread
from pellucid.weightless.verdict import Figures

LARGEST_VOCABULARY = 1000
SEARCH_SECONDS = 120.0
PROBES, SWAPPED = 300, 60


@dataclass(frozen=True, eq=False)
class Decompiled:
    """The files of a program by name, and its figures."""

    files: dict[str, str]
    figures: Figures

    @property
    def text(self) -> str:
        """The program itself."""
        return self.files["program/program.py"]

    def write(self, directory: Path) -> None:
        """Write the program and its figures to `directory`."""
        for name, text in self.files.items():
            write_text(directory / name, text)
        write_text(directory / REPORT, json_text(self.figures.to_dict(), indent=1))


def suits(subject: str) -> bool:
    """Whether a subject is an algorithmic model: it says its task and has rows, and its vocabulary is small."""
    if not subject.startswith("zoo:") and not Path(subject).is_dir():
        return False  # rows are not fetched from the hub
    try:
        path = locate(subject).path
    except SubjectError:
        return False
    if not (path / TASK).is_file() or not (path / INPUTS).is_file():
        return False
    return len(read_task(path).vocabulary) < LARGEST_VOCABULARY


def decompile_weightless(subject: str, directory: Path, seconds: float = SEARCH_SECONDS) -> Decompiled:
    """Write the program of `subject` to `directory` with its figures in `weightless.json`.

    Raises `ProjectError` where `directory` holds something else, `SubjectError` where the subject cannot be read.
    """
    if directory.is_file() or (directory.is_dir() and any(directory.iterdir()) and not (directory / REPORT).is_file()):
        raise ProjectError(f"{directory} is not empty and has no {REPORT}: it is not ours; name another directory")
    path = locate(subject).path
    with working("searching for a program"):
        found = decompiled(path, seconds)
    with writing(directory, make=True):
        found.write(directory)
        trust(directory)
    return found


@one_thread()
def decompiled(path: Path, seconds: float = SEARCH_SECONDS) -> Decompiled:
    """The program of the model in `path`, with its figures; nothing is written.

    All of it runs on one thread, so that nothing depends on how many there are.
    """
    start = perf_counter()
    task = read_task(path)
    if is_hooked(path):
        return Decompiled(*decompiled_clock(load_hooked(path), with_pairs(task), _title(task)))
    model = Model(load_subject(path))
    task = task if task.rows else sampled(task, model)
    rows = split(task)
    chosen = search.best(search.Search.of(model, task, rows), seconds)
    figures = measured(model, task, rows, chosen.program, start)
    notes = describe.docstrings(chosen.program, figures.mechanism, model.decoder.layers)
    notes[""] = f"\n{figures.verdict}: {figures.summary}."
    program = chosen.program.with_notes(notes)
    return Decompiled(files(program, program_text(program, _title(task))), figures)


def _title(task: Task) -> str:
    return f"{task.name} as a program without weights."


def measured(model: Model, task: Task, rows: BandSplit, program: WeightlessProgram, start: float) -> Figures:
    """The figures of `program` on held-out rows and on probes that nothing was fitted on."""
    runner, kind = Runner(program), task.answer
    bands = {band: match(runner, read(model, part, kind)) for band, part in rows.heldout.items() if part}
    heldout = rows.heldout[task.trained] or rows.fit
    seen = {row.ids for part, seed in search.probe_draws(rows) for row in search.probes_of(task, part, seed)}
    probes = draw_probes(task, heldout, PROBES, 31, seen)
    measured_on = [*heldout[:SWAPPED], *probes[:SWAPPED]]
    return Figures(
        name=task.name,
        trained=task.trained,
        match=bands,
        accuracy=task.accuracy,
        probes=_match(runner, model, probes, task),
        mechanism=mechanism.interchanges(program, model, task, read(model, measured_on, kind), seed=32),
        numbers=count(runner.text),
        parameters=model.subject.parameters,
        lines=lines(runner.text),
        seconds=perf_counter() - start,
        summary=describe.summary(program),
        enumerated=rows.enumerated,
        sampled=task.sampled,
        cautions=program.cautions,
    )


def _match(runner: Runner, model: Model, probes: list[TaskRow], task: Task) -> Match | None:
    return match(runner, read(model, probes, task.answer)) if probes else None
