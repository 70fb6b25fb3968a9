"""Imports point one way: a folder may import only from itself and from folders listed above it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ORDER = [
    "base",
    "family",
    "zoo",
    "subject",
    "exact",
    "experiment",
    "parts",
    "explain",
    "listing",
    "match",
    "accounts",
    "rewrite",
    "view",
    "cli",
]
PACKAGE = Path(__file__).resolve().parents[1] / "src" / "pellucid"


def imported(path: Path) -> set[str]:
    """The names of pellucid's folders that the module at `path` imports from, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 or path.parts[-2] == "listing", f"{path}: relative import"
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
