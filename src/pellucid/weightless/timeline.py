"""Checkpoints of one training run, decompiled: when each piece of the mechanism appears."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from pellucid.base.defaults import TIMELINE_JSON, TIMELINE_SECONDS
from pellucid.base.errors import SubjectError
from pellucid.base.files import write_text
from pellucid.base.nulls import nulled
from pellucid.base.terminal import terminal
from pellucid.base.work import mapped, processes
from pellucid.exact.model import Model
from pellucid.subject.checkpoint import read_json
from pellucid.subject.load import load_subject
from pellucid.weightless.decompile import decompiled
from pellucid.weightless.fourier import Waves
from pellucid.weightless.hooked import Hooked, is_hooked, load_hooked
from pellucid.weightless.language import Alphabet
from pellucid.weightless.progress_measures import Progress, TaskRows, progress
from pellucid.weightless.sample import with_pairs
from pellucid.weightless.split import split
from pellucid.weightless.task import TASK, Task, TaskRow, by_band, read_task
from pellucid.weightless.teacher import logits, padded
from pellucid.weightless.verdict import Figures

SOLVED = 0.99


@dataclass(frozen=True, eq=False)
class Moment:
    """A checkpoint: its losses in nats and the share of rows it solves by band, its program, its progress measures.

    `loss` and `solved` are None where rows do not say what is right; `progress` is None where nothing is added.
    """

    name: str
    step: int
    loss: dict[str, float] | None
    solved: dict[str, float] | None
    figures: Figures
    progress: Progress | None

    @property
    def match(self) -> dict[str, float | None]:
        """The share of held-out rows on which program and model agree, by band."""
        return {band: match.rows.value for band, match in self.figures.match.items()}

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON; what was not measured is null."""
        return {
            "name": self.name,
            "step": self.step,
            "loss": self.loss,
            "solved": self.solved,
            "progress": None if self.progress is None else self.progress.to_dict(),
            "program": self.figures.to_dict(),
        }


@dataclass(frozen=True, eq=False)
class Timeline:
    """Checkpoints in the order of training; `waves` are the key frequencies that progress is measured with."""

    moments: tuple[Moment, ...]
    trained: str
    waves: Waves | None

    @property
    def milestones(self) -> dict[str, int | None]:
        """The first step from which on each of these stays true; None where the last checkpoint lacks it."""
        others = [band for band in (self.moments[-1].solved or {}) if band != self.trained]
        tests: dict[str, Callable[[Moment], bool]] = {
            f"solves {100 * SOLVED:.0f} % of rows in band {band}": _solves(band) for band in (self.trained, *others)
        }
        tests["the program says what the model says"] = lambda moment: (
            min(share or 0.0 for share in moment.match.values()) >= SOLVED
        )
        tests["decompiled"] = lambda moment: moment.figures.verdict == "decompiled"
        if self.waves:
            final = {frequency for frequency, _ in self.waves.weights}
            tests["all key frequencies are there"] = lambda moment: (
                moment.progress is not None and final <= set(moment.progress.frequencies)
            )
        return {name: self._since(test) for name, test in tests.items()}

    def _since(self, test: Callable[[Moment], bool]) -> int | None:
        since = None
        for moment in reversed(self.moments):
            if not test(moment):
                break
            since = moment.step
        return since

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON."""
        waves = None if self.waves is None else {str(frequency): weight for frequency, weight in self.waves.weights}
        return {
            "trained": self.trained,
            "key_frequencies": waves,
            "milestones": self.milestones,
            "moments": [moment.to_dict() for moment in self.moments],
        }

    def write(self, directory: Path) -> None:
        """Write `timeline.json` to `directory`."""
        write_text(directory / TIMELINE_JSON, json.dumps(nulled(self.to_dict()), indent=1, ensure_ascii=False) + "\n")


def _solves(band: str) -> Callable[[Moment], bool]:
    return lambda moment: moment.solved is not None and moment.solved.get(band, 0.0) >= SOLVED


def timeline(directories: Sequence[Path], seconds: float = TIMELINE_SECONDS, at_once: int = 1) -> Timeline:
    """Decompile the checkpoints in `directories` (or in the folders inside them), in order of their steps.

    So many are decompiled `at_once`, in processes of their own. Progress is measured with the key frequencies of the
    last one. Raises `SubjectError` where there are no checkpoints, or not of one run.
    """
    paths = checkpoints(directories)
    tasks = [read_task(path) for _, path in paths]
    if len({task.vocabulary for task in tasks}) > 1:
        raise SubjectError("these checkpoints have different vocabularies: give those of one training run")
    last = paths[-1][1]
    waves = None
    if is_hooked(last):
        task = with_pairs(tasks[-1])
        waves = TaskRows.of(load_hooked(last), task, _numbers(task)).waves()
    units = [(step, path, task, waves, seconds) for (step, path), task in zip(paths, tasks, strict=True)]
    with processes(min(at_once, len(units))) as crew:
        moments = [*mapped(_moment, units, "checkpoints", crew=crew)]
    return Timeline(tuple(moments), moments[-1].figures.trained, waves)


def checkpoints(directories: Sequence[Path]) -> list[tuple[int, Path]]:
    """Steps and directories in order. The step is `step` of `task.json`, or the last number of the directory's name."""
    found: list[Path] = []
    for directory in directories:
        inside = sorted(path.parent for path in directory.glob(f"*/{TASK}"))
        if not (directory / TASK).is_file() and not inside:
            raise SubjectError(
                f"{directory} is no checkpoint of an algorithmic model, and holds none: a checkpoint has a {TASK}, "
                "a config.json and a model.safetensors"
            )
        found += [directory] if (directory / TASK).is_file() else inside
    steps = [_step(path) for path in found]
    known = [at if step is None else step for at, step in enumerate(steps)]
    order = known if None not in steps else list(range(len(found)))
    return sorted(zip(order, found, strict=True), key=lambda entry: entry[0])


def _step(path: Path) -> int | None:
    said = read_json(path / TASK).get("step")
    if isinstance(said, int) and not isinstance(said, bool):
        return said
    digits = re.findall(r"\d{1,12}", path.name)
    return int(digits[-1]) if digits else None


def _moment(unit: tuple[int, Path, Task, Waves | None, float]) -> Moment:
    """One checkpoint: its step, directory and task, the waves that progress is measured with, and the time it has."""
    step, path, task, waves, seconds = unit
    figures = decompiled(path, seconds).figures
    if waves is not None and is_hooked(path):
        model, task = load_hooked(path), with_pairs(task)
        pairs = TaskRows.of(model, task, _numbers(task))
        return Moment(path.name, step, pairs.losses(), pairs.solved(), figures, progress(model, pairs, waves))
    loss, solved = _of_rows(Model(load_subject(path)), task)
    return Moment(path.name, step, loss, solved, figures, None)


def _numbers(task: Task) -> int:
    return int((Alphabet.of(task).number >= 0).sum())


def _of_rows(model: Model | Hooked, task: Task) -> tuple[dict[str, float] | None, dict[str, float] | None]:
    """Cross-entropy of the next tokens at scored places, and the share of rows right at all of them, by band.

    Rows only say what is right where answers are single tokens and rows go on behind the scored places.
    """
    goes_on = all(max(row.scored) + 1 < len(row.ids) for row in task.rows)
    if task.answer != "argmax" or not task.rows or not goes_on or isinstance(model, Hooked):
        return None, None
    held = split(task).heldout
    found = {band: _losses(model, rows) for band, rows in by_band([r for part in held.values() for r in part]).items()}
    return {band: loss for band, (loss, _) in found.items()}, {band: share for band, (_, share) in found.items()}


def _losses(model: Model, rows: Sequence[TaskRow]) -> tuple[float, float]:
    """Mean loss of a scored place, and the share of rows without a mistake."""
    said = logits(model, padded(rows)).astype(np.float64)
    losses, right = [], []
    for row, own in zip(rows, said, strict=True):
        at = np.array(row.scored)
        chosen, answer = own[at], np.array(row.ids)[at + 1]
        top = chosen.max(1)
        spread = np.log(np.exp(chosen - top[:, None]).sum(1)) + top
        losses += list(spread - chosen[np.arange(len(at)), answer])
        right.append(bool((chosen.argmax(1) == answer).all()))
    return float(np.mean(losses)), float(np.mean(right))


def show(found: Timeline) -> None:
    """Print the table of all checkpoints, and since when each milestone holds."""
    bands, measured = list(found.moments[-1].loss or ()), list(found.moments[-1].match)
    measures = ["restricted", "excluded", "Gini", "frequencies"] if found.waves else []
    names = ["step", *(f"loss {band}" for band in bands), *measures, *(f"match {band}" for band in measured)]
    table = Table(box=None, pad_edge=False)
    for name in (*names, "verdict", "numbers", "lines"):
        table.add_column(name, justify="left" if name == "verdict" else "right", no_wrap=True)
    for moment in found.moments:
        table.add_row(*_cells(moment, bands))
    console = terminal()
    console.width = max(console.width, console.measure(table, options=console.options.update(width=400)).maximum)
    console.print(table)
    for name, since in found.milestones.items():
        console.print(f"{name:<40}{'not at the end' if since is None else f'from step {since} on'}", soft_wrap=True)


def _cells(moment: Moment, bands: Sequence[str]) -> list[str]:
    losses = [f"{(moment.loss or {}).get(band, float('nan')):.2g}" for band in bands]
    own: list[str] = []
    if moment.progress:
        part = moment.progress
        own = [f"{part.restricted:.2g}", f"{part.excluded:.2g}", f"{part.gini:.2f}", str(len(part.frequencies))]
    match = ["–" if share is None else f"{100 * share:.1f} %" for share in moment.match.values()]
    figures = moment.figures
    return [str(moment.step), *losses, *own, *match, figures.verdict, str(figures.numbers), str(figures.lines)]
