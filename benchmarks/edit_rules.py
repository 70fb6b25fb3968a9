"""Ten behaviours of a small model of novels, each edited by one rule: what was asked for, and what else changed.

A rule is `pellucid edit DIR --when PATTERN --prefer X --over Y`. Where it belongs and how strong it is are found on fit
text; all is measured on text that nothing was found on:

- efficacy: the share of places behind the pattern where the program said Y that say X now;
- behind the pattern: the share of places there where it said something else that say the same now;
- neighbourhood: the share of all other positions whose top token is the same;
- CE: the change of cross-entropy at all positions but those of efficacy, in nats per token;
- r, surprises, false alarms, seconds: as in `edit.py`, on the sixteen rows that the edit was predicted on.

    python benchmarks/edit_rules.py MODEL-DIR [--fit TEXT] [--held-out TEXT] [--rows 100] [--json]

MODEL-DIR is `novelist-2m`; an all-raw program of it is written to a temporary directory. Texts are by default those of
the folder `shared` that it lies in.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from edit import undo_all
from pellucid.base.errors import PellucidError
from pellucid.listing.emit import emit
from pellucid.project.manifest import CorpusEntry, Manifest, SubjectEntry
from pellucid.project.project import Project
from pellucid.project.trust import trust
from pellucid.rewrite.apply import apply, predicted
from pellucid.rewrite.rules import rule
from pellucid.rewrite.words import one_token, pattern_conditions
from pellucid.rewrite.workbench import BATCH, PaddedRows, Workbench
from pellucid.subject.load import load_subject


@dataclass(frozen=True)
class Rule:
    """A behaviour to change."""

    what: str
    when: str
    prefer: str
    over: str

    @property
    def options(self) -> str:
        """As the command line takes it."""
        return f"--when {self.when!r} --prefer {self.prefer!r} --over {self.over!r}"


RULES = (
    Rule("a quotation style", '."', " '", ' "'),
    Rule("a word for speaking", ',"', " cried", " said"),
    Rule("how one is addressed", " my", " friend", " dear"),
    Rule("a plainer word", "", " on", " upon"),
    Rule("who speaks", '," said', " she", " he"),
    Rule("a title", " said", " Mrs", " Mr"),
    Rule("whom one calls young", " young", " lady", " man"),
    Rule("whom one calls old", " old", " woman", " man"),
    Rule("how long", " for a", " minute", " moment"),
    Rule("how much", " a great", " many", " deal"),
)
FIT, CHECK, LENGTH = 256, 1000, 96
"""Rows of fit text and of held-out text, and tokens in each."""


# --- measuring --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Heard:
    """What a program says on rows of text: the top token behind every position, and nats at it."""

    top: Int[Tensor, "row pos"]
    nats: Float[Tensor, "row pos"]


def listen(bench: Workbench, text: PaddedRows) -> Heard:
    """Run the program over all rows."""
    tops, nats = [], []
    for at in range(0, len(text.ids), BATCH):
        ids = text.ids[at : at + BATCH]
        logits = bench.run(ids, ("logits",))["logits"]
        tops.append(logits.argmax(-1))
        lost = F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
        nats.append(F.pad(lost, (0, 1)) * text.inside[at : at + BATCH])
    return Heard(torch.cat(tops), torch.cat(nats))


def behind(bench: Workbench, text: PaddedRows, pattern: str) -> Bool[Tensor, "row pos"]:
    """Where a pattern ends; everywhere if it is empty."""
    found = text.inside.clone()
    for condition in pattern_conditions(bench, pattern):
        for back, token in condition:
            found &= F.pad(text.ids, (back, 0), value=-1)[
                :, : text.ids.shape[1]
            ] == bench.program.sources.vocabulary.id_of(token)
    return found


def effects(bench: Workbench, text: PaddedRows, asked: Rule, before: Heard, after: Heard) -> dict[str, Any]:
    """The figures that the head of this file names."""
    old, new = one_token(bench, asked.over), one_token(bench, asked.prefer)
    there = behind(bench, text, asked.when)
    places = there & (before.top == old)
    rest = there & ~places
    others = text.inside & ~there if asked.when else rest
    same = after.top == before.top
    unrelated = text.inside & ~places
    return {
        "places": int(places.sum()),
        "efficacy": share((after.top == new)[places]),
        "behind": share(same[rest]) if asked.when else None,
        "neighbours": share(same[others]),
        "ce_change": float((after.nats - before.nats)[unrelated].double().mean()),
    }


def share(hits: Bool[Tensor, " some"]) -> float | None:
    """Percent; None of none."""
    return 100 * float(hits.double().mean()) if hits.numel() else None


def measured(bench: Workbench, text: PaddedRows, before: Heard, asked: Rule) -> dict[str, Any]:
    """A rule made, measured and undone."""
    begin = time.perf_counter()
    try:
        ready = predicted(bench, rule(bench, asked.when, asked.prefer, asked.over))
    except PellucidError as error:
        return {"what": asked.what, "rule": asked.options, "refused": True, "error": str(error)}
    record = apply(bench, ready, anyway=True)
    seconds = time.perf_counter() - begin
    outcome = record.measurement or {}
    bench.program.edited()
    found = effects(bench, text, asked, before, listen(bench, text))
    undo_all(bench)
    changed = outcome["changed"]
    return {
        "what": asked.what,
        "rule": asked.options,
        "parts": list(record.parts),
        **found,
        "r": outcome["correlation"],
        "surprises": 100 * outcome["surprises"] / changed if changed else None,
        "false_alarms": outcome["false_alarms"],
        "seconds": seconds,
        "inserted": record.inserted,
        "refused": bool(ready.doubts),
        "doubts": list(ready.doubts),
    }


# --- main -------------------------------------------------------------------------------------------------------------


def cut(text: PaddedRows) -> PaddedRows:
    """Rows of at most `LENGTH` tokens."""
    return PaddedRows(text.ids[:, :LENGTH], text.lengths.clamp(max=LENGTH), text.domains)


def made(model: Path, fit: Path, held_out: Path, directory: Path) -> Project:
    """An all-raw program of a model, with its texts."""
    subject = load_subject(str(model))
    emit(subject, directory)
    entry = SubjectEntry(subject.name, subject.weights_sha256, subject.tokenizer_sha256)
    Manifest(entry, CorpusEntry("texts", (str(held_out),), (str(fit),))).write(directory)
    trust(directory)
    return Project.open(directory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--fit", type=Path)
    parser.add_argument("--held-out", type=Path)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    model = options.model.resolve()
    texts = model.parents[1] / "text"
    fit, held_out = options.fit or texts / "novels-train.txt.xz", options.held_out or texts / "domains"
    with tempfile.TemporaryDirectory() as folder:
        bench = Workbench(made(model, fit, held_out, Path(folder) / "program"), rows=(FIT, CHECK))
        bench.fit, bench.check = cut(bench.fit), cut(bench.check)
        text = bench.check.take(range(min(options.rows, len(bench.check.ids))))
        before = listen(bench, text)
        found = []
        for asked in RULES:
            found.append(measured(bench, text, before, asked))
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    print(json.dumps(found, indent=1)) if options.json else show(found)


COLUMNS = {
    "places": "places",
    "efficacy": "efficacy, %",
    "behind": "behind the pattern, %",
    "neighbours": "neighbourhood, %",
    "ce_change": "CE change, nats",
    "r": "r",
    "surprises": "surprises, %",
    "false_alarms": "false alarms",
    "seconds": "s",
    "refused": "refused",
    "inserted": "inserted",
}


def show(found: list[dict[str, Any]]) -> None:
    """A table, one line a rule."""
    print("| behaviour | rule |", " | ".join(COLUMNS.values()), "|\n|---|---|" + "---|" * len(COLUMNS))
    for row in found:
        print(f"| {row['what']} | `{row['rule']}` |", " | ".join(cell(row.get(column)) for column in COLUMNS), "|")


def cell(value: Any) -> str:
    """A figure, – where there is none."""
    return "–" if value is None else ("yes" if value else "no") if isinstance(value, bool) else f"{value:.4g}"


if __name__ == "__main__":
    main()
