"""From what a user wrote to tokens: prompts, answers, patterns, and the word that a head looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.functional import pad

from pellucid.base.errors import PellucidError
from pellucid.rewrite.source import Condition, Token
from pellucid.rewrite.workbench import Workbench


def token_name(bench: Workbench, token: int) -> Token:
    """How sources name a token: by its text, or by its id where its text is not its own."""
    tokenizer = bench.model.tokenizer
    text = tokenizer.decode([token])
    try:
        alone = tokenizer.encode(text) == [token]
    except PellucidError:
        alone = False
    return text if alone else token


def prompt_ids(bench: Workbench, prompt: str) -> list[int]:
    """The tokens of a prompt. Raises `PellucidError` for one that is empty, holds no word, or is too long."""
    if not prompt.strip():
        raise PellucidError(f'{prompt!r} is no prompt; give text such as "Ada lives in"')
    tokenizer = bench.model.tokenizer
    if not set(tokenizer.encode(prompt)) - {tokenizer.eos_id}:
        raise PellucidError(
            f'{prompt!r} is no prompt: where a text ends and the next begins nothing is asked; give text such as "Ada '
            'lives in"'
        )
    ids: list[int] = bench.model.ids(prompt)[0].tolist()
    if len(ids) >= bench.model.n_ctx - 8:
        raise PellucidError(f"{prompt[:40]!r}… has {len(ids)} tokens, the model reads {bench.model.n_ctx}; give less")
    return ids


def without_opening(bench: Workbench, ids: Sequence[int]) -> list[int]:
    """The tokens of a prompt behind what every text of the subject is opened with."""
    end = bench.model.tokenizer.eos_id
    return list(ids[1:] if ids[0] == end else ids)


def answer_ids(bench: Workbench, prompt: str, answer: str) -> list[int]:
    """The tokens of `answer` behind `prompt`, with a space between where neither has one.

    Raises `PellucidError` for an answer that is empty, or that flows into the prompt's last token.
    """
    if not answer.strip():
        raise PellucidError(f'{answer!r} is no answer; give text such as "Rome"')
    spaced = prompt[-1:].isspace() or answer[:1].isspace() or bench.model.tokenizer.kind == "words"
    between = "" if spaced and bench.model.tokenizer.kind == "bpe" else " "
    before, whole = prompt_ids(bench, prompt), prompt_ids(bench, prompt + between + answer)
    if whole[: len(before)] != before:
        raise PellucidError(
            f"the tokens of {answer!r} flow into those of {prompt!r}; end the prompt with a whole word, without a space"
        )
    return whole[len(before) :]


def one_token(bench: Workbench, text: str) -> int:
    """The id of the one token that `text` is. Raises `PellucidError` quoting the pieces where it is not one."""
    from pellucid.engine.subjects import token_id

    return token_id(bench.model, text)


def span_of(bench: Workbench, prompt: str, letters: range) -> range:
    """The positions of some letters of `prompt` among its tokens."""
    before, through = (_shared(bench, prompt, end) for end in (letters.start, letters.stop))
    return range(before, max(through, before + 1))


def _shared(bench: Workbench, prompt: str, end: int) -> int:
    """How many tokens of `prompt` are those of its beginning, up to the letter `end`."""
    whole = bench.model.ids(prompt)[0].tolist()
    if not prompt[:end].strip():
        return len(whole) - len(bench.model.tokenizer.encode(prompt))  # what opens a text
    begun = bench.model.ids(prompt[:end])[0].tolist()
    return next(
        (at for at, (a, b) in enumerate(zip(begun, whole, strict=False)) if a != b), min(len(begun), len(whole))
    )


@dataclass(frozen=True)
class PromptWord:
    """A word of a prompt: its text without space, and where its tokens start and stop."""

    text: str
    start: int
    stop: int


def word_at(bench: Workbench, ids: Sequence[int], at: int) -> PromptWord:
    """The whole word that the token at position `at` is of."""
    texts = bench.texts(ids)
    start, stop = at, at + 1
    if bench.model.tokenizer.kind == "words":
        return PromptWord(texts[at], start, stop)
    while start > 0 and texts[start][:1].isalnum() and texts[start - 1][-1:].isalnum():
        start -= 1
    while stop < len(texts) and texts[stop][:1].isalnum() and texts[stop - 1][-1:].isalnum():
        stop += 1
    return PromptWord("".join(texts[start:stop]).strip(), start, stop)


def spelled(bench: Workbench, word: str, own: Sequence[int] = ()) -> list[list[int]]:
    """The tokens of a word as it stands somewhere, if given, and with and without a space before it."""
    tokenizer = bench.model.tokenizer
    spellings = [list(own)] + (
        [tokenizer.encode(text) for text in (f" {word}", word)] if tokenizer.kind == "bpe" else []
    )
    return [list(spelling) for spelling in dict.fromkeys(tuple(spelling) for spelling in spellings if spelling)]


def conditions_in(bench: Workbench, spellings: Sequence[tuple[Sequence[int], Sequence[int]]]) -> tuple[Condition, ...]:
    """Conditions that hold at some places of a word: each of `spellings` is its tokens and these places in it."""
    found = [
        tuple((back, token_name(bench, token)) for back, token in enumerate(reversed(spelling[: place + 1])))
        for spelling, places in spellings
        for place in places
    ]
    return tuple(dict.fromkeys(found))


def goes_on_otherwise(bench: Workbench, begun: Sequence[int], rest: Sequence[int], at: Bool[Tensor, "row pos"]) -> bool:
    """Whether the fit text has `begun` `at` one of these places and goes on behind it otherwise than with `rest`."""
    ids = torch.where(bench.fit.inside, bench.fit.ids, -1)
    found = at.clone()
    for back, token in enumerate(reversed(begun)):
        found &= pad(ids, (back, 0), value=-1)[:, : ids.shape[1]] == token
    whole = found.clone()
    for ahead, token in enumerate(rest, 1):
        whole &= pad(ids, (0, ahead), value=-1)[:, ahead:] == token
    return bool((found & ~whole).any())


def pattern_conditions(bench: Workbench, pattern: str) -> tuple[Condition, ...]:
    """Conditions that hold right behind `pattern`, where ` *` is any one token; none for an empty pattern.

    Raises `PellucidError` for a pattern that names no token.
    """
    if not pattern:
        return ()
    back, condition = 0, []
    for piece in reversed(pattern.split("*")):
        for token in reversed(bench.model.tokenizer.encode(piece.rstrip(" ") if piece != pattern else piece)):
            condition.append((back, token_name(bench, token)))
            back += 1
        back += 1
    if not condition:
        raise PellucidError(f'{pattern!r} names no token; give text such as " the * of", or "" for everywhere')
    return (tuple(condition),)
