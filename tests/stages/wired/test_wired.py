"""Wired programs: a model with few weights as text that is the model exactly, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import checkpoints
from pellucid.base.address import Address
from pellucid.base.errors import SourceError
from pellucid.exact.model import Model
from pellucid.family.canonical import stored
from pellucid.forms.forms import token_texts
from pellucid.listing.count import count_program, count_stream
from pellucid.listing.emit import emit
from pellucid.listing.load import Program, load_program
from pellucid.listing.parse import read_program
from pellucid.listing.wiring import Wires
from pellucid.program.wires import Wave
from pellucid.project.parts_file import partition, write_parts
from pellucid.stages.wired.read import find_waves, plain_norms, shortest, weights_left
from pellucid.stages.wired.write import describe, share, shown, write_up
from pellucid.subject.load import Subject
from printed import write_content

Made = Callable[..., tuple[Path, Subject]]


@pytest.fixture
def wired(tmp_path: Path) -> Made:
    """The wired program of a random model with few weights, all residuals dropped."""

    def made(**switches: object) -> tuple[Path, Subject]:
        subject = checkpoints.in_memory(checkpoints.hugging_face(1, **switches))
        checkpoints.thin(subject.weights, 0.3)
        directory = tmp_path / "project"
        emit(subject, directory)
        model = Model(subject)
        text = write_up(model.decoder, stored(model.decoder, model.weights), token_texts(model.tokenizer))
        assert text is not None
        write_content(directory, words=text.words, stream=text.stream, statements=dict(text.statements))
        listing = read_program(directory)
        every = frozenset(listing.decoder.addresses.addresses())
        write_parts(directory / "parts.toml", partition(listing, every), listing.decoder)
        return directory, subject

    return made


def same(program: Program, subject: Subject) -> None:
    """The program gives the logits of its subject."""
    ids = np.random.default_rng(0).integers(0, program.n_vocab, (3, 9))
    logits = Model(subject).logits(torch.from_numpy(ids)).numpy()
    np.testing.assert_allclose(program.logits(ids), logits, rtol=0, atol=2e-5 * np.abs(logits).max())


@pytest.mark.parametrize("tied", [True, False])
def test_a_wired_program_is_its_subject_without_any_weights(wired: Made, tied: bool) -> None:
    directory, subject = wired(tie_word_embeddings=tied)
    (directory / "weights.safetensors").unlink()
    for source_only in (None, "code", "all"):
        same(load_program(directory, source_only), subject)  # type: ignore[arg-type]


def test_its_weights_are_the_subjects_to_the_last_bit(wired: Made) -> None:
    directory, subject = wired()
    woven = load_program(directory).model.plan.weights
    for name, tensor in stored(subject.decoder, subject.weights).items():
        if ".H*." in name:
            continue  # a coordinate of a head that nothing comes of is left out, and the others move up
        np.testing.assert_array_equal(woven[name], tensor.numpy(), err_msg=name)


def test_every_number_is_counted(wired: Made) -> None:
    directory, subject = wired()
    listing = read_program(directory)
    held = count_program(listing)
    neuron = Address("IN", 0, 3)
    reads = subject.weights["h.0.mlp.c_fc.weight"][:, 3]
    assert held[neuron] == 1 + 2 * int((reads != 0).sum())
    assert held[Address("LN1", 0)] == 0
    entries = int((subject.weights["wte.weight"] != 0).sum())
    assert held[Address("EMB.TOK")] > entries  # each token in each kind, levels, and the tokens' own names
    assert count_stream(listing) >= listing.decoder.sizes.model


def test_all_is_source_and_nothing_has_a_residual(wired: Made) -> None:
    directory, _ = wired()
    listing = read_program(directory)
    assert {listing.form(address) for address in listing.decoder.addresses.addresses()} == {"source"}
    assert not any(statement.by_person for statement in listing.statements.values())
    assert "raw" not in (directory / "program" / "layer_00.py").read_text().split("import", 1)[1].split("\n")[0]


def test_with_its_residual_a_wired_part_follows_the_weights(wired: Made) -> None:
    directory, subject = wired()
    page = directory / "program" / "layer_00.py"
    old = next(s.text for s in read_program(directory).statements.values() if s.key == "L00.N0003.IN")
    page.write_text(page.read_text().replace(old, 'reads("L00.N0003.IN", "By hand.", 3)'))
    with pytest.raises(AssertionError):
        same(load_program(directory), subject)
    listing = read_program(directory)
    assert listing[Address("IN", 0, 3)].by_person
    rest = frozenset(listing.decoder.addresses.addresses()) - {Address("IN", 0, 3)}
    write_parts(directory / "parts.toml", partition(listing, rest), listing.decoder)
    same(load_program(directory), subject)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ('reads("L00.N0003.IN", "", 1, nowhere=2)', "names nowhere, but there is no such coordinate"),
        ('reads("L00.N0003.IN", "", one)', "expected reads("),
        ('writes("L00.N0003.IN", "", sine_5=1)', "expected writes("),
        ('looks("L00.H00.QK", "", seeks(sine_5=1))', "expected looks("),
        ('looks("L00.H00.QK", "", offers(sine_5=1), seeks(sine_5=1))', "expected looks("),
        ('plain("L00.LN1", sine_5=1)', "expected plain("),
        ('moves("L00.H00.OV", "", takes(**{"sine_5": 1}), gives(sine_5=1))', "expected moves("),
    ],
)
def test_what_is_no_wire_is_refused_by_line(wired: Made, statement: str, expected: str) -> None:
    directory, _ = wired()
    page = directory / "program" / "layer_00.py"
    key = statement.split('"')[1]
    if statement.startswith("writes"):
        key = "L00.N0003.OUT"
    old = read_program(directory).statements[key].text
    page.write_text(page.read_text().replace(old, statement))
    with pytest.raises(SourceError) as error:
        read_program(directory)
    assert "layer_00.py:" in str(error.value)
    assert expected in str(error.value)


def test_a_stream_with_a_doubled_name_is_refused(wired: Made) -> None:
    directory, _ = wired()
    page = directory / "program" / "stream.py"
    page.write_text(page.read_text().replace('"cosine_5"', '"sine_5"'))
    with pytest.raises(SourceError, match="each once"):
        read_program(directory)


# --- reading weights --------------------------------------------------------------------------------------------------


def test_waves_are_found_with_their_heights_and_nothing_else_is_one() -> None:
    table = torch.zeros(32, 4)
    table[:, 1] = torch.from_numpy(Wave(0.25, 13.0, 0.42)(32))
    assert find_waves(table) == {1: ("cosine", 13, 0.42)}
    table[5, 3] = 0.1
    assert find_waves(table) is None


def test_shortest_digits_are_the_same_float() -> None:
    values = np.random.default_rng(0).normal(size=200).astype(np.float32)
    assert all(np.float32(shortest(float(value))) == value for value in values)
    assert shortest(0.25) == 0.25


def test_a_dense_model_is_not_wired(wired: Made) -> None:
    _, subject = wired()
    weights = stored(subject.decoder, subject.weights)
    assert plain_norms(weights)
    weights["L00.LN1"][2] = 1.5
    assert not plain_norms(weights)
    assert 0 < weights_left(weights) < sum(tensor.numel() for tensor in weights.values()) / 2


def test_a_sentence_names_few_terms(wired: Made) -> None:
    directory, _ = wired()
    for statement in read_program(directory).statements.values():
        if statement.wires and statement.wires.terms:
            told = shown(statement.wires)
            assert 0 < len(told.terms) <= 4
            assert max(map(abs, told.terms.values())) == max(map(abs, statement.wires.terms.values()))


def test_a_sentence_says_what_raises_and_what_lowers() -> None:
    wires = Wires(terms={"gave": -0.5, "ada": 0.25}, bias=0.0)
    assert describe(Address("IN", 0, 0), wires, 1.0) == ("Rises with ada; falls with gave.", "on_ada")
    said = "Raises ada; lowers gave (83 % of it, by squares)."
    assert describe(Address("OUT", 0, 0), wires, 0.83) == (said, "raises_ada")
    assert describe(Address("IN", 0, 0), Wires(terms={"gave": -1.0}), 1.0) == ("Falls with gave.", "off_gave")


def test_two_sides_with_a_minus_are_none_and_pairs_that_begin_alike_are_one() -> None:
    pairs = Wires(pairs=(({"gave": -1.0}, {"ada": -1.0}), ({"gave": 1.0}, {"bo": 1.0, "it": -0.5})))
    assert describe(Address("QK", 0, 0), pairs, 1.0) == ("Looks from gave to ada, bo less it.", "looks_gave_to_ada")
    away = Wires(pairs=(({"gave": 1.0}, {"ada": -1.0}),))
    assert describe(Address("QK", 0, 0), away, 1.0) == ("Looks from gave away from ada.", "looks_gave_away_from_ada")
    assert describe(Address("OV", 0, 0), away, 1.0) == ("Moves gave as less ada.", "moves_gave")


def test_a_sentence_covers_the_share_of_the_squares_that_its_terms_are() -> None:
    wires = Wires(terms={"gave": 3.0, "ada": 4.0})
    assert share(Wires(terms={"ada": 4.0}), wires) == pytest.approx(16 / 25)
    pairs = Wires(pairs=(({"gave": 2.0}, {"ada": 1.0}), ({"gave": 1.0}, {"bo": 1.0})))
    assert share(Wires(pairs=pairs.pairs[:1]), pairs) == pytest.approx(4 / 5)


def test_what_tokens_write_with_a_minus_is_declared_so_and_named_after_them(wired: Made) -> None:
    directory, subject = wired()
    listing = read_program(directory)
    assert listing.stream is not None
    assert -1 in listing.stream.signs
    assert not any("not_" in name for name in (*listing.stream.names, *listing.kinds))
    for name, sign in zip(listing.stream.names, listing.stream.signs, strict=True):
        if sign < 0 and (kind := listing.kinds.get(f"{name}_is")):
            assert max(kind.levels, key=abs) > 0
    same(load_program(directory), subject)
