"""What the command line imports before it knows what to do, and what a shell completes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = {"numpy", "torch", "transformers", "scipy", "sklearn", "matplotlib", "tokenizers", "safetensors"}
_TELL = """
import sys
from pellucid.__main__ import main
try:
    main()
finally:
    print(*sorted(sys.modules), file=sys.stderr)
"""


def started(*arguments: str, **environment: str) -> tuple[str, set[str]]:
    """What `pellucid` prints, and the modules that it had imported when it ended."""
    program = [sys.executable, "-c", _TELL, *arguments]
    answer = subprocess.run(program, capture_output=True, text=True, check=True, env=os.environ | environment)
    return answer.stdout, set(answer.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["--help"], ["decompile", "--help"], ["zoo", "card", "--help"], ["zoo", "list"]],
    ids=" ".join,
)
def test_help_imports_nothing_that_takes_long(arguments: list[str]) -> None:
    printed, imported = started(*arguments)
    assert printed
    assert imported & HEAVY == set()


def test_every_command_has_help_without_importing_what_it_needs() -> None:
    """Their options are all known once the command line is imported, whichever of them is asked for."""
    code = "import sys, typer\nfrom pellucid.cli import app\ntyper.main.get_command(app)\nprint(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(answer.stdout.split()) & HEAVY == set()


def test_the_package_is_imported_without_what_its_verbs_need() -> None:
    code = "import sys, pellucid\nprint(*sys.modules)\npellucid.PellucidError, dir(pellucid)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(answer.stdout.split()) & HEAVY == set()


def test_a_shell_completes_commands_and_options() -> None:
    asked = {"_PELLUCID_COMPLETE": "complete_bash", "COMP_WORDS": "pellucid deco", "COMP_CWORD": "1"}
    code = "import sys\nsys.argv[0] = 'pellucid'\nfrom pellucid.__main__ import main\nmain()"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | asked)
    assert answer.stdout.split() == ["decompile"]
    options = asked | {"COMP_WORDS": "pellucid show --j", "COMP_CWORD": "2"}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | options)
    assert answer.stdout.split() == ["--json"]
