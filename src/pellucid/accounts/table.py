"""A table for a relation that somebody has in mind: one line a subject, filled by asking the model in several wordings.

What the model says at once is one reading. The other is among answers: each of the answers that there are is weighed by
its log-probability behind the prompt, less `COMMON` times the logarithm of its mean probability over all subjects, so
that one which is likely of everybody wins nowhere by that. What the model often says before it answers, such as an
article, is allowed for: the probabilities of an answer behind it and of one at once are added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from pellucid.accounts.answers import Answer, replies
from pellucid.accounts.choices import own_answers, weighed
from pellucid.accounts.wordings import HOLE, Lines, as_conversation, prompts_of, read_lines, read_wordings
from pellucid.engine.subjects import Subject, model_of
from pellucid.verify.running import open_subject

Scores = Float64[np.ndarray, "wording key answer"]
COMMON = 0.75
"""How much of what an answer has of everybody is taken off: with all of it rare answers would win by being rare.

The exponent of smoothed pointwise mutual information, as in Levy, Goldberg and Dagan (2015).
"""


@dataclass(frozen=True)
class WordingReading:
    """What one wording gives of a key: its answer among all, None where there are none to choose among; and plainly.

    `bare` is what is said plainly without what is said before nearly all answers, such as an article. `sure` is by how
    much the first token of it all is ahead of the runner-up, in nats.
    """

    answer: str | None
    plain: str
    bare: str
    sure: float

    def says(self, answer: str | None) -> bool:
        """Whether it says `answer` plainly."""
        return answer in (self.plain, self.bare)


@dataclass(frozen=True)
class TableLine:
    """A key with its answer.

    `agreement` is the share of wordings that give this answer, `margin` what it is ahead of the runner-up in nats, in
    the mean over wordings: below 0 where most wordings give it, but others are surer of another one. `likeliest` is the
    answer with the highest log-probability, with nothing taken off, `plain` what most wordings say at once, and `same`
    whether that is the answer. Without answers to choose among `answer` is `plain`, and `margin` and `likeliest` are
    None. `tie` is not measured here.
    """

    key: str
    """What it was asked of."""
    answer: str
    agreement: float
    margin: float | None
    likeliest: str | None
    plain: str
    same: bool
    tie: str | None
    readings: tuple[WordingReading, ...] = field(repr=False)
    """What each wording says."""


@dataclass(frozen=True)
class AskedTable:
    """The answers of a model to wordings about subjects; `answers` are those that were chosen among, none below two."""

    subject: str
    """What was asked."""
    wordings: tuple[str, ...]
    """The wordings that it was asked in."""
    answers: tuple[str, ...] = field(repr=False)
    lines: tuple[TableLine, ...] = field(repr=False)
    """One a key: `key`, `answer`, `agreement`, `margin`, `likeliest`, `plain`, `same`, `tie` and `readings`."""

    @property
    def chance(self) -> float | None:
        """The share of lines that guessing among the answers gets right."""
        return 1 / len(self.answers) if self.answers else None

    def __getitem__(self, key: str) -> str:
        """The answer of `key`."""
        return next(line.answer for line in self.lines if line.key == key)

    def agreeing(self, wording: int) -> tuple[int | None, int]:
        """How many lines have the answer that a wording gives among all, and how many the one that it says plainly."""
        read = [(line.answer, line.readings[wording]) for line in self.lines]
        chosen = sum(answer == reading.answer for answer, reading in read) if self.answers else None
        return chosen, sum(reading.says(answer) for answer, reading in read)

    def to_dict(self) -> dict[str, Any]:
        """The table for JSON."""
        both = [self.agreeing(number) for number in range(len(self.wordings))]
        return {
            "subject": self.subject,
            "wordings": [
                {"ask": wording, "agreeing": chosen, "plain": plain}
                for wording, (chosen, plain) in zip(self.wordings, both, strict=True)
            ],
            "answers": list(self.answers),
            "chance": self.chance,
            "lines": [asdict(line) for line in self.lines],
        }


def table(
    subject: Subject | str | Path,
    asks: str | Sequence[str],
    of: Lines,
    answers: Lines | None = None,
    *,
    chat: bool = False,
) -> AskedTable:
    """What `subject` answers to the wordings `asks`, in which `{}` is one of the subjects `of`.

    `subject` is a model, a program, what `pellucid.load` takes, or a directory that `decompile` wrote; `of` and
    `answers` are lists, or files with one a line. Without `answers` those that the model gives are chosen among, but
    for what it gives to nearly all.

    Args:
        subject: A model, a program, what `load` takes, or a directory that `decompile` wrote.
        asks: Wordings, in which `{}` is one of the subjects.
        of: Those subjects: a list, or a file with one a line.
        answers: What is chosen among: a list or a file; without it the answers that the model gives, but for what it
            gives to nearly all.
        chat: Whether wordings are what a user says: the chat template of the subject makes conversations of them.

    Returns:
        A line for each subject: answer, agreement of wordings from 0 to 1, margin in nats, and what is said plainly.

    Raises:
        PellucidError: What cannot be asked, and why: a wording without `{}`, an empty list, a text that is too long.
    """
    opened = open_subject(str(subject)) if isinstance(subject, str | Path) else subject
    model = model_of(opened)
    wordings, keys = read_wordings(asks, model), read_lines(of, "subject")
    given = None if answers is None else read_lines(answers, "answer")
    spoken = [as_conversation(wording, model) for wording in wordings] if chat else wordings
    prompts = [prompts_of(wording, keys, model) for wording in spoken]
    said = [replies(opened, rows) for rows in prompts]
    plain = [one.answers for one in said]
    chosen = own_answers(plain) if given is None else given
    if len(chosen) < 2:
        return AskedTable(model.subject.name, tuple(wordings), (), tuple(_plain_lines(keys, plain)))
    first = [wording.replace(HOLE, keys[0]) for wording in spoken]
    scores = np.stack(
        [weighed(opened, rows, one, text, chosen) for rows, one, text in zip(prompts, said, first, strict=True)]
    )
    lines = _lines(keys, plain, chosen, scores)
    return AskedTable(model.subject.name, tuple(wordings), tuple(chosen), tuple(lines))


# --- lines ------------------------------------------------------------------------------------------------------------


def _plain_lines(keys: Sequence[str], plain: Sequence[Sequence[Answer]]) -> list[TableLine]:
    """The lines of a table for which there is nothing to choose among."""
    lines = []
    for key, own in zip(keys, zip(*plain, strict=True), strict=True):
        (bare, count), *_ = Counter(said.bare for said in own).most_common()
        whole = next(said.text for said in own if said.bare == bare)
        readings = tuple(WordingReading(None, said.text, said.bare, said.margin) for said in own)
        lines.append(TableLine(key, bare, count / len(own), None, None, whole, True, None, readings))
    return lines


def _lines(
    keys: Sequence[str], plain: Sequence[Sequence[Answer]], answers: Sequence[str], scores: Scores
) -> list[TableLine]:
    """The lines of a table by the log-probabilities of all answers."""
    above = scores - COMMON * (np.logaddexp.reduce(scores, axis=1, keepdims=True) - np.log(len(keys)))
    best, mean, likeliest = above.argmax(2), above.mean(0), scores.mean(0).argmax(1)
    lines = []
    for at, said in enumerate(_plain_lines(keys, plain)):
        votes = np.bincount(best[:, at], minlength=len(answers))
        number = int(np.lexsort((mean[at], votes))[-1])
        answer = answers[number]
        chosen = zip(best[:, at], said.readings, strict=True)
        line = replace(
            said,
            answer=answer,
            agreement=float(votes[number]) / len(scores),
            margin=float(mean[at, number] - np.delete(mean[at], number).max()),
            likeliest=answers[likeliest[at]],
            same=answer in (said.plain, said.answer),
            readings=tuple(replace(reading, answer=answers[best]) for best, reading in chosen),
        )
        lines.append(line)
    return lines
