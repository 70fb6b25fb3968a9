"""What emission is about to write: pages in memory, until they are committed to disk all at once.

The record of what emission wrote (`program/.emitted`) is first extended by what is about to be written and only then
cut down to it, so that a crash leaves nothing that looks like a person's work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pellucid.base.address import Address, Kind
from pellucid.base.files import write_text
from pellucid.base.trusted import PROGRAM, expect
from pellucid.family.partition import Form as PartForm
from pellucid.listing import content, pages
from pellucid.listing.content import PAGE as WORDS
from pellucid.listing.count import numbers_of
from pellucid.listing.parse import (
    RECORD,
    VALUE,
    Listing,
    Page,
    check_listing,
    collect,
    described_name,
    digest,
    is_described,
    read_page,
    read_record,
    rest_is_idle,
)
from pellucid.listing.revalue import revalue
from pellucid.listing.revise import revise
from pellucid.listing.summary import Held, table
from pellucid.listing.wiring import PAGE as STREAM
from pellucid.listing.wiring import read_stream
from pellucid.listing.written import keep
from pellucid.program.prelude import BESIDE

PACKAGE = "__init__.py"


@dataclass(frozen=True)
class Emission:
    """What a call wrote, and what it left because a person had written it (statement keys and file names)."""

    written: tuple[str, ...]
    kept: tuple[str, ...]


def write_files(
    program: Path, record: Mapping[str, set[str]], files: Mapping[str, str], hashes: Mapping[str, str], gone: set[str]
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


class Draft:
    """The pages of a program as they are to be, with what tells emission's text in them from a person's."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.record = read_record(listing.program)
        self.hashes = dict(self.record)
        self.pages = dict(listing.pages)
        self.words, self.stream = listing.words, listing.stream
        self.kept: list[str] = []
        self.front: str | None = None
        """What is to stand in `__init__.py`, where that is known."""

    @property
    def kinds(self) -> dict[str, content.Kind]:
        """The kinds that pages may use, old ones among them."""
        return {**self.listing.kinds, **(self.words.kinds if self.words else {})}

    def now(self) -> Listing:
        """The program as it is to be."""
        order = sorted(self.pages, key=lambda name: (*_at(name), is_described(name)))
        held = {name: self.pages[name] for name in order}
        said = collect(held, self.listing.decoder.addresses)
        return replace(self.listing, pages=held, statements=said, words=self.words, stream=self.stream)

    # --- pages

    def page(self, name: str) -> Page:
        """A page; one of descriptions that is not there yet begins empty."""
        if name not in self.pages:
            path = self.listing.program / name
            text = pages.described_page(name, self.listing.subject)
            self.pages[name] = read_page(path, {}, text)
            self.hashes[f"docstring {name}"] = {digest(self.pages[name].docstring)}
        return self.pages[name]

    def put(self, name: str, edits: Mapping[str, str | None]) -> None:
        """Let statements of a page be `edits`, see `revise`."""
        if not edits:
            return
        page, other = self.page(name), self.pages.get(_beside(name))
        new = revise(page, edits, self.kinds, other)
        self.pages[name] = self._owned(new, {*edits})

    def put_values(self, name: str, texts: Sequence[str], needed: Collection[str] = ()) -> None:
        """Let exactly these named values stand in a page, see `revalue`, and what is `needed` of the old ones."""
        if not texts and name not in self.pages:
            return
        page = self.page(name)
        mine = {value.name for value in page.values if value.by_person}
        new = revise(revalue(page, texts, needed), {}, self.kinds, self.pages.get(_beside(name)), page)
        self.pages[name] = self._owned(new, values={value.name for value in new.values} - mine)

    def _owned(self, page: Page, keys: Collection[str] = (), values: Collection[str] = ()) -> Page:
        """The page, of which emission wrote the statements `keys` and these `values`."""
        for statement in page.statements:
            if statement.key in keys:
                self.hashes[statement.record_key] = {digest(statement.text)}
        for about in page.abouts:
            if about.key in keys:
                self.hashes[about.key] = {digest(about.text)}
        for value in page.values:
            if value.name in values:
                self.hashes[f"{VALUE}{value.name}"] = {digest(value.text)}
        return read_page(page.path, self.hashes, page.text)

    # --- what follows from the rest

    def complete(self) -> None:
        """Let every page that says what runs say it of every head, and of the rest of its neurons where there is one.

        A head that is lifted is not said to run raw as well.
        """
        for name in [name for name in self.pages if name.startswith("layer_")]:
            page, layer = self.pages[name], _at(name)[1]
            self.put(name, _heads(page, layer, self.listing.decoder.sizes.head))
            page = self.pages[name]
            for kind in ("IN", "OUT"):
                key = f"L{layer:02d}.N*.{kind}"
                held = next((s for s in page.statements if s.key == key), None)
                idle = rest_is_idle(page, key, self.listing)
                if idle and held and not held.by_person:
                    self.put(name, {key: None})
                elif not idle and not held:
                    self.put(name, {key: pages.raw(key)})

    def place_values(self) -> None:
        """Let the values that running statements need stand where those do, the others among the descriptions.

        A value that needs one which a person keeps among the descriptions stays there, and is read from there.
        """
        listing = self.now()
        if not listing.values:
            return
        wanted = needed_to_run(listing)
        for name in [name for name in self.pages if name.startswith("layer_")]:
            beside = described_name(name)
            both = [self.pages[page] for page in (name, beside) if page in self.pages]
            own = [value for page in both for value in page.values if not value.by_person]
            up = {value.name for value in own if value.name in wanted}
            if up != {value.name for value in self.pages[name].values if not value.by_person}:
                for page in (name, beside):
                    self.put_values(page, [])
                self.put_values(name, [value.text for value in own if value.name in up])
                self.put_values(beside, [value.text for value in own if value.name not in up])

    def title(self, dropped: Collection[Address] | None = None) -> None:
        """Let every page that differs from before say what it holds, unless a person wrote what it says.

        Where it is known which residuals are `dropped`, all pages do, and a source counts by whether it runs; the front
        of the program then says what all of it is.
        """
        changed = {name for name, page in self.pages.items() if self.listing.pages.get(name) is not page}
        held: dict[str, tuple[Held, str]] = {}
        numbers = [0, 0]
        for name in [name for name in self.pages if not is_described(name)]:
            if dropped is not None or changed & {name, described_name(name)}:
                held[name] = self._entitle(name, dropped), described_name(name)
                for at, page in enumerate((name, described_name(name))):
                    numbers[at] += numbers_of(self.pages[page]) if page in self.pages else 0
        if dropped is not None:
            said = table(held, self.listing.decoder)
            self.front = pages.package(self.listing.subject, said, (numbers[0], numbers[1]))

    def _entitle(self, name: str, dropped: Collection[Address] | None) -> Held:
        page, beside = self.pages[name], self.pages.get(described_name(name))
        subject, decoder = self.listing.subject, self.listing.decoder
        held = Held.of(page, beside, dropped)
        forms: Counter[tuple[Kind, PartForm]] = Counter((address.kind, "lifted") for address in held.lifted)
        forms += Counter((address.kind, "source") for address in held.sources)
        described: Counter[Kind] = Counter(address.kind for address in held.idle)
        self._head(name, pages.docstring(name, subject, decoder, forms, numbers_of(page), described))
        if beside:
            kinds = Counter(address.kind for address in held.told)
            about = {"heads": kinds["QK"] + kinds["OV"], "neurons": kinds["IN"] + kinds["OUT"]}
            about["other parts"] = sum(kinds.values()) - sum(about.values())
            lifted = len(held.told & held.lifted)
            self._head(beside.name, pages.described(beside.name, subject, about, numbers_of(beside), lifted))
        return held

    def _head(self, name: str, said: str) -> None:
        """Let a page begin with the docstring `said`, where it begins with one that emission wrote."""
        page = self.pages[name]
        if said != page.docstring and digest(page.docstring) in self.hashes.get(f"docstring {name}", set()):
            self.hashes[f"docstring {name}"] = {digest(said)}
            self.pages[name] = self._owned(page.with_docstring(said))

    # --- to disk

    def commit(self, dropped: Collection[Address] | None = None) -> Emission:
        """Write everything that changed. Raises `SourceError` where it does not fit together, and writes nothing."""
        self.place_values()
        self.complete()
        self.title(dropped)
        for name in [name for name, page in self.pages.items() if is_described(name) and _is_empty(page)]:
            if digest(self.pages[name].docstring) in self.hashes.get(f"docstring {name}", set()):
                del self.pages[name]
        files = {n: page.text for n, page in self.pages.items() if n not in self.listing.pages}
        files |= {n: self._text(n) for n, old in self.listing.pages.items() if self._text(n) != old.text}
        self._keep_kinds()
        for name, new, old in ((WORDS, self.words, self.listing.words), (STREAM, self.stream, self.listing.stream)):
            if new is not None and (old is None or new.text != old.text):
                files[name] = new.text
        self._check()
        self._put_front(files)
        gone = set(_keys(self.listing.pages)) - set(_keys(self.pages))
        fresh = {key: held for key, held in self.hashes.items() if held != self.record.get(key) and key not in gone}
        hashes = {key: next(iter(held)) for key, held in fresh.items()}
        write_files(self.listing.program, self.record, files, hashes, gone)
        return Emission(tuple(files), tuple(self.kept))

    def _put_front(self, files: dict[str, str]) -> None:
        """Let the front of the program say what it is, unless a person wrote it."""
        path = self.listing.program / PACKAGE
        old = path.read_text(encoding="utf-8") if path.is_file() else None
        if self.front is None or old == self.front:
            return
        if old is None or digest(old) in self.record.get(PACKAGE, set()):
            files[PACKAGE] = self.front
            self.hashes[PACKAGE] = {digest(self.front)}

    def _text(self, name: str) -> str:
        """The text of a page; empty where it is to go."""
        return self.pages[name].text if name in self.pages else ""

    def _keep_kinds(self) -> None:
        """Let new `words.py` keep the old kinds that pages use."""
        words = self.words
        if words is None or words is self.listing.words:
            return
        used = {kind for page in self.pages.values() for kind in content.imported_kinds(page.tree)}
        left = [kind.text for name, kind in self.listing.kinds.items() if name in used and name not in words.kinds]
        text = "\n".join([words.text.rstrip("\n"), *left]) + "\n"
        self.words = content.read_words(words.path, text)
        self.hashes[WORDS] = {digest(text)}

    def _check(self) -> None:
        """Raise `SourceError` for pages that do not fit together."""
        listing = self.now()
        _ = listing.abouts
        if listing.words or listing.values or any(s.reads or s.wires for s in listing.statements.values()):
            check_listing(listing)

    # --- words.py and stream.py

    def put_words(self, text: str) -> None:
        """Let `words.py` be `text`, unless a person has changed it."""
        if self.words is not None and self.words.by_person:
            self.kept.append(WORDS)
        else:
            self.words = content.read_words(self.listing.program / WORDS, text)

    def put_stream(self, text: str) -> None:
        """Let `stream.py` be `text`, unless a person wrote the one that is there."""
        if self.stream is not None and self.stream.by_person:
            self.kept.append(STREAM)
        else:
            self.stream = read_stream(self.listing.program / STREAM, text)
            self.hashes[STREAM] = {digest(text)}


def needed_to_run(listing: Listing) -> set[str]:
    """The named values that what runs reads, directly or through others, and that can stand where it does."""
    running = [page for name, page in listing.pages.items() if not is_described(name)]
    asked = [name for page in running for statement in page.statements for name in statement.reads]
    asked += [name for page in running for value in page.values if value.by_person for name in value.values]
    found: set[str] = set()
    while asked:
        name = asked.pop()
        if name not in found and name in listing.values:
            found.add(name)
            asked += listing.values[name].values
    return found - staying(listing)


def staying(listing: Listing) -> set[str]:
    """The named values that a person keeps among the descriptions, and those that need them."""
    found = {name for name, value in listing.values.items() if value.by_person and is_described(value.file.name)}
    for name, value in listing.values.items():  # every value stands behind those that it asks for
        if found & set(value.values):
            found.add(name)
    return found


def _heads(page: Page, layer: int, heads: int) -> dict[str, str | None]:
    """What a page says once too often, or not yet, of where the heads of its layer look."""
    held = {statement.key: statement for statement in page.statements}
    edits: dict[str, str | None] = {}
    for head in range(heads):
        key = str(Address("QK", layer, head))
        own, lifted = held.get(key), f"{key}{BESIDE}" in held
        if lifted and own and own.form == "raw" and not own.by_person:
            edits[key] = None
        elif not lifted and not own:
            edits[key] = pages.raw(key)
    return edits


def _keys(held: Mapping[str, Page]) -> Iterator[str]:
    """What is in the record about pages."""
    for name, page in held.items():
        yield f"docstring {name}"
        yield from (statement.record_key for statement in page.statements)
        yield from (about.key for about in page.abouts)
        yield from (f"{VALUE}{value.name}" for value in page.values)


def _at(name: str) -> tuple[int, int]:
    """Where a page stands in the program."""
    layer = name.removesuffix(".py").rpartition("_")[2]
    return (1, int(layer)) if layer.isdecimal() else (0, 0)


def _beside(name: str) -> str:
    """The other page about the same parts."""
    if not is_described(name):
        return described_name(name)
    return "embedding.py" if name == described_name("embedding.py") else name.replace("described_", "layer_")


def _is_empty(page: Page) -> bool:
    return not (page.statements or page.values or page.abouts)
