"""Measure the accounts of a project: what they say at every place of held-out text, beside what the model says.

On fit text n-grams of what the model says are counted: they decide which positions are hard, and say what comes next
where no account speaks. On check text it is decided which rules count as covering. Held-out text gives the figures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pellucid.accounts.count import budget_numbers, symbols
from pellucid.accounts.folder import FOLDER, Folder
from pellucid.accounts.language import AccountError, Accounts, Said
from pellucid.accounts.meter import NOBODY, Metered, Proportion, Spoken, meter, reliable, rule_shares
from pellucid.accounts.ngrams import LONGEST, NGrams
from pellucid.accounts.tallies import LineCounts, tables_told, ties_told
from pellucid.accounts.ties.stored import variables
from pellucid.accounts.uncovered import Heard, uncovered
from pellucid.base.errors import SourceError
from pellucid.base.progress import track
from pellucid.base.terminal import tell
from pellucid.base.work import mapped
from pellucid.corpus.corpus import Split
from pellucid.corpus.packing import packed_rows, row_tokens
from pellucid.exact.model import Model
from pellucid.project.evidence import Measurement
from pellucid.project.project import Project
from pellucid.project.told import STAGE, account_figures, account_state

POSITIONS = {"fit": 200_000, "check": 100_000, "heldout": 30_000}
"""How much of each split is read, at most."""
BATCH = 4096
"""Positions that the model reads at once."""
BACK_OFF = (
    f"what the model said most often on fit text behind the longest n-gram, of up to {LONGEST} tokens, seen there"
)


_READ: WeakKeyDictionary[Project, dict[tuple[str, int], RowsRead]] = WeakKeyDictionary()
"""The fit text that was read of each project."""


@dataclass(frozen=True)
class RowsRead:
    """Rows of a split, and what the model says behind each of their tokens."""

    ids: Int[Tensor, "row pos"]
    own: Int[Tensor, "row pos"]


def read(project: Project, name: str, positions: int | None = None) -> RowsRead:
    """Rows of the split `name`, of at most so many `positions`, with the model's likeliest next tokens.

    Fit text is read but once.
    """
    key = name, positions or POSITIONS[name]
    kept = _READ.setdefault(project, {}) if name == "fit" else {}
    if key not in kept:
        ids = rows_of(project, name, positions)
        kept[key] = RowsRead(ids, likeliest(project.model, ids, f"reading {name} text"))
    return kept[key]


def rows_of(project: Project, name: str, positions: int | None = None) -> Int[Tensor, "row pos"]:
    """Rows of the split `name`; of tune text where a directory has none of it."""
    split: Split = project.texts.named.get(name) or project.texts.tune
    count = max(1, (positions or POSITIONS[name]) // row_tokens(project.model))
    return packed_rows(split, project.model, count, project.manifest.settings.seed)


def likeliest(model: Model, ids: Int[Tensor, "row pos"], label: str) -> Int[Tensor, "row pos"]:
    """The model's likeliest next token behind each token of `ids`; of equal ones the lower id."""
    size = max(1, BATCH // ids.shape[1])
    batches = [ids[at : at + size] for at in range(0, len(ids), size)]
    with torch.no_grad():
        return torch.cat([*mapped(lambda batch: model.logits(batch).argmax(-1).cpu(), batches, label)])


def measure(project: Project, check: int = POSITIONS["check"]) -> dict[str, Any] | None:
    """The figures of the accounts of `project`, None where there are none; kept for the accounts as they stand.

    So many positions of `check` text, at most, decide which rules count as covering; figures by fewer are not known.

    Raises `ProjectError` if they are a stranger's, `SourceError` naming file and line for what is broken in them.
    """
    folder = Folder(project)
    if not folder.files:
        return None
    accounts = folder.accounts()
    if (known := account_figures(project)) and "uncovered" in known and known.get("check", check) >= check:
        return known
    state, figures = account_state(project), {"check": check, **_measured(project, folder, accounts, check)}
    project.evidence.finish(STAGE, state, json.dumps(figures), _rows(project, state, figures))
    project.readings.end()
    return figures


def _measured(project: Project, folder: Folder, accounts: Accounts, positions: int) -> dict[str, Any]:
    fit, check = read(project, "fit"), read(project, "check", positions)
    grams = NGrams.of(fit.ids, fit.own, project.model.n_vocab)
    judged = rule_shares(spoken(accounts, check.ids), check.own, len(accounts.rules))
    held = read(project, "heldout")
    lines = LineCounts(held.own)
    said, hard = spoken(accounts, held.ids, lines.hear), grams.certain(held.ids) == NOBODY
    heard = Heard(held.ids, held.own, said, grams.back_off(held.ids), hard, reliable(judged))
    figures = meter(said, held.own, heard.back_off, hard, heard.covering)
    spoke = rule_shares(said, held.own, len(accounts.rules))
    carried = variables(project)
    return {
        "files": [path.name for path in folder.files],
        "symbols": symbols(folder),
        "numbers": budget_numbers(folder),
        "positions": {name: place.ids.numel() for name, place in (("fit", fit), ("check", check), ("heldout", held))}
        | {"hard": int(hard.sum())},
        "back_off": BACK_OFF,
        **{name: found.to_dict() for name, found in figures.items()},
        "uncovered": uncovered(folder, accounts, heard),
        "tables": tables_told(accounts.tables, lines.counted),
        "ties": ties_told(carried),
        "rules": _rules(accounts, judged, spoke),
        "lines": lines.counted,
        "variables": carried,
        "silent": _silent(folder, accounts, judged, spoke),
    }


def spoken(
    accounts: Accounts, ids: Int[Tensor, "row pos"], hear: Callable[[int, int, Said], None] | None = None
) -> Spoken:
    """What the accounts say behind every token of `ids`; `hear` gets each row and place, and what is said there.

    Raises `SourceError` naming the line that cannot be run.
    """
    token, rule = torch.full_like(ids, NOBODY), torch.full_like(ids, NOBODY)
    try:
        for at, row in enumerate(track(ids.tolist(), "asking the accounts", len(ids))):
            answers = accounts.said(row)
            token[at] = torch.tensor([NOBODY if said is None else said.token for said in answers])
            rule[at] = torch.tensor([NOBODY if said is None else said.rule for said in answers])
            for place, said in enumerate(answers if hear else ()):
                if hear is not None and said is not None:
                    hear(at, place, said)
    except AccountError as error:
        raise SourceError(f"{FOLDER}/{error}") from None
    return Spoken(token, rule)


def _rules(accounts: Accounts, judged: Sequence[Proportion], spoke: Sequence[Proportion]) -> list[dict[str, Any]]:
    """Every rule, and how often it is right on check text, which decides whether it covers, and on held-out text."""
    covers: Bool[Tensor, " rule"] = reliable(list(judged))
    return [
        {"at": str(rule), "text": rule.text, "check": on_check.to_dict(), "heldout": held.to_dict(), "covers": bool(c)}
        for rule, on_check, held, c in zip(accounts.rules, judged, spoke, covers, strict=True)
    ]


def _silent(folder: Folder, accounts: Accounts, judged: Sequence[Proportion], spoke: Sequence[Proportion]) -> list[str]:
    """The files none of whose rules ever spoke: their scope covers nothing."""
    shares = zip(accounts.rules, judged, spoke, strict=True)
    heard = {rule.file for rule, on_check, held in shares if on_check.n or held.n}
    silent = [path.name for path in folder.files if path.name not in heard]
    for name in silent:
        tell(
            f"{FOLDER}/{name} covers nothing: none of its rules spoke on check or held-out text; look at its conditions"
        )
    return silent


def _rows(project: Project, state: str, figures: dict[str, Any]) -> list[Measurement]:
    """The figures as rows of the evidence."""
    corpus = project.texts.heldout.sha256
    return [
        Measurement(
            "program", "accounts", f"{metric} ({of})", state, "heldout", corpus, "overall", **figures[of][metric]
        )
        for of in ("all", "hard")
        for metric in Metered.__dataclass_fields__
    ]
