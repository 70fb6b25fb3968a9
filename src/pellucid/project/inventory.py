"""The inventory of a program: where every address stands, from its statement, its residual and its evidence."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pellucid.base.address import Address
from pellucid.base.files import sha256_text
from pellucid.family.partition import count
from pellucid.listing.about import About, whole
from pellucid.listing.content import ValueDef
from pellucid.listing.count import count_program
from pellucid.listing.parse import Listing
from pellucid.listing.statement import STORED, Statement
from pellucid.listing.word import word_of
from pellucid.project.descriptions import told_before
from pellucid.project.evidence import Measurement
from pellucid.project.parts_file import Standing, standing
from pellucid.project.progress import State
from pellucid.project.project import EVIDENCE, Project
from pellucid.project.symbols import Symbol
from pellucid.project.verdict import Verdict, verdict

PASSING = 0.7
"""The least score (correlation of the source's output with the raw part's, held-out) at which a description passes."""
STAGE = "numbers"
FEW = 100
"""Parts whose measurements are looked up one by one."""
KINDS = ("isolated", "swapped_in", "joint")


@dataclass(frozen=True)
class Entry:
    """One address. `statement` is None where it runs raw; `measured` are its latest measurements by kind and metric.

    `numbers` are those of its source, or of what it is lifted to where it has none.
    """

    address: Address
    state: State
    verdict: Verdict
    statement: Statement | None
    numbers: int
    symbol: Symbol | None
    measured: dict[str, dict[str, Measurement]]
    values: tuple[ValueDef, ...] = ()
    """The named values that it reads, directly or through others."""
    lifted: Statement | None = None
    """What it is lifted to in the place of its weights, beside what else it is."""
    about: About | None = None
    """What the program says in words of the whole head or neuron that it is a side of."""

    @property
    def text(self) -> str:
        """What explains it: its statement, behind the named values that it reads."""
        assert self.statement is not None
        return "\n\n\n".join([*(value.text for value in self.values), self.statement.text])

    @property
    def name(self) -> str:
        """Its name, empty where it has none."""
        return self.symbol.name if self.symbol else ""

    @property
    def is_told(self) -> bool:
        """Whether there is something to show of it: a statement, or words about it."""
        return self.statement is not None or self.about is not None

    def detail(self, contexts: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
        """All that a page shows of a part with a source; `contexts` are the places where it is most wrong.

        What runs raw and has no source has no `source` here, and nothing that is said of one.
        """
        symbol, statement = self.symbol or Symbol(str(self.address), "", self.address.kind), self.statement
        docstring = (statement.docstring or _sentence(statement)) if statement else ""
        if self.lifted and self.lifted is not statement:
            docstring = f"{docstring} Without its residual it runs lifted: {_sentence(self.lifted)}"
        return {
            "address": str(self.address),
            "about": self.about.said if self.about else "",
            "runs": not self.state.described,
            "name": symbol.name,
            "provenance": symbol.provenance,
            "note": symbol.note,
            "description": docstring.split("\n\n")[0].strip(),
            "file": statement.file.name if statement else "",
            "line": statement.line if statement else 0,
            "source": statement.text if statement else "",
            "reads": list(statement.reads) if statement else [],
            "numbers": self.numbers,
            "measured": {kind: {m: figure(row) for m, row in self.measured.get(kind, {}).items()} for kind in KINDS},
            "contexts": list(contexts),
        }


def _sentence(statement: Statement) -> str:
    """What a statement without a docstring says."""
    word = word_of(statement)
    return word.says(statement) if word else ""


def figure(row: Measurement) -> dict[str, Any]:
    """A measurement as it stands in reports."""
    return {"value": row.value, "low": row.low, "high": row.high, "n": row.n, "split": row.split}


def statement_state(statement: Statement) -> str:
    """The hash by which evidence about a source, or a lifted part, knows whether it has changed since."""
    if statement.form in STORED:
        return lifted_state(statement.rank)
    return sha256_text(statement.text.strip() + statement.uses)[:16]


def lifted_state(rank: int) -> str:
    """The same for a part that is lifted to `rank`, 0 being its mean, whatever other parts its statement names."""
    return sha256_text(f"lifted to rank {rank}")[:16]


def inventory(project: Project, wanted: Collection[Address] | None = None) -> list[Entry]:
    """Every address of the subject, or those that are `wanted`, in order of execution."""
    listing, dropped, symbols = project.listing(), project.dropped(), project.symbols()
    numbers, known = _numbers(project, listing, wanted), told_before(project.evidence)
    measured: dict[str, dict[str, dict[str, Measurement]]] = defaultdict(lambda: defaultdict(dict))
    few = [str(address) for address in wanted] if wanted is not None and len(wanted) <= FEW else None
    for _, row in project.evidence.find(few, domain="overall"):
        measured[row.part][row.kind][row.metric] = row
    entries = []
    for address in listing.decoder.addresses.addresses() if wanted is None else sorted(wanted):
        name = str(address)
        statement = listing[address]
        values = tuple(listing.values[v] for v in listing.values_of(statement)) if statement.reads else ()
        found = standing(listing, address, dropped)
        held = count(address, listing.decoder)
        entry = _entry(
            address, statement, found, symbols.get(name), dict(measured[name]), numbers.get(address, 0), held
        )
        told = _told(listing, known, whole(address))
        entries.append(replace(entry, values=values, lifted=listing.lifted(address), about=told))
    return entries


def _numbers(project: Project, listing: Listing, wanted: Collection[Address] | None) -> Mapping[Address, int]:
    """How many numbers sources hold. Counting takes a while: those of all are kept with the evidence, for this text."""
    state = sha256_text("\0".join(text for pair in sorted(listing.texts.items()) for text in pair))
    if (kept := project.evidence.finished(STAGE, state)) is not None:
        with project.evidence.understood(STAGE):
            held = json.loads(kept)
            if wanted is not None:
                return {address: int(held[str(address)]) for address in wanted if str(address) in held}
            return {Address.parse(name): int(number) for name, number in held.items()}
    found = count_program(listing, wanted)
    if wanted is None:
        project.evidence.finish(STAGE, state, json.dumps({str(address): held for address, held in found.items()}))
    return found


def _swapped(rows: dict[str, Measurement], state: str) -> Measurement | None:
    """The swapped-in cost that a verdict rests on: about the part in this `state` if any is, exact before estimated."""
    known = [rows[metric] for metric in ("kl", "kl_estimate", "lifted_kl_estimate") if metric in rows]
    return next((row for row in known if row.state == state), known[0] if known else None)


def _told(listing: Listing, known: Mapping[str, str], part: str | None) -> About | None:
    """What the program says in words of a whole head or neuron, or what was found out about it and is not written."""
    if part is None or part in listing.abouts:
        return listing.abouts.get(part or "")
    said = known.get(part)
    return About(part, said, Path(EVIDENCE), 0, 0, "", by_person=False) if said else None


def _fresh(row: Measurement | None, statement: Statement) -> Measurement | None:
    """A measurement, if it is about the statement as it stands."""
    return row if row and row.state == statement_state(statement) else None


def _entry(
    address: Address,
    statement: Statement,
    found: Standing,
    symbol: Symbol | None,
    measured: dict[str, dict[str, Measurement]],
    numbers: int,
    parameters: int,
) -> Entry:
    runs, explained = found.runs, found.runs.form != "raw"
    effect = measured.get("effect", {}).get("kl")
    isolated = measured.get("isolated", {})
    score = _fresh(isolated.get("sentence"), statement) or _fresh(isolated.get("score"), statement)
    state = statement_state(runs)
    swapped = _swapped(measured.get("swapped_in", {}), state)
    judged = verdict(
        runs.part_form,
        state,
        swapped.state if swapped else None,
        swapped.value if swapped else None,
        effect.value if effect else None,
    )
    state_of = State(
        address,
        found.form,
        found.residual,
        parameters,
        effect.value if effect else None,
        score.value if score else None,
        passed=bool(score and score.value is not None and score.value >= PASSING),
        described=found.described is not None,
    )
    shown = runs if statement.form == "raw" else statement
    return Entry(address, state_of, judged, shown if explained else None, numbers, symbol, measured)
