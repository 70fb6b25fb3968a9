"""Files of strangers are bounded and regular; what is written is whole or not there."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from pellucid.base.errors import ProjectError
from pellucid.base.files import atomic_path, passing_folder, read_text, remove_passing, stamps_of, write_text
from pellucid.base.lock import writing


def test_text_is_read_as_it_was_written_with_any_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "text"
    write_text(path, "Ada\r\nlives\rin\nOak Lane\u2028\n")
    assert path.read_bytes() == "Ada\r\nlives\rin\nOak Lane\u2028\n".encode()
    assert read_text(path) == "Ada\nlives\nin\nOak Lane\u2028\n"


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for name, kind in (("pipe", "a pipe"), ("zeros", "a device"), (".", "a folder")):
        with pytest.raises(ProjectError, match=f"is {kind}, expected a regular file"):
            read_text(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "missing")


def test_too_much_and_other_bytes_than_text_are_said(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"12345\xff")
    with pytest.raises(ProjectError, match="holds 6 bytes; at most 5 are read"):
        read_text(path, 5)
    with pytest.raises(ProjectError, match="not text in UTF-8: byte 5 is 0xff"):
        read_text(path)
    assert read_text(path, lenient=True) == "12345\ufffd"


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "text"
    write_text(path, "old")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(Path, "write_bytes", Mock(side_effect=full))
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_text(path, "new")
    assert caught.value.filename == str(path)
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("text", "old")]


def test_what_is_passing_is_removed_at_once_where_nothing_unwinds(tmp_path: Path) -> None:
    with passing_folder(tmp_path) as folder, atomic_path(tmp_path / "text") as temporary:
        (folder / "inside").write_text("a copy")
        temporary.write_text("half")
        remove_passing()
        assert not list(tmp_path.iterdir())
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_what_a_killed_process_was_writing_is_removed_by_the_next_writer(tmp_path: Path) -> None:
    script = """if True:
        import os, signal, sys
        from pathlib import Path
        from pellucid.base.files import atomic_path, passing_folder
        with passing_folder(Path(sys.argv[1]), ".program.") as folder, atomic_path(Path(sys.argv[1]) / "deep/w.bin"):
            (folder / "inside").write_text("a copy")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert len(list(tmp_path.rglob("*.partial"))) == 2
    with passing_folder(tmp_path, ".program."), atomic_path(tmp_path / "text") as temporary:
        temporary.write_text("of a process that runs")
        with writing(tmp_path):
            assert len(list(tmp_path.rglob("*.partial"))) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "text"]
    assert not list((tmp_path / "deep").iterdir())


def test_stamps_tell_what_changed(tmp_path: Path) -> None:
    file, folder = tmp_path / "one", tmp_path / "folder"
    folder.mkdir()
    (folder / "two").write_text("two")
    before = stamps_of(file, folder)
    assert [Path(name).name for name, *_ in before] == ["two"]
    assert stamps_of(file, folder) == before
    write_text(folder / "two", "owt")
    changed = stamps_of(file, folder)
    assert changed != before
    write_text(file, "one")
    assert stamps_of(file, folder) == (stamps_of(file)[0], *changed)
