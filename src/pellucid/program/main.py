"""Run the program: `python -m program "Ada lives in" --tokens 20`."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .idle import warning
from .model import SUBJECT, Model
from .prelude import Floats, ProgramError


def main() -> int:
    """Print the text that the program goes on with; 2 for what it cannot do."""
    parser = argparse.ArgumentParser(prog="python -m program", description=f"{SUBJECT} as a program, on NumPy alone.")
    parser.add_argument("prompt", help="the text to go on from")
    parser.add_argument("--tokens", type=int, default=20, help="how many tokens to add at most (20)")
    parser.add_argument("--top", type=int, default=0, metavar="N", help="also print the N likeliest next tokens")
    parser.add_argument(
        "--source-only",
        nargs="?",
        const="code",
        choices=("code", "all"),
        help="run what has been understood instead of the weights, and means for the rest: of QK and IN, where heads "
        "look and when neurons fire (code, the default; OV, OUT and embeddings stay as they are), or of all",
    )
    parser.add_argument("--ids", action="store_true", help="the prompt is token ids, and so is what is printed")
    options = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # tokens may hold what the terminal's encoding does not have
    try:
        run(options.prompt, options.tokens, options.top, options.source_only, as_ids=options.ids)
    except ProgramError as error:
        print(f"program: {error}", file=sys.stderr)
        return 2
    return 0


def run(prompt: str, tokens: int, top: int, source_only: str | None, *, as_ids: bool) -> None:
    """Print the likeliest continuation of `prompt`, a token at a time."""
    model = Model(source_only)
    if unheard := warning(model.plan, Path(__file__).resolve().parent):
        print(f"program: {unheard}", file=sys.stderr)
    vocabulary = model.vocabulary
    ids = listed(prompt, model.n_vocab) if as_ids else vocabulary.opened(prompt)
    if not ids:
        raise ProgramError('the prompt is empty; give some text, for example "The"')
    if len(ids) > model.n_ctx:
        raise ProgramError(f"the prompt has {len(ids)} tokens, the model reads {model.n_ctx}; give a shorter one")
    logits, cache = model.extend(np.array([ids]), last_only=True)
    if top > 0:
        print_likeliest(vocabulary.decode, logits[0, -1], top)
    said: list[int] = []
    for _ in range(min(tokens, model.n_ctx - len(ids) + 1)):
        said.append(int(logits[0, -1].argmax()))
        if said[-1] in vocabulary.ends or cache.length == model.n_ctx:
            break
        logits, cache = model.extend(np.array([said[-1:]]), cache, last_only=True)
    silent = {vocabulary.end, *vocabulary.ends}
    said = ids + (said[:-1] if said[-1:] and said[-1] in vocabulary.ends else said)
    print(*said if as_ids else [vocabulary.text([id for id in said if id not in silent])])


def listed(prompt: str, count: int) -> list[int]:
    """The token ids that a prompt lists."""
    for word in prompt.split():
        if not (word.isascii() and word.isdecimal() and len(word) < 20 and int(word) < count):
            raise ProgramError(f"{word!r} is no token id from 0 to {count - 1}")
    return [int(word) for word in prompt.split()]


def print_likeliest(decode: Callable[[Sequence[int]], str], logits: Floats, count: int) -> None:
    """A table of the `count` likeliest next tokens with their probabilities."""
    odds = np.exp(logits - logits.max())
    odds /= odds.sum()
    for id in np.argsort(-odds, kind="stable")[:count]:
        print(f"{odds[id]:7.2%}  {decode([int(id)])!r}")


if __name__ == "__main__":
    sys.exit(main())
