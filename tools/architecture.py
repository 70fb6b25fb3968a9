"""The picture of `docs/architecture.md`: which folder of the package imports from which, read from the source.

    python tools/architecture.py            # writes docs/images/architecture.svg anew
    python tools/architecture.py --check    # ends with 1 if it would change

A row is a folder, and a dot stands under what it imports from. Folders stand in an order in which each imports only
from those above it. Nothing is counted, so that the picture changes only where folders or their imports do.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Set
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "pellucid"
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
ROW, LEFT, TOP, RADIUS = 26, 120, 92, 6
INK, QUIET, LINE, DOT, OWN = "#1d2733", "#66717f", "#dde3ea", "#2f6f9f", "#eef2f6"

Modules = Mapping[str, str]
"""The text of modules by their path in the package."""


def modules(package: Path = PACKAGE) -> dict[str, str]:
    """The text of every module in a folder of the package."""
    paths = sorted(path for path in package.rglob("*.py") if path.parent != package)
    return {path.relative_to(package).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def imports(texts: Modules) -> dict[str, set[str]]:
    """The other folders that the modules of each folder import from."""
    folders = {module.partition("/")[0] for module in texts}
    found: dict[str, set[str]] = {folder: set() for folder in sorted(folders)}
    for module, text in texts.items():
        own = module.partition("/")[0]
        found[own] |= (set(_imported(text)) & folders) - {own}
    return found


def _imported(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("pellucid."))


def in_order(found: Mapping[str, Set[str]]) -> list[str]:
    """The folders, each behind all that it imports from; those that import least come first, then by name.

    Raises `ValueError` naming folders that import from each other in a circle.
    """
    order: list[str] = []
    while left := sorted(set(found) - set(order), key=lambda folder: (len(found[folder]), folder)):
        ready = [folder for folder in left if found[folder] <= set(order)]
        if not ready:
            raise ValueError(f"these folders import from each other: {', '.join(left)}")
        order.append(ready[0])
    return order


def about(texts: Modules, folder: str) -> str:
    """The first sentence of what a folder says of itself."""
    said = ast.get_docstring(ast.parse(texts.get(f"{folder}/__init__.py", ""))) or ""
    return " ".join(said.split("\n\n")[0].split()).partition(". ")[0].rstrip(".")


def drawn(texts: Modules) -> str:
    """The picture as SVG; the same text for the same imports."""
    found = imports(texts)
    order = in_order(found)
    right = LEFT + ROW * len(order)
    width, height = right + 720, TOP + ROW * len(order) + 40
    parts = list(_frame(order, width, height))
    for row, folder in enumerate(order):
        y = TOP + ROW * row + ROW // 2
        parts.append(_text(LEFT - 14, y, folder, INK, "end", 600))
        parts.append(_text(right + 14, y, about(texts, folder), QUIET))
        for there in sorted(found[folder]):
            x = LEFT + ROW * order.index(there) + ROW // 2
            told = escape(f"{folder} imports from {there}")
            parts.append(f'<circle cx="{x}" cy="{y}" r="{RADIUS}" fill="{DOT}"><title>{told}</title></circle>')
    return "\n".join([*parts, "</svg>", ""])


def _frame(order: list[str], width: int, height: int) -> Iterator[str]:
    """What stands behind the dots: lines, the diagonal, and the names above."""
    bottom, right = TOP + ROW * len(order), LEFT + ROW * len(order)
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
    yield 'font-family="Helvetica, Arial, sans-serif" font-size="12" role="img" aria-label="Imports between folders">'
    yield f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    for number, folder in enumerate(order):
        x, y = LEFT + ROW * number, TOP + ROW * number
        yield f'<rect x="{x}" y="{y}" width="{ROW}" height="{ROW}" fill="{OWN}"/>'
        yield f'<path d="M{LEFT} {y}H{right}M{x} {TOP}V{bottom}" stroke="{LINE}" fill="none"/>'
        yield (
            f'<text transform="translate({x + ROW // 2 + 4} {TOP - 8}) rotate(-50)" fill="{QUIET}">'
            f"{escape(folder)}</text>"
        )
    yield f'<path d="M{LEFT} {bottom}H{right}M{right} {TOP}V{bottom}" stroke="{LINE}" fill="none"/>'
    yield _text(
        LEFT,
        bottom + 22,
        "a dot: the folder at the left imports from the one above",
        QUIET,
    )


def _text(x: int, y: int, said: str, colour: str, anchor: str = "start", weight: int = 400) -> str:
    how = f'fill="{colour}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x}" y="{y + 4}" {how}>{escape(said)}</text>'


def main(arguments: list[str]) -> int:
    """Write the picture, or with `--check` say whether it is up to date."""
    made = drawn(modules())
    if arguments == ["--check"]:
        return int(not PICTURE.is_file() or PICTURE.read_text(encoding="utf-8") != made)
    PICTURE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
