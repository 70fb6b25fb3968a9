"""Models on the Hugging Face hub: the local cache first, then the hub, with a word while it is silent, and an end."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from threading import Thread
from typing import TypeVar

from pellucid.base.errors import SubjectError
from pellucid.base.terminal import tell
from pellucid.family.known import HUB
from pellucid.subject.checkpoint import INDEX, PICKLES, WEIGHTS, conversion
from pellucid.subject.tokenizer_files import TOKENIZER_FILES

T = TypeVar("T")
FILES = ["config.json", WEIGHTS, "model-*.safetensors", INDEX, *TOKENIZER_FILES]
"""What is fetched."""
WORD, PATIENCE = 10.0, 60.0
"""Seconds without an answer or a byte after which it is said that the hub is waited for, and when waiting ends."""
_asking = ContextVar("asking", default=True)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def hub_name(text: str) -> tuple[str, str | None] | None:
    """Repository and revision that `text` (`gpt2`, `OWNER/NAME`, `OWNER/NAME@REVISION`) names; None for others."""
    name, at, revision = text.partition("@")
    name = HUB.get(name, name)
    if not _NAME.fullmatch(name) or (at and not _REVISION.fullmatch(revision)):
        return None
    return name, revision or None


def from_hub(name: str, revision: str | None) -> Path:
    """The snapshot of a hub model: from the local cache, else downloaded (config, tokenizer, safetensors).

    Raises `SubjectError` saying what was tried, and how to convert a model that is there as pickles alone.
    """
    full = name if revision is None else f"{name}@{revision}"
    cached, missing = _cached(name, revision)
    if cached is not None and not missing:
        return cached
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        if cached is not None:
            return cached
        raise SubjectError(f"{full}: {missing}, and HF_HUB_OFFLINE forbids asking the hub")
    if not _asking.get():
        if cached is not None:
            return cached
        raise SubjectError(
            f"{full}: {missing}, and the hub is not asked for what a directory names that is not trusted; say where "
            "the subject is with --subject, or trust the directory with --trust in any command that runs it"
        )
    try:
        found = _asked(lambda: _snapshot(name, revision), full, PATIENCE if cached is None else WORD)
    except Exception as error:  # the hub's client raises its own errors and those of its transport
        said = f"{full}: {missing}, and the hub did not give it ({_line(error)})"
        if cached is None:
            raise SubjectError(said) from error
        tell(f"{said}; going on without")
        return cached
    if not _is_whole(found):
        _refuse_pickles(name, revision, full)
    return found


@contextmanager
def without_hub() -> Iterator[None]:
    """Ask no hub for a while: names that come from strangers mean what is on this machine, or nothing."""
    before = _asking.set(False)
    try:
        yield
    finally:
        _asking.reset(before)


def pinned(name: str, revision: str | None, snapshot: Path) -> str:
    """The name by which exactly this snapshot can be loaded again."""
    is_commit = snapshot.parent.name == "snapshots" and _COMMIT.fullmatch(snapshot.name)
    at = snapshot.name if is_commit else revision
    return f"hub:{name}" if at is None else f"hub:{name}@{at}"


def _cached(name: str, revision: str | None) -> tuple[Path | None, str]:
    """The copy in the local cache, if it can be used; and what there is to be asked for."""
    try:
        cached = _snapshot(name, revision, local_files_only=True)
    except Exception as error:
        return None, f"it is not in the local cache ({_line(error)})"
    if not _is_whole(cached):
        return None, f"its copy in the local cache, {cached}, is incomplete"
    settings = "tokenizer_config.json"  # which versions that read less of the tokenizer did not fetch
    return cached, "" if (cached / settings).is_file() else f"its copy in the local cache has no {settings}"


def _is_whole(snapshot: Path) -> bool:
    return (snapshot / "config.json").is_file() and any((snapshot / name).is_file() for name in (WEIGHTS, INDEX))


def _snapshot(name: str, revision: str | None, local_files_only: bool = False) -> Path:
    import huggingface_hub

    found = huggingface_hub.snapshot_download(
        name, revision=revision, allow_patterns=FILES, local_files_only=local_files_only
    )
    return Path(found)


def _refuse_pickles(name: str, revision: str | None, full: str) -> None:
    """Raise `SubjectError` with the way to convert a hub model that has pickles alone, if that is what it has."""
    import huggingface_hub

    try:
        names = _asked(lambda: list(huggingface_hub.list_repo_files(name, revision=revision)), full, PATIENCE)
    except Exception:
        return  # the files that are there say what is missing
    pickles = sorted(file for file in names if Path(file).suffix in PICKLES)
    if not pickles or any(file.endswith(".safetensors") for file in names):
        return
    target = name.partition("/")[2]
    options = "" if revision is None else f", revision={revision!r}"
    raise SubjectError(
        f"{full} has no safetensors on the hub, only {pickles[0]}, a pickle, which can run code when it is loaded. If "
        f"you trust it, convert it once: {conversion(name, target, options)} && pellucid decompile ./{target} -o DIR"
    )


def _asked(ask: Callable[[], T], full: str, patience: float) -> T:
    """What `ask` gives. Raises `TimeoutError` where neither an answer nor a byte has come for `patience` seconds.

    The client's own time-outs do not cover all that it asks. Bytes are seen in its cache on the disk.
    """
    from huggingface_hub import constants

    answer: list[T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            answer.append(ask())
        except BaseException as error:  # it is raised again below, in the thread that waits
            failed.append(error)

    folder = Path(constants.HF_HUB_CACHE) / f"models--{full.partition('@')[0].replace('/', '--')}"
    thread = Thread(target=work, daemon=True)
    thread.start()
    since, size, told = time.monotonic(), _bytes(folder), False
    while thread.is_alive():
        thread.join(min(0.5, patience / 4))
        if (now := _bytes(folder)) != size:
            since, size, told = time.monotonic(), now, False
        silent = time.monotonic() - since
        if silent >= WORD and not told and thread.is_alive():
            tell(f"waiting for {constants.ENDPOINT} to answer about {full} (Ctrl-C to stop)")
            told = True
        if silent >= patience and thread.is_alive():
            raise TimeoutError(f"{constants.ENDPOINT} has sent nothing for {patience:g} s")
    if failed:
        raise failed[0]
    return answer[0]


def _bytes(folder: Path) -> int:
    """How many bytes there are below `folder`."""
    total = 0
    for path, _, files in os.walk(folder):
        for file in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(path, file)).st_size
    return total


def _line(error: BaseException) -> str:
    """All that an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
