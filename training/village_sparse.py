"""Train `zoo:village-sparse`: the village told by a GPT-2 of which few weights are not zero.

    python training/village_sparse.py --out src/pellucid/zoo/village/sparse

The model learns from `zoo:village` (its probabilities on training stories) while ever more of the smallest weights of
each kind are set to zero for good, as in "Weight-sparse transformers have interpretable circuits" (arXiv 2511.13653),
but without regrowth. Positions are sines of few periods, LayerNorms have no gain and no bias. A killed run continues.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from pellucid.zoo.village import Village
from pellucid.zoo.village.evaluate import accuracy, argmax, examples
from village import BATCH, CONTEXT, EPSILON, LAYERS, WIDTH, Parameters, batches
from village import forward as dense_forward

HEADS = 8
NEURONS = 4 * WIDTH
PERIODS = (3, 5, 8, 13, 21, 34, 89, 512)
PEAK = 3e-3
WARMUP = 300
DECAY = 0.35
DENSE = 0.06
"""The share of steps before the first weight is set to zero."""
PRUNED = 0.65
"""The share of steps after which the last weight has been set to zero."""
EVERY = 20
KEPT = {"wte": 5_500, "qk": 3_200, "vo": 2_400, "fc": 4_800, "proj": 4_000, "bias": 2_400}
"""How many weights of each kind stay, over all layers together."""


@dataclass(frozen=True)
class Options:
    """The command line."""

    out: Path
    work: Path
    teacher: Path
    tokens: int
    seed: int
    threads: int


def options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the model goes")
    parser.add_argument("--work", type=Path, default=Path("village-sparse-train"), help="where checkpoints go")
    parser.add_argument("--teacher", type=Path, default=Path("src/pellucid/zoo/village/model"))
    parser.add_argument("--tokens", type=float, default=28e6, help="how many tokens to train on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    return Options(given.out, given.work, given.teacher, int(given.tokens), given.seed, given.threads)


def waves() -> Tensor:
    """What positions write, at amplitude 1 [position, 2 × period]."""
    angle = 2 * math.pi * torch.arange(CONTEXT)[:, None] / torch.tensor(PERIODS)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)


def initial_parameters(vocabulary: int, seed: int) -> Parameters:
    """Random weights; each product keeps the variance of what it is given."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = WIDTH**-0.5) -> Tensor:
        return torch.randn(shape, generator=generator) * scale

    residual = WIDTH**-0.5 / math.sqrt(2 * LAYERS)
    parameters = {"wte": normal(vocabulary, WIDTH, scale=0.08), "amplitude": torch.full((len(PERIODS),), 0.2)}
    for layer in range(LAYERS):
        block = {
            "q": normal(WIDTH, WIDTH),
            "k": normal(WIDTH, WIDTH),
            "v": normal(WIDTH, WIDTH),
            "o": normal(WIDTH, WIDTH, scale=residual),
            "fc": normal(WIDTH, NEURONS),
            "proj": normal(NEURONS, WIDTH, scale=residual / 2),
            "q_bias": torch.zeros(WIDTH),
            "k_bias": torch.zeros(WIDTH),
            "o_bias": torch.zeros(WIDTH),
            "fc_bias": torch.zeros(NEURONS),
            "proj_bias": torch.zeros(WIDTH),
        }
        parameters |= {f"{layer}.{name}": value for name, value in block.items()}
    return parameters


def forward(p: Parameters, tokens: Tensor) -> Tensor:
    """Logits [batch × position, vocabulary] of `tokens` [batch, position]."""
    batch, length = tokens.shape
    positions = waves()[:length] * p["amplitude"].repeat_interleave(2)
    x = p["wte"][tokens] + F.pad(positions, (0, WIDTH - positions.shape[1]))
    x = x.reshape(batch * length, WIDTH)

    def norm(x: Tensor) -> Tensor:
        return F.layer_norm(x, (WIDTH,), eps=EPSILON)

    def split(x: Tensor) -> Tensor:
        return x.view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2)

    for layer in range(LAYERS):
        h = norm(x)
        q = torch.addmm(p[f"{layer}.q_bias"], h, p[f"{layer}.q"])
        k = torch.addmm(p[f"{layer}.k_bias"], h, p[f"{layer}.k"])
        mixed = F.scaled_dot_product_attention(split(q), split(k), split(h @ p[f"{layer}.v"]), is_causal=True)
        mixed = mixed.transpose(1, 2).reshape(batch * length, WIDTH)
        x = x + torch.addmm(p[f"{layer}.o_bias"], mixed, p[f"{layer}.o"])
        hidden = F.gelu(torch.addmm(p[f"{layer}.fc_bias"], norm(x), p[f"{layer}.fc"]), approximate="tanh")
        x = x + torch.addmm(p[f"{layer}.proj_bias"], hidden, p[f"{layer}.proj"])
    return norm(x) @ p["wte"].T


# --- sparsity -----------------------------------------------------------------------------------------------------

KIND = {"q": "qk", "k": "qk", "v": "vo", "o": "vo", "fc": "fc", "proj": "proj", "wte": "wte"}


def kind_of(name: str) -> str | None:
    """The kind whose weights compete with those of parameter `name`; `None` where all stay."""
    last = name.split(".")[-1]
    return "bias" if last.endswith("bias") else KIND.get(last)


def kept(kind: str, whole: int, share: float) -> int:
    """How many of `whole` weights stay after `share` of all steps: geometrically from all to `KEPT`."""
    done = min(1.0, max(0.0, (share - DENSE) / (PRUNED - DENSE)))
    return round(whole * (KEPT[kind] / whole) ** (done**0.6))


@torch.no_grad()
def prune(parameters: Parameters, masks: Parameters, share: float) -> None:
    """Set the smallest weights of each kind to zero, across layers."""
    for kind in KEPT:
        names = [name for name in parameters if kind_of(name) == kind]
        sizes = torch.cat([(parameters[name] * masks[name]).abs().flatten() for name in names])
        count = kept(kind, len(sizes), share)
        if count < len(sizes):
            least = sizes.kthvalue(len(sizes) - count).values
            for name in names:
                masks[name] *= parameters[name].abs() > least


# --- training -----------------------------------------------------------------------------------------------------


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, a plateau, and linearly down to nothing."""
    return PEAK * min(1.0, (step + 1) / WARMUP, (steps - step) / (steps * DECAY))


def score(parameters: Parameters, tokenizer: Tokenizer) -> dict[str, float]:
    """The share of right tokens for each phenomenon on 400 unseen stories."""
    cases = examples(Village().stories("test", 100_000, 400), tokenizer)

    @torch.no_grad()
    def logits(rows: np.ndarray) -> np.ndarray:
        return forward(parameters, torch.from_numpy(rows)).view(*rows.shape, -1).numpy()

    return {group: round(100 * found.tokens, 1) for group, found in accuracy(cases, argmax(logits)).items()}


def train(given: Options, tokenizer_file: Path, vocabulary: int) -> Parameters:
    """Train, or go on with training."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    teacher = load_file(given.teacher / "model.safetensors")
    steps = given.tokens // (BATCH * CONTEXT)
    checkpoint = given.work / "checkpoint.pt"
    parameters = initial_parameters(vocabulary, given.seed)
    masks = {name: torch.ones_like(value) for name, value in parameters.items()}
    for value in parameters.values():
        value.requires_grad_()
    matrices = [value for name, value in parameters.items() if value.dim() > 1]
    others = [value for name, value in parameters.items() if value.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.98), fused=True)
    start = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        with torch.no_grad():
            for name, value in parameters.items():
                value.copy_(state["parameters"][name])
        masks, start = state["masks"], state["step"]
        optimizer.load_state_dict(state["optimizer"])
    began, average = time.time(), 0.0
    source = batches(tokenizer_file, start)
    for step in range(start, steps):
        batch = torch.from_numpy(next(source).astype(np.int64))[:, :-1]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        with torch.autocast("cpu", torch.bfloat16, enabled=step < 0.95 * steps):
            with torch.no_grad():
                target = dense_forward(teacher, batch)
            logits = forward(parameters, batch)
        loss = F.kl_div(
            logits.float().log_softmax(-1), target.float().log_softmax(-1), log_target=True, reduction="batchmean"
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), 1.0)
        optimizer.step()
        if step % EVERY == 0:
            prune(parameters, masks, step / steps)
        with torch.no_grad():
            for name, value in parameters.items():
                value *= masks[name]
        average = loss.item() if step == start else 0.98 * average + 0.02 * loss.item()
        if (step + 1) % 100 == 0:
            left = (time.time() - began) / (step + 1 - start) * (steps - step - 1)
            count = sum(int(mask.sum()) for mask in masks.values())
            print(f"step {step + 1}/{steps}  KL {average:.4f}  weights {count:,}  {left:.0f} s left", flush=True)
        if (step + 1) % 1000 == 0 or step + 1 == steps:
            print(json.dumps(score({n: v.detach() for n, v in parameters.items()}, tokenizer)), flush=True)
            state = {
                "parameters": parameters,
                "masks": masks,
                "optimizer": optimizer.state_dict(),
                "step": step + 1,
            }
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)
    return {name: value.detach() for name, value in parameters.items()}


def main() -> None:
    """Run it all."""
    given = options()
    torch.set_num_threads(given.threads)
    given.work.mkdir(parents=True, exist_ok=True)
    tokenizer_file = given.teacher / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    train(given, tokenizer_file, tokenizer.get_vocab_size())


if __name__ == "__main__":
    main()
