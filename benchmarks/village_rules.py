"""How much of the village's rules a decompiled village keeps: accuracy where the rules leave one choice.

The subject, the full program and the program of sources alone are asked at every determined position of unseen stories;
programs are executed as they stand in DIR.

    python benchmarks/village_rules.py DIR [--stories 200] [--json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer

import pellucid
from pellucid.zoo import registry
from pellucid.zoo.village import PHENOMENA, Village
from pellucid.zoo.village.evaluate import Logits, accuracy, argmax, examples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--stories", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    project = pellucid.open(options.directory)
    tokenizer = Tokenizer.from_file(str(registry.path("village") / "tokenizer.json"))
    cases = examples(Village().stories("test", 0, options.stories), tokenizer)
    subject = project.model

    def raw(rows):  # type: ignore[no-untyped-def]
        with torch.inference_mode():
            return subject.logits(torch.from_numpy(rows)).numpy()

    programs: dict[str, Logits] = {
        "subject": raw,
        "full program": project.program(None).logits,
        "source-only (code)": project.program("code").logits,
    }
    found = {name: accuracy(cases, argmax(logits)) for name, logits in programs.items()}
    table = {
        phenomenon: {name: 100 * scores[phenomenon].tokens for name, scores in found.items()}
        for phenomenon in PHENOMENA
        if phenomenon in found["subject"]
    }
    counts = {name: scores for name, scores in found["subject"].items() if name in table}
    spans = sum(score.n for score in counts.values())
    table["all"] = {
        name: sum(100 * scores[p].tokens * scores[p].n for p in counts) / spans for name, scores in found.items()
    }
    if options.json:
        print(json.dumps(table, indent=1))
        return
    print(f"| right tokens, % | {' | '.join(programs)} |\n|---|{'---:|' * len(programs)}")
    for phenomenon, row in table.items():
        print(f"| {phenomenon} | {' | '.join(f'{value:.1f}' for value in row.values())} |")


if __name__ == "__main__":
    main()
