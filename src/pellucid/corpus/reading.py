"""Reading text lazily: files and folders become documents, one after the other, however large they are."""

from __future__ import annotations

import codecs
import gzip
import json
import lzma
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from itertools import chain, groupby
from pathlib import Path

from pellucid.base.errors import CorpusError

SEPARATOR = "<|endoftext|>"
LINES = ".jsonl"
"""What names of files end in whose every line is a document: JSON with its text in `text`."""
SUFFIXES = (".txt", LINES, ".gz", ".xz")
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Document:
    """A text as a run of fragments, to be read once and before the next document of the same file is asked for."""

    domain: str
    name: str
    fragments: Iterable[str]


def text_files(paths: Iterable[Path]) -> list[Path]:
    """The files that `paths` (files, or folders of them) stand for, folders in sorted order.

    Raises `CorpusError` for a path that does not exist, a suffix that is not read, or a folder without text files.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
            if not found:
                raise CorpusError(
                    f"folder {str(path)!r} holds no text files; expected names ending in .txt, .jsonl, .gz or .xz"
                )
            files += found
        elif not path.is_file():
            raise CorpusError(f"there is no text file or folder {str(path)!r}")
        elif path.suffix not in SUFFIXES:
            raise CorpusError(
                f"cannot read {str(path)!r}: expected plain text (.txt), lines of JSON "
                f"with a `text` (.jsonl), or either compressed (.gz, .xz)"
            )
        else:
            files.append(path)
    if not files:
        raise CorpusError("no text was given; name at least one file or folder")
    return files


def domain_of(path: Path) -> str:
    """The name of the kind of text that a file holds: its name without suffixes (`novels.txt.xz` is `novels`).

    Bytes of the name that are not UTF-8 are written as in `caf\\xe9`.
    """
    name = os.fsencode(path.name).decode("utf-8", "backslashreplace")
    while Path(name).suffix in SUFFIXES:
        name = Path(name).stem
    return name


def read_documents(path: Path) -> Iterator[Document]:
    """The documents of a file, separated by `<|endoftext|>` or one a line of JSON, without the white space around them.

    Raises `CorpusError` quoting file and byte if the text is not UTF-8 or the archive is damaged, and file and line for
    one that is no JSON with a `text`.
    """
    domain = domain_of(path)
    for ordinal, fragments in groupby(_fragments(_texts(path)), key=lambda fragment: fragment[0]):
        yield Document(domain, f"{domain}#{ordinal}", stripped(text for _, text in fragments))


def stripped(fragments: Iterable[str]) -> Iterator[str]:
    """`fragments` without the white space at their two ends."""
    held: list[str] = []
    started = False
    for fragment in fragments:
        text = fragment if started else fragment.lstrip()
        started = started or bool(text)
        if body := text.rstrip():
            yield "".join([*held, body])
            held = []
        if len(body) < len(text):
            held.append(text[len(body) :])


def _fragments(chunks: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Pairs of a document's ordinal and the next stretch of its text."""
    ordinal, pending, keep = 0, "", len(SEPARATOR) - 1
    for chunk in chunks:
        *ended, pending = (pending + chunk).split(SEPARATOR)
        for text in ended:
            yield ordinal, text
            ordinal += 1
        yield ordinal, pending[:-keep]
        pending = pending[-keep:]
    yield ordinal, pending


def _texts(path: Path) -> Iterator[str]:
    """The text of a file in chunks, with the separator between documents."""
    if LINES not in (path.suffix, Path(path.stem).suffix):
        yield from _decoded(path)
        return
    pending, number = "", 0
    for chunk in chain(_decoded(path), ("\n",)):
        *ended, pending = (pending + chunk).split("\n")
        for line in ended:
            number += 1
            if line.strip():
                yield f"{_said(line, path, number)}{SEPARATOR}"


def _said(line: str, path: Path, number: int) -> str:
    """The text of a line of JSON. Raises `CorpusError` where it has none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    text = found.get("text") if isinstance(found, dict) else None
    if not isinstance(text, str):
        raise CorpusError(f'{str(path)!r}, line {number:,}: {line[:60]!r} is no JSON such as {{"text": "A story."}}')
    return text


def _decoded(path: Path) -> Iterator[str]:
    """The text of a file in chunks, decoded from UTF-8 (a byte order mark is dropped)."""
    decoder, read = codecs.getincrementaldecoder("utf-8")(), 0
    for block in _blocks(path):
        held = len(decoder.getstate()[0])
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            at = read - held + error.start
            byte = error.object[error.start]
            raise CorpusError(f"{str(path)!r} is not UTF-8 text: byte 0x{byte:02x} at offset {at:,}") from error
        yield text.removeprefix("\ufeff") if read == 0 else text
        read += len(block)


def _blocks(path: Path) -> Iterator[bytes]:
    """The (decompressed) bytes of a file, and an empty block at the end."""
    read = 0
    try:
        with _open(path) as stream:
            while block := stream.read(_CHUNK):
                yield block
                read += len(block)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise CorpusError(f"cannot read {str(path)!r} after {read:,} bytes of text: {error}") from error
    yield b""


def _open(path: Path) -> BufferedIOBase:
    if path.suffix == ".gz":
        return gzip.GzipFile(path, "rb")
    if path.suffix == ".xz":
        return lzma.LZMAFile(path, "rb")
    return path.open("rb")
