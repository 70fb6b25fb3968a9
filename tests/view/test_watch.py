"""Watching repeats on every save, survives mistakes, and ends with Ctrl-C."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cli_support import Workshop, pellucid
from pellucid.base.errors import SourceError
from pellucid.view import watch as watching
from pellucid.view.watch import watch


def interrupt(_: float) -> None:
    raise KeyboardInterrupt


def test_it_repeats_on_every_save_until_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "INTERVAL", 0.01)
    file = tmp_path / "layer_00.py"
    file.write_text("0")
    seen: list[str] = []
    read = threading.Event()

    def action() -> None:
        seen.append(file.read_text())
        read.set()
        if seen[-1] == "00000":
            raise KeyboardInterrupt

    def edit() -> None:
        for times in range(2, 6):
            assert read.wait(10)
            read.clear()
            new = tmp_path / "new"
            new.write_text("0" * times)
            new.replace(file)

    editor = threading.Thread(target=edit)
    editor.start()
    watch([file], action)
    editor.join()
    assert seen == ["0", "00", "000", "0000", "00000"]


def test_a_file_that_is_away_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "layer_00.py"
    file.write_text("0")
    calls: list[int] = []
    steps = iter([file.unlink, lambda: None, lambda: file.write_text("12"), lambda: interrupt(0)])
    watch([file], lambda: calls.append(1), lambda _: next(steps)())
    assert len(calls) == 2


def test_a_broken_source_is_said_and_watching_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def action() -> None:
        raise SourceError("layer_00.py:3: not Python")

    watch([tmp_path], action, interrupt)
    assert "pellucid: layer_00.py:3: not Python" in capsys.readouterr().err


def test_on_the_command_line(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_stamps", lambda paths: interrupt(0) if paths else [])
    assert pellucid("scratch", workshop.made, "L00.H01.QK", "--watch").code == 0
    assert "name one" in pellucid("verify", workshop.made, "--watch").complaint()
