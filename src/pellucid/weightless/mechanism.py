"""Mechanism: set a value of the program and the addresses it stands for alike, and see whether they then agree.

An interchange intervention (Geiger et al., 2021) takes a value at one place of a row from another row: in the program
what a look saw, a token or a position, in the model the outputs of the look's heads, the token's embedding or that of
the position. Only interventions that change what the program or the model says count.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.exact.graph import Edit
from pellucid.exact.model import Model
from pellucid.weightless.language import Look, WeightlessProgram
from pellucid.weightless.measure import Hits
from pellucid.weightless.runner import Runner
from pellucid.weightless.task import Task, content
from pellucid.weightless.teacher import Read, answers, constant, edited, record, same

WANTED = 400
ROUNDS = 250
HOPELESS, HOPELESS_AFTER = 100, 50


@dataclass(frozen=True)
class Interchange:
    """What came of the interventions on one value: `agree` of those that changed what either says."""

    value: str
    addresses: str
    agree: Hits


def interchanges(program: WeightlessProgram, model: Model, task: Task, read: Read, seed: int) -> list[Interchange]:
    """The interventions on every value that `program` uses, over the rows of `read`."""
    bench = _Bench(Runner(program), model, task, read, np.random.default_rng(seed))
    text = bench.runner.text
    found = []
    for look in program.looks:
        share = bench.count(lambda look=look: bench.swap_look(look))  # type: ignore[misc]
        found.append(Interchange(look.name, " ".join(look.addresses()), share))
    answer = text.partition("def answer(")[2].partition(":")[2]
    if re.search(r"\btoken\b", answer):
        found.append(Interchange("token", "EMB.TOK", bench.count(bench.swap_token)))
    if re.search(r"\bposition\b", answer):
        found.append(Interchange("position", "EMB.POS", bench.count(bench.swap_position)))
    return found


@dataclass
class _Swap:
    """One intervention a row: its place, what the program then says there, and the model's edits for all rows."""

    places: np.ndarray
    ours: Callable[[int, int], np.ndarray]
    edits: dict[str, Edit]
    later: bool


@dataclass
class _Bench:
    runner: Runner
    model: Model
    task: Task
    read: Read
    draw: np.random.Generator

    def __post_init__(self) -> None:
        rows = zip(self.read.ids, self.read.inside, strict=True)
        self.before = [self.runner.values(row[inside]) for row, inside in rows]
        names = [f"L{layer:02d}.z" for layer in range(self.model.decoder.layers)]
        self.z = {name: torch.from_numpy(value) for name, value in record(self.model, self.read.ids, names).items()}

    def count(self, swap: Callable[[], _Swap]) -> Hits:
        """Interventions until enough of them changed something, or until it is plain that too few ever will."""
        hits = n = 0
        for done in range(ROUNDS):
            hopeless = done >= HOPELESS_AFTER and n * ROUNDS < HOPELESS * done
            if n >= WANTED or hopeless:
                break
            agree, effective = self.outcome(swap())
            hits, n = hits + int((agree & effective).sum()), n + int(effective.sum())
        return Hits(hits, n)

    def outcome(self, swap: _Swap) -> tuple[np.ndarray, np.ndarray]:
        """Where program and model agree after an intervention, and where it changed what either says."""
        kind = self.task.answer
        said = answers(edited(self.model, self.read.ids, swap.edits), kind)
        agree, effective = [], []
        for row, start in enumerate(swap.places):
            after = np.arange(said.shape[1]) >= start if swap.later else np.arange(said.shape[1]) == start
            for place in map(int, np.flatnonzero(self.read.scored[row] & after)):
                ours, was = swap.ours(row, place), self.runner.answer(self.before[row], place)
                kept = bool(same(said[row, place], self.read.answer[row, place], kind))
                moved = not kept or not np.array_equal(ours, was)
                agree.append(bool(same(said[row, place], ours, kind)))
                effective.append(moved)
        return np.array(agree), np.array(effective)

    def swap_look(self, look: Look) -> _Swap:
        """What `look` saw at a place, from a place of another row; in the last layer at a scored place."""
        last = look.layer == self.model.decoder.layers - 1
        among = self.read.scored if last else self.read.inside
        places, rows = self._places(among), self.draw.permutation(len(among))
        sources = self._places(among)[rows]
        heads, name = list(look.heads), f"L{look.layer:02d}.z"
        z = self.z[name].clone()
        for head in heads:
            z[np.arange(len(places)), places, head] = self.z[name][rows, sources, head]
        after: dict[int, dict[str, Any]] = {}

        def ours(row: int, place: int) -> np.ndarray:
            if row not in after:
                given = {(look.name, int(places[row])): self.before[rows[row]][look.name][int(sources[row])]}
                after[row] = self.runner.values(self.before[row]["token"], given)
            return self.runner.answer(after[row], place)

        return _Swap(places, ours, {name: constant(z)}, later=not last)

    def swap_token(self) -> _Swap:
        """The content token that the answer at a place is given, by another one; what is seen stays."""
        others, places = np.array(content(self.task)), self._content_places()
        return self._swap_input("token", places, self.draw.choice(others, len(places)), self.model.embedding)

    def swap_position(self) -> _Swap:
        """The position that the answer at a place is given, by that of another such place; what is seen stays."""
        places = self._content_places()
        return self._swap_input("position", places, self.draw.permutation(places), self.model.position_table)

    def _swap_input(self, name: str, places: np.ndarray, others: np.ndarray, table: Tensor) -> _Swap:
        rows = np.arange(len(places))
        was = self.read.ids[rows, places] if name == "token" else places
        change = table[torch.from_numpy(others)] - table[torch.from_numpy(was)]

        def shift(value: Tensor) -> Tensor:
            value = value.clone()
            value[rows, places] += change
            return value

        def ours(row: int, place: int) -> np.ndarray:
            values = dict(self.before[row])
            values[name] = values[name].copy()
            values[name][place] = others[row]
            return self.runner.answer(values, place)

        kept = {name: self._keep(self.z[name], places) for name in self.z}
        return _Swap(places, ours, {"L00.resid_pre": shift, **kept}, later=False)

    def _keep(self, z: Tensor, places: np.ndarray) -> Edit:
        """The edit that leaves what heads give at `places` as it was."""
        rows = np.arange(len(places))

        def edit(value: Tensor) -> Tensor:
            value = value.clone()
            value[rows, places] = z[rows, places]
            return value

        return edit

    def _content_places(self) -> np.ndarray:
        """One scored place a row, where a content token stands if there is one."""
        free = self.read.scored & np.isin(self.read.ids, content(self.task))
        return self._places(np.where(free.any(axis=1, keepdims=True), free, self.read.scored))

    def _places(self, among: np.ndarray) -> np.ndarray:
        """One place a row."""
        weights = self.draw.random(among.shape) * among
        return np.asarray(weights.argmax(1))
