"""Lifted parts: along how few directions heads write and look and neurons read, and which neurons may write a mean."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from pellucid.base.address import Address
from pellucid.base.effort import Effort
from pellucid.base.errors import ProjectError
from pellucid.base.memory import keeping
from pellucid.base.schema import Count, parsed
from pellucid.family.allowance import most_rank
from pellucid.family.blocks import Decoder
from pellucid.forms.form import StoredForm
from pellucid.forms.lifting import Costs, Vectors, costs
from pellucid.listing.change import with_lifted
from pellucid.listing.statement import STORED
from pellucid.program.prelude import BESIDE
from pellucid.project.project import Project
from pellucid.project.rows import first_tokens, rows_for
from pellucid.project.stage_names import LIFTED

STORED_LIFTED = f"evidence.sqlite, stage `{LIFTED}`"
SHARE = 0.1
"""What a single neuron's mean may cost, as a share of what all parts without residual may cost together."""


@dataclass(frozen=True)
class LiftedParts:
    """Candidates: forms of heads (OV, QK) and neurons (OUT, IN).

    `effects` are the nats per token that the mean costs in the place of any OV or OUT, `losses` those that the forms
    cost, both second-order estimates on tune text. The effects of QK and IN are known with their sources. What was
    tuned `together` is linked together.
    """

    forms: dict[Address, StoredForm]
    effects: dict[Address, float]
    losses: dict[Address, float]
    together: frozenset[Address] = frozenset()

    def only(self, addresses: Collection[Address]) -> LiftedParts:
        """These candidates, of `addresses` alone; effects stay those of all parts."""
        return replace(self, forms={address: form for address, form in self.forms.items() if address in addresses})


@keeping()
def find_lifted(project: Project, vectors: Vectors, promised: float, effort: Effort) -> LiftedParts:
    """Every part that can be lifted if linking accepts about `promised` nats per token in all.

    A head has the lowest rank that costs less than its share of that, or, where none does, the highest it may have.
    """
    tune = first_tokens(rows_for(project, "tune", effort.tune_tokens), effort.lifted_tokens)
    return choose(costs(project.model, vectors, tune, project.manifest.settings.seed), vectors, promised)


def choose(estimated: Costs, vectors: Vectors, promised: float) -> LiftedParts:
    """The candidates that `estimated` costs leave.

    No OV or OUT costs more than `promised` alone; of QK and IN all are, since tuning may make them cheaper together.
    """
    forms: dict[Address, StoredForm] = {}
    effects: dict[Address, float] = {}
    losses: dict[Address, float] = {}
    heads = sum(len(of_layer) for of_layer in estimated.heads)
    for layer, of_layer in enumerate(estimated.heads):
        for head, ranks in enumerate(of_layer.tolist()):
            address = Address("OV", layer, head)
            rank = lowest(ranks, promised / heads)
            effects[address] = ranks[0]
            if ranks[rank] <= promised:
                forms[address], losses[address] = vectors.head(address, rank), ranks[rank]
    for layer, neurons in enumerate(estimated.neurons):
        for neuron, cost in enumerate(neurons.tolist()):
            address = Address("OUT", layer, neuron)
            effects[address] = cost
            if cost <= SHARE * promised:
                forms[address], losses[address] = vectors.neuron(address), cost
    for address, cost in reading_costs(estimated).items():
        if rank := vectors.most(address):
            forms[address], losses[address] = vectors.form(address, rank), cost
    return LiftedParts(forms, effects, losses)


def reading_costs(estimated: Costs) -> dict[Address, float]:
    """What lifting each QK and IN costs."""
    looks = {
        Address("QK", layer, head): cost
        for layer, of_layer in enumerate(estimated.looks)
        for head, cost in enumerate(of_layer.tolist())
    }
    return looks | {
        Address("IN", layer, neuron): cost
        for layer, of_layer in enumerate(estimated.reads)
        for neuron, cost in enumerate(of_layer.tolist())
    }


def lowest(ranks: list[float], affordable: float) -> int:
    """The lowest rank that costs at most `affordable`, or else the one that costs least."""
    good = [rank for rank, cost in enumerate(ranks) if cost <= affordable]
    return good[0] if good else min(range(len(ranks)), key=lambda rank: ranks[rank])


def before_sources(parts: LiftedParts, losses: Mapping[Address, float], promised: float) -> LiftedParts:
    """The candidates that are better than the source of their part, `losses` being what sources cost.

    A source goes before what is lifted where it costs no more, or no more than its share of `promised`.
    """
    share = promised / max(1, len(parts.forms))
    better = (a for a in parts.forms if a not in losses or losses[a] > max(parts.losses[a], share))
    return parts.only(set(better))


def as_many_channels(parts: LiftedParts, vectors: Vectors, decoder: Decoder) -> LiftedParts:
    """The candidates with the neurons of each layer reading as many channels as those that are left may share."""
    left = Counter(address.layer for address in parts.forms if address.kind == "IN")
    forms: dict[Address, StoredForm] = {}
    for address, form in parts.forms.items():
        rank = min(form.rank, most_rank(decoder, "IN", left[address.layer])) if address.kind == "IN" else form.rank
        if rank == form.rank:
            forms[address] = form
        elif rank:
            forms[address] = vectors.form(address, rank)
    return replace(parts, forms=forms)


def liftable(project: Project, parts: LiftedParts) -> set[Address]:
    """The candidates that no person has written about: those that emission may lift."""
    listing = project.listing()
    written = {key for key, statement in listing.statements.items() if statement.by_person}
    layers = {(address.layer, address.kind) for address in parts.forms}
    shared = {f"L{layer:02d}.OUT" for layer, _ in layers} | {f"L{layer:02d}.IN{BESIDE}" for layer, _ in layers}
    shared &= written

    def free(address: Address) -> bool:
        if address.kind in ("QK", "IN"):
            key = f"L{address.layer:02d}.IN{BESIDE}" if address.kind == "IN" else f"{address}{BESIDE}"
            return key not in written and not (str(address) in written and listing[address].form in STORED)
        several = address.kind == "OUT" and f"L{address.layer:02d}.OUT" in shared
        return str(address) not in written and listing.form(address) != "source" and not several

    return {address for address in parts.forms if free(address)}


def write_lifted_parts(project: Project, parts: LiftedParts, linked: Collection[Address]) -> None:
    """Let exactly the candidates among `linked` be lifted in the program; what a person wrote stays."""
    chosen = [address for address in parts.forms if address in linked]
    ranks = {address: parts.forms[address].rank for address in chosen if address.kind in ("OV", "QK")}
    channels: dict[int, tuple[int, list[int]]] = {}
    for address in chosen:
        if address.kind == "IN":
            channels.setdefault(address.layer, (parts.forms[address].rank, []))[1].append(address.index)
    neurons = [address for address in chosen if address.kind == "OUT"]
    project.take(with_lifted(project.listing(), ranks, neurons, channels))


def dump_lifted(parts: LiftedParts) -> str:
    """`parts` as JSON without their vectors, to go on from in a later run."""
    ranks = {str(address): form.rank for address, form in parts.forms.items()}
    figures = [{str(address): value for address, value in found.items()} for found in (parts.effects, parts.losses)]
    return json.dumps({"ranks": ranks, "effects": figures[0], "losses": figures[1]})


@dataclass(frozen=True)
class _Kept:
    """Lifted parts as they are kept."""

    ranks: dict[str, Count]
    effects: dict[str, float]
    losses: dict[str, float]


def load_lifted(text: str, vectors: Vectors) -> LiftedParts:
    """What `dump_lifted` wrote, with the vectors that it was chosen among. Raises `ProjectError` for anything else."""
    kept = parsed(_Kept, text, STORED_LIFTED, ProjectError)
    effects, losses = ({Address.parse(a): v for a, v in found.items()} for found in (kept.effects, kept.losses))
    ranks = {Address.parse(address): rank for address, rank in kept.ranks.items()}
    if lost := ranks.keys() - losses.keys():
        raise ProjectError(f"{STORED_LIFTED}: {min(lost)} has a rank, but no loss")
    forms = {address: vectors.form(address, rank) for address, rank in ranks.items()}
    return LiftedParts(forms, effects, losses)
