"""Rounds of tuning: what is tuned together, and what of it gives way where the rest does not keep within the gate.

Parts that are tuned together make up for each other, so what is left has to be tuned again whenever one goes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from pellucid.base.address import Address
from pellucid.base.effort import Effort
from pellucid.base.files import sha256_text
from pellucid.base.terminal import tell
from pellucid.exact.model import Model
from pellucid.forms.form import StoredForm
from pellucid.forms.lifting import Vectors
from pellucid.forms.twin import Twin
from pellucid.measure.distance import mean_kl
from pellucid.project.project import Project
from pellucid.project.rows import Rows, first_tokens, rows_for
from pellucid.stages.first.sources import FirstSources
from pellucid.stages.lift.lifted import LiftedParts
from pellucid.stages.link.linking import PROMISED, Unit, chosen_on, excess, rollouts, units, worth
from pellucid.stages.link.rollouts import Slips, slips
from pellucid.stages.tune.tune import TOKENS_PER_NUMBER, Tunable, tune
from pellucid.stages.tune.tuned import TUNED, Tuned, tuned_state

CHECKPOINT = "scratch/tuning-{}.safetensors"
SHARES = (0.5, 0.5, 1.0)
"""How much of the time that is left each round takes."""
FIT_TOKENS = 1_000_000
"""The least tokens of fit text that are asked for, where there are as many: numbers fit less to ones met once."""
START = {"both": 2e-3, "next": 0.05}
"""Nats per token that what is tuned together may cost before it is tuned, by what the gate asks for."""
START_TOKENS = 2_000
"""Tokens of tune text that this is measured on."""
MEASURED = 24
"""Of so many units, those that seem to cost most for their worth, it is measured what they cost alone."""
SKIPS = 3
"""Units that cost too much and are passed over."""
CELLS = 10_000
"""How finely costs are told apart where it is chosen what stays."""


@dataclass(frozen=True)
class TuneChoice:
    """What of a model may be tuned, what it is worth, and what it costs."""

    model: Model
    worths: Mapping[Unit, float]
    costs: Mapping[Unit, float]
    """Of each unit alone before anything is tuned, in nats per token."""

    @staticmethod
    def of(model: Model, sources: FirstSources, lifted: LiftedParts, rows: Rows) -> TuneChoice:
        """All of `lifted` that can be tuned; what costs most is measured on `rows`, the rest estimated."""
        costs = {
            unit: cost
            for unit, cost in units(sources, lifted).items()
            if all(tunes(lifted.forms.get(address)) for address in unit)
        }
        worths = dict(zip(costs, worth(list(costs), sources.effects | lifted.effects, model.decoder), strict=True))
        dear = TuneChoice(model, worths, costs).cheapest()[-MEASURED:]
        return TuneChoice(
            model, worths, costs | {u: joint_cost(model, forms_of([u], lifted.forms), rows) for u in dear}
        )

    def cheapest(self) -> list[Unit]:
        """The units, those first that cost least for what they are worth."""
        return sorted(self.costs, key=lambda unit: self.costs[unit] / self.worths[unit])


def tune_parts(
    project: Project,
    trainer: Model,
    sources: FirstSources,
    lifted: LiftedParts,
    vectors: Vectors,
    minutes: float,
    effort: Effort,
) -> Tuned | None:
    """Tune what of `lifted` can be tuned together, for `minutes` at most, and store it; None where nothing can be.

    Steps run where `trainer` is, the same subject. Where more words differ after a round than linking allows, parts
    give way and what is left is tuned again, in `SHARES` rounds at most, from what it was before any where that costs
    less. A killed run goes on.
    """
    model, gate = project.model, project.manifest.gate
    check = first_tokens(rows_for(project, "tune", 4 * effort.tuned_by_tokens), effort.tuned_by_tokens)
    choice = TuneChoice.of(model, sources, lifted, first_tokens(check, START_TOKENS))
    spoken = rollouts(project, effort.link_contexts)
    forms = starting(choice, lifted, check, gate.asks)
    tuned, left, steps = None, 60 * minutes, 0
    for number, share in enumerate(SHARES):
        if not forms:
            break
        tuned = tune_round(project, trainer, forms, check, share * left, number, tuned)
        left, steps = (1 - share) * left, steps + tuned.steps
        parts = tuned.forms(vectors)
        found = slips(Twin(model, parts), spoken)
        say(len(parts), tuned, found, chosen_on(project))
        over = excess(found, gate.limits)
        if over <= 1:
            break
        staying = fewer(choice, parts, over)
        untuned = {address: lifted.forms[address] for address in staying}
        forms = min(staying, untuned, key=lambda each: joint_cost(model, each, check))
    if tuned is None:
        return None
    before = joint_cost(model, {address: lifted.forms[address] for address in parts}, check)
    tuned = Tuned(tuned.tensors, tuned.sharing, before, tuned.after, steps)
    tuned.write(project.directory / TUNED, tuned_state(project))
    for number in range(len(SHARES)):
        (project.directory / CHECKPOINT.format(number)).unlink(missing_ok=True)
    return tuned


def tune_round(
    project: Project,
    trainer: Model,
    forms: Mapping[Address, StoredForm],
    check: Rows,
    seconds: float,
    number: int,
    last: Tuned | None,
) -> Tuned:
    """`forms` tuned together for so many `seconds`, after the `last` round; one that ended is its checkpoint's."""
    tunable, settings = Tunable.of(trainer, forms), project.manifest.settings
    fit = rows_for(project, "fit", max(FIT_TOKENS, math.ceil(4 * TOKENS_PER_NUMBER * tunable.numbers)))
    ranks = " ".join(f"{address}:{forms[address].rank}" for address in sorted(forms))
    after = "" if last is None else f"{last.steps} {last.after!r}"
    about = sha256_text(f"{tuned_state(project)} {number} {after} {ranks}")
    path, seed = project.directory / CHECKPOINT.format(number), len(SHARES) * settings.seed + number
    tuning = tune(tunable, fit, check, seconds, path, about, seed)
    best = {name: tensor.cpu() for name, tensor in tuning.best.items()}
    return Tuned(best, dict(tunable.sharing), tuning.first_kl, tuning.best_kl, tuning.step)


def say(parts: int, tuned: Tuned, found: Slips, on: str) -> None:
    """How a round ended, on standard error."""
    tell(
        f"  {parts:,} parts tuned from {tuned.before:.2e} to {tuned.after:.2e} nats a token: at "
        f"most {found.wer_next:.2f} % of next words and {found.wer_16:.2f} % of 16 words differ on {on} text"
    )


def starting(choice: TuneChoice, lifted: LiftedParts, check: Rows, asks: str) -> dict[Address, StoredForm]:
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


def fewer(choice: TuneChoice, forms: Mapping[Address, StoredForm], over: float) -> dict[Address, StoredForm]:
    """What stays of `forms`, tuned together, when so many times too many words differ.

    Words that differ go with the root of the nats that parts cost; those that parts cost after tuning are taken to be
    shared out as before it. (What running a part raw again saves says little: the others have made up for it.)
    """
    standing = [unit for unit in choice.costs if unit[0] in forms]
    whole = math.fsum(choice.costs[unit] for unit in standing)
    shares = [choice.costs[unit] / whole for unit in standing]
    kept = worth_most(shares, [choice.worths[unit] for unit in standing], 1 / over**2)
    return forms_of([standing[at] for at in kept], forms)


def worth_most(shares: Sequence[float], worths: Sequence[float], most: float) -> list[int]:
    """Which of some things are worth most together if their shares may sum to `most` (0/1 knapsack, in `CELLS`)."""
    room, sizes = int(most * CELLS), [math.ceil(share * CELLS) for share in shares]
    best, taken = torch.zeros(room + 1, dtype=torch.float64), []
    for size, value in zip(sizes, worths, strict=True):
        with_it = torch.full_like(best, -math.inf)
        if size <= room:
            with_it[size:] = best[: room + 1 - size] + value
        taken.append(with_it > best)
        best = torch.maximum(best, with_it)
    found: list[int] = []
    for at in reversed(range(len(shares))):
        if taken[at][room]:
            found.append(at)
            room -= sizes[at]
    return sorted(found)


def tunes(form: StoredForm | None) -> bool:
    """Whether a form has vectors that can be tuned."""
    return form is not None and form.is_tuned


def forms_of(chosen: Sequence[Unit], forms: Mapping[Address, StoredForm]) -> dict[Address, StoredForm]:
    """The forms of units."""
    return {address: forms[address] for unit in chosen for address in unit}


def joint_cost(model: Model, forms: Mapping[Address, StoredForm], rows: Rows) -> float:
    """KL(subject ‖ twin) in nats per token."""
    return mean_kl(model, Twin(model, forms).logits, rows)
