"""The route for arithmetic by rotation: key frequencies, the identity that adds angles, and interventions on each wave.

It is taken where every row is two numbers and a third token, and the logits are made of few waves of their sum: nothing
depends on what model or task are called.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.errors import SubjectError
from pellucid.match.weightless.emit import count, lines, number_text, plain
from pellucid.match.weightless.fourier import Losses, Waves, key_waves, losses
from pellucid.match.weightless.hooked import Hooked
from pellucid.match.weightless.language import Alphabet
from pellucid.match.weightless.measure import Match, Share
from pellucid.match.weightless.mechanism import Interchange
from pellucid.match.weightless.split import Split, split
from pellucid.match.weightless.task import Row, Task
from pellucid.match.weightless.teacher import ARGMAX_MARGIN
from pellucid.match.weightless.verdict import Figures

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
    tried = interchanges(model, waves, fit, held[task.trained], rows)
    text = program_text(waves, found, tried, title)
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


def sums(model: Hooked, rows: Sequence[Row], numbers: int, edit: Tensor | None = None) -> Sums:
    """What the model says after `rows`, and its neurons there; `edit` is added to the neurons."""
    ids = np.array([row.ids for row in rows])

    def shift(post: Tensor) -> Tensor:
        post = post.clone()
        post[:, -1] = post[:, -1] + (0 if edit is None else edit)
        return post

    with torch.inference_mode():
        found = model.run(torch.from_numpy(ids), {} if edit is None else {"post": shift})
    logits, post = (found[name][:, -1].double().numpy() for name in ("logits", "post"))
    return Sums(ids, logits[:, :numbers], post)


def compare(held: Sums, waves: Waves) -> Match:
    """How often the waves peak at what the model says."""
    agree = waves.logits(waves.angles(held.total)).argmax(1) == held.logits.argmax(1)
    top = np.partition(held.logits, -2, axis=1)[:, -2:]
    clear = top[:, 1] - top[:, 0] > ARGMAX_MARGIN
    share = Share(int(agree.sum()), len(agree))
    return Match(share, share, Share(int(agree[clear].sum()), int(clear.sum())))


def interchanges(model: Hooked, waves: Waves, fit: Sums, held: Sums, rows: Split) -> list[Interchange]:
    """Every wave, taken from another row: in the program its angle, in the model its two directions of neurons.

    The directions are those of a regression of the neurons, on fit rows, on all waves of a + b, of a and of b.
    """
    directions = np.linalg.lstsq(_design(fit, waves), fit.post, rcond=None)[0]
    read = np.linalg.pinv(directions)
    part = rows.heldout[next(iter(rows.heldout))][:INTERVENTIONS]
    size = len(part)
    draw = np.random.default_rng(41)
    found = []
    angles = waves.angles(held.total[:size])
    before = waves.logits(angles).argmax(1)
    coordinates = held.post[:size] @ read
    for at, (frequency, _) in enumerate(waves.weights):
        order = draw.permutation(size)
        mine = [1 + 2 * at, 2 + 2 * at]
        change = (coordinates[order][:, mine] - coordinates[:, mine]) @ directions[mine]
        after = sums(model, part, waves.p, torch.from_numpy(change).float()).logits.argmax(1)
        swapped = angles.copy()
        swapped[:, at] = angles[order][:, at]
        ours = waves.logits(swapped).argmax(1)
        moved = (ours != before) | (after != held.logits[:size].argmax(1))
        share = Share(int((ours == after)[moved].sum()), int(moved.sum()))
        found.append(Interchange(f"wave {frequency}", "L00.N*.OUT", share))
    return found


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
    table = ", ".join(f"{frequency}: {number_text(weight)}" for frequency, weight in waves.weights)
    margins = np.sort(waves.logits(waves.angles(np.array([0])))[0])
    evidence = "\n    ".join(
        f"{entry.value}: {100 * (entry.agree.value or 0):.1f} % of {entry.agree.n} interventions agree"
        for entry in tried
    )
    return f'''"""{plain(title)}

Numbers are angles on circles, one circle a key frequency. Angles add; the answer is where all waves peak together.
Loss of the model on all inputs: {found.whole:.3g} nats; restricted to these waves {found.restricted:.3g}, with these
excluded {found.excluded:.3g}.
"""

from numpy import arange, cos, pi, sin

P = {waves.p}
WAVES = {{{table}}}


def wave(frequency, a, b):
    """Cosine and sine of the angle of a + b, from those of a and b by the identity that adds angles.

    Replaces EMB.TOK, L00.H*.QK, L00.H*.OV and L00.N*.IN. Taken from another row, here and along its two directions of
    neurons:
    {evidence}
    """
    x, y = 2 * pi * frequency * a / P, 2 * pi * frequency * b / P
    return cos(x) * cos(y) - sin(x) * sin(y), sin(x) * cos(y) + cos(x) * sin(y)


def answer(a, b):
    """The number at which the waves of all key frequencies peak together: they cancel everywhere else.

    Replaces L00.N*.OUT and the unembedding. The highest peak is {margins[-1]:.3g}, the next {margins[-2]:.3g}.
    """
    c = arange(P)
    score = 0
    for frequency, weight in WAVES.items():
        cosine, sine = wave(frequency, a, b)
        turn = 2 * pi * frequency * c / P
        score = score + weight * (cosine * cos(turn) + sine * sin(turn))
    return int(score.argmax())
'''


_MAIN = '''"""python -m program "3 5 =": what the model says after two numbers."""

import json
import sys
from pathlib import Path

from .program import answer

tokens = json.loads(Path(__file__).with_name("vocabulary.json").read_text(encoding="utf-8"))
words = " ".join(sys.argv[1:]).split()
if len(words) < 2 or any(word not in tokens for word in words):
    sys.exit('program: give two numbers of its vocabulary, such as "3 5 ="')
print(tokens[answer(tokens.index(words[0]), tokens.index(words[1]))])
'''
