"""How much of the village's rules a decompiled village keeps: accuracy where the rules leave one choice.

The subject, the full program and the program of sources alone are asked at every determined position of unseen stories;
programs are executed as they stand in DIR.

    python benchmarks/village_rules.py DIR [--stories 200] [--json]
    python benchmarks/village_rules.py DIR --first 500000 --stories 4000 --only subject     other stories
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

import pellucid
from pellucid.project.project import Project
from pellucid.zoo import registry
from pellucid.zoo.village import PHENOMENA, Village
from pellucid.zoo.village.evaluate import Logits, Tokens, accuracy, argmax, examples


def programs_of(project: Project) -> dict[str, Logits]:
    """The subject, the full program and the program of sources alone."""

    def raw(rows: Tokens) -> NDArray[np.float32]:
        with torch.inference_mode():
            return project.model.logits(torch.from_numpy(rows)).numpy()

    return {
        "subject": raw,
        "full program": project.program(None).logits,
        "source-only (code)": project.program("code").logits,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--stories", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the number of the first story (0)")
    parser.add_argument("--only", help="ask this one alone, for instance subject")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    project = pellucid.open(options.directory)
    tokenizer = Tokenizer.from_file(str(registry.path("village") / "tokenizer.json"))
    cases = examples(Village().stories("test", options.first, options.stories), tokenizer)
    cases = [case for case in cases if len(case.tokens) <= project.model.n_ctx]
    programs = programs_of(project)
    if options.only not in (None, *programs):
        parser.error(f"--only {options.only!r} is none of {', '.join(map(repr, programs))}")
    asked = [options.only] if options.only else list(programs)
    found = {name: accuracy(cases, argmax(programs[name])) for name in asked}
    first = found[asked[0]]
    table = {
        phenomenon: {name: 100 * scores[phenomenon].tokens for name, scores in found.items()}
        for phenomenon in PHENOMENA
        if phenomenon in first
    }
    counts = {name: scores for name, scores in first.items() if name in table}
    spans = sum(score.n for score in counts.values())
    table["all"] = {
        name: sum(100 * scores[p].tokens * scores[p].n for p in counts) / spans for name, scores in found.items()
    }
    if options.json:
        print(json.dumps(table, indent=1))
        return
    print(f"| right tokens, % | {' | '.join(found)} |\n|---|{'---:|' * len(found)}")
    for phenomenon, row in table.items():
        print(f"| {phenomenon} | {' | '.join(f'{value:.1f}' for value in row.values())} |")


if __name__ == "__main__":
    main()
