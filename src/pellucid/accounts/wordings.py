"""What is asked of a model: wordings with a place for the subject, subjects and answers, as lists or files of lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pellucid.base.errors import PellucidError
from pellucid.base.files import read_text
from pellucid.exact.model import Model

HOLE = "{}"
"""Where the subject stands in a wording."""
Lines = Sequence[str] | Path
"""Texts, or a file with one a line."""
_SHOWN = 80


def shown(text: str) -> str:
    """`text` as it is quoted in a message."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def read_lines(lines: Lines, what: str, least: int = 2) -> list[str]:
    """The texts in `lines`; `what` says of what kind they are: "subject".

    Raises `PellucidError` naming the line that is blank, has blanks around it or stands there twice, and for fewer than
    `least`; `FileNotFoundError` for a file that is not there.
    """
    if isinstance(lines, str | Path):
        path = Path(lines)
        texts = read_text(path).removeprefix("\ufeff").rstrip("\n").split("\n")
        place, texts = f"{path}:", [] if texts == [""] else texts
    else:
        place, texts = f"{what} ", list(lines)
    seen: dict[str, int] = {}
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise PellucidError(f"{place}{number}: {text!r} is blank; expected one {what} a line; leave this one out")
        if text != text.strip():
            raise PellucidError(f"{place}{number}: {shown(text)} has blanks around it; write {shown(text.strip())}")
        if text in seen:
            raise PellucidError(f"{place}{number}: {shown(text)} stands in {place}{seen[text]} already; leave one")
        seen[text] = number
    if len(texts) < least:
        source = str(lines) if isinstance(lines, str | Path) else f"the list of {what}s"
        raise PellucidError(
            f"{source} has {len(texts)} {what}{'s' * (len(texts) != 1)}; expected {least} or more, one a line, since "
            f"answers are told apart by what is said of other subjects"
        )
    return texts


def read_wordings(asks: str | Sequence[str], model: Model) -> list[str]:
    """The wordings that are asked.

    Raises `PellucidError` quoting one that has no place for the subject, that ends in a blank, or that is asked twice.
    """
    wordings = [asks] if isinstance(asks, str) else list(asks)
    if not wordings:
        raise PellucidError(f'nothing is asked; give a wording with {HOLE} for the subject, such as "{HOLE} is"')
    for wording in wordings:
        if HOLE not in wording:
            raise PellucidError(
                f'{shown(wording)} has no {HOLE}, where each subject is to stand; write it as in "{HOLE} is"'
            )
        if wordings.count(wording) > 1:
            raise PellucidError(f"{shown(wording)} is asked twice; ask it once, or in other words")
        if wording[-1:] == " " and model.tokenizer.kind == "bpe":
            raise PellucidError(
                f"{shown(wording)} ends in a blank, which the model says with its answer; leave it out at the end"
            )
    return wordings


def as_conversation(wording: str, model: Model) -> str:
    """What the model reads, to the point where it is to speak, when a user says `wording`; without what opens a text.

    Raises `PellucidError` where it has no chat template, or one that fails, changes the place of the subject, or does
    not open the text as the model's texts are opened.
    """
    tokenizer = model.tokenizer
    if tokenizer.chat is None:
        raise PellucidError(f"{model.subject.name} has no chat template; ask without --chat")
    text = tokenizer.chat.text(wording)
    if text.count(HOLE) != wording.count(HOLE):
        raise PellucidError(
            f"the chat template of {model.subject.name} makes {shown(text)} of {shown(wording)}, with {HOLE} in other "
            "places; ask without --chat"
        )
    whole = tokenizer.encode(text)
    read = text.removeprefix(tokenizer.decode(list(tokenizer.opening))) if tokenizer.opening else text
    if tokenizer.opened(read) != whole:
        raise PellucidError(
            f"the chat template of {model.subject.name} does not open a text as its tokenizer does; ask without --chat"
        )
    return read


def prompts_of(wording: str, subjects: Sequence[str], model: Model) -> list[list[int]]:
    """The tokens of `wording` about each of `subjects`.

    Raises `PellucidError` quoting a subject that the tokenizer cannot write, and two that are the same tokens.
    """
    rows: list[list[int]] = []
    first: dict[tuple[int, ...], str] = {}
    for subject in subjects:
        try:
            ids: list[int] = model.ids(wording.replace(HOLE, subject))[0].tolist()
        except PellucidError as error:
            raise PellucidError(f"{shown(subject)} cannot be asked about in {shown(wording)}: {error}") from None
        if (other := first.setdefault(tuple(ids), subject)) != subject:
            raise PellucidError(
                f"{shown(other)} and {shown(subject)} are the same tokens to {model.subject.name} in {shown(wording)}; "
                "leave one of them out"
            )
        rows.append(ids)
    return rows


def answer_ids(answer: str, before: str, between: str, model: Model) -> list[int]:
    """The tokens of `answer` behind the prompt `before`, with `between` set before it.

    Raises `PellucidError` for an answer that no token begins there.
    """
    tokenizer = model.tokenizer
    try:
        ids, whole = tokenizer.encode(between + answer), tokenizer.opened(before + between + answer)
    except PellucidError as error:
        raise PellucidError(f"{shown(answer)} is no answer that {model.subject.name} can give: {error}") from None
    if not ids or whole != [*model.ids(before)[0].tolist(), *ids]:
        raise PellucidError(
            f"no token begins the answer {shown(answer)} behind {shown(before)}: its letters flow into those before "
            "them; end the wording with a whole word, without a blank"
        )
    return ids
