"""Time and memory of lifting, emitting and verifying a model of the size of GPT-2 small.

The model is random (12 layers, d 768, 12 heads, 1,024 positions, 124,439,808 parameters) and so is its text, so nothing
is downloaded. Its tokenizer is a valid byte-level BPE of 50,257 tokens: the 256 bytes, `<|endoftext|>`, and for merges
the first 50,000 of the 65,536 pairs of bytes, in order. Everything lies in a temporary folder, about 1.1 GB of it.

    python benchmarks/gpt2_small.py [--tokens 2000] [--json]

The stages run in a child process, so that peak memory is theirs alone; what decompile calls is what is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice, product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from pellucid.base.effort import Effort
from pellucid.corpus.rows import Row, sample_rows
from pellucid.exact.model import Model
from pellucid.family.gpt2 import GPT2Config, tensor_shapes
from pellucid.listing.load import Program
from pellucid.measure.fidelity import MeasureSettings, evaluate
from pellucid.pipeline.program import write_program
from pellucid.pipeline.request import Request, begin
from pellucid.project.project import Project
from pellucid.subject.load import load_subject
from pellucid.subject.tokenizer import byte_alphabet

CONFIG = {"model_type": "gpt2", "n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 1024, "vocab_size": 50257}
MERGES = 50_000
FIT_WORDS, HELDOUT_WORDS = 6_000, 1_500


def main() -> None:
    """Make the model and the text, run the stages in a child process, and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tokens", type=int, default=2000, help="tokens of held-out text to verify on (2,000)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--stages", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stages:
        print(json.dumps(stages(options.stages, options.tokens)))
        return
    with tempfile.TemporaryDirectory(prefix="gpt2-small-") as name:
        root = Path(name)
        make_checkpoint(root / "model")
        make_text(root / "fit.txt", FIT_WORDS, seed=0)
        make_text(root / "heldout.txt", HELDOUT_WORDS, seed=1)
        command = [sys.executable, __file__, "--stages", name, "--tokens", str(options.tokens)]
        environment = os.environ | {"XDG_STATE_HOME": name}
        child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found = json.loads(child.stdout)
    print(json.dumps(found, indent=1) if options.json else table(found))


# --- the model and the text -------------------------------------------------------------------------------------------


def make_checkpoint(directory: Path, **changes: int) -> None:
    """A random model with its tokenizer, in Hugging Face layout; `changes` are made to its shape."""
    directory.mkdir()
    config = CONFIG | changes
    (directory / "config.json").write_text(json.dumps(config | {"eos_token_id": CONFIG["vocab_size"] - 1}))
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in tensor_shapes(GPT2Config.from_json(config, "config.json")).items():
        is_norm = "ln_" in name and name.endswith("weight")
        weights[name] = torch.randn(shape, generator=generator) * 0.02 + float(is_norm)
    save_file(weights, directory / "model.safetensors")
    alphabet = list(byte_alphabet())
    merges = list(islice(product(alphabet, repeat=2), MERGES))
    pieces = [*alphabet, *(first + second for first, second in merges), "<|endoftext|>"]
    (directory / "vocab.json").write_text(json.dumps({piece: at for at, piece in enumerate(pieces)}))
    (directory / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))


def make_text(path: Path, words: int, seed: int) -> None:
    """Words of two or three random syllables, from a lexicon of a thousand; the likelier the earlier they stand."""
    draw = random.Random(seed)
    lexicon = random.Random(2)
    syllables = [a + b for a in "bdfghklmnprstvw" for b in "aeiou"]
    known = ["".join(lexicon.choices(syllables, k=lexicon.choice([2, 3]))) for _ in range(1000)]
    chosen = draw.choices(known, weights=[1 / (rank + 10) for rank in range(len(known))], k=words)
    path.write_text(" ".join(chosen))


# --- the stages -------------------------------------------------------------------------------------------------------


def peak() -> float:
    """The most memory that this process has held so far, in GiB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 2**20


def stages(root: Path, tokens: int) -> dict[str, Any]:
    """Run everything on the model and texts in `root`; seconds and peak memory of each stage, and how exact it is."""
    taken: list[dict[str, Any]] = [{"stage": "start Python, import", "seconds": None, "peak_gib": round(peak(), 2)}]

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        start = perf_counter()
        yield
        taken.append(
            {"stage": name, "seconds": round(perf_counter() - start, 1), "peak_gib": round(peak(), 2)},
        )

    with stage("load the subject"):
        subject = load_subject(root / "model")
    with stage("lift it to the exact graph"):
        model = Model(subject)
    with stage("split the text"):
        asked = Request(
            subject=str(root / "model"),
            directory=root / "made",
            corpus=(root / "heldout.txt",),
            fit_corpus=(root / "fit.txt",),
            effort=Effort.quick(),
        )
        project = begin(asked, subject)
    with stage("average and emit"):
        write_program(project, Effort.quick())
    with stage("start the program"):
        program = project.program()
    rows = held_out(project, tokens)
    with stage(f"verify on {sum(map(len, rows)):,} tokens"):
        figures = evaluate(model, {"full": program}, rows, model.tokenizer, MeasureSettings(contexts=0, batch=1))[
            "full"
        ]
    with stage("compare all their logits"):
        exactness = compare(model, program, rows)
    with stage("continue a text by 20 tokens"):
        project.generate("bado kemi", 20)
    metrics = {name: found.value for name, found in figures.overall.items() if found}
    sizes = {"parameters": subject.parameters, "tokens": sum(map(len, rows)), "threads": torch.get_num_threads()}
    return sizes | {"stages": taken, "peak_gib": round(peak(), 2), "fidelity": metrics, "logits": exactness}


def held_out(project: Project, tokens: int) -> list[Row]:
    """Rows of held-out text with `tokens` tokens in all, or as many as there are."""
    chosen: list[Row] = []
    for row in sample_rows(project.texts.heldout, project.model.tokenizer, project.model.n_ctx, 1 << 10):
        if (left := tokens - sum(map(len, chosen))) >= 2:
            chosen.append(Row(row.domain, row.document, row.block, row.tokens[:left]))
    return chosen


def compare(model: Model, program: Program, rows: list[Row]) -> dict[str, float | int]:
    """How far the logits of the program are from the subject's: the largest difference, and argmax that differ.

    An argmax counts as clear where the subject's top two are more than 1e-3 apart.
    """
    difference = largest = 0.0
    clear = close = 0
    for row in rows:
        ids = row.tokens[None].astype(np.int64)
        with torch.inference_mode():
            exact = model.logits(torch.from_numpy(ids)).numpy()[0]
        said = program.logits(ids)[0]
        difference = max(difference, float(np.abs(said - exact).max()))
        largest = max(largest, float(np.abs(exact).max()))
        top = np.partition(exact, -2, -1)[:, -2:]
        wrong = said.argmax(-1) != exact.argmax(-1)
        apart = top[:, 1] - top[:, 0] > 1e-3
        clear += int((wrong & apart).sum())
        close += int((wrong & ~apart).sum())
    relative = difference / largest
    return {"relative_difference": relative, "argmax_differs_clear": clear, "argmax_differs_close": close}


def table(found: dict[str, Any]) -> str:
    """What was found, as a Markdown table and three lines."""
    lines = [f"{found['parameters']:,} parameters, {found['threads']} threads", ""]
    lines += ["| stage | seconds | peak memory so far, GiB |", "|---|---:|---:|"]
    for entry in found["stages"]:
        seconds = "" if entry["seconds"] is None else f"{entry['seconds']:.1f}"
        lines.append(f"| {entry['stage']} | {seconds} | {entry['peak_gib']:.2f} |")
    logits, fidelity = found["logits"], found["fidelity"]
    lines += ["", f"Peak {found['peak_gib']:.2f} GiB. Over {found['tokens']:,} tokens:"]
    lines.append(f"largest difference of a logit {logits['relative_difference']:.1e} of the largest logit;")
    lines.append(
        f"top token differs at {logits['argmax_differs_clear']} positions where the top two are more than 1e-3 apart, "
        f"at {logits['argmax_differs_close']} others; top-1 {fidelity['top1']:.2f} %, KL {fidelity['kl']:.1e} nats."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
