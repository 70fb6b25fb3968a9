"""What this account has agreed to run: for each project directory the SHA-256 of what it runs.

One file a directory in the state folder of the account. It holds the hashes of `pellucid.toml` and of all files in
`program/`: a path alone says nothing about what lies there today. What pellucid is about to write to a directory is
noted beforehand, so that a run that is killed leaves nothing that looks like somebody else's work.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pellucid.base.errors import ProjectError
from pellucid.base.files import Stamps, read_bytes, read_text, require_regular, sha256_text, stamps_of, write_text

MANIFEST = "pellucid.toml"
WEIGHTLESS = "weightless.json"
"""The file of figures that tells the directory of a program without weights."""
PROGRAM = "program"
PARTS = "parts.toml"
_CACHE = "__pycache__"
_PASSED = frozenset({_CACHE, ".emitted"})
"""What lies in `program/` and never runs."""
_KEPT = 4
"""Hashes of a file that are remembered: as it is, as it is about to be, and as it was."""
_MOST_FILES = 10_000


def state_folder() -> Path:
    """Where this account keeps what pellucid remembers between commands. Raises `OSError` where it has no home."""
    home = os.environ.get("XDG_STATE_HOME")
    if home:
        return Path(home) / "pellucid"
    try:
        return Path.home() / ".local" / "state" / "pellucid"
    except RuntimeError as error:
        raise OSError(None, str(error), "XDG_STATE_HOME") from error


def _record_path(directory: Path) -> Path:
    return state_folder() / "trusted" / f"{sha256_text(str(directory.resolve()))[:32]}.json"


@dataclass(frozen=True)
class Contents:
    """What running a project reaches: the SHA-256 of each file by its path there, and of all `code` in a row.

    Code are the Python files directly in `program/`, in the order of their names.
    """

    files: dict[str, str]
    code: str


def contents(directory: Path) -> Contents:
    """What running the project `directory` reaches; every file is opened once.

    Raises `ProjectError` for what is neither a regular file nor a folder, and for files that are too large to be text.
    """
    files, code = dict[str, str](), sha256()
    for path in _reached(directory):
        data = read_bytes(path)
        files[path.relative_to(directory).as_posix()] = sha256(data).hexdigest()
        if path.parent == directory / PROGRAM and path.suffix == ".py":
            code.update(data)
    return Contents(files, code.hexdigest())


def texts(directory: Path, found: Contents) -> dict[str, str]:
    """The texts of the modules of a program by the names of their files, which are what was `found` there.

    Raises `ProjectError` where one has changed since.
    """
    read = {}
    for path in sorted((directory / PROGRAM).glob("*.py")):
        data = read_bytes(path)
        if sha256(data).hexdigest() != found.files.get(f"{PROGRAM}/{path.name}"):
            raise ProjectError(f"{path} changed while it was being read; run the same command again")
        read[path.name] = data.decode("utf-8", "replace")
    return read


def stamps(directory: Path) -> Stamps:
    """What tells whether any of these files has changed, without opening them."""
    return stamps_of(*_reached(directory))


def _reached(directory: Path) -> list[Path]:
    return [path for path in (directory / MANIFEST, *_files(directory / PROGRAM)) if path.exists()]


def copy_program(directory: Path, target: Path) -> None:
    """Copy the program of the project `directory` to that of `target`. Raises `ProjectError` as `contents` does."""
    import shutil

    for path in _files(directory / PROGRAM, frozenset({_CACHE})):
        require_regular(path)
        copy = target / path.relative_to(directory)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _files(program: Path, passed: frozenset[str] = _PASSED) -> Iterator[Path]:
    """The files in the folder `program`, and in folders within it, but those whose names are `passed` over."""
    found = 0
    for folder, folders, names in os.walk(program):
        folders[:] = [name for name in sorted(folders) if name not in passed]
        found += len(names)
        if found > _MOST_FILES:
            raise ProjectError(f"{program} holds more than {_MOST_FILES:,} files, which no program of ours does")
        linked = [name for name in folders if (Path(folder) / name).is_symlink()]
        for path in (Path(folder) / name for name in sorted([*names, *linked])):
            if path.name not in passed and path.suffix != ".partial":
                yield path


def recorded(directory: Path) -> dict[str, list[str]] | None:
    """The hashes that were agreed to by file, None where nothing was. What cannot be read counts as nothing."""
    try:
        data = json.loads(read_text(_record_path(directory)))
        return {str(name): [str(one) for one in hashes] for name, hashes in data["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ProjectError):
        return None


def checked(directory: Path) -> str:
    """The hash under which the program of `directory` was last read and checked as a whole; empty where none was."""
    try:
        return str(json.loads(read_text(_record_path(directory)))["checked"])
    except (OSError, ValueError, KeyError, TypeError, ProjectError):
        return ""


def note_checked(directory: Path, state: str) -> None:
    """Remember that the program of `directory` was checked in this `state`; forgotten once something is written."""
    with suppress(OSError), _alone(directory):
        if (files := recorded(directory)) is not None:
            _write(directory, files, state)


def record(directory: Path, files: Mapping[str, str]) -> None:
    """Remember that `directory` may run with exactly these `files`. Raises `OSError` where that cannot be written."""
    with _alone(directory):
        _write(directory, {name: [found] for name, found in files.items()})


def expect(directory: Path, texts: Mapping[str, str]) -> None:
    """Note that `texts` are about to be written to files of `directory`, if it may run as it is; else do nothing."""
    if recorded(directory) is None:
        return
    with suppress(OSError), _alone(directory):  # where it cannot be, the next command asks
        held = recorded(directory) or {}
        new = {name: sha256_text(text) for name, text in texts.items()}
        _write(directory, held | {name: [*held.get(name, ()), one][-_KEPT:] for name, one in new.items()})


def _alone(directory: Path) -> AbstractContextManager[None]:
    """While this lasts nobody else writes what is remembered of `directory`."""
    from pellucid.base.lock import alone  # what only reads, as running does, starts sooner

    return alone(_record_path(directory).with_suffix(".lock"))


def _write(directory: Path, files: Mapping[str, list[str]], state: str = "") -> None:
    data = {"directory": str(directory.resolve()), "checked": state, "files": dict(sorted(files.items()))}
    write_text(_record_path(directory), json.dumps(data, indent=1) + "\n")


def write_own(directory: Path, name: str, text: str) -> None:
    """Write `text` to the file `name` of a project, atomically: pellucid's own work, which may run if the rest may."""
    expect(directory, {name: text})
    write_text(directory / name, text)
