"""The circuit of each phenomenon of the village, with its faithfulness, beside the sources found for the same heads.

Pairs are made by the village itself. Edge attribution (EAP-IG) ranks edges on one half of the pairs; faithfulness at
1, 5 and 20 % of edges, CPR and CMD are measured exactly on the other half. `decided` is the share of the way from
corrupted to clean that the stream at the words that decide (the ground truth of the pair) carries into layer 1. With
DIR, which `pellucid decompile zoo:village` wrote, heads of the circuit at 5 % are listed with the form and residual of
where they look, and their sources are put to the test: `by source` is what is left of the way from corrupted to clean
where these heads look by their sources alone and all else is exact, `by mean` where they look everywhere alike. Other
files of pairs, or of BLiMP, do as well.

    python benchmarks/circuits.py [DIR] [--pairs 60] [--json]
    python benchmarks/circuits.py --subject SUBJECT --tasks FILE.jsonl …
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

import pellucid
from pellucid.base.address import Address
from pellucid.engine.metrics import LogitDifference
from pellucid.engine.tasks import MinimalPairs, cause_positions, read_blimp
from pellucid.exact.graph import Edit
from pellucid.study.circuits import Examiner, largest
from pellucid.zoo.village import PHENOMENA, Village
from pellucid.zoo.village.pairs import contrasts

SIZES = (0.01, 0.05, 0.2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="a decompilation of the subject")
    parser.add_argument("--subject", default="zoo:village", help="the subject (zoo:village)")
    parser.add_argument("--tasks", nargs="+", type=Path, help="files of pairs instead of the village's own")
    parser.add_argument("--pairs", type=int, default=60, help="pairs of each task, both halves (60)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    model = pellucid.load(options.subject)
    project = pellucid.open(options.directory) if options.directory else None
    found = []
    for task in tasks(options.tasks, options.pairs, model):
        search, held_out = task.split()
        scores = pellucid.score_edges(model, search)
        curve = pellucid.faithfulness_curve(model, held_out, scores)
        total = int(scores.wiring.real.sum())
        examiner = Examiner(model, held_out)
        sized = {size: largest(scores, round(size * total)) for size in SIZES}
        at = {f"{size:.0%}": examiner.faithfulness(circuit.edges) for size, circuit in sized.items()}
        circuit = sized[0.05]
        line: dict[str, Any] = {"task": task.name, "pairs": len(held_out), "right": right(model, held_out)}
        line |= {"faithfulness": at, "cpr": curve.cpr, "cmd": curve.cmd, "decided": decided(model, held_out)}
        heads = [name for name in circuit.nodes if name.startswith("a")]
        line["heads"] = {name: form(project, name) for name in heads}
        line["edges"] = len(circuit)
        if project is not None:
            line["by_source"], line["by_mean"] = (left(model, examiner, heads, by) for by in (project.program(), None))
        found.append(line)
        print(json.dumps(line) if options.json else row(line), flush=True)


def tasks(files: list[Path] | None, count: int, model: Any) -> list[MinimalPairs]:
    """The pairs of the village, or those in files."""
    if files:
        read = [blimp(model, file) if file.name.startswith("blimp") else pellucid.read_task(file) for file in files]
        return [MinimalPairs(task.name, task.fitting(model).pairs[:count]) for task in read]
    made = [MinimalPairs.of(name, contrasts(Village(), name, 3 * count)).fitting(model) for name in PHENOMENA]
    return [MinimalPairs(task.name, task.pairs[:count]) for task in made]


def blimp(model: Any, file: Path) -> MinimalPairs:
    """The pairs of a file of BLiMP; how many there are and why others are left out goes to standard error."""
    found = read_blimp(model, file)
    why = "; ".join(f"{count} left out: {reason}" for reason, count in found.left_out.items())
    print(f"{file.stem}: {len(found.task)} pairs; {why}", file=sys.stderr)
    return found.task


def right(model: Any, task: MinimalPairs) -> float:
    """The share of clean prompts whose answer is the likeliest token."""
    hits = 0
    with torch.no_grad():
        for batch in task.batches(model):
            top = model.logits(batch.clean)[:, -1].argmax(-1).tolist()
            hits += sum(token in answers for token, answers in zip(top, batch.metric.answers, strict=True))
    return hits / len(task)


def decided(model: Any, task: MinimalPairs) -> float:
    """The mean share of the way from corrupted to clean that the stream into layer 1 at the cause carries."""
    shares = []
    for pair in task.pairs[:20]:
        (batch,) = MinimalPairs(task.name, (pair,)).batches(model)
        metric: LogitDifference = batch.metric
        source = pellucid.trace(model, batch.clean, ["L01.resid_pre"])
        change = pellucid.patch("L01.resid_pre", source, positions=cause_positions(model, pair))
        runs = [pellucid.trace(model, batch.corrupted, ["final"], changes) for changes in ([], [change])]
        rows = torch.arange(1)
        with torch.no_grad():
            low, patched = (float(metric(model, run["final"][:, -1], rows)) for run in runs)
            high = float(metric(model, pellucid.trace(model, batch.clean, ["final"])["final"][:, -1], rows))
        shares.append((patched - low) / (high - low))
    return sum(shares) / len(shares)


def looks(name: str) -> Address:
    """Where a head (`a2.h0`) looks."""
    layer, head = (int(part[1:]) for part in name.split("."))
    return Address("QK", layer, head)


def form(project: Any, name: str) -> str | None:
    """What the QK of a head runs in a decompilation: raw, source, lifted, and whether without its residual.

    None where no decompilation was given.
    """
    if project is None:
        return None
    address = looks(name)
    return f"{project.listing().form(address)}{' alone' if address in project.dropped() else ''}"


def left(model: Any, examiner: Examiner, heads: list[str], program: Any) -> float:
    """The share of the way from corrupted to clean where `heads` look by their sources in `program`, or by no scores.

    Heads without a source look by no scores (everywhere alike) in either case.
    """
    addresses = [looks(name) for name in heads]
    known = [] if program is None else [key for key in map(str, addresses) if program.sources.has(key)]

    def put(ids: torch.Tensor, layer: int) -> Edit:
        own = [address for address in addresses if address.layer == layer]

        def edit(scores: torch.Tensor) -> torch.Tensor:
            scores = scores.clone()
            for address in own:
                shape = tuple(scores[:, address.index].shape)
                said = program.source_output(str(address), ids.numpy(), shape) if str(address) in known else 0.0
                scores[:, address.index] = torch.as_tensor(said, dtype=scores.dtype)
            return scores

        return edit

    total = count = 0.0
    with torch.no_grad():
        for batch in examiner.task.batches(model):
            edits = {f"L{layer:02d}.scores": put(batch.clean, layer) for layer in {a.layer for a in addresses}}
            final = model.run(batch.clean, ("final",), edits=edits)["final"][:, batch.metric.position]
            total += float(batch.metric(model, final, torch.arange(len(final))).double().sum())
            count += len(final)
    return (total / count - examiner.corrupted) / (examiner.clean - examiner.corrupted)


def row(line: dict[str, Any]) -> str:
    """A line of a Markdown table."""
    heads = ", ".join(name if how is None else f"{name} ({how})" for name, how in line["heads"].items())
    faithful = " | ".join(f"{value:.2f}" for value in line["faithfulness"].values())
    figures = f"{line['right']:.2f} | {faithful} | {line['cpr']:.3f} | {line['cmd']:.3f} | {line['decided']:.2f}"
    if "by_source" in line:
        figures += f" | {line['by_source']:.2f} | {line['by_mean']:.2f}"
    return f"| {line['task']} | {line['pairs']} | {figures} | {heads} |"


if __name__ == "__main__":
    main()
