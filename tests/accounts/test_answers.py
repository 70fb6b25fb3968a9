"""Whole answers: where they end, and that they are the model's."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

import checkpoints
from pellucid.accounts import answers
from pellucid.accounts.answers import WordTokens, after_lead, ends, leads, replies, whole_answers
from pellucid.base.errors import PellucidError
from pellucid.exact.model import Model
from pellucid.subject.load import load_subject
from pellucid.subject.tokenizer import Pieces, Tokenizer
from pellucid.zoo.village import Village


class Cut(Tokenizer):
    """A tokenizer whose texts are written with "|" between tokens; "#" ends a text."""

    kind = "bpe"
    eos_id = 0

    def __init__(self) -> None:
        self.table = ["#"]

    @property
    def n_tokens(self) -> int:
        return len(self.table)

    def encode(self, text: str) -> list[int]:
        self.table += [piece for piece in dict.fromkeys(text.split("|")) if piece not in self.table]
        return [self.table.index(piece) for piece in text.split("|")]

    def token_bytes(self, token: int) -> bytes:
        return self.table[token].encode("latin-1")

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def pieces(self) -> Pieces:
        raise NotImplementedError


def cut(*rows: str) -> list[str]:
    """The answers that rows of tokens begin with."""
    tokenizer = Cut()
    said = [tokenizer.encode(row) for row in rows]
    words = WordTokens(tokenizer)
    found = ends(said, after_lead(said, leads(said, words)), words)
    return ["".join(row.split("|")[:end]) for row, end in zip(rows, found, strict=True)]


def test_an_answer_ends_where_the_same_goes_on_behind_nearly_all() -> None:
    assert cut(" Ro|me| and| so", " Paris| and| on", " New| York| and| it") == [" Rome", " Paris", " New York"]


def test_any_mark_ends_an_answer_where_marks_stand_behind_nearly_all() -> None:
    assert cut(" New| York|.| A", " Rome|,| and", " Oslo|#") == [" New York", " Rome", " Oslo"]


def test_where_nothing_is_shared_an_answer_is_a_word() -> None:
    assert cut(" New| York| is", " Ro|me| has", " Par|is|,| a") == [" New", " Rome", " Paris"]


def test_a_mark_within_a_word_is_a_part_of_it() -> None:
    assert cut(" 3|.|14|.| A", " U|.|S|.| B", " 2|.| C") == [" 3.14", " U.S", " 2"]


def test_a_blank_of_its_own_begins_a_word() -> None:
    assert cut(" the| |Al|ps|.", " old| |York| is", " New| |Jersey| has") == [" the", " old", " New"]
    assert cut(*[f" a| |{name}|.| B" for name in ("owl", "elk", "gnu")]) == [" a owl", " a elk", " a gnu"]


def test_the_end_of_a_word_is_no_end_though_all_share_it() -> None:
    assert cut(" dog|s|.| A", " cat|s|.| B", " bird|s|.| C") == [" dogs", " cats", " birds"]


def test_bytes_of_a_character_are_within_a_word() -> None:
    assert cut(" Bog\xc3|\xb3|.", " Rome|.") == [" Bog\xc3\xb3", " Rome"]


def test_an_article_that_all_begin_with_ends_nothing() -> None:
    rows = [f" the| {name}|.| the| rest" for name in ("Rome", "Oslo", "Bern", "Riga")]
    assert cut(*rows) == [" the Rome", " the Oslo", " the Bern", " the Riga"]


def test_leads_are_what_is_often_said_before_rows_differ() -> None:
    tokenizer = Cut()
    names = ("Rome", "Oslo", "Bern", "Riga", "Kyiv", "Bonn", "Lima", "Cork")
    said = [tokenizer.encode(f" the| {name}|.") for name in names] + [
        tokenizer.encode(f" in| old| {name}|.") for name in names[:2]
    ]
    found = [
        ("".join(tokenizer.table[token] for token in lead), share)
        for lead, share in leads(said, WordTokens(tokenizer)).items()
    ]
    assert found == [(" the", 0.8), (" in old", 0.2)]
    assert after_lead(said, leads(said, WordTokens(tokenizer))) == [0] * 10
    assert after_lead(said[:8], leads(said[:8], WordTokens(tokenizer))) == [1] * 8
    halves = [tokenizer.encode(f" Ber|{rest}|.") for rest in ("lin", "n", "gen", "gamo")]
    assert leads(halves, WordTokens(tokenizer)) == {}
    marked = [tokenizer.encode(f" Bern|{mark}| so") for mark in (".", ",", ";", "!")]
    assert leads(marked, WordTokens(tokenizer)) == {}


def test_a_mark_that_opens_is_a_lead() -> None:
    tokenizer = Cut()
    words = WordTokens(tokenizer)
    said = [tokenizer.encode(f' "|{name}|".| A') for name in ("Rome", "Oslo", "Bern", "Riga")]
    assert after_lead(said, leads(said, words)) == [1] * 4
    assert ends(said, [1] * 4, words) == [2] * 4
    lines = [tokenizer.encode(f"\n|{name}|\n|A") for name in ("Rome", "Oslo", "Bern", "Riga")]
    assert after_lead(lines, leads(lines, words)) == [1] * 4
    assert ends(lines, [1] * 4, words) == [2] * 4


def test_an_answer_that_nearly_all_have_is_an_answer() -> None:
    rows = [" he| was| here|.", " he| was| gone|."] * 10 + [" he| is|."] * 5 + [" she| was|."]
    assert set(cut(*rows)) == {" he was here", " he was gone", " he is", " she was"}
    assert cut(*[f" Elm| Lane|.| {name}" for name in "ABCD"]) == [" Elm Lane"] * 4
    assert cut(*[" Elm| Lane|.| A"] * 20, " Ash| Road|.| B") == [" Elm Lane"] * 20 + [" Ash Road"]


def test_one_row_alone_ends_at_a_mark_or_is_a_word() -> None:
    assert cut(" Elm| Lane|.| A") == [" Elm Lane"]
    assert cut(" Elm| Lane| and| so") == [" Elm"]
    assert cut("#") == ["#"]


def test_words_of_a_vocabulary_of_words_are_answers() -> None:
    model = Model(checkpoints.in_memory(checkpoints.hugging_face()))
    prompts = [[1, 2], [3, 4, 5], [6]]
    for prompt, answer in zip(prompts, whole_answers(model, prompts), strict=True):
        logits = model.logits(torch.tensor([prompt]))[0, -1]
        best = logits.topk(2).values
        assert answer.ids[0] == int(logits.argmax())
        assert answer.margin == pytest.approx(float(best[0] - best[1]), rel=1e-5)
        assert answer.text == model.tokenizer.decode(answer.ids)


def test_answers_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(checkpoints.in_memory(checkpoints.hugging_face()))
    prompts = [[1, 2], [3, 4], [5, 6], [7, 8, 9]]
    whole = whole_answers(model, prompts)
    monkeypatch.setattr(answers, "BATCH", 1)
    for one, other in zip(whole, whole_answers(model, prompts), strict=True):
        assert (one.ids, one.text) == (other.ids, other.text)
        assert one.margin == pytest.approx(other.margin, rel=1e-4)


def test_what_fills_the_context_has_an_answer_and_what_is_longer_is_refused() -> None:
    model = Model(checkpoints.in_memory(checkpoints.hugging_face()))
    (answer,) = whole_answers(model, [[1] * 16])
    assert len(answer.ids) == 1
    with pytest.raises(PellucidError, match=r"'w1 w1 .*' has 17 tokens, but random reads 16; ask in fewer words"):
        whole_answers(model, [[1] * 17])
    with pytest.raises(PellucidError, match="without tokens"):
        whole_answers(model, [[]])


def test_what_all_answers_begin_with_is_no_part_of_the_bare_ones() -> None:
    model = Model(load_subject("zoo:village"))
    facts = [fact for fact in Village().facts if fact.relation.name == "instrument"]
    prompts = [model.tokenizer.opened(f"{fact.person.name} plays") for fact in facts]
    found = replies(model, prompts)
    assert [answer.bare for answer in found.answers] == [fact.answer for fact in facts]
    assert [answer.text for answer in found.answers] == [f"the {fact.answer}" for fact in facts]
    assert [model.tokenizer.decode(lead) for lead in found.leads] == [" the"]


@pytest.mark.parametrize("relation", ["home", "work", "daughter"])
def test_answers_of_the_village_are_its_facts(relation: str) -> None:
    model = Model(load_subject("zoo:village"))
    facts = [fact for fact in Village().facts if fact.relation.name == relation]
    prompts = [model.tokenizer.opened(f"{fact.person.name} {fact.relation.clause}") for fact in facts]
    assert [answer.text for answer in whole_answers(model, prompts)] == [fact.answer for fact in facts]
