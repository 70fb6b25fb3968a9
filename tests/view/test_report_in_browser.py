"""The report in a real browser: it draws without errors, finds and opens parts, and shows text as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pellucid.project.report_file import FORMAT
from report_reader import Reader

Maker = Callable[..., dict[str, Any]]
EVIL = '</script><script>window.pwned = 1</script><img src=x onerror="window.pwned = 2"><b>bold</b>'
WIDTHS = [(1280, 800), (390, 844)]


def rows(page: Any) -> list[str]:
    """The addresses of the list's rows that exist."""
    return page.locator("#list .list-row .col-address").all_inner_texts()


def paint(page: Any) -> list[int]:
    """How many pixels of the map have each colour, the most frequent first."""
    return page.evaluate(
        """() => {
          const canvas = document.getElementById("map-cells");
          const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
          copy.drawImage(canvas, 0, 0);
          const image = copy.getImageData(0, 0, canvas.width, canvas.height);
          const counts = new Map();
          for (const pixel of new Uint32Array(image.data.buffer)) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
          return [...counts.values()].sort((a, b) => b - a);
        }"""
    )


def settle(page: Any) -> None:
    """Wait until what was asked of the map has been drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", WIDTHS)
def test_draws_without_errors_and_fits(reader: Reader, make_report: Maker, size: tuple[int, int], scheme: str) -> None:
    page = reader.open(make_report(neurons=64, domains=5), size, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert page.locator("html").get_attribute("data-theme") == scheme
    assert page.locator("h1").inner_text() == "zoo:village"
    assert page.locator(".gate").inner_text().endswith("Gate passed")
    assert page.locator("#fidelity-table tbody tr").count() == 6
    assert page.locator("#domain-table tbody tr").count() == 6
    assert page.locator("#worst-list > li").count() == 6
    settle(page)
    assert len(paint(page)) > 4


def test_the_three_numbers_stand_together(reader: Reader, make_report: Maker) -> None:
    page = reader.open(make_report(neurons=16))
    assert page.locator("#scoreboard h3").all_inner_texts() == ["Residual-free", "Source-only fidelity", "Evidence"]
    text = page.locator("#scoreboard").inner_text()
    for number in ("31.6\u202f%", "9.40\u202f%", "8.73\u202f%", "77.30\u202f%", "0.291", "27.1\u202f%", "0.836"):
        assert number in text


def test_unmeasured_is_a_dash_and_never_zero(reader: Reader, make_report: Maker) -> None:
    data = make_report(neurons=16)
    data["full"]["overall"]["kl"] = {"value": None, "low": None, "high": None, "n": 0}
    page = reader.open(data)
    cells = page.locator("#fidelity-table tr[data-program=source_only_all] td")
    assert cells.all_inner_texts() == ["–"] * 5
    assert cells.first.get_attribute("title") == "unmeasured"
    assert page.locator("#fidelity-table tr[data-program=full] td").nth(3).inner_text() == "–"


def test_a_domain_may_have_any_name(reader: Reader, make_report: Maker) -> None:
    data = make_report(neurons=16, domains=2)
    for program in ("full", "source_only"):
        data[program]["domains"] = dict(zip(("overall", "constructor"), data[program]["domains"].values(), strict=True))
    page = reader.open(data)
    heads = page.locator("#domain-table tbody th").all_inner_texts()
    assert sorted(heads) == ["All domains", "constructor", "overall"]
    assert page.locator("#domain-table tbody tr.overall").count() == 1


def test_a_failed_quick_gate_is_loud(reader: Reader, make_report: Maker) -> None:
    data = make_report(neurons=16) | {"quick": True}
    data["gate"] |= {"passed": False, "reasons": ["wer_16: the upper bound is 1.31 %", "too few contexts"]}
    page = reader.open(data)
    assert "Gate failed" in page.locator(".gate").inner_text()
    assert page.locator(".reasons li").all_inner_texts() == data["gate"]["reasons"]
    assert page.locator(".quick").is_visible()
    assert "Measured on 1,000 contexts where the gate asks for 5,000." in page.locator(".quick").inner_text()


@pytest.mark.parametrize("size", WIDTHS)
def test_nothing_measured_and_nothing_there(reader: Reader, size: tuple[int, int]) -> None:
    page = reader.open({"format": FORMAT}, size)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert "Gate unmeasured" in page.locator(".gate").inner_text()
    assert page.locator("#list .list-empty").inner_text() == "This report has no parts."
    assert "0" not in page.locator("#fidelity-table tbody").inner_text()


def test_missing_blocks_in_parts(reader: Reader, make_report: Maker) -> None:
    data = make_report(neurons=16)
    for key in ("progress", "trigram", "corpus", "gate", "worst", "numbers"):
        data[key] = None
    data["details"][0] |= {"measured": {}, "contexts": [], "note": "", "description": ""}
    data["parts"]["effect"] = [None] * len(data["parts"]["effect"])
    page = reader.open(data, at=data["details"][0]["address"])
    assert "no evidence" in page.locator("#detail .measured-empty").inner_text()
    page.click("[data-area=effect]")
    assert "no effect has been measured" in page.locator("#map-note").inner_text()


def test_text_from_strangers_is_shown_as_text(reader: Reader, make_report: Maker) -> None:
    data = make_report(neurons=16)
    harmless = reader.open(data)
    elements = "document.querySelectorAll('script, img, b, iframe').length"
    scripts = harmless.evaluate("document.scripts.length")
    part = data["parts"]["detail"].index(0)
    data["parts"]["name"][part] = data["subject"]["name"] = data["corpus"]["origin"] = EVIL
    data["details"][0] |= {"source": EVIL, "description": EVIL, "note": EVIL, "name": EVIL}
    data["details"][0]["contexts"][0] |= {"tokens": [EVIL, EVIL], "weights": [0.5, 1], "domain": EVIL, "note": EVIL}
    data["full"]["domains"][EVIL] = data["full"]["domains"]["village"]
    data["worst"][0] |= {"before": EVIL, "subject": EVIL, "program": EVIL, "domain": EVIL}
    data["gate"]["reasons"] = [EVIL]
    data["command"] = EVIL
    page = reader.open(data, at=data["parts"]["address"][part])
    assert page.locator("h1").inner_text() == EVIL
    assert page.locator("#detail .token").first.inner_text() == EVIL
    assert EVIL in page.locator("#detail .listing").inner_text()
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("document.scripts.length") == scripts
    assert page.evaluate(elements) - page.evaluate("document.querySelectorAll('b').length") == scripts
    assert page.evaluate("[...document.querySelectorAll('b')].some((b) => b.textContent === 'bold')") is False


def test_hidden_characters_are_made_visible(reader: Reader, make_report: Maker) -> None:
    data = make_report(neurons=16)
    data["details"][0]["source"] = "x = 1  # \u202e evil"
    page = reader.open(data, at=data["details"][0]["address"])
    assert r"x = 1  # \u202e evil" in page.locator("#detail .listing").inner_text()


def test_injected_scripts_do_not_run(reader: Reader, make_report: Maker) -> None:
    page = reader.open(make_report(neurons=16))
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.pwned = 1";
          document.body.append(script);
        }"""
    )
    assert page.evaluate("window.pwned") is None
    assert any("Content Security Policy" in problem for problem in reader.problems)
    reader.problems.clear()


def test_search_and_filters(reader: Reader, make_report: Maker) -> None:
    page = reader.open(make_report(neurons=32))
    page.fill("#query", "l01.h*.qk")
    page.locator("#match-count", has_text="4 of").wait_for()
    assert rows(page) == ["L01.H00.QK", "L01.H01.QK", "L01.H02.QK", "L01.H03.QK"]
    page.fill("#query", "no such part")
    page.locator(".list-empty").wait_for()
    page.click("#filters button[type=reset]")
    page.select_option("#filter-form", "source")
    page.select_option("#filter-verdict", "exact")
    assert set(page.locator("#list .list-row .col-verdict").all_text_contents()) == {"●exact"}
    assert page.locator("#legend button[aria-pressed=true]").count() == 1
    page.locator("#legend button[aria-pressed=true]").click()
    assert page.input_value("#filter-form") == ""


@pytest.mark.parametrize("place", ["description", "note", "source", "tokens", "value", "anything"])
def test_search_finds_what_the_panel_says(reader: Reader, make_report: Maker, place: str) -> None:
    data = make_report(neurons=16)
    found = data["details"][2]
    said = "a source beside the Zebra crossing\nand more"
    if place == "tokens":
        found["contexts"][1]["tokens"] = ["a", " source", " beside", " the", " Ze", "bra", " cross", "ing"]
    elif place == "value":
        found["reads"] = ["outer"]
        data["values"] = {"inner": {"source": said, "reads": []}, "outer": {"source": "x", "reads": ["inner"]}}
    elif place == "anything":
        found["told"] = [{"text": said}]
    else:
        found[place] = said
    page = reader.open(data)
    for words in ("zebra", '"ZEBRA crossing"', "crossing zebra", '" zebra cro"', "zeb", "source zebra"):
        page.fill("#query", "no such part")
        page.locator(".list-empty").wait_for()
        page.fill("#query", words)
        page.locator("#match-count", has_text="1 of").wait_for()
        assert rows(page) == [found["address"]]
        shown = page.locator("#list mark").inner_text().lower()
        assert shown.strip() in said.lower()
        assert shown.strip() in words.lower()


def test_search_for_an_address_finds_no_part_that_only_speaks_of_it(reader: Reader, make_report: Maker) -> None:
    data = make_report(neurons=16)
    data["details"][0]["source"] += "# as L03.N0005.IN and LNF"
    page = reader.open(data)
    page.fill("#query", "L03.N0005")
    page.locator("#match-count", has_text="2 of").wait_for()
    assert rows(page) == ["L03.N0005.IN", "L03.N0005.OUT"]
    page.fill("#query", '"as L03.N0005"')
    page.locator("#match-count", has_text="1 of").wait_for()
    assert rows(page) == [data["details"][0]["address"]]


def sorting(page: Any) -> dict[str, str]:
    """By which columns the list is sorted, with the arrows that they show."""
    return page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll("#list [role=columnheader]")]
          .filter((head) => head.getAttribute("aria-sort") !== "none")
          .map((head) => [head.querySelector("button").dataset.sort, head.getAttribute("aria-sort")
            + getComputedStyle(head.querySelector(".arrow"), "::after").content.replaceAll('"', " ").trimEnd()]))"""
    )


def test_sorting(reader: Reader, make_report: Maker) -> None:
    data = make_report(neurons=32)
    page = reader.open(data)
    page.click("[data-sort=parameters]")
    assert rows(page)[0] == "EMB.TOK"
    assert sorting(page) == {"parameters": "descending ↓"}
    page.click("[data-sort=effect]")
    effects = {a: e for a, e in zip(data["parts"]["address"], data["parts"]["effect"], strict=True) if e is not None}
    assert rows(page)[0] == max(effects, key=effects.__getitem__)
    page.click("[data-sort=effect]")
    assert sorting(page) == {"effect": "ascending ↑"}
    assert rows(page)[0] == min(effects, key=effects.__getitem__)
    for _ in range(2):  # the first key selects a part
        page.locator(".list-box").press("End")
    assert page.locator("#list .list-row .col-effect").last.inner_text() == "–"
    page.click("[data-sort=name]")
    assert sorting(page) == {"name": "ascending ↑"}
    assert page.locator("#list .list-row .col-name").first.inner_text() == "fires_after_numbers"
    page.click("[data-sort=name]")
    assert page.locator("#list .list-row .col-name").first.inner_text() == "same_token"
    page.click("[data-sort=address]")
    assert rows(page)[:3] == ["EMB.TOK", "EMB.POS", "L00.LN1"]
    assert page.locator(".col-address[aria-sort=ascending]").count() == 1


def test_selecting_in_the_list_opens_the_part(reader: Reader, make_report: Maker) -> None:
    page = reader.open(make_report(neurons=32))
    page.locator("#list .list-row").nth(2).click()
    assert page.locator("#detail h3 code").inner_text() == "L00.LN1"
    assert page.evaluate("location.hash") == "#L00.LN1"
    page.locator(".list-box").press("End")
    assert page.locator("#detail h3 code").inner_text() == "LNF"
    assert rows(page)[-1] == "LNF"


@pytest.mark.parametrize("size", WIDTHS)
def test_addresses_and_effects_are_whole_in_the_list(reader: Reader, make_report: Maker, size: tuple[int, int]) -> None:
    data = make_report(neurons=16)
    data["parts"]["address"] = [address.replace("L02.N00", "L112.N143") for address in data["parts"]["address"]]
    data["parts"]["effect"] = [e and 1.26e-11 * (1 + e) for e in data["parts"]["effect"]]
    page = reader.open(data, size)
    page.fill("#query", "L112")
    page.locator("#match-count", has_text="32 of").wait_for()
    cut = """(column) => [...document.querySelectorAll(`#list .list-row .col-${column}`)]
        .filter((cell) => cell.scrollWidth > cell.clientWidth).map((cell) => cell.textContent)"""
    assert rows(page)[0] == "L112.N14300.IN"
    assert page.evaluate(cut, "address") == []
    assert page.evaluate(cut, "effect") == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_effects_of_all_parts_are_in_one_unit(reader: Reader, make_report: Maker) -> None:
    data = make_report(neurons=16)
    data["parts"]["effect"] = [0.25 if ".N" in address else 0.5 for address in data["parts"]["address"]]
    page = reader.open(data)
    assert "nats" in page.locator("[data-sort=effect]").inner_text()
    for query, wanted in (("L00.N0003", ["0.250", "0.250"]), ("L00.H01", ["0.500", "0.500"])):
        page.fill("#query", query)
        page.locator("#list .col-address", has_text=query).first.wait_for()
        page.locator("#match-count", has_text="2 of").wait_for()
        assert page.locator("#list .list-row .col-effect").all_inner_texts() == wanted


def test_links_open_parts(reader: Reader, make_report: Maker) -> None:
    data = make_report(neurons=32)
    first, second = data["details"][0], data["details"][1]
    page = reader.open(data, at=first["address"])
    panel = page.locator("#detail")
    assert panel.locator("h3").inner_text().split() == [first["address"], first["name"]]
    assert panel.locator(".measured tbody tr").count() == 2
    assert panel.locator(".measured tbody tr").first.locator("td").first.inner_text() == "–"
    assert panel.locator(".listing li").count() == first["source"].rstrip().count("\n") + 1
    assert panel.locator(".py-definition").inner_text() == first["name"]
    assert panel.locator(".token.here").first.inner_text() == first["contexts"][0]["tokens"][12]
    page.evaluate("address => { location.hash = address }", second["address"])
    page.locator("#detail h3", has_text=second["address"]).wait_for()


def test_the_map_answers_the_pointer(reader: Reader, make_report: Maker) -> None:
    data = make_report(neurons=64)
    page = reader.open(data)
    page.locator("#map-stage").scroll_into_view_if_needed()
    box = page.locator("#map-overlay").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 10)
    assert page.locator("#map-tooltip strong").inner_text() == "EMB.TOK"
    page.mouse.click(box["x"] + 100, box["y"] + 10)
    assert page.locator("#detail h3 code").inner_text() == "EMB.TOK"
    page.click("#map-status button")
    assert page.evaluate("document.activeElement.id") == "detail"


def test_the_map_answers_the_keyboard(reader: Reader, make_report: Maker) -> None:
    page = reader.open(make_report(neurons=64))
    overlay = page.locator("#map-overlay")
    for key, address in [("ArrowRight", "EMB.TOK"), ("ArrowRight", "EMB.POS"), ("ArrowLeft", "EMB.TOK")]:
        overlay.press(key)
        assert page.locator("#detail h3 code").inner_text() == address
    overlay.press("ArrowDown")
    assert page.locator("#detail h3 code").inner_text().startswith("L00.")
    assert "Selected L00." in page.locator("#announce").inner_text()


def test_the_map_can_be_zoomed_entered_and_weighed_by_effect(reader: Reader, make_report: Maker) -> None:
    page = reader.open(make_report(neurons=64))
    settle(page)
    seen = [paint(page)]
    for act in (
        lambda: page.click("#zoom-in"),
        lambda: page.click("#zoom-reset"),
        lambda: page.select_option("#map-layer", "L02"),
        lambda: page.click("[data-area=effect]"),
    ):
        act()
        settle(page)
        seen.append(paint(page))
    assert seen[0] == seen[2]
    assert seen[1] != seen[0]
    assert seen[3] != seen[0]
    assert seen[4] != seen[3]
    assert "without a measured effect" in page.locator("#map-note").inner_text()


def kept_theme(page: Any) -> str | None:
    """The theme that the page opens with again; a busy browser hands what a page stores on to the next one late."""
    for _ in range(10):
        page.reload()
        page.wait_for_selector("html[data-ready]")
        if page.locator("html").get_attribute("data-choice") != "auto":
            break
        page.wait_for_timeout(200)
    return page.locator("html").get_attribute("data-theme")


def test_the_theme_can_be_chosen_and_repaints_the_map(reader: Reader, make_report: Maker) -> None:
    page = reader.open(make_report(neurons=16))
    settle(page)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("[data-choose=dark]")
    settle(page)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    assert kept_theme(page) == "dark"
    page.click("[data-choose=auto]")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light


def test_a_model_of_37000_neurons(reader: Reader, make_report: Maker) -> None:
    data = make_report(layers=12, heads=12, neurons=3072, width=768, domains=7)
    page = reader.open(data)
    assert page.locator("#list .list-row").count() < 60
    page.locator("#map-stage").scroll_into_view_if_needed()
    box = page.locator("#map-overlay").bounding_box()
    seen = set()
    for step in range(200):
        page.mouse.move(
            box["x"] + 40 + step * (box["width"] - 60) / 200, box["y"] + 60 + (step * 37) % (box["height"] - 100)
        )
        seen.add(page.locator("#map-tooltip").text_content())
    assert len(seen) > 100
    page.click("#zoom-in")
    page.click("#zoom-in")
    page.mouse.move(box["x"] + 600, box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 200, steps=30)
    page.mouse.up()
    page.fill("#query", "L11.N3071.IN")
    page.locator("#match-count", has_text="1 of").wait_for()
    assert rows(page) == ["L11.N3071.IN"]
