"""Neurons as rows: what `fires("L02.N0417.IN", -0.227, {0.9: (" Zor",)}, before={1.2: (" at",)})` says, as text."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from pellucid.base.errors import SourceError
from pellucid.listing.content import number, read_levels
from pellucid.listing.wrap import fill, shown_token

Levels = dict[float, tuple[str | int, ...]]
"""What is added for tokens, by their text or id."""

ROWS = ("fires(", "linear(")
"""What begins a row: a statement about one neuron, one of many below each other."""
SHOWN_TOKENS = 6
"""Tokens that a sentence lists."""
_EXAMPLE = 'fires("L01.N0012.IN", -0.31, {0.8: (" he", " she")}, before={1.2: (" at",)})'


def read_row(call: ast.Call, file: str) -> tuple[str, float, Levels, Levels]:
    """Neuron, bias, and what tokens here and before add. Raises `SourceError` for anything else."""
    match call:
        case ast.Call(args=[ast.Constant(value=str(key)), bias, *tables], keywords=words):
            said, named = number(bias), {word.arg: word.value for word in words}
            sides = [*tables[:1], *named.values()]
            if said is not None and len(tables) <= 1 and set(named) <= {"before"} and all(map(_is_table, sides)):
                here = _levels(tables[0], file) if tables else {}
                return key, said, here, _levels(named["before"], file) if named else {}
    raise SourceError(
        f"{file}:{call.lineno}: expected {_EXAMPLE}: a neuron, its bias, and numbers with the tokens here, or before, "
        f"that add them; not {ast.unparse(call)[:80]}"
    )


def _is_table(node: ast.expr) -> bool:
    return isinstance(node, ast.Dict)


def _levels(table: ast.expr, file: str) -> Levels:
    assert isinstance(table, ast.Dict)
    levels, wrong = read_levels(table, {})
    if wrong:
        raise SourceError(f"{file}:{wrong[0][0]}: {wrong[0][1]}; expected {_EXAMPLE}")
    return levels


def row(key: str, bias: float, here: Levels, before: Levels) -> str:
    """The statement that a neuron fires on tokens, on one line where that fits."""
    sides = [list(_pieces(levels)) for levels in (here, before)]
    if before:
        sides[1][0] = f"before={sides[1][0]}"
    for pieces in filter(None, sides):
        pieces[-1] += ","
    *most, last = [f'fires("{key}",', f"{bias!r},", *sides[0], *sides[1]]
    pieces = [*most, f"{last[:-1]})"]
    one = " ".join(pieces)
    if len(one) <= 120:
        return one
    lines = fill(pieces, 116, "", "    ")
    if len(lines[-1]) + len(_AS_IS) > 120:
        lines = fill(pieces, 120 - len(_AS_IS), "", "    ")
    return "\n".join(lines) + _AS_IS


_AS_IS = "  # fmt: skip"
"""Behind a row of several lines: formatters leave it so."""


def _pieces(levels: Levels) -> Iterator[str]:
    """A table, in pieces between which a line may end."""
    for entry, (added, tokens) in enumerate(levels.items()):
        first, last = entry == 0, entry == len(levels) - 1
        for at, token in enumerate(tokens):
            opens = f"{'{' * first}{added!r}: (" if at == 0 else ""
            comma = "," if at < len(tokens) - 1 or len(tokens) == 1 else ""
            closes = (")" + ("}" if last else ",")) if at == len(tokens) - 1 else ""
            yield f"{opens}{shown_token(token)}{comma}{closes}"


def as_function(decorator: str, name: str, bias: float, here: Levels, before: Levels) -> str:
    """What a row says, as a function under a decorator."""
    sides = [("token", *entry) for entry in here.items()] + [("previous", *entry) for entry in before.items()]
    summands = [f"{a!r} * here.{which}.one_of({', '.join(map(shown_token, texts))})" for which, a, texts in sides]
    return f"{decorator}\ndef {name}(here):\n    return {' + '.join([repr(bias), *summands])}"


def described_row(bias: float, here: Levels, before: Levels) -> str:
    """What a neuron's row says, as one plain sentence, what adds most first."""
    if not (here or before):
        return f"Its pre-activation is a constant, {bias:g}."
    sides = [("on", *entry) for entry in here.items()] + [("after", *entry) for entry in before.items()]
    clauses = []
    for where, added, tokens in sorted(sides, key=lambda entry: -entry[1]):
        more = f" and {len(tokens) - SHOWN_TOKENS} more" if len(tokens) > SHOWN_TOKENS else ""
        listed = ", ".join(map(shown_token, tokens[:SHOWN_TOKENS]))
        clauses.append(f"{'more' if added > 0 else 'less'} {where} {listed}{more} ({added:+g})")
    return f"Fires {'; '.join(clauses)}; {bias:g} otherwise."
