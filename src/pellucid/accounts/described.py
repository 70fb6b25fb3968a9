"""Everything known about a table, a variable or a rule of accounts, by its name, without running anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pellucid.accounts.asked import NEVER, TOLD, TableWordings
from pellucid.accounts.folder import Folder
from pellucid.accounts.language import TABLES, ReturnRule, Table
from pellucid.accounts.lines import AskedTables, Differs, read_tables
from pellucid.accounts.uses import AccountPage, VariableUse, pages
from pellucid.base.errors import PellucidError, ProjectError, closest
from pellucid.project.project import REPORT, Project

RuleFigures = Mapping[tuple[str, str], Mapping[str, Any]]
"""What was measured of rules, by their places and texts."""
Ruled = tuple[ReturnRule, Mapping[str, Any] | None]
"""A rule, and what was measured of it."""


@dataclass(frozen=True)
class TableCard:
    """A table with its evidence: how it was asked, the variables that key it, and the rules that hang on it."""

    table: Table
    asked: TableWordings | None
    changed: Mapping[str, Differs]
    """The lines that a person changed, by key."""
    edited: Mapping[str, str]
    """The edits that moved lines, by key."""
    keyed_by: tuple[VariableUse, ...]
    rules: tuple[Ruled, ...]

    def phantoms(self) -> list[str]:
        """The keys that the model answers although the text never says so."""
        return [row["key"] for row in self.rows() if row.get(TOLD) == NEVER]

    def rows(self) -> list[dict[str, Any]]:
        """The lines, by column."""
        return [self.table.row(key) for key in self.table.lines]

    def numbers(self, column: str) -> list[float]:
        """What a column holds, where that is a number."""
        found = []
        for row in self.rows():
            try:
                found.append(float(row.get(column, "")))
            except ValueError:
                continue
        return found

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {
            "kind": "table",
            "name": self.table.name,
            "asks": list(self.asked.asks) if self.asked else None,
            "keyed_by": [asdict(variable) for variable in self.keyed_by],
            "rules": [_rule_dict(rule, figures) for rule, figures in self.rules],
            "phantoms": self.phantoms(),
            "lines": [
                {
                    **self.table.row(key),
                    "changed": key in self.changed,
                    "was": self.changed[key].was if key in self.changed else None,
                    "edit": self.edited.get(key),
                }
                for key in self.table.lines
            ],
        }


@dataclass(frozen=True)
class VariableCard:
    """A variable, its text, and the rules that hang on it."""

    variable: VariableUse
    text: str
    keys: tuple[str, ...]
    """The tables that it keys."""
    rules: tuple[Ruled, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        rules = [_rule_dict(rule, figures) for rule, figures in self.rules]
        return {
            "kind": "variable",
            **asdict(self.variable),
            "source": self.text,
            "keys": list(self.keys),
            "rules": rules,
        }


@dataclass(frozen=True)
class RuleCard:
    """A rule, what it hangs on, and how often it was right."""

    rule: ReturnRule
    about: str
    """What its file is about."""
    variables: tuple[VariableUse, ...]
    tables: tuple[str, ...]
    figures: Mapping[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {
            "kind": "rule",
            **_rule_dict(self.rule, self.figures),
            "about": self.about,
            "variables": [asdict(variable) for variable in self.variables],
            "tables": list(self.tables),
        }


Card = TableCard | VariableCard | RuleCard


def _rule_dict(rule: ReturnRule, figures: Mapping[str, Any] | None) -> dict[str, Any]:
    measured = {name: figures[name] for name in ("check", "heldout", "covers")} if figures else None
    return {"at": str(rule), "text": rule.text, "measured": measured}


# --- by name ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Catalogue:
    """The accounts of a project, read and not run."""

    pages: Sequence[AccountPage]
    tables: AskedTables
    figures: RuleFigures
    edited: Mapping[tuple[str, str], str]

    def names(self) -> list[str]:
        """All names that something has: of tables with and without the ending, variables, files, and rules."""
        found: dict[str, None] = {}
        for name in self.tables.tables:
            found |= dict.fromkeys((Path(name).stem, name))
        for page in self.pages:
            found |= dict.fromkeys((*page.variables, page.file, *(str(rule) for rule, _ in page.rules)))
        return list(found)

    def cards(self, wanted: str) -> list[Card]:
        """What `wanted` names: a table or variable, or else the rule at a line or all of a file."""
        return [*self._tables(wanted), *self._variables(wanted)] or list(self._rules(wanted))

    def _tables(self, wanted: str) -> Iterator[TableCard]:
        for name, table in self.tables.tables.items():
            own = {name, Path(name).stem} | {
                said for page in self.pages for said in page.files if page.files[said] == name
            }
            if wanted in own:
                changed = {line.key: line for line in self.tables.differing() if line.table == name and line.number}
                keyed = tuple(
                    dict.fromkeys(page.variables[said] for page in self.pages for said in page.keyed_by(name))
                )
                rules = tuple(
                    self._ruled(rule) for page in self.pages for rule, names in page.rules if page.uses(names, name)
                )
                edited = {key: edit for (where, key), edit in self.edited.items() if where == name}
                yield TableCard(table, self.tables.asked.get(name), changed, edited, keyed, rules)

    def _variables(self, wanted: str) -> Iterator[VariableCard]:
        having = [page for page in self.pages if wanted in page.variables]
        for told in dict.fromkeys(page.variables[wanted] for page in having):
            own = [page for page in having if page.variables[wanted] == told]
            keys = (name for page in own for name in page.files.values() if wanted in page.keyed_by(name))
            rules = tuple(self._ruled(rule) for page in own for rule, names in page.rules if wanted in names)
            yield VariableCard(told, own[0].source(wanted), tuple(dict.fromkeys(keys)), rules)

    def _rules(self, wanted: str) -> Iterator[RuleCard]:
        for page in self.pages:
            for rule, names in page.rules:
                if wanted in (str(rule), page.file, Path(page.file).stem):
                    variables = tuple(page.variables[name] for name in page.variables if name in names)
                    tables = tuple(name for name in self.tables.tables if page.uses(names, name))
                    yield RuleCard(rule, page.about, variables, tables, self._ruled(rule)[1])

    def _ruled(self, rule: ReturnRule) -> Ruled:
        return rule, self.figures.get((str(rule), rule.text))


def catalogue(project: Project, edited: Mapping[tuple[str, str], str]) -> Catalogue | None:
    """The accounts of `project`; None where there are none. Raises `SourceError` for what cannot be read."""
    folder = Folder(project)
    if not folder.files and not (folder.path / TABLES).is_dir():
        return None
    return Catalogue(pages(folder), read_tables(folder), _reported(project), edited)


def _reported(project: Project) -> RuleFigures:
    """What the report says of rules, by place and text, so that a rule which was changed since has none."""
    figures = project.report().get("accounts") if (project.directory / REPORT).is_file() else None
    return {(rule["at"], rule["text"]): rule for rule in (figures or {}).get("rules", ())}


# --- in a project -----------------------------------------------------------------------------------------------------


def cards(project: Project, wanted: str, edited: Mapping[tuple[str, str], str] | None = None) -> list[Card]:
    """What `wanted` names among the accounts of `project`; nothing where it is a part, or no name of theirs.

    `edited` tells of lines, by table and key, which edit moved them.
    """
    if _is_part(project, wanted):
        return []
    found = catalogue(project, edited or {})
    return found.cards(wanted) if found else []


def _is_part(project: Project, wanted: str) -> bool:
    try:
        project.listing().decoder.addresses.match(wanted)
    except ProjectError:
        raise
    except PellucidError:
        return False
    return True


@contextmanager
def naming(project: Project, wanted: str) -> Iterator[None]:
    """Where `wanted` names no part, say what of the accounts is called nearly so, if anything is."""
    try:
        yield
    except ProjectError:
        raise
    except PellucidError:
        found = catalogue(project, {})
        near = closest(wanted, found.names()) if found else ""
        if not near:
            raise
        raise PellucidError(f"{wanted!r} names no part, and no table, variable or rule of accounts{near}") from None
