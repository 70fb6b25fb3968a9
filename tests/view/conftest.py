"""Reports of made-up decompilations, of any size, and a browser to look at them with."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pellucid.base.address import Shape
from pellucid.project.report_file import FORMAT
from report_reader import Reader

METRICS = {"wer_next": 1000, "wer_16": 1000, "top1": 48000, "kl": 48000, "ce_gap": 48000}
BROWSER_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SOURCE = '''@source("{address}")
def {name}(query, key):
    """Looks at the token before, else at the first.

    Agrees with the weights on 98.2 % of held-out positions.
    """
    before = 6.2 * (key.position == query.position - 1)  # the diagonal
    return before + 1.5e-1 * key.token.one_of(" one", " two") - 0.84
'''


def block(wer: float, kl: float, top1: float) -> dict[str, Any]:
    """A block of fidelity with intervals, for one text."""
    values = {"wer_next": wer, "wer_16": min(100, 6 * wer), "top1": top1, "kl": kl, "ce_gap": kl * 0.8}
    return {
        metric: {"value": value, "low": 0.9 * value, "high": min(100, 1.1 * value), "n": METRICS[metric]}
        for metric, value in values.items()
    }


def fidelity(wer: float, kl: float, top1: float, domains: list[str]) -> dict[str, Any]:
    """Blocks for all text and each domain."""
    by_domain = {
        domain: block(wer * (0.7 + 0.2 * index), kl * (0.5 + 0.3 * index), top1 - index)
        for index, domain in enumerate(domains)
    }
    return {"overall": block(wer, kl, top1), "domains": by_domain}


def context(domain: str) -> dict[str, Any]:
    """A context in which source and subject differ."""
    words = "Ada gave the red lamp to Bruno , and then Bruno took it to the mill"
    tokens = [*words.split(), ".\n", "Ada"]
    return {
        "domain": domain,
        "tokens": [f" {token}" for token in tokens],
        "weights": [round(abs(((7 * i) % 11) / 10 - 0.2), 2) if i % 3 == 0 else 0.02 for i in range(len(tokens))],
        "at": 12,
        "raw": 1.234,
        "source": 0.805,
        "difference": 0.429,
        "note": "",
    }


def detail(address: str, name: str, domain: str) -> dict[str, Any]:
    """What is known about one part that has a source."""
    return {
        "address": address,
        "name": name,
        "provenance": "analysis",
        "description": "Looks at the token before, and at the first token where there is none.",
        "note": "The distance term was fit together with the sets.",
        "file": f"layer_{address[1:3]}.py",
        "line": 41,
        "source": SOURCE.format(address=address, name=name),
        "numbers": 4,
        "measured": {
            "isolated": {"kl": {"value": 3.1e-5, "low": 2.2e-5, "high": 4.4e-5, "n": 48000, "split": "tune"}},
            "swapped_in": {
                "kl": {"value": 0.00123, "low": 0.0011, "high": 0.0014, "n": 48000, "split": "heldout"},
                "top1": {"value": 99.61, "low": 99.4, "high": 99.8, "n": 48000, "split": "heldout"},
            },
            "joint": {"top1": {"value": 97.8, "low": 97.4, "high": 98.1, "n": 48000, "split": "heldout"}},
        },
        "contexts": [context(domain), context(domain)],
    }


def example(layers: int = 4, heads: int = 4, neurons: int = 512, width: int = 128, domains: int = 1) -> dict[str, Any]:
    """A whole report in which a tenth of the code has a source."""
    chance = random.Random(7)
    names = ["village", "novels", "news", "recipes", "letters", "plays", "code"][:domains]
    sizes = {"EMB.TOK": 1024 * width, "EMB.POS": 128 * width, "QK": 2 * width * (width // heads + 1)}
    sizes |= {"OV": 2 * width * width // heads, "IN": width + 1, "OUT": width}
    columns: dict[str, list[Any]] = {
        key: [] for key in ("address", "form", "residual", "verdict", "parameters", "effect", "name", "detail")
    }
    details: list[dict[str, Any]] = []
    for address in Shape(layers, heads, neurons, tied=True).addresses():
        form, verdict, name, index = "raw", "raw", "", -1
        if address.kind in {"QK", "IN"} and chance.random() < (0.6 if address.kind == "QK" else 0.12):
            form = chance.choices(["source", "lifted"], [3, 1])[0]
            verdict = chance.choices(["exact", "within", "over", "stale", "unmeasured"], [4, 6, 2, 1, 1])[0]
            name = chance.choice(
                ["previous_token", "first_token", "same_token", "fires_after_numbers", "names_of_people"]
            )
            index = len(details)
            details.append(detail(str(address), name, names[0]))
        code = address.kind in {"QK", "IN"}
        row = {
            "address": str(address),
            "form": form,
            "verdict": verdict,
            "residual": "dropped" if verdict == "exact" else "on",
            "parameters": sizes.get(address.kind, 2 * width),
            "effect": chance.paretovariate(1.1) * (40 if address.kind == "QK" else 1) * 1e-4 if code else None,
            "name": name,
            "detail": index,
        }
        for key, value in row.items():
            columns[key].append(value)
    source_only = fidelity(18.4, 0.291, 77.3, names)
    return {
        "format": FORMAT,
        "pellucid": "0.1.0",
        "created": "2026-11-21",
        "command": "pellucid decompile zoo:village -o village --corpus village.txt --size medium --seed 1",
        "quick": False,
        "subject": {
            "name": "zoo:village",
            "parameters": sum(columns["parameters"]),
            "layers": layers,
            "heads": heads,
            "neurons": neurons,
            "d_model": width,
            "vocab": 1024,
            "context": 128,
            "weights_sha256": "5f3c9a01" * 8,
            "tokenizer_sha256": "77ab12de" * 8,
        },
        "corpus": {
            "origin": "stories of a generated village, seed 3",
            "domains": names,
            "splits": {
                "fit": {"sha256": "a1" * 32, "words": 400000},
                "tune": {"sha256": "b2" * 32, "words": 50000},
                "heldout": {"sha256": "c3" * 32, "words": 100000},
            },
        },
        "gate": {
            "passed": True,
            "limits": {"wer_next": 1.0, "wer_16": 1.0, "domain": 2.0, "contexts": 5000},
            "reasons": [],
        },
        "full": fidelity(0.08, 2.1e-5, 99.93, names),
        "source_only": source_only,
        "source_only_all": None,
        "noise_floor": fidelity(1.1, 4.2e-4, 99.1, names),
        "bigram": fidelity(61.2, 1.41, 38.1, names),
        "trigram": fidelity(44.9, 0.74, 57.6, names),
        "progress": {
            "residual_free": {
                "lifted": {"parameters": 0.021, "effect": 0.094, "data_effect": 0.043},
                "source": {"parameters": 0.0873, "effect": 0.316, "data_effect": 0.0},
                "code": {"parameters": 0.1083, "effect": 0.41},
                "data": {"parameters": 0.012, "effect": 0.043},
            },
            "source_only": source_only["overall"],
            "evidence": {"share": 0.271, "mean_score": 0.836, "n": 214},
            "effect_calibration": {"correlation": 0.962, "n": 200},
        },
        "numbers": {"program": 12345, "budget": 46694, "size": "medium"},
        "parts": columns,
        "details": details,
        "worst": [
            {
                "domain": names[index % len(names)],
                "before": "Ada gave the red lamp to Bruno. Bruno went to the mill, met Clara, and gave her the",
                "subject": " red",
                "program": " old",
                "kl": 3.1 - 0.4 * index,
            }
            for index in range(6)
        ],
    }


@pytest.fixture(scope="session")
def make_report() -> Callable[..., dict[str, Any]]:
    """`example`, the maker of reports."""
    return example


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; the test is skipped where it or its driver is absent."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=BROWSER_ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def reader(browser: Any, tmp_path: Path) -> Iterator[Reader]:
    """A reader; at the end of the test nothing may have gone wrong, and only the file itself been asked for."""
    reader = Reader(browser, tmp_path)
    yield reader
    for context in list(browser.contexts):
        context.close()
    assert reader.problems == []
    assert all(url.startswith(tmp_path.as_uri()) for url in reader.requests), reader.requests
