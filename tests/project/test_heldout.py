"""Held-out text is read once, by the final measurement; choices are made on check text; readings are counted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import pellucid
from cli_support import Workshop
from cli_support import pellucid as command
from pellucid.base.effort import Effort
from pellucid.base.errors import ProjectError
from pellucid.corpus.corpus import split_corpus, story_corpus
from pellucid.exact.model import Model
from pellucid.pipeline import link
from pellucid.pipeline.decompile import Request, decompile
from pellucid.pipeline.link import CAREFUL, keeps_within
from pellucid.project.evidence import Evidence, Measurement
from pellucid.project.heldout import HeldoutReadings
from pellucid.project.manifest import Gate, Manifest
from pellucid.project.project import Project
from pellucid.project.texts import open_texts
from pellucid.verify import measure
from pellucid.view.scoreboard import readings


def test_a_command_counts_once_and_a_killed_measurement_that_goes_on_is_the_same(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path / "evidence.sqlite")
    first = HeldoutReadings(evidence, "text")
    first.anew(resumes=True)
    first.note("program")
    first.note("program")
    again = HeldoutReadings(evidence, "text")
    again.anew(resumes=True)
    again.note("program")
    assert again.count == 1
    again.end()
    for count, state in enumerate(["program", "changed"], start=2):
        later = HeldoutReadings(evidence, "text")
        later.anew(resumes=True)
        later.note(state)
        assert later.count == count
    assert HeldoutReadings(evidence, "other text").count == 0


def test_what_was_measured_before_readings_were_counted_is_one_at_least(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path / "evidence.sqlite")
    evidence.add([Measurement("program", "full", "kl", "s", "heldout", "text", "overall", 0.0, None, None, 9)])
    old = HeldoutReadings(evidence, "text")
    assert old.count == 1
    old.note("program")
    assert old.count == 2


def test_the_report_counts_readings(workshop: Workshop) -> None:
    held = {"readings": 1, "at_least": False, "chosen_on": "check"}
    for _ in range(2):
        assert "held-out text was read once" in workshop.decompile(workshop.fresh).out
        assert pellucid.open(workshop.fresh).report()["heldout"] == held
    assert command("check", workshop.fresh).code == 0
    verified = command("verify", workshop.fresh, "--quick")
    assert pellucid.open(workshop.fresh).report()["heldout"] == held | {"readings": 2}
    assert "held-out text was read 2 times since the directory was made: what was decided" in verified.out


def test_a_verify_that_fails_is_no_reading(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.decompile(workshop.fresh)

    def broken(*_: object) -> None:
        raise ProjectError("no figures today")

    with monkeypatch.context() as patch:
        patch.setattr(measure, "evaluate", broken)
        assert "no figures today" in command("verify", workshop.fresh, "--quick").err
    assert pellucid.open(workshop.fresh).readings.count == 1
    command("verify", workshop.fresh, "--quick")
    assert pellucid.open(workshop.fresh).readings.count == 2


def read_and_fail(held: HeldoutReadings) -> None:
    held.note("program")
    raise ProjectError("late")


def test_what_was_read_before_a_failure_stays_counted(tmp_path: Path) -> None:
    held = HeldoutReadings(Evidence(tmp_path / "evidence.sqlite"), "text")
    held.note("program")
    held.anew()
    for earlier, count in ((False, 1), (True, 2)):
        if earlier:
            held.note("program")
        with pytest.raises(ProjectError, match="late"), held.unless_it_fails():
            read_and_fail(held)
        assert held.count == count
    held.anew()
    with held.unless_it_fails():
        held.note("program")
    assert held.count == 3


def test_a_directory_from_before_check_text_opens_and_says_so(workshop: Workshop) -> None:
    manifest, model = Manifest.read(workshop.made), Model(pellucid.open(workshop.made).subject)
    assert set(manifest.corpus.hashes) == {"fit", "tune", "check", "heldout"}
    text = (workshop.made / "pellucid.toml").read_text()
    without = "\n".join(line for line in text.splitlines() if not line.startswith("check_sha256"))
    assert without != text
    whole = split_corpus(open_texts(manifest.corpus, model, 0).fit.corpus, check=False)
    without = without.replace(manifest.corpus.fit_sha256, whole.fit.sha256)
    (workshop.made / "pellucid.toml").write_text(without)
    old = pellucid.open(workshop.made)
    assert old.texts.check is None
    assert command("verify", workshop.made, "--quick", "--trust").code == 0
    held = pellucid.open(workshop.made).report()["heldout"]
    assert held == {"readings": 2, "at_least": True, "chosen_on": "heldout"}
    made = decompile(Request(subject=str(workshop.subject), directory=workshop.made, effort=Effort.quick(), raw=True))
    assert made.texts.check is None


@pytest.mark.parametrize(("check", "wer", "kept"), [(True, 0.9, False), (True, 0.7, True), (False, 0.9, True)])
def test_it_is_chosen_on_check_text_with_care_and_without_it_on_held_out_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], check: bool, wer: float, kept: bool
) -> None:
    assert CAREFUL == 0.8
    stories = story_corpus(lambda: (f"w{n} " * 150 for n in range(200)), "some")
    project, read = object.__new__(Project), list[str]()
    manifest = SimpleNamespace(gate=Gate())
    texts = split_corpus(stories, check=check)
    noted = SimpleNamespace(anew=lambda: read.append("anew"))
    project.__dict__.update(directory=Path("DIR"), manifest=manifest, texts=texts, readings=noted)

    def measured(_: Project, split: object, _effort: Effort) -> object:
        read.extend(name for name, other in texts.named.items() if other is split)
        entry = {"value": wer, "low": 0.0, "high": 2 * wer, "n": 10}
        return SimpleNamespace(to_dict=lambda: {"overall": {"wer_next": entry, "wer_16": entry}, "domains": {}})

    monkeypatch.setattr(link, "measure_full", measured)
    assert keeps_within(project, Effort.quick()) == kept
    assert read == (["check"] if check else ["anew", "heldout"])
    assert ("made without check text" in capsys.readouterr().err) != check


def test_what_was_chosen_on_held_out_text_is_said() -> None:
    held = {"readings": 3, "at_least": True, "chosen_on": "heldout"}
    said = readings({"heldout": held})
    assert "at least 3 times" in said
    assert "chosen on it" in said
    assert readings({}) == ""
