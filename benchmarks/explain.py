"""Explanations of parts by who explains and how they are scored, on held-out text.

    python benchmarks/explain.py DIR [--neurons 300] [--seed 0] [--json FILE]

All heads, and neurons drawn by the seed, as many from each tenth by effect; none is dropped. *rule*: what
`pellucid explain` finds. *token table*: what a part does on average on every token. *today's words*: the tokens that
the sentence of `decompile` names ("Acts on …, and looks …", "Fires on …"); a part is said to be active on or behind
these. *of another part*: the rule of another part of its kind. Thresholds are chosen on fit text. Intervals are of
parts drawn again.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from accounts import about
from pellucid.explain.activity import Unit, activity, gauged
from pellucid.explain.conditions import Among
from pellucid.explain.explained import explained
from pellucid.explain.items import items_of
from pellucid.explain.scores import fuzzes, mean_scores, scored, threshold
from pellucid.explain.work import ReadTexts, chosen
from pellucid.forms.forms import token_texts
from pellucid.project.descriptions import InWords, load
from pellucid.project.project import Project
from pellucid.project.stage_names import ABOUT

WHO = ("rule", "token table", "today's words", "of another part")
NAMES = ("simulation", "detection", "fuzzing", "intruder")
TOKEN = r'(?:"(?:[^"\\]|\\.)*"|\d+)'
SENTENCE = re.compile(rf"(?:Fires|Acts|Is silent) (on|behind) ({TOKEN}(?:, {TOKEN})*)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--neurons", type=int, default=300, help="how many (300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it there")
    options = parser.parse_args()
    project = Project.open(options.directory, trust=True)
    found = {**about(options), **measured(project, options.neurons, options.seed)}
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print("\n".join(lines(found)))


def drawn(told: dict[str, InWords], count: int, seed: int) -> list[str]:
    """All heads, and as many neurons of each tenth by effect, drawn by `seed`."""
    heads = sorted(name for name in told if ".H" in name)
    ranked = sorted((name for name in told if ".N" in name), key=lambda name: -told[name].share)
    draw, found = Random(seed), list[str]()
    for tenth in np.array_split(np.array(ranked), 10):
        found += draw.sample(tenth.tolist(), min(len(tenth), count // 10))
    return [*heads, *sorted(found)]


def measured(project: Project, count: int, seed: int) -> dict[str, Any]:
    """Mean scores by kind of part and by who explains, and every part's text."""
    told = load(project.evidence.latest(ABOUT) or "{}")
    units, texts = list(chosen(project, drawn(told, count, seed), count, seed)), ReadTexts.of(project)
    by_rule = explained(project.model, units, texts.fit, texts.heldout, seed)
    today = words_today(project, told, units, texts, seed)
    project.readings.end()
    rows: dict[str, Any] = {}
    for kind in ("head", "neuron"):
        own = [number for number, unit in enumerate(units) if unit.kind == kind]
        rows[kind] = {
            "rule": mean_scores([by_rule[number].scores for number in own]),
            "token table": mean_scores([by_rule[number].tokens for number in own]),
            "today's words": mean_scores([today[number] for number in own]),
            "of another part": mean_scores([by_rule[number].shuffled for number in own]),
            "parts": len(own),
        }
    parts = {one.unit.name: {"text": one.text, "scores": one.scores} for one in by_rule}
    return {"seed": seed, "kinds": rows, "parts": parts}


def words_today(
    project: Project, told: dict[str, InWords], units: list[Unit], texts: ReadTexts, seed: int
) -> list[dict[str, float | None]]:
    """The scores of the tokens that today's sentences name."""
    model = project.model
    gauge, there = gauged(model, units, texts.fit)
    here = activity(model, gauge, units, texts.heldout)
    write = token_texts(model.tokenizer)
    ids_of = {text: token for token in range(model.n_vocab) if isinstance(text := write(token), str)}
    found = []
    for number, unit in enumerate(units):
        said = SENTENCE.match(told[unit.name].text) if unit.name in told else None
        pieces = re.findall(TOKEN, said[2]) if said else []
        tokens = [ids_of.get(str(ast.literal_eval(piece)), -1) if piece[0] == '"' else int(piece) for piece in pieces]
        among = Among(int(bool(said) and said[1] == "behind"), frozenset(tokens), ())
        fit, heldout = (among.holds(rows.numpy()).astype(float) for rows in (texts.fit, texts.heldout))
        items = items_of(texts.heldout, here.of(unit), seed + number)
        edge = threshold(fit, there.of(unit).numpy())
        found.append(scored(heldout, here.of(unit).numpy(), items, fuzzes(items, seed + number), edge))
    return found


def lines(found: dict[str, Any]) -> list[str]:
    """What was found, as Markdown tables."""
    told = []
    for kind, rows in found["kinds"].items():
        told += [f"| {rows['parts']} {kind}s | {' | '.join(NAMES)} |", "|---|" + "---:|" * len(NAMES)]
        told += [
            f"| {who} | {' | '.join(cell(row[name]) for name in NAMES)} |" for who, row in rows.items() if who in WHO
        ]
        told.append("")
    return told


def cell(found: dict[str, float] | None) -> str:
    return "–" if found is None else f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


if __name__ == "__main__":
    main()
