"""From the name of a subject to a directory: a path, `zoo:NAME`, or a model on the Hugging Face hub."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from pellucid.base.errors import SubjectError, closest
from pellucid.subject.checkpoint import INDEX, PICKLES, WEIGHTS, refuse_pickle
from pellucid.zoo import registry

WEIGHTLESS = "weightless.json"
"""The file of figures that tells the directory of a program without weights."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_HUB_ALIASES = {name: f"openai-community/{name}" for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")}
_HUB_ALIASES["distilgpt2"] = "distilbert/distilgpt2"
_HUB_FILES = ["config.json", "model.safetensors", "model-*.safetensors", INDEX]
_HUB_FILES += ["tokenizer.json", "vocab.json", "merges.txt"]
_asking = ContextVar("asking", default=True)


def locate(name: str | Path) -> Path:
    """The directory of the checkpoint that `name` means.

    Raises `SubjectError` saying what was tried.
    """
    text = str(name)
    if text.startswith("zoo:"):
        return registry.path(text.removeprefix("zoo:"))
    path = Path(os.path.expanduser(text))
    try:
        is_directory, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise SubjectError(f"{text[:80]!r} is no path: {error.strerror}") from error
    if text and is_directory:
        _refuse_program(path)
        return path
    if is_file:
        _refuse_file(path)
    hub = _HUB_ALIASES.get(text, text)
    if isinstance(name, Path) or not _HUB_NAME.fullmatch(hub) or (path.parent != Path() and path.parent.is_dir()):
        raise SubjectError(f"{text}: no such directory{_near(path)}; a subject is a directory, OWNER/NAME or zoo:NAME")
    return _from_hub(hub)


def _refuse_program(path: Path) -> None:
    """Raise `SubjectError` for the directory of a program without weights, which is no model."""
    if (path / WEIGHTLESS).is_file() and not (path / "config.json").is_file():
        raise SubjectError(f"{path} holds a program without weights, not a model; name the model that it was made of")


def _refuse_file(path: Path) -> None:
    if path.suffix in PICKLES:
        refuse_pickle(path)
    raise SubjectError(f"{path} is a file; name the directory that holds config.json and {WEIGHTS}")


def _near(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
    except OSError:
        return "" if path.parent.is_dir() else f" (there is no {path.parent} either)"
    near = closest(path.name, names)
    return f" in {path.parent}{near}" if near else closest(str(path), list(_HUB_ALIASES))


def _from_hub(name: str) -> Path:
    """The snapshot of the hub model `name`: from the local cache, else downloaded (config, tokenizer, safetensors)."""
    import huggingface_hub

    try:
        cached = Path(huggingface_hub.snapshot_download(name, allow_patterns=_HUB_FILES, local_files_only=True))
    except Exception as error:  # the hub's client raises its own errors and those of its transport
        missing = f"it is not in the local cache ({_brief(error)})"
    else:
        if (cached / "config.json").is_file() and ((cached / WEIGHTS).is_file() or (cached / INDEX).is_file()):
            return cached
        missing = f"its copy in the local cache, {cached}, is incomplete"
    if not _asking.get():
        raise SubjectError(
            f"{name}: {missing}, and the hub is not asked for what a directory names that is not trusted; say where "
            "the subject is with --subject, or trust the directory with --trust in any command that runs it"
        )
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise SubjectError(f"{name}: {missing}, and HF_HUB_OFFLINE forbids asking the hub")
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=_HUB_FILES))
    except Exception as error:
        raise SubjectError(f"{name}: {missing}, and the hub did not give it ({_brief(error)})") from error


@contextmanager
def without_hub() -> Iterator[None]:
    """Ask no hub for a while: names that come from strangers mean what is on this machine, or nothing."""
    before = _asking.set(False)
    try:
        yield
    finally:
        _asking.reset(before)


def _brief(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:200] or type(error).__name__
