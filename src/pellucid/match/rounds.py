"""Rounds of tuning: what is tuned together, and what of it gives way until the rest keeps within the gate.

Parts that are tuned together make up for each other, so what is left has to be tuned again whenever one goes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from pellucid.base.address import Address
from pellucid.base.files import sha256_text
from pellucid.exact.model import Model
from pellucid.match.effect import divergence
from pellucid.match.lifted import LiftedParts
from pellucid.match.lifting import Vectors
from pellucid.match.linking import CONTEXTS, MARGIN, PROMISED, Unit, rollouts, units, worth
from pellucid.match.project import Project
from pellucid.match.record import batches
from pellucid.match.rollouts import Slips, slips
from pellucid.match.sources import Rows, Sources, first_tokens, rows_for
from pellucid.match.stored import Channel, Compares, Lifted, Stored
from pellucid.match.tune import TOKENS_PER_NUMBER, Tunable, tune
from pellucid.match.tuned import TUNED, Tuned, tuned_state
from pellucid.match.twin import Twin

CHECKPOINT = "scratch/tuning-{}.safetensors"
SHARES = (0.5, 0.5, 1.0)
"""How much of the time that is left each round takes."""
FIT_TOKENS = 1_000_000
"""The least tokens of fit text that are asked for, where there are as many: numbers fit less to ones met once."""
CHECK_TOKENS = {False: 8_000, True: 4_000}
"""Tokens of tune text that tuning is stopped by."""
START = {"both": 2e-3, "next": 0.1}
"""Nats per token that what is tuned together may cost before it is tuned, by what the gate asks for."""
START_TOKENS = 2_000
"""Tokens of tune text that this is measured on, and what giving way saves."""
SKIPS = 3
"""Units that cost too much and are passed over."""
TRIED = 24
"""Of so many units it is measured what is saved when they give way."""


@dataclass(frozen=True)
class Choice:
    """What of a model may be tuned, and what it is worth."""

    model: Model
    worths: Mapping[Unit, float]
    costs: Mapping[Unit, float]
    """Estimated before anything is tuned, in nats per token."""

    @staticmethod
    def of(model: Model, sources: Sources, lifted: LiftedParts) -> Choice:
        """All of `lifted` that can be tuned."""
        costs = {
            unit: cost
            for unit, cost in units(sources, lifted).items()
            if all(tunes(lifted.forms.get(address)) for address in unit)
        }
        worths = worth(list(costs), sources.effects | lifted.effects, model.config)
        return Choice(model, dict(zip(costs, worths, strict=True)), costs)

    def cheapest(self) -> list[Unit]:
        """The units, those first that cost least for what they are worth."""
        return sorted(self.costs, key=lambda unit: self.costs[unit] / self.worths[unit])


def tune_parts(
    project: Project, sources: Sources, lifted: LiftedParts, vectors: Vectors, minutes: float, *, quick: bool
) -> Tuned:
    """Tune what of `lifted` can be tuned together, for about `minutes`, and store it. Goes on from a killed run.

    After each round but the last, what saves most for its worth gives way, as much as the gate seems to ask; what is
    left is tuned again.
    """
    model, gate = project.model, project.manifest.gate
    check = first_tokens(rows_for(project, "tune", 4 * CHECK_TOKENS[quick]), CHECK_TOKENS[quick])
    spoken = rollouts(project, CONTEXTS[quick])
    choice = Choice.of(model, sources, lifted)
    forms, left, steps, before = starting(choice, lifted, check, gate.asks), 60 * minutes, 0, math.nan
    for number, share in enumerate(SHARES):
        tuned = tune_round(project, forms, check, share * left, number)
        left, steps, before = (1 - share) * left, steps + tuned.steps, tuned.before if number == 0 else before
        forms = tuned.forms(vectors)
        found = slips(Twin(model, forms), spoken)
        over = excess(found, gate.limits)
        say(len(forms), tuned, found)
        if over <= 1 or share == 1:
            break
        forms = fewer(choice, forms, first_tokens(check, START_TOKENS), over)
        if not forms:
            break
    tuned = Tuned(tuned.tensors, tuned.channels, before, tuned.after, steps)
    tuned.write(project.directory / TUNED, tuned_state(project))
    for number in range(len(SHARES)):
        (project.directory / CHECKPOINT.format(number)).unlink(missing_ok=True)
    return tuned


def tune_round(project: Project, forms: Mapping[Address, Stored], check: Rows, seconds: float, number: int) -> Tuned:
    """`forms` tuned together for so many `seconds`; a round that ended is taken from its checkpoint."""
    tunable, seed = Tunable.of(project.model, forms), project.manifest.settings.seed
    fit = rows_for(project, "fit", max(FIT_TOKENS, math.ceil(4 * TOKENS_PER_NUMBER * tunable.numbers)))
    about = sha256_text(f"{tuned_state(project)} {number} {' '.join(map(str, sorted(forms)))}")
    path = project.directory / CHECKPOINT.format(number)
    tuning = tune(tunable, fit, check, seconds, path, about, seed)
    return Tuned(tuning.best, dict(tunable.channels), tuning.first_kl, tuning.best_kl, tuning.step)


def say(parts: int, tuned: Tuned, found: Slips) -> None:
    """How a round ended, on standard error."""
    print(
        f"  {parts:,} parts tuned from {tuned.before:.2e} to {tuned.after:.2e} nats a token: at "
        f"most {found.wer_next:.2f} % of next words and {found.wer_16:.2f} % of 16 words differ on tune text",
        file=sys.stderr,
    )


def excess(found: Slips, limits: Mapping[str, float]) -> float:
    """How many times more than linking's margin of the gate's `limits` the words are that differ."""
    figures = {"wer_next": found.wer_next, "wer_16": found.wer_16}
    return max(figures[metric] / (MARGIN * limit) for metric, limit in limits.items())


def starting(choice: Choice, lifted: LiftedParts, check: Rows, asks: str) -> dict[Address, Stored]:
    """The parts to tune together, those cheapest for their worth first.

    Of where heads look and what neurons read, what costs together at most `START` before it is tuned; of what heads
    move, what adds no more to that than linking is expected to allow in all.
    """
    able, rows = choice.cheapest(), first_tokens(check, START_TOKENS)

    def cost(chosen: Sequence[Unit]) -> float:
        return joint_cost(choice.model, forms_of(chosen, lifted.forms), rows)

    found = filled([unit for unit in able if unit[0].is_code], [], cost, START[asks])
    moved = [unit for unit in able if not unit[0].is_code]
    return forms_of(filled(moved, found, cost, cost(found) + PROMISED[asks]), lifted.forms)


def filled(
    able: Sequence[Unit], chosen: Sequence[Unit], cost: Callable[[Sequence[Unit]], float], most: float
) -> list[Unit]:
    """`chosen` and as many of `able`, from the first, as cost at most `most` together; `SKIPS` may be passed over."""
    found, left = list(chosen), list(able)
    for _ in range(1 + SKIPS):
        low, high = 0, len(left)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if cost([*found, *left[:middle]]) <= most else (low, middle - 1)
        found, left = found + left[:low], left[low + 1 :]
    return found


def fewer(choice: Choice, forms: Mapping[Address, Stored], rows: Rows, over: float) -> dict[Address, Stored]:
    """What stays of `forms`, tuned together, when so many times too many words differ.

    Words that differ go with the root of the nats that parts cost. Of the units that cost most for their worth before
    they were tuned it is measured what is saved once they run raw; those go that save most for their worth, at least
    one.
    """
    standing = [unit for unit in choice.cheapest() if unit[0] in forms]
    whole = joint_cost(choice.model, forms, rows)
    saved = {}
    for unit in standing[-TRIED:]:
        rest = {address: form for address, form in forms.items() if address not in unit}
        saved[unit] = whole - joint_cost(choice.model, rest, rows)
    going, needed = set[Address](), whole * (1 - 1 / over**2)
    for unit in sorted(saved, key=lambda unit: saved[unit] / choice.worths[unit], reverse=True):
        going |= {*unit}
        needed -= saved[unit]
        if needed <= 0:
            break
    return {address: form for address, form in forms.items() if address not in going}


def tunes(form: Stored | None) -> bool:
    """Whether a form has vectors that can be tuned."""
    return isinstance(form, Channel | Compares) or (isinstance(form, Lifted) and form.rank > 0)


def forms_of(chosen: Sequence[Unit], forms: Mapping[Address, Stored]) -> dict[Address, Stored]:
    """The forms of units."""
    return {address: forms[address] for unit in chosen for address in unit}


def joint_cost(model: Model, forms: Mapping[Address, Stored], rows: Rows) -> float:
    """KL(subject ‖ twin) in nats per token."""
    twin, total = Twin(model, forms), 0.0
    with torch.inference_mode():
        for ids in batches(rows, model.n_vocab):
            total += divergence(model.logits(ids), twin.logits(ids))
    return total / rows.numel()
