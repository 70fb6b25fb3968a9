"""Kinds of tokens and named values as text: what `words.py` and the `@value` functions of the layer files say."""

from __future__ import annotations

import ast
import keyword
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pellucid.base.address import Shape
from pellucid.base.errors import SourceError, closest
from pellucid.listing.language import (
    ASKED,
    BUILTINS,
    RESERVED,
    WORDS,
    definitions,
    inside,
    is_docstring,
    reachable,
    refuse,
)
from pellucid.program.values import NORMS, is_given, layer_of, norm_of, norm_reached, read_fired, read_seen

PAGE = "words.py"
_EXAMPLE = 'kind({1.0: (" Ada", " Ida"), 0.4: (" Bo",)})'


@dataclass(frozen=True)
class TokenKind:
    """How much each token is of a kind: levels with the tokens, by their text or id, that have them."""

    name: str
    levels: dict[float, tuple[str | int, ...]]
    line: int
    text: str
    called: tuple[str, ...] = ()
    """The tokens that it calls by a name of their own."""

    @cached_property
    def node(self) -> ast.expr:
        """The table of levels, as an expression."""
        statement = ast.parse(self.text).body[0]
        assert isinstance(statement, ast.Assign)
        assert isinstance(statement.value, ast.Call)
        return statement.value.args[0]


@dataclass(frozen=True)
class TokenKinds:
    """`words.py`: the kinds of tokens of a program."""

    path: Path
    text: str
    kinds: dict[str, TokenKind]
    tokens: dict[str, str | int] = field(default_factory=dict)
    """Tokens that have a name of their own."""
    by_person: bool = True


@dataclass(frozen=True)
class SeenBy:
    """What a value asks a head for: what it sees of a kind (or of that kind `steps` before each key), or of a value."""

    layer: int
    head: int
    what: str
    steps: int = 0


@dataclass(frozen=True)
class ValueDef:
    """A named value: a function of a layer file."""

    name: str
    layer: int
    file: Path
    line: int
    """First line, decorators included, counted from 1; `end` is the last one."""
    end: int
    text: str
    docstring: str | None
    asks: tuple[str, ...]
    """The names of its arguments."""
    seen: tuple[SeenBy, ...]
    fired: tuple[tuple[int, int], ...]
    """Layers whose neurons it asks for, each with the last of those."""
    kinds: tuple[str, ...]
    """Those that it uses, by itself or through helper functions."""
    by_person: bool = True

    @property
    def at(self) -> str:
        """File and line, for messages."""
        return f"{self.file.name}:{self.line}"

    @cached_property
    def values(self) -> tuple[str, ...]:
        """The other values that it asks for."""
        return tuple(name for name in self.asks if not is_given(name))


# --- kinds ------------------------------------------------------------------------------------------------------------


def read_words(path: Path, text: str) -> TokenKinds:
    """Parse `words.py`. Raises `SourceError` naming file and line of everything that it may not contain."""
    try:
        tree = ast.parse(text, path.name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        raise SourceError(f"{path.name}:{line}: not Python: {getattr(error, 'msg', error)}") from None
    kinds: dict[str, TokenKind] = {}
    tokens: dict[str, str | int] = {}
    wrong: list[tuple[int, str]] = []
    for number, node in enumerate(tree.body):
        match node:
            case ast.Expr() if number == 0 and is_docstring(node):
                continue
            case ast.ImportFrom(module="prelude", level=1, names=[ast.alias(name="kind", asname=None)]):
                continue
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(func=ast.Name(id="kind"), args=[ast.Dict() as table], keywords=[]),
            ):
                wrong += [(node.lineno, reason) for reason in _name_wrong(name, {*kinds, *tokens})]
                levels, reasons = read_levels(table, tokens)
                wrong += reasons
                lines = text.split("\n")[node.lineno - 1 : node.end_lineno]
                called = {part.id for part in ast.walk(table) if isinstance(part, ast.Name)}
                kinds[name] = TokenKind(name, levels, node.lineno, "\n".join(lines), tuple(sorted(called)))
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant()) if _token(node.value, {}) != -1:
                wrong += [(node.lineno, reason) for reason in _name_wrong(name, {*kinds, *tokens}, token=True)]
                tokens[name] = _token(node.value, {})
            case _:
                wrong.append((node.lineno, f"`{ast.unparse(node)[:60]}`: expected NAME = {_EXAMPLE}"))
    refuse(wrong, path.name)
    return TokenKinds(path, text, kinds, tokens)


def _name_wrong(name: str, known: Collection[str], *, token: bool = False) -> Iterator[str]:
    """Why a kind, or a `token`, may not have this name."""
    if name in known:
        yield f"{name} is defined twice"
    if name.startswith("__") or (not token and name != name.lower()):
        yield f"{name} is not in lower case"
    if name in WORDS | RESERVED | BUILTINS | ASKED:
        yield f"{name} is a word of the language and cannot be given another meaning"


def read_levels(
    table: ast.Dict, named_tokens: Mapping[str, str | int]
) -> tuple[dict[float, tuple[str | int, ...]], list[tuple[int, str]]]:
    """The levels of a kind, or of a neuron's row, with their tokens, and what is wrong with them."""
    levels: dict[float, tuple[str | int, ...]] = {}
    wrong: list[tuple[int, str]] = []
    named: set[str | int] = set()
    for key, entry in zip(table.keys, table.values, strict=True):
        level = number(key)
        entries = entry.elts if isinstance(entry, ast.Tuple) else []
        tokens = tuple(token for entry in entries if (token := _token(entry, named_tokens)) != -1)
        if level is None:
            wrong.append((entry.lineno, f"the level {ast.unparse(key) if key else '**'} is not a number"))
        elif not isinstance(entry, ast.Tuple) or not 0 < len(tokens) == len(entries):
            wrong.append((entry.lineno, f"{ast.unparse(entry)[:60]}: expected tokens, such as (' Ada', ' Ida')"))
        elif level in levels:
            wrong.append((entry.lineno, f"the level {level} is named twice"))
        else:
            levels[level] = tokens
            twice = [t for n, t in enumerate(tokens) if t in named or t in tokens[:n]]
            wrong += [(entry.lineno, f"the token {token!r} is named twice") for token in twice]
            named.update(tokens)
    return levels, wrong or ([] if levels else [(table.lineno, f"no token is named; expected {_EXAMPLE}")])


def _token(node: ast.expr, named: Mapping[str, str | int]) -> str | int:
    """The token that an expression names, by its text, id or name; -1 for anything else."""
    if isinstance(node, ast.Name):
        return named.get(node.id, -1)
    if isinstance(node, ast.Constant) and (isinstance(node.value, str) or type(node.value) is int):
        return node.value if not isinstance(node.value, int) or node.value >= 0 else -1
    return -1


def number(node: ast.expr | None) -> float | None:
    """The number that a literal stands for; None for anything else."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        positive = number(node.operand) if isinstance(node.operand, ast.Constant) else None
        return None if positive is None else -positive
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        value: float = node.value  # type: ignore[assignment]
        return float(value) if abs(value) < 1e30 else None
    return None


# --- values -----------------------------------------------------------------------------------------------------------


def read_values(path: Path, tree: ast.Module, lines: list[str], nodes: Iterable[ast.FunctionDef]) -> Iterator[ValueDef]:
    """The named values among the functions of a page."""
    defined = definitions(tree)
    imported = imported_kinds(tree)
    for node in nodes:
        line = node.decorator_list[0].lineno
        end = node.end_lineno or line
        calls = sorted(inside(node).calls, key=lambda call: (call.lineno, call.col_offset))
        seen = [read_seen(call) for call in calls if _called(call) == "seen"]
        fired = [read_fired(call) for call in calls if _called(call) == "fired"]
        yield ValueDef(
            node.name, layer_of(path.name), path, line, end, "\n".join(lines[line - 1 : end]), ast.get_docstring(node),
            tuple(arg.arg for arg in node.args.args), tuple(SeenBy(*each) for found in seen if found for each in found),
            tuple((found[0], max(found[1])) for found in fired if found),
            tuple(kinds_of(node.name, defined, imported)),
        )  # fmt: skip


def _called(call: ast.Call) -> str:
    """The name that is called."""
    return call.func.id if isinstance(call.func, ast.Name) else ""


def imported_kinds(tree: ast.Module) -> frozenset[str]:
    """The kinds that a page imports."""
    return imported_from(tree, "words")


def imported_from(tree: ast.Module, module: str) -> frozenset[str]:
    """What a page imports from a module beside it."""
    nodes = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == module]
    return frozenset(alias.name for node in nodes for alias in node.names)


def kinds_of(name: str, defined: Mapping[str, ast.FunctionDef | ast.Assign], imported: Collection[str]) -> list[str]:
    """The kinds that a function uses, by itself or through helper functions."""
    if not imported:
        return []
    return sorted({used for own in reachable(name, defined) for used in inside(defined[own]).names} & set(imported))


def check_values(values: Iterable[ValueDef], kinds: Collection[str], shape: Shape) -> None:
    """Raise `SourceError` for values, in the order of the files, whose names or arguments are not as they must be."""
    known: dict[str, ValueDef] = {}
    for value in values:
        if value.layer < 0:
            raise SourceError(f"{value.at}: {value.name} is a value; values stand in the files of layers")
        if earlier := known.get(value.name):
            raise SourceError(f"{value.at}: {value.name} stands at {earlier.at} too; rename one of the two")
        if value.name in kinds or value.name in ASKED or norm_of(value.name) or keyword.iskeyword(value.name):
            raise SourceError(f"{value.at}: {value.name} means something else already; give the value another name")
        for name in value.values:
            if name not in known:
                raise SourceError(
                    f"{value.at}: {value.name} asks for {name}; it may ask for here, seen, fired, scales such as "
                    f"l0_ln2, and values that are defined before it{closest(name, list(known))}"
                )
        for seen in value.seen:
            if not (seen.layer <= value.layer and seen.head < shape.heads):
                raise SourceError(
                    f"{value.at}: {value.name} sees by head {seen.head} of layer {seen.layer}; expected one of "
                    f"{shape.heads} heads, of layer {value.layer} or of one before"
                )
            if seen.what in value.values and known[seen.what].layer >= seen.layer:
                raise SourceError(
                    f"{value.at}: {value.name} sees {seen.what} by a head of layer {seen.layer}; heads see values "
                    f"of earlier layers ({known[seen.what].at})"
                )
        for layer, neuron in value.fired:
            if not (layer <= value.layer and neuron < shape.neurons):
                raise SourceError(
                    f"{value.at}: {value.name} asks for neuron {neuron} of layer {layer}; expected one of "
                    f"{shape.neurons} neurons, of layer {value.layer} or of one before"
                )
        for name in (name for name in value.asks if norm_of(name)):
            if not norm_reached(name, value.layer, shape.layers):
                raise SourceError(f"{value.at}: {value.name} asks for {name}; {NORMS}")
        known[value.name] = value


def is_late(value: ValueDef, values: Mapping[str, ValueDef]) -> bool:
    """Whether its own layer must have run before a value is known, so that its neurons cannot read it."""
    own = any(layer == value.layer for layer, _ in value.fired)
    own = own or any(norm[0] > value.layer for norm in map(norm_of, value.asks) if norm)
    return own or any(
        values[n].layer == value.layer and is_late(values[n], values) for n in value.values if n in values
    )
