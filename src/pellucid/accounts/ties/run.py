"""Find the ties of all variables of a project's accounts: one after the other, each kept as soon as it is found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import torch

from pellucid.accounts import own_work
from pellucid.accounts.count import budget_numbers, symbols
from pellucid.accounts.folder import Folder
from pellucid.accounts.measure import likeliest
from pellucid.accounts.tallies import ties_told
from pellucid.accounts.ties import stored
from pellucid.accounts.ties.find import Finder
from pellucid.accounts.ties.places import LONGEST, places
from pellucid.accounts.ties.show import line
from pellucid.accounts.ties.variables import Quantity, quantities
from pellucid.accounts.uses import pages
from pellucid.base.terminal import tell
from pellucid.corpus.packing import packed_rows, row_tokens
from pellucid.project.evidence import Measurement
from pellucid.project.project import Project
from pellucid.project.told import STAGE, account_figures, account_state

POSITIONS = 100_000
"""How much fit text is read, at most."""


def ties(project: Project, seconds: float | None = None) -> dict[str, Any]:
    """The ties of the variables of the accounts of `project`, and those that are `left` after so many `seconds`.

    They stand in the evidence, in the report, and above the variables in files that nobody changed since pellucid wrote
    them. What was found before is not looked for again. Raises `ProjectError` if the accounts are a stranger's and not
    trusted, `SourceError` naming file and line for what is broken in them.
    """
    folder, start = Folder(project), perf_counter()
    wanted = quantities(pages(folder))
    left = [quantity for quantity in wanted if stored.tie(folder, quantity) is None]
    if left:
        finder = _finder(project, folder)
        while left and (seconds is None or perf_counter() - start < seconds):
            quantity = left.pop(0)
            with torch.no_grad():
                tie = finder.tie(quantity)
            _keep(project, folder, quantity, tie.to_dict())
        if left:
            tell(f"{len(left)} variables are left; the same command goes on with them")
    _write(project, wanted)
    return {"variables": stored.variables(project), "left": [quantity.label for quantity in left]}


def _finder(project: Project, folder: Folder) -> Finder:
    model, seed = project.model, project.manifest.settings.seed
    accounts = folder.accounts()
    ids = packed_rows(project.texts.fit, model, max(1, POSITIONS // row_tokens(model)), seed)
    longest = min(LONGEST, model.n_ctx - len(model.tokenizer.start))
    return Finder(model, accounts, places(accounts, ids, likeliest(model, ids, "reading fit text"), longest), seed)


def _keep(project: Project, folder: Folder, quantity: Quantity, tie: dict[str, Any]) -> None:
    """Store what was found, and say it."""
    key = stored.state(folder, quantity)
    names = ("agreement", "random", "complement")
    rows = [
        Measurement(
            "program",
            "accounts",
            f"{name} of the tie of {quantity.label}",
            key,
            "fit",
            project.texts.fit.sha256,
            "overall",
            **tie[name],
            note=tie["tie"] or tie["why"],
        )
        for name in names
    ]
    project.evidence.finish(stored.STAGE, key, json.dumps(tie), rows)
    tell(line(quantity.label, tie))


def _write(project: Project, wanted: Sequence[Quantity]) -> None:
    """Put what was measured into the files that are pellucid's own, and into figures that hold for the rest."""
    folder = Folder(project)
    figures = account_figures(project)
    found = [(quantity, tie) for quantity in wanted if (tie := stored.tie(folder, quantity)) is not None]
    for page in pages(folder):
        if own_work.is_own(project, page.file) and (text := stored.tied(page, found)) != page.text:
            own_work.write(project, page.file, text)
    if figures is not None:
        _carry_over(project, figures)


def _carry_over(project: Project, figures: dict[str, Any]) -> None:
    """Keep figures for the files as they stand: what these say of ties changes sizes alone, and no rule."""
    folder = Folder(project)
    if [(str(rule), rule.text) for rule in folder.accounts().rules] != [(r["at"], r["text"]) for r in figures["rules"]]:
        return
    figures |= {"symbols": symbols(folder), "numbers": budget_numbers(folder), "variables": stored.variables(project)}
    figures["ties"] = ties_told(figures["variables"])
    project.evidence.finish(STAGE, account_state(project), json.dumps(figures))
