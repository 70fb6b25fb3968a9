"""Names of subjects: directories, the zoo, the hub (cache first)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

import checkpoints
from pellucid.base.errors import PellucidError, SubjectError
from pellucid.subject.load import load_subject
from pellucid.subject.locate import locate


class Hub:
    """Stands in for the hub: remembers what was asked, gives `directory` or fails."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.asked: list[tuple[str, bool]] = []

    def __call__(self, name: str, allow_patterns: list[str], local_files_only: bool = False) -> str:
        assert "config.json" in allow_patterns
        assert not any(pattern.endswith((".bin", ".pt", "*")) for pattern in allow_patterns)
        self.asked.append((name, local_files_only))
        if local_files_only or self.directory is None:
            raise OSError("not here\nlong explanation")
        return str(self.directory)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return cache


def test_a_directory_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "novelist-2m").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in (tmp_path / "novelist-m2", "./novelist-m2"):
        with pytest.raises(SubjectError, match=r"no such directory.*did you mean novelist-2m"):
            locate(name)
    with pytest.raises(SubjectError, match=r"no such directory \(there is no nowhere/deep either\)"):
        locate("nowhere/deep/model")
    with pytest.raises(SubjectError, match="gtp2: no such directory; did you mean gpt2"):
        locate("gtp2")
    for name in ("novelist", "a" * 5000, "", "x\0y", "~nobody/x y"):
        with pytest.raises(SubjectError):
            locate(name)


def test_a_file_is_not_a_subject(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.touch()
    with pytest.raises(SubjectError, match="is a file; name the directory"):
        locate(file)


def test_the_zoo() -> None:
    with pytest.raises(PellucidError, match="zoo:villag is not in the zoo"):
        locate("zoo:villag")


def test_the_local_cache_comes_first(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = empty_cache / "models--openai-community--gpt2"
    commit = "0" * 40
    checkpoints.write(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("gpt2", "openai-community/gpt2"):
        subject = load_subject(name)
        assert (subject.name, subject.path.name) == (name, commit)


def test_then_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(tmp_path)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    assert locate("some/model") == tmp_path
    assert hub.asked == [("some/model", True), ("some/model", False)]


@pytest.mark.parametrize(("offline", "asks"), [("1", 1), ("", 2)])
def test_a_failure_says_what_was_tried(offline: str, asks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(None)
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    end = "HF_HUB_OFFLINE forbids asking the hub" if offline else r"the hub did not give it \(not here\)"
    with pytest.raises(SubjectError, match=rf"gpt2: it is not in the local cache \(not here\), and {end}"):
        locate("gpt2")
    assert len(hub.asked) == asks


def test_an_incomplete_copy_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(_name: str, **_options: Any) -> str:
        return str(tmp_path)

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", half)
    with pytest.raises(SubjectError, match=r"its copy in the local cache, .* is incomplete, and HF_HUB_OFFLINE"):
        locate("some/model")
