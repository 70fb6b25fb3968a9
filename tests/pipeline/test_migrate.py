"""A directory that 0.1 wrote (format 1) is read as it is, and brought over whole: statements, descriptions and edits.

`format_1.tar.xz` holds one, as `decompile --raw --quick` made it of `checkpoints.hugging_face(5, n_inner=6)`, with a
source edited by hand, a rule and a suppressed token; its text and its measurements are left out.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from cli_support import lean, own_work, pellucid
from pellucid.family.canonical import canonical
from pellucid.family.shapes import shapes
from pellucid.listing.load import load_program
from pellucid.listing.parse import is_format_1, read_program
from pellucid.listing.weights import write_weights
from pellucid.project.project import Project
from pellucid.project.trust import trust
from pellucid.rewrite.edit import read_records
from pellucid.verify.running import Running

IDS = np.array([[1, 2, 4, 1, 7, 9, 10, 1], [3, 3, 1, 8, 2, 1, 6, 5]])
LAST = [
    [-1.48304, 0.341, -0.07103, -0.92505, 0.25079, 1.47397, -0.39139, -0.51245, -0.5363, -0.43318, 0.80514],
    [-0.22792, -0.12764, 1.54027, -0.7148, 0.521, 1.44451, 0.27348, -0.39214, -0.52328, 0.02205, 0.40311],
]
"""What 0.1 says behind `IDS`."""
SAID = "w1 w2 w10 w10 w10 w10 w1 w10 w10 w10"


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of format 1, which its owner may run."""
    with tarfile.open(Path(__file__).with_name("format_1.tar.xz")) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    with lean(tmp_path / "state"):
        trust(tmp_path / "made")
        yield Path("made")


def logits(directory: Path) -> np.ndarray:
    return load_program(directory).logits(IDS)


def test_a_program_of_format_1_is_read_and_run(old: Path) -> None:
    np.testing.assert_allclose(logits(old)[:, -1], LAST, atol=2e-5)
    assert pellucid("run", old, "w1 w2", "--tokens", 8).out.strip() == SAID
    listing = read_program(old)
    assert (listing.decoder.family, listing.decoder.sizes.neuron, listing.decoder.layers) == ("gpt2", 6, 2)
    project = Project.open(old)
    running = Running(project.model, project.program())
    ids = running.model.rows(IDS.tolist()).ids
    found = running.model.run(ids, ("logits",), edits=running.edits(ids))["logits"]
    np.testing.assert_allclose(found[:, -1], LAST, atol=2e-5)


def test_it_is_brought_over_with_its_edits(old: Path) -> None:
    before, records = logits(old), read_records(old)
    text = {page.name: page.text for page in read_program(old).pages.values()}
    edits = (old / "program" / "edits.py").read_text()
    answer = pellucid("migrate", old)
    assert answer.code == 0
    assert answer.out.startswith("made is of format 2 now; written anew: prelude.py, runtime.py, ")
    assert not is_format_1(old / "program")
    assert Project.open(old).manifest.format == 2
    assert np.abs(logits(old) - before).max() <= 1e-6
    assert {page.name: page.text for page in read_program(old).pages.values()} == text
    assert (old / "program" / "edits.py").read_text() == edits
    assert read_records(old) == records
    assert pellucid("run", old, "w1 w2", "--tokens", 8).out.strip() == SAID  # as trusted as before
    with safe_open(old / "weights.safetensors", "np") as file:
        names = set(file.keys())
    decoder = canonical(Project.open(old).subject.decoder)
    assert set(shapes(decoder)) == {name for name in names if not name.startswith(("mean.", "lifted."))}
    assert {"mean.L00.IN", "lifted.L00.H01.OV.read"} <= names
    assert read_program(old).decoder == replace(decoder, family="printed", upcast=True)
    assert pellucid("migrate", old).out == "made is of format 2 already\n"


def test_an_edit_of_before_is_undone_afterwards(old: Path) -> None:
    assert pellucid("migrate", old).code == 0
    before = logits(old)
    assert pellucid("edit", old, "--undo", 3).code == 0
    changed = logits(old) - before
    assert changed[..., 3].min() > 0.1
    assert pellucid("edit", old, "--undo", 2, "--undo", 1).code == 0
    project = Project.open(old)
    wanted = project.model.extend(IDS)[0]
    assert np.abs(logits(old) - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_what_was_cut_short_is_gone_on_with(old: Path) -> None:
    """Ended behind the weights and before the pages, it goes on from there."""
    before, project = logits(old), Project.open(old)
    write_weights(project.subject, old, format_1=False)
    assert is_format_1(old / "program")
    assert pellucid("migrate", old).code == 0
    assert np.abs(logits(old) - before).max() <= 1e-6


def test_what_a_person_changed_beside_statements_is_not_lost(old: Path) -> None:
    with own_work(old):
        path = old / "program" / "parts.py"
        path.write_text(path.read_text() + "\n# mine\n")
    said = pellucid("migrate", old).complaint()
    assert "program: parts.py was changed by hand, and a program of format 2 has others in their place" in said
    assert is_format_1(old / "program")
    assert Project.open(old).manifest.format == 1
    np.testing.assert_allclose(logits(old)[:, -1], LAST, atol=2e-5)


def test_a_stranger_s_program_is_not_brought_over(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(old.resolve().parent / "other"))
    assert "--trust" in pellucid("migrate", old).complaint()
    assert pellucid("migrate", old, "--trust").code == 0


def test_a_later_format_is_refused(old: Path) -> None:
    with own_work(old):
        path = old / "pellucid.toml"
        path.write_text(path.read_text().replace("format = 1", "format = 3"))
    assert "format is 3, this version reads 1 and 2; update pellucid" in pellucid("report", old).complaint()
