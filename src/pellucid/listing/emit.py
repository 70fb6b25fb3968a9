"""Writes a program. Emission fills gaps and never overwrites what a person wrote.

Every file is written atomically; `draft.py` sees to it that a crash leaves nothing that looks like a person's work.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from pellucid.base.address import Address
from pellucid.base.errors import SourceError
from pellucid.base.files import passing_folder, write_text
from pellucid.base.tensors import open_tensors, save_tensors
from pellucid.family.allowance import fewest_means
from pellucid.listing import pages
from pellucid.listing.about import ABOUT, is_whole, line_of
from pellucid.listing.draft import PACKAGE, Draft, Emission, write_files
from pellucid.listing.parse import (
    STORED,
    Listing,
    Statement,
    described_name,
    digest,
    page_name,
    pages_of,
    read_listing,
    read_page,
    read_program,
    read_record,
)
from pellucid.listing.revalue import kept_values
from pellucid.listing.wiring import WIRES
from pellucid.program.prelude import APART, BESIDE
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
    with passing_folder(directory, ".program.") as temporary:
        temporary.chmod(0o755)
        emission = _fill(subject, temporary)
        os.replace(temporary, program)
    return emission


def write_statements(directory: Path, statements: Mapping[Address, str | None]) -> Emission:
    """Put statements in the place of those that emission wrote; those of a person stay and are named in `kept`.

    A statement is the text of a decorated function, a row such as `fires(…)`, or `raw("…")`; None means raw. A new
    source stands among the descriptions until `arrange` finds that it runs. For neurons that are constants see
    `write_constants`, for what is lifted `write_lifted`. A function that is called like another one of its layer gets a
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
    """Let exactly these be the named values of a layer among those that emission may write, in this order.

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
    about: Mapping[str, str] | None = None,
) -> Emission:
    """Write kinds of tokens, named values by layer, and statements that use them, all at once.

    See `write_words`, `write_values` and `write_statements`; `stream` is the text of `stream.py`, and `about` says in
    words what whole heads and neurons do, by `L02.H00` or `L02.N0417`: an empty text takes one away, those that are not
    named stay. What is written fits together, or nothing is written: raises `SourceError` naming file and line.
    """
    listing = read_program(directory)
    changes: dict[str, str | None] = {str(address): text for address, text in (statements or {}).items()}
    if values is not None:
        gone = {v.name for v in listing.values.values() if v.layer in values and not v.by_person}
        gone -= {_value_name(text) for of_layer in values.values() for text in of_layer}
        gone -= _needed(listing)
        for key, statement in listing.statements.items():
            if not statement.by_person and gone & {*statement.reads}:
                changes.setdefault(key, None)
    for address, said in (about or {}).items():
        if not is_whole(address):
            raise SourceError(f"{address!r} is no whole head or neuron; expected such as L02.H00 or L02.N0417")
        changes[f"{ABOUT}{address}"] = line_of(address, said) if said else None
    return _revise(listing, changes, values, words, stream)


def write_constants(directory: Path, values: Mapping[Address, float]) -> Emission:
    """Make neurons constant, beside what the `constants` statements of their layers already say.

    Neurons with a person's source, and layers whose `constants` a person wrote, stay and are named in `kept`.
    """
    listing = read_program(directory)
    changes: dict[str, str | None] = {}
    kept = []
    for layer in sorted({address.layer for address in values}):
        here, apart = f"L{layer:02d}.IN", f"L{layer:02d}.IN{APART}"
        old = {key: listing.statements.get(key) for key in (here, apart)}
        merged = {key: dict(found.values) if found else {} for key, found in old.items()}
        for address in (address for address in values if address.layer == layer):
            own = listing.statements.get(str(address))
            if own and own.by_person:
                kept.append(str(address))
                continue
            key = here if address.index in merged[here] else apart
            merged[key][address.index] = float(values[address])
            found = old[key]
            if own and not (found and found.by_person):
                changes[str(address)] = None
        changes |= {key: pages.constants(here, held) for key, held in merged.items() if held}
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
    for address, rank in heads.items():
        beside = BESIDE if address.kind == "QK" and rank else ""
        changes[f"{address}{beside}"] = pages.lifted(str(address), rank)
    for layer, (rank, readers) in (channels or {}).items():
        key = f"L{layer:02d}.IN"
        changes[f"{key}{BESIDE}"] = pages.channels(key, readers, rank)
    for layer in sorted({address.layer for address in neurons}):
        of_layer = [a.index for a in neurons if a.layer == layer and str(a) not in listing.statements]
        if len(of_layer) >= fewest_means(listing.decoder):
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
    save_tensors(path, tensors, {"subject": subject.weights_sha256})


def _held(path: Path, subject: Subject) -> dict[str, Tensor] | None:
    """What the weights file holds beside the weights, None where it is not whole or not this subject's."""
    try:
        with open_tensors(path, "pt") as file:
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


def _fill(subject: Subject, program: Path) -> Emission:
    """Write what `program` lacks, and renew what is still as emission wrote it."""
    record = read_record(program)
    files: dict[str, str] = {}
    hashes: dict[str, str] = {}
    kept: list[str] = []
    fixed = {theirs: pages.verbatim(ours) for ours, theirs in pages.VERBATIM.items()}
    fixed |= {PACKAGE: pages.package(subject.name), "model.py": pages.model(subject.name, subject.decoder)}
    fixed |= {"vocabulary.json": pages.vocabulary(subject.tokenizer)}
    for name, text in fixed.items():
        path = program / name
        old = path.read_text(encoding="utf-8") if path.is_file() else None
        if name == PACKAGE and old is not None and digest(old) in record.get(name, set()):
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
    write_files(program, record, files, hashes, set())
    listing = read_listing(program)
    gaps = {key: pages.raw(key) for key in pages.keys(subject.decoder.addresses) if not listing.covers(key)}
    if not gaps:
        return Emission(tuple(files), tuple(kept))
    second = _revise(listing, gaps)
    return Emission(tuple(dict.fromkeys((*files, *second.written))), (*kept, *second.kept))


def _revise(
    listing: Listing,
    changes: Mapping[str, str | None],
    values: Mapping[int, Sequence[str]] | None = None,
    words: str | None = None,
    stream: str | None = None,
) -> Emission:
    """Bring `changes`, named `values` by layer, and the texts of `words.py` and `stream.py` in where emission may."""
    draft = Draft(listing)
    if words is not None:
        draft.put_words(words)
    wanted: dict[str, dict[str, str | None]] = {}
    for key, text in changes.items():
        old, constants = listing.statements.get(key), listing.constants_of(key)
        about = listing.abouts.get(key.removeprefix(ABOUT)) if key.startswith(ABOUT) else None
        if any(found and found.by_person for found in (old, constants, about)):
            draft.kept.append(key)
            continue
        for name, edit in _homes(listing, key, text):
            wanted.setdefault(name, {})[key] = edit
        if constants and constants.key not in changes:
            at = key.partition(".")[0]
            left = {n: v for n, v in constants.values.items() if f"{at}.N{n:04d}.IN" not in changes}
            said = pages.constants(f"{at}.IN", left) if left else None
            wanted.setdefault(constants.file.name, {})[constants.key] = said
    needed = _needed(listing) if values else ()
    for layer, texts in (values or {}).items():
        name = f"layer_{layer:02d}.py"
        both = [listing.pages[page] for page in (name, described_name(name)) if page in listing.pages]
        mine = [kept for page in both for kept in kept_values(page, texts)]
        draft.kept += mine
        draft.put_values(name, [], needed)
        draft.put_values(described_name(name), [text for text in texts if _value_name(text) not in mine], needed)
    for name, edits in wanted.items():
        draft.put(name, edits)
    if stream is not None:
        draft.put_stream(stream)
    return draft.commit()


def _homes(listing: Listing, key: str, text: str | None) -> Iterator[tuple[str, str | None]]:
    """The pages that a statement goes into or leaves, with its text there; None where it leaves one.

    What runs from data stands in the file of its layer, a new source among the descriptions.
    """
    old = listing.statements.get(key)
    here, apart = pages_of(key.removeprefix(ABOUT))
    if key.startswith(ABOUT):
        found = listing.abouts.get(key.removeprefix(ABOUT))
        yield found.file.name if found else apart, text
    elif text is None or text.lstrip().startswith(("raw(", *_DATA)):
        if old and old.described:
            yield old.file.name, None
        if text is not None or old is None or not old.described:
            yield here, text
    elif key.endswith(APART):
        yield apart, text
    elif old and old.part_form == "source":
        if not _is_same(old, text):
            yield old.file.name, text
    elif text.lstrip().startswith(_RUNS):
        yield here, text
    else:
        if old and old.form != "raw":
            yield here, None
        yield apart, text


_DATA = tuple(f"{form}(" for form in STORED)
"""What begins statements whose vectors are data."""
_RUNS = (*(f"{what}(" for what in WIRES), "constants(")
"""What begins sources that run as soon as they are written, as far as nothing else is said."""
_NAME = re.compile(r"(?m)^def \w+\(")


def _is_same(old: Statement, text: str) -> bool:
    """Whether a statement says what stands there already, but for the number behind the name of its function."""
    return old.function is not None and _NAME.sub(f"def {old.function}(", text.strip("\n"), count=1) == old.text


def says(listing: Listing, address: Address, text: str) -> bool:
    """Whether emission wrote `text` about an address, a row or a function, or made the neuron constant."""
    found = listing[address]
    if found.form == "constants" or found.by_person:
        return not found.by_person
    return found.text == text if found.function is None else _is_same(found, text)


def _value_name(text: str) -> str:
    """The name of the value that a text defines, as far as it does."""
    found = read_page(Path(""), {}, text).values
    return found[0].name if len(found) == 1 else ""


def _needed(listing: Listing) -> set[str]:
    """The named values that what a person wrote reads, directly or through others."""
    theirs = [name for value in listing.values.values() if value.by_person for name in value.values]
    theirs += [name for s in listing.statements.values() if s.by_person for name in s.reads]
    for name in theirs:
        theirs += [other for other in listing.values[name].values if other not in theirs]
    return set(theirs)
