"""Accounts of a village: what they cover of its rules, which facts stand in their tables, and what finding them takes.

- phenomena: at every place of fresh stories that the rules of the village determine, how often the account program (the
  accounts, and where none speaks the named back-off) says what the model says: the first token, and all tokens, each
  behind the ones that stand there; and how often an account speaks at the first;
- facts: how many of the village's facts stand in tables, how many lines are wrong, and what is flagged (never told);
- figures: what `pellucid accounts` measures on held-out text, and the same of all positions of the fresh stories;
- with --find, accounts are found anew on a copy: time, processor time and peak memory of that; the copy is measured;
- with --rename, they are also found where every letter of tokenizer and text is another: the same up to renaming?
- with --stability, they are also found with three seeds and on either half of the fit text: what is found again?

    python benchmarks/accounts.py DIR [--stories 2000] [--first 700000] [--find] [--rename [--seed 0]] [--stability]
                                  [--json FILE]

DIR is a decompiled village (zoo:village, zoo:village-sparse, …) with accounts in it, or with --find any.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from platform import machine, processor
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from accounts_facts import facts_in_tables
from accounts_renamed import compared, found_anew, renamed
from accounts_stability import TOKENS, stability, stability_lines
from pellucid.accounts.folder import Folder
from pellucid.accounts.language import Accounts
from pellucid.accounts.measure import likeliest, measure, read, spoken
from pellucid.accounts.meter import NOBODY, Proportion, meter
from pellucid.accounts.ngrams import NGrams
from pellucid.accounts.show import METRICS, share
from pellucid.base.progress import track
from pellucid.corpus.packing import packed, row_tokens
from pellucid.corpus.rows import Row
from pellucid.project.project import Project
from pellucid.zoo import registry
from pellucid.zoo.village import PHENOMENA, Village
from pellucid.zoo.village.evaluate import END, Example, Target, examples

ASKED = 0.95
"""What is asked of every phenomenon: details below it are told one by one."""
COLUMNS = "n | first token | all tokens | an account speaks | right there | the model by the rules"
FACTS = {
    "first": "in tables, first token",
    "whole": "in tables, whole answer",
    "wrong": "wrong lines among unflagged",
    "flagged_facts": "true facts flagged",
    "phantoms": "phantoms among flagged",
}
RULER = "---:|" * (1 + COLUMNS.count("|"))
BEFORE = 24
"""Tokens of an example that are shown."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--stories", type=int, default=2000)
    parser.add_argument("--first", type=int, default=700_000, help="the number of the first story (700,000)")
    parser.add_argument("--find", action="store_true", help="find accounts anew on a copy, and measure that")
    parser.add_argument("--rename", action="store_true", help="also find them where all letters are permuted")
    parser.add_argument(
        "--stability", action="store_true", help="also find them with three seeds and on halves of text"
    )
    parser.add_argument("--tokens", type=int, default=TOKENS, help="with --stability, of fit text each (200,000)")
    parser.add_argument("--seed", type=int, default=0, help="what the letters are permuted by")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="accounts-") as name:
        directory, finding = options.directory, None
        if options.find:
            directory = Path(name) / "anew"
            finding = found_anew(options.directory, directory)
        project = Project.open(directory, trust=True)
        found = {**about(options), **measured(project, options.first, options.stories), "finding": finding}
        if options.rename:
            found["renamed"] = compared(project, found["figures"], renamed(project, Path(name), options.seed))
        if options.stability:
            found["stability"] = stability(project, Path(name), options.tokens)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print("\n".join(lines(found)))


def about(options: argparse.Namespace) -> dict[str, Any]:
    """Where, when and of which state of the project this is."""
    said = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude", "*"]
    commit = subprocess.run(said, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "directory": str(options.directory),
        "machine": f"{processor() or machine()}, {os.cpu_count()} cores",
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit or None,
    }


def measured(project: Project, first: int, count: int) -> dict[str, Any]:
    """All that is measured of the accounts of `project` as they stand."""
    accounts = Folder(project).accounts()
    figures = measure(project)
    if figures is None:
        raise SystemExit(f"{project.directory} has no accounts; find some with --find")
    tokenizer = Tokenizer.from_file(str(registry.path("village") / "tokenizer.json"))
    cases = examples(Village().stories("test", first, count), tokenizer)
    cases = [case for case in cases if len(case.tokens) <= project.model.n_ctx]
    places = list(asked(project, accounts, cases))
    return {
        "stories": {"first": first, "count": len(cases)},
        **scored(places),
        "facts": facts_in_tables(project, Village(), tokenizer),
        "figures": figures,
        "fresh": anywhere(project, accounts, figures, [case.tokens for case in cases]),
    }


def anywhere(
    project: Project, accounts: Accounts, figures: Mapping[str, Any], stories: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """The figures of all positions of stories, in rows of a whole context, each of which begins with a story."""
    rows = (Row("", "", "", np.array(story, np.int32)) for story in stories)
    ids = torch.tensor(packed(rows, row_tokens(project.model), len(stories)))
    fit, own = read(project, "fit"), likeliest(project.model, ids, "reading stories")
    grams = NGrams.of(fit.ids, fit.own, project.model.n_vocab)
    covering = torch.tensor([rule["covers"] for rule in figures["rules"]], dtype=torch.bool)
    hard = grams.certain(ids) == NOBODY
    found = meter(spoken(accounts, ids), own, grams.back_off(ids), hard, covering)
    return {"positions": ids.numel(), **{name: figure.to_dict() for name, figure in found.items()}}


# --- phenomena --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A run of tokens that the rules determine: whether the program says what the model says there."""

    target: Target
    speaks: bool
    first: bool
    whole: bool
    model: bool
    """Whether the model says what the rules determine."""
    shown: dict[str, str]
    """The text before it, what the model says, how the program begins, and which rule says so."""


def asked(project: Project, accounts: Accounts, cases: Sequence[Example]) -> Iterator[Place]:
    """Every determined place of `cases`."""
    model = project.model
    ids = torch.full((len(cases), max(len(case.tokens) for case in cases)), END)
    for row, case in zip(ids, cases, strict=True):
        row[: len(case.tokens)] = torch.tensor(case.tokens)
    own = likeliest(model, ids, "reading stories")
    fit = read(project, "fit")
    back_off = NGrams.of(fit.ids, fit.own, model.n_vocab).back_off(ids)
    decode = model.tokenizer.decode
    for case, said, otherwise in track(
        list(zip(cases, own.tolist(), back_off.tolist(), strict=True)), "asking", len(cases)
    ):
        spoken = accounts.said(case.tokens)
        program = [one.token if one else other for one, other in zip(spoken, otherwise, strict=False)]
        for target in case.targets:
            run = slice(target.start - 1, target.end - 1)
            here = spoken[target.start - 1]
            yield Place(
                target,
                here is not None,
                program[run][0] == said[run][0],
                program[run] == said[run],
                said[run] == list(case.tokens[target.start : target.end]),
                {
                    "text": decode(case.tokens[max(0, target.start - BEFORE) : target.start]),
                    "model": decode(said[run]),
                    "program": decode(program[run][:1]),
                    "rule": str(accounts.rules[here.rule]) if here else "back-off",
                },
            )


def groups(target: Target) -> tuple[str, ...]:
    """The lines of the table that a place counts in."""
    span = target.span
    kept = "held-out" if span.held_out else "seen"
    return (span.phenomenon, *([f"fact, {kept} wordings"] if span.phenomenon == "fact" else []))


def scored(places: Sequence[Place]) -> dict[str, Any]:
    """The shares of each phenomenon, and of each detail that is below what is asked, the worst first."""
    of: dict[str, list[Place]] = {}
    details: dict[str, list[Place]] = {}
    for place in places:
        for group in groups(place.target):
            of.setdefault(group, []).append(place)
        details.setdefault(f"{place.target.span.phenomenon} {place.target.span.detail}".strip(), []).append(place)
    order = ("fact", "fact, seen wordings", "fact, held-out wordings", *PHENOMENA[1:])
    below = {name: shares(found) for name, found in details.items()}
    worst = sorted((name for name in below if below[name]["first"] < ASKED), key=lambda name: below[name]["first"])
    return {
        "phenomena": {name: shares(of[name]) for name in order if name in of},
        "details": {
            name: {**below[name], "example": next(p.shown for p in details[name] if not p.first)} for name in worst
        },
    }


def shares(places: Sequence[Place]) -> dict[str, Any]:
    """How often the program agrees, an account speaks, and agrees then; and the model says what the rules determine."""
    spoke = [place.first for place in places if place.speaks]
    return {
        "n": len(places),
        "first": sum(place.first for place in places) / len(places),
        "whole": sum(place.whole for place in places) / len(places),
        "speaks": len(spoke) / len(places),
        "right_where_it_speaks": Proportion(sum(spoke), len(spoke)).value,
        "model": sum(place.model for place in places) / len(places),
    }


# --- printing ---------------------------------------------------------------------------------------------------------


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """All that was found, as tables."""
    stories = found["stories"]
    yield f"{found['directory']}, {found['machine']}, {found['date']}, commit {found['commit']}"
    yield f"{stories['count']:,} fresh stories from number {stories['first']:,} on"
    yield ""
    yield f"| places that the rules determine | {COLUMNS} |\n|---|{RULER}"
    for name, row in found["phenomena"].items():
        yield _row(name, row)
    if found["details"]:
        yield ""
        yield f"| below {ASKED:.0%} | {COLUMNS} | such as |\n|---|{RULER}---|"
    for name, row in found["details"].items():
        shown = row["example"]
        said = f"…{shown['text'][-60:]!r}: {shown['program']!r} by {shown['rule']}, the model {shown['model']!r}"
        yield f"{_row(name, row)} {said} |"
    yield from ("", *_facts(found["facts"]), "", *_figures(found["figures"]), "", *_fresh(found["fresh"]))
    if found["finding"]:
        yield from ("", _finding(found["finding"]))
    if renaming := found.get("renamed"):
        yield from ("", *_renamed(renaming))
    if again := found.get("stability"):
        yield from ("", *stability_lines(again))


def percent(value: float | None) -> str:
    """A share in percent; a dash where nothing was measured."""
    return "–" if value is None else f"{100 * value:.1f}"


def _row(name: str, row: Mapping[str, Any]) -> str:
    columns = ("first", "whole", "speaks", "right_where_it_speaks", "model")
    return f"| {name} | {row['n']:,} | {' | '.join(percent(row[column]) for column in columns)} |"


def _facts(facts: Mapping[str, Any]) -> Iterator[str]:
    yield "| facts | | |\n|---|---:|---:|"
    for name, label in FACTS.items():
        one = facts[name]
        yield f"| {label} | {one['hits']:,} of {one['n']:,} | {percent(one['value'])} |"
    yield f"of the wrong lines {facts['wrong_of_nobody']} are about people who have no such relation"
    yield ""
    yield "| relation | tables | facts | first token | whole answer |\n|---|---|---:|---:|---:|"
    for name, row in facts["relations"].items():
        yield f"| {name} | {', '.join(row['tables']) or '–'} | {row['facts']} | {row['first']} | {row['whole']} |"


def _fresh(figures: Mapping[str, Any]) -> Iterator[str]:
    yield f"| {figures['positions']:,} positions of the fresh stories | all | hard |\n|---|---:|---:|"
    yield from _metrics(figures)


def _figures(figures: Mapping[str, Any]) -> Iterator[str]:
    count = f"{len(figures['files'])} accounts, {len(figures['rules'])} rules, {figures['symbols']:,} symbols"
    yield f"| {count} | all positions | hard positions |\n|---|---:|---:|"
    yield from _metrics(figures)


def _metrics(figures: Mapping[str, Any]) -> Iterator[str]:
    for name, label in METRICS.items():
        yield f"| {label} | {share(figures['all'][name])} | {share(figures['hard'][name])} |"


def _finding(finding: Mapping[str, Any]) -> str:
    took = f"{finding['seconds'] / 60:.1f} minutes, {finding['processor_seconds'] / 60:.1f} of processor time"
    return f"Finding took {took}; peak memory {finding['peak_gib']:.2f} GiB."


def _renamed(renaming: Mapping[str, Any]) -> Iterator[str]:
    yield f"| letters as {renaming['letters']} | as they are | permuted | the same |\n|---|---:|---:|---:|"
    for name, (own, other) in renaming["counts"].items():
        yield f"| {name} | {own:,} | {other:,} | {renaming['same'].get(name, '')} |"
    for name, (own, other) in renaming["figures"].items():
        yield f"| {name} | {percent(own)} | {percent(other)} | |"
    for side, label in (("only_here", "as they are"), ("only_there", "permuted")):
        yield from (f"only {label}: {rule[:200]}" for rule in renaming[side])


if __name__ == "__main__":
    main()
