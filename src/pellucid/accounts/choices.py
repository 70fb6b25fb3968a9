"""The answers that are chosen among, and the ways in which a model may say each of them behind a prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from pellucid.accounts.answers import SHARED, Answer, Replies
from pellucid.accounts.scores import log_probabilities
from pellucid.accounts.wordings import answer_ids
from pellucid.base.errors import PellucidError
from pellucid.engine.subjects import Subject, model_of
from pellucid.exact.model import Model

Ids = tuple[int, ...]


def own_answers(plain: Sequence[Sequence[Answer]]) -> list[str]:
    """The answers that a model gives, the commonest first, without those that a wording gives of nearly all."""
    found = Counter(answer.bare for said in plain for answer in said)
    for said in plain:
        often = Counter(answer.bare for answer in said)
        for text in [text for text, count in often.items() if count >= SHARED * len(said)]:
            found.pop(text, None)
    return sorted(found, key=lambda text: (-found[text], text))


def weighed(
    subject: Subject, prompts: Sequence[Sequence[int]], said: Replies, before: str, answers: Sequence[str]
) -> Float64[np.ndarray, "key answer"]:
    """The log-probability of each answer behind each of `prompts`, in whichever way it is said.

    `said` is what was said behind them, `before` the text of one of them. Raises `PellucidError` for an answer that no
    token begins there.
    """
    model = model_of(subject)
    room = model.n_ctx - max(map(len, prompts)) + 1
    numbered = [(number, way) for number, text in enumerate(answers) for way in ways(text, said, before, room, model)]
    numbers, rows = zip(*numbered, strict=True)
    each = log_probabilities(subject, prompts, rows)
    starts = np.searchsorted(numbers, np.arange(len(answers)))
    found: Float64[np.ndarray, "key answer"] = np.logaddexp.reduceat(each, starts, axis=1)
    return found


def ways(text: str, said: Replies, before: str, room: int, model: Model) -> list[Ids]:
    """The tokens in which an answer is said behind `before`: at once, behind what often leads to answers, and as it was
    said. What takes more than `room` tokens is left out, unless there is nothing else.

    Raises `PellucidError` for an answer that was never said and that no token begins.
    """
    found = [answer.ids for answer in said.answers if text in (answer.bare, answer.text)]
    try:
        found.append(tuple(answer_ids(text, before, _gap(said.answers, model), model)))
    except PellucidError:
        if not found:
            raise
    found += [spelled for lead in said.leads if (spelled := _behind(lead, text, before, model))]
    different = sorted(dict.fromkeys(found), key=len)
    return [way for way in different if len(way) <= room] or different[:1]


def _gap(said: Sequence[Answer], model: Model) -> str:
    """What sets answers apart: a blank, unless those that the model gives mostly begin with letters at once."""
    at_once = sum(model.tokenizer.decode(answer.ids)[:1].isalnum() for answer in said)
    return "" if model.tokenizer.kind == "bpe" and 2 * at_once > len(said) else " "


def _behind(lead: Ids, text: str, before: str, model: Model) -> Ids | None:
    """The tokens of `lead` and an answer behind it; None where they are others when written together."""
    tokenizer = model.tokenizer
    begun, words = tokenizer.decode(lead), tokenizer.kind == "words"
    gap = " " if words or begun[-1:].isalnum() else ""
    whole = tokenizer.opened(before + " " * words + begun + gap + text)
    start: list[int] = [*model.ids(before)[0].tolist(), *lead]
    told = len(whole) > len(start) and whole[: len(start)] == start
    return tuple(whole[len(start) - len(lead) :]) if told else None
