"""The route as a whole, on a model whose mechanism is known; what is printed runs, and what is wrong is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from models import majority

from cli_support import pellucid as command
from pellucid.base.errors import ProjectError, SubjectError
from pellucid.weightless.decompile import Decompiled, decompile_weightless, suits
from pellucid.weightless.emit import count, lines
from pellucid.weightless.task import read_task


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Decompiled]:
    """A model that answers with the token it has seen more of, decompiled."""
    root = tmp_path_factory.mktemp("weightless")
    return root / "out", decompile_weightless(str(majority(root / "model")), root / "out")


def test_a_known_mechanism_is_found(made: tuple[Path, Decompiled]) -> None:
    _, found = made
    assert "scores = 0\n" in found.text
    assert "look_0.top" in found.text
    assert found.figures.match["all"].rows.value == 1.0
    assert found.figures.misses == []
    assert found.figures.verdict == "decompiled"


def test_the_figures_are_those_of_the_printed_program(made: tuple[Path, Decompiled]) -> None:
    directory, found = made
    text = (directory / "program" / "program.py").read_text()
    assert count(text) == found.figures.numbers
    assert lines(text) == found.figures.lines
    assert "L00.H00.QK" in text
    saved = json.loads((directory / "weightless.json").read_text())
    assert saved["verdict"] == found.figures.verdict
    assert saved["probes"]["n"] == found.figures.probes.clear.n  # type: ignore[union-attr]


def test_the_program_runs_by_itself(made: tuple[Path, Decompiled], tmp_path: Path) -> None:
    directory, _ = made
    (tmp_path / "program").symlink_to(directory / "program")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for text, wanted in (("<bos> a b b", "b"), ("<bos> a a b", "a")):
        command = [sys.executable, "-m", "program", text]
        run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        assert run.stdout.splitlines()[-1].endswith(f"-> {wanted}")
    wrong = subprocess.run([sys.executable, "-m", "program", "<bos> q"], cwd=tmp_path, capture_output=True, text=True)
    assert wrong.returncode != 0
    assert "'q' is not one of its tokens" in wrong.stderr


@pytest.mark.parametrize("pair", [("\uff11", "1"), ("in", "\ud800")])
def test_tokens_may_be_called_anything(tmp_path: Path, pair: tuple[str, str]) -> None:
    model = majority(tmp_path / "model", vocabulary=(*pair, "<bos>", "<eos>"))
    found = decompile_weightless(str(model), tmp_path / "out", seconds=1.0)
    assert found.figures.verdict == "decompiled"
    assert count((tmp_path / "out" / "program" / "program.py").read_text()) == found.figures.numbers
    saved = json.loads((tmp_path / "out" / "program" / "vocabulary.json").read_text())
    assert saved["tokens"][:2] == list(pair)


def test_rows_are_sampled_where_there_are_none(tmp_path: Path) -> None:
    found = decompile_weightless(str(majority(tmp_path / "model", rows=False)), tmp_path / "out", seconds=1.0)
    assert found.figures.sampled
    assert list(found.figures.match) == ["sampled"]
    assert not suits(str(tmp_path / "model"))


def test_a_strangers_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(ProjectError, match="not ours"):
        decompile_weightless(str(majority(tmp_path / "model")), tmp_path / "out")


@pytest.mark.parametrize("line", ["{", '{"ids": [0]}', '{"ids": [9], "scored": [0]}', '{"ids": [0], "scored": [3]}'])
def test_a_broken_row_is_named(tmp_path: Path, line: str) -> None:
    import gzip

    directory = majority(tmp_path / "model")
    with gzip.open(directory / "inputs.jsonl.gz", "wt") as stream:
        stream.write('{"ids": [2, 0], "scored": [1]}\n' + line + "\n")
    with pytest.raises(SubjectError, match=r"inputs\.jsonl\.gz:2"):
        read_task(directory)


def test_options_that_change_nothing_are_said(tmp_path: Path) -> None:
    answer = command(
        "decompile", "zoo:sort", "-o", tmp_path / "made", "--understand", 60, "--stray", 0.3, "--size", "small"
    )
    assert "an ordinary program without weights, where --understand, --stray, --size change nothing" in answer.err
    assert answer.code == 0
    assert (tmp_path / "made" / "weightless.json").is_file()
