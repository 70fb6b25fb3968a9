"""Reads a program as text: which statement every address has, where it stands, and whether a person wrote it.

`program/.emitted` holds, for every statement that emission wrote, the hash of its text. A statement whose text has
another hash is a person's, and is never replaced.

`layer_NN.py` holds what runs; beside it `described_NN.py` holds sources that do not, of parts that are raw there. Such
a source is the statement of its address.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pellucid.base.address import Address, Shape
from pellucid.base.errors import ProjectError, SourceError, closest
from pellucid.base.files import MOST_OF_PAGE, read_text, sha256_text
from pellucid.base.kept import keep, kept
from pellucid.base.memory import kept_until_release
from pellucid.base.shell import quoted
from pellucid.family import printed
from pellucid.family.allowance import LIFTED_SHARE, fewest_means, fewest_readers, lifted_numbers, most_rank
from pellucid.family.blocks import Decoder
from pellucid.family.partition import PartForm, count
from pellucid.listing import content, held_pages
from pellucid.listing.about import ABOUT, About, collect_abouts, read_abouts, sides
from pellucid.listing.content import TokenKind, TokenKinds, ValueDef
from pellucid.listing.edits import Edits, read_edits
from pellucid.listing.held_pages import PageSaid
from pellucid.listing.language import OWN, beside_of, check, definitions, is_value, told
from pellucid.listing.spoken import called, key_of
from pellucid.listing.statement import (
    NEURON,
    REST,
    SEVERAL,
    STORED,
    Statement,
    described_name,
    meant,
    page_name,
    pages_of,
)
from pellucid.listing.wiring import PAGE as STREAM
from pellucid.listing.wiring import StreamNames, check_wires, read_stream
from pellucid.listing.word import word_called
from pellucid.program.prelude import APART, BESIDE

RECORD = ".emitted"
FRONT = "__init__.py"
"""The file that says at the front what a program is."""
VALUE = "value "
"""Begins the keys of named values in the record."""


@dataclass(frozen=True)
class StatementPage:
    """One file of a program that holds statements: `embedding.py`, `layer_NN.py` or `described_NN.py`."""

    path: Path
    text: str
    statements: tuple[Statement, ...]
    values: tuple[ValueDef, ...] = ()
    """Its named values."""
    abouts: tuple[About, ...] = ()
    """What it says of whole heads and neurons."""
    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The kinds of tokens that its sources use, by the names of their functions."""

    @cached_property
    def tree(self) -> ast.Module:
        """It as Python; what was read before is parsed where it is asked for."""
        return _tree(self.text, self.path.name)

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.path.name

    @property
    def held(self) -> tuple[Statement | About, ...]:
        """Its statements, and what it says of whole heads and neurons."""
        return (*self.statements, *self.abouts)

    @cached_property
    def lines(self) -> list[str]:
        """Its lines, without line ends."""
        return self.text.split("\n")

    def kinds_of(self, statement: Statement) -> set[str]:
        """The kinds of tokens that a statement uses, by itself or through helper functions."""
        wired = statement.wires.kinds.values() if statement.wires else ()
        return {*self.kinds.get(statement.function or "", ()), *wired}

    def sources(self) -> Iterator[tuple[Address, Statement]]:
        """Every address that has a source or is a constant, with its statement."""
        yield from (found for found in self.explained() if found[1].form not in STORED)

    def explained(self) -> Iterator[tuple[Address, Statement]]:
        """Every address that is lifted or has a source, with its statement."""
        for statement in self.statements:
            if statement.form != "raw":
                yield from ((address, statement) for address in meant(statement))

    @property
    def docstring(self) -> str:
        """The module's docstring as it is written, empty where there is none."""
        first, last = self._docstring
        return "\n".join(self.lines[first:last])

    def with_docstring(self, text: str) -> StatementPage:
        """This page with another docstring; statements keep their text but not their line numbers."""
        first, last = self._docstring
        return replace(self, text="\n".join([*self.lines[:first], text, *self.lines[last:]]))

    @property
    def _docstring(self) -> tuple[int, int]:
        """The lines of the docstring, as a slice."""
        node = self.tree.body[0] if ast.get_docstring(self.tree) is not None else None
        return (node.lineno - 1, node.end_lineno or node.lineno) if node else (0, 0)


@dataclass(frozen=True)
class Listing:
    """A program, read: its pages, and the statement of every address."""

    program: Path
    subject: str
    decoder: Decoder
    pages: dict[str, StatementPage]
    statements: dict[str, Statement]
    words: TokenKinds | None = None
    """`words.py`, None where there is none."""
    edits: Edits | None = None
    """`edits.py`, None where there is none."""
    stream: StreamNames | None = None
    """`stream.py`, None where there is none."""
    front: str | None = None
    """The text of `__init__.py`, None where there is none."""
    record: Mapping[str, set[str]] = field(default_factory=dict)
    """What emission wrote of it, see `read_record`."""

    @property
    def n_vocab(self) -> int:
        """How many tokens its subject has."""
        return self.decoder.sizes.vocab

    @property
    def texts(self) -> dict[str, str]:
        """Its text by the names of its files: all that can be changed by emission or by people."""
        beside = (part for part in (self.words, self.edits, self.stream) if part is not None)
        found = {page.name: page.text for page in self.pages.values()} | {part.path.name: part.text for part in beside}
        return found if self.front is None else found | {FRONT: self.front}

    @property
    def kinds(self) -> dict[str, TokenKind]:
        """The kinds of tokens that its sources and values may use, by name."""
        return self.words.kinds if self.words else {}

    @cached_property
    def abouts(self) -> dict[str, About]:
        """What it says of whole heads and neurons, by `L02.H00` or `L02.N0417`."""
        return collect_abouts((about for page in self.pages.values() for about in page.abouts), self.decoder.addresses)

    @cached_property
    def values(self) -> dict[str, ValueDef]:
        """Its named values by name, every one behind those that it reads."""
        return {value.name: value for page in self.pages.values() for value in page.values}

    def values_of(self, statement: Statement) -> list[str]:
        """The named values that a statement reads, directly or through others, in the order of the files."""
        found = self.values_behind(statement)
        return [name for name in self.values if name in found]

    def values_behind(self, statement: Statement) -> frozenset[str]:
        """The same, in no order."""
        return frozenset[str]().union(*map(self._closure, statement.reads)).intersection(self.values)

    def _closure(self, name: str) -> frozenset[str]:
        """A named value with all that it reads."""
        if name not in self._closures:
            self._closures[name] = frozenset({name})  # what reads itself is refused elsewhere
            before = self.values[name].values if name in self.values else ()
            self._closures[name] = frozenset({name}).union(*map(self._closure, before))
        return self._closures[name]

    @cached_property
    def _closures(self) -> dict[str, frozenset[str]]:
        return {}

    def kinds_behind(self, name: str) -> frozenset[str]:
        """The kinds of tokens that a named value uses, directly or through others."""
        if name not in self._kinds_behind:
            self._kinds_behind[name] = frozenset(
                kind for value in self._closure(name) if value in self.values for kind in self.values[value].kinds
            )
        return self._kinds_behind[name]

    @cached_property
    def _kinds_behind(self) -> dict[str, frozenset[str]]:
        return {}

    def __getitem__(self, address: Address) -> Statement:
        """The statement that says what `address` runs: its own, one about several neurons, or that of the rest.

        What it is lifted to beside a raw statement or a source is not that; see `lifted`.
        """
        own = self.statements.get(str(address))
        if own is None and address.kind in ("IN", "OUT"):
            at = f"L{address.layer:02d}.{address.kind}"
            for several in filter(None, map(self.statements.get, (at, f"{at}{APART}"))):
                if address.index in self._named[several.key]:
                    return several
            own = self.statements.get(f"L{address.layer:02d}.N*.{address.kind}")
        own = own or self.lifted(address)
        if own is None:
            raise SourceError(f"{page_name(str(address))} has no statement for {address}; add raw({str(address)!r})")
        return own

    def lifted(self, address: Address) -> Statement | None:
        """The statement that lifts `address` (QK or IN) in the place of its weights, beside what else it is."""
        if address.kind == "QK":
            return self.statements.get(f"{address}{BESIDE}")
        several = self.statements.get(f"L{address.layer:02d}.IN{BESIDE}") if address.kind == "IN" else None
        return several if several and address.index in self._named[several.key] else None

    def runs(self, address: Address) -> Statement:
        """What `address` runs in the full program without its residual: what it is lifted to before its source."""
        return self.lifted(address) or self[address]

    @cached_property
    def _named(self) -> dict[str, frozenset[int]]:
        """The neurons of each statement about several."""
        return {key: frozenset(found.neurons) for key, found in self.statements.items() if found.neurons}

    def form(self, address: Address) -> PartForm:
        """Whether `address` is raw, lifted or a source; where it has a source and is lifted too, it is lifted."""
        return self.runs(address).part_form

    def covers(self, key: str) -> bool:
        """Whether every address that the key of an all-raw program means has a statement that says what runs."""
        keys = [statement.key for statement in self.pages[page_name(key)].statements]
        said = {*keys, *(key.removesuffix(BESIDE) for key in keys if key.endswith(f".QK{BESIDE}"))}
        return key in said or (REST.fullmatch(key) is not None and rest_is_idle(self.pages[page_name(key)], key, self))

    def constants_of(self, key: str) -> Statement | None:
        """The `constants` statement that has a value for the neuron `key`."""
        if found := NEURON.fullmatch(key):
            for constants in filter(None, map(self.statements.get, (f"L{found[1]}.IN", f"L{found[1]}.IN{APART}"))):
                if int(found[2]) in constants.values:
                    return constants
        return None

    def sources(self) -> Iterator[tuple[Address, Statement]]:
        """Every address that has a source or is a constant, with its statement, in the order of the files."""
        for page in self.pages.values():
            yield from page.sources()


def rest_is_idle(page: StatementPage, key: str, listing: Listing) -> bool:
    """Whether a page that says what runs names every neuron that `key`, `L00.N*.IN`, stands for."""
    start, kind = key.split("*")
    named = sum(own.key.startswith(start) and own.key.endswith(kind) and own.key != key for own in page.statements)
    several = (own.neurons for own in page.statements if own.key == f"{start.removesuffix('.N')}{kind}")
    return named + sum(map(len, several)) >= listing.decoder.sizes.neuron


def order(key: str) -> tuple[int, ...]:
    """Where the statement `key` stands in its file: in the order of execution, the rest of the neurons last."""
    if key.endswith(BESIDE):
        return (*order(key.removesuffix(BESIDE)), 1)
    if key.endswith(APART):
        return order(key.removesuffix(APART))
    if key.startswith(ABOUT):
        return (*order(sides(key.removeprefix(ABOUT))[0])[:4], -1)
    if several := SEVERAL.fullmatch(key):
        side: Literal["IN", "OUT"] = "IN" if several[2] == "IN" else "OUT"
        return (*Address(side, int(several[1]))._order[:2], int(side == "OUT"), 1 << 30)
    if rest := REST.fullmatch(key):
        kind: Literal["IN", "OUT"] = "IN" if rest[2] == "IN" else "OUT"
        return (*Address(kind, int(rest[1]))._order[:2], int(kind == "OUT"), 1 << 31)
    address = Address.parse(key)
    layer, stage, index, second = address._order
    if address.kind == "OUT":  # behind when the neuron fires
        return (*order(str(replace(address, kind="IN")))[:4], 1)
    return (layer, stage, 0, index, second)


def read_program(directory: Path) -> Listing:
    """Read the program in `directory` (a project: the program is in `program/`).

    Raises `SourceError` naming file and line for text that is not in the program's language, and for statements that
    are missing, doubled, in the wrong file or about a part that the subject does not have.
    """
    listing = read_listing(directory / "program")
    kept("whole", _about_all(listing), lambda: check_whole(listing, filed=True))
    return listing


def _about_all(listing: Listing) -> str:
    """All that it depends on whether a program is whole."""
    texts, decoder = listing.texts, listing.decoder
    made_of = repr((printed.features(decoder), printed.fields_of(decoder).said))
    return "\0".join([made_of, *(text for name in sorted(texts) for text in (name, texts[name])), "", *sorted(OWN)])


def keep_said(listing: Listing) -> None:
    """Keep what the pages of a program say that was just printed and is whole, for the next command to read."""
    for page in listing.pages.values():
        said = PageSaid(page.statements, page.values, page.abouts, page.kinds)
        keep("page", _about(page.name, page.text), held_pages.dump(said))
    keep("whole", _about_all(listing), None)


def check_whole(listing: Listing, *, filed: bool = False) -> None:
    """Raise `SourceError` as `read_program` does: for what is not in the language, missing, doubled or misplaced.

    Where a listing is `filed`, as it stands on disk, it is kept of its pages that they passed.
    """
    check_listing(listing, filed=filed)
    for address in listing.decoder.addresses.addresses():
        _ = listing[address]
    _ = listing.abouts
    for statement in listing.statements.values():
        if statement.form in STORED:
            require_small(statement, listing.decoder)


@kept_until_release(1024)
def _tree(text: str, name: str) -> ast.Module:
    """The parsed `text` of the file `name`; kept, since a program is read far more often than it changes."""
    return ast.parse(text, name)


def check_listing(listing: Listing, *, filed: bool = False) -> None:
    """Raise `SourceError` if a page is not in the language of sources, or reads values that are not there."""
    kinds = frozenset(listing.kinds)
    for name, page in listing.pages.items():
        if filed:
            about = "\0".join((*sorted(kinds), "", _about(name, page.text)))
            kept("checked", about, lambda: _check(page.text, name, kinds, tuple(sorted(OWN))))  # noqa: B023, called at once
        else:
            _check(page.text, name, kinds, tuple(sorted(OWN)))
    content.check_values((v for page in listing.pages.values() for v in page.values), kinds, listing.decoder.addresses)
    wired = {key: (s.at, s.wires) for key, s in listing.statements.items() if s.wires}
    check_wires(wired, listing.stream, kinds)
    late = {name for name, value in listing.values.items() if content.is_late(value, listing.values)}
    for statement in listing.statements.values():
        for name in statement.reads:
            value = listing.values.get(name)
            if value is None:
                near = closest(name, list(listing.values))
                raise SourceError(f"{statement.at}: {statement.key} reads {name}, but there is no such value{near}")
            layer = Address.parse(statement.key).layer
            if value.layer > layer:
                raise SourceError(f"{statement.at}: {statement.key} reads {name} of a later layer ({value.at})")
            if value.layer == layer and (statement.asks or name in late):
                why = "heads may ask for values of earlier layers" if statement.asks else "it asks what they fire"
                raise SourceError(
                    f"{statement.at}: {statement.key} reads {name}, which is known later ({value.at}): {why}"
                )
            here = any(name in names for names in statement.shared.values())
            above = value.file == statement.file and value.line < statement.line
            if here and not (above or value.file.stem == beside_of(statement.file.name)):
                raise SourceError(
                    f"{statement.at}: {statement.key} reads {name}, which is not defined above on this page "
                    f"({value.at}); write {name}={statement.terms[name]:g}"
                )


@kept_until_release(256)
def _check(text: str, name: str, kinds: frozenset[str], own: tuple[str, ...]) -> None:
    """Raise `SourceError` if the file is not in the language of sources; what has passed is not checked again.

    The words that forms bring, `own`, are part of the language.
    """
    del own
    check(_tree(text, name), name, kinds)


def _about(name: str, text: str) -> str:
    """All that it depends on what the page `name` says."""
    return "\0".join((name, *sorted(OWN), text))


def read_listing(program: Path) -> Listing:
    """Read the folder `program`, whose statements may have gaps."""
    if not (program / "model.py").exists():
        directory = program.parent
        again = f"pellucid decompile SUBJECT -o {quoted(directory)}"
        raise ProjectError(f"{directory} holds no program; make one with: {again}")
    subject, decoder = read_config(program / "model.py")
    hashes = read_record(program)
    pages = _read_pages(program, decoder, hashes)
    words, names = read_words(program, hashes), read_names(program, hashes)
    said = collect(pages, decoder.addresses), words, read_edits(program), names
    front = program / FRONT
    own = read_text(front, MOST_OF_PAGE, lenient=True) if front.is_file() else None, hashes
    listing = Listing(program, subject, decoder, pages, *said, *own)
    _require_shallow(listing.values.values())
    return with_uses(listing)


def _read_pages(program: Path, decoder: Decoder, hashes: Mapping[str, set[str]]) -> dict[str, StatementPage]:
    """The pages of a program by name. Raises `SourceError` where together they are more than a program can be."""
    pages: dict[str, StatementPage] = {}
    size = 0
    for name in _page_names(program, decoder.layers):
        pages[name] = page = read_page(program / name, hashes)
        size += len(page.text)
        if size > _MOST_OF_PAGES:
            raise SourceError(f"{program} holds more than {_MOST_OF_PAGES:,} characters; no more are read")
        named = sum(len(statement.neurons) for statement in page.statements)
        if named > _TIMES_NAMED * decoder.sizes.neuron:
            raise SourceError(
                f"{name}:1: its statements name {named:,} neurons; the layer has {decoder.sizes.neuron:,}"
            )
    return pages


def _page_names(program: Path, layers: int) -> Iterator[str]:
    """The files of a program that hold statements: all that say what runs, and those that describe it."""
    for number in range(layers + 1):
        name = f"layer_{number - 1:02d}.py" if number else "embedding.py"
        yield name
        if (program / described_name(name)).exists():
            yield described_name(name)


_MOST_OF_PAGES = 1 << 25
_TIMES_NAMED = 4
"""How often statements may name a neuron: one says when it fires, one what that is lifted to, one what it writes."""


def _require_shallow(values: Iterable[ValueDef]) -> None:
    """Raise `SourceError` where values read each other through more others than any reader follows."""
    depth: dict[str, int] = {}
    for value in values:
        depth[value.name] = 1 + max((depth.get(name, 0) for name in value.values), default=0)
        if depth[value.name] > _DEEPEST:
            raise SourceError(f"{value.at}: {value.name} is the last of more than {_DEEPEST} values in a row")


_DEEPEST = 300


def with_uses(listing: Listing) -> Listing:
    """The program, its statements with hashes of the values and kinds that they use, directly or through others."""
    return replace(listing, statements=_with_uses(listing)) if listing.words or listing.values else listing


def _with_uses(listing: Listing) -> dict[str, Statement]:
    kinds_held = {name: digest(kind.text) for name, kind in listing.kinds.items()}
    held: dict[str, str] = {}

    def hashed(name: str) -> str:
        """A hash of a named value and of all that it uses."""
        if name not in held and (value := listing.values.get(name)):
            held[name] = ""  # what reads itself is refused elsewhere
            under = [*map(hashed, value.values), *(kinds_held.get(kind, "") for kind in sorted({*value.kinds}))]
            held[name] = digest(" ".join([digest(value.text), *under]))
        return held.get(name, "")

    found = dict(listing.statements)
    for page in listing.pages.values():
        for key, statement in ((s.key, s) for s in page.statements):
            kinds = page.kinds_of(statement)
            used = [*map(hashed, sorted(statement.reads)), *(kinds_held.get(kind, "") for kind in sorted(kinds))]
            if used:
                found[key] = replace(statement, uses=digest(" ".join(used)))
    return found


def read_words(program: Path, hashes: Mapping[str, set[str]]) -> TokenKinds | None:
    """The kinds of tokens of the program in the folder `program`; None where it has no `words.py`."""
    path = program / content.PAGE
    if not path.exists():
        return None
    text = read_text(path, MOST_OF_PAGE)
    words = kept(
        "words",
        text,
        lambda: content.read_words(path, text),
        held_pages.dump_words,
        lambda data: held_pages.load_words(data, path, text),
    )
    return replace(words, by_person=digest(text) not in hashes.get(content.PAGE, set()))


def read_names(program: Path, hashes: Mapping[str, set[str]]) -> StreamNames | None:
    """The names of the coordinates of the program in the folder `program`; None where it has no `stream.py`."""
    path = program / STREAM
    if not path.exists():
        return None
    text = read_text(path, MOST_OF_PAGE)
    return replace(read_stream(path, text), by_person=digest(text) not in hashes.get(STREAM, set()))


def collect(pages: dict[str, StatementPage], shape: Shape) -> dict[str, Statement]:
    """All statements by key, in order of the files. Raises `SourceError` for doubled, misplaced and alien ones."""
    found: dict[str, Statement] = {}
    for name, page in pages.items():
        for statement in page.statements:
            key = statement.key
            earlier = found.get(key)
            if earlier and not (statement.described and not earlier.described and earlier.form == "raw"):
                raise SourceError(f"{statement.at}: {key} is already defined at {earlier.at}; keep one of the two")
            if name not in pages_of(key) or (statement.described and statement.form in STORED):
                raise SourceError(f"{statement.at}: {key} belongs into {page_name(key)}")
            if not all(address in shape for address in meant(statement)):
                raise SourceError(f"{statement.at}: {key} names no part of this subject")
            found[key] = statement
    named: dict[str, Statement] = {}
    for statement in found.values():
        for address in meant(statement) if statement.neurons and statement.form != "channels" else ():
            own = found.get(str(address)) or named.setdefault(str(address), statement)
            if own is not statement:
                raise SourceError(f"{statement.at}: {address} is already defined at {own.at}; keep one of the two")
    return found


def read_page(path: Path, hashes: Mapping[str, set[str]], text: str | None = None) -> StatementPage:
    """Parse one file of a program (or `text` in its place). Raises `SourceError` naming file and line.

    What stands in a file that was read before is not parsed again.
    """
    try:
        if text is None:
            text = read_text(path, MOST_OF_PAGE)
            said = _page_before(path, text)
        else:
            said = _page_said(path, text)
    except FileNotFoundError:
        raise SourceError(f"{path} is missing; run decompile again to fill the gap") from None
    statements = (replace(s, by_person=digest(s.text) not in hashes.get(s.record_key, set())) for s in said.statements)
    values = (replace(v, by_person=digest(v.text) not in hashes.get(f"{VALUE}{v.name}", set())) for v in said.values)
    abouts = (replace(a, by_person=digest(a.text) not in hashes.get(a.key, set())) for a in said.abouts)
    return StatementPage(path, text, tuple(statements), tuple(values), tuple(abouts), said.kinds)


def _page_before(path: Path, text: str) -> PageSaid:
    """What stands in a page, as it was kept when the same text was read last."""
    lines = text.split("\n")
    return kept(
        "page",
        _about(path.name, text),
        lambda: _page_said(path, text),
        held_pages.dump,
        lambda data: held_pages.load(data, path, lines),
    )


def _page_said(path: Path, text: str) -> PageSaid:
    """What stands in a page with this text. Raises `SourceError` naming file and line."""
    try:
        tree = _tree(text, path.name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        raise SourceError(f"{path.name}:{line}: not Python: {getattr(error, 'msg', error)}") from None
    lines = text.split("\n")
    statements = tuple(found for node in tree.body if (found := read_statement(node, path, lines)))
    abouts = tuple(read_abouts(path, tree, lines))
    values = _named_values(path, text) if any(map(is_value, tree.body)) else ()
    defined, imported = definitions(tree), content.imported_kinds(tree)
    functions = [statement.function for statement in statements if statement.function]
    kinds = {name: tuple(used) for name in functions if (used := content.kinds_of(name, defined, imported))}
    return PageSaid(statements, values, abouts, kinds)


@kept_until_release(1024)
def _named_values(path: Path, text: str) -> tuple[ValueDef, ...]:
    """The named values of a page; kept, as its tree is."""
    tree = _tree(text, path.name)
    return tuple(content.read_values(path, tree, text.split("\n"), [node for node in tree.body if is_value(node)]))


def read_statement(node: ast.stmt, path: Path, lines: Sequence[str]) -> Statement | None:
    """The statement that a top-level node makes about an address, None where it makes none."""
    name = path.name
    if isinstance(node, ast.FunctionDef):
        calls = [d for d in node.decorator_list if isinstance(d, ast.Call) and called(d) == "source"]
        if not calls:
            return None
        if len(node.decorator_list) > 1:
            raise SourceError(f"{name}:{node.lineno}: {node.name} has several decorators; a source has @source alone")
        line, key = node.decorator_list[0].lineno, key_of(calls[0], name, 1)
        return Statement(
            key, "source", path, line, node.end_lineno or line, _text(lines, line, node), node.name,
            ast.get_docstring(node), asks=tuple(sorted(told(node))),
        )  # fmt: skip
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return None
    if (word := word_called(called(node.value))) is None:
        return None
    end = node.end_lineno or node.lineno
    said = word.read(node.value, name)
    return replace(said, file=path, line=node.lineno, end=end, text=_text(lines, node.lineno, node))


def require_small(statement: Statement, decoder: Decoder) -> None:
    """Raise `SourceError` unless a lifted part holds at most its share of the raw part's numbers."""
    address = meant(statement)[0]
    holds = lifted_numbers(address.kind, decoder, rank=statement.rank, sharing=max(1, len(statement.neurons)))
    raw = count(address, decoder)
    if holds <= LIFTED_SHARE * raw:
        return
    advice = _advice(statement, address, decoder)
    raise SourceError(
        f"{statement.at}: {address} would hold {holds:,} numbers where the raw part has {raw:,}; a lifted part may "
        f"hold {LIFTED_SHARE:.0%} of them: {advice}"
    )


def _advice(statement: Statement, address: Address, decoder: Decoder) -> str:
    """What may be written in the place of a statement that holds too many numbers."""
    if statement.form == "channels":
        sharing, enough = len(statement.neurons), fewest_readers(decoder, statement.rank)
        most = f"the most for {sharing} neurons is rank {most_rank(decoder, 'IN', sharing)}"
        return f"{most}, or name at least {enough} neurons" if enough <= decoder.sizes.neuron else most
    if statement.neurons:
        return f"name at least {fewest_means(decoder)} neurons"
    most_of_head = most_rank(decoder, address.kind)
    return f"the most is {f'rank {most_of_head}' if most_of_head else 'its mean'}"


def _text(lines: Sequence[str], line: int, node: ast.stmt) -> str:
    return "\n".join(lines[line - 1 : node.end_lineno])


def read_config(path: Path) -> tuple[str, Decoder]:
    """The subject's name and what it is made of, from `SUBJECT` and `CONFIG` of `model.py`, read without running it."""
    try:
        nodes = [node for node in ast.parse(read_text(path, MOST_OF_PAGE)).body if isinstance(node, ast.Assign)]
        values = {ast.unparse(node.targets[0]): node.value for node in nodes}
        made_of = ast.literal_eval(values["MADE_OF"]) if "MADE_OF" in values else None
        decoder = printed.read(made_of, _said(values["CONFIG"]), path)
        return str(ast.literal_eval(values["SUBJECT"])), decoder
    except (SyntaxError, ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise SourceError(f"{path}: SUBJECT and CONFIG cannot be read: {type(error).__name__}: {error}") from None


def is_format_1(program: Path) -> bool:
    """Whether the folder `program` holds a program of format 1, which does not list what its model is made of."""
    path = program / "model.py"
    return path.is_file() and not re.search(r"(?m)^MADE_OF\b", read_text(path, MOST_OF_PAGE, lenient=True))


def _said(call: ast.expr) -> dict[str, Any]:
    """What is given to `Config` or `Rotary` by name."""
    words = call.keywords if isinstance(call, ast.Call) else []
    calls = {str(word.arg): _said(word.value) for word in words if isinstance(word.value, ast.Call)}
    return {str(word.arg): ast.literal_eval(word.value) for word in words if str(word.arg) not in calls} | calls


def digest(text: str) -> str:
    """The hash by which emission recognises what it wrote."""
    return sha256_text(text.strip())[:16]


def read_record(program: Path) -> dict[str, set[str]]:
    """What emission last wrote: key to hashes (two while a write was under way). Unreadable lines are ignored."""
    path = program / RECORD
    if not path.exists():
        return {}
    entries = (line.split("\t") for line in read_text(path, lenient=True).splitlines())
    return {entry[0]: set(entry[1].split()) for entry in entries if len(entry) == 2}
