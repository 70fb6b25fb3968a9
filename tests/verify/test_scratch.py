"""A part is frozen once, and its source is then tried in a moment without the subject."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from cli_support import Workshop, pellucid
from pellucid.base.address import Address
from pellucid.base.errors import PellucidError, ProjectError, SourceError
from pellucid.corpus.rows import Row
from pellucid.project.project import Project
from pellucid.verify.examine import causal_softmax, isolated
from pellucid.verify.freeze import Frozen, freeze
from pellucid.verify.scratch import Scratch, figures, scratch

HEAD, NEURON = "L00.H01.QK", "L01.N0003.IN"


def recording(workshop: Workshop, address: str = HEAD) -> Path:
    return workshop.made / "scratch" / f"{address}.safetensors"


def again(workshop: Workshop, address: str = HEAD) -> Scratch:
    """Try without the subject and its text."""
    for path in (workshop.subject, workshop.text):
        if path.exists():
            path.rename(path.with_suffix(".away"))
    return scratch(Project.open(workshop.made), address)


def test_a_raw_part_is_shown_beside_the_mean(workshop: Workshop) -> None:
    found = scratch(Project.open(workshop.made), HEAD)
    assert (found.source, found.space) == (None, " ")
    assert 10 < found.rows <= 64
    assert (found.mean.score, found.mean.error > 0) == (0, True)
    assert found.mean.error > 0
    assert found.worst[0].difference == max(place.difference for place in found.worst)
    assert isinstance(found.worst[0].source, tuple)
    weights = {round(key.weight, 5) for key in found.worst[0].source}
    assert len(weights) == 1, "the mean of a pattern is uniform"
    assert "scratch/" in (workshop.made / ".gitignore").read_text().splitlines()


def test_a_source_is_tried_without_subject_in_a_moment(workshop: Workshop) -> None:
    before = scratch(Project.open(workshop.made), HEAD)
    workshop.source(HEAD, "return 3.0 * (key.position == query.position - 1)")
    shutil.rmtree(workshop.made / "weights.safetensors", ignore_errors=True)
    (workshop.made / "weights.safetensors").unlink()
    start = time.perf_counter()
    found = again(workshop)
    assert time.perf_counter() - start < 5
    assert found.source is not None
    assert found.mean == before.mean
    assert "by_hand" in found.place
    assert all(place.tokens[-1].startswith("w") for place in found.worst)


def test_the_raw_part_as_a_source_is_perfect(workshop: Workshop) -> None:
    frozen = freeze(Project.open(workshop.made), Address.parse(HEAD))
    found = figures(frozen, frozen.raw)
    assert (found.score, found.error) == (pytest.approx(1), pytest.approx(0, abs=1e-9))
    shifted = [scores + np.float32(2) for scores in frozen.raw]
    assert figures(frozen, shifted).error == pytest.approx(0, abs=1e-6), "a pattern does not see a common shift"


def test_figures_of_a_neuron() -> None:
    raw = (np.array([0, 1, 2, 3], np.float32), np.array([4, 5], np.float32))
    rows = (np.arange(4, dtype=np.int32), np.arange(2, dtype=np.int32))
    found = figures(Frozen(Address.parse(NEURON), rows, raw), [values * 2 + 1 for values in raw])
    assert found.score == pytest.approx(1)
    assert found.error == pytest.approx(np.sqrt(np.mean(np.arange(1, 7) ** 2)))


def test_the_error_of_a_head_is_the_divergence_of_its_patterns() -> None:
    raw, said = np.random.default_rng(0).normal(size=(2, 5, 5)).astype(np.float32)
    p, q = (causal_softmax(scores).astype(np.float64) for scores in (raw, said))
    expected = np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / np.where(q > 0, q, 1)), 0).sum(-1).mean()
    found = figures(Frozen(Address.parse(HEAD), (np.zeros(5, np.int32),), (raw,)), [said])
    assert found.error == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("statement", "score"),
    [
        ('constants("L01.IN", {3: 0.25})\n', 0.0),
        (f'@source("{NEURON}")\ndef by_hand(here):\n    """By hand."""\n    return 1.0 * (here.token == "w4")\n', None),
    ],
)
def test_neurons(workshop: Workshop, statement: str, score: float | None) -> None:
    workshop.edit("program/layer_01.py", 'raw("L01.N*.IN")', f'{statement}raw("L01.N*.IN")')
    workshop.edit("program/layer_01.py", "from .prelude import raw", "from .prelude import constants, raw, source")
    found = scratch(Project.open(workshop.made), NEURON)
    assert found.source is not None
    assert score is None or found.source.score == score
    assert found.mean.score == 0
    assert all(isinstance(place.raw, float) for place in found.worst)


def test_scores_are_those_of_a_full_verification(workshop: Workshop) -> None:
    workshop.source(HEAD, "return 3.0 * (key.position == query.position - 1)")
    project = Project.open(workshop.made)
    address = Address.parse(HEAD)
    frozen = freeze(project, address)
    rows = [Row("text", "document", "block", tokens) for tokens in frozen.rows]
    expected = isolated(project.model, project.program(), project.listing(), address, rows)
    found = scratch(project, HEAD)
    assert found.source is not None
    assert expected is not None
    assert found.source.score == pytest.approx(expected.value)


def test_recordings_of_another_subject_or_text_are_made_anew(workshop: Workshop) -> None:
    project = Project.open(workshop.made)
    expected = scratch(project, HEAD)
    fresh = recording(workshop).read_bytes()
    stale = [fresh.replace(f'"{key}":"'.encode(), f'"{key}":"x'.encode(), 1) for key in ("text", "subject", "seed")]
    for content in (*stale, fresh[:100], b""):
        size = int.from_bytes(fresh[:8], "little") + len(content) - len(fresh)
        recording(workshop).write_bytes(size.to_bytes(8, "little") + content[8:] if content in stale else content)
        assert scratch(project, HEAD) == expected
        assert len(recording(workshop).read_bytes()) == len(fresh)


@pytest.mark.parametrize("body", ["return (key.token == 'w9').sum(-1)[..., None]", "return [1, 2]", "return log(-1)"])
def test_a_broken_source_is_named(workshop: Workshop, body: str) -> None:
    workshop.source(HEAD, body)
    with pytest.raises(SourceError, match=HEAD):
        scratch(Project.open(workshop.made), HEAD)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("L00.H01.OV", "cannot be frozen; expected where a head looks"),
        ("L00.H*.QK", "names 2 parts"),
        ("L09.H00.QK", "names no part"),
    ],
)
def test_what_cannot_be_tried(workshop: Workshop, address: str, said: str) -> None:
    with pytest.raises(PellucidError, match=said):
        scratch(Project.open(workshop.made), address)


def test_a_strangers_source_does_not_run(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(workshop.root / "nobody"))
    with pytest.raises(ProjectError, match="--trust"):
        scratch(Project.open(workshop.made), HEAD)


def test_on_the_command_line(workshop: Workshop) -> None:
    answer = pellucid("scratch", workshop.made, HEAD)
    assert answer.code == 0
    assert "runs raw" in answer.out
    assert '@source("L00.H01.QK")' in answer.out
    workshop.source(HEAD, "return 3.0 * (key.position == query.position - 1)")
    found = pellucid("scratch", workshop.made, HEAD, "--json").json
    assert set(found["source"]) == {"score", "error"}
    assert " 1 back" in pellucid("scratch", workshop.made, HEAD).out
