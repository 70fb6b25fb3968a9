"""Wired parts as text: what the statements of `wires.py` and `stream.py` say, read without running them."""

from __future__ import annotations

import ast
import keyword
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pellucid.base.errors import SourceError, closest
from pellucid.listing.content import number
from pellucid.program.wires import ONE

PAGE = "stream.py"
WIRES = frozenset({"looks", "moves", "reads", "writes", "plain", "tokens", "says", "waves"})
"""The statements about wired parts."""
_SIDES = {"looks": ("seeks", "offers"), "moves": ("takes", "gives")}
_ENDS = {
    "looks": (".QK",),
    "moves": (".OV",),
    "reads": (".IN",),
    "writes": (".OUT", ".ATTN.B", ".MLP.B"),
    "plain": (".LN1", ".LN2", "LNF"),
    "tokens": ("EMB.TOK",),
    "says": ("UNEMB",),
    "waves": ("EMB.POS",),
}
_EXAMPLES = {
    "looks": 'looks("L02.H05.QK", "From gave to names.", seeks(gave=1.2, one=0.3), offers(person=0.9))',
    "moves": 'moves("L02.H05.OV", "Moves the name.", takes(person=1), gives(answer=0.8))',
    "reads": 'reads("L02.N0017.IN", "On an answer.", -1.2, answer=0.7)',
    "writes": 'writes("L02.N0017.OUT", "", answer=0.5)',
    "plain": 'plain("L02.LN1")',
    "tokens": 'tokens("EMB.TOK", "", person=people)',
    "says": 'says("UNEMB", "", answer=places)',
    "waves": 'waves("EMB.POS", "", turn=sine(8, 0.2))',
}

Terms = dict[str, float]


@dataclass(frozen=True)
class Wires:
    """What a wired part reads and writes, by the names of coordinates."""

    says: str = ""
    pairs: tuple[tuple[Terms, Terms], ...] = ()
    """Of a head: what it seeks and what a key offers, or what it takes and what it gives."""
    terms: Terms = field(default_factory=dict)
    bias: float | None = None
    kinds: dict[str, str] = field(default_factory=dict)
    """Of the token embedding: kinds of `words.py`."""
    waves: dict[str, tuple[str, float, float]] = field(default_factory=dict)
    """Of the position embedding: sine or cosine, period in positions, height."""

    @property
    def names(self) -> set[str]:
        """The coordinates that it names."""
        sides = [side for pair in self.pairs for side in pair]
        named: list[Mapping[str, object]] = [*sides, self.terms, self.kinds, self.waves]
        return {name for terms in named for name in terms} - {ONE}

    @property
    def coefficients(self) -> list[float]:
        """All coefficients of its coordinates."""
        sides = [side for pair in self.pairs for side in pair]
        return [coefficient for terms in (*sides, self.terms) for coefficient in terms.values()]


@dataclass(frozen=True)
class StreamNames:
    """`stream.py`: the names of the coordinates of the residual stream, and which are minus what their names say."""

    path: Path
    text: str
    names: tuple[str, ...]
    signs: tuple[int, ...]
    by_person: bool = True


def read_stream(path: Path, text: str) -> StreamNames:
    """Parse `stream.py`. Raises `SourceError` for anything but one statement that names coordinates."""
    try:
        nodes = ast.parse(text, path.name).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SourceError(f"{path.name}:{getattr(error, 'lineno', None) or 1}: not Python: {error}") from None
    match [node for node in nodes if not _is_text(node)]:
        case [
            ast.ImportFrom(module="wires", level=1, names=[ast.alias(name="coordinates", asname=None)]),
            ast.Expr(value=ast.Call(func=ast.Name(id="coordinates"), args=args, keywords=[])),
        ]:
            written = [
                arg.value if isinstance(arg, ast.Constant) and isinstance(arg.value, str) else "" for arg in args
            ]
            names = tuple(name.removeprefix("-") for name in written)
            for arg, name in zip(args, names, strict=True):
                good = name.isidentifier() and not keyword.iskeyword(name) and name != ONE
                if not good or names.count(name) > 1:
                    raise SourceError(
                        f"{path.name}:{arg.lineno}: {ast.unparse(arg)[:60]} cannot name a coordinate; expected names "
                        'such as "person", or "-person" for what is minus that, each once'
                    )
            return StreamNames(path, text, names, tuple(-1 if name.startswith("-") else 1 for name in written))
    raise SourceError(f'{path.name}:1: expected `from .wires import coordinates`, and coordinates("person", …)')


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def read_wires(call: ast.Call, file: str) -> tuple[str, Wires]:
    """Address and content of a statement about a wired part. Raises `SourceError` for anything else."""
    what = call.func.id if isinstance(call.func, ast.Name) else ""
    try:
        return _read(what, call)
    except (ValueError, TypeError):
        raise SourceError(f"{file}:{call.lineno}: expected {_EXAMPLES[what]}; not {ast.unparse(call)[:80]}") from None


def _read(what: str, call: ast.Call) -> tuple[str, Wires]:
    key, *rest = call.args
    if not isinstance(key, ast.Constant) or not isinstance(key.value, str) or not key.value.endswith(_ENDS[what]):
        raise ValueError(what)
    if what == "plain":
        if rest or call.keywords:
            raise ValueError(what)
        return key.value, Wires()
    says, *rest = rest
    if not isinstance(says, ast.Constant) or not isinstance(says.value, str):
        raise ValueError(what)
    if what in _SIDES:
        if call.keywords:
            raise ValueError(what)
        sides = [_side(node, _SIDES[what][place % 2]) for place, node in enumerate(rest)]
        return key.value, Wires(says.value, tuple(zip(sides[::2], sides[1::2], strict=True)))
    if what == "reads":
        (bias,) = map(_number, rest)
        return key.value, Wires(says.value, terms=_terms(call), bias=bias)
    if rest:
        raise ValueError(what)
    if what == "writes":
        return key.value, Wires(says.value, terms=_terms(call))
    if what in ("tokens", "says"):
        return key.value, Wires(says.value, kinds={_word(word): _name(word.value) for word in call.keywords})
    return key.value, Wires(says.value, waves={_word(word): _wave(word.value) for word in call.keywords})


def _side(node: ast.expr, what: str) -> Terms:
    match node:
        case ast.Call(func=ast.Name(id=name), args=[]) if name == what:
            return _terms(node)
    raise ValueError(what)


def _terms(call: ast.Call) -> Terms:
    terms = {_word(word): _number(word.value) for word in call.keywords}
    if len(terms) < len(call.keywords):
        raise ValueError("twice")
    return terms


def _word(word: ast.keyword) -> str:
    if word.arg is None:
        raise ValueError("**")
    return word.arg


def _number(node: ast.expr) -> float:
    found = number(node)
    if found is None:
        raise ValueError("number")
    return found


def _name(node: ast.expr) -> str:
    if not isinstance(node, ast.Name):
        raise ValueError("kind")
    return node.id


def _wave(node: ast.expr) -> tuple[str, float, float]:
    match node:
        case ast.Call(func=ast.Name(id="sine" | "cosine" as form), args=[period, height], keywords=[]):
            return form, _number(period), _number(height)
    raise ValueError("wave")


def check_wires(found: Mapping[str, tuple[str, Wires]], stream: StreamNames | None, kinds: Collection[str]) -> None:
    """Raise `SourceError` where wired parts, by key with their places, name coordinates or kinds that are not there."""
    for key, (place, wires) in found.items():
        for name in sorted(wires.names - set(stream.names if stream else ())):
            near = closest(name, list(stream.names)) if stream else "; stream.py is missing"
            raise SourceError(f"{place}: {key} names {name}, but there is no such coordinate{near}")
        for kind in wires.kinds.values():
            if kind not in kinds:
                raise SourceError(f"{place}: {key} names {kind}; words.py has no such kind{closest(kind, list(kinds))}")
