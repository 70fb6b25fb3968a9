"""The accounts of a report in a real browser: the meter, what nothing covers, behaviours, and one search for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from report_reader import Reader

Maker = Callable[..., dict[str, Any]]
EVIL = '</script><script>window.pwned = 1</script><img src=x onerror="window.pwned = 2"><b>bold</b>'
SOURCE = "@account\ndef next_token(text):\n    if text.ends(' eats'):\n        return FOOD[who(text)]"


def share(value: float | None, n: int = 1000) -> dict[str, Any]:
    low, high = (None, None) if value is None else (value - 0.01, value + 0.01)
    return {"value": value, "low": low, "high": high, "n": n}


def kind(behind: str, n: int, **more: Any) -> dict[str, Any]:
    example = {"before": "Ada met Tom. Tom", "model": " eats", "said": " sees", "rule": "food.py:7"}
    told = {"behind": behind, "n": n, "hard": n, "silent": 0, "right": share(0.7, n), "says": [[" eats", n]]}
    return told | {"examples": [example], "parts": None} | more


def with_accounts(report: dict[str, Any], kinds: int = 10) -> dict[str, Any]:
    """A report with the accounts of a made-up village."""
    figures = {"covered": share(0.637), "precision": share(0.99), "top1": share(0.95), "back_off": share(0.75)}
    address = report["parts"]["address"][3]
    cause = {"part": address, "token": " Tom", "back": 2, "effect": 1.25, "share": 0.5}
    parts = {"before": "Ada met Tom. Tom", "said": " eats", "instead": " sees", "causes": [cause]}
    told = [kind(" {name}. {name}", 90, parts=parts), *(kind(f" w{at}", 40 - at) for at in range(kinds - 1))]
    accounts = {
        "files": ["food.py", "hello.py"],
        "rules": [],
        "symbols": 321,
        "positions": {"heldout": 1000, "hard": 400},
        "back_off": "what the model said",
        "all": figures,
        "hard": figures,
        "uncovered": {"places": 363, "silent": 12, "kinds": told, "others": 5},
        "tables": {"lines": 2, "flagged": 2, "otherwise": 0, "phantoms": share(0.5, 2), "looked_up": share(0.0)},
        "ties": {"variables": 1, "measured": 1, "hold": 1},
    }
    tie = {"tie": "L00.H01 @ here", "agreement": share(0.97, 250), "random": share(0.1, 250), "complement": share(0.2)}
    who = {
        "name": "who",
        "says": "The last person.",
        "line": 1,
        "tie": "",
        "moved": None,
        "measured": tie,
        "holds": True,
    }
    rule = {"line": 7, "text": "return FOOD[who(text)]", "n": 80, "right": 80, "share": share(1.0, 80), "covers": True}
    food = {
        "file": "food.py",
        "about": "What people eat.",
        "source": SOURCE,
        "more_source": 0,
        "places": 80,
        "right": 80,
    }
    food |= {"covers": 1, "rules": [rule], "more_rules": 0, "variables": [who], "tables": ["food.tsv"]}
    hello = food | {"file": "hello.py", "about": "Says hello.", "source": "hello = 1", "rules": [], "variables": []}
    columns = ["key", "answer", "agreement", "margin", "told"]
    lines = [["Ada", "soup", "1.00", "8.0", "yes", 9, 9], ["Tom", "rice", "1.00", "3.0", "no", 0, 0]]
    tables = {"food.tsv": {"asks": ["{} eats"], "columns": columns, "lines": lines, "more": 0}}
    behaviours = {"files": [food, hello | {"tables": []}], "more": 3, "tables": tables}
    behaviours["classes"] = {"name": {"some": ["Ada", "Tom"], "n": 64}}
    return report | {"accounts": accounts, "behaviours": behaviours}


def unfold(page: Any, chosen: str) -> None:
    """Open the first of the entries `chosen`, and wait until it is drawn."""
    page.click(f"{chosen} >> nth=0 >> summary >> nth=0")
    page.locator(f"{chosen}[open] > div > *").first.wait_for()


def test_the_meter_and_what_nothing_covers_come_first(reader: Reader, make_report: Maker) -> None:
    data = with_accounts(make_report(neurons=16))
    page = reader.open(data)
    sections = page.eval_on_selector_all("main > section", "nodes => nodes.map((node) => node.id)")
    assert sections[:3] == ["head", "accounts", "scores"]
    meter = page.inner_text("#meter")
    for said in ("63.7\u202f%", "95.0\u202f%", "321", "50.0\u202f% of these", "1 of 1 tested"):
        assert said in meter
    entries = page.locator("#uncovered .kind")
    assert entries.count() == 10
    assert page.locator("#uncovered .kind:visible").count() == 8
    page.click("text=Show 2 more kinds")
    assert page.locator("#uncovered .kind:visible").count() == 10
    unfold(page, "#uncovered .kind")
    assert page.get_attribute("#uncovered .slot >> nth=0", "title") == "Ada, Tom, … 64 in all"
    opened = page.inner_text("#uncovered .kind >> nth=0")
    assert "Rule food.py:7" in opened
    assert "+1.250 in the logits" in opened
    page.click("#uncovered .responsible a")
    assert page.inner_text("#detail h3 code") == data["parts"]["address"][3]


def test_behaviours_open_with_rules_ties_and_phantoms(reader: Reader, make_report: Maker) -> None:
    page = reader.open(with_accounts(make_report(neurons=16)))
    assert "3 files more" in page.inner_text("#behaviours")
    unfold(page, "#behaviours .behaviour")
    body = page.inner_text("#behaviours .behaviour >> nth=0")
    assert "L00.H01 @ here moves it in 97.0\u202f% of 250 pairs; best random set 10.0\u202f%" in body
    assert "2 lines, 1 phantom" in body
    assert page.locator("#behaviours .badge.tie.holds").count() == 1
    (phantom,) = page.locator("#behaviours tr.phantom").all_inner_texts()
    assert phantom.split() == ["3", "Tom", "rice", "1.00", "3.0", "no", "phantom", "0", "–"]


def test_one_search_is_for_accounts_and_parts(reader: Reader, make_report: Maker) -> None:
    page = reader.open(with_accounts(make_report(neurons=16)))
    page.fill("#account-query", "rice tom")
    page.locator("#account-count", has_text="1 of 2 files").wait_for()
    assert page.input_value("#query") == "rice tom"
    assert page.inner_text("#account-count") == "1 of 2 files"
    assert page.inner_text("#match-count").endswith("· 1 behaviour")
    unfold(page, "#behaviours .behaviour")
    assert page.locator("#behaviours .lines tbody tr").count() == 1
    page.fill("#query", "hello 1")
    page.locator("#behaviours .behaviour-name", has_text="hello.py").wait_for()
    page.locator("#behaviours .behaviour-name", has_text="food.py").wait_for(state="detached")
    page.fill("#query", "nobody says this")
    page.wait_for_selector("text=No behaviour has all of these words.")


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_strangers_accounts_are_text_and_stay_within_the_page(
    reader: Reader, make_report: Maker, size: tuple[int, int]
) -> None:
    data = with_accounts(make_report(neurons=16))
    long = "W" * 200
    data["accounts"]["uncovered"]["kinds"][0] |= {"behind": EVIL + "{constructor}", "says": [[EVIL, 1], [long, 1]]}
    data["accounts"]["uncovered"]["kinds"][0]["examples"][0] |= {"before": EVIL, "model": EVIL, "rule": long}
    data["behaviours"]["files"][0] |= {"about": EVIL + long, "source": EVIL, "file": long}
    data["behaviours"]["tables"]["food.tsv"]["lines"][0][:2] = [EVIL, long]
    page = reader.open(data, size)
    for chosen in ("#uncovered .kind", "#behaviours .behaviour"):
        unfold(page, chosen)
    assert "window.pwned" in page.inner_text("#behaviours .lines")
    assert page.evaluate("window.pwned") is None
    assert page.locator("#accounts :is(img, script, b b)").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_a_report_without_accounts_says_so(reader: Reader, make_report: Maker) -> None:
    page = reader.open(make_report(neurons=16))
    assert "There are none" in page.inner_text("#accounts")
    assert page.locator("#account-filters").is_hidden()
    data = with_accounts(make_report(neurons=16)) | {"accounts": None}
    assert "not measured as they stand" in reader.open(data).inner_text("#meter")
