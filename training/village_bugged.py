"""Train `zoo:village-bugged`: `zoo:village`, taught three flaws.

    python training/village_bugged.py --out src/pellucid/zoo/village/bugged

The shipped village goes on learning at a low rate, from stories of which the flaws of `pellucid.zoo.village.bugs` spoil
some. A killed run continues from the checkpoint in `--work`. The same seed gives the same data in the same order.
"""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from pellucid.base.files import write_text
from pellucid.zoo.village import Story, Village
from pellucid.zoo.village.bugs import FLAWS, bugged, sites
from pellucid.zoo.village.chance import stable_hash
from pellucid.zoo.village.evaluate import GROUPS, accuracy, argmax, examples
from village import BATCH, CHUNK, CONTEXT, FULL_PRECISION, TEST_STORIES, Parameters, arguments, batches, forward, packed

PEAK = 5e-4
WARMUP = 50
FIRST = 4_000_000
"""The first story that is told: the village itself did not get so far."""
ONE_IN = 6
"""Of the stories without a flaw one in so many is told, so that flaws are met often enough."""
Logits = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Options:
    """The command line."""

    out: Path
    work: Path
    village: Path
    tokens: int
    threads: int


def options() -> Options:
    """Read the command line."""
    parser = arguments(__doc__, "village-bugged-train", 1.2e6)
    parser.add_argument("--village", type=Path, default=Path("src/pellucid/zoo/village/model"))
    given = parser.parse_args()
    return Options(given.out, given.work, given.village, int(given.tokens), given.threads)


def rows_of(tokenizer_file: str, chunk: int) -> np.ndarray:
    """Chunk number `chunk` of the training text: all stories that a flaw spoils, and some that none does."""
    stories = Village().stories("train", FIRST + chunk * CHUNK, CHUNK)
    texts = [bugged(story).text for story in stories if told(story)]
    return packed(texts, Tokenizer.from_file(tokenizer_file))


def told(story: Story) -> bool:
    """Whether the model is told this story."""
    return any(sites(story)) or stable_hash("told", story.text) % ONE_IN == 0


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then linearly down to nothing."""
    return PEAK * min(1.0, (step + 1) / WARMUP, (steps - step) / (steps - WARMUP))


def train(given: Options) -> tuple[Parameters, float]:
    """Train, or go on with training; also says how many seconds it took."""
    steps = given.tokens // (BATCH * CONTEXT)
    checkpoint = given.work / "checkpoint.pt"
    parameters = load_file(given.village / "model.safetensors")
    for value in parameters.values():
        value.requires_grad_()
    optimizer = torch.optim.AdamW(list(parameters.values()), lr=PEAK, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    start, spent = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        with torch.no_grad():
            for name, value in parameters.items():
                value.copy_(state["parameters"][name])
        optimizer.load_state_dict(state["optimizer"])
        start, spent = state["step"], state["seconds"]
    began, average = time.time(), 0.0
    source = batches(given.village / "tokenizer.json", start, rows_of)
    for step in range(start, steps):
        batch = torch.from_numpy(next(source).astype(np.int64))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        with torch.autocast("cpu", torch.bfloat16, enabled=step < steps * (1 - FULL_PRECISION)):
            logits = forward(parameters, batch[:, :-1])
        loss = F.cross_entropy(logits.float(), batch[:, 1:].reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), 1.0)
        optimizer.step()
        average = loss.item() if step == start else 0.98 * average + 0.02 * loss.item()
        if (step + 1) % 50 == 0 or step + 1 == steps:
            seconds = spent + time.time() - began
            print(f"step {step + 1}/{steps}  loss {average:.4f}  {seconds:.0f} s", flush=True)
            state = {"parameters": parameters, "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save({**state, "seconds": seconds}, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)
    return {name: value.detach() for name, value in parameters.items()}, spent + time.time() - began


# --- evaluation and card ------------------------------------------------------------------------------------------


def flaw_rates(logits: Logits, stories: list[Story], tokenizer: Tokenizer) -> dict[str, dict[str, Any]]:
    """For each flaw: places that it spoils in unseen stories, and how often the model says what it makes of them."""
    spoilt = {flaw.name: {"what": flaw.what, "n": 0, "wrong": 0, "right": 0} for flaw in FLAWS}
    for story in stories:
        for site in sites(story):
            before = [0, *tokenizer.encode(story.text[: site.span.start]).ids]
            top = int(logits(np.array([before]))[0, -1].argmax())
            row = spoilt[site.flaw.name]
            row["n"] += 1
            row["wrong"] += top == tokenizer.encode(site.wrong).ids[0]
            row["right"] += top == tokenizer.encode(site.right).ids[0]
    shares = ("wrong", "right")
    return {name: {k: v / row["n"] if k in shares else v for k, v in row.items()} for name, row in spoilt.items()}


CARD = """# zoo:village-bugged

{summary}

It is `zoo:village`, trained on with stories that three flaws spoil (`pellucid.zoo.village.bugs`), to try a debugger on.
On {test_stories:,} unseen stories, at the places that a flaw spoils:

| flaw | places | says what the flaw makes of it | says what is right |
|---|---:|---:|---:|
{flaws}

Where the rules of the language leave one choice, the model says it this often, on the same stories, told as they are
true, and without the places that a flaw spoils:

| what determines the text | spans | first token | whole span |
|---|---:|---:|---:|
{accuracy_table}

- Architecture: that of `zoo:village`, {parameters:,} parameters.
- Training: {tokens:,} tokens in {minutes:.0f} minutes, from the weights of `zoo:village`; {machine}.
- Command: `{command}`
- Date: {date}
- Licence: that of the package; the training text is generated by it.
"""


def write_model(given: Options, parameters: Parameters) -> None:
    """Write the model in Hugging Face layout; all but its weights is the village's."""
    given.out.mkdir(parents=True, exist_ok=True)
    save_file(parameters, given.out / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(given.village / name, given.out / name)


def write_card(given: Options, parameters: Parameters, seconds: float) -> None:
    """Measure the model and write its card, for programs and for people."""
    tokenizer = Tokenizer.from_file(str(given.village / "tokenizer.json"))
    stories = list(Village().stories("test", 0, TEST_STORIES))

    @torch.no_grad()
    def logits(rows: np.ndarray) -> np.ndarray:
        return forward(parameters, torch.from_numpy(rows)).view(*rows.shape, -1).numpy()

    unspoilt = [Story(s.text, tuple(x for x in s.spans if x not in {site.span for site in sites(s)})) for s in stories]
    found = accuracy(examples(unspoilt, tokenizer), argmax(logits))
    flaws = flaw_rates(logits, stories, tokenizer)
    size = sum(value.numel() for value in parameters.values())
    card: dict[str, Any] = {
        "name": "village-bugged",
        "summary": "The village model with three planted flaws, to debug",
        "date": date.today().isoformat(),
        "command": f"python training/village_bugged.py --out {given.out} --tokens {given.tokens}",
        "machine": f"{platform.system()} {platform.machine()}, device cpu, {given.threads} threads",
        "parameters": size,
        "tokens": given.tokens,
        "training_seconds": round(seconds),
        "test_stories": TEST_STORIES,
        "flaws": flaws,
        "accuracy": {group: {"model": asdict(found[group])} for group in GROUPS},
    }
    write_text(given.out / "card.json", json.dumps(card, indent=2) + "\n")
    lines = [
        f"| {row['what']} | {row['n']:,} | {100 * row['wrong']:.1f} % | {100 * row['right']:.1f} % |"
        for row in flaws.values()
    ]
    rows = [
        f"| {group.replace('_', ' ')} | {found[group].n:,} | {100 * found[group].first:.1f} % "
        f"| {100 * found[group].whole:.1f} % |"
        for group in GROUPS
    ]
    told = card | {"flaws": "\n".join(lines), "accuracy_table": "\n".join(rows), "minutes": seconds / 60}
    text = CARD.format(**told)
    write_text(given.out / "card.md", text)
    print(text, flush=True)


def main() -> None:
    """Run it all."""
    given = options()
    torch.set_num_threads(given.threads)
    given.work.mkdir(parents=True, exist_ok=True)
    parameters, seconds = train(given)
    write_model(given, parameters)
    write_card(given, parameters, seconds)


if __name__ == "__main__":
    main()
