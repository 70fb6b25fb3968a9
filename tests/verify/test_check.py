"""A check finds everything that got worse, and writes nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli_support import Workshop, pellucid
from pellucid.base.errors import ProjectError
from pellucid.base.trusted import PARTS
from pellucid.project.evidence import Measurement
from pellucid.project.inventory import statement_state
from pellucid.project.parts_file import partition, write_parts
from pellucid.project.project import Project
from pellucid.project.symbols import Symbol, write_symbols
from pellucid.verify.check import Check, check, worse_figures

HEAD = "L00.H01.QK"
POINTED = "return 3.0 * (key.position == query.position - 1)"


def checked(workshop: Workshop, **how: Any) -> Check:
    return check(Project.open(workshop.made), **({"measured": False} | how))


def kinds(found: Check) -> list[tuple[str, str]]:
    return [(failure.kind, failure.about) for failure in found.failures]


def rewrite(path: Path, change: Callable[[dict[str, Any]], None], target: Path | None = None) -> Path:
    """Change a report, in its place or as `target`."""
    data = json.loads(path.read_text())
    change(data)
    (target or path).write_text(json.dumps(data))
    return target or path


def settle(workshop: Workshop) -> None:
    """Let the report be about the program as it stands."""
    state = Project.open(workshop.made).state()
    rewrite(workshop.made / "report.json", lambda data: data.update(state=state))


def add(workshop: Workshop, kind: str, metric: str, value: float, state: str) -> int:
    """Add a figure about `HEAD` to the evidence; its id."""
    evidence = Project.open(workshop.made).evidence
    evidence.add([Measurement(HEAD, kind, metric, state, "heldout", "text", "overall", value, None, None, 1)])
    return evidence.find(part=HEAD, kind=kind, metric=metric)[-1][0]


def state_of(workshop: Workshop) -> str:
    return statement_state(Project.open(workshop.made).listing().statements[HEAD])


def test_what_did_not_change_passes_and_nothing_is_written(workshop: Workshop) -> None:
    before = workshop.files()
    answer = pellucid("check", workshop.made)
    assert answer.code == 0, answer.out
    assert "full and source-only programs, measured on 2" in answer.out
    assert workshop.files() == before


def test_a_fresh_clone_needs_no_weights(workshop: Workshop) -> None:
    (workshop.made / "weights.safetensors").unlink()
    before = workshop.files()
    assert checked(workshop, measured=True).passed
    assert workshop.files() == before


def test_a_broken_part_makes_fidelity_worse(workshop: Workshop) -> None:
    workshop.source(HEAD, "return 1000.0 * (key.position == 0)")
    entry = f'addresses = ["{HEAD}"]\nform = "{{}}"\nresidual = "{{}}"'
    workshop.edit("parts.toml", entry.format("raw", "on"), entry.format("source", "dropped"))
    answer = pellucid("check", workshop.made, "--json")
    found = answer.json
    assert (answer.code, found["passed"]) == (1, False)
    failed = {(failure["kind"], failure["about"]) for failure in found["failures"]}
    assert failed >= {("hash", "program"), ("fidelity", "full program, overall"), ("unmeasured", HEAD)}
    lines = pellucid("check", workshop.made, "--no-measure").out.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("worse  ") for line in lines)


def test_a_change_since_the_report(workshop: Workshop) -> None:
    workshop.source(HEAD, POINTED)
    assert kinds(checked(workshop)) == [("hash", "program")]
    settle(workshop)
    assert checked(workshop).passed


def test_stale_parts(workshop: Workshop) -> None:
    workshop.source(HEAD, POINTED)
    settle(workshop)
    add(workshop, "swapped_in", "kl", 0.1, state_of(workshop))
    assert checked(workshop).passed
    workshop.edit("program/layer_00.py", "3.0", "4.0")
    settle(workshop)
    assert kinds(checked(workshop)) == [("stale", HEAD)]


def test_lost_evidence(workshop: Workshop) -> None:
    workshop.source(HEAD, POINTED)
    settle(workshop)
    add(workshop, "isolated", "score", 0.9, state_of(workshop))
    rewrite(workshop.made / "report.json", lambda data: data["progress"]["evidence"].update(n=1))
    assert checked(workshop).passed
    (workshop.made / "evidence.sqlite").unlink()
    assert kinds(checked(workshop)) == [("unmeasured", "evidence")]
    assert not (workshop.made / "evidence.sqlite").exists()


def test_the_report_names_what_was_measured(workshop: Workshop) -> None:
    workshop.source(HEAD, POINTED)
    settle(workshop)
    assert checked(workshop).passed
    rewrite(workshop.made / "report.json", lambda data: data.update(measured=[HEAD]))
    assert kinds(checked(workshop)) == [("unmeasured", HEAD)]
    add(workshop, "swapped_in", "kl_estimate", 0.1, state_of(workshop))
    assert checked(workshop).passed


def test_an_estimate_of_the_source_as_it_stands_beats_an_older_measurement(workshop: Workshop) -> None:
    workshop.source(HEAD, POINTED)
    settle(workshop)
    add(workshop, "swapped_in", "kl", 0.1, "an older text")
    assert kinds(checked(workshop)) == [("stale", HEAD)]
    add(workshop, "swapped_in", "kl_estimate", 0.1, state_of(workshop))
    assert checked(workshop).passed


def test_residual_free_shares(workshop: Workshop) -> None:
    workshop.source(HEAD, POINTED)
    project = Project.open(workshop.made)
    write_parts(project.directory / PARTS, partition(project.listing(), project.dropped()), project.subject.decoder)
    settle(workshop)
    share = {"parameters": 0.01, "effect": None}
    rewrite(
        workshop.made / "report.json", lambda data: data["progress"]["residual_free"].update(code=share, source=share)
    )
    failures = checked(workshop).failures
    assert kinds(Check(failures, ())) == [("share", "residual-free source"), ("share", "residual-free code")]
    assert failures[0].message == "by parameters it was 1.00 %, is 0.00 %"


@pytest.mark.parametrize(
    ("provenance", "evidence", "failing"),
    [
        ("analysis", "own", False),
        ("analysis", "", True),
        ("model-written", "999999", True),
        ("model-written", "one", True),
        ("analysis", "other", True),
        ("user", "", False),
        ("imported", "", False),
    ],
)
def test_names_need_evidence(workshop: Workshop, provenance: str, evidence: str, failing: bool) -> None:
    ids = {"own": str(add(workshop, "isolated", "score", 0.9, "x")), "other": "1"}
    symbols = Project.open(workshop.made).symbols()
    symbols[HEAD] = Symbol(HEAD, "previous_token", "QK", provenance, ids.get(evidence, evidence))
    write_symbols(workshop.made / "symbols.tsv", symbols)
    assert kinds(checked(workshop)) == ([("name", HEAD)] if failing else [])


def test_hashes_of_the_report(workshop: Workshop) -> None:
    def change(data: dict[str, Any]) -> None:
        data["subject"]["tokenizer_sha256"] = "0" * 64
        data["corpus"]["splits"]["tune"]["sha256"] = "1" * 64

    rewrite(workshop.made / "report.json", change)
    assert kinds(checked(workshop)) == [("hash", "tokenizer of the report"), ("hash", "tune text of the report")]


def test_another_text_or_subject(workshop: Workshop) -> None:
    workshop.text.write_text(workshop.text.read_text().replace("w3 w4", "w4 w3"))
    assert kinds(checked(workshop)) == [("hash", "subject and text")]
    answer = pellucid("check", workshop.made, "--no-measure")
    assert (answer.code, answer.err) == (1, "")
    assert "has changed" in answer.out


def test_subject_and_text_may_have_moved(workshop: Workshop) -> None:
    subject = workshop.subject.rename(workshop.root / "moved")
    text = workshop.text.rename(subject / workshop.text.name)
    assert pellucid("check", workshop.made, "--no-measure").code == 2
    answer = pellucid("check", workshop.made, "--no-measure", "--subject", subject, "--corpus", text)
    assert answer.code == 0, answer.err + answer.out


def test_against_another_report(workshop: Workshop) -> None:
    def better(data: dict[str, Any]) -> None:
        data["source_only"]["overall"]["kl"] = {"value": 1e-5, "low": 5e-6, "high": 2e-5, "n": 100}

    other = rewrite(workshop.made / "report.json", better, workshop.root / "main.json")
    assert checked(workshop).passed
    found = checked(workshop, against=other)
    assert kinds(found) == [("fidelity", "source-only (code), overall")]
    assert "KL was 1.0e-05 [5.0e-06, 2.0e-05], is " in found.failures[0].message


@pytest.mark.parametrize(
    ("text", "said"), [(None, "is missing"), ("{", "not JSON"), ('{"format": 3}', "format is 3, expected 1 or 2")]
)
def test_bad_reports_are_bad_input(workshop: Workshop, text: str | None, said: str) -> None:
    other = workshop.root / "other.json"
    if text is not None:
        other.write_text(text)
    assert said in pellucid("check", workshop.made, "--no-measure", "--against", other).complaint()


def test_a_report_on_another_subject_is_bad_input(workshop: Workshop) -> None:
    other = rewrite(
        workshop.made / "report.json",
        lambda data: data["subject"].update(weights_sha256="0" * 64),
        workshop.root / "other.json",
    )
    with pytest.raises(ProjectError, match="another subject"):
        checked(workshop, against=other)


def test_a_strangers_program_is_not_measured(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(workshop.root / "nobody"))
    assert "--trust" in pellucid("check", workshop.made).complaint()
    assert pellucid("check", workshop.made, "--no-measure").code == 0


# --- figures ----------------------------------------------------------------------------------------------------------

WAS = {"value": 1.0, "low": 0.5, "high": 1.5, "n": 100}


@pytest.mark.parametrize(
    ("metric", "now", "worse"),
    [
        ("wer_next", (2.0, 1.4, 3.0), False),
        ("wer_next", (2.0, 1.6, 3.0), True),
        ("wer_next", (0.1, 0.0, 0.2), False),
        ("top1", (0.4, 0.3, 0.49), True),
        ("top1", (2.0, 1.6, 3.0), False),
        ("kl", (1.6, 1.5 + 1e-9, 1.7), False),
        ("kl", (1.6, None, None), True),
    ],
)
def test_intervals_must_be_apart(metric: str, now: tuple[float, float | None, float | None], worse: bool) -> None:
    after = dict(zip(("value", "low", "high"), now, strict=True)) | {"n": 90}
    old, new = ({"full": {"overall": {metric: entry}, "domains": {"a": {metric: entry}}}} for entry in (WAS, after))
    found = [(failure.kind, failure.about) for failure in worse_figures(old, new)]
    assert found == [("fidelity", "full program, overall")] * worse


def test_domains_count_where_they_rest_on_as_many_contexts() -> None:
    old = {"full": {"overall": {"kl": WAS}, "domains": {"overall": {"kl": WAS}}}}
    new = copy.deepcopy(old)
    new["full"]["domains"]["overall"]["kl"] = {"value": 9.0, "low": 8.0, "high": 10.0, "n": 100}
    assert [failure.about for failure in worse_figures(old, new)] == ["full program, domain overall"]


def test_what_is_no_longer_measured_is_said() -> None:
    old = {"full": {"overall": {"kl": WAS, "top1": None}, "domains": {}}, "source_only": None}
    found = list(worse_figures(old, {"full": {"overall": {}, "domains": {}}}))
    assert [(failure.kind, failure.message) for failure in found] == [
        ("unmeasured", "KL was 1.00 [0.500, 1.50] and is not measured now")
    ]
