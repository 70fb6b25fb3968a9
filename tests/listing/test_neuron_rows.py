"""Neurons as rows: `fires(…)` says what a function would, and counts as that does without its syntax."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from emitted import Project, some_ids
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pellucid.base.address import Address
from pellucid.base.errors import SourceError
from pellucid.listing.count import count_program
from pellucid.listing.emit import emit
from pellucid.listing.parse import read_page, read_program
from pellucid.listing.rows import as_function, row
from printed import write_statements

NEURON = Address("IN", 1, 7)
ROW = 'fires("L01.N0007.IN", -0.84, {2.31: ("w1", "w2"), -0.5: (4,)}, before={1.5: ("w3",)})'
FUNCTION = """@source("L01.N0007.IN")
def by_hand(here):
    w = here.token
    return -0.84 + 2.31 * w.one_of("w1", "w2") - 0.5 * w.one_of(4) + 1.5 * here.previous.one_of("w3")"""
IDS = some_ids(11, 3, 12)


@pytest.fixture
def project(make: Callable[..., Project]) -> Project:
    """The all-raw program of a tiny model, with means for what has no source."""
    made = make()
    emit(made.subject, made.directory, {f"L{layer:02d}.IN": torch.zeros(32) for layer in range(2)})
    return made


def test_a_row_says_what_a_function_says(project: Project) -> None:
    said, alone, counted = [], [], []
    for text in (ROW, FUNCTION):
        write_statements(project.directory, {NEURON: None})
        write_statements(project.directory, {NEURON: text})
        project.dropped(str(NEURON))
        said.append(project.load().logits(IDS))
        alone.append(project.load("code").logits(IDS))
        counted.append(count_program(read_program(project.directory))[NEURON])
    np.testing.assert_array_equal(*said)
    np.testing.assert_array_equal(*alone)
    assert counted == [1 + 3 + 2 + 2, 1 + 3 + 2 + 2]
    assert not np.allclose(said[0], project.exact().logits(torch.from_numpy(IDS)).numpy(), atol=1e-4)


def test_a_row_is_read_as_it_stands(project: Project) -> None:
    write_statements(project.directory, {NEURON: ROW})
    found = read_program(project.directory)[NEURON]
    assert (found.form, found.part_form, found.bias) == ("fires", "source", -0.84)
    assert found.here == {2.31: ("w1", "w2"), -0.5: (4,)}
    assert found.before == {1.5: ("w3",)}
    assert found.source == found.at
    assert row(found.key, found.bias, found.here, found.before) == ROW


_TEXTS = re.compile(r"""\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'""")

tokens = st.one_of(st.text(min_size=1, max_size=30), st.integers(0, 60_000))
levels = st.dictionaries(
    st.floats(-1e3, 1e3).filter(bool), st.lists(tokens, min_size=1, max_size=9, unique=True).map(tuple), max_size=4
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.floats(-1e3, 1e3), levels, levels)
def test_any_row_reads_back_and_breaks_no_token(bias: float, here: dict, before: dict) -> None:  # type: ignore[type-arg]
    once = {t: a for a, many in here.items() for t in many}, {t: a for a, many in before.items() for t in many}
    here, before = ({a: tuple(t for t in many if side[t] == a) for a, many in given_.items()}
                    for given_, side in zip((here, before), once, strict=True))  # fmt: skip
    here, before = ({a: many for a, many in side.items() if many} for side in (here, before))
    text = row("L01.N0007.IN", bias, here, before)
    (found,) = read_page(Path("layer_01.py"), {}, text).statements
    assert (found.bias, found.here, found.before) == (bias, here, before)
    space: dict[str, object] = {}
    exec("def fires(*given, **more):\n    said.append((given, more))\nsaid = []\n" + text, space)
    for line in text.removesuffix("  # fmt: skip").split("\n"):
        assert len(line) <= 120 or len(_TEXTS.findall(line)) <= 1  # one token may be longer than a line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('fires("L01.N0007.IN")', "expected fires"),
        ('fires("L01.N0007.IN", "x")', "expected fires"),
        ('fires("L01.N0007.IN", 0.5, {"x": ("w1",)})', "the level 'x' is not a number"),
        ('fires("L01.N0007.IN", 0.5, {1.0: "w1"})', "expected tokens"),
        ('fires("L01.N0007.IN", 0.5, {1.0: ("w1",), 2.0: ("w1",)})', "'w1' is named twice"),
        ('fires("L01.N0007.IN", 0.5, {1.0: ("w1",)}, {1.0: ("w1",)})', "expected fires"),
        ('fires("L01.N0007.IN", 0.5, after={1.0: ("w1",)})', "expected fires"),
        ('fires("L01.N0007.IN", 0.5, before={})', "no token is named"),
        ('fires("L01.N0007.OUT", 0.5)', "fires\\(\\) is for a neuron"),
        ('fires("L01.H00.QK", 0.5)', "fires\\(\\) is for a neuron"),
        ('fires("L01.N0007.IN", 0.5, {1.0: ("nobody",)})', r"described_01.py:\d+: L01.N0007.IN.*nobody"),
    ],
)
def test_a_row_that_says_nothing_is_refused(project: Project, text: str, said: str) -> None:
    def run() -> None:
        write_statements(project.directory, {NEURON: text})
        project.load()

    with pytest.raises(SourceError, match=said):
        run()


def test_names_of_the_language_that_are_new_may_still_name_other_things(project: Project) -> None:
    text = '@source("L01.N0004.OUT")\ndef fires(here, fires):\n    about = 0.5\n    return about * fires[..., None]'
    write_statements(project.directory, {Address.parse("L01.N0004.OUT"): text})
    project.dropped("L01.N0004.OUT")
    project.load()
    with pytest.raises(SourceError, match="fires is defined twice"):
        write_statements(project.directory, {NEURON: ROW})


def test_rows_of_several_lines_keep_to_their_width() -> None:
    for many in range(1, 60):
        lines = row("L01.N0007.IN", -0.5, {1.5: tuple(f" w{n}" for n in range(many))}, {}).split("\n")
        assert max(map(len, lines)) <= 120


def test_a_row_as_a_function() -> None:
    text = as_function("@base", "was", -0.5, {1.5: ("a b",)}, {-2.0: (7, "c")})
    assert text.splitlines()[2].strip() == (
        'return -0.5 + 1.5 * here.token.one_of("a b") + -2.0 * here.previous.one_of(7, "c")'
    )
