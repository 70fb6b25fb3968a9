"""Lifted parts: along how few directions each head can write, and which neurons may write the same everywhere."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace

from pellucid.base.address import Address
from pellucid.listing.emit import write_lifted
from pellucid.match.lifting import Costs, Vectors, costs
from pellucid.match.project import Project
from pellucid.match.sources import TOKENS as SOURCE_TOKENS
from pellucid.match.sources import first_tokens, rows_for
from pellucid.match.stored import Stored

TOKENS = {False: 20_000, True: 8_000}
"""Tokens of tune text that lifted forms are chosen on, and of held-out text that they are measured on."""
SHARE = 0.1
"""What a single neuron's mean may cost, as a share of what all parts without residual may cost together."""


@dataclass(frozen=True)
class LiftedParts:
    """Candidates: forms of heads (OV) and neurons (OUT).

    `effects` are the nats per token that the mean costs in the place of any OV or OUT, `losses` those that the forms
    cost, both second-order estimates on tune text.
    """

    forms: dict[Address, Stored]
    effects: dict[Address, float]
    losses: dict[Address, float]

    def only(self, addresses: Collection[Address]) -> LiftedParts:
        """These candidates, of `addresses` alone; effects stay those of all parts."""
        return replace(self, forms={address: form for address, form in self.forms.items() if address in addresses})


def find_lifted(project: Project, vectors: Vectors, promised: float, *, quick: bool) -> LiftedParts:
    """Every OV and OUT that can be lifted if linking accepts about `promised` nats per token in all.

    A head has the lowest rank that costs less than its share of that, or, where none does, the highest it may have.
    """
    tune = first_tokens(rows_for(project, "tune", SOURCE_TOKENS[quick]["tune"]), TOKENS[quick])
    return choose(costs(project.model, vectors, tune, project.manifest.settings.seed), vectors, promised)


def choose(estimated: Costs, vectors: Vectors, promised: float) -> LiftedParts:
    """The candidates that `estimated` costs leave, none of which costs more than `promised` alone."""
    forms: dict[Address, Stored] = {}
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
    return LiftedParts(forms, effects, losses)


def lowest(ranks: list[float], affordable: float) -> int:
    """The lowest rank that costs at most `affordable`, or else the one that costs least."""
    good = [rank for rank, cost in enumerate(ranks) if cost <= affordable]
    return good[0] if good else min(range(len(ranks)), key=lambda rank: ranks[rank])


def liftable(project: Project, parts: LiftedParts) -> set[Address]:
    """The candidates that no person has written about: those that emission may lift."""
    listing = project.listing()
    written = {key for key, statement in listing.statements.items() if statement.by_person}
    shared = {f"L{address.layer:02d}.OUT" for address in parts.forms if address.kind == "OUT"} & written
    return {
        address
        for address in parts.forms
        if str(address) not in written
        and listing.form(address) != "source"
        and not (address.kind == "OUT" and f"L{address.layer:02d}.OUT" in shared)
    }


def write_lifted_parts(project: Project, parts: LiftedParts, linked: Collection[Address]) -> None:
    """Let exactly the candidates among `linked` be lifted in the program; what a person wrote stays."""
    chosen = [address for address in parts.forms if address in linked]
    ranks = {address: parts.forms[address].rank for address in chosen if address.kind == "OV"}
    write_lifted(project.directory, ranks, [address for address in chosen if address.kind == "OUT"])


def dump_lifted(parts: LiftedParts) -> str:
    """`parts` as JSON without their vectors, to go on from in a later run."""
    ranks = {str(address): form.rank for address, form in parts.forms.items()}
    figures = [{str(address): value for address, value in found.items()} for found in (parts.effects, parts.losses)]
    return json.dumps({"ranks": ranks, "effects": figures[0], "losses": figures[1]})


def load_lifted(text: str, vectors: Vectors) -> LiftedParts:
    """What `dump_lifted` wrote, with the vectors that it was chosen among."""
    data = json.loads(text)
    ranks, effects, losses = (
        {Address.parse(address): value for address, value in data[name].items()}
        for name in ("ranks", "effects", "losses")
    )
    forms: dict[Address, Stored] = {
        address: vectors.head(address, rank) if address.kind == "OV" else vectors.neuron(address)
        for address, rank in ranks.items()
    }
    return LiftedParts(forms, effects, losses)
