"""How many numbers a source holds: the measure that keeps a table from passing for an explanation.

Every literal number is one, every element of a collection at least one, and so is every started 16 bits of a text or an
integer; a float of more than 9 digits counts the rest by started 16 bits as well. Helper functions and named constants
count where they are first used, once a file. Docstrings, addresses, `None` and `...` are free, and so are the first 256
nodes of a source's syntax; beyond them every started 16 nodes count as one, so that operators cannot spell a table.

In a sum, a kind or a value that stands there without a number of its own counts as one, and so does one that is bound
to a local name, added with ``+=`` or handed to a function: terms behind one coefficient, or none, are no cheaper than
those that have their own.

A neuron that fires on tokens holds its bias, and for each number that is added that number and the tokens. One that
sums named values holds its bias, and two numbers a term: the coefficient, and which value it is; a
coefficient that is written once for several values counts once. A wired part holds two a term likewise. Values count as
sources do, and a kind of tokens as the table that it is; each is shared out equally among all addresses that use it,
directly or through values, and rounded up for each of them, so that the sum is never below what is there.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from types import EllipsisType

from pellucid.base.address import Address
from pellucid.family.allowance import lifted_numbers
from pellucid.family.blocks import Decoder
from pellucid.listing.bare import bare
from pellucid.listing.content import imported_kinds, kinds_of
from pellucid.listing.language import contents, definitions, reachable
from pellucid.listing.parse import STORED, Listing, Statement, StatementPage
from pellucid.listing.wiring import Wires

BITS = 16
FREE_NODES = 256


def count_program(listing: Listing, wanted: Collection[Address] | None = None) -> dict[Address, int]:
    """The numbers in every source of a program, and those of every lifted part, by address; raw parts are not in it.

    With `wanted` only pages are counted that hold one of these addresses, or what it uses.
    """
    uses = list(_uses(listing))
    asked = uses if wanted is None else [use for use in uses if use[0] in wanted]
    needed = {name for _, values, _ in asked for name in values}
    counted = _counted(listing, uses, needed, wanted)
    found = {address: held for sources, _ in counted for address, held in sources.items()}
    values_held = {name: held for _, values in counted for name, held in values.items()}
    for address, held in _shares(listing, uses, values_held, asked):
        found[address] += held
    for page in listing.pages.values():
        for address, statement in page.explained():
            if address not in found and statement.form in STORED:
                found[address] = numbers_lifted(address, statement, listing.decoder)
    return found


def count_lifted(listing: Listing) -> dict[Address, int]:
    """The numbers in every lifted part of a program, those beside a source too, by address."""
    explained = (found for page in listing.pages.values() for found in page.explained())
    return {a: numbers_lifted(a, said, listing.decoder) for a, said in explained if said.form in STORED}


def numbers_lifted(address: Address, statement: Statement, decoder: Decoder) -> int:
    """The numbers in a lifted part, with its share of those that neurons of its layer hold together."""
    return lifted_numbers(address.kind, decoder, rank=statement.rank, sharing=max(1, len(statement.neurons)))


Named = tuple[str, str]
"""A value, kind or token: which of these, and its name."""
Use = tuple[Address, Collection[str], frozenset[str]]
"""An address with the named values and the kinds that it uses."""


def count_page(page: StatementPage) -> dict[Address, int]:
    """The numbers in every source of a page, by address. A constant neuron holds one; shares are not in it."""
    return _count(page, ())[0]


def count_values(listing: Listing) -> dict[str, int]:
    """The numbers in every named value that some neuron reads, directly or through others, by its name."""
    used = {name for _, values, _ in _uses(listing) for name in values}
    return {name: held for page in listing.pages.values() for name, held in _count(page, used)[1].items()}


def count_shares(listing: Listing) -> dict[Address, int]:
    """What every address holds of the named values and kinds that it uses, each shared equally among its users."""
    uses = list(_uses(listing))
    return dict(_shares(listing, uses, count_values(listing), uses))


def _counted(
    listing: Listing, uses: Iterable[Use], needed: Collection[str], wanted: Collection[Address] | None
) -> list[tuple[dict[Address, int], dict[str, int]]]:
    """What `_count` finds on every page, or on those that hold one of `wanted` or a value that is `needed`."""
    used = {name for _, values, _ in uses for name in values}
    pages = [
        page
        for page in listing.pages.values()
        if wanted is None
        or any(value.name in needed for value in page.values)
        or any(address in wanted for address, _ in page.sources())
    ]
    return [_count(page, used) for page in pages]


def _shares(
    listing: Listing, uses: Iterable[Use], values_held: Mapping[str, int], asked: Iterable[Use]
) -> Iterator[tuple[Address, int]]:
    """What every address of `asked` holds of the named values and kinds that it uses; all `uses` share them."""
    held: dict[Named, int] = {("value", name): n for name, n in values_held.items()}
    held |= {("kind", name): numbers(kind.node) for name, kind in listing.kinds.items()}
    held |= {("token", name): literal(text) for name, text in (listing.words.tokens if listing.words else {}).items()}
    called: dict[frozenset[str], frozenset[str]] = {}

    def named(values: Collection[str], kinds: frozenset[str]) -> Iterator[Named]:
        """Values and kinds, and the tokens that these kinds call by a name."""
        if kinds not in called:
            called[kinds] = frozenset(token for kind in kinds for token in listing.kinds[kind].called)
        for what, names in (("value", values), ("kind", kinds), ("token", called[kinds])):
            yield from ((what, name) for name in names)

    users = Counter(used for _, values, kinds in uses for used in named(values, kinds))
    for address, values, kinds in asked:
        yield address, _shared(held, users, named(values, kinds))


def _shared(held: Mapping[Named, int], users: Mapping[Named, int], used: Iterable[Named]) -> int:
    """A share of all that is `used` of what is `held`, each by so many `users` alike, rounded up."""
    by_users: Counter[int] = Counter()
    for name in used:
        by_users[users[name]] += held[name]
    return math.ceil(sum((Fraction(total, count) for count, total in by_users.items()), Fraction(0)))


def _uses(listing: Listing) -> Iterator[Use]:
    """Every address that uses named values or kinds, with all that it uses."""
    for page in listing.pages.values():
        defined, imported = definitions(page.tree), imported_kinds(page.tree)
        for address, statement in page.sources():
            values = listing.values_of(statement) if statement.reads else []
            kinds = frozenset[str]().union(*map(listing.kinds_behind, statement.reads))
            if statement.function:
                kinds |= set(kinds_of(statement.function, defined, imported))
            if statement.wires:
                kinds |= set(statement.wires.kinds.values())
            if values or kinds:
                yield address, values, kinds


def numbers_of(page: StatementPage) -> int:
    """All numbers in the sources and the named values of a page."""
    return sum(sum(found.values()) for found in _count(page, [value.name for value in page.values]))


def _count(page: StatementPage, values: Collection[str]) -> tuple[dict[Address, int], dict[str, int]]:
    """The numbers in the sources of a page, and in those of its named values that are in `values`."""
    defined, imported = definitions(page.tree), imported_kinds(page.tree)
    counted: set[str] = set()

    def function(own: str) -> int:
        names = [name for name in reachable(own, defined) if name not in counted]
        counted.update(names)
        nodes = [node for name in names for node in contents(defined[name])]
        syntax = sum(1 for node in nodes for _ in ast.walk(node)) - FREE_NODES
        terms = sum(bare(defined[name], imported, numbers, own=name == own) for name in names)
        return sum(map(numbers, nodes)) + terms + max(0, math.ceil(syntax / BITS))

    sources: dict[Address, int] = {}
    for address, statement in page.sources():
        sources[address] = function(statement.function) if statement.function else _without_function(statement)
    return sources, {value.name: function(value.name) for value in page.values if value.name in values}


def _without_function(statement: Statement) -> int:
    """The numbers of one neuron that is constant, fires on tokens or sums named values, or of a wired part."""
    if statement.wires:
        return _wired(statement.wires)
    if statement.form == "fires":
        sides = (*statement.here.items(), *statement.before.items())
        return literal(statement.bias) + sum(literal(added) + sum(map(literal, tokens)) for added, tokens in sides)
    if statement.form != "linear":
        return 1
    several = {name for names in statement.shared.values() for name in names}
    own = (coefficient for name, coefficient in statement.terms.items() if name not in several)
    return literal(statement.bias) + len(statement.terms) + sum(map(literal, (*own, *statement.shared)))


def _wired(wires: Wires) -> int:
    """The numbers of a wired part: two a term, its coefficient and which coordinate it is; three a wave."""
    terms = sum(1 + literal(coefficient) for coefficient in wires.coefficients)
    waves = sum(1 + literal(period) + literal(height) for _, period, height in wires.waves.values())
    return terms + waves + len(wires.kinds) + (0 if wires.bias is None else literal(wires.bias))


def count_whole(listing: Listing) -> int | None:
    """All numbers of a program that is source throughout, names of coordinates included; None where it is not."""
    runs = (listing.runs(address) for address in listing.decoder.addresses.addresses())
    if any(statement.part_form != "source" or statement.described for statement in runs):
        return None
    return sum(count_program(listing).values()) + count_stream(listing)


def count_stream(listing: Listing) -> int:
    """The numbers in the names of coordinates, which belong to no part."""
    return sum(map(literal, listing.stream.names)) if listing.stream else 0


def numbers(node: ast.AST) -> int:
    """The numbers in an expression or statement."""
    match node:
        case ast.Constant(value=value):
            return literal(value)
        case ast.Subscript(slice=ast.Tuple(elts=places)):
            return numbers(node.value) + sum(map(numbers, places))  # x[..., None] is no collection
        case ast.Tuple(ctx=ast.Load()) | ast.List() | ast.Set() | ast.Dict():
            return sum(max(1, numbers(element)) for element in _elements(node))
        case _:
            return sum(map(numbers, ast.iter_child_nodes(node)))


def _elements(node: ast.expr) -> Iterator[ast.AST]:
    """The elements of a collection, keys and values alike."""
    yield from (child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))


def literal(value: object) -> int:
    """The numbers in one literal."""
    match value:
        case None | EllipsisType():
            return 0
        case bool():
            return 1
        case int():
            return max(1, math.ceil(value.bit_length() / BITS))
        case float():
            digits = len(Decimal(repr(value)).normalize().as_tuple().digits)
            return 1 + max(0, math.ceil((digits - 9) * math.log2(10) / BITS))
        case _:
            return max(1, math.ceil(8 * len(str(value).encode("utf-8", "surrogatepass")) / BITS))
