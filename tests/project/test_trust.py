"""What may run is what was agreed to: its files by their hashes, not the path at which they lie."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pellucid.base.errors import ProjectError, SubjectError
from pellucid.base.trusted import contents, copy_program, expect, recorded, write_own
from pellucid.project.trust import is_trusted, require_trust, trust
from pellucid.subject import hub, locate


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a program, trusted as it is, and a state folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    directory = tmp_path / "made"
    (directory / "program" / "accounts").mkdir(parents=True)
    (directory / "program" / "__pycache__").mkdir()
    for name in ("pellucid.toml", "parts.toml", "program/model.py", "program/layer_00.py", "program/accounts/home.tsv"):
        (directory / name).write_text(f"# {name}\n")
    trust(directory)
    return directory


@pytest.mark.parametrize("name", ["program/model.py", "program/accounts/home.tsv", "pellucid.toml"])
def test_another_content_at_a_trusted_path_is_not_trusted(project: Path, name: str) -> None:
    require_trust(project)
    (project / name).write_text("import os  # a stranger's\n")
    assert not is_trusted(project)
    with pytest.raises(ProjectError, match=rf"last run, {name} changed; running it runs what is there now; .*--trust"):
        require_trust(project)
    require_trust(project, granted=True)
    require_trust(project)


def test_a_new_file_is_named_and_a_file_that_is_gone_runs_nothing(project: Path) -> None:
    (project / "program" / "layer_00.py").unlink()
    require_trust(project)
    (project / "program" / "numpy.py").write_text("import os\n")
    with pytest.raises(ProjectError, match=r"program/numpy\.py is new"):
        require_trust(project)


def test_of_many_changes_a_few_are_named(project: Path) -> None:
    for number in range(9):
        (project / "program" / f"layer_{number:02d}.py").write_text("# another\n")
    said = r"last run, program/layer_00\.py changed, .*, program/layer_03\.py is new and 5 more; running"
    with pytest.raises(ProjectError, match=said):
        require_trust(project)


def test_what_never_runs_may_change(project: Path) -> None:
    (project / "program" / ".emitted").write_text("L00.H00.QK\tabc\n")
    (project / "program" / "__pycache__" / "model.pyc").write_bytes(b"anything")
    (project / "parts.toml").write_text("# a residual is dropped\n")
    (project / "report.json").write_text("{}")
    require_trust(project)


def test_what_pellucid_writes_itself_stays_trusted_also_when_it_is_killed_between(project: Path) -> None:
    write_own(project, "program/layer_00.py", "# written by a command\n")
    require_trust(project)
    expect(project, {"program/layer_00.py": "# about to be written\n"})
    require_trust(project)  # killed before
    (project / "program" / "layer_00.py").write_text("# about to be written\n")
    require_trust(project)  # killed behind
    (project / "program" / "layer_00.py").write_text("# of somebody else\n")
    with pytest.raises(ProjectError, match="changed"):
        require_trust(project)


def test_what_pellucid_writes_to_a_strangers_directory_is_not_trusted_for_that(project: Path) -> None:
    other = project.parent / "other"
    write_own(other, "program/layer_00.py", "# written by a command\n")
    assert recorded(other) is None
    with pytest.raises(ProjectError, match="was not made here"):
        require_trust(other)


def test_the_same_content_at_another_path_is_asked_about(project: Path, tmp_path: Path) -> None:
    project.rename(tmp_path / "moved")
    with pytest.raises(ProjectError, match="was not made here"):
        require_trust(tmp_path / "moved")


@pytest.mark.parametrize(
    ("answer", "runs"), [("y\n", True), ("yes\n", True), ("\n", False), ("", False), ("n\n", False)]
)
def test_who_sits_at_a_terminal_is_asked_and_told_what_changed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str, runs: bool
) -> None:
    (project / "program" / "model.py").write_text("# mine\n")
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdin, "readline", lambda: answer, raising=False)
    if runs:
        require_trust(project)
        assert is_trusted(project)
    else:
        with pytest.raises(ProjectError, match="--trust"):
            require_trust(project)
    assert "program/model.py changed; running it runs what is there now. Run it? [y/N]" in capsys.readouterr().err


def test_devices_and_pipes_in_a_program_are_refused_unread(project: Path) -> None:
    os.mkfifo(project / "program" / "words.py")
    with pytest.raises(ProjectError, match=r"words\.py is a pipe, expected a regular file"):
        require_trust(project)
    (project / "program" / "words.py").unlink()
    (project / "program" / "words.py").symlink_to("/dev/zero")
    with pytest.raises(ProjectError, match=r"words\.py is a device"):
        require_trust(project, granted=True)
    (project / "program" / "words.py").unlink()
    (project / "program" / "far").symlink_to(project.parent, target_is_directory=True)
    with pytest.raises(ProjectError, match="far is a folder"):
        require_trust(project, granted=True)


def test_a_program_is_copied_from_regular_files_alone(project: Path, tmp_path: Path) -> None:
    copy_program(project, tmp_path / "copy")
    found = {
        path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*") if path.is_file()
    }
    assert found == {name for name in contents(project).files if name.startswith("program/")}
    for name in ("words.py", ".emitted"):
        (project / "program" / name).symlink_to("/dev/zero")
        with pytest.raises(ProjectError, match=f"{name} is a device"):
            copy_program(project, tmp_path / "copy")
        (project / "program" / name).unlink()


def test_files_too_large_to_be_text_are_refused_unread(project: Path) -> None:
    with (project / "program" / "words.py").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(ProjectError, match=r"words\.py holds 1,099,511,627,776 bytes; at most"):
        require_trust(project, granted=True)


def test_a_damaged_memory_is_none(project: Path) -> None:
    (memory,) = (project.parent / "state" / "pellucid" / "trusted").glob("*.json")
    for text in ("", "[]", '{"files": 3}', '{"files": {"pellucid.toml": 3}}', "\udcff"):
        memory.write_bytes(text.encode("utf-8", "surrogatepass"))
        assert not is_trusted(project)


def test_where_nothing_can_be_remembered_the_command_goes_on_and_says_so(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/state")
    require_trust(project, granted=True)
    assert "that it may run is not remembered" in capsys.readouterr().err.replace(str(project), "it")
    expect(project, {"program/model.py": "# written\n"})
    with pytest.raises(ProjectError, match="was not made here"):
        require_trust(project)


def test_processes_that_trust_at_once_lose_nothing(project: Path, tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from pellucid.base.trusted import *\n"
    code += "for name in sys.argv[2:]: write_own(Path(sys.argv[1]), f'program/{name}.py', name)\n"
    code += "for name in sys.argv[2:]: record(Path(sys.argv[1]) / name, {'pellucid.toml': name})\n"
    names = [[f"{letter}{number}" for number in range(20)] for letter in "abc"]
    running = [subprocess.Popen([sys.executable, "-c", code, str(project), *some]) for some in names]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert is_trusted(project)
    assert len(contents(project).files) == 4 + 60
    every = [name for some in names for name in some]
    assert [recorded(project / name) for name in every] == [{"pellucid.toml": [name]} for name in every]
    left = (tmp_path / "state" / "pellucid" / "trusted").iterdir()
    assert {path.suffix for path in left} == {".json"}


def test_the_hub_is_not_asked_for_what_a_stranger_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def snapshot_download(name: str, *, local_files_only: bool = False, **_: object) -> str:
        asked.append(not local_files_only)
        raise FileNotFoundError(name)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    said = "the hub is not asked for what a directory names that is not trusted"
    with pytest.raises(SubjectError, match=said), hub.without_hub():
        locate.locate("stranger/model")
    assert not any(asked)
    with pytest.raises(SubjectError, match="did not give it"):
        locate.locate("stranger/model")
    assert any(asked)
