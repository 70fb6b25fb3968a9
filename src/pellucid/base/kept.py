"""What follows from a text and takes a while to find is kept in the state folder of the account, as JSON.

A file is named by the hash of the text, of what was asked of it and of the code that answers, so that whatever changes
asks anew. There it is as safe as what says that a program may run; in a project a stranger could have put it. Where
nothing can be kept, nothing is: the answer is the same.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from pellucid.base.errors import PellucidError
from pellucid.base.files import read_bytes, remove_oldest, stamps_of, write_text
from pellucid.base.trusted import state_folder

Made = TypeVar("Made")
KEPT, MOST = "kept", 1000
"""Where it is kept in the state folder, and how many files of it."""


def kept(
    what: str,
    text: str,
    make: Callable[[], Made],
    dump: Callable[[Made], Any] = lambda made: made,
    load: Callable[[Any], Made] = lambda data: data,
) -> Made:
    """What `make` gives, or gave for the same text before.

    Args:
        what: What is asked of the text.
        text: All that the answer depends on, the package's own code apart.
        make: Finds it; what it raises is raised, and nothing is kept.
        dump: Makes JSON of the answer.
        load: Makes the answer of that JSON again; where that is none, it is found anew.
    """
    try:
        return load(json.loads(read_bytes(_path(what, text))))
    except (OSError, LookupError, TypeError, ValueError, AttributeError, RecursionError, PellucidError):
        made = make()
    _write(what, text, dump(made))
    return made


def keep(what: str, text: str, data: Any) -> None:
    """Keep the answer `data`, as JSON, where `kept` looks for it; nothing where one is there already."""
    with suppress(OSError):
        if not _path(what, text).exists():
            _write(what, text, data)


def _write(what: str, text: str, data: Any) -> None:
    with suppress(OSError):
        path = _path(what, text)
        _make_room(path.parent)
        write_text(path, json.dumps(data, separators=(",", ":")))


def _path(what: str, text: str) -> Path:
    """Where an answer is kept."""
    about = "\0".join((what, _code(), text)).encode("utf-8", "surrogatepass")
    return state_folder() / KEPT / f"{sha256(about).hexdigest()}.json"


def _make_room(folder: Path) -> None:
    """Let a part of what was kept first go where the folder is full: seldom, since that looks at every file."""
    if folder.is_dir() and len(os.listdir(folder)) >= MOST:
        remove_oldest(folder, MOST * 3 // 4)


@cache
def _code() -> str:
    """What tells this version of the package, and of Python, from others."""
    package = Path(__file__).parents[1]
    stamps = stamps_of(*(folder for folder in sorted(package.iterdir()) if folder.is_dir()))
    own = [(name, changed, size) for name, _, changed, size in stamps if name.endswith(".py")]
    return sha256(repr((sys.version, own)).encode()).hexdigest()
