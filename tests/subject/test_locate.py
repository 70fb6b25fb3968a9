"""Names of subjects: directories, the zoo, the hub (cache first), and what is between a name and its model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

import checkpoints
from pellucid.base.errors import PellucidError, SubjectError
from pellucid.subject import hub as hub_client
from pellucid.subject.hub import FILES
from pellucid.subject.load import load_subject
from pellucid.subject.locate import Location, locate


class Hub:
    """Stands in for the hub: remembers what was asked, gives `directory` or fails."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.asked: list[tuple[str, bool]] = []

    def __call__(
        self, name: str, revision: str | None, allow_patterns: list[str], local_files_only: bool = False
    ) -> str:
        assert not any(pattern.endswith((".bin", ".pt", "*")) for pattern in allow_patterns)
        self.asked.append((name if revision is None else f"{name}@{revision}", local_files_only))
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
    for name in ("gpt2", "openai-community/gpt2", "hub:gpt2", "gpt2@main", f"gpt2@{commit}"):
        subject = load_subject(name)
        assert (subject.name, subject.path.name) == (name, commit)
        assert subject.place == f"hub:openai-community/gpt2@{commit}"
    assert load_subject(subject.place).weights_sha256 == subject.weights_sha256


def test_then_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(checkpoints.write(tmp_path / "snapshot"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    assert locate("some/model") == Location(tmp_path / "snapshot", "hub:some/model")
    assert hub.asked == [("some/model", True), ("some/model", False)]
    assert locate("some/model@v1.0") == Location(tmp_path / "snapshot", "hub:some/model@v1.0")
    assert hub.asked[2:] == [("some/model@v1.0", True), ("some/model@v1.0", False)]


@pytest.mark.parametrize(("offline", "asks"), [("1", 1), ("", 2)])
def test_a_failure_says_what_was_tried(offline: str, asks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(None)
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    whole = r"\(not here long explanation\)"
    end = "HF_HUB_OFFLINE forbids asking the hub" if offline else f"the hub did not give it {whole}"
    with pytest.raises(SubjectError, match=rf"gpt2: it is not in the local cache {whole}, and {end}"):
        locate("gpt2")
    assert len(hub.asked) == asks


def test_an_incomplete_copy_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(_name: str, **_options: Any) -> str:
        return str(tmp_path)

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", half)
    with pytest.raises(SubjectError, match=r"its copy in the local cache, .* is incomplete, and HF_HUB_OFFLINE"):
        locate("some/model")


# --- what is called as a model is ---------------------------------------------------------------------------------


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The snapshot that the hub gives for any name; the working directory is empty."""
    snapshot = checkpoints.write(tmp_path / "snapshot")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", Hub(snapshot))
    return snapshot


@pytest.mark.parametrize("name", ["gpt2", "some/model"])
@pytest.mark.parametrize("content", ["pellucid.toml", "weightless.json", None])
def test_a_directory_that_is_no_checkpoint_does_not_hide_the_hub(remote: Path, name: str, content: str | None) -> None:
    Path(name).mkdir(parents=True)
    if content:
        (Path(name) / content).touch()
    assert locate(name).path == remote
    assert locate(name).name == ("hub:openai-community/gpt2" if name == "gpt2" else "hub:some/model")
    with pytest.raises(SubjectError, match=r"config.json cannot be read|holds a program without weights"):
        load_subject(Path(name))
    checkpoints.write(Path(name))
    assert locate(name) == Location(Path(name), str(Path(name).resolve()))
    assert locate(f"hub:{name}").path == remote


@pytest.mark.usefixtures("remote")
def test_a_folder_of_other_files_is_what_was_meant() -> None:
    Path("runs/first").mkdir(parents=True)
    Path("runs/first/notes.txt").touch()
    with pytest.raises(SubjectError, match=r"runs/first/config.json cannot be read"):
        load_subject("runs/first")
    with pytest.raises(SubjectError, match=r"runs/frist: no such directory in runs; did you mean first"):
        load_subject("runs/frist")


# --- what the hub has -------------------------------------------------------------------------------------------------


def test_everything_that_decides_ids_is_fetched(remote: Path) -> None:
    (remote / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": True, "bos_token": "w3"}))
    (remote / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 7]}))
    assert {file.name for file in remote.iterdir()} <= {*FILES}
    local, hub = (load_subject(name) for name in (remote, "some/model"))
    assert local.tokenizer.opened("w1") == hub.tokenizer.opened("w1") == [3, 1]
    assert local.tokenizer.ends == hub.tokenizer.ends == (5, 7)
    assert {"special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.json"} <= {*FILES}


def test_a_copy_without_the_settings_of_its_tokenizer_is_completed(
    remote: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def old(_name: str, local_files_only: bool = False, **_options: Any) -> str:
        asked.append(local_files_only)
        if not local_files_only:
            raise OSError("no route")
        return str(remote)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", old)
    assert locate("some/model").path == remote
    assert asked == [True, False]
    said = capsys.readouterr().err
    assert "its copy in the local cache has no tokenizer_config.json, and the hub did not give it (no route)" in said
    (remote / "tokenizer_config.json").write_text("{}")
    assert locate("some/model").path == remote
    assert asked == [True, False, True]


def test_pickles_alone_are_said_with_the_way_out(remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (remote / "model.safetensors").unlink()
    names = ["config.json", "pytorch_model.bin"]
    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda _name, **_options: names)
    with pytest.raises(SubjectError) as caught:
        locate("some/model@v2")
    said = str(caught.value)
    assert "some/model@v2 has no safetensors on the hub, only pytorch_model.bin, a pickle" in said
    assert "M.from_pretrained('\"'\"'some/model'\"'\"', revision='\"'\"'v2'\"'\"')" in said
    assert said.endswith("&& pellucid decompile ./model -o DIR")
    names.append("other.safetensors")
    with pytest.raises(SubjectError, match=r"has neither model.safetensors nor"):
        load_subject("some/model")


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_hub_that_never_answers(silent: str, tmp_path: Path) -> None:
    code = (
        "from pellucid.subject import hub\n"
        "from pellucid.subject.locate import locate\n"
        "from pellucid.base.errors import SubjectError\n"
        "hub.WORD, hub.PATIENCE = 0.2, 1.0\n"
        "try: locate('some/model')\n"
        "except SubjectError as error: print(error)\n"
    )
    own = {"HF_ENDPOINT": silent, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | own, check=True)
    assert f"waiting for {silent} to answer about some/model (Ctrl-C to stop)" in run.stderr
    assert run.stdout.startswith("some/model: it is not in the local cache (")
    assert run.stdout.endswith(f"and the hub did not give it ({silent} has sent nothing for 1 s)\n")


def test_what_comes_slowly_is_waited_for(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = empty_cache / "models--some--model"
    folder.mkdir()
    monkeypatch.setattr(hub_client, "PATIENCE", 2.0)

    def slow() -> str:
        import time

        for piece in range(8):
            time.sleep(0.3)
            (folder / f"{piece}.incomplete").write_bytes(b"x")
        return "all of it"

    assert hub_client._asked(slow, "some/model", hub_client.PATIENCE) == "all of it"
