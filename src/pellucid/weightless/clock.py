"""The route for arithmetic by rotation: key frequencies, the identity that adds angles, and interventions on each wave.

It is taken where every row is two numbers and a third token, and the logits are made of few waves of their sum: nothing
depends on what model or task are called.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.errors import SubjectError
from pellucid.weightless.emit import count, lines, number_text, plain
from pellucid.weightless.fourier import Losses, Waves, key_waves, losses
from pellucid.weightless.hooked import Edit, Hooked
from pellucid.weightless.language import Alphabet
from pellucid.weightless.measure import Hits, Match
from pellucid.weightless.mechanism import Interchange
from pellucid.weightless.split import split
from pellucid.weightless.task import Task, TaskRow
from pellucid.weightless.teacher import ARGMAX_MARGIN
from pellucid.weightless.verdict import Figures

INTERVENTIONS = 1000


@dataclass(frozen=True, eq=False)
class Sums:
    """Rows of two numbers, and what the model says after them."""

    ids: Int[np.ndarray, "case three"]
    logits: Float[np.ndarray, "case number"]
    post: Float[np.ndarray, "case neuron"]

    @property
    def total(self) -> Int[np.ndarray, " case"]:
        """The sums modulo the number of numbers."""
        return np.asarray(self.ids[:, :2].sum(1) % self.logits.shape[1])


def decompiled_clock(model: Hooked, task: Task, title: str) -> tuple[dict[str, str], Figures]:
    """The files of the program of `model`, and its figures. Raises `SubjectError` where its rows are no sums."""
    start = perf_counter()
    numbers = int((Alphabet.of(task).number >= 0).sum())
    if any(len(row.ids) != 3 or max(row.ids[:2]) >= numbers for row in task.rows):
        raise SubjectError(f"{task.name} is a one-layer model without norms whose rows are not two numbers and a token")
    rows = split(task)
    fit = sums(model, rows.fit, numbers)
    waves = key_waves(fit.logits, fit.total)
    held = {band: sums(model, part, numbers) for band, part in rows.heldout.items()}
    every = sums(model, task.rows, numbers)
    found = losses(every.logits, every.ids[:, 0], every.ids[:, 1], waves)
    band = task.trained if held.get(task.trained) else next(iter(held))
    bench = Bench.of(model, waves, fit, held[band], rows.heldout[band])
    tried = interchanges(bench)
    text = program_text(waves, found, [*tried, *single_waves(bench)], title)
    figures = Figures(
        name=task.name,
        trained=task.trained,
        match={band: compare(part, waves) for band, part in held.items()},
        accuracy=task.accuracy,
        probes=None,
        mechanism=tried,
        numbers=count(text),
        parameters=model.parameters,
        lines=lines(text),
        seconds=perf_counter() - start,
        summary=summary(waves, found),
        enumerated=rows.enumerated,
    )
    files = {
        "program/program.py": text,
        "program/__init__.py": '"""Read `program.py`; run it with `python -m program "3 5 ="`."""\n',
        "program/__main__.py": _MAIN,
        "program/vocabulary.json": json.dumps(list(task.vocabulary), ensure_ascii=False) + "\n",
    }
    return files, figures


def sums(model: Hooked, rows: Sequence[TaskRow], numbers: int, edits: Mapping[str, Edit] | None = None) -> Sums:
    """What the model says after `rows`, and its neurons there, with `edits` applied."""
    ids = np.array([row.ids for row in rows])
    with torch.inference_mode():
        found = model.run(torch.from_numpy(ids), edits)
    logits, post = (found[name][:, -1].double().numpy() for name in ("logits", "post"))
    return Sums(ids, logits[:, :numbers], post)


def compare(held: Sums, waves: Waves) -> Match:
    """How often the waves peak at what the model says."""
    agree = waves.logits(waves.angles(held.total)).argmax(1) == held.logits.argmax(1)
    top = np.partition(held.logits, -2, axis=1)[:, -2:]
    clear = top[:, 1] - top[:, 0] > ARGMAX_MARGIN
    share = Hits(int(agree.sum()), len(agree))
    return Match(share, share, Hits(int(agree[clear].sum()), int(clear.sum())))


@dataclass(frozen=True, eq=False)
class Bench:
    """Rows to intervene on, each with another row to take values from, and the directions that carry the waves.

    `tokens` are directions of embeddings and `neurons` directions of neurons, cosine and sine of each wave in turn:
    regressions on the fit rows alone.
    """

    model: Hooked
    waves: Waves
    rows: Sequence[TaskRow]
    held: Sums
    order: Int[np.ndarray, " case"]
    tokens: Float[np.ndarray, "axis model"]
    neurons: Float[np.ndarray, "column neuron"]

    @staticmethod
    def of(model: Hooked, waves: Waves, fit: Sums, held: Sums, rows: Sequence[TaskRow]) -> Bench:
        """The first rows of `rows`, whose sums are `held`."""
        size = min(INTERVENTIONS, len(rows))
        part = Sums(held.ids[:size], held.logits[:size], held.post[:size])
        seen = np.unique(fit.ids[:, :2])
        table = model.weights["embed.W_E"].double().numpy()[seen]
        design = np.concatenate([np.ones((len(seen), 1)), waves.angles(seen).reshape(len(seen), -1)], 1)
        tokens = np.linalg.lstsq(design, table, rcond=None)[0][1:]
        neurons = np.linalg.lstsq(_design(fit, waves), fit.post, rcond=None)[0]
        order = np.random.default_rng(41).permutation(size)
        return Bench(model, waves, rows[:size], part, order, tokens, neurons)

    def number(self, at: int) -> Hits:
        """The angles of the number at place `at`, along their directions of its embedding."""
        was, other = self.held.ids[:, at], self.held.ids[self.order, at]
        change = torch.from_numpy(self._change(was, other) @ self.tokens).float()

        def shift(resid: Tensor) -> Tensor:
            resid = resid.clone()
            resid[:, at] += change
            return resid

        angles = self.waves.angles(self.held.total - was + other)
        return self._share(angles, sums(self.model, self.rows, self.waves.p, {"resid": shift}))

    def total(self, chosen: Sequence[int]) -> Hits:
        """The angles of the sum, for the `chosen` waves, along their directions of neurons."""
        axes = [1 + 2 * at + part for at in chosen for part in (0, 1)]
        coordinates = self.held.post @ np.linalg.pinv(self.neurons)
        change = (coordinates[self.order][:, axes] - coordinates[:, axes]) @ self.neurons[axes]
        moved = torch.from_numpy(change).float()

        def shift(post: Tensor) -> Tensor:
            post = post.clone()
            post[:, -1] += moved
            return post

        angles = self.waves.angles(self.held.total)
        angles[:, list(chosen)] = angles[self.order][:, list(chosen)]
        return self._share(angles, sums(self.model, self.rows, self.waves.p, {"post": shift}))

    def _change(self, was: np.ndarray, other: np.ndarray) -> Float[np.ndarray, "case axis"]:
        return np.asarray(self.waves.angles(other) - self.waves.angles(was)).reshape(len(was), -1)

    def _share(self, angles: np.ndarray, after: Sums) -> Hits:
        """How often both agree, of the interventions that changed what either says."""
        before = self.waves.logits(self.waves.angles(self.held.total)).argmax(1)
        ours, theirs = self.waves.logits(angles).argmax(1), after.logits.argmax(1)
        moved = (ours != before) | (theirs != self.held.logits.argmax(1))
        return Hits(int((ours == theirs)[moved].sum()), int(moved.sum()))


def interchanges(bench: Bench) -> list[Interchange]:
    """What the program names, taken from another row: the angles of either number, and those of their sum."""
    every = range(len(bench.waves.weights))
    return [
        Interchange("angles of a", "EMB.TOK", bench.number(0)),
        Interchange("angles of b", "EMB.TOK", bench.number(1)),
        Interchange("angles of a + b", "L00.N*.OUT", bench.total(every)),
    ]


def single_waves(bench: Bench) -> list[Interchange]:
    """One wave of the sum alone, taken from another row: then the waves no longer peak together anywhere."""
    return [
        Interchange(f"wave {frequency} alone", "L00.N*.OUT", bench.total([at]))
        for at, (frequency, _) in enumerate(bench.waves.weights)
    ]


def _design(fit: Sums, waves: Waves) -> Float[np.ndarray, "case axis"]:
    """One, and cosine and sine of every wave of a + b, of a and of b."""
    size = len(fit.ids)
    columns = [waves.angles(x).reshape(size, -1) for x in (fit.total, fit.ids[:, 0], fit.ids[:, 1])]
    return np.concatenate([np.ones((size, 1)), *columns], 1)


def summary(waves: Waves, found: Losses) -> str:
    """One line for a table."""
    frequencies = ", ".join(str(frequency) for frequency, _ in sorted(waves.weights))
    return (
        f"adds modulo {waves.p} by rotation with key frequencies {frequencies}; loss {found.whole:.2g}, "
        f"restricted {found.restricted:.2g}, excluded {found.excluded:.2g} nats"
    )


def program_text(waves: Waves, found: Losses, tried: Sequence[Interchange], title: str) -> str:
    """`program.py`."""
    frequencies = ", ".join(str(frequency) for frequency, _ in waves.weights)
    weights = ", ".join(number_text(weight) for _, weight in waves.weights)
    margins = np.sort(waves.logits(waves.angles(np.array([0])))[0])
    said = [
        f"{entry.value}: {100 * (entry.agree.value or 0):.1f} % of {entry.agree.n} interventions agree"
        for entry in tried
    ]
    numbers = [line for line in said if line.startswith("angles of ") and "+" not in line]
    told, evidence = ("\n    ".join(lines) for lines in (numbers, [line for line in said if line not in numbers]))
    return f'''"""{plain(title)}

Numbers are angles on circles, one circle a key frequency. Angles add; the answer is where all waves peak together.
Loss of the model on all inputs: {found.whole:.3g} nats; restricted to these waves {found.restricted:.3g}, with these
excluded {found.excluded:.3g}.
"""

from numpy import arange, array, cos, outer, pi, sin

P = {waves.p}
FREQUENCIES = array([{frequencies}])
WEIGHTS = array([{weights}])


def angles(number):
    """The angle of a number on every circle.

    Replaces EMB.TOK. Taken from another row, here and along the directions of its embedding:
    {told}
    """
    return 2 * pi * FREQUENCIES * number / P


def added(x, y):
    """Cosine and sine of the sum of two angles on every circle, by the identity that adds angles.

    Replaces L00.H*.QK, L00.H*.OV and L00.N*.IN.

    Taken from another row, here and along two directions a wave of neurons:
    {evidence}
    """
    return cos(x) * cos(y) - sin(x) * sin(y), sin(x) * cos(y) + cos(x) * sin(y)


def answer(a, b):
    """The number at which the waves of all key frequencies peak together: they cancel everywhere else.

    Replaces L00.N*.OUT and the unembedding. The highest peak is {margins[-1]:.3g}, the next {margins[-2]:.3g}.
    """
    cosine, sine = added(angles(a), angles(b))
    turn = outer(arange(P), angles(1))
    score = cos(turn) @ (WEIGHTS * cosine) + sin(turn) @ (WEIGHTS * sine)
    return int(score.argmax())
'''


_MAIN = '''"""python -m program "3 5 =": what the model says after two numbers."""

import json
import sys
from pathlib import Path

from .program import answer


def said(words):
    """The last word with what comes next. Raises `ValueError` for what does not begin with two numbers."""
    tokens = json.loads(Path(__file__).with_name("vocabulary.json").read_text(encoding="utf-8"))
    if len(words) < 2 or any(word not in tokens for word in words):
        raise ValueError('give two numbers of its vocabulary, such as "3 5 ="')
    return [(words[-1], tokens[answer(tokens.index(words[0]), tokens.index(words[1]))])]


def main():
    try:
        print(said(" ".join(sys.argv[1:]).split())[0][1])
    except ValueError as error:
        sys.exit(f"program: {error}")


if __name__ == "__main__":
    main()
'''
