"""Which of the village's phenomena each attention head serves, beside the source that was found for it.

Every head is silenced alone (its pattern replaced by the uniform one) and the accuracy of each phenomenon is measured
on unseen stories; the table shows the points lost. Run it on a decompiled village:

    python benchmarks/village_heads.py DIR [--stories 400] [--json]
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
from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.forms.forms import Looks
from pellucid.forms.twin import Twin
from pellucid.project.project import Project
from pellucid.zoo import registry
from pellucid.zoo.village import PHENOMENA, Village
from pellucid.zoo.village.evaluate import Example, accuracy, argmax, examples

SHOWN = 0.5
"""Points of accuracy below which a loss is not worth a word."""


def scores(cases: list[Example], run: Model | Twin) -> dict[str, float]:
    """Accuracy in percent of each phenomenon, whole spans."""

    def logits(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return run.logits(torch.from_numpy(rows)).numpy()

    found = accuracy(cases, argmax(logits))
    return {name: 100 * found[name].whole for name in PHENOMENA if name in found}


def losses(project: Project, cases: list[Example]) -> list[dict[str, object]]:
    """For every head its source's name and the points that each phenomenon loses without it."""
    model, listing, symbols = project.model, project.listing(), project.symbols()
    whole = scores(cases, model)
    rows: list[dict[str, object]] = []
    for layer in range(model.decoder.layers):
        for head in range(model.decoder.sizes.head):
            address = Address("QK", layer, head)
            without = scores(cases, Twin(model, [Looks(address)]))
            lost = {name: round(whole[name] - without[name], 1) for name in whole}
            symbol = symbols.get(str(address))
            described = (listing[address].docstring or "raw").split("\n")[0]
            name = symbol.name if symbol else ""
            rows.append({"head": str(address)[:-3], "name": name, "source": described, "lost": lost})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--stories", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    project = pellucid.open(options.directory)
    tokenizer = Tokenizer.from_file(str(registry.path("village") / "tokenizer.json"))
    cases = examples(Village().stories("test", 0, options.stories), tokenizer)
    rows = losses(project, cases)
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        lost = {name: points for name, points in row["lost"].items() if points >= SHOWN}  # type: ignore[attr-defined]
        served = ", ".join(f"{name} {points:.1f}" for name, points in sorted(lost.items(), key=lambda i: -i[1]))
        print(f"| {row['head']} | {row['source']} | {served or '–'} |")


if __name__ == "__main__":
    main()
