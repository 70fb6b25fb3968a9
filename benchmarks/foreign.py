"""Bring small transformers that others have published into directories that `pellucid decompile --weightless` reads.

    python benchmarks/foreign.py tracr DIR -o OUT [--only NAME ...] [--half first|second]
    python benchmarks/foreign.py published DIR -o OUT [--only NAME ...]

`tracr`: networks that were compiled from RASP programs and ported to TransformerLens (`NAME.json` with configuration
and encoders, `NAME.safetensors`). Rows are drawn at random from the input tokens behind BOS. The two halves are
every other name. `published`: trained models with published explanations, in TransformerLens's tensor names; what rows
they read is said here. Nothing is said about how any of them works.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

ROWS, SEED = 1500, 7
Row = tuple[list[int], list[int]]
"""Token ids, and the places whose answer counts."""


@dataclass(frozen=True)
class Foreign:
    """A checkpoint with the tokens that it reads and says, and its rows."""

    name: str
    config: dict
    weights: dict[str, torch.Tensor]
    read: list[str]
    said: list[str]
    begin: str | None
    rows: list[Row]

    def write(self, directory: Path) -> None:
        """Write it as a directory of its own."""
        directory.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in self.weights.items()}, directory / "model.safetensors")
        (directory / "config.json").write_text(json.dumps({"model_type": "hooked_transformer", **self.config}))
        special = {"bos": self.begin} if self.begin else {}
        task = {"name": self.name, "output": "argmax", "vocab": self.read, "outputs": self.said, **special}
        (directory / "task.json").write_text(json.dumps(task))
        with gzip.open(directory / "inputs.jsonl.gz", "wt") as stream:
            for ids, scored in self.rows:
                stream.write(json.dumps({"band": "all", "ids": ids, "scored": scored}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["tracr", "published"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", nargs="+", help="names; all if none is given")
    parser.add_argument("--half", choices=["first", "second"], help="every other name")
    parser.add_argument("--seed", type=int, default=SEED, help="rows are drawn from this")
    options = parser.parse_args()
    known = tracr if options.kind == "tracr" else published
    for foreign in known(options.directory, options.only, options.half, options.seed):
        foreign.write(options.output / foreign.name)
        print(foreign.name)


# --- compiled from RASP -----------------------------------------------------------------------------------------------


def tracr(directory: Path, only: Sequence[str] | None, half: str | None, seed: int) -> Iterator[Foreign]:
    """The networks in `directory`."""
    paths = sorted(directory.glob("*.json"))
    start, step = {None: (0, 1), "first": (0, 2), "second": (1, 2)}[half]
    for path in paths[start::step]:
        if not only or path.stem in only:
            yield of_tracr(path, seed)


def of_tracr(path: Path, seed: int) -> Foreign:
    """One of them; a padding token is never read."""
    data = json.loads(path.read_text())
    encoders = data["encoders"]
    read, said = (by_id(encoders[f"{side}_encoder"]["tokens"]) for side in ("input", "output"))
    begin, pad = encoders["input_encoder"]["_bos_token"], encoders["input_encoder"]["_pad_token"]
    content = [at for at, text in enumerate(read) if text not in (begin, pad)]
    weights = load_file(path.with_suffix(".safetensors"))
    rows = list(drawn(content, read.index(begin), int(data["cfg"]["n_ctx"]), np.random.default_rng(seed)))
    config = {key: data["cfg"][key] for key in ("act_fn", "attention_dir", "n_ctx", "eps", "normalization_type")}
    config["n_layers"] = data["cfg"]["n_layers"]
    said = said[: weights["unembed.W_U"].shape[1]]
    return Foreign(path.stem, config, weights, read, said, begin, rows)


def by_id(tokens: dict[str, int]) -> list[str]:
    """The tokens in the order of their ids."""
    return [text for text, _ in sorted(tokens.items(), key=lambda pair: pair[1])]


def drawn(content: Sequence[int], begin: int, length: int, draw: np.random.Generator) -> Iterator[Row]:
    """Rows of all lengths: of any tokens, of few, of ones in order; every place behind the first counts."""
    for number in range(ROWS):
        size = int(draw.integers(1, length))
        few = draw.choice(content, int(draw.integers(1, 4))) if number % 3 == 1 else content
        middle = [int(id) for id in draw.choice(few, size)]
        if number % 6 == 5:
            middle = sorted(middle, reverse=bool(draw.random() < 0.5))
        yield [begin, *middle], list(range(1, size + 1))


# --- trained and explained --------------------------------------------------------------------------------------------

Drawn = Callable[[np.random.Generator], Row]


@dataclass(frozen=True)
class Known:
    """What a published model reads and says, and what its configuration does not tell."""

    read: list[str]
    said: list[str]
    row: Drawn
    config: dict
    rows: int = ROWS


def numbers(stop: int, *more: str) -> list[str]:
    return [*map(str, range(stop)), *more]


def sorted_list(size: int, top: int, between: int, start: int | None) -> Drawn:
    """Numbers, a token between, the same numbers in order; what follows that token counts."""

    def row(draw: np.random.Generator) -> Row:
        values = [int(value) for value in draw.integers(0, top, size)]
        ids = [*([] if start is None else [start]), *values, between, *sorted(values)]
        first = ids.index(between)
        return ids, list(range(first, first + size))

    return row


def unique(draw: np.random.Generator) -> Row:
    return [10, *(int(value) for value in draw.integers(0, 10, 19))], list(range(20))


def majority(draw: np.random.Generator) -> Row:
    values = [int(value) for value in draw.integers(0, 50, 9)]
    values += draw.choice(values, 1).tolist()
    draw.shuffle(values)
    return [50, *values, 51], [11]


def smaller(draw: np.random.Generator) -> Row:
    return [*(int(value) for value in draw.integers(0, 200, 2)), 200], [2]


def added(draw: np.random.Generator) -> Row:
    return [*(int(value) for value in draw.integers(0, 113, 2)), 113], [2]


def running(draw: np.random.Generator) -> Row:
    return [int(value) % 11 for value in draw.integers(-5, 6, 20)], list(range(20))


PLAIN = {"n_layers": 1, "act_fn": "relu", "normalization_type": None}
KNOWN = {
    "august23_unique_char": Known(numbers(10, "?"), numbers(10, "?"), unique, {}),
    "majority_element_model": Known(numbers(50, "START", "END"), numbers(50, "START", "END"), majority, {}),
    "min_int_model": Known(numbers(200, "="), numbers(200), smaller, PLAIN),
    "modular_addition_2l_mlp_model": Known(numbers(113, "="), numbers(113), added, PLAIN, 4000),
    "november23_cumsum": Known(
        [str(at if at < 6 else at - 11) for at in range(11)], ["neg", "zero", "pos"], running, PLAIN
    ),
    "october23_sorted_list": Known(numbers(51, "SEP"), numbers(51, "SEP"), sorted_list(10, 51, 51, None), {}),
    "sort_fixed_len_list_model": Known(numbers(50, "START", "MID"), numbers(50), sorted_list(10, 50, 51, 50), {}),
}


def published(directory: Path, only: Sequence[str] | None, half: str | None, seed: int) -> Iterator[Foreign]:
    """The models in `directory`."""
    names = sorted([*KNOWN, "part4_interp_on_algorithmic_model"])
    for name in names[{None: 0, "first": 0, "second": 1}[half] :: 1 if half is None else 2]:
        if only and name not in only:
            continue
        (path,) = (directory / name).glob("*.safetensors")
        weights = load_file(path)
        if name not in KNOWN:
            yield brackets(name, weights, path.parent, seed)
            continue
        known, draw = KNOWN[name], np.random.default_rng(seed)
        weights = as_attention(weights) if "W_in" in weights else weights
        yield Foreign(
            name, known.config, weights, known.read, known.said, None, [known.row(draw) for _ in range(known.rows)]
        )


def as_attention(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """relu((E[a] + E[b]) W_in) W_U, exactly, as a layer whose one head looks everywhere alike at a row of three."""
    width, neurons = weights["W_in"].shape
    numbers = len(weights["W_E"])
    whole = width + neurons
    table = torch.zeros(numbers + 1, whole)
    table[:numbers, :width] = weights["W_E"]
    value, given = torch.zeros(1, whole, width), torch.zeros(1, width, whole)
    value[0, :width] = 3 * torch.eye(width)
    given[0, :, :width] = torch.eye(width)
    inside, out = torch.zeros(whole, neurons), torch.zeros(neurons, whole)
    inside[:width], out[:, width:] = weights["W_in"], torch.eye(neurons)
    said = torch.zeros(whole, numbers)
    said[width:] = weights["W_U"]
    return {
        "embed.W_E": table, "pos_embed.W_pos": torch.zeros(3, whole), "unembed.W_U": said,
        "blocks.0.attn.W_Q": torch.zeros(1, whole, width), "blocks.0.attn.W_K": torch.zeros(1, whole, width),
        "blocks.0.attn.W_V": value, "blocks.0.attn.W_O": given,
        "blocks.0.mlp.W_in": inside, "blocks.0.mlp.b_in": torch.zeros(neurons),
        "blocks.0.mlp.W_out": out, "blocks.0.mlp.b_out": torch.zeros(whole),
    }  # fmt: skip


def brackets(name: str, weights: dict[str, torch.Tensor], folder: Path, seed: int) -> Foreign:
    """The classifier of bracket strings, which answers at its first token and sees the whole row."""
    (path,) = folder.glob("*.json")
    texts = [text for text, _ in json.loads(path.read_text()) if len(text) <= 40]
    chosen = np.random.default_rng(seed).permutation(len(texts))[:ROWS]
    rows = [([0, *(3 if mark == "(" else 4 for mark in texts[at]), 2], [0]) for at in chosen]
    config = {"act_fn": "relu", "attention_dir": "bidirectional", "n_layers": 3}
    return Foreign(name, config, weights, ["<start>", "<pad>", "<end>", "(", ")"], ["no", "yes"], None, rows)


if __name__ == "__main__":
    main()
