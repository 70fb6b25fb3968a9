"""Train `zoo:village-sparse`: the village told by a GPT-2 of which few weights are not zero.

    python training/village_sparse.py --out src/pellucid/zoo/village/sparse

The model learns from `zoo:village` (its probabilities on training stories) while ever more of the smallest weights of
each kind are set to zero, as in "Weight-sparse transformers have interpretable circuits" (arXiv 2511.13653). Rare rules
go first that way; so in the end some weights grow back where rules are missed, and others go (`regrow`), while stories
in which rules are lost come again. Positions are sines of few periods, LayerNorms have no gain and no bias, and what
tokens write is apart from what says them. A killed run continues.

    python training/village_sparse.py --out DIR --begin MODEL     let a finished model's weights grow back once more
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from pellucid.program.wires import Wave
from pellucid.stages.first.levels import clusters
from pellucid.zoo.village import Village
from pellucid.zoo.village.evaluate import GROUPS, accuracy, argmax, examples
from village import (
    BATCH,
    CONTEXT,
    EPSILON,
    LAYERS,
    Parameters,
    arguments,
    batches,
    config,
    learning_rate,
    rows_of,
)
from village import forward as dense_forward

WIDTH = 192
HEADS = 12
NEURONS = 384
PERIODS = (3, 5, 8, 13, 21, 34, 89, 512)
PEAK = 3e-3
WARMUP = 300
DECAY = 0.35
DENSE = 0.06
"""The share of steps before the first weight is set to zero."""
PRUNED = 0.7
"""The share of steps after which the last weight has been set to zero."""
SHRINK = 0.03
"""How fast every weight shrinks towards zero while weights are set to zero, as a share of the learning rate."""
SURE, CARE = 0.9, 3.0
"""Places where the teacher is at least so sure count so many times: there the rules decide."""
EVERY = 20
REGROW_BATCHES = 64
"""Batches whose gradients say which weights grow back."""
SEARCHED = 512
"""Batches that are searched for lost rules before."""
REGROW_PRUNED = 0.6
"""The share of these steps after which no more are there than stay."""
MISSED = 6.0
"""Places where the teacher is sure and the model gives its choice less than half count so many times more."""
LOST = 0.1
"""Rows come again in which the model gives a choice that the teacher is sure of less than so much."""
AGAIN = 0.5
"""The largest share of a batch that are such rows."""
WAITING = 4096
"""How many such rows wait at most; then the oldest are forgotten."""
TEST_STORIES = 4_000
LEVELS = 16
DIGITS = 2
"""Significant digits of every weight of the finished model."""
KEPT = {"wte": 5_000, "head": 4_600, "qk": 3_000, "vo": 2_400, "fc": 4_000, "proj": 3_600, "bias": 1_300}
"""How many weights of each kind stay, over all layers together, before some grow back."""


@dataclass(frozen=True)
class Regrowth:
    """How weights grow back: in how many steps, how fast at most, and at first how many, as a share of `KEPT`.

    In the end as many as `KEPT` are left.
    """

    steps: int = 2500
    peak: float = 7e-4
    share: float = 0.08

    def rate(self, step: int) -> float:
        """A short warm-up, then linearly down to nothing."""
        return self.peak * min(1.0, (step + 1) / 50) * (1 - step / self.steps)

    def left(self, kind: str, _: int, share: float) -> int:
        """How many weights of a kind are left after `share` of the steps."""
        return round(KEPT[kind] * (1 + self.share * max(0.0, 1 - share / REGROW_PRUNED)))


@dataclass(frozen=True)
class Options:
    """The command line."""

    out: Path
    work: Path
    teacher: Path
    begin: Path | None
    regrowth: Regrowth
    tokens: int
    seed: int
    threads: int


def options() -> Options:
    """Read the command line."""
    parser = arguments(__doc__, "village-sparse-train", 13.3e6)
    parser.add_argument("--teacher", type=Path, default=Path("src/pellucid/zoo/village/model"))
    parser.add_argument("--begin", type=Path, help="a finished model to go on from, in the place of nothing")
    grown = Regrowth()
    parser.add_argument("--regrow-steps", type=int, default=grown.steps, help="steps in which weights grow back")
    parser.add_argument("--regrow-peak", type=float, default=grown.peak, help="the highest rate in these")
    parser.add_argument("--regrow-share", type=float, default=grown.share, help="how many grow back at first")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    grown = Regrowth(given.regrow_steps, given.regrow_peak, given.regrow_share)
    text = int(given.tokens), given.seed
    return Options(given.out, given.work, given.teacher, given.begin, grown, *text, given.threads)


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
    parameters = {
        "wte": normal(vocabulary, WIDTH, scale=0.3),
        "head": normal(vocabulary, WIDTH, scale=0.08),
        "amplitude": torch.full((len(PERIODS),), 0.5),
    }
    for layer in range(LAYERS):
        block = {
            "q": normal(WIDTH, WIDTH),
            "k": normal(WIDTH, WIDTH),
            "v": normal(WIDTH, WIDTH),
            "o": normal(WIDTH, WIDTH, scale=residual),
            "fc": normal(WIDTH, NEURONS),
            "proj": normal(NEURONS, WIDTH, scale=residual / 2),
            "q_bias": torch.zeros(WIDTH),
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
        k, v = h @ p[f"{layer}.k"], h @ p[f"{layer}.v"]
        mixed = F.scaled_dot_product_attention(split(q), split(k), split(v), is_causal=True)
        mixed = mixed.transpose(1, 2).reshape(batch * length, WIDTH)
        x = x + torch.addmm(p[f"{layer}.o_bias"], mixed, p[f"{layer}.o"])
        hidden = F.gelu(torch.addmm(p[f"{layer}.fc_bias"], norm(x), p[f"{layer}.fc"]), approximate="tanh")
        x = x + torch.addmm(p[f"{layer}.proj_bias"], hidden, p[f"{layer}.proj"])
    return norm(x) @ p["head"].T


# --- sparsity -----------------------------------------------------------------------------------------------------

KIND = {"q": "qk", "k": "qk", "v": "vo", "o": "vo", "fc": "fc", "proj": "proj", "wte": "wte", "head": "head"}


def kind_of(name: str) -> str | None:
    """The kind whose weights compete with those of parameter `name`; `None` where all stay."""
    last = name.split(".")[-1]
    return "bias" if last.endswith("bias") else KIND.get(last)


def kept(kind: str, whole: int, share: float) -> int:
    """How many of `whole` weights stay after `share` of all steps: geometrically from all to `KEPT`."""
    done = min(1.0, max(0.0, (share - DENSE) / (PRUNED - DENSE)))
    return round(whole * (KEPT[kind] / whole) ** (done**0.6))


@torch.no_grad()
def prune(parameters: Parameters, masks: Parameters, left: Callable[[str, int], int]) -> None:
    """Set the smallest weights of each kind to zero, across layers; `left` says how many stay of so many of a kind."""
    for kind in KEPT:
        names = [name for name in parameters if kind_of(name) == kind]
        sizes = {name: torch.where(masks[name] > 0, parameters[name].abs(), -1.0) for name in names}
        every = torch.cat([size.flatten() for size in sizes.values()])
        count = left(kind, len(every))
        if count < len(every):
            least = every.kthvalue(len(every) - count).values
            for name in names:
                masks[name] *= sizes[name] > least


@torch.no_grad()
def shrink(parameters: Parameters, masks: Parameters, step: float) -> None:
    """Move all weights towards zero by `step`, as an L1 penalty does; masked ones stay zero."""
    for name, value in parameters.items():
        if step and kind_of(name) not in (None, "bias"):
            value.copy_(F.softshrink(value, step))
        value *= masks[name]


# --- training -----------------------------------------------------------------------------------------------------


@dataclass
class Rows:
    """Rows to train on: `fresh` ones, and for up to a share of `again` some in which a rule was lost before."""

    fresh: Iterator[np.ndarray]
    again: float = 0.0
    lost: deque[np.ndarray] = field(default_factory=lambda: deque(maxlen=WAITING))

    def draw(self) -> tuple[np.ndarray, int]:
        """The next batch, and how many of its first rows are fresh; of the others the oldest come first."""
        fresh = BATCH - min(len(self.lost), round(self.again * BATCH))
        again = [self.lost.popleft() for _ in range(BATCH - fresh)]
        return np.stack([*next(self.fresh)[:fresh], *again]), fresh

    def note(self, rows: np.ndarray, lost: np.ndarray) -> None:
        """Keep the rows where a rule was `lost` [row]."""
        if self.again:
            self.lost.extend(rows[lost])


def score(parameters: Parameters, tokenizer: Tokenizer) -> dict[str, float]:
    """The share of right tokens for each phenomenon on 400 unseen stories."""
    cases = examples(Village().stories("test", 100_000, 400), tokenizer)
    found = accuracy(cases, argmax(_logits(partial(forward, parameters))))
    return {group: round(100 * score.tokens, 1) for group, score in found.items()}


@dataclass
class Run:
    """Training as far as it is: weights, which of them may be something, and what the optimizer remembers."""

    path: Path
    parameters: Parameters
    masks: Parameters
    step: int = 0
    seconds: float = 0.0
    average: float = 0.0

    def __post_init__(self) -> None:
        """Go on from `path` where something is stored."""
        for value in self.parameters.values():
            value.requires_grad_()
        matrices = [value for value in self.parameters.values() if value.dim() > 1]
        others = [value for value in self.parameters.values() if value.dim() == 1]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.98), fused=True)
        if self.path.exists():
            state = torch.load(self.path, weights_only=True)
            with torch.no_grad():
                for name, value in self.parameters.items():
                    value.copy_(state["parameters"][name])
            self.optimizer.load_state_dict(state["optimizer"])
            self.masks, self.step = state["masks"], state["step"]
            self.seconds, self.average = state.get("seconds", 0.0), state.get("average", 0.0)

    def save(self) -> None:
        """Store all of it."""
        state = {name: getattr(self, name) for name in ("parameters", "masks", "step", "seconds", "average")}
        torch.save(state | {"optimizer": self.optimizer.state_dict()}, self.path.with_suffix(".part"))
        self.path.with_suffix(".part").replace(self.path)

    def weights(self) -> Parameters:
        """The weights, without their gradients."""
        return {name: value.detach() for name, value in self.parameters.items()}


@dataclass(frozen=True)
class Phase:
    """A phase of training: its steps, the rate at a step, and how many weights of a kind are left after a share of it.

    Weights shrink from one share of the steps to another; until `precise` it runs in bfloat16. Places where a choice
    of the teacher's is missed count `missed` times.
    """

    steps: int
    rate: Callable[[int], float]
    left: Callable[[str, int, float], int]
    shrunk: tuple[float, float]
    precise: float
    missed: float = 1.0


def learn(run: Run, phase: Phase, given: Options, source: Rows) -> None:
    """Train through a phase, or the rest of it."""
    tokenizer = Tokenizer.from_file(str(given.teacher / "tokenizer.json"))
    teacher = load_file(given.teacher / "model.safetensors")
    parameters, masks, began = run.parameters, run.masks, time.time() - run.seconds
    while run.step < phase.steps:
        step, share = run.step, run.step / phase.steps
        rows, fresh = source.draw()
        rate = phase.rate(step)
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16, enabled=share < phase.precise):
            kl, loss, lost = losses(teacher, parameters, rows, phase.missed)
        source.note(rows, lost)
        average = float(kl[:fresh].mean())
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), 1.0)
        run.optimizer.step()
        if step % EVERY == 0:
            prune(parameters, masks, partial(phase.left, share=share))
        shrink(parameters, masks, SHRINK * rate * (phase.shrunk[0] <= share < phase.shrunk[1]))
        run.average = average if step == 0 else 0.98 * run.average + 0.02 * average
        run.step, run.seconds = step + 1, time.time() - began
        if run.step % 100 == 0:
            count = sum(int(mask.sum()) for mask in masks.values())
            print(f"step {run.step}/{phase.steps}  KL {run.average:.4f}  weights {count:,}", flush=True)
        if run.step % 500 == 0 or run.step == phase.steps:
            print(json.dumps(score(run.weights(), tokenizer)), flush=True)
            run.save()


def losses(
    teacher: Parameters, parameters: Parameters, rows: np.ndarray, missed: float
) -> tuple[np.ndarray, Tensor, np.ndarray]:
    """The mean KL of each row from the teacher, the mean that training lowers, and in which rows a rule is lost.

    Places where rules decide count more in what training lowers.
    """
    batch = torch.from_numpy(rows.astype(np.int64))[:, :-1]
    with torch.no_grad():
        target = dense_forward(teacher, batch)
    own, said = target.float().log_softmax(-1), forward(parameters, batch).float().log_softmax(-1)
    kl = (own.exp() * (own - said)).sum(-1)
    best, choice = own.max(-1)
    sure = best > math.log(SURE)
    given = said.detach().gather(-1, choice[:, None])[:, 0]
    wrong, lost = sure & (given < math.log(0.5)), sure & (given < math.log(LOST))
    weight = (1 + (CARE - 1) * sure) * (1 + (missed - 1) * wrong)
    by_row = kl.detach().view(len(rows), -1).mean(1).numpy()
    return by_row, (kl * weight).mean(), lost.view(len(rows), -1).any(1).numpy()


def train(given: Options, tokenizer_file: Path, vocabulary: int) -> Run:
    """Train while ever more weights are set to zero, or go on with that."""
    steps = given.tokens // (BATCH * CONTEXT)
    parameters = initial_parameters(vocabulary, given.seed)
    run = Run(given.work / "checkpoint.pt", parameters, possible(parameters, tokenizer_file))
    rate = partial(learning_rate, steps=steps, peak=PEAK, warmup=WARMUP, decay=DECAY)
    learn(run, Phase(steps, rate, kept, (DENSE, PRUNED), 0.95), given, Rows(batches(tokenizer_file, run.step)))
    return run


def possible(parameters: Parameters, tokenizer_file: Path) -> Parameters:
    """Which weights may be something else than zero."""
    masks = {name: torch.ones_like(value) for name, value in parameters.items()}
    for name in masks:  # what positions write stays apart from all else that is written
        if name in ("wte", "head") or name.endswith((".o", ".proj", ".o_bias", ".proj_bias")):
            masks[name][..., : 2 * len(PERIODS)] = 0
    told = torch.from_numpy(rows_of(str(tokenizer_file), 0).astype(np.int64)).flatten()
    never = torch.bincount(told, minlength=len(parameters["wte"])) == 0
    for name in ("wte", "head"):  # tokens that no story has
        masks[name][never] = 0
    return masks


# --- regrowth -----------------------------------------------------------------------------------------------------


def regrow(given: Options, trained: Run, tokenizer_file: Path) -> Run:
    """Let weights grow back where rules are missed, and others go."""
    may, done = possible(trained.parameters, tokenizer_file), trained.step + SEARCHED + REGROW_BATCHES
    weights, grown = trained.weights(), given.regrowth
    run = Run(given.work / f"regrowth-{name_of(weights, grown)}.pt", weights, trained.masks)
    source = Rows(batches(tokenizer_file, run.step + (done if run.step else trained.step)), AGAIN)
    if run.step == 0:
        teacher = load_file(given.teacher / "model.safetensors")
        run.masks = {name: mask * (run.parameters[name] != 0) if kind_of(name) else mask for name, mask in may.items()}
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            for rows in islice(source.fresh, SEARCHED):
                source.note(rows, losses(teacher, run.parameters, rows, MISSED)[2])
        print(f"{len(source.lost):,} of {SEARCHED * BATCH:,} rows have a lost rule", flush=True)
        open_again(run, may, teacher, source, grown.share)
    learn(run, Phase(grown.steps, grown.rate, grown.left, (0.0, REGROW_PRUNED), 0.9, MISSED), given, source)
    return run


def name_of(weights: Parameters, grown: Regrowth) -> str:
    """What tells this regrowth of these weights from others in a file's name."""
    digest = hashlib.sha256(repr(grown).encode())
    for value in weights.values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:12]


def open_again(run: Run, may: Parameters, teacher: Parameters, source: Rows, share: float) -> None:
    """Let those weights of each kind grow that the loss falls fastest with on some batches, across layers."""
    names = list(run.parameters)
    slopes = {name: torch.zeros_like(value) for name, value in run.parameters.items()}
    for _ in range(REGROW_BATCHES):
        with torch.autocast("cpu", torch.bfloat16):
            rows, _ = source.draw()
            _, loss, lost = losses(teacher, run.parameters, rows, MISSED)
        source.note(rows, lost)
        for name, slope in zip(names, torch.autograd.grad(loss, list(run.parameters.values())), strict=True):
            slopes[name] += slope
    pull = {name: slopes[name].abs() * may[name] * (1 - run.masks[name]) for name in names}
    for kind, count in KEPT.items():
        own = [name for name in names if kind_of(name) == kind]
        least = torch.cat([pull[name].flatten() for name in own]).topk(round(share * count)).values[-1]
        for name in own:
            run.masks[name] += (pull[name] >= least.clamp(min=1e-30)).float()


# --- the finished model -------------------------------------------------------------------------------------------


@torch.no_grad()
def finished(given: Parameters) -> Parameters:
    """The same model without what does nothing, in few digits.

    What a head takes and what a key offers is scaled to 1, neurons without input become part of the bias, and every
    weight is rounded to `DIGITS` significant digits, so that its source can say it exactly. The tokens of a coordinate
    share at most `LEVELS` levels.
    """
    p = {name: value.clone() for name, value in given.items()} | {n: levelled(given[n]) for n in ("wte", "head")}
    for layer in range(LAYERS):
        at = f"{layer}."
        for first, second, bias in (("q", "k", "q_bias"), ("v", "o", None)):
            a, b = p[at + first], p[at + second] if second == "k" else p[at + second].T
            speaks = (a != 0).any(0) | (p[at + bias] != 0 if bias else False)
            dead = ~(speaks & (b != 0).any(0))
            a[:, dead], b[:, dead] = 0, 0
            if bias:
                p[at + bias][dead] = 0
            unit, other = (b, a) if second == "k" else (a, b)
            size = unit.abs().amax(0).clamp(min=1e-9)
            size[dead] = 1
            unit /= size
            other *= size
            if bias:
                p[at + bias] *= size
        constant = (p[f"{at}fc"] == 0).all(0)
        p[f"{at}proj_bias"] += F.gelu(p[f"{at}fc_bias"], approximate="tanh")[constant] @ p[f"{at}proj"][constant]
        dead = constant | (p[f"{at}proj"] == 0).all(1)
        p[f"{at}fc"][:, dead], p[f"{at}fc_bias"][dead], p[f"{at}proj"][dead] = 0, 0, 0
    return {name: rounded(value) for name, value in p.items()}


def levelled(table: Tensor) -> Tensor:
    """`table` with at most `LEVELS` values in each column beside zero, by exact one-dimensional k-means."""
    groups = clusters(torch.ones_like(table), table, table != 0, LEVELS, 1.0).long()
    index, kept = (groups - 1).clamp(min=0), (groups > 0).float()
    sums, counts = (table.new_zeros(LEVELS, table.shape[1]).scatter_add_(0, index, x) for x in (table * kept, kept))
    return (sums / counts.clamp(min=1)).gather(0, index) * kept


def rounded(values: Tensor) -> Tensor:
    """`values` to `DIGITS` significant digits."""
    text = [float(f"{value:.{DIGITS}g}") for value in values.flatten().tolist()]
    return torch.tensor(text, dtype=torch.float64).float().view(values.shape)


def tensors(p: Parameters) -> tuple[dict[str, Tensor], int]:
    """The model under Hugging Face's names, and how many neurons a layer has: those that do something, first."""
    alive = [(p[f"{layer}.fc"] != 0).any(0) for layer in range(LAYERS)]
    neurons = max(int(of_layer.sum()) for of_layer in alive)
    wpe = torch.zeros(CONTEXT, WIDTH)
    for number, (period, height) in enumerate(zip(PERIODS, p["amplitude"].tolist(), strict=True)):
        for place, phase in enumerate((0.0, 0.25)):
            wave = Wave(phase, float(period), float(f"{height:.{DIGITS}g}"))
            wpe[:, 2 * number + place] = torch.from_numpy(wave(CONTEXT))
    found = {
        "wte.weight": p["wte"],
        "wpe.weight": wpe,
        "ln_f.weight": torch.ones(WIDTH),
        "ln_f.bias": torch.zeros(WIDTH),
    }
    for layer in range(LAYERS):
        at, order = f"{layer}.", alive[layer].float().argsort(descending=True, stable=True)[:neurons]
        block = {
            "ln_1.weight": torch.ones(WIDTH),
            "ln_1.bias": torch.zeros(WIDTH),
            "attn.c_attn.weight": torch.cat([p[f"{at}{name}"] for name in "qkv"], 1),
            "attn.c_attn.bias": torch.cat([p[f"{at}q_bias"], torch.zeros(2 * WIDTH)]),
            "attn.c_proj.weight": p[f"{at}o"],
            "attn.c_proj.bias": p[f"{at}o_bias"],
            "ln_2.weight": torch.ones(WIDTH),
            "ln_2.bias": torch.zeros(WIDTH),
            "mlp.c_fc.weight": p[f"{at}fc"][:, order],
            "mlp.c_fc.bias": p[f"{at}fc_bias"][order],
            "mlp.c_proj.weight": p[f"{at}proj"][order],
            "mlp.c_proj.bias": p[f"{at}proj_bias"],
        }
        found |= {f"h.{layer}.{name}": value for name, value in block.items()}
    named = {f"transformer.{name}": value for name, value in found.items()} | {"lm_head.weight": p["head"]}
    return {name: value.contiguous() for name, value in named.items()}, neurons


def begun(given: Options, model: Path, tokenizer_file: Path) -> Run:
    """A finished model, as far as its card says that it is."""
    card = json.loads((model / "card.json").read_text(encoding="utf-8"))
    parameters = untensored(load_file(model / "model.safetensors"))
    step, seconds = card["tokens"] // (BATCH * CONTEXT), card["training_seconds"]
    return Run(given.work / "begun.pt", parameters, possible(parameters, tokenizer_file), step, seconds)


def untensored(given: dict[str, Tensor]) -> Parameters:
    """The weights that `tensors` named."""
    held = {name.removeprefix("transformer."): value for name, value in given.items()}
    sine, said = waves()[:, ::2], held["wpe.weight"][:, : 2 * len(PERIODS) : 2]
    p = {"wte": held["wte.weight"], "head": held["lm_head.weight"]}
    p["amplitude"] = (sine * said).sum(0) / sine.square().sum(0)
    for layer in range(LAYERS):
        block = {
            name.removeprefix(f"h.{layer}."): value for name, value in held.items() if name.startswith(f"h.{layer}.")
        }
        for name, value in zip("qkv", block["attn.c_attn.weight"].chunk(3, 1), strict=True):
            p[f"{layer}.{name}"] = value
        dead = NEURONS - len(block["mlp.c_fc.bias"])
        p[f"{layer}.q_bias"] = block["attn.c_attn.bias"][:WIDTH]
        p[f"{layer}.o"], p[f"{layer}.o_bias"] = block["attn.c_proj.weight"], block["attn.c_proj.bias"]
        p[f"{layer}.fc"] = F.pad(block["mlp.c_fc.weight"], (0, dead))
        p[f"{layer}.fc_bias"] = F.pad(block["mlp.c_fc.bias"], (0, dead))
        p[f"{layer}.proj"] = F.pad(block["mlp.c_proj.weight"], (0, 0, 0, dead))
        p[f"{layer}.proj_bias"] = block["mlp.c_proj.bias"]
    return {name: value.clone() for name, value in p.items()}


def write_model(given: Options, parameters: Parameters, tokenizer: Tokenizer) -> None:
    """Write the model in Hugging Face layout."""
    given.out.mkdir(parents=True, exist_ok=True)
    weights, neurons = tensors(parameters)
    save_file(weights, given.out / "model.safetensors", metadata={"format": "pt"})
    settings = config(tokenizer.get_vocab_size()) | {
        "n_head": HEADS,
        "n_inner": neurons,
        "n_embd": WIDTH,
        "tie_word_embeddings": False,
    }
    (given.out / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(given.teacher / name, given.out / name)


CARD = """# zoo:village-sparse

{summary}

It was made to be read: of {parameters:,} weights {left:,} are not zero, in {digits} significant digits each. What is
right where the rules of the language leave one choice, on {test_stories:,} test stories, beside `zoo:village`:

{table}

- Architecture: GPT-2, {layers} layers, width {width}, {heads} heads, {neurons} neurons a layer, context {context},
  vocabulary {vocabulary}; norms without gain and bias, positions as {waves} sines and cosines, unembedding apart.
- Training: {tokens:,} tokens in {minutes:.0f} minutes, on the probabilities of `zoo:village`; {machine}. KL from it on
  the last new stories: {kl:.4f} nats per token.
- Command: `{command}`
- Date: {date}
- Licence: that of the package; the training text is generated by it.
"""


def write_card(
    given: Options, parameters: Parameters, tokenizer: Tokenizer, tokens: int, seconds: float, kl: float
) -> None:
    """Measure the model beside its teacher, and write its card, for programs and for people."""
    dense = load_file(given.teacher / "model.safetensors")
    cases = examples(Village().stories("test", 0, TEST_STORIES), tokenizer)
    found = {
        "sparse": accuracy(cases, argmax(_logits(partial(forward, parameters)))),
        "dense": accuracy(cases, argmax(_logits(partial(dense_forward, dense)))),
    }
    weights, neurons = tensors(parameters)
    grown = given.regrowth
    begin = f"--begin {given.begin}" if given.begin else f"--tokens {given.tokens} --seed {given.seed}"
    begin += f" --regrow-steps {grown.steps} --regrow-peak {grown.peak} --regrow-share {grown.share}"
    summary = f"A GPT-2 of {LAYERS} layers with few weights that tells stories about a village"
    card: dict[str, Any] = {
        "name": "village-sparse",
        "summary": summary,
        "date": date.today().isoformat(),
        "command": f"python training/village_sparse.py --out {given.out} {begin}",
        "machine": f"{platform.system()} {platform.machine()}, {given.threads} threads",
        "layers": LAYERS,
        "width": WIDTH,
        "heads": HEADS,
        "neurons": neurons,
        "context": CONTEXT,
        "vocabulary": tokenizer.get_vocab_size(),
        "parameters": sum(tensor.numel() for tensor in weights.values()),
        "left": sum(int((value != 0).sum()) for value in parameters.values()),
        "digits": DIGITS,
        "waves": 2 * len(PERIODS),
        "tokens": tokens,
        "training_seconds": round(seconds),
        "kl": kl,
        "test_stories": TEST_STORIES,
        "accuracy": {group: {who: asdict(found[who][group]) for who in found} for group in GROUPS},
    }
    (given.out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    lines = ["| what determines the text | spans | first token | whole span | dense, first token | dense, whole span |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for group, row in card["accuracy"].items():
        shares = " | ".join(f"{100 * row[who][key]:.1f} %" for who in ("sparse", "dense") for key in ("first", "whole"))
        lines.append(f"| {group.replace('_', ' ')} | {row['sparse']['n']:,} | {shares} |")
    text = CARD.format(**card, table="\n".join(lines), minutes=seconds / 60)
    (given.out / "card.md").write_text(text)
    print(text, flush=True)


def _logits(model: Callable[[Tensor], Tensor]) -> Callable[[np.ndarray], np.ndarray]:
    """Logits of rows of tokens."""

    @torch.no_grad()
    def logits(rows: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(rows)).view(*rows.shape, -1).numpy()

    return logits


def main() -> None:
    """Run it all."""
    given = options()
    torch.set_num_threads(given.threads)
    given.work.mkdir(parents=True, exist_ok=True)
    tokenizer_file = given.teacher / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    if given.begin:
        trained = begun(given, given.begin, tokenizer_file)
    else:
        trained = train(given, tokenizer_file, tokenizer.get_vocab_size())
    last = regrow(given, trained, tokenizer_file)
    parameters = finished(last.weights())
    write_model(given, parameters, tokenizer)
    tokens = (trained.step + REGROW_BATCHES + last.step) * BATCH * CONTEXT
    write_card(given, parameters, tokenizer, tokens, trained.seconds + last.seconds, last.average)


if __name__ == "__main__":
    main()
