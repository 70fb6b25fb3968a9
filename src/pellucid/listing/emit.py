"""Writes a program. Emission fills gaps and never overwrites what a person wrote.

Every file is written atomically. The record of what emission wrote (`program/.emitted`) is first extended by what is
about to be written and only then cut down to it, so that a crash leaves nothing that looks like a person's work.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from pellucid.base.address import Address
from pellucid.base.files import atomic_path, write_text
from pellucid.listing import pages
from pellucid.listing.count import numbers_of
from pellucid.listing.parse import (
    RECORD,
    STORED,
    Listing,
    digest,
    page_name,
    read_listing,
    read_page,
    read_program,
    read_record,
)
from pellucid.listing.revise import revise
from pellucid.parts.lifted import fewest_means
from pellucid.subject.load import Subject

_IGNORED = (
    "weights.safetensors",
    "evidence.sqlite-shm",
    "evidence.sqlite-wal",
    "__pycache__/",
    "*.partial",
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
    vectors that lifted parts may run with (`L00.H02.OV.read`); None keeps those there are. Raises `SourceError` where
    what a person wrote cannot be read.
    """
    directory.mkdir(parents=True, exist_ok=True)
    ignore(directory)
    write_weights(subject, directory, means, lifted)
    program = directory / "program"
    if program.exists():
        return _fill(subject, program)
    temporary = Path(tempfile.mkdtemp(prefix=".program.", dir=directory))
    try:
        temporary.chmod(0o755)
        emission = _fill(subject, temporary)
        os.replace(temporary, program)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return emission


def write_statements(directory: Path, statements: Mapping[Address, str | None]) -> Emission:
    """Put statements in the place of those that emission wrote; those of a person stay and are named in `kept`.

    A statement is the text of a decorated function or `raw("…")`; None means raw. For neurons that are constants see
    `write_constants`, for what is lifted `write_lifted`. A function that is called like another one of its file gets a
    number behind its name. Raises `SourceError` for text that is not a statement about its address, or not in the
    program's language.
    """
    return _revise(read_program(directory), {str(address): text for address, text in statements.items()})


def write_constants(directory: Path, values: Mapping[Address, float]) -> Emission:
    """Make neurons constant, beside what the `constants` statements of their layers already say.

    Neurons with a person's source, and layers whose `constants` a person wrote, stay and are named in `kept`.
    """
    listing = read_program(directory)
    changes: dict[str, str | None] = {}
    kept = []
    for layer in sorted({address.layer for address in values}):
        key = f"L{layer:02d}.IN"
        old = listing.statements.get(key)
        merged = dict(old.values) if old else {}
        for address in (address for address in values if address.layer == layer):
            own = listing.statements.get(str(address))
            if own and own.by_person:
                kept.append(str(address))
                continue
            merged[address.index] = float(values[address])
            if own and not (old and old.by_person):
                changes[str(address)] = None
        changes[key] = pages.constants(key, merged)
    emission = _revise(listing, changes)
    return Emission(emission.written, (*kept, *emission.kept))


def write_lifted(directory: Path, heads: Mapping[Address, int], neurons: Collection[Address]) -> Emission:
    """Let exactly these parts be lifted among those that emission may write; what a person wrote stays.

    `heads` (OV) have their rank, 0 for the mean; `neurons` (OUT) write their means, where a layer has enough of them to
    share a vector. A part that emission lifted before and that is not among them becomes raw.
    """
    listing = read_program(directory)
    old = {key: statement for key, statement in listing.statements.items() if statement.form in STORED}
    changes: dict[str, str | None] = {key: None for key, statement in old.items() if not statement.by_person}
    changes |= {str(address): pages.lifted(str(address), rank) for address, rank in heads.items()}
    for layer in sorted({address.layer for address in neurons}):
        of_layer = [a.index for a in neurons if a.layer == layer and str(a) not in listing.statements]
        if len(of_layer) >= fewest_means(listing.config):
            changes[f"L{layer:02d}.OUT"] = pages.means(f"L{layer:02d}.OUT", of_layer)
    return _revise(listing, changes)


def write_weights(
    subject: Subject,
    directory: Path,
    means: Mapping[str, Tensor] | None = None,
    lifted: Mapping[str, Tensor] | None = None,
) -> None:
    """Write `weights.safetensors`, unless it already holds this subject's and no other means or vectors are given."""
    path = directory / "weights.safetensors"
    held = _held(path, subject)
    if held is not None and means is None and lifted is None:
        return
    extra = dict(held or {})
    for prefix, given in (("mean", means), ("lifted", lifted)):
        if given is not None:
            extra = {name: tensor for name, tensor in extra.items() if not name.startswith(f"{prefix}.")}
            extra |= {f"{prefix}.{name}": tensor for name, tensor in given.items()}
    tensors = {name: tensor.float().contiguous() for name, tensor in {**subject.weights, **extra}.items()}
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(tensors, temporary, metadata={"subject": subject.weights_sha256})


def _held(path: Path, subject: Subject) -> dict[str, Tensor] | None:
    """What the weights file holds beside the weights, None where it is not whole or not this subject's."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            names = set(file.keys())
            if (file.metadata() or {}).get("subject") != subject.weights_sha256 or not set(subject.weights) <= names:
                return None
            return {name: file.get_tensor(name) for name in names if name.startswith(("mean.", "lifted."))}
    except (OSError, safetensors.SafetensorError):
        return None


def ignore(directory: Path) -> None:
    """Keep what is large or passing out of git; what a person added stays."""
    path = directory / ".gitignore"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if missing := [line for line in _IGNORED if line not in lines]:
        write_text(path, "\n".join([*lines, *missing]) + "\n")


@dataclass
class _Draft:
    """Files about to be written, with the hashes by which emission will recognise its own text in them."""

    files: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    kept: list[str] = field(default_factory=list)

    def commit(self, program: Path) -> Emission:
        """Write everything: the record with old and new hashes, the files, the record with the new ones."""
        record = read_record(program)
        both = record | {key: record.get(key, set()) | {new} for key, new in self.hashes.items()}
        only = {key: held for key, held in record.items() if key not in self.gone}
        only |= {key: {new} for key, new in self.hashes.items()}
        if self.files or only != record:
            _write_record(program, both)
            for name, text in self.files.items():
                write_text(program / name, text)
            _write_record(program, only)
        return Emission(tuple(self.files), tuple(self.kept))


def _write_record(program: Path, record: Mapping[str, set[str]]) -> None:
    write_text(program / RECORD, "".join(f"{key}\t{' '.join(sorted(record[key]))}\n" for key in sorted(record)))


def _fill(subject: Subject, program: Path) -> Emission:
    """Write what `program` lacks, and renew what is still as emission wrote it."""
    record = read_record(program)
    draft = _Draft()
    fixed = {theirs: pages.verbatim(ours) for ours, theirs in pages.VERBATIM.items()}
    fixed |= {"__init__.py": pages.package(subject.name), "model.py": pages.model(subject.name, subject.config)}
    fixed |= {"vocabulary.json": pages.vocabulary(subject.tokenizer)}
    for name, text in fixed.items():
        path = program / name
        old = path.read_text(encoding="utf-8") if path.is_file() else None
        if old not in (None, text) and digest(old or "") not in record.get(name, set()):
            draft.kept.append(name)
            continue
        draft.hashes[name] = digest(text)
        if old != text:
            draft.files[name] = text
    for name in dict.fromkeys(page_name(key) for key in pages.keys(subject.config.shape)):
        if not (program / name).is_file():
            text = pages.page(name, subject.name, subject.config)
            page = read_page(program / name, {}, text)
            draft.files[name] = text
            draft.hashes |= {statement.key: digest(statement.text) for statement in page.statements}
            draft.hashes[f"docstring {name}"] = digest(page.docstring)
    first = draft.commit(program)
    listing = read_listing(program)
    gaps = {key: pages.raw(key) for key in pages.keys(subject.config.shape) if not listing.covers(key)}
    if not gaps:
        return first
    second = _revise(listing, gaps)
    return Emission(tuple(dict.fromkeys((*first.written, *second.written))), (*first.kept, *second.kept))


def _revise(listing: Listing, changes: Mapping[str, str | None]) -> Emission:
    """Bring `changes` into the pages of `listing` wherever emission may."""
    draft = _Draft()
    wanted: dict[str, dict[str, str | None]] = {}
    for key, text in changes.items():
        old = listing.statements.get(key)
        constants = listing.constants_of(key)
        if (old and old.by_person) or (constants and constants.by_person):
            draft.kept.append(key)
            continue
        of_page = wanted.setdefault(page_name(key), {})
        of_page[key] = text
        if constants and constants.key not in changes:
            left = {n: v for n, v in constants.values.items() if f"{constants.key[:-3]}.N{n:04d}.IN" not in changes}
            of_page[constants.key] = pages.constants(constants.key, left) if left else None
    for name, edits in wanted.items():
        old_page = listing.pages[name]
        page = revise(old_page, edits)
        new = {statement.key: statement for statement in page.statements}
        draft.gone |= {statement.key for statement in old_page.statements} - set(new)
        draft.hashes |= {key: digest(new[key].text) for key in edits if key in new}
        ours = read_record(listing.program).get(f"docstring {name}", set())
        if digest(page.docstring) in ours:
            forms = Counter((address.kind, statement.part_form) for address, statement in page.explained())
            said = pages.docstring(name, listing.subject, listing.config, forms, numbers_of(page))
            page = page.with_docstring(said)
            draft.hashes[f"docstring {name}"] = digest(said)
        if page.text != old_page.text:
            draft.files[name] = page.text
    return draft.commit(listing.program)
