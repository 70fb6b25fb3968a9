"""Forms say in torch what their statements say in the program, and hold as many numbers as the counter finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import checkpoints
from pellucid.base.address import Address
from pellucid.forms.forms import (
    AfterSame,
    Distance,
    Fires,
    FiringTables,
    First,
    Looks,
    Offset,
    SameToken,
    docstring,
    rounded,
    token_texts,
)
from pellucid.listing.count import count_program
from pellucid.listing.emit import emit
from pellucid.listing.load import load_sources
from pellucid.listing.parse import read_program
from pellucid.listing.wrap import quoted
from pellucid.subject.tokenizer import WordTokenizer
from printed import write_statements

WORDS = ["it's", 'a"b', "back\\slash", '"""', "é", "w5", "x\u202ey", "{}", "#", "neighbourhood", "\\n"]
IDS = torch.from_numpy(np.random.default_rng(0).integers(0, len(WORDS), (3, 14)))
TEXT = token_texts(WordTokenizer(WORDS, 0, "odd words"))
HEAD, NEURON = Address("QK", 0, 1), Address("IN", 0, 7)

LOOKS = [
    Looks(HEAD),
    Looks(HEAD, ((Offset(1), 6.2), (First(), 1.1))),
    Looks(HEAD, ((AfterSame(), 3.14159), (SameToken(), -2.0), (Offset(0), -0.5), (Offset(3), 1e-5))),
    Looks(HEAD, ((Distance(2), 0.5), (Distance(8), -0.1234567), (First(), -3.0))),
]
FIRES = [
    Fires(NEURON, -0.84),
    Fires(NEURON, 0.5, (("token", (1, 3, 9), 2.31), ("token", (2,), -1.7), ("previous", (0, 4, 6, 7, 8), 123.456))),
    Fires(NEURON, 0.0, (("token", tuple(range(11)), 1.0), ("previous", tuple(range(11)), -1.0))),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The all-raw program of a tiny model with odd words."""
    subject = checkpoints.in_memory(checkpoints.hugging_face())
    directory = tmp_path_factory.mktemp("forms")
    emit(replace(subject, tokenizer=WordTokenizer(WORDS, 0, "odd words")), directory)
    return directory


def printed(form: Looks | Fires, evidence: Sequence[str] = ()) -> str:
    """The statement of a form: a row, or a function under its automatic name and description."""
    return form.statement(TEXT, evidence)


@pytest.mark.parametrize("form", [*LOOKS, *FIRES], ids=lambda form: form.name(TEXT))
def test_the_twin_agrees_with_the_printed_statement(form: Looks | Fires, project: Path) -> None:
    write_statements(project, {form.address: printed(form, ['odd """ text \\', "and\nmore \x00"])})
    said = load_sources(project, "described_00.py").source_output(str(form.address), IDS.numpy(), form.twin(IDS).shape)
    np.testing.assert_allclose(form.twin(IDS), said, rtol=0, atol=1e-4)
    assert count_program(read_program(project))[form.address] == form.numbers(TEXT)


def test_the_docstring_says_what_by_what_and_where() -> None:
    text = printed(LOOKS[1], ["Removes 60 % of the loss of the mean."])
    assert "Looks at the previous token" in text
    assert "Removes 60 % of the loss of the mean." in text
    assert "L00.H01.QK\n" in text
    assert all(len(line) <= 120 for line in text.split("\n"))


TRIPLE = '"' * 3


def test_a_docstring_breaks_no_token_and_reads_back() -> None:
    sentence = " ".join(f'"a {n}, b\\n" {quoted(TRIPLE)}' for n in range(40))
    lines = docstring([[sentence]])
    assert max(map(len, lines)) <= 116
    assert all(line.count('"a ') == line.count('\\\\n"') for line in lines)
    assert eval("\n".join(lines)).split() == sentence.split()


def test_rows_are_broken_between_tokens() -> None:
    words = [f"word {n}, (" for n in range(80)]
    text = Fires(NEURON, 1.0, (("token", tuple(range(80)), 2.0),)).statement(lambda token: words[token])
    assert max(map(len, text.removesuffix("  # fmt: skip").split("\n"))) <= 116
    assert all(line.count('"') % 2 == 0 for line in text.split("\n"))
    said: list[object] = []
    exec(text, {"fires": lambda *given: said.extend(given)})
    assert said == ["L00.N0007.IN", 1.0, {2.0: tuple(words)}]


def test_what_adds_the_same_is_one_entry() -> None:
    form = Fires(NEURON, 1.0, (("token", (1,), 2.001), ("token", (3,), 2.002), ("previous", (1,), 2.0)))
    assert form.sets == (("token", (1, 3), 2.0), ("previous", (1,), 2.0))
    assert form.numbers(TEXT) == 1 + (1 + 2 + 2) + (1 + 2)  # these tokens hold two numbers each


def test_what_is_printed_is_what_is_measured() -> None:
    assert Looks(HEAD, ((First(), 1.23456),)).terms == ((First(), 1.23),)
    assert Looks(HEAD, ((First(), 0.0),)).terms == ()
    assert Fires(NEURON, -0.98765).bias == -0.988
    assert str(rounded(-0.0)) == "0.0"


@given(st.text())
def test_a_quoted_text_reads_back(text: str) -> None:
    assert eval(quoted(text)) == text
    assert quoted(text).isprintable()


def test_tokens_without_a_text_of_their_own_are_written_as_ids() -> None:
    class Broken(WordTokenizer):
        def token_bytes(self, token: int) -> bytes:
            return [b"a", b"\xff", b"a", b""][token]

    text = token_texts(Broken(["1", "2", "3", "4"], None, "broken"))
    assert [text(token) for token in range(6)] == ["a", 1, 2, 3, 4, 5]


def test_tables_evaluate_many_neurons_at_once() -> None:
    tables = FiringTables.of(FIRES, len(WORDS))
    each = torch.stack([form.twin(IDS) for form in FIRES], -1)
    torch.testing.assert_close(tables(IDS), each)
    assert tables.before[0].eq(0).all()


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (Looks(HEAD), "everywhere"),
        (Looks(HEAD, ((Offset(1), 6.2), (First(), 1.1))), "previous_token_or_first_token"),
        (Looks(HEAD, ((Offset(3), 6.2),)), "the_3_tokens_before"),
        (Looks(HEAD, ((Distance(8), -0.2), (First(), -1.0))), "nearby_tokens"),
        (Looks(HEAD, ((First(), -1.0),)), "other_tokens"),
        (Fires(NEURON, 1.0), "constant"),
        (Fires(NEURON, 1.0, (("token", (5, 9), 2.0),)), "on_w5_neighbourhood"),
        (Fires(NEURON, 1.0, (("previous", (5,), 2.0),)), "after_w5"),
        (Fires(NEURON, 1.0, (("token", (3,), 2.0),)), "on_some_tokens"),
        (Fires(NEURON, 1.0, (("token", (5,), -2.0),)), "quiet_on_w5"),
    ],
)
def test_names_follow_from_the_rule(form: Looks | Fires, name: str) -> None:
    assert form.name(TEXT) == name
    assert name.isidentifier()


def test_descriptions_are_one_sentence() -> None:
    wanted = "Looks at the previous token (weight 6.2) and a little at the first token (weight 1.1)."
    assert LOOKS[1].describe() == wanted
    assert Looks(HEAD, ((Distance(2), 0.5), (Distance(8), -0.1))).curve() == [(2, 0.8), (8, pytest.approx(0.2))]
