"""The directory of a program without weights is reported, shown and run; for all else a line says what is needed."""

from __future__ import annotations

import importlib.util
import json
import py_compile
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from models import majority

from cli_support import Answer, pellucid


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Answer]]:
    """A directory that the command made, and what it said."""
    root = tmp_path_factory.mktemp("weightless")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(root / "state"))
        answer = pellucid("decompile", majority(root / "model"), "-o", root / "made")
        assert answer.code == 0, answer.err
        yield root / "made", answer


@pytest.fixture
def stranger(made: tuple[Path, Answer], tmp_path: Path) -> Path:
    """The same directory at a place where nothing was agreed to."""
    shutil.copytree(made[0], tmp_path / "made")
    return tmp_path / "made"


def test_the_report_is_what_decompile_said(made: tuple[Path, Answer]) -> None:
    directory, said = made
    assert pellucid("report", directory).out == said.out
    assert pellucid("report", directory, "--json").json == json.loads((directory / "weightless.json").read_text())


@pytest.mark.parametrize(
    ("pattern", "names"),
    [("look_0", ["look_0"]), ("L00.H00.QK", ["look_0"]), ("L00.H*", ["look_0"]), ("L00.N3.IN", ["answer"]),
     ("LNF", ["answer"]), ("*", ["look_0", "answer"])],
)  # fmt: skip
def test_functions_are_shown_by_name_and_by_address(made: tuple[Path, Answer], pattern: str, names: list[str]) -> None:
    directory, _ = made
    found = pellucid("show", directory, pattern, "--json").json
    assert [function["name"] for function in found] == names
    lines = (directory / "program" / "program.py").read_text().splitlines()
    for function in found:
        assert function["source"].splitlines()[0] == lines[function["line"] - 1]
        assert function["source"] in pellucid("show", directory, pattern).out
    if names[0] == "look_0":
        assert found[0]["addresses"] == ["L00.H00.QK", "L00.H00.OV"]
        assert found[0]["agreement"]["value"] == 1.0
        assert "100.0 % of" in pellucid("show", directory, pattern).out


def test_a_function_that_is_not_there_is_named(made: tuple[Path, Answer]) -> None:
    assert "did you mean look_0?" in pellucid("show", made[0], "lok_0").complaint()
    assert "its functions are look_0, answer" in pellucid("show", made[0], "zzz").complaint()


def test_it_runs(made: tuple[Path, Answer]) -> None:
    answer = pellucid("run", made[0], "<bos> a b b")
    assert answer.out.splitlines()[-1] == "   3  b        -> b"
    said = pellucid("run", made[0], "<bos> a a", "--json").json["said"]
    assert [entry["token"] for entry in said] == ["<bos>", "a", "a"]
    assert said[-1]["next"] == "a"
    assert "'q' is not one of its tokens" in pellucid("run", made[0], "<bos> q").complaint()
    assert "leave out --tokens" in pellucid("run", made[0], "a", "--tokens", 3).complaint()
    assert not list(made[0].rglob("__pycache__"))


def test_a_strangers_program_runs_only_if_trusted(stranger: Path) -> None:
    assert "--trust" in pellucid("run", stranger, "<bos> a").complaint()
    assert pellucid("report", stranger).code == 0
    assert pellucid("show", stranger, "*").code == 0
    assert pellucid("run", stranger, "<bos> a", "--trust").code == 0


def test_bytecode_that_a_stranger_put_beside_it_never_runs(stranger: Path) -> None:
    program = stranger / "program/program.py"
    found, other = program.stat(), stranger / "other.py"
    other.write_text("raise SystemExit('the stranger runs')\n", encoding="utf-8")
    cached = Path(importlib.util.cache_from_source(str(program)))
    cached.parent.mkdir()
    py_compile.compile(str(other), str(cached), doraise=True)
    stamped = cached.read_bytes()
    told = struct.pack("<II", int(found.st_mtime), found.st_size)  # as if it were compiled from the program
    cached.write_bytes(stamped[:8] + told + stamped[16:])
    assert pellucid("run", stranger, "<bos> a b a", "--trust").code == 0


def test_what_was_changed_by_hand_runs_or_is_said(stranger: Path) -> None:
    program = stranger / "program" / "program.py"
    text = program.read_text()
    program.write_text(text.replace("return look_0.top", "return 1 - look_0.top"))
    assert pellucid("run", stranger, "<bos> a a", "--trust", "--json").json["said"][-1]["next"] == "b"
    program.write_text(text.replace("return look_0.top", "return look_0.topp"))
    assert "AttributeError" in pellucid("run", stranger, "<bos> a a", "--trust").complaint()
    program.write_text("import nowhere\n" + text)
    assert "nowhere" in pellucid("run", stranger, "<bos> a a", "--trust").complaint()
    program.write_text("def f(:\n")
    assert "no Python" in pellucid("show", stranger, "*").complaint()


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "not JSON"), ("[]", "expected an object"), ('{"model": "a"}', "is missing"), (None, "not a project")],
)
def test_figures_of_another_shape_are_one_line(stranger: Path, text: str | None, said: str) -> None:
    if text is None:
        (stranger / "weightless.json").unlink()
    else:
        (stranger / "weightless.json").write_text(text)
    assert said in pellucid("report", stranger).complaint()
    assert said in pellucid("report", stranger, "--json").complaint()


@pytest.mark.parametrize(
    "arguments",
    ["diff {}", "edit {} --list", "check {}", "verify {}", "next {}", "front {}", "scratch {} L00.H00.QK"],
)
def test_other_commands_say_what_they_need(made: tuple[Path, Answer], arguments: str) -> None:
    complaint = pellucid(*arguments.format(made[0]).split()).complaint()
    assert "holds a program without weights" in complaint
    assert "--weights" in complaint


def test_it_is_no_model(made: tuple[Path, Answer], tmp_path: Path) -> None:
    for arguments in (("why", made[0], "a"), ("decompile", made[0], "-o", tmp_path / "out")):
        assert "name the model that it was made of" in pellucid(*arguments).complaint()
    assert not (tmp_path / "out").exists()
