"""Words about whole heads and neurons: they compute nothing, stand above what they are about, and stay a person's."""

from __future__ import annotations

import ast

import numpy as np
import pytest
from emitted import Project, some_ids

from pellucid.base.address import Address
from pellucid.base.errors import SourceError
from pellucid.listing.about import line_of
from pellucid.listing.count import count_program
from pellucid.listing.parse import read_program
from pellucid.listing.rows import row
from printed import arrange, write_content, write_statements

LOOKS = '@source("L00.H01.QK")\ndef looks(query, key):\n    return 3.0 * (key.position == query.position - 1)'
HEAD = "Looks at the token before, and speaks for what it was."
LONG = " ".join(f'Fires on " a {n}" and then speaks for " b {n}".' for n in range(9))
IDS = some_ids(11, 2, 9)


def fires(index: int) -> dict[Address, str | None]:
    """A row of a neuron of layer 0."""
    return {Address("IN", 0, index): row(f"L00.N{index:04d}.IN", 0.25, {0.5: ("w1",)}, {})}


def test_they_stand_above_what_they_are_about_and_change_nothing(project: Project) -> None:
    before = project.load().logits(IDS)
    write_statements(project.directory, {Address.parse("L00.H01.QK"): LOOKS, **fires(3), **fires(5)})
    numbers = count_program(read_program(project.directory))
    texts = {"L00.N0005": LONG, "L00.H01": HEAD, "L00.H00": "Is quiet.", "L00.N0009": "Nobody knows."}
    write_content(project.directory, about=texts)
    found = read_program(project.directory)
    assert {address: about.said for address, about in found.abouts.items()} == texts
    assert not any(about.by_person for about in found.abouts.values())
    assert count_program(found) == numbers
    text = project.read("described_00.py")
    assert f'about("L00.H01", "{HEAD}")\n\n\n@source("L00.H01.QK")' in text
    assert '\n)\nfires("L00.N0005.IN"' in text
    assert text.index('"L00.H00"') < text.index('"L00.H01"') < text.index('fires("L00.N0003') < text.index("N0009")
    np.testing.assert_array_equal(project.load().logits(IDS), before)
    assert write_content(project.directory, about=texts).written == ()


def test_a_text_is_broken_between_words_and_never_within_a_token() -> None:
    lines = line_of("L00.N0005", LONG).split("\n")
    assert max(map(len, lines)) <= 116
    assert all(line.count('\\"') % 2 == 0 for line in lines)
    said: list[str] = []
    exec("\n".join(lines), {"about": lambda *given: said.extend(given)})
    assert said == ["L00.N0005", LONG]


def test_those_that_are_not_named_stay_and_an_empty_one_goes(project: Project) -> None:
    write_content(project.directory, about={"L00.H01": HEAD, "L00.N0009": "Nobody knows."})
    write_content(project.directory, about={"L00.H01": "Does nothing."})
    assert {a: about.said for a, about in read_program(project.directory).abouts.items()} == {
        "L00.H01": "Does nothing.",
        "L00.N0009": "Nobody knows.",
    }
    write_content(project.directory, about={"L00.H01": "", "L00.N0009": "", "L00.H00": ""})
    assert not (project.directory / "program" / "described_00.py").exists()


def test_what_a_person_says_is_kept(project: Project) -> None:
    write_content(project.directory, about={"L00.H01": HEAD})
    project.replace("described_00.py", "the token before", "something else")
    assert write_content(project.directory, about={"L00.H01": HEAD}).kept == ("about L00.H01",)
    assert read_program(project.directory).abouts["L00.H01"].by_person
    assert "something else" in project.read("described_00.py")


def test_they_go_with_their_rows_in_the_order_of_effects(project: Project) -> None:
    write_statements(project.directory, {**fires(3), **fires(5), **fires(7)})
    write_content(project.directory, about={"L00.N0005": "Five.", "L00.N0008": "Eight.", "L00.N0003": "Three."})
    effects = {Address("IN", 0, n): float(n) for n in range(32)}
    arrange(project.directory, (), effects)
    body = project.read("described_00.py").partition("import about, fires\n")[2]
    assert [line[:17] for line in body.split("\n") if line] == [
        'about("L00.N0008"', 'fires("L00.N0007.', 'about("L00.N0005"', 'fires("L00.N0005.', 'about("L00.N0003"',
        'fires("L00.N0003.',
    ]  # fmt: skip
    arrange(project.directory, {Address("IN", 0, 5)}, effects)
    assert 'about("L00.N0005"' in project.read("described_00.py")
    assert 'fires("L00.N0005.IN"' in project.read("layer_00.py")
    project.load()


@pytest.mark.parametrize("address", ["L00.H01.QK", "L00", "EMB.TOK"])
def test_they_are_about_whole_heads_and_neurons(project: Project, address: str) -> None:
    with pytest.raises(SourceError, match="is no whole head or neuron"):
        write_content(project.directory, about={address: "A text."})


def test_they_are_about_parts_that_there_are(project: Project) -> None:
    with pytest.raises(SourceError, match=r"L00.H07 names no part of this subject"):
        write_content(project.directory, about={"L00.H07": "A text."})
    assert not (project.directory / "program" / "described_00.py").exists()


@pytest.mark.parametrize("text", ['about("L00.H00", 3)', 'about("L00.LN1", "x")', 'about("L00.H00")'])
def test_what_is_no_such_line_is_refused(project: Project, text: str) -> None:
    write_content(project.directory, about={"L00.H00": HEAD})
    project.replace("described_00.py", f'about("L00.H00", "{HEAD}")', text)
    with pytest.raises(SourceError, match=r"described_00.py:\d+: expected about"):
        read_program(project.directory)


def test_texts_that_quote_tokens_stand_between_single_marks() -> None:
    said = 'Fires on "\'s", " the" and " a".'
    assert line_of("L00.N0001", said) == 'about("L00.N0001", \'Fires on "\\\'s", " the" and " a".\')'
    (call,) = ast.parse(line_of("L00.N0001", said * 9)).body
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    assert ast.literal_eval(call.value.args[1]) == said * 9
