"""Imports point one way, and tests lie as what they test: a folder imports from itself and from folders above it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ORDER = [
    "base",
    "program",
    "family",
    "zoo",
    "subject",
    "exact",
    "corpus",
    "measure",
    "engine",
    "dictionary",
    "study",
    "listing",
    "forms",
    "project",
    "stages",
    "verify",
    "pipeline",
    "weightless",
    "accounts",
    "rewrite",
    "explain",
    "view",
    "cli",
]
STAGES = ["first", "lift", "about", "link", "tune", "understand", "wired"]
PACKAGE = Path(__file__).resolve().parents[1] / "src" / "pellucid"
TESTS = Path(__file__).resolve().parent


def imported(path: Path) -> set[str]:
    """The names of pellucid's folders that the module at `path` imports from, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 or path.parts[-2] == "program", f"{path}: relative import"
            if node.level == 0 and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("pellucid.")}
    return found & set(ORDER)


def folders() -> list[str]:
    """The folders of the package that hold Python."""
    return sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py")))


def test_every_folder_is_in_the_order() -> None:
    assert set(folders()) <= set(ORDER)


@pytest.mark.parametrize("folder", folders())
def test_imports_point_one_way(folder: str) -> None:
    allowed = set(ORDER[: ORDER.index(folder) + 1])
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        assert imported(path) <= allowed, f"{path.relative_to(PACKAGE)} imports {sorted(imported(path) - allowed)}"


def test_only_the_command_line_imports_the_command_line() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert path.parent.name == "cli" or path.name == "__main__.py" or "pellucid.cli" not in text, path


def test_programs_are_made_of_what_numpy_alone_runs() -> None:
    """What is copied into programs imports its neighbours, NumPy and the standard library."""
    for path in sorted((PACKAGE / "program").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "numpy"}, path


def test_stages_follow_each_other() -> None:
    """A stage imports from those before it; what lies beside their folders serves several."""
    for number, stage in enumerate(STAGES):
        for path in sorted((PACKAGE / "stages" / stage).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            later = [name for name in STAGES[number + 1 :] if f"pellucid.stages.{name}" in text]
            assert later == [], f"{path.relative_to(PACKAGE)} imports from {later}"


def test_every_stage_is_in_the_order() -> None:
    found = {path.name for path in (PACKAGE / "stages").iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert found == set(STAGES)


def test_tests_mirror_the_package() -> None:
    """Every folder of tests is one of the package, `golden` apart, which tests the command line as a whole."""
    found = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    assert {str(folder) for folder in found if not (PACKAGE / folder).is_dir()} <= {"golden"}
