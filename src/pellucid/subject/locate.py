"""From the name of a subject to a directory: a path, `zoo:NAME`, or a model on the Hugging Face hub."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pellucid.base.errors import SubjectError, closest
from pellucid.base.trusted import MANIFEST, WEIGHTLESS
from pellucid.family.known import HUB
from pellucid.subject.checkpoint import PICKLES, WEIGHTS, refuse_pickle
from pellucid.subject.gguf_file import SUFFIX as GGUF_SUFFIX
from pellucid.subject.hub import from_hub, hub_name, pinned
from pellucid.zoo import registry


@dataclass(frozen=True)
class Location:
    """Where a subject lies, and the `name` by which it can be loaded again from anywhere on this machine."""

    path: Path
    name: str


def locate(name: str | Path) -> Location:
    """The checkpoint that `name` means: a directory, `zoo:NAME`, or a hub name, `hub:` before it or not.

    A directory that holds no checkpoint does not hide a hub model of its name. Raises `SubjectError` saying what was
    tried.
    """
    text = str(name)
    if text.startswith("zoo:"):
        return Location(registry.path(text.removeprefix("zoo:")), text)
    path = Path(os.path.expanduser(text))
    hub = None if isinstance(name, Path) else hub_name(text.removeprefix("hub:"))
    if text.startswith("hub:") and hub is not None:
        return _on_hub(hub)
    try:
        is_directory, is_file = bool(text) and path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:
        raise SubjectError(f"{text[:80]!r} is no path: {getattr(error, 'strerror', error)}") from error
    if is_directory and (hub is None or not _is_hiding(path)):
        _refuse_program(path)
        return Location(path, str(path.resolve()))
    if is_file and path.suffix.lower() == GGUF_SUFFIX:
        return Location(path, str(path.resolve()))
    if is_file:
        _refuse_file(path)
    within = path.parent != Path() and path.parent.is_dir() and not is_directory
    if hub is None or (within and "@" not in text):
        raise SubjectError(f"{text}: no such directory{_near(path)}; a subject is a directory, OWNER/NAME or zoo:NAME")
    return _on_hub(hub)


def named(subject: object) -> str | Path:
    """`subject` if it is a name or a path. Raises `SubjectError` for an object, saying how to save a model."""
    if isinstance(subject, str | Path):
        return subject
    raise SubjectError(
        f"expected a directory, a hub name, zoo:NAME or a model of Transformers, not an object of "
        f"{type(subject).__name__}; save a model that is in memory, model.save_pretrained('DIR') and "
        "tokenizer.save_pretrained('DIR'), and load 'DIR'"
    )


def at_revision(name: str | Path, revision: str | None) -> str | Path:
    """The name of a revision of a hub model. Raises `SubjectError` for what is no hub name."""
    if revision is None:
        return name
    text = f"{name}@{revision}"
    if isinstance(name, Path) or "@" in name or hub_name(text.removeprefix("hub:")) is None:
        raise SubjectError(f"{text!r:.200} is no revision of a hub model, which is written NAME or OWNER/NAME")
    return text


def _is_hiding(path: Path) -> bool:
    """Whether a directory that is called as a hub model may be is no checkpoint, but something else of that name."""
    if (path / "config.json").is_file():
        return False
    ours = any((path / name).is_file() for name in (MANIFEST, WEIGHTLESS))
    return ours or path.parent == Path() or not any(path.iterdir())


def _on_hub(hub: tuple[str, str | None]) -> Location:
    found = from_hub(*hub)
    return Location(found, pinned(*hub, found))


def _refuse_program(path: Path) -> None:
    """Raise `SubjectError` for the directory of a program without weights, which is no model."""
    if (path / WEIGHTLESS).is_file() and not (path / "config.json").is_file():
        raise SubjectError(f"{path} holds a program without weights, not a model; name the model that it was made of")


def _refuse_file(path: Path) -> None:
    if path.suffix in PICKLES:
        refuse_pickle(path)
    raise SubjectError(
        f"{path} is a file; name the directory that holds config.json and {WEIGHTS}, or a file that ends in "
        f"{GGUF_SUFFIX}"
    )


def _near(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
    except OSError:
        return "" if path.parent.is_dir() else f" (there is no {path.parent} either)"
    near = closest(path.name, names)
    return f" in {path.parent}{near}" if near else closest(str(path), list(HUB))
