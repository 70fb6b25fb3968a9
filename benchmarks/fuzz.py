"""Files that are damaged, of another shape, or odd but valid, through every reader of data files, and what comes of it.

A valid file of each kind is changed at random, mostly so that it may still be valid, then read, and what was read is
used. An input is accepted, or refused in one line; anything else is a fault, of which the first are shown.

    python benchmarks/fuzz.py [--inputs 20000] [--seed 0] [--only NAME] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file

from fuzz_readers import Reader, readers
from pellucid.base.effort import Effort
from pellucid.base.errors import PellucidError
from pellucid.family.gpt2 import GPT2Config, tensor_shapes
from pellucid.pipeline.decompile import Request, decompile
from pellucid.program.prelude import ProgramError

CONFIG = {"n_layer": 2, "n_head": 2, "n_embd": 8, "n_positions": 16, "vocab_size": 11, "model_type": "gpt2"}
LONGEST = 1000
"""Characters of a line that people can read."""


@dataclass
class Tally:
    """What came of the inputs of one reader."""

    reader: str
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)


def fuzz(made: Path, subject: Path, folder: Path, inputs: int, seed: int = 0, only: str = "") -> list[Tally]:
    """So many `inputs` dealt evenly to all readers, the same ones for the same `seed`."""
    chosen = [reader for reader in readers(made, subject, folder) if only in reader.name]
    return [tried(reader, inputs // len(chosen) + (n < inputs % len(chosen)), seed) for n, reader in enumerate(chosen)]


def tried(reader: Reader, inputs: int, seed: int) -> Tally:
    """What `reader` does with `inputs` changed files."""
    tally = Tally(reader.name)
    for number in range(inputs):
        draw = random.Random(f"{seed} {reader.name} {number}")
        data = reader.change(draw.choice(reader.valid), draw)
        start = time.perf_counter()
        tally.inputs += 1
        try:
            reader.use(data)
            tally.accepted += 1
        except (PellucidError, ProgramError) as error:
            said = " ".join(str(error).split())
            tally.refused += 1
            if not 0 < len(said) <= LONGEST:
                tally.faults.append(f"{number}: a line of {len(said)} characters: {said[:200]}")
        except Exception:
            tally.faults.append(f"{number}: {data[:300]!r}\n{traceback.format_exc(limit=-4)}")
        tally.slowest = max(tally.slowest, time.perf_counter() - start)
    return tally


def table(tallies: Sequence[Tally]) -> str:
    """Inputs, accepted, refused in one line, and other, by reader and in all."""
    rows = [(t.reader, t.inputs, t.accepted, t.refused, len(t.faults), t.slowest) for t in tallies]
    sums = [sum(row[column] for row in rows) for column in (1, 2, 3, 4)]  # type: ignore[misc]
    rows.append(("all", *sums, max(t.slowest for t in tallies)))  # type: ignore[arg-type]
    head = f"{'reader':<26}{'inputs':>9}{'accepted':>10}{'refused':>9}{'other':>7}{'slowest, s':>12}"
    lines = [f"{name:<26}{n:>9,}{yes:>10,}{no:>9,}{bad:>7,}{slow:>12.2f}" for name, n, yes, no, bad, slow in rows]
    return "\n".join([head, *lines, f"accepted: {sums[1] / sums[0]:.1%}"])


def make(root: Path) -> tuple[Path, Path]:
    """A program decompiled from a tiny random model, and that model."""
    subject, made, words = root / "subject", root / "made", random.Random(0)
    subject.mkdir()
    (subject / "config.json").write_text(json.dumps(CONFIG))
    generator = torch.Generator().manual_seed(0)
    shapes = tensor_shapes(GPT2Config.from_json(CONFIG, "config.json"))
    weights = {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}
    save_file(weights, subject / "model.safetensors")
    (subject / "task.json").write_text(json.dumps({"vocab": [f"w{n}" for n in range(CONFIG["vocab_size"])]}))  # type: ignore[call-overload]
    documents = [" ".join(f"w{words.randrange(1, 11)}" for _ in range(30)) for _ in range(200)]
    (root / "text.txt").write_text("<|endoftext|>".join(documents))
    decompile(
        Request(subject=str(subject), directory=made, corpus=(root / "text.txt",), effort=Effort.quick(), raw=True)
    )
    return made, subject


def main() -> int:
    """Print the table, and the first faults of each reader; 1 where there are any."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="NAME", help="readers whose name holds this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_STATE_HOME"] = name
        made, subject = make(Path(name))
        tallies = fuzz(made, subject, Path(name) / "files", options.inputs, options.seed, options.only)
    print(json.dumps([vars(tally) for tally in tallies], indent=1) if options.json else table(tallies))
    for tally in tallies:
        for fault in tally.faults[:3]:
            print(f"\n{tally.reader}, input {fault}", file=sys.stderr)
    return int(any(tally.faults for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
