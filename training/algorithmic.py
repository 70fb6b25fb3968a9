"""Train the small subjects of the zoo whose labels are known: `zoo:sort`, `zoo:reverse`, `zoo:most-frequent`, …

    python training/algorithmic.py sort reverse            # into src/pellucid/zoo/NAME/model
    python training/algorithmic.py modular-addition --from out/grokking/step-015000

All but modular addition are GPT-2 models of one or two layers, trained on rows that `pellucid.zoo.algorithmic` draws
and labels; rows are laid at random places of the context, so that longer ones than those trained on have known
positions.
Modular addition is a checkpoint of `training/grokking.py`. Each comes with a task, rows to decompile on, and a card.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from pellucid.base.files import atomic_path, write_text
from pellucid.base.progress import track
from pellucid.zoo.algorithmic import BOS, EOS, LANGUAGES, SEP, Labelled, Language

ZOO = Path(__file__).resolve().parents[1] / "src" / "pellucid" / "zoo"
POOL, BATCH, PEAK, WARMUP, DECAY, EPSILON = 30_000, 128, 5e-3, 100, 0.1, 1e-5
TRAINING, ROWS, TEST = 1, 2, 3
"""Seeds: rows to train on, rows that come with the model, rows that its accuracy is measured on."""
SHIPPED, TESTED = 1500, 1000
SAY_EVERY = 250

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Recipe:
    """The shape of a model, and how many steps it is trained."""

    layers: int
    heads: int
    width: int
    steps: int


RECIPES = {
    "sort": Recipe(1, 1, 32, 1200),
    "reverse": Recipe(2, 1, 32, 1500),
    "most-frequent": Recipe(1, 1, 16, 1500),
    "dyck": Recipe(1, 1, 16, 1500),
    "induction": Recipe(2, 1, 32, 1500),
    "wrong-rule": Recipe(1, 1, 16, 1500),
}


# --- model ------------------------------------------------------------------------------------------------------------


def initial(language: Language, recipe: Recipe) -> Parameters:
    """Random weights under Hugging Face's names."""
    draw = torch.Generator().manual_seed(0)
    width = recipe.width

    def normal(*shape: int, scale: float = width**-0.5) -> Tensor:
        return torch.randn(shape, generator=draw) * scale

    found = {
        "wte.weight": normal(len(language.vocabulary), width, scale=0.3),
        "wpe.weight": normal(language.longest, width, scale=0.1),
    }
    for layer in range(recipe.layers):
        block = {
            "ln_1.weight": torch.ones(width),
            "ln_1.bias": torch.zeros(width),
            "attn.c_attn.weight": normal(width, 3 * width),
            "attn.c_attn.bias": torch.zeros(3 * width),
            "attn.c_proj.weight": normal(width, width),
            "attn.c_proj.bias": torch.zeros(width),
            "ln_2.weight": torch.ones(width),
            "ln_2.bias": torch.zeros(width),
            "mlp.c_fc.weight": normal(width, 4 * width),
            "mlp.c_fc.bias": torch.zeros(4 * width),
            "mlp.c_proj.weight": normal(4 * width, width, scale=width**-0.5 / 2),
            "mlp.c_proj.bias": torch.zeros(width),
        }
        found |= {f"h.{layer}.{name}": value for name, value in block.items()}
    found |= {"ln_f.weight": torch.ones(width), "ln_f.bias": torch.zeros(width)}
    found["lm_head.weight"] = normal(len(language.vocabulary), width)
    return {name: value.requires_grad_() for name, value in found.items()}


def forward(w: Parameters, recipe: Recipe, tokens: Tensor, positions: Tensor) -> Tensor:
    """Logits [batch pos vocab] of `tokens` [batch pos] at `positions` [batch pos]."""
    batch, length = tokens.shape
    width = recipe.width

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (width,), w[f"{name}.weight"], w[f"{name}.bias"], EPSILON)

    x = w["wte.weight"][tokens] + w["wpe.weight"][positions]
    for layer in range(recipe.layers):
        h = f"h.{layer}"
        qkv = norm(x, f"{h}.ln_1") @ w[f"{h}.attn.c_attn.weight"] + w[f"{h}.attn.c_attn.bias"]
        q, k, v = qkv.view(batch, length, 3, recipe.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, length, width)
        x = x + mixed @ w[f"{h}.attn.c_proj.weight"] + w[f"{h}.attn.c_proj.bias"]
        hidden = norm(x, f"{h}.ln_2") @ w[f"{h}.mlp.c_fc.weight"] + w[f"{h}.mlp.c_fc.bias"]
        hidden = F.gelu(hidden, approximate="tanh")
        x = x + hidden @ w[f"{h}.mlp.c_proj.weight"] + w[f"{h}.mlp.c_proj.bias"]
    return norm(x, "ln_f") @ w["lm_head.weight"].T


def config(language: Language, recipe: Recipe) -> dict[str, object]:
    """The model's `config.json`."""
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "activation_function": "gelu_new",
        "n_layer": recipe.layers,
        "n_head": recipe.heads,
        "n_embd": recipe.width,
        "n_inner": None,
        "n_positions": language.longest,
        "vocab_size": len(language.vocabulary),
        "layer_norm_epsilon": EPSILON,
        "tie_word_embeddings": False,
    }


# --- data -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """Rows as tensors: token ids [row pos], which places are scored [row pos], what is right there [row pos vocab]."""

    ids: Tensor
    scored: Tensor
    right: Tensor

    @staticmethod
    def of(language: Language, rows: Sequence[Labelled]) -> Data:
        """`rows` as tensors, zeros behind their ends."""
        id_of = {word: at for at, word in enumerate(language.vocabulary)}
        length = max(len(row.tokens) for row in rows)
        ids = np.zeros((len(rows), length), np.int64)
        right = np.zeros((len(rows), length, len(id_of)), bool)
        for at, row in enumerate(rows):
            ids[at, : len(row.tokens)] = [id_of[word] for word in row.tokens]
            for place, words in zip(row.scored, row.right, strict=True):
                right[at, place, [id_of[word] for word in words]] = True
        return Data(torch.from_numpy(ids), torch.from_numpy(right.any(-1)), torch.from_numpy(right))

    def batch(self, chosen: Tensor) -> Data:
        """Some of the rows."""
        return Data(self.ids[chosen], self.scored[chosen], self.right[chosen])


def loss(logits: Tensor, data: Data, kind: str) -> Tensor:
    """Cross-entropy of the right token; for sets, of every token being in or out."""
    said, right = logits[data.scored], data.right[data.scored]
    if kind == "set":
        return F.binary_cross_entropy_with_logits(said, right.float())
    return F.cross_entropy(said, right.int().argmax(-1))


@torch.no_grad()
def solved(w: Parameters, language: Language, recipe: Recipe, band: str) -> float:
    """The share of new rows of a band that are right at all scored places."""
    data = Data.of(language, language.rows(TEST, TESTED, band))
    logits = forward(w, recipe, data.ids, torch.arange(data.ids.shape[1]).expand_as(data.ids))
    if language.kind == "set":
        right = ((logits > 0) == data.right).all(-1)
    else:
        right = data.right.gather(-1, logits.argmax(-1, keepdim=True))[..., 0]
    return round(float((right | ~data.scored).all(-1).double().mean()), 4)


# --- training ---------------------------------------------------------------------------------------------------------


def train(language: Language, recipe: Recipe) -> Parameters:
    """The weights after all steps."""
    w = initial(language, recipe)
    data = Data.of(language, language.rows(TRAINING, POOL, language.trained))
    matrices = [value for name, value in w.items() if value.dim() > 1 and not name.startswith("w")]
    others = [value for name, value in w.items() if value.dim() == 1 or name.startswith("w")]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.98), fused=True)
    draw = torch.Generator().manual_seed(0)
    length = data.ids.shape[1]
    for step in track(range(recipe.steps), language.name):
        rate = min(1.0, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        for group in optimizer.param_groups:
            group["lr"] = PEAK * rate
        batch = data.batch(torch.randint(len(data.ids), (BATCH,), generator=draw))
        offsets = torch.randint(language.longest - length + 1, (BATCH, 1), generator=draw)
        found = loss(forward(w, recipe, batch.ids, torch.arange(length) + offsets), batch, language.kind)
        optimizer.zero_grad(set_to_none=True)
        found.backward()
        torch.nn.utils.clip_grad_norm_(list(w.values()), 1.0)
        optimizer.step()
        if (step + 1) % SAY_EVERY == 0:
            print(f"{language.name}: step {step + 1}/{recipe.steps}  loss {found.item():.5f}", flush=True)
    return {name: value.detach() for name, value in w.items()}


# --- what is written --------------------------------------------------------------------------------------------------

CARD = """# zoo:{name}

A small {architecture} that {summary}.

The labelling function is `pellucid.zoo.algorithmic.LANGUAGES["{name}"]`.

{measured} (it was trained on the first band alone):

| band | solved |
|---|---:|
{table}

- Parameters: {parameters:,}; vocabulary {vocabulary}.
- Training: {steps:,} steps in {seconds:,} s; {machine}.
- Command: `{command}`
- Date: {date}
- Licence: that of the package; all rows are generated by it.
"""


def write_rows(path: Path, language: Language) -> None:
    """The rows that come with a model: most of the band that it was trained on."""
    id_of = {word: at for at, word in enumerate(language.vocabulary)}
    lines = []
    for band in language.bands:
        count = SHIPPED if band == language.trained else SHIPPED // 5
        for row in dict.fromkeys(language.rows(ROWS, count, band)):
            fields = {"band": band, "ids": [id_of[word] for word in row.tokens], "scored": row.scored}
            lines.append(json.dumps(fields, separators=(",", ":")))
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))


def task(language: Language, accuracy: dict[str, float]) -> dict[str, object]:
    """The model's `task.json`."""
    output = "set: every token whose logit is above 0" if language.kind == "set" else "argmax"
    roles = {role: token for role, token in (("bos", BOS), ("sep", SEP), ("eos", EOS)) if token in language.special}
    return {
        "name": language.name,
        "task": language.summary,
        "output": output,
        "vocab": list(language.vocabulary),
        **roles,
        "lengths": f"the model was trained on lengths {language.trained}",
        "accuracy_of_the_model_on_its_task": accuracy,
    }


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """The card for programs and for people."""
    table = "\n".join(f"| {band} | {100 * share:.1f} % |" for band, share in card["accuracy"].items())
    write_text(folder / "card.json", json.dumps(card, indent=2) + "\n")
    write_text(folder / "card.md", CARD.format(**card, table=table))


def card(language: Language, command: str, seconds: float, **more: Any) -> dict[str, Any]:
    """What every card says."""
    return {
        "name": language.name,
        "summary": language.summary,
        "date": date.today().isoformat(),
        "command": f"python training/algorithmic.py {command}",
        "machine": f"{platform.system()} {platform.machine()}, device cpu, {torch.get_num_threads()} thread(s)",
        "vocabulary": len(language.vocabulary),
        "tested": TESTED,
        "measured": f"Share of {TESTED:,} new rows that the model gets right at all scored places, by length",
        "seconds": round(seconds),
        **more,
    }


def make(language: Language, out: Path) -> None:
    """Train a GPT-2 model and write everything that belongs to it."""
    recipe, began = RECIPES[language.name], time.time()
    w = train(language, recipe)
    seconds = time.time() - began
    accuracy = {band: solved(w, language, recipe, band) for band in language.bands}
    folder = out / language.name / "model"
    prefixed = {name if name.startswith("lm_head") else f"transformer.{name}": value for name, value in w.items()}
    with atomic_path(folder / "model.safetensors") as path:
        save_file(prefixed, path, metadata={"format": "pt"})
    write_text(folder / "config.json", json.dumps(config(language, recipe), indent=1) + "\n")
    write_text(folder / "task.json", json.dumps(task(language, accuracy), indent=1) + "\n")
    write_rows(folder / "inputs.jsonl.gz", language)
    plural = "s" if recipe.layers > 1 else ""
    size = sum(value.numel() for value in w.values())
    more = {"architecture": f"GPT-2 of {recipe.layers} layer{plural}, width {recipe.width}", **asdict(recipe)}
    write_card(folder, card(language, language.name, seconds, parameters=size, accuracy=accuracy, **more))
    print(f"{language.name}: {accuracy}, {seconds:.0f} s", flush=True)


def adopt(language: Language, checkpoint: Path, out: Path) -> None:
    """Take a checkpoint of `training/grokking.py` as it is."""
    folder = out / language.name / "model"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors", "inputs.jsonl.gz"):
        shutil.copyfile(checkpoint / name, folder / name)
    fields = json.loads((checkpoint / "task.json").read_text(encoding="utf-8"))
    accuracy = fields["accuracy_of_the_model_on_its_task"]
    write_text(folder / "task.json", json.dumps(fields | {"name": language.name}, indent=1) + "\n")
    shape = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    size = sum(value.numel() for value in load_file(folder / "model.safetensors").values())
    rows = gzip.decompress((folder / "inputs.jsonl.gz").read_bytes()).count(b"\n")
    more = {
        "architecture": f"transformer of one layer without norms, width {shape['d_model']}",
        "steps": fields["step"],
        "tested": rows,
        "measured": f"Share of all {rows:,} pairs that the model adds right",
    }
    recipe = " ".join(f"--{name} {value}" for name, value in fields["recipe"].items())
    command = f"modular-addition --from OUT/{checkpoint.name}, OUT from python training/grokking.py --out OUT {recipe}"
    data = card(language, command, fields["seconds"], parameters=size, accuracy=accuracy)
    write_card(folder, data | more)


def main() -> None:
    """Read the command line and make what it names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=list(LANGUAGES), metavar="NAME", help=", ".join(LANGUAGES))
    parser.add_argument("--out", type=Path, default=ZOO, help="the zoo")
    parser.add_argument("--from", type=Path, dest="checkpoint", help="a checkpoint of training/grokking.py")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for name in given.names:
        if name in RECIPES:
            make(LANGUAGES[name], given.out)
        elif given.checkpoint is None:
            parser.error(f"{name} is a checkpoint of training/grokking.py: name it with --from")
        else:
            adopt(LANGUAGES[name], given.checkpoint, given.out)


if __name__ == "__main__":
    main()
