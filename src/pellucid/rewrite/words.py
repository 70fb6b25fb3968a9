"""From what a user wrote to tokens: prompts, answers, patterns, and the word that a head looks at."""

from __future__ import annotations

from collections.abc import Sequence

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
    """The tokens of a prompt. Raises `PellucidError` for one that is empty or too long."""
    if not prompt.strip():
        raise PellucidError(f'{prompt!r} is no prompt; give text such as "Ada lives in"')
    ids: list[int] = bench.model.ids(prompt)[0].tolist()
    if len(ids) >= bench.model.n_ctx - 8:
        raise PellucidError(f"{prompt[:40]!r}… has {len(ids)} tokens, the model reads {bench.model.n_ctx}; give less")
    return ids


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
    from pellucid.experiment.subjects import token_id

    return token_id(bench.model, text)


def word_at(bench: Workbench, ids: Sequence[int], at: int) -> tuple[str, list[int]]:
    """The word that ends at position `at`: its text without space, and its tokens.

    Raises `PellucidError` where the word goes on behind it: then other words may begin alike.
    """
    texts = bench.texts(ids)
    start = at
    while start > 0 and not texts[start][:1].isspace() and texts[start][:1].isalnum() and _in_word(texts[start - 1]):
        start -= 1
    if at + 1 < len(ids) and texts[at + 1][:1].isalnum():
        raise PellucidError(
            f"the place is found by {''.join(texts[start : at + 1])!r} alone, and the word goes on with "
            f"{texts[at + 1]!r}: other words begin alike, so it is ambiguous; tell the name apart in the prompt"
        )
    return "".join(texts[start : at + 1]).strip(), list(ids[start : at + 1])


def _in_word(text: str) -> bool:
    """Whether a token can be continued by the next one."""
    return text[-1:].isalnum()


def forms(bench: Workbench, word: str, own: Sequence[int]) -> tuple[Condition, ...]:
    """Conditions that hold at the last token of `word`, with and without a space before it."""
    spellings = [list(own)]
    if bench.model.tokenizer.kind == "bpe":
        spellings += [bench.model.tokenizer.encode(text) for text in (f" {word}", word)]
    kept = dict.fromkeys(tuple(spelling) for spelling in spellings if spelling)
    return tuple(
        tuple((back, token_name(bench, token)) for back, token in enumerate(reversed(spelling))) for spelling in kept
    )


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
