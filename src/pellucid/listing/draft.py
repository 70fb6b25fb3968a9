"""A program while it is changed: pages in memory, which become a program again when they fit together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pellucid.base.address import Address, PartKind
from pellucid.family.partition import PartForm as PartForm
from pellucid.listing import content, pages
from pellucid.listing.content import PAGE as WORDS
from pellucid.listing.count import numbers_of
from pellucid.listing.parse import (
    FRONT,
    VALUE,
    Listing,
    StatementPage,
    check_listing,
    collect,
    digest,
    read_page,
    rest_is_idle,
    with_uses,
)
from pellucid.listing.revalue import revalue
from pellucid.listing.revise import revise
from pellucid.listing.statement import described_name, is_described
from pellucid.listing.summary import Held, table
from pellucid.listing.wiring import PAGE as STREAM
from pellucid.listing.wiring import read_stream
from pellucid.listing.word import files_of
from pellucid.program.prelude import BESIDE


@dataclass(frozen=True)
class Revision:
    """A program as it is to be, in memory: `print_program` brings it to disk.

    `written` are the files that differ from before, `kept` what stays because a person had written it (statement keys
    and file names).
    """

    listing: Listing
    written: tuple[str, ...]
    kept: tuple[str, ...] = ()


def differing(old: Listing, new: Listing) -> dict[str, str]:
    """The files of `new` whose text is other than in `old`, by name; an empty text where a file is to go."""
    files = {name: page.text for name, page in new.pages.items() if name not in old.pages}
    texts = ((name, new.pages[name].text if name in new.pages else "") for name in old.pages)
    files |= {name: text for name, text in texts if text != old.pages[name].text}
    for name, mine, theirs in ((WORDS, new.words, old.words), (STREAM, new.stream, old.stream)):
        if mine is not None and (theirs is None or mine.text != theirs.text):
            files[name] = mine.text
    if new.front is not None and new.front != old.front:
        files[FRONT] = new.front
    return files


class Draft:
    """The pages of a program as they are to be, with what tells emission's text in them from a person's."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.hashes = dict(listing.record)
        self.pages = dict(listing.pages)
        self.words, self.stream = listing.words, listing.stream
        self.kept: list[str] = []
        self.front: str | None = None
        """What is to stand in `__init__.py`, where that is known."""

    @property
    def kinds(self) -> dict[str, content.TokenKind]:
        """The kinds that pages may use, old ones among them."""
        return {**self.listing.kinds, **(self.words.kinds if self.words else {})}

    def now(self) -> Listing:
        """The program as it is to be."""
        order = sorted(self.pages, key=lambda name: (*_at(name), is_described(name)))
        held = {name: self.pages[name] for name in order}
        said = collect(held, self.listing.decoder.addresses)
        return replace(self.listing, pages=held, statements=said, words=self.words, stream=self.stream)

    # --- pages

    def page(self, name: str) -> StatementPage:
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

    def _owned(self, page: StatementPage, keys: Collection[str] = (), values: Collection[str] = ()) -> StatementPage:
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
        forms: Counter[tuple[PartKind, PartForm]] = Counter((address.kind, "lifted") for address in held.lifted)
        forms += Counter((address.kind, "source") for address in held.sources)
        described: Counter[PartKind] = Counter(address.kind for address in held.idle)
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

    # --- whole again

    def revised(self, dropped: Collection[Address] | None = None) -> Revision:
        """The program with everything that changed; see `title` for `dropped`.

        Raises `SourceError` where it does not fit together.
        """
        self.place_values()
        self.complete()
        self.title(dropped)
        for name in [name for name, page in self.pages.items() if is_described(name) and _is_empty(page)]:
            if digest(self.pages[name].docstring) in self.hashes.get(f"docstring {name}", set()):
                del self.pages[name]
        self._keep_kinds()
        listing, old = self.now(), self.listing
        self._check(listing)
        front = self._front()
        gone = set(_keys(old.pages)) - set(_keys(self.pages))
        self.hashes |= {name: {digest(text)} for name, text in files_of(listing.statements.values())}
        fresh = {key: held for key, held in self.hashes.items() if held != old.record.get(key) and key not in gone}
        record = {key: held for key, held in old.record.items() if key not in gone} | fresh
        listing = with_uses(replace(listing, front=front, record=record))
        return Revision(listing, tuple(differing(old, listing)), tuple(self.kept))

    def _front(self) -> str | None:
        """What says at the front what the program is: made anew where that is known, unless a person wrote it."""
        old = self.listing.front
        if self.front is None or old == self.front:
            return old
        if old is not None and digest(old) not in self.listing.record.get(FRONT, set()):
            return old
        self.hashes[FRONT] = {digest(self.front)}
        return self.front

    def _keep_kinds(self) -> None:
        """Let new `words.py` keep the old kinds that pages use."""
        words = self.words
        if words is None or words is self.listing.words:
            return
        used = {kind for page in self.pages.values() for kind in content.imported_kinds(page.tree)}
        left = [kind.text for name, kind in self.listing.kinds.items() if name in used and name not in words.kinds]
        text = "\n".join([words.text.rstrip("\n"), *left]) + "\n"
        self.words = replace(content.read_words(words.path, text), by_person=False)
        self.hashes[WORDS] = {digest(text)}

    def _check(self, listing: Listing) -> None:
        """Raise `SourceError` for pages that do not fit together."""
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
            self.stream = replace(read_stream(self.listing.program / STREAM, text), by_person=False)
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


def _heads(page: StatementPage, layer: int, heads: int) -> dict[str, str | None]:
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


def _keys(held: Mapping[str, StatementPage]) -> Iterator[str]:
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


def _is_empty(page: StatementPage) -> bool:
    return not (page.statements or page.values or page.abouts)
