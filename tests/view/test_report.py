"""The report as text: one file, nothing loaded, strangers' text only as inert data, clear errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from pellucid.base.errors import PellucidError
from pellucid.project.report_file import FORMAT
from pellucid.view.report import SCRIPTS, STYLES, render

Maker = Callable[..., dict[str, Any]]


def embedded(page: str) -> dict[str, Any]:
    """The data that a page carries."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_page_carries_the_data(make_report: Maker) -> None:
    data = make_report(neurons=16)
    assert embedded(render(data)) == data


def test_page_loads_nothing(make_report: Maker) -> None:
    page = render(make_report(neurons=16))
    assert not re.search(r"""(?:src|href)=["'](?!#)""", page)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|innerHTML|outerHTML|insertAdjacentHTML|eval\(", page)
    assert "default-src 'none'" in page


def test_text_from_strangers_never_becomes_markup(make_report: Maker) -> None:
    data = make_report(neurons=16)
    evil = "</script><script>window.pwned = 1</script><img src=x onerror=alert(1)>{{script}}"
    data["subject"]["name"] = data["parts"]["name"][3] = data["details"][0]["source"] = evil
    data["worst"][0]["before"] = evil
    page = render(data)
    assert evil not in page
    assert page.count("<script") == render(make_report(neurons=16)).count("<script")
    assert embedded(page) == data


@pytest.mark.parametrize("found", [None, 0, 1, "2"])
def test_other_formats_are_refused(found: object) -> None:
    with pytest.raises(PellucidError, match=f"format {found!r} cannot be shown; expected 2"):
        render({"format": found})


def test_everything_but_the_format_is_optional() -> None:
    assert embedded(render({"format": FORMAT})) == {"format": FORMAT}


def test_missing_columns_are_named(make_report: Maker) -> None:
    data = make_report(neurons=16)
    del data["parts"]["verdict"], data["parts"]["name"]
    with pytest.raises(PellucidError, match="lack the columns verdict, name"):
        render(data)


def test_columns_of_different_length_are_refused(make_report: Maker) -> None:
    data = make_report(neurons=16)
    data["parts"]["effect"].pop()
    with pytest.raises(PellucidError, match=r"differ in length .*effect"):
        render(data)


def test_details_that_do_not_exist_are_refused(make_report: Maker) -> None:
    data = make_report(neurons=16)
    data["parts"]["detail"][0] = 10_000
    with pytest.raises(PellucidError, match=r"'EMB.TOK' points at detail 10000"):
        render(data)


def test_every_static_file_is_part_of_the_page() -> None:
    present = {path.name for path in (files("pellucid.view") / "static").iterdir()}
    assert present == {*SCRIPTS, *STYLES, "theme.js", "report.html"}
