"""What emission wrote stands where it runs, or among the descriptions; what a person wrote stays where it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from emitted import Project, some_ids

from pellucid.base.address import Address
from pellucid.base.errors import SourceError
from pellucid.listing import pages
from pellucid.listing.count import numbers_of
from pellucid.listing.emit import emit
from pellucid.listing.parse import digest, read_program
from pellucid.listing.rows import row
from printed import arrange, write_constants, write_content, write_lifted, write_statements

QK = Address.parse("L00.H01.QK")
LOOKS = '@source("L00.H01.QK")\ndef looks(query, key):\n    return 3.0 * (key.position == query.position - 1)'
IDS = some_ids(11, 2, 9)
WORDS = "from .prelude import kind\n\nnames = kind({1.0: ('w1',)})\n"
WHO = "@value\ndef who(here):\n    return 0.5 * names(here.token)"
WHOM = "@value\ndef whom(here, who):\n    return 0.5 * who"


@pytest.fixture
def project(make: Callable[..., Project]) -> Project:
    """The all-raw program of a tiny model, with means for what has no source."""
    made = make()
    emit(made.subject, made.directory, {f"L{layer:02d}.IN": torch.linspace(-1, 1, 32) for layer in range(2)})
    return made


def neuron(index: int) -> Address:
    """When a neuron of layer 0 fires."""
    return Address("IN", 0, index)


def fires(index: int) -> str:
    """A row of a neuron."""
    return row(str(neuron(index)), 0.25, {0.5: ("w1", "w2")}, {-1.5: ("w3",)})


def drop(project: Project, *addresses: Address) -> None:
    """Drop residuals, and let the program be arranged."""
    project.dropped(*map(str, addresses))
    arrange(project.directory, addresses)


def stands(project: Project, name: str, text: str) -> bool:
    """Whether a text stands in a file, which may be missing."""
    path = project.directory / "program" / name
    return path.is_file() and text in path.read_text(encoding="utf-8")


def test_what_runs_stands_in_the_layer_and_what_does_not_is_described(project: Project) -> None:
    raw = project.read("layer_00.py")
    write_statements(project.directory, {QK: LOOKS, neuron(3): fires(3), neuron(5): fires(5)})
    assert stands(project, "layer_00.py", 'raw("L00.H01.QK")')
    assert stands(project, "described_00.py", LOOKS)
    drop(project, QK, neuron(5))
    layer = project.read("layer_00.py")
    assert LOOKS in layer
    assert fires(5) in layer
    assert 'raw("L00.H01.QK")' not in layer
    assert "    where heads look (QK)          1       0       1          0          144\n" in layer
    assert "    when neurons fire (IN)        31       0       1          1          288\n" in layer
    assert stands(project, "described_00.py", fires(3))
    assert "described: 1 neuron. Nothing here runs" in project.read("described_00.py")
    assert not any(statement.by_person for statement in read_program(project.directory).statements.values())
    before = project.load().logits(IDS)
    drop(project)
    write_statements(project.directory, {QK: None, neuron(3): None, neuron(5): None})
    assert project.read("layer_00.py") == raw
    assert not (project.directory / "program" / "described_00.py").exists()
    assert not np.allclose(before, project.load().logits(IDS))


def test_a_source_says_the_same_in_either_place(project: Project) -> None:
    write_statements(project.directory, {QK: LOOKS, neuron(5): fires(5)})
    exact = project.load().logits(IDS)
    alone = project.load("code").logits(IDS)
    project.dropped(str(QK), str(neuron(5)))
    runs = project.load().logits(IDS)
    assert np.abs(runs - exact).max() > 1e-3
    arrange(project.directory, {QK, neuron(5)})
    np.testing.assert_array_equal(project.load().logits(IDS), runs)
    np.testing.assert_array_equal(project.load("code").logits(IDS), alone)
    assert read_program(project.directory)[QK].text == LOOKS


def test_an_old_program_runs_and_is_arranged(project: Project) -> None:
    old = project.read("layer_00.py").replace('raw("L00.H01.QK")', f"\n\n{LOOKS}\n\n")
    project.write("layer_00.py", old.replace("import raw", "import raw, source"))
    record = project.directory / "program" / ".emitted"
    lines = [line for line in record.read_text().splitlines() if not line.startswith("L00.H01.QK\t")]
    record.write_text("\n".join([*lines, f"L00.H01.QK\t{digest(LOOKS)}"]) + "\n")
    before = project.load("code").logits(IDS)
    assert not read_program(project.directory)[QK].described
    arrange(project.directory, ())
    assert read_program(project.directory)[QK].at.startswith("described_00.py:")
    assert not read_program(project.directory)[QK].by_person
    np.testing.assert_array_equal(project.load("code").logits(IDS), before)


def test_what_a_person_wrote_is_never_moved(project: Project) -> None:
    write_statements(project.directory, {QK: LOOKS, neuron(3): fires(3)})
    project.replace("described_00.py", "3.0 *", "4.0 *")
    project.replace("described_00.py", "0.25", "0.75")
    texts = project.read("described_00.py").partition("from .prelude")[2]
    drop(project, QK, neuron(3))
    assert project.read("described_00.py").partition("from .prelude")[2] == texts
    assert stands(project, "layer_00.py", 'raw("L00.H01.QK")')


def test_a_person_may_cut_a_source_and_paste_it_where_it_runs(project: Project) -> None:
    write_statements(project.directory, {QK: LOOKS, neuron(3): fires(3)})
    project.replace("described_00.py", LOOKS, "")
    project.replace("layer_00.py", 'raw("L00.H01.QK")', f"\n\n{LOOKS}\n\n")
    project.replace("layer_00.py", "import raw", "import raw, source")
    project.replace("described_00.py", fires(3), "")
    project.replace("layer_00.py", 'raw("L00.N*.IN")', f'{fires(3)}\nraw("L00.N*.IN")')
    project.replace("layer_00.py", "import raw", "import fires, raw")
    texts = project.read("layer_00.py").partition("from .prelude")[2]
    found = read_program(project.directory)
    assert (found[QK].by_person, found[QK].described) == (True, False)
    again = write_statements(project.directory, {QK: LOOKS, neuron(3): fires(3)})
    assert set(again.kept) == {str(QK), str(neuron(3))}
    arrange(project.directory, ())
    assert project.read("layer_00.py").partition("from .prelude")[2] == texts
    project.dropped(str(QK))
    assert np.abs(project.load().logits(IDS) - project.exact().logits(torch.from_numpy(IDS)).numpy()).max() > 1e-3


def test_two_sources_of_a_part_are_refused(project: Project) -> None:
    write_statements(project.directory, {QK: LOOKS})
    project.replace("layer_00.py", 'raw("L00.H01.QK")', f"\n\n{LOOKS}\n\n")
    project.replace("layer_00.py", "import raw", "import raw, source")
    with pytest.raises(SourceError, match=r"described_00.py:\d+: L00.H01.QK is already defined at layer_00.py:\d+"):
        read_program(project.directory)


def test_constants_are_split_by_what_runs(project: Project) -> None:
    write_constants(project.directory, {neuron(n): n / 8 for n in range(4)})
    drop(project, neuron(1), neuron(2))
    assert stands(project, "layer_00.py", 'constants("L00.IN", {1: 0.125, 2: 0.25})')
    assert stands(project, "described_00.py", 'constants("L00.IN", {0: 0, 3: 0.375})')
    found = read_program(project.directory)
    assert [found[neuron(n)].key for n in (0, 1)] == ["L00.IN.described", "L00.IN"]
    only = project.load("code").logits(IDS)
    drop(project)
    assert not stands(project, "layer_00.py", "constants(")
    np.testing.assert_array_equal(project.load("code").logits(IDS), only)
    write_statements(project.directory, {neuron(3): None})
    assert stands(project, "described_00.py", "{0: 0, 1: 0.125, 2: 0.25}")


def test_no_statement_covers_nothing(project: Project) -> None:
    every = {neuron(n): fires(n) for n in range(32)}
    write_statements(project.directory, every)
    drop(project, *every)
    assert not stands(project, "layer_00.py", 'raw("L00.N*.IN")')
    assert stands(project, "layer_00.py", 'raw("L00.N*.OUT")')
    drop(project, *list(every)[1:])
    assert stands(project, "layer_00.py", 'raw("L00.N*.IN")')
    project.load()


def test_rows_stand_in_the_order_of_their_effects(project: Project) -> None:
    effects = {neuron(n): float(n % 5) for n in range(32)}
    write_statements(project.directory, {neuron(n): fires(n) for n in (1, 2, 3, 9, 7)})
    arrange(project.directory, {neuron(2), neuron(9)}, effects)
    order = {name: _rows(project.directory, name) for name in ("layer_00.py", "described_00.py")}
    assert order == {"layer_00.py": [9, 2], "described_00.py": [3, 7, 1]}
    arrange(project.directory, (), effects)
    assert _rows(project.directory, "described_00.py") == [9, 3, 2, 7, 1]
    before = project.read("described_00.py")
    assert arrange(project.directory, (), effects).written == ()
    project.write("described_00.py", before.replace("\nfires", "\n# mine\nfires", 1))
    write_statements(project.directory, {neuron(4): fires(4)})
    arrange(project.directory, (), effects)
    assert _rows(project.directory, "described_00.py") == [4, 9, 3, 2, 7, 1]
    assert "# mine" in project.read("described_00.py")


def test_rows_written_again_stand_as_they_stood(project: Project) -> None:
    """A row without a text keeps its distance from the text of the neuron above it."""
    effects, rows = {neuron(n): float(n) for n in range(32)}, {neuron(n): fires(n) for n in (1, 2, 3)}
    write_statements(project.directory, rows)
    write_content(project.directory, about={f"L00.N{n:04d}": "Fires on names." for n in (4, 2)})
    arrange(project.directory, (), effects)
    before = project.read("described_00.py")
    assert f'about("L00.N0004", "Fires on names.")\n\n{fires(3)}\n\nabout("L00.N0002"' in before
    assert f"{fires(2)}\n\n{fires(1)}\n" in before
    write_statements(project.directory, rows)
    arrange(project.directory, (), effects)
    assert project.read("described_00.py") == before


@pytest.mark.parametrize("last", [False, True], ids=["row first", "text first"])
def test_a_row_and_its_text_come_together_in_one_go(project: Project, last: bool) -> None:
    """However they stood apart: arranging once more changes nothing, so a killed run and a whole one write the same."""
    effects = {neuron(n): float(n) for n in range(32)}
    write_statements(project.directory, {neuron(n): fires(n) for n in (1, 2, 3)})
    write_content(project.directory, about={"L00.N0002": "Fires on names."})
    text, told = project.read("described_00.py"), 'about("L00.N0002", "Fires on names.")'
    rest = text[: min(text.index(fires(n)) for n in (1, 2, 3))].replace(f"{told}\n", "").rstrip()
    pieces = [told, fires(3), fires(1), fires(2)] if last else [fires(2), fires(3), fires(1), told]
    project.write("described_00.py", "\n\n".join([rest, *pieces]) + "\n")
    arrange(project.directory, (), effects)
    found = project.read("described_00.py")
    assert f"{fires(3)}\n\n{told}\n{fires(2)}\n\n{fires(1)}\n" in found
    assert arrange(project.directory, (), effects).written == ()


def _rows(directory: Path, name: str) -> list[int]:
    page = read_program(directory).pages[name]
    return [Address.parse(statement.key).index for statement in page.statements if statement.form == "fires"]


def test_values_stand_where_those_run_that_read_them(project: Project) -> None:
    sums = {neuron(1): 'linear("L00.N0001.IN", 0.5, {0.25: (who, whom)})'}
    sums |= {neuron(2): pages.linear("L00.N0002.IN", 0.5, {"who": 1.0, "whom": 1.0})}
    write_content(project.directory, words=WORDS, values={0: [WHO, WHOM]}, statements=sums)
    assert not stands(project, "layer_00.py", "@value")
    only = project.load("code").logits(IDS)
    drop(project, neuron(2))
    assert stands(project, "layer_00.py", "def whom(here, who)")
    assert not stands(project, "described_00.py", "@value")
    assert stands(project, "described_00.py", "from .layer_00 import who, whom\n")
    runs = project.load().logits(IDS)
    np.testing.assert_array_equal(project.load("code").logits(IDS), only)
    assert not any(value.by_person for value in read_program(project.directory).values.values())
    drop(project)
    assert stands(project, "described_00.py", "def whom(here, who)")
    assert stands(project, "layer_00.py", "from .prelude import raw\n")
    project.dropped(str(neuron(2)))
    np.testing.assert_array_equal(project.load().logits(IDS), runs)


def test_what_reads_a_persons_value_stays_beside_it(project: Project) -> None:
    sums = {neuron(1): pages.linear("L00.N0001.IN", 0.5, {"whom": 1.0})}
    write_content(project.directory, words=WORDS, values={0: [WHO, WHOM]}, statements=sums)
    project.replace("described_00.py", "0.5 * names", "0.75 * names")
    drop(project, neuron(1))
    assert stands(project, "described_00.py", "linear(")
    exact = project.exact().logits(torch.from_numpy(IDS)).numpy()
    assert np.abs(project.load().logits(IDS) - exact).max() > 1e-4


# --- what is said at the front ----------------------------------------------------------------------------------------


def test_the_front_of_a_program_says_what_runs(project: Project) -> None:
    """By the counts as they are; what a person wrote there stays."""
    assert "what runs" not in project.read("__init__.py")
    write_statements(project.directory, {QK: LOOKS, neuron(3): fires(3), neuron(5): fires(5)})
    drop(project, neuron(5))
    front = project.read("__init__.py")
    whole = len(list(project.subject.decoder.addresses.addresses()))
    assert re.search(r"from text +1 +\d\.\d %   layer_00\.py\n", front)
    assert re.search(r"lifted: few directions, or a mean +0 +0\.0 %\n", front)
    assert re.search(rf"from the weights +{whole - 1} +9\d\.\d %\n", front)
    assert re.search(r"described in text: does not run +2 +\d\.\d %   described_00\.py\n", front)
    ran = numbers_of(read_program(project.directory).pages["layer_00.py"])
    assert f"Sources that run hold {ran} numbers, those that describe" in front
    assert emit(project.subject, project.directory).written == ()
    drop(project)
    assert re.search(r"from text +0 ", project.read("__init__.py"))
    mine = project.directory / "program" / "__init__.py"
    mine.write_text('"""My own words."""\n')
    drop(project, neuron(5))
    assert project.read("__init__.py") == '"""My own words."""\n'


def test_a_page_of_descriptions_says_which_of_them_run_with_sources_only_and_what_is_no_way(project: Project) -> None:
    write_statements(project.directory, {QK: LOOKS, neuron(3): fires(3)})
    drop(project)
    said = project.read("described_00.py")
    assert "those of QK and IN (where heads look, when neurons fire) run in the place of the weights" in said
    assert "OV, OUT and embeddings (what is moved and written) are as in the full program even so" in said
    assert "a lifted form goes before a source" not in said
    shapes = {"read_q": (8, 1), "read_k": (8, 1), "bias": (1,)}
    emit(project.subject, project.directory, lifted={f"{QK}.{name}": torch.ones(shapes[name]) for name in shapes})
    write_lifted(project.directory, {QK: 1}, [])
    drop(project, QK)
    assert "One of these parts runs `lifted` there, without residual already:\na lifted" in project.read(
        "described_00.py"
    )
    assert max(map(len, project.read("described_00.py").split("\n"))) <= 120
