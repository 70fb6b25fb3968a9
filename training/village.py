"""Train `zoo:village` from nothing: tokenizer, model, evaluation, model card.

    python training/village.py --out src/pellucid/zoo/village/model

A killed run continues from the checkpoint in `--work`. The same seed gives the same data in the same order.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from pellucid.zoo.village import Village
from pellucid.zoo.village.evaluate import GROUPS, Score, Trigram, accuracy, argmax, close_calls, examples

VOCABULARY = 1024
CONTEXT = 128
WIDTH = 128
LAYERS = 4
HEADS = 4
EPSILON = 1e-5
END = "<|endoftext|>"
TOKENIZER_CONFIG = {
    "tokenizer_class": "GPT2TokenizerFast",
    "add_bos_token": True,
    "bos_token": END,
    "eos_token": END,
    "model_max_length": CONTEXT,
}
"""Every row of the training begins with the end of the text before it."""

BATCH = 16
PEAK = 2e-3
WARMUP = 400
DECAY = 0.3
"""The share of steps over which the learning rate falls; before it a run can be resumed with another `--tokens`."""
FULL_PRECISION = 0.05
"""The share of steps at the end that run in float32."""
CHUNK = 16_384
"""Stories that are generated at a time."""

TOKENIZER_STORIES = 40_000
TEST_STORIES = 4_000
TRIGRAM_STORIES = 200_000

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Options:
    """The command line."""

    out: Path
    work: Path
    device: str
    tokens: int
    seed: int
    threads: int


def arguments(about: str | None, work: str, tokens: float) -> argparse.ArgumentParser:
    """What every training of a village model may be told, with the defaults of one."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the model goes")
    parser.add_argument("--work", type=Path, default=Path(work), help="where checkpoints go")
    parser.add_argument("--tokens", type=float, default=tokens, help="how many tokens to train on")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    return parser


def options() -> Options:
    """Read the command line."""
    parser = arguments(__doc__, "village-train", 24e6)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    return Options(given.out, given.work, given.device, int(given.tokens), given.seed, given.threads)


# --- data ---------------------------------------------------------------------------------------------------------


def train_tokenizer() -> Tokenizer:
    """Byte-level BPE as in GPT-2, on training stories."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    stories = Village().stories("train", 0, TOKENIZER_STORIES)
    tokenizer.train_from_iterator((story.text for story in stories), trainer)
    return tokenizer


@cache
def _tools(tokenizer: str) -> tuple[Village, Tokenizer]:
    return Village(), Tokenizer.from_file(tokenizer)


def rows_of(tokenizer_file: str, chunk: int) -> np.ndarray:
    """Chunk number `chunk` of the training text, packed."""
    village, tokenizer = _tools(tokenizer_file)
    return packed([story.text for story in village.stories("train", chunk * CHUNK, CHUNK)], tokenizer)


def packed(texts: Sequence[str], tokenizer: Tokenizer) -> np.ndarray:
    """Rows of CONTEXT + 1 tokens, each from the start of a story on.

    A story that the end of a row cuts off begins the next row, so that every story is seen whole.
    """
    rows: list[list[int]] = []
    row: list[int] = []
    for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
        story = [0, *encoding.ids]
        if len(row) + len(story) > CONTEXT + 1:
            rows.append((row + story)[: CONTEXT + 1])
            row = []
        row += story
    return np.array(rows, dtype=np.int16)


def batches(
    tokenizer_file: Path, start: int, rows_of: Callable[[str, int], np.ndarray] = rows_of
) -> Iterator[np.ndarray]:
    """Batches of rows from number `start` on, without end; `rows_of` gives a chunk of them."""
    number = 0
    for chunk in count():
        rows = np.random.default_rng(chunk).permutation(rows_of(str(tokenizer_file), chunk))
        for first in range(0, len(rows) - BATCH + 1, BATCH):
            if number >= start:
                yield rows[first : first + BATCH]
            number += 1


# --- model --------------------------------------------------------------------------------------------------------


def initial_parameters(vocabulary: int, seed: int) -> Parameters:
    """GPT-2's initialisation at this width, under Hugging Face's names.

    GPT-2's scale of 0.02 suits its width of 768. At this one it would leave queries and keys so small that attention
    begins uniform and stays so for long; here each product keeps the variance of what it is given.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = WIDTH**-0.5) -> Tensor:
        return torch.randn(shape, generator=generator) * scale

    residual = WIDTH**-0.5 / math.sqrt(2 * LAYERS)
    parameters = {
        "wte.weight": normal(vocabulary, WIDTH, scale=0.08),
        "wpe.weight": normal(CONTEXT, WIDTH, scale=0.04),
    }
    for layer in range(LAYERS):
        block = {
            "ln_1.weight": torch.ones(WIDTH),
            "ln_1.bias": torch.zeros(WIDTH),
            "attn.c_attn.weight": normal(WIDTH, 3 * WIDTH),
            "attn.c_attn.bias": torch.zeros(3 * WIDTH),
            "attn.c_proj.weight": normal(WIDTH, WIDTH, scale=residual),
            "attn.c_proj.bias": torch.zeros(WIDTH),
            "ln_2.weight": torch.ones(WIDTH),
            "ln_2.bias": torch.zeros(WIDTH),
            "mlp.c_fc.weight": normal(WIDTH, 4 * WIDTH),
            "mlp.c_fc.bias": torch.zeros(4 * WIDTH),
            "mlp.c_proj.weight": normal(4 * WIDTH, WIDTH, scale=residual / 2),
            "mlp.c_proj.bias": torch.zeros(WIDTH),
        }
        parameters |= {f"h.{layer}.{name}": value for name, value in block.items()}
    parameters |= {"ln_f.weight": torch.ones(WIDTH), "ln_f.bias": torch.zeros(WIDTH)}
    return {f"transformer.{name}": value for name, value in parameters.items()}


def forward(parameters: Parameters, tokens: Tensor) -> Tensor:
    """Logits [batch × position, vocabulary] of `tokens` [batch, position]."""
    batch, length = tokens.shape

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (WIDTH,), p[f"{name}.weight"], p[f"{name}.bias"], EPSILON)

    def affine(x: Tensor, name: str) -> Tensor:
        return torch.addmm(p[f"{name}.bias"], x, p[f"{name}.weight"])

    p = {name.removeprefix("transformer."): value for name, value in parameters.items()}
    x = (p["wte.weight"][tokens] + p["wpe.weight"][:length]).reshape(batch * length, WIDTH)
    for layer in range(LAYERS):
        h = f"h.{layer}"
        qkv = affine(norm(x, f"{h}.ln_1"), f"{h}.attn.c_attn").view(batch, length, 3, HEADS, WIDTH // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + affine(mixed.transpose(1, 2).reshape(batch * length, WIDTH), f"{h}.attn.c_proj")
        hidden = F.gelu(affine(norm(x, f"{h}.ln_2"), f"{h}.mlp.c_fc"), approximate="tanh")
        x = x + affine(hidden, f"{h}.mlp.c_proj")
    return norm(x, "ln_f") @ p["wte.weight"].T


def config(vocabulary: int) -> dict[str, object]:
    """The model's `config.json`."""
    return {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.0,
        "bos_token_id": 0,
        "dtype": "float32",
        "embd_pdrop": 0.0,
        "eos_token_id": 0,
        "initializer_range": 0.02,
        "layer_norm_epsilon": EPSILON,
        "model_type": "gpt2",
        "n_ctx": CONTEXT,
        "n_embd": WIDTH,
        "n_head": HEADS,
        "n_inner": None,
        "n_layer": LAYERS,
        "n_positions": CONTEXT,
        "reorder_and_upcast_attn": False,
        "resid_pdrop": 0.0,
        "scale_attn_by_inverse_layer_idx": False,
        "scale_attn_weights": True,
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": vocabulary,
    }


# --- training -----------------------------------------------------------------------------------------------------


def learning_rate(step: int, steps: int, *, peak: float = PEAK, warmup: int = WARMUP, decay: float = DECAY) -> float:
    """Linear warm-up, a plateau, and linearly down to nothing over the last share `decay` of the steps."""
    return peak * min(1.0, (step + 1) / warmup, (steps - step) / (steps * decay))


def optimizer_for(parameters: Parameters) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    matrices = [value for name, value in parameters.items() if value.dim() > 1 and ".wpe" not in name]
    others = [value for name, value in parameters.items() if value.dim() == 1 or ".wpe" in name]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.98), fused=True)


def train(given: Options, tokenizer_file: Path, vocabulary: int) -> tuple[Parameters, float]:
    """Train, or go on with training; also says how many seconds it took."""
    steps = given.tokens // (BATCH * CONTEXT)
    checkpoint = given.work / "checkpoint.pt"
    parameters = {name: v.to(given.device) for name, v in initial_parameters(vocabulary, given.seed).items()}
    for value in parameters.values():
        value.requires_grad_()
    optimizer = optimizer_for(parameters)
    start, spent = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=given.device, weights_only=True)
        with torch.no_grad():
            for name, value in parameters.items():
                value.copy_(state["parameters"][name])
        optimizer.load_state_dict(state["optimizer"])
        start, spent = state["step"], state["seconds"]

    def save(step: int) -> None:
        state = {"parameters": parameters, "optimizer": optimizer.state_dict(), "step": step, "seconds": seconds}
        torch.save(state, checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").replace(checkpoint)

    began = time.time()
    source = batches(tokenizer_file, start)
    average = 0.0
    for step in range(start, steps):
        batch = torch.from_numpy(next(source).astype(np.int64)).to(given.device)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        with torch.autocast(given.device, torch.bfloat16, enabled=step < steps * (1 - FULL_PRECISION)):
            logits = forward(parameters, batch[:, :-1])
        loss = F.cross_entropy(logits.float(), batch[:, 1:].reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), 1.0)
        optimizer.step()
        seconds = spent + time.time() - began
        average = loss.item() if step == start else 0.98 * average + 0.02 * loss.item()
        if (step + 1) % 100 == 0:
            left = (time.time() - began) / (step + 1 - start) * (steps - step - 1)
            print(f"step {step + 1}/{steps}  loss {average:.4f}  {seconds:.0f} s, {left:.0f} s left", flush=True)
        if (step + 1) % 500 == 0 or step + 1 == steps:
            save(step + 1)
    return {name: value.detach() for name, value in parameters.items()}, spent + time.time() - began


# --- evaluation and card ------------------------------------------------------------------------------------------


def evaluate(parameters: Parameters, tokenizer: Tokenizer) -> tuple[dict[str, Score], dict[str, Score], float]:
    """Scores of the model and of a trigram table on test stories, and the share of close calls."""
    village = Village()
    local = {name: value.cpu() for name, value in parameters.items()}
    vocabulary = tokenizer.get_vocab_size()

    @torch.no_grad()
    def logits(rows: np.ndarray) -> np.ndarray:
        return forward(local, torch.from_numpy(rows)).view(*rows.shape, vocabulary).numpy()

    cases = examples(village.stories("test", 0, TEST_STORIES), tokenizer)
    training = (tokenizer.encode(story.text).ids for story in village.stories("train", 0, TRIGRAM_STORIES))
    trigram = Trigram(([0, *ids, 0] for ids in training), vocabulary)
    return accuracy(cases, argmax(logits)), accuracy(cases, trigram), close_calls(cases, logits)


def table(figures: dict[str, Any]) -> str:
    """The accuracies of a card as a Markdown table."""
    lines = [
        "| what determines the text | spans | first token | whole span | trigram, first token | trigram, whole span |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for group, row in figures.items():
        shares = " | ".join(
            f"{100 * row[who][key]:.1f} %" for who in ("model", "trigram") for key in ("first", "whole")
        )
        lines.append(f"| {group.replace('_', ' ')} | {row['model']['n']:,} | {shares} |")
    return "\n".join(lines)


CARD = """# zoo:village

{summary}

The language is `pellucid.zoo.village`: short English stories, generated from a seed, about {people} people of whom
{facts} facts are true. Where the rules of the language leave one choice, the model is right this often, on
{test_stories:,} test stories (facts also in wordings that training never tells them in); beside it the accuracy of a
table of the likeliest token after the two before, counted on {trigram_stories:,} training stories:

{table}

At {close:.1f} % of all other positions the likeliest token is less than 1.2 times as likely as the next.

- Architecture: GPT-2, {layers} layers, width {width}, {heads} heads, context {context}, vocabulary {vocabulary}
  (byte-level BPE, `<|endoftext|>` = 0 starts every row), tied unembedding, {parameters:,} parameters.
- Training: {tokens:,} tokens in {minutes:.0f} minutes; {machine}.
- Command: `{command}`
- Date: {date}
- Licence: that of the package; the training text is generated by it.
"""


def write_model(given: Options, parameters: Parameters, tokenizer: Tokenizer) -> None:
    """Write the model in Hugging Face layout."""
    given.out.mkdir(parents=True, exist_ok=True)
    weights = {name: value.float().cpu().contiguous() for name, value in parameters.items()}
    save_file(weights, given.out / "model.safetensors", metadata={"format": "pt"})
    (given.out / "config.json").write_text(json.dumps(config(tokenizer.get_vocab_size()), indent=2) + "\n")
    tokenizer.save(str(given.out / "tokenizer.json"))
    (given.out / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG, indent=2) + "\n", encoding="utf-8")


def write_card(given: Options, parameters: Parameters, tokenizer: Tokenizer, seconds: float) -> None:
    """Measure the model and write its card, for programs and for people."""
    village = Village()
    model, trigram, close = evaluate(parameters, tokenizer)
    size = sum(value.numel() for value in parameters.values())
    card: dict[str, Any] = {
        "name": "village",
        "summary": f"A GPT-2 of {LAYERS} layers and {size:,} parameters that tells stories about a village",
        "date": date.today().isoformat(),
        "command": f"python training/village.py --out {given.out} --tokens {given.tokens} --seed {given.seed}",
        "machine": f"{platform.system()} {platform.machine()}, device {given.device}, {given.threads} threads",
        "people": len(village.people),
        "facts": len(village.facts),
        "layers": LAYERS,
        "width": WIDTH,
        "heads": HEADS,
        "context": CONTEXT,
        "vocabulary": tokenizer.get_vocab_size(),
        "parameters": size,
        "tokens": given.tokens,
        "training_seconds": round(seconds),
        "test_stories": TEST_STORIES,
        "trigram_stories": TRIGRAM_STORIES,
        "close_calls": close,
        "accuracy": {group: {"model": asdict(model[group]), "trigram": asdict(trigram[group])} for group in GROUPS},
    }
    (given.out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    text = CARD.format(**card, table=table(card["accuracy"]), minutes=seconds / 60, close=100 * close)
    (given.out / "card.md").write_text(text)
    print(text, flush=True)


def main() -> None:
    """Run it all."""
    given = options()
    torch.set_num_threads(given.threads)
    given.work.mkdir(parents=True, exist_ok=True)
    tokenizer_file = given.work / "tokenizer.json"
    if not tokenizer_file.exists():
        train_tokenizer().save(str(tokenizer_file))
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    parameters, seconds = train(given, tokenizer_file, tokenizer.get_vocab_size())
    write_model(given, parameters, tokenizer)
    write_card(given, parameters, tokenizer, seconds)


if __name__ == "__main__":
    main()
