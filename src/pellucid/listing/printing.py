"""Brings a program from memory to disk: what differs, and the record of what emission wrote around it.

The record (`program/.emitted`) is first extended by what is about to be written and only then cut down to it, so that
a crash leaves nothing that looks like a person's work.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from pellucid.base.files import write_text
from pellucid.base.trusted import PROGRAM, expect
from pellucid.listing.draft import differing
from pellucid.listing.parse import RECORD, Listing
from pellucid.listing.word import files_of
from pellucid.listing.written import keep


def print_program(old: Listing, new: Listing) -> tuple[str, ...]:
    """Write what differs between a program as it stands on disk, `old`, and as it is to be; the names of the files."""
    files = differing(old, new)
    hashes = {key: next(iter(held)) for key, held in new.record.items() if held != old.record.get(key)}
    for name, text in files_of(new.statements.values()):
        if not (old.program / name).is_file():
            files[name] = text
    write_files(old.program, old.record, files, hashes, old.record.keys() - new.record.keys())
    return tuple(files)


def write_files(
    program: Path,
    record: Mapping[str, set[str]],
    files: Mapping[str, str],
    hashes: Mapping[str, str],
    gone: Collection[str] = (),
) -> None:
    """Write `files` (an empty text removes one) into `program`, with the record around them.

    `record` is what stands there, `hashes` are new entries, and those in `gone` are no longer needed.
    """
    both = {**record, **{key: record.get(key, set()) | {new} for key, new in hashes.items()}}
    only = {key: held for key, held in record.items() if key not in gone} | {k: {new} for k, new in hashes.items()}
    if not files and only == record:
        return
    _write_record(program, both)
    expect(program.parent, {f"{PROGRAM}/{name}": text for name, text in files.items() if text})
    for name, text in files.items():
        if text:
            write_text(program / name, text)
        else:
            (program / name).unlink(missing_ok=True)
    _write_record(program, only)
    keep(program, files, only)


def _write_record(program: Path, record: Mapping[str, set[str]]) -> None:
    write_text(program / RECORD, "".join(f"{key}\t{' '.join(sorted(record[key]))}\n" for key in sorted(record)))
