"""Small models whose mechanism is known, because their weights were written down."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from pellucid.family.gpt2 import GPT2Config, tensor_shapes

VOCABULARY = ("a", "b", "<bos>", "<eos>")
WIDTH, LENGTH = 8, 24


def majority(directory: Path, rows: bool = True, vocabulary: tuple[str, ...] = VOCABULARY) -> Path:
    """A checkpoint whose one head looks everywhere alike and which answers with the token that it sees more of.

    Tokens a and b (`vocabulary` may call them otherwise) stand on coordinates 0 and 1, what is seen of them on 2 and 3;
    the MLP does nothing.
    """
    config = {"n_layer": 1, "n_head": 1, "n_embd": WIDTH, "n_positions": LENGTH + 2, "vocab_size": 4}
    fields = GPT2Config.from_json({"model_type": "gpt2", "tie_word_embeddings": False, **config}, "config.json")
    weights = {name: torch.zeros(shape) for name, shape in tensor_shapes(fields).items()}
    for name in weights:
        if name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight")):
            weights[name] += 1
    table = torch.zeros(4, WIDTH)
    for token, at in ((0, 0), (1, 1), (2, 4), (3, 5)):
        table[token, at], table[token, 6] = 1.0, -1.0
    weights["wte.weight"] = table
    value = weights["h.0.attn.c_attn.weight"]
    value[0, 2 * WIDTH + 2], value[1, 2 * WIDTH + 3] = 1.0, 1.0
    weights["h.0.attn.c_proj.weight"] = torch.eye(WIDTH)
    weights["lm_head.weight"][0, 2], weights["lm_head.weight"][1, 3] = 10.0, 10.0
    directory.mkdir(parents=True)
    save_file(weights, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps({"model_type": "gpt2", "tie_word_embeddings": False, **config}))
    task = {"name": "toy", "output": "argmax", "vocab": list(vocabulary), "bos": "<bos>", "eos": "<eos>"}
    (directory / "task.json").write_text(json.dumps(task))
    if rows:
        write_rows(directory / "inputs.jsonl.gz")
    return directory


def write_rows(path: Path) -> None:
    """Rows in which one of the two tokens is there more often at every scored place."""
    draw = np.random.default_rng(0)
    with gzip.open(path, "wt") as stream:
        for _ in range(300):
            length = int(draw.integers(3, LENGTH))
            middle = (draw.random(length) < draw.random()).astype(int).tolist()
            ids = [2, *middle, 3]
            ahead = np.cumsum(1 - 2 * np.array(middle))
            scored = [int(place) + 1 for place in np.flatnonzero(ahead != 0)]
            if scored:
                stream.write(json.dumps({"band": "all", "ids": ids, "scored": scored}) + "\n")
