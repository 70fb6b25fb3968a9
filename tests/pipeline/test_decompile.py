"""Decompiling: exact from the first day, what people wrote is kept, and a crash costs only what was in progress."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

import pellucid
from cli_support import Workshop, copied, lean, leftovers, own_work
from cli_support import pellucid as pellucid_command
from pellucid.base import files
from pellucid.base.effort import Effort
from pellucid.base.errors import ProjectError
from pellucid.listing import emit, printing
from pellucid.pipeline import find, link, program, proofs
from pellucid.pipeline.decompile import Request, decompile
from pellucid.pipeline.request import begin
from pellucid.project import project as project_module
from pellucid.project.project import Project
from pellucid.project.symbols import read_symbols
from pellucid.subject.load import load_subject
from pellucid.verify import verify


def request(workshop: Workshop, directory: Path, *, raw: bool = True) -> Request:
    """A quick decompilation of the workshop's subject on its text."""
    return Request(
        subject=str(workshop.subject), directory=directory, corpus=(workshop.text,), effort=Effort.quick(), raw=raw
    )


def ask(workshop: Workshop, directory: Path, *, raw: bool = True, keep_weak: bool | None = None) -> Project:
    """Decompile from Python."""
    return decompile(replace(request(workshop, directory, raw=raw), keep_weak=keep_weak))


# --- day one ----------------------------------------------------------------------------------------------------------


def test_the_all_raw_program_is_its_subject(workshop: Workshop) -> None:
    model, program = pellucid.load(workshop.subject), pellucid.open(workshop.made).program()
    ids = np.random.default_rng(0).integers(0, 11, (64, 16))
    exact = model.logits(torch.from_numpy(ids)).numpy()
    assert np.abs(program.logits(ids) - exact).max() <= 1e-5 * np.abs(exact).max()


def test_a_project_directory_holds_what_is_documented(workshop: Workshop) -> None:
    found = set(workshop.files())
    layers = {f"program/layer_{layer:02d}.py" for layer in range(2)}
    files = {"pellucid.toml", "parts.toml", "symbols.tsv", "weights.safetensors", "evidence.sqlite"}
    program = {"__init__", "__main__", "model", "embedding", "vocabulary", "parts", "values", "runtime", "prelude"}
    program |= {"changes", "cutting", "idle", "wires"}
    files |= {"report.json", "report.html", ".gitignore", "program/.emitted", "program/vocabulary.json"}
    assert found - {"evidence.sqlite-wal"} == files | layers | {f"program/{name}.py" for name in program}
    assert "weights.safetensors" in (workshop.made / ".gitignore").read_text().split()


# --- a second time ----------------------------------------------------------------------------------------------------


def test_a_second_decompilation_writes_the_same(workshop: Workshop) -> None:
    ask(workshop, workshop.made)
    before = workshop.files()
    report = pellucid.open(workshop.made).report()
    again = ask(workshop, workshop.made)
    assert again.report() == report
    changed = {name for name, text in workshop.files().items() if before.get(name) != text}
    assert changed <= {"evidence.sqlite", "evidence.sqlite-wal"}


def test_what_stands_beside_a_program_is_measured_once(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    beside: list[bool] = []
    measure = verify.measure

    def watched(*arguments: Any, **options: Any) -> Any:
        beside.append(options["beside"])
        return measure(*arguments, **options)

    monkeypatch.setattr(verify, "measure", watched)
    ask(workshop, workshop.made)
    ask(workshop, workshop.fresh)
    assert beside == [False, True]


def test_people_s_work_survives(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    workshop.source("L00.H01.QK", "return 6 * (key.position == query.position - 1)", name="previous_token")
    text = (workshop.made / "program" / "layer_00.py").read_text().partition("from .prelude")[2]
    line = next(line for line in (workshop.made / "symbols.tsv").read_text().split("\n") if "L00.H01.QK" in line)
    cells = line.split("\t")
    named = "\t".join(["L00.H01.QK", "looks_back", cells[2], "user", "", "", "see the talk of May"])
    workshop.edit("symbols.tsv", line, named)
    workshop.edit("program/model.py", "# [model, vocab]", "# [model, vocab], shared with the embedding")
    for raw in (True, False):
        made = ask(workshop, workshop.made, raw=raw)
        head, _, kept = (workshop.made / "program" / "layer_00.py").read_text().partition("from .prelude")
        assert "def previous_token(query, key):\n" in kept
        assert "where heads look (QK)          2       0       0          " in head  # none runs its source
        assert kept == text or not raw
        symbol = read_symbols(workshop.made / "symbols.tsv")["L00.H01.QK"]
        assert (symbol.name, symbol.provenance, symbol.note) == ("looks_back", "user", "see the talk of May")
        assert "shared with the embedding" in (workshop.made / "program" / "model.py").read_text()
        assert made.report()["full"]["overall"]["top1"]["value"] == 100.0
    assert "kept as you wrote them: model.py" in capsys.readouterr().err
    assert 'described = "layer_00.py:previous_token"' in (workshop.made / "parts.toml").read_text()


def test_the_text_stays_unless_another_is_named(workshop: Workshop) -> None:
    before = pellucid.open(workshop.made).report()["corpus"]
    assert pellucid_command("decompile", workshop.subject, "-o", workshop.made, "--quick", "--raw").code == 0
    assert pellucid.open(workshop.made).report()["corpus"] == before


def test_a_dropped_residual_stays_dropped(workshop: Workshop) -> None:
    workshop.source("L00.H01.QK", "return 6 * (key.position == query.position - 1)")
    ask(workshop, workshop.made)
    text = (workshop.made / "parts.toml").read_text()
    at = text.index('"L00.H01.QK"')
    (workshop.made / "parts.toml").write_text(text[:at] + text[at:].replace('"on"', '"dropped"', 1))
    made = ask(workshop, workshop.made)
    assert [str(address) for address in made.dropped()] == ["L00.H01.QK"]
    assert made.report()["full"]["overall"]["kl"]["value"] > 1e-6


# --- sources ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sourced(furnished: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    root = tmp_path_factory.mktemp("sourced")
    with lean(root / "state"):
        workshop = copied(furnished, root / "workshop")
        ask(workshop, workshop.made, raw=False)
    return workshop


def test_sources_are_written_measured_and_within_the_budget(sourced: Workshop) -> None:
    made = pellucid.open(sourced.made)
    forms = {made.listing().form(address) for address, _ in made.listing().sources()}
    assert forms == {"source"}
    report = made.report()
    assert 0 < report["numbers"]["program"] <= report["numbers"]["budget"] == int(0.05 * made.subject.parameters)
    assert report["progress"]["evidence"]["n"] > 0
    assert report["progress"]["effect_calibration"]["n"] > 0


def test_a_source_that_is_given_up_is_found_again(workshop: Workshop) -> None:
    layer = workshop.made / "program" / "layer_00.py"
    raw = layer.read_text()
    workshop.source("L00.H01.QK", "return 6 * (key.position == query.position - 1)")
    ask(workshop, workshop.made, raw=False, keep_weak=True)
    with own_work(workshop.made):
        layer.write_text(raw)
    made = ask(workshop, workshop.made, raw=False)
    assert "by_hand" not in layer.read_text()
    assert made.manifest.settings.keep_weak
    assert made.symbols()["L00.H01.QK"].score


STAGES: list[tuple[Any, str]] = [
    (find, "find_sources"),
    (find, "find_lifted"),
    (link, "link_sources"),
    (proofs, "contexts"),
    (proofs, "prove"),
    (proofs, "prove_lifted"),
    (proofs, "measure_joint"),
]


def test_a_finished_stage_is_not_repeated(sourced: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sourced.files()
    for module, stage in STAGES:
        monkeypatch.setattr(module, stage, None)
    with lean(sourced.root.parent / "state"):
        ask(sourced, sourced.made, raw=False)
    after = sourced.files()
    same = [name for name in before if name.startswith("program/") or name in ("parts.toml", "symbols.tsv")]
    assert {name: after[name] for name in same} == {name: before[name] for name in same}


# --- crashes ----------------------------------------------------------------------------------------------------------


class CrashError(Exception):
    """Something that no code expects."""


def crash(*_: Any, **__: Any) -> None:
    raise CrashError


RAW: list[tuple[Any, str]] = [
    (program, "fit_extras"),
    (safetensors.torch, "save_file"),
    (emit, "_fill"),
    (printing, "_write_record"),
    (project_module, "write_parts"),
    (program, "write_symbols"),
    (verify, "measure"),
    (Project, "save_report"),
]
SOURCED: list[tuple[Any, str]] = [
    *STAGES,
    (find, "write_sources"),
    (link, "write_lifted_parts"),
    (proofs, "names"),
]


@pytest.mark.parametrize(("stages", "raw"), [(RAW, True), (SOURCED, False)], ids=["raw", "sourced"])
def test_a_crash_at_any_stage_leaves_nothing_half_written(
    workshop: Workshop, sourced: Workshop, stages: list[tuple[Any, str]], raw: bool
) -> None:
    for module, name in stages:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, name, crash)
            with pytest.raises(CrashError):
                ask(workshop, workshop.fresh, raw=raw)
        assert leftovers(workshop.fresh) == [], name
    finished = ask(workshop, workshop.fresh, raw=raw).report()
    undisturbed = pellucid.open(workshop.made if raw else sourced.made).report()
    assert {key: finished[key] for key in ("full", "source_only")} == {
        key: undisturbed[key] for key in ("full", "source_only")
    }


def test_a_run_that_goes_on_reads_held_out_text_as_often(workshop: Workshop) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "measure", crash)
        with pytest.raises(CrashError):
            ask(workshop, workshop.fresh, raw=False)
    assert ask(workshop, workshop.fresh, raw=False).report()["heldout"]["readings"] == 1


def test_parts_toml_names_the_lines_of_the_program(sourced: Workshop) -> None:
    text = (sourced.made / "parts.toml").read_text()
    named = re.findall(r'addresses = \["(\S+)"\]\n.*\n.*\ndescribed = "(\w+\.py):(\d+)"', text)
    assert named
    for address, page, line in named:
        assert f'"{address}"' in (sourced.made / "program" / page).read_text().split("\n")[int(line) - 1]


@pytest.mark.parametrize("nth", [1, 2, 5, 9, 14])
def test_a_crash_while_a_file_is_put_in_place(workshop: Workshop, nth: int) -> None:
    moves, calls = files.os.replace, itertools.count(1)

    def breaks(source: Any, target: Any) -> None:
        if next(calls) == nth:
            raise CrashError
        moves(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files.os, "replace", breaks)
        with pytest.raises(CrashError):
            ask(workshop, workshop.fresh)
    assert leftovers(workshop.fresh) == []
    project = begin(request(workshop, workshop.fresh), load_subject(workshop.subject))
    program.write_program(project, Effort.quick())
    fresh, made = workshop.files(workshop.fresh), workshop.files()
    same = [name for name in made if name.startswith("program/layer") or name in ("parts.toml", "symbols.tsv")]
    assert {name: fresh[name] for name in same} == {name: made[name] for name in same}


def test_what_a_killed_run_was_writing_is_no_stranger_s(workshop: Workshop) -> None:
    workshop.fresh.mkdir()
    (workshop.fresh / ".pellucid.toml.x1.partial").write_text("half")
    assert ask(workshop, workshop.fresh).report()["quick"] is True


# --- from Python ------------------------------------------------------------------------------------------------------


def test_a_project_without_a_report_says_how_to_get_one(workshop: Workshop) -> None:
    (workshop.made / "report.json").unlink()
    with pytest.raises(ProjectError, match="has not been measured; run `pellucid verify"):
        pellucid.open(workshop.made).report()


def test_open_and_generate(workshop: Workshop) -> None:
    made = pellucid.open(workshop.made)
    assert repr(made) == f"<Project {workshop.made}: {workshop.subject}>"
    assert made.generate("w1 w2", 3) == made.generate("w1 w2", 5)[: len(made.generate("w1 w2", 3))]
    assert made.subject.parameters == 1976
