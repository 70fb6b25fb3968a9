"""`pellucid accounts DIR`: find the accounts of a project, write them, and leave alone what a person wrote."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import torch

from pellucid.accounts import asked, own_work
from pellucid.accounts.command import metered
from pellucid.accounts.find.asking import asker
from pellucid.accounts.find.ends import write_ends
from pellucid.accounts.find.fill import filled
from pellucid.accounts.find.rests import write_rests
from pellucid.accounts.find.run import FoundAccounts, find
from pellucid.accounts.find.spelling import FreeNames, Spelled
from pellucid.accounts.find.stream import Flags, FlatRows, Words
from pellucid.accounts.find.write import Writer
from pellucid.accounts.folder import FOLDER, Folder
from pellucid.accounts.glance import glance
from pellucid.accounts.language import SHARED, TABLES
from pellucid.accounts.measure import POSITIONS, read
from pellucid.accounts.ngrams import NGrams
from pellucid.base.defaults import ACCOUNT_TOKENS, FEWEST_TOKENS, SYMBOL_PRICE
from pellucid.base.errors import CorpusError
from pellucid.base.lock import writing
from pellucid.base.terminal import tell
from pellucid.corpus.packing import row_tokens
from pellucid.project.project import Project

STAGE = "accounts-found"
BESIDE = 100_000
"""Tokens of fit text that they are found on at the end of a decompilation, at most."""
BESIDE_CHECK = 50_000
"""Positions of check text that are read there."""
SECONDS = 30.0
PROBE = 512
"""Tokens that are read to see how fast the model is."""


def find_accounts(project: Project, places: int = ACCOUNT_TOKENS, price: float = SYMBOL_PRICE) -> list[str]:
    """Find accounts on at most `places` tokens of fit text and write them; the files that were written.

    `price` is what a symbol costs, as a share of the places that it must make right.

    Files that a person wrote or changed stay as they are. Raises `ProjectError` if the program is a stranger's, and
    `CorpusError` for too little text.
    """
    project.require_trust()
    with writing(project.directory):
        words = Words(Folder(project).spelling)
        fit, tune = (_stream(project, name, count, words) for name, count in (("fit", places), ("tune", places // 4)))
        otherwise = _back_off(project, tune)
        if len(fit) < FEWEST_TOKENS:
            raise CorpusError(
                f"{len(fit):,} tokens of fit text are too few to find accounts in; at least {FEWEST_TOKENS:,} are "
                "needed: give more text"
            )
        found = find(fit, tune, price, asker(project.model, project.model.tokenizer), otherwise)
        return _write(project, found)


def found_anew(project: Project, places: int, ties: bool = False, price: float = SYMBOL_PRICE) -> dict[str, Any] | None:
    """Find accounts and measure all that are there then; None where there are none. Too little text is said."""
    if (folder := Folder(project)).files:
        folder.accounts()  # what is wrong with them is said before anything else
    try:
        find_accounts(project, places, price)
    except CorpusError as error:
        tell(f"nothing is looked for: {error}")
    return metered(project, ties)


def places_within(project: Project, seconds: float) -> int:
    """How many tokens of fit text the model reads in so many seconds, a quarter more for tune text left room for."""
    model = project.model
    length = row_tokens(model)
    ids = torch.zeros((max(1, PROBE // length), length), dtype=torch.long)
    begun = time.monotonic()
    with torch.no_grad():
        model.logits(ids)
    pace = ids.numel() / max(1e-3, time.monotonic() - begun)
    return int(min(ACCOUNT_TOKENS, pace * seconds / 1.25))


def follow(project: Project, seconds: float = SECONDS) -> list[str]:
    """Find and measure accounts at the end of a decompilation, on as much text as is read in `seconds`.

    Gives what is to be said of them, nothing where there are none. Accounts that were found before stay as they are.
    """
    if not _ours(project):
        places = min(places_within(project, seconds), BESIDE)
        if places < FEWEST_TOKENS:
            tell(
                f"no accounts: {project.subject.name} reads {places:,} tokens in {seconds:.0f} s, at least "
                f"{FEWEST_TOKENS:,} are needed; pellucid accounts {project.directory} takes the time"
            )
            return []
        tell(
            f"accounts: looking for rules in {places:,} tokens; pellucid accounts {project.directory} reads "
            f"{ACCOUNT_TOKENS:,}"
        )
        try:
            find_accounts(project, places)
        except CorpusError as error:
            tell(f"no accounts: {error}")
            return []
    figures = metered(project, check=BESIDE_CHECK)
    return [] if figures is None else [*glance(project, figures)]


def _stream(project: Project, name: str, count: int, words: Words) -> FlatRows:
    """Rows of a split, of `count` tokens; of fit text the first of those that are measured on, where these are more."""
    place = read(project, name, max(count, POSITIONS["fit"]) if name == "fit" else count)
    rows = max(1, count // row_tokens(project.model))
    ids, own = (part[:rows].numpy().astype(np.int64) for part in (place.ids, place.own))
    return FlatRows.of(ids, own, words)


def _back_off(project: Project, tune: FlatRows) -> Flags:
    """Where the back-off of the meter is right, which speaks where no account does."""
    fit, model = read(project, "fit"), project.model
    rows = torch.from_numpy(tune.ids).view(-1, min(row_tokens(model), len(tune)))
    said = NGrams.of(fit.ids, fit.own, model.n_vocab).back_off(rows)
    right: Flags = said.numpy().ravel() == tune.own
    return right


def _write(project: Project, found: FoundAccounts) -> list[str]:
    """The files of what was found, written where nobody else's stand."""
    tables = filled(found.board, found.rules, project.model)
    names = FreeNames()
    known = found.board.features.known
    spelled = Spelled.of(found.board.features.stream, known.classes, names)
    lines = {number: table.lines for number, table in tables.items()}
    shares = _is_free(project, SHARED)
    written = Writer(found.board, known, spelled, names, lines, shares).all(found.behaviours)
    write_ends(written, found.ends, names)
    write_rests(written, found.rests, names)
    texts = written.texts()
    before = _ours(project)
    kept = {name: text for name, text in texts.items() if _is_free(project, name)}
    for name in sorted(set(texts) - set(kept)):
        tell(f"{FOLDER}/{name} is yours or was changed, and stays as it is")
    for name in sorted(set(before) - set(kept)):
        if _is_free(project, name):
            (project.directory / FOLDER / name).unlink(missing_ok=True)
    for name, text in sorted(kept.items()):
        own_work.write(project, name, text)
    project.evidence.finish(STAGE, "", json.dumps(sorted(kept)))
    for name, number in written.found_as.items():
        if f"{TABLES}/{name}" not in kept:
            continue
        if number in tables:
            answers = {key: line[0] for key, line in tables[number].lines.items()}
            asked.write(project, name, tables[number].asks, answers)
        else:
            asked.forget(project, name)
    return sorted(kept)


def _ours(project: Project) -> list[str]:
    """The files that were written before; none where nothing was."""
    text = project.evidence.finished(STAGE, "")
    if text is None:
        return []
    with project.evidence.understood(STAGE):
        return [str(name) for name in json.loads(text)]


def _is_free(project: Project, name: str) -> bool:
    """Whether there is no file of that name, or one that stands as it was written by us."""
    return not (project.directory / FOLDER / name).is_file() or own_work.is_own(project, name)
