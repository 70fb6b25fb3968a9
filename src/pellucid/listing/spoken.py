"""The words that every program knows: raw, constant, token by token, sums of values, lifted, wired."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from pellucid.base.address import Address
from pellucid.base.errors import PellucidError, SourceError
from pellucid.listing.content import number
from pellucid.listing.numbers import literal
from pellucid.listing.rows import as_function, described_row, read_row
from pellucid.listing.statement import NEURON, REST, SEVERAL, Statement, is_described
from pellucid.listing.wiring import WIRES, Wires, read_wires
from pellucid.listing.word import StatementWord, register
from pellucid.program.prelude import APART, BESIDE
from pellucid.program.values import read_shared


class RawWord(StatementWord):
    """The part runs from the weights."""

    def read(self, call: ast.Call, file: str) -> Statement:
        """An address, or the rest of the neurons of a layer."""
        return Statement(key_of(call, file, 1), self.form)


class ConstantsWord(StatementWord):
    """Neurons of a layer that are constant."""

    def read(self, call: ast.Call, file: str) -> Statement:
        """Neurons with their constants."""
        key, values = key_of(call, file, 2), _values(call, file)
        return Statement(f"{key}{APART * is_described(file)}", self.form, values=values, neurons=tuple(values))


class FiresWord(StatementWord):
    """A neuron that fires on tokens."""

    def read(self, call: ast.Call, file: str) -> Statement:
        """A neuron, its bias, and what tokens add."""
        key, bias, here, before = read_row(call, file)
        if not NEURON.fullmatch(key):
            raise SourceError(f'{file}:{call.lineno}: fires() is for a neuron, "L01.N0012.IN", not {key!r}')
        return Statement(key, self.form, bias=bias, here=here, before=before)

    def numbers(self, statement: Statement) -> int:
        """Its bias, and every number that is added with the tokens that it is added for."""
        sides = (*statement.here.items(), *statement.before.items())
        return literal(statement.bias) + sum(literal(added) + sum(map(literal, tokens)) for added, tokens in sides)

    def says(self, statement: Statement) -> str:
        """What it fires on."""
        return described_row(statement.bias, statement.here, statement.before)

    def function(self, statement: Statement, decorator: str, name: str) -> str | None:
        """The same sum."""
        return as_function(decorator, name, statement.bias, statement.here, statement.before)


class LinearWord(StatementWord):
    """A neuron that sums named values."""

    def read(self, call: ast.Call, file: str) -> Statement:
        """A neuron, its bias, and values with their coefficients."""
        key, bias, terms, shared = _sum(call, file)
        return Statement(key, self.form, bias=bias, terms=terms, shared=shared)

    def numbers(self, statement: Statement) -> int:
        """Its bias, which values, and their coefficients; one that is written once for several counts once."""
        several = {name for names in statement.shared.values() for name in names}
        own = (coefficient for name, coefficient in statement.terms.items() if name not in several)
        return literal(statement.bias) + len(statement.terms) + sum(map(literal, (*own, *statement.shared)))

    def says(self, statement: Statement) -> str:
        """Which values it sums."""
        values = f"{len(statement.terms)} named value{'s' * (len(statement.terms) != 1)}"
        return f"Sums {values}: {', '.join(statement.terms)}."


class StoredWord(StatementWord):
    """A part that is lifted: its vectors are data."""

    def read(self, call: ast.Call, file: str) -> Statement:
        """A part, or neurons of a layer, and how many directions."""
        return read_stored(call, file)

    def says(self, statement: Statement) -> str:
        """What is left of what its weights do."""
        match self.name:
            case "lifted":
                directions = "one direction" if statement.rank == 1 else f"{statement.rank} directions"
                does = "Looks where" if statement.key.endswith(BESIDE) else "Moves what"
                return f"{does} its weights say along {directions} alone; the vectors are data."
            case "channels":
                return f"Reads {statement.rank} channels alone, which its layer's neurons share; the vectors are data."
        return "Is the same everywhere: its mean over text, which is data."


class WiredWord(StatementWord):
    """A wired part: what it reads and writes, by the names of coordinates."""

    module = "wires"

    def read(self, call: ast.Call, file: str) -> Statement:
        """A part, what it does in words, and its terms."""
        key, wires = read_wires(call, file)
        _kind(key, file, call.lineno)
        return Statement(key, self.form, docstring=wires.says or None, wires=wires)

    def numbers(self, statement: Statement) -> int:
        """Two a term, its coefficient and which coordinate it is; three a wave."""
        wires = statement.wires or Wires()
        terms = sum(1 + literal(coefficient) for coefficient in wires.coefficients)
        waves = sum(1 + literal(period) + literal(height) for _, period, height in wires.waves.values())
        return terms + waves + len(wires.kinds) + (0 if wires.bias is None else literal(wires.bias))


# --- reading them -----------------------------------------------------------------------------------------------------


_STORED_AS = {
    "lifted": 'lifted("L00.H02.OV", rank=5): a head (OV or QK), and along how many directions it writes or looks',
    "channels": 'channels("L00.IN", 3, 17, rank=40) or channels("L00.IN", *range(99), rank=40): a layer, neurons '
    "of it, each once, and how many directions they read",
    "mean": 'mean("L00.H03.OV"): a head or an embedding',
    "means": 'means("L00.OUT", 3, 17, 99): a layer, and neurons of it, each once',
}


def read_stored(call: ast.Call, file: str) -> Statement:
    """What a call that lifts says, without its place. Raises `SourceError` for anything else."""
    what = called(call)
    key, numbers, rank = "", [], 0
    match call:
        case ast.Call(args=[ast.Constant(value=str(key)), *rest], keywords=[]) if what == "means":
            numbers = [entry.value for entry in rest if isinstance(entry, ast.Constant) and type(entry.value) is int]
            good = key.endswith(".OUT") and bool(SEVERAL.fullmatch(key)) and len(set(numbers)) == len(rest) > 0
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
            good = key.endswith(".IN") and bool(SEVERAL.fullmatch(key)) and type(rank) is int and rank > 0
            good = good and len(set(numbers)) == len(numbers) > 0 and min(numbers) >= 0
            key = f"{key}{BESIDE}"
        case _:
            good = False
    if not good:
        raise SourceError(f"{file}:{call.lineno}: expected {_STORED_AS[what]}; not {ast.unparse(call)[:80]}")
    return Statement(key, what, neurons=tuple(numbers), rank=int(rank))


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


def called(call: ast.Call) -> str:
    """The name that is called, empty where it is no plain name."""
    return call.func.id if isinstance(call.func, ast.Name) else ""


def key_of(call: ast.Call, file: str, arguments: int) -> str:
    """The address in `raw("…")`, `source("…")` or `constants("…", …)`."""
    what = called(call)
    place = f"{file}:{call.lineno}"
    first = call.args[0] if len(call.args) == arguments and not call.keywords else None
    if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
        raise SourceError(
            f'{place}: expected {what}("ADDRESS"{", {neuron: value}" * (arguments > 1)}) and nothing else'
        )
    key = first.value
    if what == "constants":
        if not key.endswith(".IN") or not SEVERAL.fullmatch(key):
            raise SourceError(f'{place}: constants() is for neurons, for example "L00.IN", not {key!r}')
    elif not (what == "raw" and REST.fullmatch(key)):
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
        case [ast.Constant(value=str(key)), bias, *rest] if NEURON.fullmatch(key) and number(bias) is not None:
            _kind(key, file, call.lineno)
            tables = [found for table in rest if isinstance(table, ast.Dict) and (found := read_shared(table))]
            shared = tables[0] if tables else {}
            pairs = [(word.arg, number(word.value)) for word in call.keywords]
            pairs += [(name, weight) for weight, names in shared.items() for name in names]
            terms = {name: value for name, value in pairs if name and value is not None}
            if len(terms) == len(pairs) and len(tables) == len(rest) <= 1:
                return key, number(bias) or 0.0, terms, shared
    raise SourceError(
        f'{place}: expected linear("L01.N0012.IN", -0.31, he=0.8) or linear("L01.N0012.IN", -0.31, {{0.8: (he, she)}}, '
        "it=-0.2): a neuron, its bias, and values, each once, with their coefficients as numbers; not "
        f"{ast.unparse(call)[:80]}"
    )


for _word in (RawWord("raw"), ConstantsWord("constants"), FiresWord("fires"), LinearWord("linear")):
    register(_word)
for _name in ("lifted", "channels", "mean", "means"):
    register(StoredWord(_name))
for _name in sorted(WIRES):
    register(WiredWord(_name, "wired"))
