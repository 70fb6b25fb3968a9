"""Both programs are asked in the wordings of all tables: lines that they surely answer differently are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from corpora_support import END, NAMES, Language
from pellucid.accounts.asked import TableWordings
from pellucid.accounts.compare.lines import lines_moved, questions
from pellucid.accounts.compare.readings import SURE, read_both
from pellucid.accounts.language import Table
from pellucid.subject.tokenizer import Tokenizer

LANGUAGE = Language()
SPELLING = LANGUAGE.spelling
ASKS = ("{} lives in", "Bo met {}. {} lives in")


class Letters(Tokenizer):
    """The tokenizer of the language."""

    kind, eos_id = "bpe", 0

    @property
    def n_tokens(self) -> int:
        return len(SPELLING.pieces)

    def encode(self, text: str) -> list[int]:
        return SPELLING.encode(text)

    def pieces(self, text: str) -> list[str]:
        return [SPELLING.pieces[one] for one in self.encode(text)]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(SPELLING.pieces[one] for one in ids)

    def token_bytes(self, token: int) -> bytes:
        return SPELLING.pieces[token].encode()


@dataclass
class Says:
    """A program that says what `home` has behind a name that lives somewhere, and "." otherwise, so surely."""

    home: Mapping[str, str]
    sure: float = 9.0
    n_ctx: int = 64
    n_vocab: int = len(SPELLING.pieces)

    def extend(self, ids: np.ndarray, cache: Any = None, last_only: bool = False) -> tuple[np.ndarray, Any]:
        whole = ids if cache is None else np.concatenate([cache, ids], 1)
        logits = np.zeros((*whole.shape, self.n_vocab), np.float32)
        for row, own in enumerate(whole):
            for at in range(len(own)):
                logits[row, at, self._next("".join(SPELLING.pieces[one] for one in own[: at + 1]))] = self.sure
        kept = logits[:, whole.shape[1] - ids.shape[1] :]
        return (kept[:, -1:] if last_only else kept), whole

    def _next(self, text: str) -> int:
        before, _, begun = text.removeprefix(END).rpartition(" lives in")
        answer = " " + self.home.get(before.split(" ")[-1], "Rome")
        if before and answer.startswith(begun) and answer != begun:
            return SPELLING.encode(answer)[len(SPELLING.encode(begun))]
        return SPELLING.encode(".")[0]


def table(name: str, told: Callable[[str], str] = lambda _: "yes", **answers: str) -> tuple[Table, TableWordings]:
    lines = {key: (key, answer, told(key)) for key, answer in answers.items()}
    return Table(name, lines, ("key", "answer", "told")), TableWordings(ASKS, answers)


HOME = {name: LANGUAGE.home[name] for name in NAMES}
MOVED = HOME | {"Ada": next(town for town in ("Rome", "Cork") if town != HOME["Ada"])}


def test_a_line_that_moved_is_told_with_both_answers() -> None:
    asked = questions(
        {"was.tsv": table("was.tsv", **HOME)}, {"home.tsv": table("home.tsv", **MOVED)}, {"was.tsv": "home.tsv"}
    )
    assert [(one.name, len(one.asks), len(one.keys)) for one in asked] == [("home.tsv", 2, len(NAMES))]
    (line,) = lines_moved((Says(HOME), Says(MOVED)), asked, Letters())
    assert (line.table, line.number, line.key) == ("home.tsv", 2, "Ada")
    assert (line.before, line.after) == (HOME["Ada"], MOVED["Ada"])
    assert (line.wordings, line.asked, line.told) == (2, 2, True)
    first = [SPELLING.encode(f" {town}")[0] for town in (HOME["Ada"], MOVED["Ada"])]
    assert line.tokens == {tuple(first)}


def test_a_table_of_one_side_alone_is_asked_of_both() -> None:
    asked = questions({"was.tsv": table("was.tsv", lambda _: "no", **HOME)}, {}, {})
    (line,) = lines_moved((Says(HOME), Says(MOVED)), asked, Letters())
    assert (line.table, line.key, line.told) == ("was.tsv", "Ada", False)


def test_what_is_unsure_or_the_same_is_no_line() -> None:
    asked = questions({}, {"home.tsv": table("home.tsv", **HOME)}, {})
    assert list(lines_moved((Says(HOME), Says(HOME)), asked, Letters())) == []
    assert list(lines_moved((Says(HOME), Says(MOVED, sure=1.0)), asked, Letters())) == []


def test_a_prompt_that_has_no_room_is_not_asked() -> None:
    asked = questions({}, {"home.tsv": table("home.tsv", **HOME)}, {})
    assert list(lines_moved((Says(HOME, n_ctx=6), Says(MOVED)), asked, Letters())) == []


@pytest.mark.parametrize("sure", [9.0, 0.1])
def test_places_differ_surely_where_both_programs_prefer_their_own_token(sure: float) -> None:
    text = [SPELLING.encode(f"{END}Ada lives in {HOME['Ada']}."), SPELLING.encode(f"{END}Bo lives in {HOME['Bo']}.")]
    length = min(map(len, text))
    ids = np.array([own[:length] for own in text])
    found = read_both((Says(HOME), Says(MOVED, sure)), ids)
    rows, places = np.nonzero(found.sure >= SURE)
    if sure < 1:
        assert not len(rows)
        assert {*np.nonzero(found.before != found.after)[0].tolist()} == {0}
        return
    assert set(rows.tolist()) == {0}
    at = SPELLING.encode(f"{END}Ada lives in")
    assert places[0] == len(at) - 1
    assert SPELLING.pieces[found.after[0, places[0]]] == SPELLING.pieces[SPELLING.encode(f" {MOVED['Ada']}")[0]]
