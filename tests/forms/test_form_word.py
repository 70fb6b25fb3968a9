"""A form that brings a word of its own: read, checked, counted, told of, printed and run; no other file changes."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from test_form import Early, KeptEarly
from torch import Tensor

import checkpoints
from pellucid.base.address import Address
from pellucid.base.errors import SourceError
from pellucid.exact.model import Model
from pellucid.forms.codec import dump_forms, load_forms
from pellucid.forms.form import TokenText
from pellucid.forms.known import KINDS, forget, register
from pellucid.forms.twin import Twin
from pellucid.forms.words import make_known
from pellucid.listing.content import number
from pellucid.listing.count import count_program
from pellucid.listing.emit import emit
from pellucid.listing.load import load_program
from pellucid.listing.parse import read_program
from pellucid.listing.statement import Statement
from pellucid.listing.word import StatementWord
from pellucid.project.parts_file import partition, write_parts
from printed import write_statements

RUNS = '''"""Neurons that fire where a text begins."""

from __future__ import annotations

from .prelude import Floats, Place, Statement, _caller, _register


def opens(address: str, otherwise: float, more: float, until: int) -> None:
    """A neuron whose pre-activation is `otherwise`, plus `more` at the positions before `until`."""

    def fires_early(here: Place) -> Floats:
        return otherwise + more * (here.position < until)

    _register(Statement(address, "source", *_caller(), fires_early))
'''


class Opens(StatementWord):
    """`opens("L00.N0003.IN", -0.5, 1.25, 4)`."""

    module, text = "opening", RUNS

    def read(self, call: ast.Call, file: str) -> Statement:
        """A neuron and three numbers."""
        match call:
            case ast.Call(args=[ast.Constant(value=str(key)), *rest], keywords=[]) if key.endswith(".IN"):
                numbers = [number(node) for node in rest]
                if len(numbers) == 3 and None not in numbers:
                    return Statement(
                        key, self.form, said=dict(zip(("otherwise", "more", "until"), numbers, strict=True))
                    )
        raise SourceError(f'{file}:{call.lineno}: expected opens("L00.N0003.IN", -0.5, 1.25, 4)')

    def numbers(self, statement: Statement) -> int:
        """Three."""
        return len(statement.said)

    def says(self, statement: Statement) -> str:
        """The rule as one plain sentence."""
        return "Fires at the first {until:g} tokens ({more:+g}); {otherwise:g} otherwise.".format(**statement.said)


@dataclass(frozen=True)
class KeptBegins(KeptEarly):
    """`Begins` as it is kept."""

    def form(self, address: Address, place: str) -> Begins:
        """The form."""
        del place
        return Begins(address, self.otherwise, self.more, self.until)


@dataclass(frozen=True)
class Begins(Early):
    """The same as `Early`, but that its statement is in a word of its own."""

    kept_as: ClassVar = KeptBegins
    word: ClassVar = Opens("opens")

    def kept(self) -> KeptBegins:
        """Its three numbers."""
        return KeptBegins(self.otherwise, self.more, self.until)

    def statement(self, token_text: TokenText, evidence_lines: Sequence[str] = ()) -> str:
        """A row."""
        del token_text, evidence_lines
        return f'opens("{self.address}", {self.otherwise}, {self.more}, {self.until})'


NEURON = Address("IN", 0, 3)
BEGINS = Begins(NEURON, -0.5, 1.25, 4)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """While a test runs, the form and its word are known."""
    register(Begins)
    yield
    forget(Begins)


@pytest.fixture(scope="module")
def subject() -> tuple[Model, Tensor]:
    """A small random model, and rows of random tokens."""
    model, _ = checkpoints.random_model(1)
    return model, torch.randint(model.n_vocab, (12, 16), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def written(subject: tuple[Model, Tensor], tmp_path: Path) -> Path:
    """A program whose neuron says what the form says."""
    emit(subject[0].subject, tmp_path)
    write_statements(tmp_path, {NEURON: BEGINS.statement(str)})
    return tmp_path


def test_it_is_kept_between_runs() -> None:
    assert load_forms(dump_forms({NEURON: BEGINS})) == {NEURON: BEGINS}


def test_it_is_printed_read_back_counted_and_told_of(written: Path) -> None:
    page = (written / "program/described_00.py").read_text(encoding="utf-8")
    assert "from .opening import opens\n" in page
    assert 'opens("L00.N0003.IN", -0.5, 1.25, 4)\n' in page
    assert (written / "program/opening.py").read_text(encoding="utf-8") == RUNS
    listing = read_program(written)
    statement = listing[NEURON]
    assert (statement.form, statement.by_person, listing.form(NEURON)) == ("opens", False, "source")
    assert count_program(listing) == {NEURON: BEGINS.numbers(str)}
    assert BEGINS.word.says(statement) == BEGINS.describe(str)


def test_it_runs_in_a_program_as_in_the_twin(subject: tuple[Model, Tensor], written: Path) -> None:
    model, rows = subject
    listing = read_program(written)
    raw = load_program(written).logits(rows.numpy())
    np.testing.assert_allclose(raw, model.logits(rows).numpy(), atol=1e-4)
    write_parts(written / "parts.toml", partition(listing, frozenset({NEURON})), listing.decoder)
    logits = load_program(written).logits(rows.numpy())
    np.testing.assert_allclose(logits, Twin(model, [BEGINS]).logits(rows).numpy(), atol=1e-4)
    assert np.abs(logits - raw).max() > 1e-3


def test_what_it_cannot_say_is_refused_where_it_stands(written: Path) -> None:
    page = written / "program/described_00.py"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("1.25, 4)", "1.25)"), encoding="utf-8")
    with pytest.raises(SourceError, match=r"described_00.py:\d+: expected opens\("):
        read_program(written)
    page.write_text(text.replace("import opens", "import opens, closes"), encoding="utf-8")
    with pytest.raises(SourceError, match=r"opening.py has no closes to import"):
        read_program(written)
    page.write_text(f"{text}\nopens = 1\n", encoding="utf-8")
    with pytest.raises(SourceError, match="opens is a word of the language"):
        read_program(written)


def test_a_program_in_an_unknown_word_is_refused(written: Path) -> None:
    forget(Begins)
    with pytest.raises(SourceError, match="only the prelude may be imported"):
        read_program(written)


def test_whoever_reads_programs_knows_words_without_their_forms(written: Path) -> None:
    forget(Begins)
    make_known([BEGINS.word])
    make_known([BEGINS.word])  # it may be known already
    assert read_program(written)[NEURON].form == "opens"


def test_two_words_share_neither_name_nor_file() -> None:
    class Others(Begins):
        word = Opens("opens")

    with pytest.raises(ValueError, match="there is a word opens already"):
        register(Others)

    class Closes(Opens):
        text = "another"

    class More(Begins):
        word = Closes("closes")

    with pytest.raises(ValueError, match=r"there is a file opening.py already"):
        register(More)
    assert not {"Others", "More"} & KINDS.keys()
