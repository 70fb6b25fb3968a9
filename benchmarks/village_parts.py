"""Which parts of a decompiled village each of its phenomena hangs on, with what their sources say.

Gradients on unseen stories name the heads and neurons whose difference from their mean speaks most for what the rules
determine; each of these is then put to its mean alone, and the points of accuracy that are lost are exact. Run it on a
decompiled village:

    python benchmarks/village_parts.py DIR [--stories 300] [--parts 8] [--json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

import pellucid
from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.forms.effect import mean_forms
from pellucid.forms.forms import Fires, Looks
from pellucid.forms.twin import Twin
from pellucid.project.project import Project
from pellucid.project.rows import rows_for
from pellucid.stages.lift.means import averages, named
from pellucid.zoo import registry
from pellucid.zoo.village import PHENOMENA, Village
from pellucid.zoo.village.evaluate import END, Example, examples

MEAN_TOKENS = 20_000


def main() -> None:
    """Print, for each phenomenon, the parts that it loses most without."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--stories", type=int, default=300)
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    project = pellucid.open(options.directory)
    tokenizer = Tokenizer.from_file(str(registry.path("village") / "tokenizer.json"))
    cases = examples(Village().stories("test", 0, options.stories), tokenizer)
    means = named(project.model, averages(project.model, rows_for(project, "fit", MEAN_TOKENS)))
    ablated = mean_forms(project.model, means)
    found = {name: served(project, cases, name, ablated, options.parts) for name in PHENOMENA}
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for phenomenon, parts in found.items():
        print(f"\n{phenomenon}")
        for part in parts:
            lost = f"{part['nats']:6.2f} nats {part['points']:5.1f} points"
            print(f"  {part['address']:12} {lost}  {part['name'] or '–':40} {part['says']}")


def served(
    project: Project, cases: Sequence[Example], phenomenon: str, ablated: Mapping[Address, Any], count: int
) -> list[dict[str, Any]]:
    """The parts that speak most for what a phenomenon determines, with the points it loses without each."""
    model, listing, symbols = project.model, project.listing(), project.symbols()
    chosen = [case for case in cases if any(target.span.phenomenon == phenomenon for target in case.targets)]
    rows, places, right = targets(chosen, phenomenon)
    guesses = attributions(model, rows, places, right, ablated)
    best = sorted(guesses, key=lambda address: -guesses[address])[:count]
    nats, points = known(model, rows, places, right)
    parts = []
    for address in best:
        left, rest = known(Twin(model, [ablated[address]]), rows, places, right)
        symbol, said = symbols.get(str(address)), listing[address].docstring or ""
        about = {"address": str(address), "name": symbol.name if symbol else "", "says": said}
        parts.append(about | {"nats": round(nats - left, 3), "points": round(points - rest, 1)})
    return sorted(parts, key=lambda part: -part["nats"])


def targets(
    cases: Sequence[Example], phenomenon: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Padded rows of tokens, and the places (row, position) whose next token is determined, with that token."""
    rows = np.full((len(cases), max(len(case.tokens) for case in cases)), END, dtype=np.int64)
    places, right = [], []
    for number, case in enumerate(cases):
        rows[number, : len(case.tokens)] = case.tokens
        for target in case.targets:
            if target.span.phenomenon == phenomenon:
                places.append((number, target.start - 1))
                right.append(case.tokens[target.start])
    return rows, np.array(places).T, np.array(right)


def known(
    run: Model | Twin, rows: NDArray[np.int64], places: NDArray[np.int64], right: NDArray[np.int64]
) -> tuple[float, float]:
    """The mean log-likelihood of right first tokens in nats, and the share that is said at temperature 0 in percent."""
    with torch.inference_mode():
        logits = run.logits(torch.from_numpy(rows))[places[0], places[1]]
    likely = logits.log_softmax(-1)[torch.arange(len(right)), torch.from_numpy(right)]
    return float(likely.mean()), float(100 * (logits.argmax(-1).numpy() == right).mean())


def attributions(
    model: Model,
    rows: NDArray[np.int64],
    places: NDArray[np.int64],
    right: NDArray[np.int64],
    ablated: Mapping[Address, Looks | Fires],
) -> dict[Address, float]:
    """What each part's difference from its mean adds to the log-likelihood of what is determined, to first order."""
    config = model.decoder
    names = [f"L{layer:02d}.{what}" for layer in range(config.n_layer) for what in ("pre", "scores")]

    def leaf(value: Tensor) -> Tensor:
        return value if value.requires_grad else value.detach().requires_grad_()

    with torch.enable_grad():
        values = model.run(torch.from_numpy(rows), (*names, "logits"), edits=dict.fromkeys(names, leaf))
        likely = values["logits"].log_softmax(-1)[places[0], places[1], torch.from_numpy(right)].sum()
        slopes = dict(zip(names, torch.autograd.grad(likely, [values[name] for name in names]), strict=True))
    found: dict[Address, float] = {}
    for layer in range(config.n_layer):
        pre, scores = f"L{layer:02d}.pre", f"L{layer:02d}.scores"
        mean = torch.tensor([ablated[Address("IN", layer, n)].bias for n in range(config.n_inner)])
        neurons = ((values[pre].detach() - mean) * slopes[pre]).sum((0, 1))
        found |= {Address("IN", layer, n): float(value) for n, value in enumerate(neurons)}
        slope = slopes[scores]
        heads = (values[scores].detach().masked_fill(slope == 0, 0) * slope).sum((0, 2, 3))
        found |= {Address("QK", layer, head): float(value) for head, value in enumerate(heads)}
    return found


if __name__ == "__main__":
    main()
