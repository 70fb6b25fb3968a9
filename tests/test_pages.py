"""Pages for people who come: made of the source where they can be, and up to date."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tools"))
import api  # noqa: E402
import architecture  # noqa: E402


def test_the_picture_of_the_architecture_is_up_to_date() -> None:
    assert architecture.PICTURE.read_text(encoding="utf-8") == architecture.drawn(architecture.modules()), "make pages"


def test_folders_stand_behind_what_they_import_from() -> None:
    texts = {
        "top/__init__.py": '"""The top. More of it."""',
        "top/one.py": "import pellucid.middle.here\nfrom pellucid.base import errors\n",
        "middle/here.py": "def late():\n    from pellucid.base.errors import shown\n",
        "base/errors.py": "import os\n",
    }
    found = architecture.imports(texts)
    assert found == {"top": {"middle", "base"}, "middle": {"base"}, "base": set()}
    assert architecture.in_order(found) == ["base", "middle", "top"]
    picture = ElementTree.fromstring(architecture.drawn(texts))
    assert [node.text for node in picture.iter("{http://www.w3.org/2000/svg}title")] == [
        "middle imports from base",
        "top imports from base",
        "top imports from middle",
    ]
    assert "The top" in architecture.drawn(texts)
    with pytest.raises(ValueError, match="base, middle, top"):
        architecture.in_order(found | {"base": {"top"}})


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_pages_speak_of_files_that_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[a-z_]+/)+(?:[a-z_]+\.[a-z]+)?)`", text)) - {
        "program/",
        "program/accounts/",
    }  # of a project
    here = [path for path in sorted(named) if not any((base / path).exists() for base in (ROOT, ROOT / "src/pellucid"))]
    assert here == []


def test_the_citation_has_the_version_of_the_package() -> None:
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)
    assert version is not None
    assert cited is not None
    assert cited[1] == version[1]
    assert f"## {version[1]}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_reference_of_the_api_is_up_to_date() -> None:
    assert api.PAGE.read_text(encoding="utf-8") == api.page(), "make pages"


def told() -> list[tuple[str, Callable[..., Any]]]:
    """Every function that the package offers, and every method that the reference tells of."""
    methods = [
        (f"{path.rpartition('.')[2]}.{name}", getattr(api.class_of(path), name))
        for path, names in api.METHODS.values()
        for name in names
    ]
    return [*api.functions().items(), *methods]


@pytest.mark.parametrize(("name", "function"), told(), ids=[name for name, _ in told()])
def test_arguments_results_and_errors_are_told_one_by_one(name: str, function: Callable[..., Any]) -> None:
    sections = api.Told.of(function).sections
    assert list(sections.get("Args", {})) == [one.name for one in api.parameters(function)], name
    assert set(sections) == {"Args", "Returns", "Raises"} - (set() if api.parameters(function) else {"Args"})
    assert all(said and said[-1] in ".…" for entries in sections.values() for said in entries.values()), name
    known = {"PellucidError", "SubjectError", "CorpusError", "ProjectError", "SourceError", "Nothing"}
    assert set(sections["Raises"]) <= known


@pytest.mark.parametrize("path", api.RESULTS)
def test_all_of_what_functions_give_is_told(path: str) -> None:
    prose = api.Told.of(api.class_of(path)).prose
    untold = [name for name, _, said in api.attributes(path) if not said and f"`{name}`" not in prose]
    assert untold == [], f"{path}: write a line below these fields"


@pytest.mark.parametrize("path", api.TYPES)
def test_names_of_types_are_told(path: str) -> None:
    assert api.meaning(path)[1].endswith(".")


def test_the_reference_has_everything_that_the_package_offers() -> None:
    grouped = [name for names in api.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(api.functions())
