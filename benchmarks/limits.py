"""What limits a program without residuals: where heads look, when neurons fire, or how these go wrong together.

The residuals of all QK, of all IN, and of both are switched off, on the same rows of held-out text; layer by layer as
well with --layers. What is left of the KL when one side runs raw is what the other side costs alone. With --references
the bigram and trigram tables of the subject's mean predictions over so many tokens of fit text stand beside them.

    python benchmarks/limits.py DIR [--tokens 20000] [--layers] [--references 1000000] [--json]
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pellucid
from pellucid.base.address import Address
from pellucid.base.trusted import PARTS
from pellucid.corpus.rows import Row, sample_rows
from pellucid.exact.predictor import Predictor
from pellucid.listing.emit import emit
from pellucid.listing.load import Program, load_program
from pellucid.listing.parse import read_listing
from pellucid.measure.distance import distance, logits_of
from pellucid.measure.references import references
from pellucid.project.parts_file import partition, write_parts
from pellucid.project.project import Project
from pellucid.project.rows import rows_for
from pellucid.verify.measure import TUNE_ROWS

TABLE_BYTES = 4 << 30
SIDES = {"QK": "where heads look", "IN": "when neurons fire", "code": "both"}


def main() -> None:
    """Print KL and top-1 of each variant."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--layers", action="store_true", help="each layer's QK and IN alone as well")
    parser.add_argument("--references", type=int, default=0, metavar="TOKENS", help="tables over so much fit text, too")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    project = pellucid.open(options.directory)
    emit(project.subject, project.directory)  # a program that was written by an earlier version
    rows = rows_for(project, "heldout", options.tokens)
    found = {SIDES[side]: measured(project, load_program(project.directory, side), rows) for side in SIDES}  # type: ignore[arg-type]
    if options.layers:
        found |= {name: measured(project, program, rows) for name, program in layers(project)}
    if options.references:
        found |= {name: measured(project, table, rows) for name, table in tables(project, rows, options.references)}
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print("| without residuals | top-1 % | KL |\n|---|---:|---:|")
    for name, row in found.items():
        print(f"| {name} | {row['top1']:.1f} | {row['kl']:.3f} |")


def measured(project: Project, said: Predictor, rows: torch.Tensor) -> dict[str, float]:
    """KL from the subject in nats per token, and the share of top tokens that agree in percent."""
    kl, top1 = distance(project.model, logits_of(said), rows)
    return {"top1": top1, "kl": kl}


def tables(project: Project, rows: torch.Tensor, tokens: int) -> Iterator[tuple[str, Predictor]]:
    """The references over `tokens` of fit text, which hold every context of `rows` that this text has."""
    model, seed, texts = project.model, project.manifest.settings.seed, project.texts
    fit, tune = (
        sample_rows(split, model.tokenizer, model.n_ctx, count, seed)
        for split, count in ((texts.fit, tokens // model.n_ctx), (texts.tune, TUNE_ROWS))
    )
    heldout = [Row("", "", "", ids.numpy().astype(np.int32)) for ids in rows]
    for name, table in references(model, fit, tune, heldout, limit=TABLE_BYTES).items():
        if table.rows is not None:
            raise SystemExit(f"the {name} table of so many --tokens does not fit into memory; ask for fewer")
        yield name, table.predictor


def layers(project: Project) -> Iterator[tuple[str, Program]]:
    """Programs in which one layer's QK, or IN, alone run their sources; lifted forms beside sources are left out."""
    listing = project.listing()
    for layer in range(listing.decoder.layers):
        for kind in ("QK", "IN"):
            chosen = frozenset(a for a in listing.decoder.addresses.addresses() if (a.layer, a.kind) == (layer, kind))
            with tempfile.TemporaryDirectory() as name:
                directory = Path(name)
                shutil.copytree(project.directory / "program", directory / "program")
                (directory / "weights.safetensors").symlink_to((project.directory / "weights.safetensors").resolve())
                unlifted(directory, chosen)
                write_parts(directory / PARTS, partition(listing, chosen), listing.decoder)
                yield f"L{layer:02d} {kind}", load_program(directory)


def unlifted(directory: Path, chosen: frozenset[Address]) -> None:
    """Take out what stands beside the sources of parts, which would run in their place."""
    for page in (directory / "program").glob("layer_*.py"):
        lines: list[str] = page.read_text(encoding="utf-8").split("\n")
        for statement in sorted(statements(directory, page.name, chosen), key=lambda found: -found[0]):
            lines[statement[0] - 1 : statement[1]] = []
        page.write_text("\n".join(lines), encoding="utf-8")


def statements(directory: Path, page: str, chosen: frozenset[Address]) -> list[tuple[int, int]]:
    """First and last lines of the statements of a page that lift any of `chosen`."""
    listing = read_listing(directory / "program")
    beside: dict[str, Any] = {found.key: found for address in chosen if (found := listing.lifted(address))}
    return [(found.line, found.end) for found in beside.values() if found.file.name == page]


if __name__ == "__main__":
    main()
