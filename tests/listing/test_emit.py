"""Emission fills gaps and never overwrites what a person wrote."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from emitted import Project
from safetensors import safe_open

import checkpoints
from pellucid.base.address import Address
from pellucid.base.errors import SourceError
from pellucid.family.canonical import canonical
from pellucid.family.shapes import shapes
from pellucid.listing import printing as module
from pellucid.listing.emit import emit
from pellucid.listing.parse import read_program
from printed import write_constants, write_statements

QK = Address.parse("L00.H01.QK")
LOOKS = '''@source("L00.H01.QK")
def previous_token(query, key):
    """Looks back."""
    return 6.2 * (key.previous == query.token)'''


def texts(project: Project) -> dict[str, str]:
    """Every file of a program."""
    return {path.name: path.read_text(encoding="utf-8") for path in (project.directory / "program").iterdir()}


def neuron(index: int, name: str = "fires", kind: str = "IN") -> str:
    """A source of a neuron of layer 0."""
    return f'@source("L00.N{index:04d}.{kind}")\ndef {name}(here):\n    return 0.5 * (here.token == "w1")'


def test_again_changes_nothing(project: Project) -> None:
    before = texts(project)
    emission = emit(project.subject, project.directory)
    assert (emission.written, emission.kept) == ((), ())
    assert texts(project) == before


def test_hand_edits_survive(project: Project) -> None:
    write_statements(project.directory, {QK: LOOKS, Address.parse("L00.N0003.IN"): neuron(3)})
    write_constants(project.directory, {Address("IN", 0, 9): 0.5})
    project.replace("described_00.py", "6.2 *", "strength() *")
    project.replace("described_00.py", "def previous_token", "def induction")
    helper = '# a note of mine\nTHREE = 3.0\n\n\ndef strength():\n    """Mine too."""\n    return 2 * THREE\n'
    project.replace("described_00.py", '@source("L00.H01.QK")', f'{helper}\n\n@source("L00.H01.QK")')
    project.replace("described_00.py", "9: 0.5", "9: 0.5, 10: -1.5")
    project.replace("described_00.py", '"""Layer 0', '"""My words about what layer 0 does')
    project.replace("layer_00.py", '"""Layer 0', '"""My words about layer 0')
    project.write("layer_01.py", project.read("layer_01.py") + "# the end\n")
    project.write("vocabulary.py", project.read("vocabulary.py") + "# mine\n")
    edited = texts(project)
    emission = emit(project.subject, project.directory)
    assert emission.kept == ("vocabulary.py",)
    again = write_statements(project.directory, {QK: LOOKS, Address.parse("L00.H00.QK"): None})
    assert again.kept == ("L00.H01.QK",)
    assert write_constants(project.directory, {Address("IN", 0, 9): 7.0}).kept == ("L00.IN.described",)
    assert texts(project) == edited
    project.load()
    listing = read_program(project.directory)
    assert listing[QK].by_person
    assert listing[QK].source == "described_00.py:induction"
    assert not listing[Address.parse("L00.N0003.IN")].by_person


def test_a_person_may_go_back_to_raw(project: Project) -> None:
    write_statements(project.directory, {QK: LOOKS})
    project.replace("described_00.py", LOOKS, 'raw("L00.H01.QK")')
    project.replace("described_00.py", "import source", "import raw")
    assert write_statements(project.directory, {QK: LOOKS}).kept == ("L00.H01.QK",)
    assert read_program(project.directory).form(QK) == "raw"


def test_gaps_are_filled_in_their_place(project: Project) -> None:
    before = texts(project)
    project.replace("layer_00.py", 'raw("L00.H01.QK")\n', "")
    project.replace("layer_00.py", 'raw("L00.N*.OUT")\n', "")
    project.replace("embedding.py", 'raw("EMB.TOK")\n', "")
    (project.directory / "program" / "layer_01.py").unlink()
    (project.directory / "program" / "runtime.py").unlink()
    assert set(emit(project.subject, project.directory).written) == {
        "layer_00.py",
        "layer_01.py",
        "embedding.py",
        "runtime.py",
    }
    order = [[s.key for s in page.statements] for page in read_program(project.directory).pages.values()]
    assert texts(project).keys() == before.keys()
    assert all(sorted(text.split()) == sorted(texts(project)[name].split()) for name, text in before.items())
    assert order[1].index("L00.H01.QK") == order[1].index("L00.H00.OV") + 1


def test_swapping_back_restores_the_file(project: Project) -> None:
    before = texts(project)
    parts = {
        QK: LOOKS,
        **{Address("IN", 0, n): neuron(n) for n in (5, 3, 9)},
        Address("OUT", 0, 2): neuron(2, kind="OUT"),
    }
    write_statements(project.directory, parts)
    write_constants(project.directory, {Address("IN", 0, n): n / 7 for n in (1, 9, 20)})
    assert "    what neurons write (OUT)      32       0       0          1" in project.read("layer_00.py")
    write_statements(project.directory, dict.fromkeys((*parts, *(Address("IN", 0, n) for n in (1, 20)))))
    assert texts(project) == before


def test_written_sources_are_formatted_numbered_and_imported(project: Project) -> None:
    write_statements(project.directory, {QK: LOOKS, **{Address("IN", 0, n): neuron(n) for n in (3, 5)}})
    write_constants(project.directory, {Address("IN", 1, n): n / 7 for n in range(30)})
    text = project.read("described_00.py")
    assert "from .prelude import source\n" in text
    assert "def fires(here)" in text
    assert "def fires_2(here)" in text
    assert '"""Layer 0 of random, described: 1 head and 2 neurons. Nothing here runs in the full program.\n' in text
    assert "\nin 5 numbers." in text
    assert "raw            where" not in text
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", "--isolated", "--line-length", "120", "program"],
        cwd=project.directory, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    project.load()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('raw("L00.H00.QK")', "is not a statement about L00.H01.QK"),
        ("x = 1", "is not a statement about L00.H01.QK"),
        (f"{LOOKS}\n\nraw('L00.LN1')", "is not a statement about"),
        ('@source("L00.H01.QK")\ndef f(query, key):\n    return open("x")', "open is not known here"),
        ("@source('L00.H01.QK')\ndef f(:", "described_00.py:2: not Python"),
    ],
)
def test_what_is_no_statement_is_refused(project: Project, text: str, said: str) -> None:
    before = texts(project)
    with pytest.raises(SourceError, match=said):
        write_statements(project.directory, {QK: text})
    assert texts(project) == before


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_crash_leaves_nothing_that_looks_like_a_persons(
    project: Project, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    true, calls = module.write_text, []

    def crash(path: Path, text: str) -> None:
        calls.append(path)
        if len(calls) == stop:
            raise KeyboardInterrupt
        true(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_text", crash)
        with pytest.raises(KeyboardInterrupt):
            write_statements(project.directory, {QK: LOOKS})
    assert not any(statement.by_person for statement in read_program(project.directory).statements.values())
    write_statements(project.directory, {QK: None})
    assert write_statements(project.directory, {QK: LOOKS}).kept == ()
    assert read_program(project.directory).form(QK) == "source"


def test_a_crash_while_emitting_leaves_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = checkpoints.in_memory(checkpoints.hugging_face())
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        emit(subject, tmp_path / "project")
    assert not (tmp_path / "project" / "program").exists()


@pytest.mark.parametrize(
    "name", ['"""\nimport os\nos.abort()\n"""', "x\\", "x\u2028y\x00'\"", "a\nraw('b')", "/", "…é"]
)
def test_names_are_data(make: Callable[..., Project], tmp_path: Path, name: str) -> None:
    subject = replace(make().subject, name=name)
    emit(subject, tmp_path / "other")
    for path in (tmp_path / "other" / "program").glob("*.py"):
        assert "abort" not in ast.unparse(strip_texts(ast.parse(path.read_text(encoding="utf-8"))))
    Project(tmp_path / "other", subject).load()


def strip_texts(tree: ast.Module) -> ast.Module:
    """The code without its texts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return tree


def test_weights_hold_the_means_until_others_are_given(project: Project) -> None:
    path = project.directory / "weights.safetensors"
    emit(project.subject, project.directory, {"L00.IN": torch.ones(32)})
    stamp = path.stat().st_mtime_ns
    emit(project.subject, project.directory)
    assert path.stat().st_mtime_ns == stamp
    path.write_bytes(path.read_bytes()[:-1])
    emit(project.subject, project.directory, {"L00.IN": torch.zeros(32)})
    with safe_open(path, "pt") as file:
        assert file.get_tensor("mean.L00.IN").tolist() == [0.0] * 32
        assert set(shapes(canonical(project.subject.decoder))) < set(file.keys())


def test_git_ignores_what_is_re_created(project: Project) -> None:
    path = project.directory / ".gitignore"
    path.write_text("mine\n")
    emit(project.subject, project.directory)
    assert {"mine", "weights.safetensors", "__pycache__/"} <= set(path.read_text().split())


def test_a_page_says_what_runs_where(project: Project) -> None:
    text = project.read("layer_00.py")
    assert 15 <= len(text.splitlines()) <= 60
    assert text.startswith('"""Layer 0 of random: 2 heads of 4 coordinates, then 32 neurons.\n')
    assert "what runs                        raw  lifted  source  described   parameters\n" in text
    assert "where heads look (QK)          2       0       0          0          144\n" in text
