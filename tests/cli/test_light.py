"""Commands that read or run a program do so on NumPy alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from test_start import started

from cli_support import Workshop

HEAVY = {"torch", "transformers", "scipy", "sklearn", "matplotlib", "tokenizers", "huggingface_hub"}


@pytest.mark.parametrize(
    "arguments",
    [["run", "DIR", "w1 w2 w3"], ["show", "DIR", "L00.H01.QK"], ["report", "DIR"]],
    ids=lambda arguments: arguments[0],
)
def test_what_needs_no_model_imports_none(workshop: Workshop, arguments: list[str]) -> None:
    printed, imported = started(*(str(workshop.made) if word == "DIR" else word for word in arguments))
    assert printed
    assert imported & HEAVY == set()


def test_run_says_what_the_program_says(workshop: Workshop) -> None:
    printed, _ = started("run", str(workshop.made), "w1 w2 w3", "--tokens", "4")
    program = [sys.executable, "-m", "program", "w1 w2 w3", "--tokens", "4"]
    answer = subprocess.run(program, cwd=workshop.made, capture_output=True, text=True, env=os.environ)
    assert printed == answer.stdout
