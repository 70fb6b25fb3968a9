"""A program is changed in memory, and printed: then it is what is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid
from cli_support import Workshop
from pellucid.base import trusted
from pellucid.base.address import Address
from pellucid.base.errors import ProjectError, SourceError
from pellucid.base.files import sha256_files, sha256_text
from pellucid.listing import importing, parse
from pellucid.listing.arrange import arranged
from pellucid.listing.change import with_constants, with_statements
from pellucid.listing.draft import Revision
from pellucid.listing.parse import read_program
from pellucid.project import project as module
from pellucid.project.parts_file import read_dropped
from printed import same

HEAD, NEURON = Address("QK", 0, 1), Address("IN", 1, 3)
SOURCE = '''@source("L00.H01.QK")
def looks_back(query, key):
    """Looks back."""
    return 6 * (key.position == query.position - 1)
'''


def changed(project: pellucid.opened.OpenedProject) -> None:
    """A head has a source, and a neuron is constant without residual."""
    project.take(with_statements(project.listing(), {HEAD: SOURCE}))
    project.take(with_constants(project.listing(), {NEURON: 0.5}))
    dropped = frozenset({NEURON, Address("OUT", 1, 5)})  # the latter is raw: its residual cannot be dropped
    project.take(arranged(project.listing(), dropped), dropped)


def test_what_was_taken_over_is_printed_at_once(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    project = pellucid.open(workshop.made, trust=True)
    before, state = workshop.files(), project.state()
    changed(project)
    assert project.listing()[HEAD].form == "source"
    assert project.dropped() == {NEURON}
    assert workshop.files() == before
    project.print_program()
    printed = workshop.files()
    layers = {f"program/{name}_{layer:02d}.py" for name in ("layer", "described") for layer in (0, 1)}
    written = {name for name, text in printed.items() if before.get(name) != text}
    assert written <= layers | {"program/__init__.py", "program/.emitted", "parts.toml", "scratch/emitted.json"}
    assert written >= {"program/layer_01.py", "program/described_00.py", "program/__init__.py", "parts.toml"}
    monkeypatch.setattr(module, "read_program", None)  # what was printed is known
    held = project.listing()
    assert (project.dropped(), project.state() != state) == ({NEURON}, True)
    same(read_program(workshop.made), held)
    assert read_dropped(workshop.made / "parts.toml", held.decoder.addresses) == {NEURON}
    project.print_program()
    assert workshop.files() == printed


def test_what_was_printed_is_not_parsed_by_the_next_command(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = pellucid.open(workshop.made, trust=True)
    changed(project)
    project.print_program()
    held = project.listing()
    monkeypatch.setattr(parse, "_tree", None)
    monkeypatch.setattr(parse, "check_whole", None)
    same(pellucid.open(workshop.made).listing(), held)


def test_what_runs_is_what_was_taken_over(workshop: Workshop) -> None:
    project = pellucid.open(workshop.made, trust=True)
    changed(project)
    assert project.program().sources.has("L00.H01.QK")
    assert "looks_back" in (workshop.made / "program" / "described_00.py").read_text()


def test_nobody_s_work_is_written_over(workshop: Workshop) -> None:
    project = pellucid.open(workshop.made, trust=True)
    changed(project)
    page = workshop.made / "program" / "layer_00.py"
    mine = page.read_text() + "# mine\n"
    page.write_text(mine)
    before = workshop.files()
    with pytest.raises(ProjectError, match=r"program/layer_00\.py changed while the program was being written"):
        project.print_program()
    assert workshop.files() == before
    assert page.read_text() == mine


def test_nothing_is_printed_that_could_not_be_read(workshop: Workshop) -> None:
    project = pellucid.open(workshop.made, trust=True)
    before, listing = workshop.files(), project.listing()
    statements = {key: found for key, found in listing.statements.items() if key != str(HEAD)}
    project.take(Revision(module.replace(listing, statements=statements), ()))
    with pytest.raises(SourceError, match=r"no statement for L00\.H01\.QK"):
        project.print_program()
    assert workshop.files() == before


def test_pages_that_are_known_are_not_read_again(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    project = pellucid.open(workshop.made, trust=True)
    whole = project.program().logits(np.array([[1, 2]]))
    opened: list[str] = []
    reading, loading = Path.open, importing._Loader.get_data

    def watched(path: Path, *how: Any, **more: Any) -> Any:
        opened.append(path.name)
        return reading(path, *how, **more)

    monkeypatch.setattr(Path, "open", watched)

    def loaded(loader: importing._Loader, path: str) -> bytes:
        opened.append(Path(path).name)
        return loading(loader, path)

    monkeypatch.setattr(importing._Loader, "get_data", loaded)
    monkeypatch.setattr(project, "require_trust", lambda: None)  # which hashes all files
    assert (project.program().logits(np.array([[1, 2]])) == whole).all()
    assert "prelude.py" in opened
    assert not [name for name in opened if name.startswith(("layer_", "embedding"))]


def test_files_are_opened_once_for_trust_and_state_until_they_change(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = pellucid.open(workshop.made, trust=True)
    read: list[str] = []
    reading = trusted.read_bytes

    def watched(path: Path, *how: Any) -> bytes:
        read.append(path.name)
        return reading(path, *how)

    monkeypatch.setattr(trusted, "read_bytes", watched)
    state = project.state()
    project.require_trust()
    assert project.state() == state
    assert read.count("layer_00.py") == read.count("pellucid.toml") == 1
    files = sha256_files(sorted((workshop.made / "program").glob("*.py")))
    assert state == sha256_text(f"{files}  {project.manifest.subject.weights_sha256}")  # as it has always been made
    page = workshop.made / "program" / "layer_00.py"
    page.write_text(page.read_text() + "# more\n")
    assert project.state() != state
    project.granted = False
    with pytest.raises(ProjectError, match=r"program/layer_00\.py changed"):
        project.require_trust()
    assert read.count("layer_00.py") == 2
