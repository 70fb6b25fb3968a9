"""A program is read without running it, and what is wrong with it is named with file and line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from emitted import Project

from pellucid.base.address import Address
from pellucid.base.errors import ProjectError, SourceError
from pellucid.family.canonical import canonical
from pellucid.listing.parse import read_program


def test_every_address_has_a_statement(project: Project) -> None:
    listing = read_program(project.directory)
    assert all(listing.form(address) == "raw" for address in listing.decoder.addresses.addresses())
    statement = listing[Address.parse("L01.H01.OV")]
    assert project.read("layer_01.py").splitlines()[statement.line - 1] == statement.text == 'raw("L01.H01.OV")'
    assert listing[Address.parse("L01.N0031.OUT")].key == "L01.N*.OUT"
    named = canonical(project.subject.decoder)
    assert listing.decoder == replace(named, family="printed", upcast=True)


def test_a_source_is_found_with_its_docstring(project: Project) -> None:
    project.source("L01.H00.QK", "0")
    statement = read_program(project.directory)[Address.parse("L01.H00.QK")]
    assert (statement.form, statement.function, statement.docstring) == ("source", "by_hand", "By hand.")
    assert statement.text.startswith("@source")
    assert statement.end == statement.line + 3
    assert statement.by_person


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('raw("L00.LN1")\n', "", "layer_00.py has no statement for L00.LN1; add raw"),
        ('raw("L00.LN1")\n', 'raw("L00.LN2")\n', r"layer_00.py:\d+: L00.LN2 is already defined at layer_00.py:\d+"),
        ('raw("L00.LN1")\n', 'raw("L01.LN1")\n', r"layer_00.py:\d+: L01.LN1 belongs into layer_01.py"),
        ('raw("L00.LN1")\n', 'raw("L00.LN1", 2)\n', r'layer_00.py:\d+: expected raw\("ADDRESS"\) and nothing else'),
        ('raw("L00.LN1")\n', 'raw("L00.LN3")\n', r"layer_00.py:\d+: 'L00.LN3' is not an address"),
        ('raw("L00.H01.QK")\n', 'raw("L00.H02.QK")\n', r"layer_00.py:\d+: L00.H02.QK names no part of this subject"),
        ('raw("L00.N*.IN")\n', "", "layer_00.py has no statement for L00.N0000.IN"),
        ('raw("L00.LN1")\n', 'raw("L00.LN1"\n', r"layer_00.py:\d+: not Python"),
        ('raw("L00.N*.IN")\n', 'constants("L00.IN", {99: 1.0})\nraw("L00.N*.IN")\n', "L00.IN names no part"),
        ('raw("L00.N*.IN")\n', 'constants("L00.IN", {1: "x"})\nraw("L00.N*.IN")\n', "takes {neuron: number}"),
        ('raw("L00.N*.IN")\n', 'constants("L00.IN", {1: 1, 1: 2})\nraw("L00.N*.IN")\n', "names a neuron twice"),
        (
            'raw("L00.N*.IN")\n',
            'constants("L00.IN", {1: 1.0})\nraw("L00.N0001.IN")\nraw("L00.N*.IN")\n',
            "L00.N0001.IN is already defined",
        ),
        ('raw("L00.LN1")\n', 'raw("L00.LN1")\nimport os\n', r"layer_00.py:\d+: not in the language of sources"),
    ],
)
def test_what_is_wrong_is_named(project: Project, old: str, new: str, said: str) -> None:
    project.replace("layer_00.py", old, new)
    with pytest.raises(SourceError, match=said):
        read_program(project.directory)


def test_a_directory_without_a_program_says_how_to_make_one(project: Project) -> None:
    with pytest.raises(ProjectError, match="holds no program; make one with: pellucid decompile"):
        read_program(project.directory / "nowhere")


def test_a_missing_page_and_a_broken_config_are_named(project: Project) -> None:
    (project.directory / "program" / "layer_01.py").unlink()
    with pytest.raises(SourceError, match=r"layer_01.py is missing"):
        read_program(project.directory)
    project.write("model.py", "CONFIG = 3\n")
    with pytest.raises(SourceError, match=r"model\.py: n_layer is missing"):
        read_program(project.directory)
