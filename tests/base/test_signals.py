"""A process that is told to end takes away what is passing, and says with its code what ended it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pellucid.base.lock import LOCK

_WORKS = """
import sys, time
from pathlib import Path
from pellucid.base.files import atomic_path, passing_folder
from pellucid.base.lock import writing
from pellucid.base.signals import answer_signals, exit_code
answer_signals()
directory, stubborn = Path(sys.argv[1]), sys.argv[2:]
try:
    with writing(directory), passing_folder(directory) as folder, atomic_path(directory / "weights") as temporary:
        (folder / "copy").write_text("copy")
        temporary.write_text("half")
        try:
            print("works", flush=True)
            time.sleep(60)
        finally:
            if stubborn:
                print("ends", flush=True)
                time.sleep(60)
except KeyboardInterrupt as error:
    sys.exit(exit_code(error))
"""
_STARTS = """
import sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "pellucid.cli":
            print("starts", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Slow())
from pellucid.__main__ import main
main()
"""


def running(code: str, said: str, *arguments: object, ignores: signal.Signals | None = None) -> subprocess.Popen[str]:
    """A process that runs `code` and has `said` that it is under way; whoever starts the tests may ignore signals."""

    def usual() -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN if each is ignores else signal.SIG_DFL)

    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=usual)
    assert process.stdout is not None
    assert process.stdout.readline() == f"{said}\n"
    return process


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_leaves_nothing_half_written(tmp_path: Path, name: str, code: int) -> None:
    with running(_WORKS, "works", tmp_path) as process:
        process.send_signal(getattr(signal, name))
        assert process.communicate() == ("", "")
    assert process.returncode == code
    assert not list(tmp_path.iterdir())


def test_a_second_one_ends_a_process_that_is_slow_to_end(tmp_path: Path) -> None:
    with running(_WORKS, "works", tmp_path, "stubborn") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "ends\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate() == ("", "")
    assert process.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]  # which nobody holds


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_while_starting_ends_without_a_traceback(name: str, code: int) -> None:
    with running(_STARTS, "starts") as process:
        process.send_signal(getattr(signal, name))
        assert process.communicate() == ("", "")
    assert process.returncode == code


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    with running(_WORKS, "works", tmp_path, ignores=signal.SIGHUP) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 143
    assert os.listdir(tmp_path) == []
