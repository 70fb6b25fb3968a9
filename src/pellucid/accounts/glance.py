"""Accounts at a glance, for the end of a decompilation: how much they say, one rule, and one line of a table.

The rule is the one that is right most often among those that look up what the model was asked, since a table by a
member of a class reads as facts do; where there is none, among those with any table, and then among all. The line is
one that the text tells, that the wordings agree on, and that is looked up most often.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pellucid.accounts.asked import AGREEMENT, MARGIN, NEVER, OTHERWISE, TOLD, YES
from pellucid.accounts.folder import FOLDER, Folder
from pellucid.accounts.language import TABLES, ReturnRule, Table
from pellucid.accounts.lines import read_tables
from pellucid.accounts.show import share
from pellucid.accounts.uses import AccountPage, pages
from pellucid.project.project import Project

SAID = {YES: "told", OTHERWISE: "told otherwise", NEVER: "never told"}
LONGEST = 96
"""Letters of a rule."""
Figures = Mapping[str, Any]


def glance(project: Project, figures: Figures) -> Iterator[str]:
    """The accounts of `project` in three lines or fewer; `figures` are what was measured of them."""
    all_ = figures["all"]
    yield (
        f"\nAccounts  {project.directory / FOLDER}: {len(figures['rules']):,} rules of {figures['symbols']:,} symbols "
        f"say {100 * all_['top1']['value']:.1f} % of next tokens "
        f"(the back-off alone {100 * all_['back_off']['value']:.1f} %)"
    )
    folder = Folder(project)
    yield from (f"          {line}" for line in example(pages(folder), read_tables(folder).tables, figures))


def example(found: Sequence[AccountPage], tables: Mapping[str, Table], figures: Figures) -> Iterator[str]:
    """A rule that covers and a line of its table, as far as there are any."""
    measured = {(rule["at"], rule["text"]): rule for rule in figures["rules"] if rule["covers"]}
    covering = [(page, rule, names) for page in found for rule, names in page.rules if _key(rule) in measured]
    if not covering:
        return

    def rank(one: tuple[AccountPage, ReturnRule, Any]) -> tuple[bool, bool, float]:
        held, of = measured[_key(one[1])]["heldout"], _returned(one[0], one[1], tables)
        return of is not None and TOLD in of.columns, of is not None, (held["value"] or 0.0) * held["n"]

    page, rule, _ = max(covering, key=rank)
    held = measured[_key(rule)]["heldout"]
    yield f"{rule}  {_shortened(page, rule)}  (right at {share(held)} of {held['n']:,} places)"
    table = _returned(page, rule, tables)
    if table is not None and table.lines:
        yield line(table, figures.get("lines", {}).get(table.name, {}))


def line(table: Table, counted: Mapping[str, Sequence[int]]) -> str:
    """The line of `table` that is told and sure, and that is looked up most often, by how often each was."""

    def rank(row: Mapping[str, Any]) -> tuple[bool, float, int, float, int]:
        sure, ahead = _number(row.get(AGREEMENT)), _number(row.get(MARGIN))
        return row.get(TOLD) == YES, sure, counted.get(row["key"], [0])[0], ahead, -row["line"]

    best = max((table.row(key) for key in table.lines), key=rank)
    said = [f"{AGREEMENT} {best[AGREEMENT]}"] if best.get(AGREEMENT) else []
    said += [SAID[best[TOLD]]] if best.get(TOLD) in SAID else []
    beside = f" ({', '.join(said)})" if said else ""
    return f"{TABLES}/{table.name}:{best['line']}  {best['key']} → {best['answer']}{beside}"


def _number(cell: str | None) -> float:
    """What a cell holds; less than any number where that is none."""
    try:
        return float(cell or "")
    except ValueError:
        return float("-inf")


def _key(rule: ReturnRule) -> tuple[str, str]:
    return str(rule), rule.text


def _returned(page: AccountPage, rule: ReturnRule, tables: Mapping[str, Table]) -> Table | None:
    """The table in which a rule looks its answer up; None where it returns something else."""
    for node in ast.walk(page.tree):
        match node:
            case ast.Return(value=ast.Subscript(value=ast.Name(id=name)), lineno=rule.line):
                return tables.get(page.files.get(name, ""))
    return None


def _shortened(page: AccountPage, rule: ReturnRule) -> str:
    """The rule with the condition that it stands under; of several patterns the first alone where that is long."""
    under = [node for node in ast.walk(page.tree) if isinstance(node, ast.If) and _holds(node, rule.line)]
    if not under:
        return rule.text
    test = ast.unparse(max(under, key=lambda node: node.lineno).test)
    room = LONGEST - len(rule.text)
    if len(test) > room:
        test = ast.unparse(_First().visit(ast.parse(test, mode="eval")))
    return f"if {test if len(test) <= room else '…'}: {rule.text}"


class _First(ast.NodeTransformer):
    """Leaves of several patterns the first."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        if len(node.args) > 1:
            node.args = [node.args[0], ast.Name("…")]
        return node


def _holds(node: ast.If, number: int) -> bool:
    """Whether a line stands in what is done where the condition holds."""
    return node.body[0].lineno <= number <= (node.body[-1].end_lineno or 0)
