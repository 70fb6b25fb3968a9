"""Which parts run without their residual: linked on *check* text, judged on what the subject itself would say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import torch
from jaxtyping import Bool
from torch import Tensor

from pellucid.base.address import Address
from pellucid.base.effort import Effort
from pellucid.base.memory import keeping
from pellucid.base.terminal import tell
from pellucid.corpus.cuts import SHORTEST
from pellucid.exact.model import Model
from pellucid.family.allowance import most_rank
from pellucid.family.blocks import Decoder
from pellucid.family.partition import count as parameters_of
from pellucid.forms.form import Form
from pellucid.forms.twin import Twin
from pellucid.project.project import Project
from pellucid.project.rows import rows_for
from pellucid.stages.first.sources import FirstSources
from pellucid.stages.lift.lifted import LiftedParts
from pellucid.stages.link.link import link
from pellucid.stages.link.rollouts import Rollouts, Slips, roll, slips

PROMISED = {"both": 1e-5, "next": 5e-4}
"""Nats per token that 16 words, or next words alone, within 1 % are expected to allow; the first block costs that."""
MARGIN = 0.6
"""Linking stops at this share of the gate's limits, since held-out text will not repeat the luck of check text."""
LENGTHS = 8
"""Lengths of contexts: as on held-out text they are short as well as long."""
SPOKEN = 32
"""Tokens of every continuation that are compared."""


Unit = tuple[Address, ...]
"""Addresses that are linked together or not at all."""


@keeping()
def link_sources(project: Project, sources: FirstSources, lifted: LiftedParts, effort: Effort) -> list[Address]:
    """The addresses whose residuals can go, cheapest for their size first; says on standard error how trials ended.

    What was tuned together is tried first, all at once, since its parts make up for each other.
    """
    model, gate = project.model, project.manifest.gate
    spoken, on = rollouts(project, effort.link_contexts), chosen_on(project)
    forms, costs = {**sources.forms, **lifted.forms}, units(sources, lifted)

    def passes(chosen: Sequence[Unit]) -> bool:
        together = allowed(chosen, forms, model.decoder)
        twin = Twin(model, [forms[address] for address in together])
        found = slips(twin, spoken, hopeless=lambda so_far: excess(so_far, gate.limits) > 1)
        passed = excess(found, gate.limits) <= 1
        tell(
            f"  {len(together):,} parts without residual: at {'most' if found.whole else 'least'} "
            f"{found.wer_next:.2f} % of next words and "
            f"{found.wer_16:.2f} % of 16 words differ on {on} text: {'kept' if passed else 'backed off'}"
        )
        return passed

    sizes = dict(zip(costs, worth(list(costs), sources.effects | lifted.effects, model.decoder), strict=True))
    base = [unit for unit in costs if unit[0] in lifted.together]
    base = base if base and passes(base) else []
    rest = {unit: cost for unit, cost in costs.items() if unit not in base}

    def joins(chosen: Sequence[Unit]) -> bool:
        return passes([*base, *chosen])

    found = link(
        [*rest], [*rest.values()], PROMISED[gate.asks], joins, effort.link_trials, [sizes[unit] for unit in rest]
    )
    return allowed([*base, *found.accepted], forms, model.decoder)


def units(sources: FirstSources, lifted: LiftedParts) -> dict[Unit, float]:
    """What is linked together, with its estimated cost in nats per token.

    Sources that cost as much as the mean are left out, and those of parts that can be lifted. A neuron that fires by a
    constant and writes its mean is one unit: what it writes is the same everywhere either way, and costs what its mean
    costs. Neurons of a layer that read its channels are one unit: fewer may not share as many channels.
    """
    found: dict[Unit, float] = {}
    paired: set[Address] = set()
    for address, form in sources.forms.items():
        if address in lifted.forms or sources.losses[address] >= sources.effects[address]:
            continue
        out = Address("OUT", address.layer, address.index)
        if form.constant is not None and out in lifted.forms:
            found[address, out] = lifted.losses[out]
            paired.add(out)
        else:
            found[address,] = sources.losses[address]
    found |= {(a,): lifted.losses[a] for a in lifted.forms if a not in paired and a.kind != "IN"}
    for unit in reading_units(lifted):
        found[unit] = math.fsum(lifted.losses[address] for address in unit)
    return found


def reading_units(lifted: LiftedParts) -> Iterator[Unit]:
    """The neurons of each layer that read its channels."""
    neurons = sorted(address for address in lifted.forms if address.kind == "IN")
    for _, of_layer in groupby(neurons, key=lambda address: address.layer):
        yield tuple(of_layer)


def allowed(units: Sequence[Unit], forms: Mapping[Address, Form], decoder: Decoder) -> list[Address]:
    """The addresses of `units` that may run together: channels only where enough neurons of a layer share them."""
    chosen = [address for unit in units for address in unit]
    readers = Counter(address.layer for address in chosen if forms[address].shared)
    return [a for a in chosen if forms[a].shared <= most_rank(decoder, "IN", readers[a.layer])]


def worth(units: Sequence[Unit], effects: Mapping[Address, float], decoder: Decoder) -> list[float]:
    """What it is worth that each of `units` runs without residual: its share of all parameters, and of all effects."""
    parameters = [sum(parameters_of(address, decoder) for address in unit) for unit in units]
    felt = [math.fsum(effects.get(address, 0.0) for address in unit) for unit in units]
    whole, all_felt = sum(parameters) or 1, math.fsum(felt) or 1.0
    return [size / whole + effect / all_felt for size, effect in zip(parameters, felt, strict=True)]


def excess(found: Slips, limits: Mapping[str, float]) -> float:
    """How many times more than the margin to the gate's `limits` allows the words are that differ."""
    figures = {"wer_next": found.wer_next, "wer_16": found.wer_16}
    return max(_over(figures[metric], MARGIN * limit) for metric, limit in limits.items())


def _over(figure: float, limit: float) -> float:
    return figure / limit if limit else math.inf if figure else 0.0


def rollouts(project: Project, count: int) -> list[Rollouts]:
    """What the subject says after about `count` contexts of check text, of `LENGTHS` lengths from the shortest on.

    Where there are fewer rows than that, a row may be a context of each length.
    """
    model = project.model
    rows = rows_for(project, chosen_on(project), count * model.n_ctx)
    tokens = min(SPOKEN, model.n_ctx // 2)
    starts = word_starts(model)
    longest = model.n_ctx - tokens
    shortest = min(SHORTEST, longest)
    lengths = sorted({shortest + (longest - shortest) * number // (LENGTHS - 1) for number in range(LENGTHS)})
    each = math.ceil(count / len(lengths))
    groups = (rows.roll(-each * number, 0)[:each] for number in range(len(lengths)))
    return [roll(model, group[:, :length], tokens, starts) for length, group in zip(lengths, groups, strict=True)]


def chosen_on(project: Project) -> str:
    """The split by which it is judged what runs without residual: tune text where there is no check text."""
    return "check" if project.texts.check else "tune"


def word_starts(model: Model) -> Bool[Tensor, " vocab"]:
    """Which tokens begin a word: those that begin with white space, or all where every token is a word."""
    tokenizer = model.tokenizer
    starts = torch.zeros(model.n_vocab, dtype=torch.bool)
    for token in range(tokenizer.n_tokens):
        text = tokenizer.token_bytes(token).decode("utf-8", "replace")
        starts[token] = tokenizer.kind == "words" or token == tokenizer.eos_id or text[:1].isspace()
    return starts
