"""Whoever writes to a project is alone; a lock dies with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from pellucid.base.errors import ProjectError
from pellucid.base.lock import LOCK, alone, writing

_HOLDS = """
import sys
from pathlib import Path
from pellucid.base.lock import writing
with writing(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
_COUNTS = """
import sys
from pathlib import Path
from pellucid.base.lock import alone
path = Path(sys.argv[1])
for _ in range(200):
    with alone(path.with_suffix(".lock")):
        path.write_text(str(int(path.read_text()) + 1))
"""


def holder(directory: Path) -> subprocess.Popen[str]:
    """Another process that writes to `directory` until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_told_who_writes(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        said = rf"is being written by process {process.pid} on .*since \d\d:\d\d\)"
        with pytest.raises(ProjectError, match=said), writing(tmp_path):
            pass
        process.communicate("")
    with writing(tmp_path):
        assert (tmp_path / LOCK).is_file()
    assert not list(tmp_path.iterdir())


def test_a_killed_writer_is_no_obstacle(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / LOCK).is_file()
    with writing(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_the_same_writer_may_write_again_within(tmp_path: Path) -> None:
    refused: list[ProjectError] = []

    def other() -> None:
        try:
            with writing(tmp_path):
                pass
        except ProjectError as error:
            refused.append(error)

    with writing(tmp_path):
        with writing(tmp_path / "."):
            pass
        assert (tmp_path / LOCK).is_file()
        thread = Thread(target=other)
        thread.start()
        thread.join()
    assert len(refused) == 1


def test_a_lock_is_given_back_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writing(tmp_path):
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


def test_a_lock_that_is_a_link_or_a_pipe_is_refused_and_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    project = tmp_path / "project"
    project.mkdir()
    for make in (os.symlink, os.link):
        make(precious, project / LOCK)
        with pytest.raises(ProjectError, match="is no lock of ours"), writing(project):
            pass
        (project / LOCK).unlink()
    os.mkfifo(project / LOCK)
    with pytest.raises(ProjectError, match="is no lock of ours"), writing(project):
        pass
    assert precious.read_text() == "precious"


def test_who_waits_for_a_lock_loses_nothing(tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.write_text("0")
    others = [subprocess.Popen([sys.executable, "-c", _COUNTS, str(count)]) for _ in range(3)]
    for _ in range(100):
        with alone(count.with_suffix(".lock")):
            count.write_text(str(int(count.read_text()) + 1))
    assert [other.wait() for other in others] == [0, 0, 0]
    assert count.read_text() == "700"
