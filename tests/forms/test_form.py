"""A form of one's own: made here, it is kept, printed, read back, counted, run and measured; no other file changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

import checkpoints
from pellucid.base.address import Address
from pellucid.base.schema import CLOSED
from pellucid.exact.model import Model
from pellucid.forms.codec import dump_forms, load_forms
from pellucid.forms.effect import compare, estimate, exact
from pellucid.forms.form import Form, FormInput, StoredForm, TokenText, Written
from pellucid.forms.forms import Fires, First, Looks, function, token_texts
from pellucid.forms.isolated import scores
from pellucid.forms.known import KINDS, register
from pellucid.forms.twin import Twin
from pellucid.forms.worst_places import worst_contexts
from pellucid.listing.count import count_program
from pellucid.listing.emit import emit
from pellucid.listing.load import load_program, load_sources
from pellucid.listing.parse import read_program
from pellucid.project.parts_file import partition, write_parts
from pellucid.stages.first.sources import FirstSources, is_weak
from pellucid.stages.lift.lifted import LiftedParts
from pellucid.stages.link.linking import allowed, units
from printed import write_statements


@dataclass(frozen=True)
class KeptEarly:
    """`Early` as it is kept."""

    __pydantic_config__ = CLOSED
    otherwise: float
    more: float
    until: int

    def form(self, address: Address, place: str) -> Early:
        """The form."""
        del place
        return Early(address, self.otherwise, self.more, self.until)


@dataclass(frozen=True)
class Early(Written):
    """A neuron that fires where a text begins: `otherwise`, plus `more` at the positions before `until`."""

    kept_as: ClassVar = KeptEarly
    address: Address
    otherwise: float
    more: float
    until: int

    def run(self, seen: FormInput) -> Float[Tensor, "batch pos"]:
        """The pre-activation, from the positions alone."""
        position = torch.arange(seen.ids.shape[1]).expand(seen.ids.shape)
        return self.otherwise + self.more * (position < self.until)

    def kept(self) -> KeptEarly:
        """Its three numbers."""
        return KeptEarly(self.otherwise, self.more, self.until)

    def numbers(self, token_text: TokenText) -> int:
        """Three."""
        del token_text
        return 3

    def name(self, token_text: TokenText) -> str:
        """A name from the rule."""
        del token_text
        return f"in_the_first_{self.until}"

    def describe(self, token_text: TokenText) -> str:
        """The rule as one plain sentence."""
        del token_text
        return f"Fires at the first {self.until} tokens ({self.more:+g}); {self.otherwise:g} otherwise."

    def statement(self, token_text: TokenText, evidence_lines: Sequence[str] = ()) -> str:
        """A function of the layer's file."""
        said = [str(self.otherwise), f"{self.more} * (here.position < {self.until})"]
        name, description = self.name(token_text), self.describe(token_text)
        return function(self.address, name, "here", description, evidence_lines, said)


NEURON = Address("IN", 0, 3)
EARLY = Early(NEURON, -0.5, 1.25, 4)
OTHERS = [Fires(Address("IN", 0, 4), 0.3), Looks(Address("QK", 1, 1), ((First(), 2.0),))]


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """While a test runs, the form is known."""
    register(Early)
    yield
    del KINDS["Early"]


@pytest.fixture(scope="module")
def subject() -> tuple[Model, Tensor]:
    """A small random model, and rows of random tokens."""
    model, _ = checkpoints.random_model(1)
    return model, torch.randint(model.n_vocab, (12, 16), generator=torch.Generator().manual_seed(0))


def test_it_is_kept_between_runs_with_the_others() -> None:
    forms: dict[Address, Written] = {form.address: form for form in (EARLY, *OTHERS)}
    assert load_forms(dump_forms(forms)) == forms


def test_it_is_printed_read_back_counted_and_run(subject: tuple[Model, Tensor], tmp_path: Path) -> None:
    model, rows = subject
    text = token_texts(model.tokenizer)
    emit(model.subject, tmp_path)
    write_statements(tmp_path, {NEURON: EARLY.statement(text, ["It costs little."])})
    listing = read_program(tmp_path)
    statement = listing[NEURON]
    assert (statement.function, statement.by_person, listing.form(NEURON)) == ("in_the_first_4", False, "source")
    assert (statement.docstring or "").startswith("Fires at the first 4 tokens (+1.25); -0.5 otherwise.")
    assert count_program(listing) == {NEURON: EARLY.numbers(text)}
    wanted = np.where(np.arange(16) < 4, 0.75, -0.5)
    said = load_sources(tmp_path, "described_00.py").source_output(str(NEURON), rows.numpy(), (12, 16))
    np.testing.assert_allclose(said, np.broadcast_to(wanted, (12, 16)))
    write_parts(tmp_path / "parts.toml", partition(listing, frozenset({NEURON})), listing.decoder)
    logits = load_program(tmp_path).logits(rows.numpy())
    np.testing.assert_allclose(logits, Twin(model, [EARLY]).logits(rows).numpy(), atol=1e-4)
    assert np.abs(logits - model.logits(rows).numpy()).max() > 1e-3


def test_it_runs_in_the_twin_beside_others_of_its_layer(subject: tuple[Model, Tensor]) -> None:
    model, rows = subject
    both = Twin(model, [EARLY, *OTHERS]).run(rows, ("L00.pre", "L01.scores"))
    pre = both["L00.pre"]
    raw = model.run(rows, ("L00.pre",))["L00.pre"]
    assert pre[:, :4, 3].eq(0.75).all()
    assert pre[:, 4:, 3].eq(-0.5).all()
    assert pre[..., 4].eq(torch.tensor(0.3)).all()
    torch.testing.assert_close(pre[..., 5:], raw[..., 5:])
    assert Twin(model, [EARLY]).without(NEURON).logits(rows).equal(model.logits(rows))


def test_it_is_measured_as_the_others_are(subject: tuple[Model, Tensor]) -> None:
    model, rows = subject
    forms = [replace(EARLY, address=Address("IN", 0, n), more=0.1 * n) for n in range(1, 30)]
    (estimates,) = estimate(model, rows, forms, draws=60)
    measured = exact(model, rows, forms)
    assert estimates.keys() == measured.keys()
    assert compare([(a, estimates[a], measured[a]) for a in measured]).pearson > 0.9
    own = model.run(rows, ("L00.pre",))["L00.pre"][..., 3].flatten()
    wanted = np.corrcoef(own.numpy(), (torch.arange(16) < 4).repeat(12).numpy())[0, 1]
    assert scores(model, {NEURON: EARLY}, rows)[NEURON] == pytest.approx(wanted, abs=1e-5)
    worst = worst_contexts(model, {NEURON: EARLY}, rows)[NEURON]
    assert worst[0]["source"] in (0.75, -0.5)
    assert abs(worst[0]["difference"]) == pytest.approx(float((own.reshape(12, 16) - _said()).abs().max()), abs=1e-3)


def _said() -> Tensor:
    return torch.where(torch.arange(16) < 4, 0.75, -0.5)


def test_stages_ask_it_what_they_ask_the_others() -> None:
    sources = FirstSources({NEURON: EARLY}, {NEURON: 1.0}, {NEURON: 0.1}, compare([]))
    assert not is_weak(sources, NEURON)
    found = units(sources, LiftedParts({}, {}, {}))
    assert found == {(NEURON,): 0.1}
    assert allowed([*found], {NEURON: EARLY}, checkpoints.random_model(1)[0].decoder) == [NEURON]
    assert (EARLY.told(), EARLY.constant, EARLY.shared, EARLY.is_tuned, EARLY.tokens) == (EARLY, None, 0, False, ())


def test_two_forms_do_not_share_a_name() -> None:
    other = type("Early", (Early,), {})
    with pytest.raises(ValueError, match="there is a form Early already"):
        register(other)
    assert KINDS["Early"] is Early


def test_what_reads_the_stream_says_how_it_runs_as_weights(subject: tuple[Model, Tensor]) -> None:
    class Reads(Early):
        reads = ("LN2",)
        in_weights = True

    model, _ = subject
    with pytest.raises(TypeError, match="Neurons cannot be run as weights"):
        Twin(model, [Reads(NEURON, 0.0, 1.0, 2)])


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_form_is_text_or_data(kind: type[Form]) -> None:
    assert issubclass(kind, Written) != issubclass(kind, StoredForm)
    assert issubclass(kind, Written) == (kind.kept_as is not None)
    assert not getattr(kind, "__abstractmethods__", None)
