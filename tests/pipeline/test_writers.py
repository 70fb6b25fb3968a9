"""What writes to a directory waits for nobody: while another writes there, it says so and writes nothing."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

from cli_support import Workshop
from cli_support import pellucid as command
from pellucid.base.lock import writing


@pytest.mark.parametrize(("name", "arguments", "written"), [
    ("front", ["--quick"], "front.json"),
    ("scratch", ["L00.H01.QK"], "scratch/L00.H01.QK.safetensors"),
])  # fmt: skip
def test_two_do_not_write_at_once(workshop: Workshop, name: str, arguments: list[str], written: str) -> None:
    answers: list[tuple[int, str]] = []

    def other() -> None:
        found = command(name, workshop.made, *arguments)
        answers.append((found.code, found.err))

    with writing(workshop.made):
        thread = Thread(target=other)
        thread.start()
        thread.join()
    assert answers[0][0] == 2
    assert "is being written by process" in answers[0][1]
    assert not (workshop.made / written).exists()


def test_a_front_that_goes_elsewhere_needs_no_lock(workshop: Workshop, tmp_path: Path) -> None:
    answers: list[int] = []
    with writing(workshop.made):
        thread = Thread(
            target=lambda: answers.append(command("front", workshop.made, "--quick", "-o", tmp_path / "f").code)
        )
        thread.start()
        thread.join()
    assert answers == [0]
