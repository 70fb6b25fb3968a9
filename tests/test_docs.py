"""The documentation speaks of commands, options and files that exist, and its Python runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cli_support import Workshop, furnish, lean
from pellucid.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
GROUP = typer.main.get_command(app)
COMMANDS = dict(GROUP.commands)  # type: ignore[attr-defined]


def calls(text: str) -> Iterator[tuple[str, set[str]]]:
    """The commands of pellucid that a page shows, each with the options behind it."""
    for found in re.finditer(r"pellucid ((?:(?:zoo|dictionary) )?[a-z]+)\b(?! import)([^`\n|#]*)", text):
        if found[1].partition(" ")[0] in COMMANDS:
            yield found[1], set(re.findall(r"(?<=\s)--[a-z-]+", found[2]))


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_a_page_shows_options_that_exist(page: Path) -> None:
    for name, options in calls(page.read_text(encoding="utf-8")):
        first, _, second = name.partition(" ")
        command = (
            COMMANDS[first].commands.get(second, COMMANDS[first]) if first in ("zoo", "dictionary") else COMMANDS[first]
        )
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert options <= known, f"{page.name}: pellucid {name} has no {sorted(options - known)}"


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_a_page_links_to_files_that_exist(page: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("start", ["README.md", "docs/all-of-pellucid.md"])
def test_every_page_is_linked(start: str) -> None:
    first = ROOT / start
    links = re.findall(r"\]\((?!http)([^)#]+)", first.read_text(encoding="utf-8"))
    linked = {(first.parent / link).resolve() for link in links}
    pages = {*ROOT.glob("docs/*.md"), *ROOT.glob("docs/*.ipynb")}
    assert {page.name for page in pages - linked - {first}} == set()


def test_all_of_pellucid_names_every_command() -> None:
    page = (ROOT / "docs" / "all-of-pellucid.md").read_text(encoding="utf-8")
    assert len(list(calls(page))) > len(COMMANDS)
    assert {name for name in COMMANDS if f"`pellucid {name}" not in page} == set()


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    root = tmp_path_factory.mktemp("docs")
    with lean(root / "state"):
        workshop = furnish(root / "workshop")
        workshop.source("L00.H01.QK", "return 6 * (key.position == query.position - 1)")
        yield workshop


def test_the_python_of_all_of_pellucid_runs(workshop: Workshop) -> None:
    page = (ROOT / "docs" / "all-of-pellucid.md").read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.S) if "import pellucid" in block)
    code = code.replace("zoo:village", str(workshop.subject)).replace('"DIR"', repr(str(workshop.made)))
    exec(compile(code.replace("Ada lives in", "w1 w2"), "all-of-pellucid.md", "exec"), {})


def test_the_python_of_coming_from_runs() -> None:
    page = (ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) >= 7
    space: dict[str, Any] = {}
    exec(compile("\n".join(blocks), "coming-from.md", "exec"), space)
    model, effects = space["model"], space["effects"]
    logits = model.logits(space["prompt"])[0, -1]
    is_, are = (model.tokenizer.encode(text)[0] for text in (" is", " are"))
    assert float(effects.total) == pytest.approx(float(logits[is_] - logits[are]), abs=1e-3)
    assert space["grid"].values.shape == space["guess"].shape
    assert space["said"]
    assert space["steered"]
    assert len(space["table"]) == 5
