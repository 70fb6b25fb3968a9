"""What stands in `report.json` and what the page is made of: every part once, and nothing that was not measured."""

from __future__ import annotations

import json

import pytest

import pellucid
from cli_support import CONTEXTS, Workshop
from cli_support import pellucid as pellucid_command
from pellucid.family.partition import count
from pellucid.verify.report import BLOCKS, page_data

SOURCE = "return 6 * (key.position == query.position - 1)"


def test_a_report_names_what_was_measured_on_what(workshop: Workshop) -> None:
    project = pellucid.open(workshop.made)
    report = project.report()
    assert set(BLOCKS) <= set(report)
    assert report["subject"] == {
        "name": report["subject"]["name"],
        "parameters": 1976,
        "layers": 2,
        "heads": 2,
        "neurons": 32,
        "d_model": 8,
        "vocab": 11,
        "context": 16,
        "weights_sha256": project.subject.weights_sha256,
        "tokenizer_sha256": project.subject.tokenizer_sha256,
    }
    assert report["subject"]["name"].endswith("/workshop/subject")
    assert report["corpus"]["domains"] == ["text"]
    assert set(report["corpus"]["splits"]) == {"fit", "tune", "check", "heldout"}
    assert report["state"] == project.state()
    assert report["full"]["overall"]["wer_next"]["n"] <= CONTEXTS
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_a_quick_run_never_passes_the_gate(workshop: Workshop) -> None:
    gate = pellucid.open(workshop.made).report()["gate"]
    assert gate["passed"] is None
    assert "This was a quick run." in gate["reasons"]
    assert gate["limits"] == {"wer_next": 1.0, "wer_16": 1.0, "domain": 2.0, "contexts": 5000}


def test_progress_of_an_all_raw_program(workshop: Workshop) -> None:
    progress = pellucid.open(workshop.made).report()["progress"]
    assert progress["residual_free"]["source"] == {"parameters": 0.0, "effect": None, "data_effect": None}
    assert progress["source_only"] == pellucid.open(workshop.made).report()["source_only"]["overall"]
    nothing = {"share": None, "mean_score": None, "n": 0}
    assert progress["evidence"] == nothing | {"kinds": dict.fromkeys(("QK", "OV", "IN", "OUT"), nothing)}
    assert progress["effect_calibration"] == {"correlation": None, "n": 0}


def test_page_data_has_every_part_once_with_all_parameters(workshop: Workshop) -> None:
    project = pellucid.open(workshop.made)
    parts = page_data(project)["parts"]
    addresses = [str(address) for address in project.subject.decoder.addresses.addresses()]
    assert parts["address"] == addresses
    assert {len(column) for column in parts.values()} == {len(addresses)}
    assert sum(parts["parameters"]) == project.subject.parameters
    assert set(parts["form"]) == set(parts["verdict"]) == {"raw"}
    assert set(parts["detail"]) == {-1}


@pytest.mark.parametrize("argument", ["L00.H01.QK", "L00.N0003.IN"])
def test_page_data_shows_a_source_by_hand(workshop: Workshop, argument: str) -> None:
    is_head = argument.endswith("QK")
    if is_head:
        workshop.source(argument, SOURCE)
    else:
        text = '@source("L00.N0003.IN")\ndef by_hand(here):\n    """By hand."""\n    return -0.5\n\n\nraw("L00.N*.IN")'
        workshop.edit("program/layer_00.py", 'raw("L00.N*.IN")', text)
        workshop.edit("program/layer_00.py", "from .prelude import raw", "from .prelude import raw, source")
    assert pellucid_command("verify", workshop.made, argument, "--quick").code == 0
    project = pellucid.open(workshop.made)
    data = page_data(project)
    at = data["parts"]["address"].index(argument)
    assert (data["parts"]["form"][at], data["parts"]["residual"][at]) == ("described", "on")
    (detail,) = data["details"]
    assert data["parts"]["detail"][at] == 0
    assert (detail["address"], detail["description"]) == (argument, "By hand.")
    assert detail["numbers"] == (2 if is_head else 1)
    assert detail["numbers"] <= count(project.listing().decoder.addresses.match(argument)[0], project.subject.decoder)
    assert set(detail["measured"]) == {"isolated", "swapped_in", "joint"}
    assert detail["measured"]["swapped_in"]["kl"]["value"] > 0
    assert detail["source"].startswith(f'@source("{argument}")')


def test_a_named_value_stands_once_in_the_page(workshop: Workshop) -> None:
    values = '@value\ndef late(here):\n    """Late."""\n    return log(here.position + 1)\n\n\n'
    values += '@value\ndef later(here, late):\n    """Later."""\n    return 2 * late\n\n\n'
    sums = 'linear("L00.N0003.IN", -0.5, later=0.2)\n\nlinear("L00.N0004.IN", 0.5, later=0.1)\n\nraw("L00.N*.IN")'
    workshop.edit("program/layer_00.py", 'raw("L00.N*.IN")', values + sums)
    workshop.edit("program/layer_00.py", "from .prelude import raw", "from .prelude import linear, log, raw, value")
    data = page_data(pellucid.open(workshop.made))
    assert list(data["values"]) == ["late", "later"]
    assert data["values"]["later"]["reads"] == ["late"]
    assert data["values"]["late"]["source"].startswith("@value\ndef late(here):")
    assert [detail["reads"] for detail in data["details"]] == [["later"], ["later"]]
    assert all("def late" not in detail["source"] for detail in data["details"])
