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

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache
from itertools import chain

from pellucid.base.address import Address
from pellucid.base.kept import kept
from pellucid.family.allowance import lifted_numbers
from pellucid.family.blocks import Decoder
from pellucid.listing.bare import bare
from pellucid.listing.content import imported_kinds
from pellucid.listing.language import OWN, contents, definitions, inside, reachable
from pellucid.listing.numbers import BITS, literal, numbers
from pellucid.listing.parse import Listing, StatementPage
from pellucid.listing.statement import STORED, Statement
from pellucid.listing.word import word_of

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
    return [_count(page, used) if wanted is None else _count_before(page, used) for page in pages]


def _count_before(page: StatementPage, used: Collection[str]) -> tuple[dict[Address, int], dict[str, int]]:
    """What `_count` finds on a page, as it was kept when the same was asked of the same text last."""
    values = [value.name for value in page.values if value.name in used]
    return kept(
        "numbers",
        "\0".join((page.name, *values, "", *sorted(OWN), page.text)),
        lambda: _count(page, values),
        lambda found: [{str(address): held for address, held in found[0].items()}, found[1]],
        lambda data: ({Address.parse(name): held for name, held in data[0].items()}, data[1]),
    )


def _shares(
    listing: Listing, uses: Sequence[Use], values_held: Mapping[str, int], asked: Sequence[Use]
) -> Iterator[tuple[Address, int]]:
    """What every address of `asked` holds of the named values and kinds that it uses; all `uses` share them."""
    tokens = listing.words.tokens if listing.words else {}
    calling = {token: {name for name, kind in listing.kinds.items() if token in kind.called} for token in tokens}
    alike = Counter(kinds for _, _, kinds in uses)  # many parts use the same kinds
    users = Counter({("value", name): n for name, n in Counter(chain(*(values for _, values, _ in uses))).items()})
    wanted = frozenset[str]().union(*(kinds for _, _, kinds in asked))
    called: dict[frozenset[str], list[tuple[str, str]]] = {}
    for kinds, many in alike.items():
        called[kinds] = [("token", name) for name, callers in calling.items() if not kinds.isdisjoint(callers)]
        users.update({("kind", name): many for name in kinds & wanted})
        users.update(dict.fromkeys(called[kinds], many))

    @cache
    def held(what: str, name: str) -> int:
        """The numbers in a value, a kind or a token."""
        if what == "value":
            return values_held[name]
        return numbers(listing.kinds[name].node) if what == "kind" else literal(tokens[name])

    for address, values, kinds in asked:
        named = [*(("value", name) for name in values), *(("kind", name) for name in kinds), *called[kinds]]
        by_users: Counter[int] = Counter()
        for name in named:
            by_users[users[name]] += held(*name)
        yield address, math.ceil(sum((Fraction(total, count) for count, total in by_users.items()), Fraction(0)))


def _uses(listing: Listing) -> Iterator[Use]:
    """Every address that uses named values or kinds, with all that it uses."""
    for page in listing.pages.values():
        for address, statement in page.sources():
            values = listing.values_behind(statement)
            kinds = frozenset(page.kinds_of(statement)).union(*map(listing.kinds_behind, statement.reads))
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
        syntax = sum(inside(defined[name]).nodes for name in names) - FREE_NODES
        terms = sum(bare(defined[name], imported, numbers, own=name == own) for name in names)
        return sum(map(numbers, nodes)) + terms + max(0, math.ceil(syntax / BITS))

    sources: dict[Address, int] = {}
    for address, statement in page.sources():
        sources[address] = function(statement.function) if statement.function else _without_function(statement)
    return sources, {value.name: function(value.name) for value in page.values if value.name in values}


def _without_function(statement: Statement) -> int:
    """The numbers of what is said in a word: for one of its neurons, where it is about several."""
    word = word_of(statement)
    return word.numbers(statement) if word else 1


def count_whole(listing: Listing) -> int | None:
    """All numbers of a program that is source throughout, names of coordinates included; None where it is not."""
    runs = (listing.runs(address) for address in listing.decoder.addresses.addresses())
    if any(statement.part_form != "source" or statement.described for statement in runs):
        return None
    return sum(count_program(listing).values()) + count_stream(listing)


def count_stream(listing: Listing) -> int:
    """The numbers in the names of coordinates, which belong to no part."""
    return sum(map(literal, listing.stream.names)) if listing.stream else 0
