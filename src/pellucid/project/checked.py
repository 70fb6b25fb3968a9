"""A program that was read and checked as it is now runs without being read again: importing and calling it is all.

The account remembers the hash of what was checked beside those of what it agreed to run (`base/trusted.py`), so that
nobody else can say that something was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np

from pellucid import listing
from pellucid.base.defaults import TOKENS
from pellucid.base.errors import ProjectError
from pellucid.base.files import read_bytes, sha256_text
from pellucid.base.trusted import PARTS, PROGRAM, Contents, checked, contents, texts
from pellucid.exact.writing import Continuation, Sampling, Until, write
from pellucid.listing.running import RunningProgram, load_checked
from pellucid.project.trust import is_trusted

LIKELIEST = Sampling()


def state_to_run(directory: Path, found: Contents) -> str:
    """A hash of all that is checked of the project `directory`, whose files were `found`, and of what checks it."""
    parts = directory / PARTS
    checks = [path.stat().st_mtime_ns for path in sorted(Path(str(listing.__file__)).parent.glob("*.py"))]
    about = [checks, found.files, sha256(read_bytes(parts)).hexdigest() if parts.is_file() else ""]
    return sha256_text(json.dumps(about, sort_keys=True))


def running_as_checked(
    directory: Path, found: Contents, source_only: Literal["code"] | None = None
) -> RunningProgram | None:
    """The program if it was checked as it was `found` and may run; None where it was not, or cannot tell what is idle.

    Raises `ProjectError` if it changed since.
    """
    if f"{PROGRAM}/idle.py" not in found.files or checked(directory) != state_to_run(directory, found):
        return None
    return load_checked(directory, texts(directory, found), source_only)


def open_as_checked(directory: Path, source_only: Literal["code"] | None = None) -> RunningProgram | None:
    """The program of a directory that is trusted and was checked as it is now; None for every other."""
    if not checked(directory):
        return None
    found = contents(directory)
    if not is_trusted(directory, found):
        return None
    return running_as_checked(directory, found, source_only)


def written_behind(
    program: RunningProgram,
    prompt: str | Sequence[int],
    choice: Sampling = LIKELIEST,
    tokens: int = TOKENS,
    stop: Sequence[str] = (),
) -> Continuation:
    """What a program says behind a prompt, text or token ids.

    Raises `ProjectError` for a prompt without tokens, with more than the context has, or with ids that are none.
    """
    vocabulary = program.model.vocabulary
    ids = program.encode(prompt) if isinstance(prompt, str) else [*prompt]
    if not 0 < len(ids) <= program.n_ctx:
        raise ProjectError(f"the prompt {prompt!r} has {len(ids)} tokens, expected 1 to {program.n_ctx}")
    if wrong := [token for token in ids if not 0 <= token < program.n_vocab]:
        raise ProjectError(f"token id {wrong[0]} is not in 0 … {program.n_vocab - 1}")
    before = str(vocabulary.decode(ids))

    def spell(_: int, said: Sequence[int]) -> str:
        whole = str(vocabulary.decode([*ids, *said]))
        return whole.removeprefix(before) if whole.startswith(before) else str(vocabulary.decode(list(said)))

    ends = getattr(vocabulary, "ends", [vocabulary.end])  # older programs know one end alone
    (written,) = write(program, np.array([ids], np.int64), choice, Until(tokens, ends, stop), spell)
    return written
