"""What a command found out by reading a large program, kept for the next command.

It lies in the state folder of the account, beside what the account agreed to run, and nowhere else: who can write there
can already say what runs. It counts for the files as they were, and for pellucid's own readers as they are.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pellucid
from pellucid.base.files import Stamps, atomic_path, sha256_text, stamps_of
from pellucid.base.trusted import state_folder

Made = TypeVar("Made")
LEAST = 1 << 16
"""Bytes of pages from which a program is large; smaller ones are read again as fast."""
MOST = 32
"""Files that are kept, the newest ones."""
_PAGES = ("embedding", "layer_", "described_", "words")
_READERS = ("base", "family", "listing", "program")


def is_large(stamps: Stamps) -> bool:
    """Whether reading the pages among the files takes long."""
    return sum(size for name, _, _, size in stamps if Path(name).name.startswith(_PAGES)) >= LEAST


def recalled(directory: Path, what: str, stamps: Stamps, find: Callable[[], Made]) -> Made:
    """What `find` gave when the files of a project had these `stamps`; of small programs it is found anew."""
    if not is_large(stamps):
        return find()
    key = sha256_text(repr((what, str(directory), sys.version, stamps, _readers()))).encode()
    try:
        place = state_folder() / "read" / f"{sha256_text(str(directory.resolve()))[:32]}.{what}"
        held = place.read_bytes()
        if held.startswith(key):
            kept: Made = pickle.loads(held[len(key) :])
            return kept
    except Exception:
        pass
    made = find()
    with suppress(OSError, pickle.PicklingError, RecursionError):
        _keep(state_folder() / "read", f"{sha256_text(str(directory.resolve()))[:32]}.{what}", key + pickle.dumps(made))
    return made


def _keep(folder: Path, name: str, data: bytes) -> None:
    """Write a file of the folder, and take the oldest away."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / name) as temporary:
        temporary.write_bytes(data)
    for old in sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime, reverse=True)[MOST:]:
        old.unlink(missing_ok=True)


def _readers() -> Stamps:
    """Stamps of pellucid's own modules that read programs."""
    package = Path(pellucid.__file__).parent
    return stamps_of(*(package / name for name in _READERS))
