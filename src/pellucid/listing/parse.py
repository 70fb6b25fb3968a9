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
from pellucid.base.errors import PellucidError, ProjectError, SourceError, closest
from pellucid.base.files import MOST_OF_PAGE, read_text, sha256_text
from pellucid.base.memory import kept_until_release
from pellucid.base.shell import quoted
from pellucid.family import printed
from pellucid.family.allowance import LIFTED_SHARE, fewest_means, fewest_readers, lifted_numbers, most_rank
from pellucid.family.blocks import Decoder
from pellucid.family.partition import PartForm, count
from pellucid.listing import content
from pellucid.listing.about import ABOUT, About, collect_abouts, read_abouts, sides
from pellucid.listing.content import TokenKind, TokenKinds, ValueDef
from pellucid.listing.edits import Edits, read_edits
from pellucid.listing.language import beside_of, check, definitions, is_value, told
from pellucid.listing.rows import Levels, read_row
from pellucid.listing.wiring import PAGE as STREAM
from pellucid.listing.wiring import WIRES, StreamNames, Wires, check_wires, read_stream, read_wires
from pellucid.program.prelude import APART, BESIDE, DESCRIBED
from pellucid.program.values import read_shared

StatementForm = Literal["raw", "source", "fires", "constants", "linear", "lifted", "channels", "mean", "means", "wired"]
STORED: tuple[StatementForm, ...] = ("lifted", "channels", "mean", "means")
"""What a lifted part says: its vectors are data."""

RECORD = ".emitted"
FRONT = "__init__.py"
"""The file that says at the front what a program is."""
VALUE = "value "
"""Begins the keys of named values in the record."""
_SEVERAL = re.compile(r"L(\d{2,9})\.(IN|OUT)", re.ASCII)
"""Neurons of a layer that share a statement: `constants` or `channels` (IN), or `means` (OUT)."""
_NEURON = re.compile(r"L(\d{2,9})\.N(\d{4,9})\.IN", re.ASCII)
_REST = re.compile(r"L(\d{2,9})\.N\*\.(IN|OUT)", re.ASCII)


@dataclass(frozen=True)
class Statement:
    """What a program says about an address, or about all neurons of a layer that it does not name."""

    key: str
    """As written: `L00.H01.QK`, `L00.N*.IN`, or `L00.IN` for `constants`, `L00.OUT` for `means`.

    `L00.H01.QK.lifted` and `L00.IN.lifted` for what stands beside a raw statement or a source: `lifted` and `channels`;
    `L00.IN.described` for `constants` that do not run.
    """
    form: StatementForm
    file: Path
    line: int
    """First line, decorators included, counted from 1; `end` is the last one."""
    end: int
    text: str
    function: str | None = None
    docstring: str | None = None
    values: dict[int, float] = field(default_factory=dict)
    neurons: tuple[int, ...] = ()
    """Those that `constants`, `channels` and `means` are about."""
    rank: int = 0
    bias: float = 0.0
    """Of `linear` and `fires`."""
    here: Levels = field(default_factory=dict)
    """Of `fires`: what tokens here add, and `before` those one before."""
    before: Levels = field(default_factory=dict)
    terms: dict[str, float] = field(default_factory=dict)
    """Of `linear`: named values with their coefficients."""
    shared: dict[float, tuple[str, ...]] = field(default_factory=dict)
    """Of `linear`: those of the coefficients that are written once for several values."""
    asks: tuple[str, ...] = ()
    """Of a function that says where a head looks: the named values that it asks for."""
    uses: str = ""
    """A hash of the named values and kinds that it uses, empty where there are none: what it says depends on them."""
    wires: Wires | None = None
    """What a wired part reads and writes."""
    by_person: bool = True

    @property
    def part_form(self) -> PartForm:
        """Whether that is raw, lifted or a source: a constant is a source, a mean that is data is lifted."""
        return "raw" if self.form == "raw" else "lifted" if self.form in STORED else "source"

    @property
    def described(self) -> bool:
        """Whether it stands where sources do that do not run in the full program."""
        return is_described(self.file.name)

    @property
    def record_key(self) -> str:
        """What it is called in the record of what emission wrote."""
        return record_key(self.key, self.file.name)

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.file.name}:{self.line}"

    @property
    def reads(self) -> tuple[str, ...]:
        """The named values that it reads itself."""
        return (*self.terms, *self.asks)

    @property
    def source(self) -> str | None:
        """File and function, as `parts.toml` names a source, `layer_00.py:previous_token`; or file and line."""
        if self.form == "raw":
            return None
        return f"{self.file.name}:{self.function}" if self.function else self.place


@dataclass(frozen=True)
class StatementPage:
    """One file of a program that holds statements: `embedding.py`, `layer_NN.py` or `described_NN.py`."""

    path: Path
    text: str
    tree: ast.Module
    statements: tuple[Statement, ...]
    values: tuple[ValueDef, ...] = ()
    """Its named values."""
    abouts: tuple[About, ...] = ()
    """What it says of whole heads and neurons."""

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

    def sources(self) -> Iterator[tuple[Address, Statement]]:
        """Every address that has a source or is a constant, with its statement."""
        yield from (found for found in self.explained() if found[1].form not in STORED)

    def explained(self) -> Iterator[tuple[Address, Statement]]:
        """Every address that is lifted or has a source, with its statement."""
        for statement in self.statements:
            if statement.form != "raw":
                yield from ((address, statement) for address in _meant(statement))

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
        found = frozenset[str]().union(*map(self._closure, statement.reads))
        return [name for name in self.values if name in found]

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
        return key in said or (_REST.fullmatch(key) is not None and rest_is_idle(self.pages[page_name(key)], key, self))

    def constants_of(self, key: str) -> Statement | None:
        """The `constants` statement that has a value for the neuron `key`."""
        if found := _NEURON.fullmatch(key):
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


def page_name(key: str) -> str:
    """The file that says what runs at the statement `key`."""
    layer = re.match(r"L(\d+)\.", key)
    return f"layer_{layer[1]}.py" if layer else "embedding.py"


def described_name(name: str) -> str:
    """The file beside `layer_02.py` that describes what runs there otherwise: `described_02.py`."""
    return f"{DESCRIBED}{name.removeprefix('layer_')}"


def is_described(name: str) -> bool:
    """Whether a file holds sources that do not run."""
    return name.startswith(DESCRIBED)


def pages_of(key: str) -> tuple[str, str]:
    """The two files in which a source of the part `key` may stand."""
    return page_name(key), described_name(page_name(key))


def record_key(key: str, file: str) -> str:
    """What the statement `key` of a file is called in the record: one that runs and one that does not are two."""
    return f"described {key}" if is_described(file) else key


def order(key: str) -> tuple[int, ...]:
    """Where the statement `key` stands in its file: in the order of execution, the rest of the neurons last."""
    if key.endswith(BESIDE):
        return (*order(key.removesuffix(BESIDE)), 1)
    if key.endswith(APART):
        return order(key.removesuffix(APART))
    if key.startswith(ABOUT):
        return (*order(sides(key.removeprefix(ABOUT))[0])[:4], -1)
    if several := _SEVERAL.fullmatch(key):
        side: Literal["IN", "OUT"] = "IN" if several[2] == "IN" else "OUT"
        return (*Address(side, int(several[1]))._order[:2], int(side == "OUT"), 1 << 30)
    if rest := _REST.fullmatch(key):
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
    check_whole(listing)
    return listing


def check_whole(listing: Listing) -> None:
    """Raise `SourceError` as `read_program` does: for what is not in the language, missing, doubled or misplaced."""
    check_listing(listing)
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


def check_listing(listing: Listing) -> None:
    """Raise `SourceError` if a page is not in the language of sources, or reads values that are not there."""
    kinds = frozenset(listing.kinds)
    for name, page in listing.pages.items():
        _check(page.text, name, kinds)
    content.check_values((v for page in listing.pages.values() for v in page.values), kinds, listing.decoder.addresses)
    wired = {key: (s.place, s.wires) for key, s in listing.statements.items() if s.wires}
    check_wires(wired, listing.stream, kinds)
    late = {name for name, value in listing.values.items() if content.is_late(value, listing.values)}
    for statement in listing.statements.values():
        for name in statement.reads:
            value = listing.values.get(name)
            if value is None:
                near = closest(name, list(listing.values))
                raise SourceError(f"{statement.place}: {statement.key} reads {name}, but there is no such value{near}")
            layer = Address.parse(statement.key).layer
            if value.layer > layer:
                raise SourceError(f"{statement.place}: {statement.key} reads {name} of a later layer ({value.place})")
            if value.layer == layer and (statement.asks or name in late):
                why = "heads may ask for values of earlier layers" if statement.asks else "it asks what they fire"
                raise SourceError(
                    f"{statement.place}: {statement.key} reads {name}, which is known later ({value.place}): {why}"
                )
            here = any(name in names for names in statement.shared.values())
            above = value.file == statement.file and value.line < statement.line
            if here and not (above or value.file.stem == beside_of(statement.file.name)):
                raise SourceError(
                    f"{statement.place}: {statement.key} reads {name}, which is not defined above on this page "
                    f"({value.place}); write {name}={statement.terms[name]:g}"
                )


@kept_until_release(256)
def _check(text: str, name: str, kinds: frozenset[str]) -> None:
    """Raise `SourceError` if the file is not in the language of sources; what has passed is not checked again."""
    check(_tree(text, name), name, kinds)


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
            raise SourceError(f"{value.place}: {value.name} is the last of more than {_DEEPEST} values in a row")


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
        defined, imported = definitions(page.tree), content.imported_kinds(page.tree)
        for key, statement in ((s.key, s) for s in page.statements):
            kinds = set(content.kinds_of(statement.function, defined, imported)) if statement.function else set()
            if statement.wires:
                kinds |= set(statement.wires.kinds.values())
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
    return replace(content.read_words(path, text), by_person=digest(text) not in hashes.get(content.PAGE, set()))


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
                raise SourceError(
                    f"{statement.place}: {key} is already defined at {earlier.place}; keep one of the two"
                )
            if name not in pages_of(key) or (statement.described and statement.form in STORED):
                raise SourceError(f"{statement.place}: {key} belongs into {page_name(key)}")
            if not all(address in shape for address in _meant(statement)):
                raise SourceError(f"{statement.place}: {key} names no part of this subject")
            found[key] = statement
    named: dict[str, Statement] = {}
    for statement in found.values():
        for address in _meant(statement) if statement.neurons and statement.form != "channels" else ():
            own = found.get(str(address)) or named.setdefault(str(address), statement)
            if own is not statement:
                raise SourceError(
                    f"{statement.place}: {address} is already defined at {own.place}; keep one of the two"
                )
    return found


def _meant(statement: Statement) -> list[Address]:
    """The addresses that a statement names, one for those of a wildcard."""
    key = statement.key.removesuffix(BESIDE).removesuffix(APART)
    if several := _SEVERAL.fullmatch(key):
        kind: Literal["IN", "OUT"] = "IN" if several[2] == "IN" else "OUT"
        return [Address(kind, int(several[1]), neuron) for neuron in statement.neurons]
    return [Address.parse(key.replace("*", "0000"))]


def read_page(path: Path, hashes: Mapping[str, set[str]], text: str | None = None) -> StatementPage:
    """Parse one file of a program (or `text` in its place). Raises `SourceError` naming file and line."""
    try:
        text = read_text(path, MOST_OF_PAGE) if text is None else text
        tree = _tree(text, path.name)
    except FileNotFoundError:
        raise SourceError(f"{path} is missing; run decompile again to fill the gap") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        raise SourceError(f"{path.name}:{line}: not Python: {getattr(error, 'msg', error)}") from None
    page = StatementPage(path, text, tree, ())
    statements = [found for node in tree.body if (found := read_statement(node, page))]
    owned = (replace(s, by_person=digest(s.text) not in hashes.get(s.record_key, set())) for s in statements)
    abouts = read_abouts(path, tree, page.lines)
    told_of = (replace(a, by_person=digest(a.text) not in hashes.get(a.key, set())) for a in abouts)
    values = _named_values(path, text) if any(map(is_value, tree.body)) else ()
    valued = (replace(v, by_person=digest(v.text) not in hashes.get(f"{VALUE}{v.name}", set())) for v in values)
    return replace(page, statements=tuple(owned), values=tuple(valued), abouts=tuple(told_of))


@kept_until_release(1024)
def _named_values(path: Path, text: str) -> tuple[ValueDef, ...]:
    """The named values of a page; kept, as its tree is."""
    tree = _tree(text, path.name)
    return tuple(content.read_values(path, tree, text.split("\n"), [node for node in tree.body if is_value(node)]))


def read_statement(node: ast.stmt, page: StatementPage) -> Statement | None:
    """The statement that a top-level node makes about an address, None where it makes none."""
    name = page.path.name
    if isinstance(node, ast.FunctionDef):
        calls = [d for d in node.decorator_list if isinstance(d, ast.Call) and _called(d) == "source"]
        if not calls:
            return None
        if len(node.decorator_list) > 1:
            raise SourceError(f"{name}:{node.lineno}: {node.name} has several decorators; a source has @source alone")
        line, key = node.decorator_list[0].lineno, _key(calls[0], name, 1)
        return Statement(
            key, "source", page.path, line, node.end_lineno or line, _text(page, line, node), node.name,
            ast.get_docstring(node), asks=tuple(sorted(told(node))),
        )  # fmt: skip
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return None
    call, end = node.value, node.end_lineno or node.lineno
    text = _text(page, node.lineno, node)
    match _called(call):
        case "raw":
            return Statement(_key(call, name, 1), "raw", page.path, node.lineno, end, text)
        case "constants":
            key, values = _key(call, name, 2), _values(call, name)
            key, about = f"{key}{APART * is_described(name)}", tuple(values)
            return Statement(key, "constants", page.path, node.lineno, end, text, values=values, neurons=about)
        case "fires":
            key, bias, here, before = read_row(call, name)
            if not _NEURON.fullmatch(key):
                raise SourceError(f'{name}:{node.lineno}: fires() is for a neuron, "L01.N0012.IN", not {key!r}')
            return Statement(key, "fires", page.path, node.lineno, end, text, bias=bias, here=here, before=before)
        case "linear":
            key, bias, terms, shared = _sum(call, name)
            return Statement(key, "linear", page.path, node.lineno, end, text, bias=bias, terms=terms, shared=shared)
        case what if what in WIRES:
            key, wires = read_wires(call, name)
            _kind(key, name, call.lineno)
            says = wires.says or None
            return Statement(key, "wired", page.path, node.lineno, end, text, docstring=says, wires=wires)
        case "lifted" | "channels" | "mean" | "means":
            return replace(read_stored(call, name), file=page.path, line=node.lineno, end=end, text=text)
        case _:
            return None


_STORED_AS = {
    "lifted": 'lifted("L00.H02.OV", rank=5): a head (OV or QK), and along how many directions it writes or looks',
    "channels": 'channels("L00.IN", 3, 17, rank=40) or channels("L00.IN", *range(99), rank=40): a layer, neurons '
    "of it, each once, and how many directions they read",
    "mean": 'mean("L00.H03.OV"): a head or an embedding',
    "means": 'means("L00.OUT", 3, 17, 99): a layer, and neurons of it, each once',
}


def read_stored(call: ast.Call, file: str) -> Statement:
    """What a call that lifts says, without its place. Raises `SourceError` for anything else."""
    what = _called(call)
    key, numbers, rank = "", [], 0
    match call:
        case ast.Call(args=[ast.Constant(value=str(key)), *rest], keywords=[]) if what == "means":
            numbers = [entry.value for entry in rest if isinstance(entry, ast.Constant) and type(entry.value) is int]
            good = key.endswith(".OUT") and bool(_SEVERAL.fullmatch(key)) and len(set(numbers)) == len(rest) > 0
        case ast.Call(args=[ast.Constant(value=str(key))], keywords=[]) if what == "mean":
            good = _kind(key, file, call.lineno) in ("QK", "OV", "EMB.TOK", "EMB.POS")
        case ast.Call(
            args=[ast.Constant(value=str(key))], keywords=[ast.keyword(arg="rank", value=ast.Constant(value=int(rank)))]
        ) if what == "lifted":
            good = _kind(key, file, call.lineno) in ("OV", "QK") and type(rank) is int and rank > 0
            key = f"{key}{BESIDE}" if key.endswith(".QK") else key
        case ast.Call(
            args=[ast.Constant(value=str(key)), *rest],
            keywords=[ast.keyword(arg="rank", value=ast.Constant(value=int(rank)))],
        ) if what == "channels":
            numbers = _all_neurons(rest)
            good = key.endswith(".IN") and bool(_SEVERAL.fullmatch(key)) and type(rank) is int and rank > 0
            good = good and len(set(numbers)) == len(numbers) > 0 and min(numbers) >= 0
            key = f"{key}{BESIDE}"
        case _:
            good = False
    if not good:
        raise SourceError(f"{file}:{call.lineno}: expected {_STORED_AS[what]}; not {ast.unparse(call)[:80]}")
    return Statement(key, _FORMS[what], Path(), 0, 0, "", neurons=tuple(numbers), rank=int(rank))


_FORMS: dict[str, StatementForm] = {"lifted": "lifted", "channels": "channels", "mean": "mean", "means": "means"}
_MOST_NEURONS = 1 << 20
"""More than a layer has."""


def _all_neurons(entries: Sequence[ast.expr]) -> list[int]:
    """The neurons that the arguments of `channels` name; [-1] where they are more than a layer can have."""
    named = [_neurons(entry) for entry in entries]
    if sum(map(len, named)) > _MOST_NEURONS:
        return [-1]
    return [neuron for some in named for neuron in some]


def _neurons(entry: ast.expr) -> Sequence[int]:
    """The neurons that an argument of `channels` names: a number, or `*range(…)`; [-1] for anything else."""
    match entry:
        case ast.Constant(value=int(number)) if type(number) is int:
            return [number]
        case ast.Starred(value=ast.Call(func=ast.Name(id="range"), args=ends, keywords=[])) if 1 <= len(ends) <= 2:
            numbers = [end.value for end in ends if isinstance(end, ast.Constant) and type(end.value) is int]
            if len(numbers) == len(ends) and max(numbers) <= _MOST_NEURONS:
                return range(*numbers)
    return [-1]


def _kind(key: str, file: str, line: int) -> str:
    """The kind of an address in a statement. Raises `SourceError` for what is no address."""
    try:
        return Address.parse(key).kind
    except PellucidError as error:
        raise SourceError(f"{file}:{line}: {error}") from None


def require_small(statement: Statement, decoder: Decoder) -> None:
    """Raise `SourceError` unless a lifted part holds at most its share of the raw part's numbers."""
    address = _meant(statement)[0]
    holds = lifted_numbers(address.kind, decoder, rank=statement.rank, sharing=max(1, len(statement.neurons)))
    raw = count(address, decoder)
    if holds <= LIFTED_SHARE * raw:
        return
    advice = _advice(statement, address, decoder)
    raise SourceError(
        f"{statement.place}: {address} would hold {holds:,} numbers where the raw part has {raw:,}; a lifted part may "
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


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _text(page: StatementPage, line: int, node: ast.stmt) -> str:
    return "\n".join(page.lines[line - 1 : node.end_lineno])


def _key(call: ast.Call, file: str, arguments: int) -> str:
    """The address in `raw("…")`, `source("…")` or `constants("…", …)`."""
    what = _called(call)
    place = f"{file}:{call.lineno}"
    first = call.args[0] if len(call.args) == arguments and not call.keywords else None
    if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
        raise SourceError(
            f'{place}: expected {what}("ADDRESS"{", {neuron: value}" * (arguments > 1)}) and nothing else'
        )
    key = first.value
    if what == "constants":
        if not key.endswith(".IN") or not _SEVERAL.fullmatch(key):
            raise SourceError(f'{place}: constants() is for neurons, for example "L00.IN", not {key!r}')
    elif not (what == "raw" and _REST.fullmatch(key)):
        _kind(key, file, call.lineno)
    return key


def _values(call: ast.Call, file: str) -> dict[int, float]:
    """The neurons and their constants in `constants("L00.IN", {12: -0.83})`."""
    try:
        values = ast.literal_eval(call.args[1])
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        values = None
    good = isinstance(values, dict) and all(
        type(neuron) is int and neuron >= 0 and type(value) in (int, float) and abs(value) < 1e30
        for neuron, value in values.items()
    )
    if not good:
        raise SourceError(f"{file}:{call.lineno}: constants() takes {{neuron: number}}, for example {{12: -0.83}}")
    if len(values) < len(getattr(call.args[1], "keys", ())):
        raise SourceError(f"{file}:{call.lineno}: constants() names a neuron twice")
    return {int(neuron): float(value) for neuron, value in values.items()}


def _sum(call: ast.Call, file: str) -> tuple[str, float, dict[str, float], dict[float, tuple[str, ...]]]:
    """Neuron, bias, terms and shared coefficients of `linear("L01.N0012.IN", -0.31, {0.8: (he, she)}, it=-0.2)`."""
    place = f"{file}:{call.lineno}"
    match call.args:
        case [ast.Constant(value=str(key)), bias, *rest] if _NEURON.fullmatch(key) and content.number(bias) is not None:
            _kind(key, file, call.lineno)
            tables = [found for table in rest if isinstance(table, ast.Dict) and (found := read_shared(table))]
            shared = tables[0] if tables else {}
            pairs = [(word.arg, content.number(word.value)) for word in call.keywords]
            pairs += [(name, weight) for weight, names in shared.items() for name in names]
            terms = {name: value for name, value in pairs if name and value is not None}
            if len(terms) == len(pairs) and len(tables) == len(rest) <= 1:
                return key, content.number(bias) or 0.0, terms, shared
    raise SourceError(
        f'{place}: expected linear("L01.N0012.IN", -0.31, he=0.8) or linear("L01.N0012.IN", -0.31, {{0.8: (he, she)}}, '
        "it=-0.2): a neuron, its bias, and values, each once, with their coefficients as numbers; not "
        f"{ast.unparse(call)[:80]}"
    )


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
