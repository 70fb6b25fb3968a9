"""Writes a program. Emission fills gaps and never overwrites what a person wrote.

Every file is written atomically; `printing.py` sees to it that a crash leaves nothing that looks like a person's work.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from pellucid.base.errors import SourceError
from pellucid.base.files import passing_folder, write_text
from pellucid.listing import pages
from pellucid.listing.change import with_gaps_filled
from pellucid.listing.parse import FRONT, digest, is_format_1, read_listing, read_page, read_record
from pellucid.listing.printing import print_program, write_files
from pellucid.listing.statement import page_name
from pellucid.listing.weights import write_weights
from pellucid.subject.load import Subject

_IGNORED = (
    "weights.safetensors",
    "evidence.sqlite-shm",
    "evidence.sqlite-wal",
    "__pycache__/",
    "*.partial",
    ".lock",
    "scratch/",
)


@dataclass(frozen=True)
class Emission:
    """What a call wrote, and what it left because a person had written it (statement keys and file names)."""

    written: tuple[str, ...]
    kept: tuple[str, ...]


def emit(
    subject: Subject,
    directory: Path,
    means: Mapping[str, Tensor] | None = None,
    lifted: Mapping[str, Tensor] | None = None,
) -> Emission:
    """Write the program of `subject` into `directory`: all raw at first, later only what is missing.

    `means` are means over text by name (`L00.IN`, `L00.OV`, `EMB.TOK`), for parts that run as their mean, `lifted` the
    vectors that lifted parts may run with (`L00.H02.OV.read`); None keeps those there are. A program of format 1
    becomes one of format 2. Raises `SourceError` where what a person wrote cannot be read, or stands in files that are
    others in format 2.
    """
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "program"
    if is_format_1(program):
        require_renewable(subject, program)
    ignore(directory)
    write_weights(subject, directory, means, lifted, format_1=False)
    if program.exists():
        return _fill(subject, program)
    with passing_folder(directory, ".program.") as temporary:
        temporary.chmod(0o755)
        emission = _fill(subject, temporary)
        os.replace(temporary, program)
    return emission


def ignore(directory: Path) -> None:
    """Keep what is large or passing out of git; what a person added stays."""
    path = directory / ".gitignore"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if missing := [line for line in _IGNORED if line not in lines]:
        write_text(path, "\n".join([*lines, *missing]) + "\n")


def require_renewable(subject: Subject, program: Path) -> None:
    """Raise `SourceError` where a person changed files of a program of format 1 that are others in format 2."""
    record = read_record(program)
    there = [program / name for name in pages.fixed(subject.name, subject.decoder) if (program / name).is_file()]
    changed = [path.name for path in there if digest(path.read_text(encoding="utf-8")) not in record.get(path.name, ())]
    if changed:
        was = "was" if len(changed) == 1 else "were"
        raise SourceError(
            f"{program}: {', '.join(changed)} {was} changed by hand, and a program of format 2 has others in their "
            "place; move what you changed elsewhere, and put back what was written"
        )


def _fill(subject: Subject, program: Path) -> Emission:
    """Write what `program` lacks, and renew what is still as emission wrote it."""
    record = read_record(program)
    files: dict[str, str] = {}
    hashes: dict[str, str] = {}
    kept: list[str] = []
    fixed = pages.fixed(subject.name, subject.decoder) | {FRONT: pages.package(subject.name)}
    fixed |= {"vocabulary.json": pages.vocabulary(subject.tokenizer)}
    for name, text in fixed.items():
        path = program / name
        old = path.read_text(encoding="utf-8") if path.is_file() else None
        if name == FRONT and old is not None and digest(old) in record.get(name, set()):
            continue  # it says what runs, and is renewed with that
        if old not in (None, text) and digest(old or "") not in record.get(name, set()):
            kept.append(name)
            continue
        hashes[name] = digest(text)
        if old != text:
            files[name] = text
    for name in dict.fromkeys(page_name(key) for key in pages.keys(subject.decoder.addresses)):
        if not (program / name).is_file():
            text = pages.page(name, subject.name, subject.decoder)
            page = read_page(program / name, {}, text)
            files[name] = text
            hashes |= {statement.key: digest(statement.text) for statement in page.statements}
            hashes[f"docstring {name}"] = digest(page.docstring)
    write_files(program, record, files, hashes)
    listing = read_listing(program)
    filled = with_gaps_filled(listing, [*pages.keys(subject.decoder.addresses)])
    written = print_program(listing, filled.listing)
    return Emission(tuple(dict.fromkeys((*files, *written))), (*kept, *filled.kept))
