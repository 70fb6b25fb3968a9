"""Writes a program. Emission fills gaps and never overwrites what a person wrote.

Every file is written atomically. The record of what emission wrote (`program/.emitted`) is first extended by what is
about to be written and only then cut down to it, so that a crash leaves nothing that looks like a person's work.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from pellucid.base.address import Address
from pellucid.base.files import atomic_path, write_text
from pellucid.base.trusted import PROGRAM, expect
from pellucid.listing import content, pages
from pellucid.listing.content import PAGE as WORDS
from pellucid.listing.count import numbers_of
from pellucid.listing.parse import (
    RECORD,
    STORED,
    VALUE,
    Listing,
    Page,
    check_listing,
    collect,
    digest,
    page_name,
    read_listing,
    read_page,
    read_program,
    read_record,
)
from pellucid.listing.prelude import BESIDE
from pellucid.listing.revalue import kept_values, revalue
from pellucid.listing.revise import revise
from pellucid.listing.wiring import PAGE as STREAM
from pellucid.listing.wiring import read_stream
from pellucid.listing.written import keep
from pellucid.parts.lifted import fewest_means
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


def write_words(directory: Path, text: str) -> Emission:
    """Write `program/words.py`, unless a person has changed it; kinds that pages still use stay behind the new ones.

    Raises `SourceError` for a text that does more than name kinds of tokens.
    """
    return write_content(directory, words=text)


def write_values(directory: Path, layer: int, functions: Sequence[str]) -> Emission:
    """Let exactly these named values stand in a layer's file among those that emission may write, in this order.

    Each is the text of a function under `@value`. A person's values stay, and so do those that they read; neurons that
    emission let sum values which are now gone become raw. Raises `SourceError` for what is not such a value.
    """
    return write_content(directory, values={layer: functions})


def write_content(
    directory: Path,
    *,
    words: str | None = None,
    values: Mapping[int, Sequence[str]] | None = None,
    statements: Mapping[Address, str | None] | None = None,
    stream: str | None = None,
) -> Emission:
    """Write kinds of tokens, named values by layer, and statements that use them, all at once.

    See `write_words`, `write_values` and `write_statements`; `stream` is the text of `stream.py`. What is
    written fits together, or nothing is written: raises `SourceError` naming file and line.
    """
    listing = read_program(directory)
    changes: dict[str, str | None] = {str(address): text for address, text in (statements or {}).items()}
    names = {f"layer_{layer:02d}.py": list(texts) for layer, texts in (values or {}).items()}
    gone = {value.name for page in names for value in listing.pages[page].values if not value.by_person}
    gone -= {value.name for texts in names.values() for text in texts for value in read_page(Path(""), {}, text).values}
    for key, statement in listing.statements.items():
        if not statement.by_person and gone & {*statement.reads} - _needed(listing):
            changes.setdefault(key, None)
    if stream is not None:
        changes |= dict.fromkeys(_idle(listing, changes))
    return _revise(listing, changes, names, words, stream)


def _idle(listing: Listing, changes: Mapping[str, str | None]) -> Iterator[str]:
    """The statements about all other neurons of a layer where `changes` name every one of them."""
    named = [key.split(".") for key, text in changes.items() if text and ".N" in key]
    said = Counter((layer, kind) for layer, _, kind in named)
    for key, statement in listing.statements.items():
        if "*" in key and not statement.by_person:
            layer, _, kind = key.split(".")
            if said[layer, kind] == listing.config.n_inner:
                yield key


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


def write_lifted(
    directory: Path,
    heads: Mapping[Address, int],
    neurons: Collection[Address],
    channels: Mapping[int, tuple[int, Collection[int]]] | None = None,
) -> Emission:
    """Let exactly these parts be lifted among those that emission may write; what a person wrote stays.

    `heads` (OV, QK) have their rank, 0 for the mean; `neurons` (OUT) write their means, where a layer has enough of
    them to share a vector; `channels` are rank and neurons (IN) by layer. A part that emission lifted before and that
    is not among them becomes raw, or is its source alone.
    """
    listing = read_program(directory)
    old = {key: statement for key, statement in listing.statements.items() if statement.form in STORED}
    changes: dict[str, str | None] = {key: None for key, statement in old.items() if not statement.by_person}
    alone = (key.removesuffix(BESIDE) for key in changes if key.endswith(f".QK{BESIDE}"))
    changes |= {key: None for key in alone if key not in listing.statements}
    for address, rank in heads.items():
        beside = BESIDE if address.kind == "QK" and rank else ""
        changes[f"{address}{beside}"] = pages.lifted(str(address), rank)
    for layer, (rank, readers) in (channels or {}).items():
        key = f"L{layer:02d}.IN"
        changes[f"{key}{BESIDE}"] = pages.channels(key, readers, rank)
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
            expect(program.parent, {f"{PROGRAM}/{name}": text for name, text in self.files.items()})
            for name, text in self.files.items():
                write_text(program / name, text)
            _write_record(program, only)
            keep(program, self.files, only)
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


def _revise(
    listing: Listing,
    changes: Mapping[str, str | None],
    values: Mapping[str, Sequence[str]] | None = None,
    words: str | None = None,
    stream: str | None = None,
) -> Emission:
    """Bring `changes`, named `values` by page, and the texts of `words.py` and `stream.py` in wherever emission may."""
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
    mine = listing.words is not None and listing.words.by_person
    if words is not None and mine:
        draft.kept.append(WORDS)
    fresh = content.read_words(listing.program / WORDS, words) if words is not None and not mine else listing.words
    kinds = {**listing.kinds, **(fresh.kinds if fresh else {})}
    revised = dict(listing.pages)
    values, needed = values or {}, _needed(listing) if values else ()
    for name in dict.fromkeys((*wanted, *values)):
        edits, page = wanted.get(name, {}), listing.pages[name]
        if name in values:
            draft.kept += kept_values(page, values[name])
            page = revalue(page, values[name], needed)
        revised[name] = _described(listing, draft, revise(page, edits, kinds), edits)
    listing = _streamed(listing, draft, stream)
    _check(listing, draft, revised, fresh)
    return draft.commit(listing.program)


def _streamed(listing: Listing, draft: _Draft, text: str | None) -> Listing:
    """`listing` with another text of `stream.py`, unless a person wrote the one that is there."""
    if text is None:
        return listing
    if listing.stream and listing.stream.by_person:
        draft.kept.append(STREAM)
        return listing
    draft.hashes[STREAM] = digest(text)
    if listing.stream is None or listing.stream.text != text:
        draft.files[STREAM] = text
    return replace(listing, stream=read_stream(listing.program / STREAM, text))


def _described(listing: Listing, draft: _Draft, page: Page, edits: Collection[str]) -> Page:
    """A revised page under a docstring that says what it holds now; the draft learns what is new and what is gone."""
    name = page.path.name
    old = listing.pages[name]
    new = {statement.key: statement for statement in page.statements}
    draft.gone |= {statement.key for statement in old.statements} - set(new)
    draft.hashes |= {key: digest(new[key].text) for key in edits if key in new}
    mine = {value.name for value in old.values if value.by_person}
    draft.gone |= {f"{VALUE}{value.name}" for value in old.values} - {f"{VALUE}{value.name}" for value in page.values}
    draft.hashes |= {f"{VALUE}{value.name}": digest(value.text) for value in page.values if value.name not in mine}
    if digest(old.docstring) in read_record(listing.program).get(f"docstring {name}", set()):
        found = sorted(page.explained(), key=lambda entry: entry[1].part_form == "lifted")
        last = {address: statement.part_form for address, statement in found}  # lifted before a source
        forms = Counter((address.kind, form) for address, form in last.items())
        said = pages.docstring(name, listing.subject, listing.config, forms, numbers_of(page))
        page = page.with_docstring(said)
        draft.hashes[f"docstring {name}"] = digest(said)
    if page.text != old.text:
        draft.files[name] = page.text
    return page


def _needed(listing: Listing) -> set[str]:
    """The named values that what a person wrote reads, directly or through others."""
    theirs = [name for value in listing.values.values() if value.by_person for name in value.values]
    theirs += [name for s in listing.statements.values() if s.by_person for name in s.reads]
    for name in theirs:
        theirs += [other for other in listing.values[name].values if other not in theirs]
    return set(theirs)


def _check(listing: Listing, draft: _Draft, revised: dict[str, Page], words: content.Words | None) -> None:
    """Add `words.py` to the draft, with all kinds that are in use. Raises `SourceError` for pages that do not fit."""
    if words is not None and words is not listing.words:
        used = {kind for page in revised.values() for kind in content.imported_kinds(page.tree)}
        left = [kind.text for name, kind in listing.kinds.items() if name in used and name not in words.kinds]
        text = "\n".join([words.text.rstrip("\n"), *left]) + "\n"
        words = content.read_words(words.path, text)
        draft.hashes[WORDS] = digest(text)
        if listing.words is None or listing.words.text != text:
            draft.files[WORDS] = text
    if words or any(page.values or any(s.reads or s.wires for s in page.statements) for page in revised.values()):
        after = replace(listing, pages=revised, statements=collect(revised, listing.config.shape), words=words)
        check_listing(after)
