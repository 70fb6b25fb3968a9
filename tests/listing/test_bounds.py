"""What a program of strangers asks for is held against bounds before any work is done for it."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest
from emitted import Project

from pellucid.base.errors import PellucidError, ProjectError, SourceError
from pellucid.listing.parse import read_program
from pellucid.project.parts_file import read_dropped

ROOM = 2 << 30


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    """Two more gigabytes than there are, and no more: what is not bounded fails here instead of filling the machine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as stream:
        held = int(stream.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("layers=2", "layers=1000000000", "layers is 1000000000, expected an integer from 1 to 4,096"),
        ("layers=2", "layers=4096", "layer_02.py is missing"),
        ("neurons=32", "neurons=1000000000", "neurons is 1000000000"),
        ("neurons=32", "neurons=16000000", "it asks for 64,000,008 heads and neurons, twice each; at most 2,097,152"),
        ("heads=2", "heads=0", "heads is 0"),
        ("heads=2", "heads=True", "heads is True, expected a valid integer"),
        ("vocabulary=11", "vocabulary='many'", "vocabulary is 'many', expected a valid integer"),
        ("positions=16", "positions=" + "9" * 50, "positions is 9{20}"),
        ("epsilon=1e-05", "epsilon=-1.0", "epsilon is -1.0, expected a number of at least 0"),
        ("scale=0.5", "scale=0.0", "a scale, a cap or a window is not above 0"),
        ("    scale=0.5,\n", "", "CONFIG and MADE_OF do not fit: scale"),
        ("layers=2", "layers=2,\n    groups=2", "CONFIG and MADE_OF do not fit: groups and grouped"),
        ('"layer norm", ', "", "MADE_OF has not one kind of norms"),
        ('"layer norm"', '"layer nrom"', "MADE_OF says 'layer nrom', expected some of layer norm"),
    ],
)
def test_a_model_that_cannot_be_is_refused(project: Project, old: str, new: str, said: str) -> None:
    project.replace("model.py", old, new)
    with pytest.raises(SourceError, match=said):
        read_program(project.directory)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (f'channels("L00.IN", {", ".join(["*range(1000000)"] * 150)}, rank=1)', "expected channels"),
        ('channels("L00.IN", *range(1000000), rank=1)', r"name 1,000,000 neurons; the layer has 32"),
        ("\n".join(['channels("L00.IN", *range(1000000), rank=1)'] * 6), r"name 6,000,000 neurons"),
        ('channels("L00.IN", *range(5, 1000000000000), rank=1)', "expected channels"),
        (f'raw("L{"9" * 5000}.H00.QK")', "is not an address"),
        (f'constants("L{"9" * 5000}.IN", {{1: 1.0}})', "is for neurons"),
    ],
)
def test_statements_name_no_more_than_there_is(project: Project, statement: str, said: str) -> None:
    project.replace("layer_00.py", 'raw("L00.LN1")\n', f'raw("L00.LN1")\n{statement}\n')
    with pytest.raises(PellucidError, match=said):
        read_program(project.directory)


@pytest.mark.parametrize("name", ["model.py", "layer_00.py", "words.py", "stream.py", "edits.py", ".emitted"])
def test_a_file_of_a_program_is_a_regular_file_of_some_size(project: Project, name: str) -> None:
    path = project.directory / "program" / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with pytest.raises(ProjectError, match="is a pipe, expected a regular file"):
        read_program(project.directory)
    path.unlink()
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(ProjectError, match=r"holds 1,099,511,627,776 bytes; at most"):
        read_program(project.directory)


def test_values_that_read_each_other_in_a_long_row_are_refused(project: Project) -> None:
    row = ["@value\ndef v0(here):\n    return 0.5\n"]
    row += [f"@value\ndef v{n}(here, v{n - 1}):\n    return v{n - 1} + 0.5\n" for n in range(1, 2000)]
    project.replace("layer_00.py", "import raw", "import raw, value")
    project.replace("layer_00.py", 'raw("L00.N*.IN")\n', "\n\n".join(["", *row, 'raw("L00.N*.IN")\n']))
    with pytest.raises(SourceError, match=r"layer_00.py:\d+: v300 is the last of more than 300 values in a row"):
        read_program(project.directory)


def test_patterns_of_one_file_are_few(project: Project) -> None:
    shape = project.subject.decoder.addresses
    path = project.directory / "parts.toml"
    entry = '[[part]]\naddresses = ["{}"]\nform = "raw"\nresidual = "on"\n'
    path.write_text("".join(entry.format(f"L*.{'*' * (number % 7)}N*.IN") for number in range(4)))
    huge = shape.__class__(1, 1, 1 << 26, True)
    with pytest.raises(ProjectError, match="is one pattern too many"):
        read_dropped(path, huge)
    path.write_text(entry.format("L00.N*.IN"))
    assert read_dropped(path, shape) == frozenset()
