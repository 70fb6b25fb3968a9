"""`pellucid.toml` reads back as written, and a broken one is explained."""

from __future__ import annotations

from pathlib import Path

import pytest

from pellucid.base.errors import ProjectError
from pellucid.project.manifest import MANIFEST as MANIFEST_FILE
from pellucid.project.manifest import CorpusEntry, Manifest, SubjectEntry
from pellucid.project.trust import is_trusted, require_trust

MANIFEST = Manifest(SubjectEntry('odd "name"\n', "a" * 64, "b" * 64), CorpusEntry("text", ("x.txt",), ()))


def test_round_trip(tmp_path: Path) -> None:
    MANIFEST.write(tmp_path)
    assert Manifest.read(tmp_path) == MANIFEST


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("seed = 0", 'seed = "zero"', "settings.seed is 'zero'"),
        ("seed = 0", "sead = 0", "settings.sead is no entry that is known here"),
        ("format = 2", "format = 9", "format is 9"),
        ('asks = "both"', 'asks = "all"', "gate: asks is 'all', expected one of both, next"),
        ('size = "medium"', 'size = "huge"', "settings.size is 'huge', expected 'small', 'medium' or 'large'"),
        ('paths = ["x.txt"]', "paths = [5]", r"corpus.paths\[0\] is 5, expected a valid string"),
        ("wer_next = 1.0", "wer_next = nan", "gate.wer_next is nan, expected a finite number"),
        ("tokens = 0", "tokens = 1979-05-27", "corpus.tokens is '1979-05-27', expected a valid integer"),
        ("seed = 0", f"seed = {'9' * 5000}", "not TOML"),
        ("seed = 0", f"seed = {'[' * 5000}", "not TOML"),
        ("[gate]", "[gate", "pellucid.toml"),
        ("[gate]", "[door]", r"\[gate\] is missing"),
    ],
)
def test_a_broken_file_is_explained(tmp_path: Path, before: str, after: str, reason: str) -> None:
    MANIFEST.write(tmp_path)
    path = tmp_path / MANIFEST_FILE
    path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    with pytest.raises(ProjectError, match=reason):
        Manifest.read(tmp_path)


def test_a_directory_without_one_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="not a project directory"):
        Manifest.read(tmp_path)


def test_a_strangers_program_needs_trust_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with pytest.raises(ProjectError, match="--trust"):
        require_trust(tmp_path)
    require_trust(tmp_path, granted=True)
    assert is_trusted(tmp_path)
    require_trust(tmp_path)
