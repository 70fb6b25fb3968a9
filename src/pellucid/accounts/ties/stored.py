"""Ties that were measured, kept with the evidence for the accounts as they stand but for what they say of ties."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator
from typing import Any

from pellucid.accounts.folder import Folder
from pellucid.accounts.language import is_variable
from pellucid.accounts.ties.variables import Quantity, quantities
from pellucid.accounts.uses import AccountPage, pages
from pellucid.base.files import sha256_files, sha256_text
from pellucid.project.project import Project

STAGE = "accounts-ties"
METHOD = 2
"""Goes up when ties are looked for in another way: those that were found before count no more."""
LEAST_AGREEMENT = 0.5
"""Files say of a tie that agrees less often nothing."""


def state(folder: Folder, quantity: Quantity) -> str:
    """A hash of all that the tie of a variable depends on."""
    project = folder.project
    texts = " ".join(f"{page.file} {_untied(page)}" for page in pages(folder))
    about = f"{METHOD} {quantity.label} {project.manifest.subject.weights_sha256} {project.texts.fit.sha256}"
    return sha256_text(f"{about} {project.manifest.settings.seed} {sha256_files(folder.tables)} {texts}")


def _untied(page: AccountPage) -> str:
    """The text of a file without what its variables say of ties."""
    lines = page.text.split("\n")
    for call, _ in decorators(page):
        del lines[call.lineno : call.end_lineno]
        lines[call.lineno - 1] = "@variable()"
    return "\n".join(lines)


def decorators(page: AccountPage) -> Iterator[tuple[ast.Call, str]]:
    """What stands above variables, the last of the file first, with their names."""
    for node in reversed(page.tree.body):
        if isinstance(node, ast.FunctionDef) and is_variable(node):
            for above in node.decorator_list:
                if isinstance(above, ast.Call):
                    yield above, node.name


def measured(folder: Folder) -> dict[str, dict[str, Any] | None]:
    """What was measured of every variable, by label; None of those of which nothing was."""
    return {one.label: tie(folder, one) for one in quantities(pages(folder))}


def tie(folder: Folder, quantity: Quantity) -> dict[str, Any] | None:
    """What was measured of a variable of the accounts as they stand; None where nothing was."""
    evidence = folder.project.evidence
    text = evidence.finished(STAGE, state(folder, quantity))
    if text is None:
        return None
    with evidence.understood(STAGE):
        found: dict[str, Any] = json.loads(text)
        found["tie"], found["agreement"]["value"], found["random"]["value"]  # what whoever prints it takes
        return found


def told(tie: dict[str, Any]) -> str:
    """What stands above a variable with this tie: nothing of one that rarely agrees, or not more than a random set."""
    agreement, random = tie["agreement"]["value"], tie["random"]["value"] or 0.0
    if tie["tie"] is None or agreement < max(LEAST_AGREEMENT, random):
        return "variable()"
    return f'variable(tie="{tie["tie"]}", moved={agreement:.3f})'


def tied(page: AccountPage, ties: Iterable[tuple[Quantity, dict[str, Any]]]) -> str:
    """The text of a file with what was measured above the variables that it defines."""
    said = {one.name: told(tie) for one, tie in ties if one.is_variable and page.file in one.files}
    lines = page.text.split("\n")
    for call, name in decorators(page):
        if name in said and call.end_lineno is not None:
            end = lines[call.end_lineno - 1].encode()[call.end_col_offset :].decode()
            start = lines[call.lineno - 1].encode()[: call.col_offset].decode()
            lines[call.lineno - 1 : call.end_lineno] = [f"{start}{said[name]}{end}"]
    return "\n".join(lines)


def variables(project: Project) -> dict[str, dict[str, Any]]:
    """For the report: what files say of the ties of variables, and what was measured of them, by label."""
    folder = Folder(project)
    own = {page.file: page for page in pages(folder)}
    found = {}
    for quantity in quantities(list(own.values())):
        said = own[quantity.files[0]].variables.get(quantity.name) if quantity.is_variable else None
        found[quantity.label] = {
            "tie": said.tie if said else "",
            "moved": said.moved if said else None,
            "files": list(quantity.files),
            "measured": tie(folder, quantity),
        }
    return found
