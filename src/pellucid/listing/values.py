"""Named values: what heads see of kinds of tokens, the functions that use it, and the neurons that sum values."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from .prelude import VALUES, Floats, Kind, ProgramError, Statement, Value, View
from .runtime import Config, Function, matmul


@dataclass(frozen=True)
class Sight:
    """What a value asks a head for: what it sees of a kind, or of that kind some steps before each key."""

    layer: int
    head: int
    kind: Kind
    steps: int


@dataclass(frozen=True)
class Sum:
    """When a neuron fires: a bias plus named values, each times its coefficient."""

    bias: float
    terms: dict[str, float]


def layer_of(file: str) -> int:
    """The layer that a file is about, -1 for those that are about none."""
    found = re.fullmatch(r"layer_(\d+)\.py", file)
    return int(found[1]) if found else -1


def check_sum(statement: Statement) -> None:
    """Raise `ProgramError` where a `linear` statement names a value that it cannot read."""
    for name in statement.terms:
        if name not in VALUES:
            raise ProgramError(f"{statement}: there is no value {name}; define it here or in an earlier layer")
        if layer_of(VALUES[name].file) > layer_of(statement.file):
            raise ProgramError(f"{statement}: {VALUES[name]} is of a later layer")


class Named:
    """A named value of this program, called with what it asks for."""

    def __init__(self, value: Value, config: Config):
        self.value, self.layer = value, layer_of(value.file)
        if self.layer < 0:
            raise ProgramError(f"{value}: values stand in the files of layers")
        self.function = Function(value.function, value.file, str(value), f"{value.name} (value)")
        before = list(VALUES)[: list(VALUES).index(value.name)]  # files are imported in order of their layers
        for name in self.function.asks:
            if name not in ("here", "seen", *before):
                raise ProgramError(f"{value} asks for {name}; it may ask for here, seen and values defined before it")
        self.values = tuple(name for name in self.function.asks if name not in ("here", "seen"))
        self.sights = tuple(_sights(value)) if "seen" in self.function.asks else ()
        for sight in self.sights:
            if sight.layer > self.layer or sight.head >= config.heads:
                raise ProgramError(
                    f"{value} sees by head {sight.head} of layer {sight.layer}; expected one of {config.heads} heads, "
                    f"of layer {self.layer} or of one before"
                )


def _sights(value: Value) -> Iterable[Sight]:
    """What the text of a value asks heads for, `seen(LAYER, HEAD, KIND)` and `seen(LAYER, HEAD, KIND, STEPS)`."""
    for node in ast.walk(_functions(value.function.__code__.co_filename)[value.name]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "seen":
            layer, head, name, steps = read_seen(node) or (0, 0, "", 0)
            of_kind = value.function.__globals__.get(name)
            if not isinstance(of_kind, Kind):
                raise ProgramError(f"{value}: expected seen(LAYER, HEAD, KIND), not {ast.unparse(node)[:60]}")
            yield Sight(layer, head, of_kind, steps)


def read_seen(call: ast.Call) -> tuple[int, int, str, int] | None:
    """Layer, head, kind and steps of `seen(0, 3, names)` or `seen(0, 3, names, 1)`; None for anything else."""
    match call:
        case ast.Call(
            args=[ast.Constant(value=int(layer)), ast.Constant(value=int(head)), ast.Name(id=name), *rest], keywords=[]
        ):
            match rest:
                case []:
                    return int(layer), int(head), name, 0
                case [ast.Constant(value=int(steps))]:
                    return int(layer), int(head), name, int(steps)
    return None


@cache
def _functions(path: str) -> dict[str, ast.FunctionDef]:
    """The functions of a file."""
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


class Values:
    """The named values of this program, and what heads have to see for those that are `wanted`."""

    def __init__(self, config: Config, wanted: Iterable[str]):
        self.named = {name: Named(value, config) for name, value in VALUES.items()}
        needed = list(dict.fromkeys(wanted))
        for name in needed:
            needed += [other for other in self.named[name].values if other not in needed]
        self.needed = [name for name in self.named if name in needed]
        asked: dict[tuple[int, int], list[tuple[Kind, int]]] = {}
        for name in self.needed:
            for sight in self.named[name].sights:
                asked.setdefault((sight.layer, sight.head), []).append((sight.kind, sight.steps))
        self.asked = {head: tuple(dict.fromkeys(kinds)) for head, kinds in asked.items()}

    def heads(self, layer: int) -> list[int]:
        """The heads of a layer whose patterns are asked for."""
        return sorted(head for at, head in self.asked if at == layer)

    def see(self, layer: int, pattern: Floats, sums: Floats, view: View, first: int) -> None:
        """Keep what heads see of kinds: `pattern` [batch, head, query, key] is of the queries from `first` on.

        Each row is to be divided by `sums` [batch, head, query, 1].
        """
        last, end = first + pattern.shape[2], pattern.shape[3]
        new = view.ids.shape[1] - view.past
        for head in self.heads(layer):
            kinds = self.asked[layer, head]
            said = pattern[:, head] @ view.levels(kinds)[:, :end]  # [batch, query, kind]
            said /= sums[:, head]
            if (layer, head) not in view.seen:
                view.seen[layer, head] = np.empty((len(view.ids), new, len(kinds)), np.float32)
            view.seen[layer, head][:, first:last] = said

    def __call__(self, name: str, view: View) -> Floats:
        """The value of this name at the new positions, [batch, pos]."""
        if name not in view.values:
            found = self.named[name]
            shape = (len(view.ids), view.ids.shape[1] - view.past)

            def seen(layer: int, head: int, of_kind: Kind, steps: int = 0) -> Floats:
                return view.seen[layer, head][..., self.asked[layer, head].index((of_kind, steps))].copy()

            given: dict[str, object] = {"here": view.here, "seen": seen}
            given |= {other: self(other, view).copy() for other in found.values}
            view.values[name] = np.broadcast_to(found.function(shape, given), shape)
        return view.values[name]


class Sums:
    """The neurons of a layer that sum named values, as one multiplication."""

    def __init__(self, values: Values, neurons: list[tuple[int, Sum]]):
        self.values = values
        self.neurons = [neuron for neuron, _ in neurons]
        self.names = list(dict.fromkeys(name for _, how in neurons for name in how.terms))
        row = {name: n for n, name in enumerate(self.names)}
        self.weight = np.zeros((len(self.names), len(neurons)), np.float32)
        for column, (_, how) in enumerate(neurons):
            for name, coefficient in how.terms.items():
                self.weight[row[name], column] = coefficient

    def __call__(self, fires: Floats, view: View) -> None:
        """Add to the pre-activations `fires` [batch, pos, neuron], which hold the biases, what the values amount to."""
        if self.names:
            said = np.stack([self.values(name, view) for name in self.names], -1)  # [batch, pos, value]
            fires[..., self.neurons] += matmul(said, self.weight)
