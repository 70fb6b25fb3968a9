"""The automatic route: which heads, what they see, the answer; from simple to rich, the simplest that agrees wins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from time import process_time
from typing import Any

import numpy as np

from pellucid.base.errors import SubjectError
from pellucid.exact.model import Model
from pellucid.weightless import cases, heads
from pellucid.weightless.automaton import learned
from pellucid.weightless.boundaries import MOST_HANDICAPS
from pellucid.weightless.comparisons import SMALL
from pellucid.weightless.decide import Weighted, decide
from pellucid.weightless.emit import count, program_text
from pellucid.weightless.language import Alphabet, Look, WeightlessProgram
from pellucid.weightless.looks import Group, LookLimits, Sight, fit_look, importance, pattern_of
from pellucid.weightless.measure import match
from pellucid.weightless.probes import draw_probes
from pellucid.weightless.runner import Runner
from pellucid.weightless.split import BandSplit
from pellucid.weightless.task import Task, TaskRow, content
from pellucid.weightless.teacher import Read, read

ROWS, HEAD_ROWS = 250, 80
CROSSED, MIXED, LONGER, PROBE, RESET = 5000, 0.1, 1.0, 0.5, 0.25
ANSWERS = 2000
"""Where rows have few scored places there are more probes, so that these have so many answers."""
EFFORTS = (LookLimits(0.01, 6), LookLimits(0.00001, 16), LookLimits(0.01, 6, sharp=3.0), LookLimits(0.002, 10))
FAILS, FALLBACK = 0.9, 0.05
"""Where fewer tune rows match an automaton is learned; it is taken where it matches so many more."""
NEARLY = 0.9
"""If so many answers stay without positions, programs without them are tried as well."""
GOOD = 0.9998
"""A candidate that agrees on so many tune cases is not improved on."""
WORTH = 1e-5
"""The share of tune cases that a number has to win."""


@dataclass(frozen=True, eq=False)
class ProgramCandidate:
    """A program, its share of agreement on tune cases, and how many numbers it holds."""

    program: WeightlessProgram
    agreement: float
    numbers: int

    @property
    def score(self) -> float:
        """Agreement less what its numbers cost."""
        return self.agreement - WORTH * self.numbers


@dataclass(frozen=True, eq=False)
class Search:
    """What every candidate is fitted and chosen on; `rows` says how many of either are rows, probes follow.

    `positions` says whether programs may ask for positions: not, if needed, or both ways where it matters little.
    `failed` collects a sentence for each candidate whose numbers could not be computed.
    """

    model: Model
    task: Task
    fit: Read
    tune: Read
    rows: tuple[int, int]
    positions: tuple[bool, ...]
    needed: tuple[heads.Head, ...]
    fewer: tuple[heads.Head, ...]
    matter: dict[Group, np.ndarray] = field(default_factory=dict, repr=False)
    tried: set[Any] = field(default_factory=set, repr=False)
    failed: list[str] = field(default_factory=list, repr=False)

    @staticmethod
    def of(model: Model, task: Task, rows: BandSplit) -> Search:
        """Draw rows and probes, find whether positions matter and which heads are needed."""
        kind = task.answer

        def drawn(part: Sequence[TaskRow], seed: int) -> Read:
            return read(model, [*part[:ROWS], *probes_of(task, part, seed)], kind)

        (fit_rows, fit_seed), (tune_rows, tune_seed) = probe_draws(rows)
        probes = probes_of(task, fit_rows, fit_seed)[:HEAD_ROWS]
        few = read(model, [*fit_rows[:HEAD_ROWS], *probes], kind)
        spared = heads.without_positions(model, few, kind)
        positions = (False,) if spared >= heads.SPARED else (False, True) if spared >= NEARLY else (True,)
        found, left = (tuple(some) for some in heads.needed(model, few, kind))
        fit, tune = drawn(fit_rows, fit_seed), drawn(tune_rows, tune_seed)
        sizes = (len(fit_rows[:ROWS]), len(tune_rows[:ROWS]))
        return Search(model, task, fit, tune, sizes, positions, found, left)


def probe_draws(rows: BandSplit) -> tuple[tuple[list[TaskRow], int], tuple[list[TaskRow], int]]:
    """The rows that probes for fitting and for tuning are drawn from, each with its seed."""
    return (rows.fit, 12), (rows.tune or rows.fit, 13)


def probes_of(task: Task, rows: Sequence[TaskRow], seed: int) -> list[TaskRow]:
    """Probes that candidates are fitted or chosen on."""
    scored = max(1.0, float(np.mean([len(row.scored) for row in rows]))) if rows else 1.0
    few = min(ROWS, max(len(rows), HEAD_ROWS))
    return draw_probes(task, rows, max(few, int(ANSWERS / scored)), seed)


def candidates(search: Search, seconds: float) -> Iterator[ProgramCandidate]:
    """Programs from simple to rich, until one agrees well enough or `seconds` of processor time are used up."""
    until = process_time() + seconds
    for positions, groups, effort in product(search.positions, groupings(search), EFFORTS):
        try:
            found = build(search, groups, effort, positions)
        except (ArithmeticError, np.linalg.LinAlgError) as error:
            seen = ", ".join(f"L{layer:02d}.H{head:02d}" for layer, some in groups for head in some)
            search.failed.append(f"a program over {seen or 'no heads'} was left out: {error}")
            continue
        if found is None:
            continue
        yield found
        if found.agreement >= GOOD or process_time() > until:
            return


def best(search: Search, seconds: float) -> ProgramCandidate:
    """The candidate of the highest score; an automaton where that fails many rows and an automaton does not.

    Raises `SubjectError` where no candidate's numbers could be computed.
    """
    found = max(candidates(search, seconds), key=lambda candidate: candidate.score, default=None)
    if found is None:
        raise SubjectError(f"no program could be fitted to {search.task.name}: {'; '.join(search.failed)}")
    chosen = _or_automaton(search, found)
    cautions = (*search.failed, *chosen.program.cautions)
    return replace(chosen, program=replace(chosen.program, cautions=tuple(dict.fromkeys(cautions))))


def _or_automaton(search: Search, found: ProgramCandidate) -> ProgramCandidate:
    """`found`, or an automaton that matches more rows where `found` fails many."""
    alphabet = Alphabet.of(search.task)
    if len(content(search.task)) > SMALL or (matched := rows_matched(search, found.program)) >= FAILS:
        return found
    reads = (search.fit, first(search.fit, search.rows[0]))
    walks = [walk for read in reads if (walk := learned(read, alphabet, search.task.answer))]
    tries = [ProgramCandidate(walk, rows_matched(search, walk), count(program_text(walk, ""))) for walk in walks]
    better = max(tries, key=lambda candidate: candidate.agreement, default=None)
    return better if better and better.agreement >= matched + FALLBACK else found


def rows_matched(search: Search, program: WeightlessProgram) -> float:
    """The share of tune rows on which `program` says what the model says, everywhere."""
    return match(Runner(program), first(search.tune, search.rows[1])).rows.value or 0.0


def first(read: Read, size: int) -> Read:
    """The first rows: those that are no probes."""
    return Read(read.ids[:size], read.scored[:size], read.answer[:size], read.clear[:size])


def groupings(search: Search) -> list[tuple[Group, ...]]:
    """Ways to see heads as looks, few first: all heads of a needed layer together, or every needed head for itself.

    Heads that are hardly needed are left out first, then seen as well.
    """
    found: dict[tuple[Group, ...], None] = {}
    for kept in (search.fewer, search.needed):
        layers = sorted({layer for layer, _ in kept})
        found[tuple((layer, tuple(range(search.model.decoder.sizes.head))) for layer in layers)] = None
        found[tuple((layer, (head,)) for layer, head in kept)] = None
    return list(found)


def build(search: Search, groups: Sequence[Group], effort: LookLimits, positions: bool) -> ProgramCandidate | None:
    """The program whose looks are `groups` of heads; it asks for `positions` or not. None where it was tried before."""
    model, task, alphabet = search.model, search.task, Alphabet.of(search.task)
    fits = [Sight.of(search.fit, alphabet), Sight.of(search.fit, alphabet)]
    tunes = [Sight.of(search.tune, alphabet), Sight.of(search.tune, alphabet)]
    looks: list[Look] = []
    final = max((layer for layer, _ in groups), default=0)
    for layer in sorted({layer for layer, _ in groups}):
        earlier, new = tuple(looks), list[Look]()
        shown = fits if earlier else fits[:1]
        patterns = [(sight, sight.record(model, [f"L{layer:02d}.pattern"])) for sight in shown]
        for group in (group for group in groups if group[0] == layer):
            pairs = [(sight, pattern_of(pattern, group)) for sight, pattern in patterns]
            if group not in search.matter:
                search.matter[group] = importance(model, fits[0], group, task.answer, len(alphabet.texts))
            name = f"look_{len(looks) + len(new)}"
            last = layer == model.decoder.layers - 1
            new.append(fit_look(name, group, pairs, alphabet, earlier, last, effort, positions, search.matter[group]))
        for look in new:
            for sight in (*fits, *tunes):
                sight.add(look, alphabet)
        looks += new
        if layer < final:
            fits[1].disturb(model, looks, layer, seed=layer)
            tunes[1].disturb(model, looks, layer, seed=100 + layer)
    shown_as = (positions, *((look.heads, look.terms) for look in looks))
    if shown_as in search.tried:
        return None
    search.tried.add(shown_as)
    multiple = len({look.layer for look in looks}) > 1
    fit, tune = (
        _weighted(search, sights, looks, rows, multiple, positions, seed)
        for sights, rows, seed in ((fits, search.rows[0], 21), (tunes, search.rows[1], 22))
    )
    program, agreement = decide(fit, tune, looks, alphabet, task.answer, positions)
    return ProgramCandidate(program, agreement, count(program_text(program, "")))


def _weighted(
    search: Search, sights: Sequence[Sight], looks: Sequence[Look], rows: int, multiple: bool, positions: bool,
    seed: int,
) -> Weighted:  # fmt: skip
    """Cases of rows and longer rows; of probes and interchanges, at half the weight; of mixtures, at little."""
    model, kind, sight = search.model, search.task.answer, sights[0]
    plain = cases.states(model, sight, looks, kind)
    moved = _moved(search, sights, looks, multiple, positions, seed)
    mixed: list[cases.CaseStates] = []
    longer: list[cases.CaseStates] = []
    if any(look.layer == model.decoder.layers - 1 for look in looks):
        crossing = cases.Crossing.of(model, sight, looks, kind)
        longer += [found for found in [crossing.longer(CROSSED, seed)] if len(found)]
        mixed += crossing.cases(CROSSED, seed) if len(content(search.task)) <= MOST_HANDICAPS else ()
    probes = cases.drawn(sight, 0)[:, 0] >= rows
    share = 0.5 / max(1, sum(value.startswith("look_") for value in moved))
    weights = [np.where(probes, PROBE * cases.repeat(1.0, plain), 1.0)]
    weights += [cases.repeat(share * _part(value), part) for value, part in moved.items()]
    weights += [cases.repeat(LONGER, part) for part in longer]
    weights += [cases.repeat(MIXED, part) for part in mixed]
    kinds = [np.where(probes, "probe", "row")]
    kinds += [np.full(len(part), value) for value, part in moved.items()]
    kinds += [np.full(len(part), "longer") for part in longer]
    kinds += [np.full(len(part), "mixture") for part in mixed]
    states = cases.joined([plain, *moved.values(), *longer, *mixed])
    return Weighted(states, np.concatenate(weights), np.concatenate(kinds).astype(str))


def _part(value: str) -> float:
    """What a case counts, of those where `value` was changed: of inputs there are many."""
    return RESET if value in ("token", "position") else 1.0


def _moved(
    search: Search, sights: Sequence[Sight], looks: Sequence[Look], multiple: bool, positions: bool, seed: int
) -> dict[str, cases.CaseStates]:
    """States by interchange, by the value that was taken from elsewhere."""
    model, kind, sight = search.model, search.task.answer, sights[0]
    last = [look for look in looks if look.layer == looks[-1].layer]
    swaps = {look.name: [look] for look in last} | ({"looks": last} if len(last) > 1 else {})
    moved = {
        value: cases.interchanged(model, sight, looks, swapped, kind, seed + at)
        for at, (value, swapped) in enumerate(swaps.items())
    }
    if multiple:
        moved["earlier looks"] = cases.states(model, sights[1], looks, kind, seed)
    inputs = ("token", "position") if positions else ("token",)
    if np.isin(sight.read.ids[sight.read.scored], content(search.task)).any():
        for name in inputs:
            moved[name] = cases.reset(model, sight, looks, kind, name, content(search.task), seed)
    return moved
