"""Train a one-layer transformer to add modulo a prime until it groks, and keep checkpoints all along.

    python training/grokking.py --out out/grokking
    pellucid timeline out/grokking --png out/grokking.png

The set-up is that of Nanda et al. (2023, "Progress measures for grokking via mechanistic interpretability"): one layer,
no norms, ReLU, full batches of a part of all pairs, AdamW with strong weight decay. A checkpoint is a directory
`step-NNNNNN` that pellucid reads: config, weights, task and rows (band `train` and band `test`). A killed run continues
from `state.pt` in `--out`. Only the last position is scored, so only that one is computed, which is exact.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from pellucid.base.files import atomic_path, write_text
from pellucid.base.progress import track

LEARNING_RATE, DECAY, BETAS, WARMUP = 1e-3, 1.0, (0.9, 0.98), 10
SAY_EVERY, SAVE_STATE_EVERY = 250, 500

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Recipe:
    """What fixes a run: the numbers 0 … p − 1, the shape of the model, and what it is trained on."""

    p: int = 59
    width: int = 64
    heads: int = 4
    neurons: int = 256
    steps: int = 8_000
    share: float = 0.45
    seed: int = 0

    def pairs(self) -> tuple[Tensor, Tensor]:
        """All pairs [pair two], those trained on first; and how many these are, as a mask."""
        every = torch.cartesian_prod(torch.arange(self.p), torch.arange(self.p))
        every = every[torch.randperm(len(every), generator=torch.Generator().manual_seed(self.seed))]
        return every, torch.arange(len(every)) < round(self.share * len(every))


def initial(recipe: Recipe) -> Parameters:
    """Random weights in the layout of TransformerLens."""
    draw = torch.Generator().manual_seed(recipe.seed + 1)
    vocabulary, width, dim = recipe.p + 1, recipe.width, recipe.width // recipe.heads

    def normal(*shape: int, scale: float) -> Tensor:
        return (torch.randn(shape, generator=draw) * scale).requires_grad_()

    inner = width**-0.5
    return {
        "embed.W_E": normal(vocabulary, width, scale=inner),
        "pos_embed.W_pos": normal(3, width, scale=inner),
        **{f"blocks.0.attn.W_{part}": normal(recipe.heads, width, dim, scale=inner) for part in "QKV"},
        "blocks.0.attn.W_O": normal(recipe.heads, dim, width, scale=inner),
        "blocks.0.mlp.W_in": normal(width, recipe.neurons, scale=inner),
        "blocks.0.mlp.b_in": torch.zeros(recipe.neurons, requires_grad=True),
        "blocks.0.mlp.W_out": normal(recipe.neurons, width, scale=recipe.neurons**-0.5),
        "blocks.0.mlp.b_out": torch.zeros(width, requires_grad=True),
        "unembed.W_U": normal(width, vocabulary, scale=vocabulary**-0.5),
    }


def forward(w: Parameters, pairs: Tensor) -> Tensor:
    """Logits [pair number] behind `a b =`. Keys and values are computed once a token, not once a pair."""
    p = w["embed.W_E"].shape[0] - 1
    table, places = w["embed.W_E"], w["pos_embed.W_pos"]
    last = table[p] + places[2]
    dim = w["blocks.0.attn.W_Q"].shape[-1]
    query = torch.einsum("m,hmd->hd", last, w["blocks.0.attn.W_Q"]) / math.sqrt(dim)
    scores, moved = [], []
    for place in range(3):
        resid = table[:p] + places[place] if place < 2 else last[None]
        chosen = pairs[:, place] if place < 2 else pairs.new_zeros(len(pairs))
        keys = torch.einsum("nm,hmd->nhd", resid, w["blocks.0.attn.W_K"])
        values = torch.einsum("nm,hmd->nhd", resid, w["blocks.0.attn.W_V"])
        scores.append(torch.einsum("hd,nhd->nh", query, keys)[chosen])
        moved.append(torch.einsum("nhd,hdm->nhm", values, w["blocks.0.attn.W_O"]).flatten(1)[chosen])
    pattern = torch.stack(scores).softmax(0)
    heads = pattern.shape[-1]
    resid = last + sum(
        (pattern[place][:, :, None] * moved[place].view(len(pairs), heads, -1)).sum(1) for place in range(3)
    )
    hidden = torch.relu(torch.addmm(w["blocks.0.mlp.b_in"], resid, w["blocks.0.mlp.W_in"]))
    final = resid + torch.addmm(w["blocks.0.mlp.b_out"], hidden, w["blocks.0.mlp.W_out"])
    return final @ w["unembed.W_U"][:, :p]


def kept(recipe: Recipe, count: int) -> set[int]:
    """The steps whose checkpoints are kept: close together at first, then evenly."""
    early = {0, *(round(recipe.steps * share) for share in (0.005, 0.01, 0.02, 0.03))}
    return early | {round(step) for step in np.linspace(0, recipe.steps, count - len(early) + 1)}


def write_checkpoint(
    out: Path, recipe: Recipe, w: Parameters, step: int, solved: dict[str, float], seconds: float
) -> None:
    """Write `step-NNNNNN`: weights, config, task and rows."""
    folder = out / f"step-{step:06d}"
    with atomic_path(folder / "model.safetensors") as path:
        save_file({name: value.detach().contiguous() for name, value in w.items()}, path)
    write_text(folder / "config.json", json.dumps(config(recipe), indent=1) + "\n")
    task = {
        "name": f"grokking-{step:06d}",
        "task": f"a + b mod {recipe.p}; the input is [a, b, {recipe.p}]",
        "output": f"argmax over the first {recipe.p} tokens, at the last position",
        "vocab": [*map(str, range(recipe.p)), "="],
        "lengths": "the model was trained on the pairs of band train",
        "accuracy_of_the_model_on_its_task": solved,
        "step": step,
        "seconds": round(seconds),
        "recipe": asdict(recipe),
    }
    write_text(folder / "task.json", json.dumps(task, indent=1) + "\n")
    write_rows(folder / "inputs.jsonl.gz", recipe)


def config(recipe: Recipe) -> dict[str, object]:
    """The model's `config.json`."""
    return {
        "model_type": "hooked_transformer",
        "n_layers": 1,
        "d_model": recipe.width,
        "n_heads": recipe.heads,
        "d_head": recipe.width // recipe.heads,
        "d_mlp": recipe.neurons,
        "n_ctx": 3,
        "d_vocab": recipe.p + 1,
        "d_vocab_out": recipe.p + 1,
        "act_fn": "relu",
        "normalization_type": None,
        "attention_dir": "causal",
        "attn_scale": "1/sqrt(d_head)",
    }


def write_rows(path: Path, recipe: Recipe) -> None:
    """All pairs, those trained on first."""
    pairs, trained = recipe.pairs()
    lines = [
        json.dumps({"band": "train" if mine else "test", "ids": [a, b, recipe.p], "scored": [2]}, separators=(",", ":"))
        for (a, b), mine in zip(pairs.tolist(), trained.tolist(), strict=True)
    ]
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))


@torch.no_grad()
def measured(w: Parameters, pairs: Tensor, trained: Tensor) -> tuple[dict[str, float], dict[str, float]]:
    """Loss in nats, and accuracy, by band."""
    p = w["embed.W_E"].shape[0] - 1
    answer = pairs.sum(1) % p
    logits = forward(w, pairs)
    loss = F.cross_entropy(logits.double(), answer, reduction="none")
    right = (logits.argmax(1) == answer).float()
    bands = {"train": trained, "test": ~trained}
    bands = {band: mask for band, mask in bands.items() if mask.any()}
    return (
        {band: float(loss[mask].mean()) for band, mask in bands.items()},
        {band: float(right[mask].mean()) for band, mask in bands.items()},
    )


def train(recipe: Recipe, out: Path, checkpoints: int) -> Parameters:
    """Train, or go on with training; checkpoints go to `out`."""
    w = initial(recipe)
    optimizer = torch.optim.AdamW(w.values(), lr=LEARNING_RATE, weight_decay=DECAY, betas=BETAS, fused=True)
    pairs, trained = recipe.pairs()
    state, start, spent = out / "state.pt", 0, 0.0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        if saved["recipe"] != asdict(recipe):
            raise SystemExit(f"{state} is of another run ({saved['recipe']}); name another --out, or remove it")
        with torch.no_grad():
            for name, value in w.items():
                value.copy_(saved["weights"][name])
        optimizer.load_state_dict(saved["optimizer"])
        start, spent = saved["step"], saved["seconds"]
    steps, began = kept(recipe, checkpoints), time.time()

    def save(step: int) -> None:
        with atomic_path(state) as path:
            torch.save(
                {
                    "recipe": asdict(recipe),
                    "weights": {name: value.detach() for name, value in w.items()},
                    "optimizer": optimizer.state_dict(),
                    "step": step,
                    "seconds": spent + time.time() - began,
                },
                path,
            )

    for step in track(range(start, recipe.steps + 1), "steps"):
        if step in steps or step % SAY_EVERY == 0:
            loss, solved = measured(w, pairs, trained)
            figures = "  ".join(f"{band} {loss[band]:.4f} ({100 * solved[band]:.1f} %)" for band in loss)
            print(f"step {step:6d}  {figures}  {spent + time.time() - began:.0f} s", flush=True)
            if step in steps:
                write_checkpoint(out, recipe, w, step, solved, spent + time.time() - began)
        if step % SAVE_STATE_EVERY == 0:
            save(step)
        if step < recipe.steps:
            advance(w, optimizer, pairs[trained], min(1.0, (step + 1) / WARMUP))
    save(recipe.steps)
    return w


def advance(w: Parameters, optimizer: torch.optim.Optimizer, pairs: Tensor, warm: float) -> None:
    """One step on all of `pairs`."""
    p = w["embed.W_E"].shape[0] - 1
    for group in optimizer.param_groups:
        group["lr"] = LEARNING_RATE * warm
    loss = F.cross_entropy(forward(w, pairs), pairs.sum(1) % p)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where checkpoints go")
    parser.add_argument("--checkpoints", type=int, default=41, help="how many checkpoints to keep (41)")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch (1)")
    for name, value in asdict(Recipe()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"({value})")
    given = vars(parser.parse_args())
    torch.set_num_threads(given.pop("threads"))
    out, checkpoints = given.pop("out"), given.pop("checkpoints")
    train(Recipe(**given), out, checkpoints)


if __name__ == "__main__":
    main()
