"""Reports are read whatever their format, and domains stand apart from totals."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import pellucid
from cli_support import Workshop, text_file
from cli_support import pellucid as pellucid_command
from pellucid.project.report_file import PROGRAMS, read_report


def of_format_1(report: dict[str, Any]) -> dict[str, Any]:
    """A report as it was written before domains stood apart."""
    blocks = {
        name: block and block["domains"] | {"overall": block["overall"]}
        for name, block in report.items()
        if name in PROGRAMS
    }
    return report | blocks | {"format": 1}


def test_a_report_of_format_1_is_read_alike(workshop: Workshop) -> None:
    path = workshop.made / "report.json"
    report = json.loads(path.read_text())
    path.write_text(json.dumps(of_format_1(report)))
    assert read_report(path) == report
    assert pellucid_command("report", workshop.made).code == 0
    assert pellucid_command("check", workshop.made, "--no-measure").code == 0


def test_a_text_called_overall_is_a_domain_like_others(workshop: Workshop) -> None:
    """Its figures are not those of all text, which the other domain makes up as well."""
    folder = workshop.root / "texts"
    folder.mkdir()
    text_file(folder / "overall.txt", documents=100)
    text_file(folder / "other.txt", documents=200)
    made = workshop.root / "named"
    arguments = (workshop.subject, "-o", made, "--corpus", folder, "--quick", "--raw", "--json")
    report = pellucid_command("decompile", *arguments).json
    full = report["full"]
    assert set(full) == {"overall", "domains"}
    assert set(full["domains"]) == {"overall", "other"}
    counts = [full["domains"][domain]["kl"]["n"] for domain in full["domains"]]
    assert full["overall"]["kl"]["n"] == sum(counts) > max(counts)
    assert report == read_report(made / "report.json")
    scopes = {row.domain for _, row in pellucid.open(made).evidence.find(part="program", kind="full", metric="kl")}
    assert scopes == {"overall", "domains/overall", "domains/other"}
    said = pellucid_command("diff", made, "--json").json
    assert set(said["changed"]["domains"]) == set(said["totals"]["domains"]) == {"overall", "other"}
    assert said["changed"]["overall"]["positions"] == sum(of["positions"] for of in said["changed"]["domains"].values())
    lines = pellucid_command("diff", made).out.splitlines()
    assert [line.split("  ")[0] for line in lines if line.startswith("all text")] == ["all text"]
    assert any(line.startswith("  overall") for line in lines)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.pop("gate"), "gate is missing"),
        (lambda data: data.update(format=3), "format is 3, expected 1 or 2"),
        (lambda data: data["full"].update(overall=[]), "full.overall is [], expected an object"),
        (lambda data: data["full"]["overall"].update(kl=0.1), "full.overall.kl is 0.1, expected an object"),
        (
            lambda data: data["full"]["overall"]["kl"].update(n="9"),
            "full.overall.kl.n is '9', expected a valid integer",
        ),
        (lambda data: data["progress"]["residual_free"].pop("code"), "progress.residual_free.code is missing"),
        (lambda data: data["corpus"]["splits"].update(fit=3), "corpus.splits.fit is 3, expected an object"),
        (lambda data: data["gate"].update(reasons="none"), "gate.reasons is 'none', expected a valid array"),
    ],
)
def test_a_report_of_another_shape_is_one_line(
    workshop: Workshop, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    path = workshop.made / "report.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    for command in ("report", "check"):
        assert said in pellucid_command(command, workshop.made).complaint()


def test_a_report_of_format_1_has_totals(workshop: Workshop) -> None:
    path = workshop.made / "report.json"
    report = of_format_1(json.loads(path.read_text()))
    del report["full"]["overall"]
    path.write_text(json.dumps(report))
    assert "full.overall is missing" in pellucid_command("report", workshop.made).complaint()
