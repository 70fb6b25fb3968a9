"""The facts of the village in the tables of accounts.

A table is of the relation with most of whose facts its lines agree, in more than half of its lines about people who
have it; else it is of none. A line is flagged where the text never says so: its column `told` is `no`, or 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from pellucid.accounts.asked import NEVER, TOLD
from pellucid.accounts.folder import Folder
from pellucid.accounts.language import Table
from pellucid.accounts.lines import read_tables
from pellucid.accounts.meter import Proportion
from pellucid.project.project import Project
from pellucid.zoo.village import Village

HALF = 0.5
FLAGGED = (NEVER, "0")


@dataclass(frozen=True)
class Truth:
    """By relation, the answer for each person who has one."""

    answers: Mapping[str, Mapping[str, str]]
    tokenizer: Tokenizer

    def begins(self, relation: str, person: str, answer: str) -> bool:
        """Whether `answer` begins with the token that the right one begins with."""
        right = self.answers[relation].get(person)
        return right is not None and self._first(right) == self._first(answer)

    def _first(self, answer: str) -> int:
        """The token that an answer begins with behind a word."""
        return int(self.tokenizer.encode(f"it {answer}").ids[len(self.tokenizer.encode("it").ids)])

    def relation(self, table: Table) -> str | None:
        """The relation that a table is of; None where it is of none."""
        right = {
            relation: [self.begins(relation, key, table.lines[key][1]) for key in answers if key in table]
            for relation, answers in self.answers.items()
        }
        best = max(right, key=lambda relation: sum(right[relation]))
        return best if sum(right[best]) > HALF * len(right[best]) else None


@dataclass(frozen=True)
class Cell:
    """A line about a person in a table of a relation: whether it is flagged, and what is true."""

    relation: str
    person: str
    answer: str
    flagged: bool
    exists: bool
    """Whether the person has such a relation at all."""
    first: bool
    whole: bool


def facts_in_tables(project: Project, village: Village, tokenizer: Tokenizer) -> dict[str, Any]:
    """How many facts stand in tables, and how many lines there are wrong, flagged, and flagged with reason.

    Wrong is an unflagged line that is no fact, also one about a person who has no such relation.
    """
    answers: dict[str, dict[str, str]] = {}
    for fact in village.facts:
        answers.setdefault(fact.relation.name, {})[fact.person.name] = fact.answer
    truth, tables = Truth(answers, tokenizer), read_tables(Folder(project)).tables
    relations = {name: found for name, table in tables.items() if (found := truth.relation(table))}
    people = {person.name for person in village.people}
    cells = [cell for name, relation in relations.items() for cell in _cells(tables[name], relation, truth, people)]
    first = {(cell.relation, cell.person) for cell in cells if cell.first}
    whole = {(cell.relation, cell.person) for cell in cells if cell.whole}
    flagged, unflagged = ([cell for cell in cells if cell.flagged == is_so] for is_so in (True, False))
    return {
        "first": counted([(fact.relation.name, fact.person.name) in first for fact in village.facts]),
        "whole": counted([(fact.relation.name, fact.person.name) in whole for fact in village.facts]),
        "lines": len(cells),
        "wrong": counted([not cell.first for cell in unflagged]),
        "wrong_of_nobody": sum(not cell.exists for cell in unflagged),
        "flagged_facts": counted([cell.flagged for cell in cells if cell.first]),
        "phantoms": counted([not cell.exists for cell in flagged]),
        "relations": {
            relation: {
                "tables": [name for name, one in relations.items() if one == relation],
                "facts": len(people),
                "first": sum(one == relation for one, _ in first),
                "whole": sum(one == relation for one, _ in whole),
                "missing": sorted(person for person in people if (relation, person) not in first),
            }
            for relation, people in answers.items()
        },
        "mistakes": sorted({f"{cell.relation} {cell.person}: {cell.answer}" for cell in unflagged if not cell.first}),
    }


def _cells(table: Table, relation: str, truth: Truth, people: set[str]) -> list[Cell]:
    """The lines of a table that are about people."""
    found = []
    for person in (key for key in table.lines if key in people):
        row, right = table.row(person), truth.answers[relation].get(person)
        answer, flagged = row["answer"], str(row.get(TOLD, "")) in FLAGGED
        first = truth.begins(relation, person, answer)
        found.append(Cell(relation, person, answer, flagged, right is not None, first, right == answer))
    return found


def counted(found: Sequence[bool]) -> dict[str, Any]:
    """A share with its count."""
    share = Proportion(sum(found), len(found))
    return {"hits": share.hits, **share.to_dict()}
