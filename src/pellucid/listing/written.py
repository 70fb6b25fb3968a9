"""What emission wrote, kept beside the program: what a source was before a person changed it.

`.emitted` has hashes alone, and the program has what a person made of it. `scratch/emitted.json` has the texts by these
hashes. It is not for git: there the commit holds them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from pellucid.base.errors import PellucidError
from pellucid.base.files import write_text
from pellucid.base.schema import read_json
from pellucid.listing.parse import digest, read_page
from pellucid.listing.statement import STORED

FILE = Path("scratch") / "emitted.json"


def keep(program: Path, files: Mapping[str, str], record: Mapping[str, set[str]]) -> None:
    """Keep the sources in `files`, by name, that emission has just written as `record` says, and those of before."""
    hashes = frozenset[str]().union(*record.values())
    sources = dict(_sources(program, files, hashes))
    held = read_written(program)
    found = {key: text for key, text in (held | sources).items() if key in hashes}
    if found != held:
        write_text(program.parent / FILE, json.dumps(found, ensure_ascii=False, indent=0) + "\n")


def _sources(program: Path, files: Mapping[str, str], hashes: frozenset[str]) -> Iterable[tuple[str, str]]:
    for name, text in files.items():
        if name == "embedding.py" or name.startswith(("layer_", "described_")):
            for statement in read_page(program / name, {}, text).statements:
                if statement.form not in ("raw", *STORED) and (key := digest(statement.text)) in hashes:
                    yield key, statement.text


def read_written(program: Path) -> dict[str, str]:
    """What emission wrote into the folder `program`, by hash; nothing where that is not kept, or is no such file."""
    path = program.parent / FILE
    try:
        found: dict[str, str] = read_json(dict[str, str], path) if path.is_file() else {}
    except PellucidError:
        return {}
    return {key: text for key, text in found.items() if digest(text) == key}
