"""Training dictionaries: all of a run in one pass over the model, with checkpoints to go on from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import Tensor

from pellucid.base.events import Advanced, emit
from pellucid.base.progress import working
from pellucid.base.tensors import open_tensors, save_tensors
from pellucid.dictionary.dictionary import Dictionary, Origin
from pellucid.dictionary.learner import Learner, StepFigures
from pellucid.dictionary.recipe import Recipe
from pellucid.dictionary.stream import ActivationStream, moments
from pellucid.exact.model import Model

CHECKPOINT = "training.safetensors"
_SHOWN = 50
"""Steps after which figures are told."""
_POINTS = 200
"""Points of a curve, at most."""


@dataclass(frozen=True)
class Trained:
    """Dictionaries with the curve of each: tokens, and the figures of steps up to there."""

    dictionaries: tuple[Dictionary, ...]
    curves: tuple[tuple[tuple[int, StepFigures], ...], ...] = field(repr=False)
    seconds: float
    tokens: int
    """Tokens that were learned from in this run; fewer than asked for where a killed one went on."""


@dataclass
class _Run:
    """A training under way."""

    recipe: Recipe
    stream: ActivationStream
    learners: list[Learner]
    about: str
    folder: Path | None
    curves: list[list[tuple[int, StepFigures]]]
    first: int = 0

    def go_on(self) -> None:
        """Take the numbers of a run of the same recipe, subject and text that was killed, if there is one."""
        path = None if self.folder is None else self.folder / CHECKPOINT
        if path is None or not path.is_file():
            return
        with open_tensors(path) as file:
            told = file.metadata() or {}
            if told.get("about") != self.about:
                return
            held: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        for number, learner in enumerate(self.learners):
            mark = f"{number}/"
            learner.take({name.removeprefix(mark): one for name, one in held.items() if name.startswith(mark)})
        self.first = int(told["step"])
        kept = json.loads(told["curves"])
        self.curves = [[(tokens, StepFigures(*figures)) for tokens, figures in curve] for curve in kept]

    def keep(self, step: int) -> None:
        """Write what it takes to go on at `step`."""
        if self.folder is None:
            return
        held = {
            f"{n}/{name}": one.clone()
            for n, learner in enumerate(self.learners)
            for name, one in learner.state().items()
        }
        curves = [[(tokens, (f.loss, f.l0, f.dead)) for tokens, f in curve] for curve in self.curves]
        told = {"about": self.about, "step": str(step), "curves": json.dumps(curves)}
        save_tensors(self.folder / CHECKPOINT, held, told)

    def work(self, every: int) -> None:
        """Learn from the batches that are left; write a checkpoint after `every` steps."""
        recipe, began = self.recipe, perf_counter()
        spacing = max(1, recipe.steps // _POINTS)
        with working("training", recipe.steps * recipe.batch) as stage:
            stage.done = self.first * recipe.batch
            for step, batch in enumerate(self.stream.batches(recipe.batch, self.first, recipe.steps), self.first):
                figures = [learner.step(batch, step) for learner in self.learners]
                done = (step + 1) * recipe.batch
                if step % spacing == 0 or step + 1 == recipe.steps:
                    for curve, one in zip(self.curves, figures, strict=True):
                        curve.append((done, one))
                stage.done = done
                if step % _SHOWN == 0:
                    pace = (step + 1 - self.first) * recipe.batch / max(perf_counter() - began, 1e-9)
                    stage.label = f"training ({told(figures[0])}, {pace:,.0f} tokens/s)"
                    emit(Advanced(stage))
                if (step + 1) % every == 0 and step + 1 < recipe.steps:
                    self.keep(step + 1)


def told(figures: StepFigures) -> str:
    """The figures of a step in words."""
    return f"loss {figures.loss:.3f}, L0 {figures.l0:.1f}, {figures.dead:.0%} dead"


def train(
    model: Model,
    stream: ActivationStream,
    of: Sequence[tuple[tuple[str, ...], tuple[str, ...]]],
    recipe: Recipe,
    folder: Path | None = None,
    every: int = 500,
) -> Trained:
    """Train a dictionary for each pair of places `of`, all in one pass over the model.

    On the CPU the same recipe, subject, text and number of threads give the same bits, be the run killed or not.

    Args:
        model: The model whose activations are learned.
        stream: Its activations on a text, at least of all places in `of`.
        of: For each dictionary what is read and what is written, as `places` gives them.
        recipe: How they are trained.
        folder: Where checkpoints are kept, after `every` steps; a run that was killed goes on from there.
        every: How many steps lie between checkpoints.

    Returns:
        The dictionaries, vectors of length 1, with their curves. `batchtopk` and `matryoshka` become features above
        one threshold.

    Raises:
        PellucidError: A recipe that cannot be followed, too few tokens for the width (how many are needed is said), a
            cache of another text.
        OSError: A disk that is full.
    """
    recipe.checked()
    stream.prepared()
    found = moments(stream)
    learners = [Learner(recipe, reads, writes, found) for reads, writes in of]
    text = sha256(b"".join(row.tokens.tobytes() for row in stream.rows)).hexdigest()
    key: list[Any] = [asdict(recipe), [*map(list, of)], model.subject.weights_sha256, text, stream.seed, stream.chunk]
    about = sha256(json.dumps(key).encode()).hexdigest()
    run = _Run(recipe, stream, learners, about, folder, [[] for _ in of])
    run.go_on()
    began = perf_counter()
    run.work(every)
    made = {"recipe": asdict(recipe), "text": text, "tokens": recipe.steps * recipe.batch}
    origin = Origin(model.subject.name, model.subject.weights_sha256 or None, None, made)
    dictionaries = tuple(learner.dictionary(origin) for learner in learners)
    if folder is not None:
        (folder / CHECKPOINT).unlink(missing_ok=True)
    left = (recipe.steps - run.first) * recipe.batch
    return Trained(dictionaries, tuple(map(tuple, run.curves)), perf_counter() - began, left)


def summary(trained: Trained, number: int, where: str) -> dict[str, Any]:
    """What came of the training of one dictionary, for people (`text`) and programs; it lies `where`."""
    one, (tokens, last) = trained.dictionaries[number], trained.curves[number][-1]
    pace = trained.tokens / max(trained.seconds, 1e-9)
    text = f"{where}: {one.kind}, {one.width:,} features at {', '.join(one.writes)}; {told(last)}, {pace:,.0f} tokens/s"
    curve = [[at, figures.loss, figures.l0, figures.dead] for at, figures in trained.curves[number]]
    return {"folder": where, "text": text, "tokens": tokens, **asdict(last), "tokens_per_second": pace, "curve": curve}
