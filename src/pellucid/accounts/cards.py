"""Tables, variables and rules of accounts in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from pellucid.accounts.asked import AGREEMENT, MARGIN
from pellucid.accounts.described import Card, RuleCard, Ruled, TableCard, VariableCard
from pellucid.accounts.show import share
from pellucid.accounts.uses import VariableUse
from pellucid.base.terminal import terminal

ASKS = 3
"""Wordings that are shown."""


def print_cards(cards: Sequence[Card]) -> None:
    """Print what is known about tables, variables and rules."""
    console = terminal()
    for card in cards:
        for line in card_lines(card):
            console.print(Text(line), soft_wrap=True)
        if isinstance(card, TableCard):
            console.print(_grid(card))
        console.print()


def card_lines(card: Card) -> Iterator[str]:
    """What is said of a card in lines; the lines of a table are apart."""
    match card:
        case TableCard():
            yield from _table(card)
        case VariableCard():
            told = card.variable
            yield f"{told.name}  {told.file}:{told.line}  {tie(told)}"
            yield from (f"    {line}" for line in card.text.split("\n"))
            yield from (f"  keys {name}" for name in card.keys)
            yield from map(_rule, card.rules)
        case RuleCard():
            yield from (f"{card.rule}  {card.rule.text}", *([f"  {card.about}"] if card.about else []))
            yield _measured(card.figures)
            yield from (f"  hangs on {told.name} ({told.file}:{told.line}), {tie(told)}" for told in card.variables)
            yield from (f"  hangs on {name}" for name in card.tables)


def _table(card: TableCard) -> Iterator[str]:
    yield f"{card.table.name}  {len(card.table.lines):,} lines"
    if card.asked:
        more = len(card.asked.asks) - ASKS
        asks = ", ".join(map(repr, card.asked.asks[:ASKS])) + (f" and {more} more wordings" if more > 0 else "")
        yield f"  the answers of the model to {asks}"
    else:
        yield "  not filled by asking the model"
    for told in card.keyed_by:
        yield f"  keyed by {told.name} ({told.file}:{told.line}), {tie(told)}"
    yield from map(_rule, card.rules)
    for column in (AGREEMENT, MARGIN):
        if numbers := card.numbers(column):
            yield f"  {column} {sum(numbers) / len(numbers):.2f} on average, {min(numbers):.2f} at least"
    if phantoms := card.phantoms():
        yield f"  phantoms: {len(phantoms)}, of which the text never says so, and the model answers all the same"
    if card.changed:
        yield f"  changed: {len(card.changed)}; `pellucid edit DIR --tables` makes the program say so"


def tie(told: VariableUse) -> str:
    """What carries a variable, as it says itself."""
    if not told.tie:
        return "not tied"
    return f"tied to {told.tie}{'' if told.moved is None else f', moved {told.moved:g}'}"


def _rule(ruled: Ruled) -> str:
    rule, figures = ruled
    return f"  asked by {rule}  {rule.text}\n  {_measured(figures)}"


def _measured(figures: Mapping[str, Any] | None) -> str:
    if figures is None:
        return "  not measured: `pellucid accounts DIR` does that"
    held, doubt = figures["heldout"], "" if figures["covers"] else " (not reliable)"
    return f"  {held['n']:,} times on held-out text, right {share(held)}{doubt}"


def _grid(card: TableCard) -> Table:
    """The lines of a table; phantoms, and lines that were changed or edited, are marked."""
    grid = Table(box=None, pad_edge=False)
    phantoms = set(card.phantoms())
    for column in ("line", *card.table.columns, ""):
        grid.add_column(Text(column))
    for row in card.rows():
        marks = [*(["phantom"] if row["key"] in phantoms else []), *_marks(card, row["key"])]
        grid.add_row(*(Text(str(cell)) for cell in (*row.values(), ", ".join(marks))))
    return grid


def _marks(card: TableCard, key: str) -> Iterator[str]:
    if changed := card.changed.get(key):
        yield "new" if changed.was is None else f"changed: the model says {changed.was!r}"
    if key in card.edited:
        yield f"edit {card.edited[key]}"
