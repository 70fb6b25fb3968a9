"""All that the tables of a project ask, as rows of tokens, and where an edit speaks in them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pellucid.accounts.answers import LONGEST
from pellucid.accounts.lines import AskedTables
from pellucid.exact.model import Model
from pellucid.rewrite.asking import said_ids
from pellucid.rewrite.intent import Proposal, rows_of
from pellucid.rewrite.predict import acts, predict
from pellucid.rewrite.workbench import PaddedRows, Workbench

TableKey = tuple[str, str]
"""The name of a table, and a key of it."""


@dataclass(frozen=True, eq=False)
class Questions:
    """Rows that ask something and go on with the answer that was given, each with the table and key that it is of."""

    places: tuple[TableKey, ...]
    text: PaddedRows
    asks: Int[Tensor, " row"]
    """The tokens of the question in each row; the answer follows."""

    @property
    def answers(self) -> Bool[Tensor, "row pos"]:
        """Where the next token is one of the answer, or what follows it."""
        return self.text.inside & (torch.arange(self.text.ids.shape[1])[None] >= self.asks[:, None] - 1)

    def take(self, rows: Sequence[int] | Int[Tensor, " some"]) -> Questions:
        """Some of the rows."""
        at = torch.as_tensor(rows, dtype=torch.long)
        return Questions(tuple(self.places[row] for row in at.tolist()), self.text.take(at), self.asks[at])

    def of(self, places: Sequence[TableKey]) -> Questions:
        """The rows of some places."""
        wanted = set(places)
        return self.take([row for row, place in enumerate(self.places) if place in wanted])

    def rows(self) -> list[list[int]]:
        """The tokens of each question."""
        return [ids[:asks] for ids, asks in zip(self.text.ids.tolist(), self.asks.tolist(), strict=True)]

    def spoken(self, bench: Workbench, proposal: Proposal) -> Questions:
        """The rows in which an edit speaks anywhere."""
        near, some = proposal.near(bench), self
        if near:
            some = self.take(torch.isin(self.text.ids, torch.tensor(near)).any(1).nonzero()[:, 0])
        said = acts(bench.program, proposal.ready(bench), some.text, len(some.places))
        return some.take(said.any(1).nonzero()[:, 0])

    def changed(self, bench: Workbench, proposal: Proposal) -> list[TableKey]:
        """The places whose answers an edit is predicted to change, of those in whose rows it speaks."""
        if not self.places:
            return []
        change = predict(bench, proposal.ready(bench), self.text)
        moved = (change.before + change.bent).argmax(-1) != change.before.argmax(-1)
        rows = (moved & self.answers).any(1).nonzero()[:, 0].tolist()
        return list(dict.fromkeys(self.places[row] for row in rows))


def questions_of(model: Model, tables: AskedTables, places: Container[TableKey] | None = None) -> Questions:
    """What tables ask that were asked, in all wordings, of all keys or of `places` alone.

    Prompts behind which the model has no room for an answer are left out.
    """
    held, rows, asks = [], [], []
    for name, asked in tables.asked.items():
        for key, answer in asked.answers.items():
            if places is not None and (name, key) not in places:
                continue
            said = said_ids(model.tokenizer, answer)[:LONGEST]
            ids = [model.ids(prompt)[0].tolist() for prompt in asked.prompts(key)]
            fitting = [row for row in ids if len(row) + LONGEST <= model.n_ctx]
            rows += [[*row, *said] for row in fitting]
            asks += [len(row) for row in fitting]
            held += [(name, key)] * len(fitting)
    text = rows_of(rows) if rows else rows_of([[0]]).take([])
    return Questions(tuple(held), text, torch.tensor(asks, dtype=torch.long))
