"""Networks that see whole rows, of any depth, and say other tokens than they read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pellucid.base.errors import SubjectError
from pellucid.weightless.decompile import SearchEffort, decompiled
from pellucid.weightless.hooked import Hooked
from pellucid.weightless.layered import Layered, load_layered
from pellucid.weightless.task import read_task, together
from pellucid.weightless.teacher import PADDING

TOKENS = ("0", "1", "2", "BOS")


def repeated(directory: Path) -> Path:
    """A checkpoint that says `many` where the token of a place stands elsewhere in the row too, else `one`.

    Its head looks at the first token and at places with its own token; what it sees of the first token decides.
    """
    width = len(TOKENS) + 1
    token = torch.eye(len(TOKENS), width)
    key = 10 * torch.eye(width, len(TOKENS))
    key[3] = 10.0
    weights = {
        "embed.W_E": token,
        "pos_embed.W_pos": torch.zeros(9, width),
        "blocks.0.attn.W_Q": 10 * torch.eye(width, len(TOKENS))[None],
        "blocks.0.attn.W_K": key[None],
        "blocks.0.attn.W_V": torch.zeros(1, width, len(TOKENS)),
        "blocks.0.attn.W_O": torch.zeros(1, len(TOKENS), width),
        "unembed.W_U": torch.zeros(width, 2),
        "unembed.b_U": torch.tensor([-8.0, 8.0]),
    }
    weights["blocks.0.attn.W_V"][0, 3, 0] = 1.0
    weights["blocks.0.attn.W_O"][0, 0, 4] = 1.0
    weights["unembed.W_U"][4] = torch.tensor([20.0, -20.0])
    directory.mkdir(parents=True)
    save_file(weights, directory / "model.safetensors")
    config = {"model_type": "hooked_transformer", "n_layers": 1, "act_fn": "relu", "attention_dir": "bidirectional"}
    (directory / "config.json").write_text(json.dumps(config))
    task = {"name": "repeated", "vocab": list(TOKENS), "outputs": ["one", "many"], "bos": "BOS"}
    (directory / "task.json").write_text(json.dumps(task))
    draw = np.random.default_rng(0)
    with gzip.open(directory / "inputs.jsonl.gz", "wt") as stream:
        for _ in range(300):
            row = [3, *draw.integers(0, 3, int(draw.integers(1, 9))).tolist()]
            stream.write(json.dumps({"ids": row, "scored": list(range(1, len(row)))}) + "\n")
    return directory


def test_whole_rows_are_seen_and_other_tokens_said(tmp_path: Path) -> None:
    found = decompiled(repeated(tmp_path / "model"), SearchEffort(0.2, share=0.2))
    assert found.figures.verdict == "decompiled"
    assert "key.token == query.token" in found.text
    assert "ahead=True" in found.text
    assert {"return ONE", "return MANY"} <= {line.strip() for line in found.text.splitlines()}


def test_padding_is_seen_by_nothing(tmp_path: Path) -> None:
    path = repeated(tmp_path / "model")
    task = read_task(path)
    model = load_layered(path, task)
    rows = torch.tensor([[3, 1, 0, 1, PADDING, PADDING], [3, 2, 2, 0, 1, 1]])
    said = model.run(rows, ("logits",))["logits"].argmax(-1)
    words = [[task.vocabulary[id] for id in row] for row in said.tolist()]
    assert words[0][1:4] == ["many", "one", "many"]
    assert words[1][1:] == ["many", "many", "one", "many", "many"]


def test_one_causal_layer_is_what_the_older_layout_gives() -> None:
    torch.manual_seed(0)
    shapes = {"embed.W_E": (5, 6), "pos_embed.W_pos": (4, 6), "unembed.W_U": (6, 5)}
    shapes |= {f"blocks.0.attn.W_{part}": (2, 6, 3) for part in "QKV"} | {"blocks.0.attn.W_O": (2, 3, 6)}
    shapes |= {"blocks.0.mlp.W_in": (6, 7), "blocks.0.mlp.b_in": (7,)}
    shapes |= {"blocks.0.mlp.W_out": (7, 6), "blocks.0.mlp.b_out": (6,)}
    weights = {name: torch.randn(shape) for name, shape in shapes.items()}
    ids = torch.randint(0, 5, (3, 4))
    old = Hooked(weights).run(ids)
    new = Layered(weights | {"unembed.b_U": torch.zeros(5)}, True, "relu", 1e-5, False, 0)
    found = new.run(ids, ("logits", "L00.z"))
    assert torch.allclose(found["logits"], old["logits"], atol=1e-5)
    assert torch.allclose(found["L00.z"], old["z"], atol=1e-5)
    halved = new.run(ids, ("logits",), edits={"L00.z": lambda z: z / 2})["logits"]
    assert torch.allclose(halved, Hooked(weights).run(ids, {"z": lambda z: z / 2})["logits"], atol=1e-5)


def test_numbers_come_first_and_in_order() -> None:
    assert together(["1", "0", "2", "BOS"], ["10", "0", "yes", "-1"]) == ["-1", "0", "1", "2", "10", "BOS", "yes"]


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    path = repeated(tmp_path / "model")
    task = json.loads((path / "task.json").read_text())
    (path / "task.json").write_text(json.dumps(task | {"outputs": ["one"]}))
    with pytest.raises(SubjectError, match=r"says 2; its task\.json names 4 and 1"):
        load_layered(path, read_task(path))
    (path / "config.json").write_text(json.dumps({"act_fn": "swish"}))
    with pytest.raises(SubjectError, match="'swish'"):
        load_layered(path, read_task(path))
    weights = load_file(path / "model.safetensors")
    del weights["unembed.W_U"]
    save_file(weights, path / "model.safetensors")
    (path / "config.json").write_text("{}")
    with pytest.raises(SubjectError, match=r"lacks unembed\.W_U"):
        load_layered(path, read_task(path))
