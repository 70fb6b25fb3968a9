"""Programs drawn at random, in the language of weightless programs, with a task to go with each.

Every program is one in which nothing is idle: without any of its looks, or any of its leaves, it would say something
else at least at a twentieth of all scored places.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_lowercase

import numpy as np

from pellucid.base.files import atomic_path, write_text
from pellucid.weightless.compile import compiled
from pellucid.weightless.language import Alphabet, Look, Term, WeightlessProgram
from pellucid.weightless.runner import Runner
from pellucid.weightless.task import INPUTS, TASK, Judged, TaskRow
from pellucid.weightless.tree import DecisionNode

Draw = np.random.Generator
BANDS = {"3-12": (3, 12), "13-18": (13, 18)}
LONGEST = 20
ROWS, TRIED, NEEDED, MOST = 1200, 60, 0.05, 0.8
"""Rows that come with a model; rows that a draft is tried on; how often a piece must matter, one answer be given."""
GAP = 0.03
"""How far the values of a question stay away from its threshold, one side to the other."""


@dataclass(frozen=True, eq=False)
class GeneratedProgram:
    """A program and where it came from."""

    seed: int
    program: WeightlessProgram

    def rows(self, seed: int, count: int, band: str) -> list[TaskRow]:
        """Rows `<bos> content <eos>`, scored at every place of the content."""
        return _rows(self.program.alphabet, np.random.default_rng((self.seed, seed)), count, band)

    def write(self, directory: Path) -> None:
        """Write the compiled model to `directory`, with its task and rows."""
        compiled(self.program, LONGEST).write(directory)
        alphabet = self.program.alphabet
        output = "set: every token whose logit is above 0" if self.program.answer == "set" else "argmax"
        task = {
            "name": f"compiled-{self.seed}",
            "output": output,
            "vocab": list(alphabet.texts),
            "bos": "<bos>",
            "eos": "<eos>",
            "lengths": f"rows of band {next(iter(BANDS))} are as those a model would be trained on",
        }
        write_text(directory / TASK, json.dumps(task, indent=1) + "\n")
        found = [row for at, band in enumerate(BANDS) for row in self.rows(1, ROWS // (1 + 3 * at), band)]
        lines = [json.dumps({"band": row.band, "ids": row.ids, "scored": row.scored}) for row in found]
        with atomic_path(directory / INPUTS) as path:
            path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))


def generated(seed: int) -> GeneratedProgram:
    """The program of a seed: drafts are drawn until nothing in one is idle."""
    draw = np.random.default_rng(seed)
    while True:
        size = int(draw.integers(3, 7))
        alphabet = Alphabet((*ascii_lowercase[:size], "<bos>", "<eos>"), (size, size + 1))
        program = _draft(draw, alphabet)
        if program and nothing_idle(program, _rows(alphabet, draw, TRIED, next(iter(BANDS)))):
            return GeneratedProgram(seed, program)


def _rows(alphabet: Alphabet, draw: Draw, count: int, band: str) -> list[TaskRow]:
    low, high = BANDS[band]
    bos, eos = alphabet.special
    found = []
    for _ in range(count):
        length = int(draw.integers(low, high + 1))
        content = draw.choice(bos, length, p=draw.dirichlet(np.ones(bos)))
        found.append(TaskRow(band, (bos, *map(int, content), eos), tuple(range(1, length + 1))))
    return found


# --- drafts -----------------------------------------------------------------------------------------------------------


def _draft(draw: Draw, alphabet: Alphabet) -> WeightlessProgram | None:
    looks = _looks(draw, alphabet)
    kind: Judged = "set" if draw.random() < 0.3 else "argmax"
    program = WeightlessProgram(alphabet, kind, looks, (), (), DecisionNode(0))
    rows = _rows(alphabet, draw, TRIED, next(iter(BANDS)))
    return _answered(draw, program, rows)


def _looks(draw: Draw, alphabet: Alphabet) -> tuple[Look, ...]:
    """One look; two of the same layer; or two of which the later one reads what keys saw at the first."""
    shape = draw.choice(["one", "two", "in line"], p=[0.4, 0.25, 0.35])
    if shape == "in line":
        first = Look("look_0", 0, (0,), (Term("distance == 1", _weight(draw, 8.0, 12.0)),))
        second = [Term("key.look_0.on(query.token)", _weight(draw, 6.0, 12.0))]
        if draw.random() < 0.5:
            second = [Term(f"key.look_0.share({_letter(draw, alphabet)})", _weight(draw, 4.0, 8.0))]
        return first, Look("look_1", 1, (0,), tuple(second))
    return tuple(Look(f"look_{head}", 0, (head,), _terms(draw, alphabet)) for head in range(2 if shape == "two" else 1))


def _terms(draw: Draw, alphabet: Alphabet) -> tuple[Term, ...]:
    """None, one or two comparisons, none twice."""
    one, other = _letter(draw, alphabet), _letter(draw, alphabet)
    pool = {
        "distance == 1": (6.0, 12.0),
        "distance == 2": (6.0, 12.0),
        "key.token == query.token": (2.0, 5.0),
        f"key.token == {one}": (1.5, 4.0),
        f"key.token == {other}": (-4.0, -1.5),
        f"(query.token == {one}) & (key.token == {other})": (3.0, 6.0),
        "0.1 * distance": (-8.0, -3.0),
        "key.position == 1": (3.0, 6.0),
    }
    chosen = draw.permutation(len(pool))[: draw.choice([0, 1, 2], p=[0.2, 0.5, 0.3])]
    texts = [list(pool)[at] for at in sorted(map(int, chosen))]
    return tuple(Term(text, _weight(draw, *pool[text])) for text in texts)


def _weight(draw: Draw, low: float, high: float) -> float:
    return round(float(draw.uniform(low, high)), 1)


def _letter(draw: Draw, alphabet: Alphabet) -> str:
    return alphabet.names[int(draw.integers(alphabet.special[0]))]


def _answered(draw: Draw, draft: WeightlessProgram, rows: Sequence[TaskRow]) -> WeightlessProgram | None:
    """`draft` with a tree of up to two questions; None where a question has no clear threshold."""
    alphabet, last = draft.alphabet, draft.looks[-1].name
    plan = draw.choice(["pass", "ask", "token", "ask twice"], p=[0.3, 0.35, 0.15, 0.2])
    if draft.answer == "argmax" and plan == "pass":
        return replace(draft, choices=(f"{last}.top",))
    asked = [f"{look.name}.share({_letter(draw, alphabet)})" for look in draft.looks[::-1]]
    first = f"token == {_letter(draw, alphabet)}" if plan == "token" else asked[0]
    texts = [first, asked[-1] if len(asked) > 1 or plan == "token" else f"token == {_letter(draw, alphabet)}"]
    thresholds = [0.5 if "==" in text else _middle(draft, rows, text) for text in texts]
    nodes = [DecisionNode(0, at, threshold) for at, threshold in enumerate(thresholds) if threshold is not None]
    if len(nodes) < len(texts):
        return None
    choices = _choices(draw, draft, 3)
    one, other, third = (DecisionNode(at) for at in range(3))
    if plan in ("ask", "token"):
        return replace(draft, questions=(first,), choices=choices[:2], tree=_branch(nodes[0], one, other))
    inner = _branch(nodes[1], other, third)
    return replace(draft, questions=tuple(texts), choices=choices, tree=_branch(nodes[0], one, inner))


def _branch(question: DecisionNode, above: DecisionNode, below: DecisionNode) -> DecisionNode:
    return DecisionNode(0, question.feature, question.threshold, above, below)


def _choices(draw: Draw, draft: WeightlessProgram, count: int) -> tuple[str, ...]:
    """Answers, none twice."""
    alphabet = draft.alphabet
    letters = [alphabet.names[at] for at in draw.permutation(alphabet.special[0])]
    if draft.answer == "set":
        sets = {"{" + ", ".join(sorted(letters[:k])) + "}" for k in range(1, len(letters) + 1)}
        return tuple(str(text) for text in draw.permutation(sorted(sets))[:count])
    pool = [f"{draft.looks[-1].name}.top", "token", letters[0], letters[1]]
    return tuple(pool[int(at)] for at in draw.permutation(4)[:count])


def _middle(draft: WeightlessProgram, rows: Sequence[TaskRow], text: str) -> float | None:
    """A threshold in the widest gap between values of a question, so that few rows are close to it; None without."""
    look, token = text.split(".share(")
    runner = Runner(replace(draft, questions=(), choices=("()" if draft.answer == "set" else "token",)))
    values = [runner.values(np.array(row.ids)) for row in rows]
    found = np.concatenate([v[look].share(draft.alphabet.names.index(token[:-1])) for v in values])
    inner = np.sort(found)[int(0.15 * len(found)) : int(0.85 * len(found))]
    gaps = np.diff(inner)
    widest = int(gaps.argmax())
    return round(float(inner[widest : widest + 2].mean()), 3) if gaps[widest] >= GAP else None


# --- whether anything is idle -----------------------------------------------------------------------------------------


def nothing_idle(program: WeightlessProgram, rows: Sequence[TaskRow]) -> bool:
    """Whether every look and every leaf matters, and no answer is given nearly always."""
    before = _said(program, rows)
    _, counts = np.unique(before, axis=0, return_counts=True)
    if counts.max() > MOST * len(before):
        return False
    others = [_without(program, at) for at in range(len(program.looks))]
    others += [_elsewhere(program, choice) for choice in range(len(program.choices))]
    return all(_differ(before, _said(other, rows)) >= NEEDED for other in others)


def _said(program: WeightlessProgram, rows: Sequence[TaskRow]) -> np.ndarray:
    runner = Runner(program)
    return np.stack(
        [
            runner.answer(values, at)
            for row in rows
            for values in [runner.values(np.array(row.ids))]
            for at in row.scored
        ]
    )


def _differ(left: np.ndarray, right: np.ndarray) -> float:
    differ = left != right
    return float((differ.any(-1) if differ.ndim > 1 else differ).mean())


def _without(program: WeightlessProgram, at: int) -> WeightlessProgram:
    """`program` with one look that looks everywhere alike; or only at its own place, where that changes nothing."""
    look = program.looks[at]
    plain = replace(look, terms=() if look.terms else (Term("distance == 0", 20.0),))
    return replace(program, looks=(*program.looks[:at], plain, *program.looks[at + 1 :]))


def _elsewhere(program: WeightlessProgram, choice: int) -> WeightlessProgram:
    """`program` with something else in place of one answer."""
    neutral = "()" if program.answer == "set" else program.alphabet.names[program.alphabet.special[1]]
    return replace(program, choices=(*program.choices[:choice], neutral, *program.choices[choice + 1 :]))
