"""A decompilation that is killed at any moment can be started again, and ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import checkpoints
import cli_support

KILLS = 10
PROGRAM = """
import sys, torch
torch.set_num_threads(1)
from pellucid.measure import pace
from dataclasses import replace
from pellucid.base.effort import Effort
from pellucid.verify import measure
few = replace(Effort.quick(), minutes=0.0, contexts=24)
Effort.quick = staticmethod(lambda: few)
measure.plan_for = lambda model, programs, effort: pace.plan(
    dict.fromkeys(["subject", *programs], pace.Pace(1e-6, 1e-6)), "subject", model.n_ctx, model.n_vocab, 1024, effort
)
from pellucid.cli import main
sys.argv = ["pellucid", *sys.argv[1:]]
main()
"""
"""The command line, with a plan that does not depend on how fast the machine is at the moment."""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("resume")
    checkpoints.write(root / "subject", checkpoints.hugging_face(3, n_embd=16, n_positions=32))
    cli_support.text_file(root / "text.txt")
    return root


def start(root: Path, directory: Path) -> subprocess.Popen[bytes]:
    """Begin a decompilation in a process group of its own."""
    arguments = [
        "decompile",
        str(root / "subject"),
        "-o",
        str(directory),
        "--corpus",
        str(root / "text.txt"),
        "--quick",
    ]
    environment = os.environ | {"XDG_STATE_HOME": str(root / "state"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()


def result(directory: Path) -> dict[str, str]:
    """All that a decompilation leaves for people and tools, by file."""
    files = [directory / name for name in ("parts.toml", "symbols.tsv", "report.json", "pellucid.toml")]
    files += sorted((directory / "program").glob("*.py"))
    return {str(file.relative_to(directory)): file.read_text(encoding="utf-8") for file in files}


def test_killed_at_ten_random_moments_it_ends_with_the_same_result(workshop: Path) -> None:
    begun = time.monotonic()
    finish(start(workshop, workshop / "undisturbed"))
    taken = time.monotonic() - begun
    expected = result(workshop / "undisturbed")
    draw = random.Random(0)
    for trial in range(KILLS):
        directory = workshop / f"killed-{trial}"
        process = start(workshop, directory)
        time.sleep(taken * draw.random())
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        finish(start(workshop, directory))
        found = result(directory)
        for name, text in expected.items():
            assert found[name] == text.replace("undisturbed", directory.name), f"{name} after kill {trial}"
        assert not list(directory.rglob("*.partial"))
