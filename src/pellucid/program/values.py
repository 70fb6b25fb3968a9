"""Named values: what heads see, what neurons fire, the functions that use it, and the neurons that sum values."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .prelude import VALUES, Floats, Kind, Place, ProgramError, Statement, Value, View
from .runtime import Config, Function, matmul


@dataclass(frozen=True)
class Sight:
    """What a value asks a head for: what it sees of a kind, of that kind some steps before each key, or of a value."""

    layer: int
    head: int
    what: Kind | str
    steps: int


@dataclass(frozen=True)
class Sum:
    """When a neuron fires: a bias plus named values, each times its coefficient."""

    bias: float
    terms: dict[str, float]


@dataclass(frozen=True)
class Told:
    """A named value of an earlier layer as heads ask for it: `l1_after_he(query)`, `l1_after_he(key)`."""

    said: Floats  # [batch, all positions so far]

    def __call__(self, place: Place) -> Floats:
        """The value at a query or key, in the shape of that."""
        if not isinstance(place, Place):
            raise TypeError(f"a value is asked for at a place, query or key, not {place!r:.40}")
        return self.said[:, place.first : place.last][place.axes].copy()


def layer_of(file: str) -> int:
    """The layer that a file is about, -1 for those that are about none."""
    found = re.fullmatch(r"(layer|described)_(\d+)\.py", file)
    return int(found[2]) if found else -1


def check_sum(statement: Statement) -> None:
    """Raise `ProgramError` where a `linear` statement names a value that it cannot read."""
    for name in statement.terms:
        if name not in VALUES:
            raise ProgramError(f"{statement}: there is no value {name}; define it here or in an earlier layer")
        if layer_of(VALUES[name].file) > layer_of(statement.file):
            raise ProgramError(f"{statement}: {VALUES[name]} is of a later layer")


def check_asked(statement: Statement, asked: Iterable[str]) -> None:
    """Raise `ProgramError` where a head asks for a value that is not there before it looks."""
    for name in asked:
        if name not in VALUES:
            raise ProgramError(f"{statement}: there is no value {name}; define it in an earlier layer")
        if layer_of(VALUES[name].file) >= layer_of(statement.file):
            raise ProgramError(
                f"{statement}: {VALUES[name]} is not of an earlier layer, as what a head asks for must be"
            )


class Named:
    """A named value of this program, called with what it asks for."""

    def __init__(self, value: Value, config: Config):
        self.value, self.layer = value, layer_of(value.file)
        if self.layer < 0:
            raise ProgramError(f"{value}: values stand in the files of layers")
        self.function = Function(value.function, value.file, str(value), f"{value.name} (value)")
        before = list(VALUES)[: list(VALUES).index(value.name)]  # files are imported in order of their layers
        for name in self.function.asks:
            if not is_given(name) and name not in before:
                raise ProgramError(
                    f"{value} asks for {name}; it may ask for here, seen, fired, scales such as l0_ln2, and values "
                    "defined before it"
                )
        self.values = tuple(name for name in self.function.asks if not is_given(name))
        self.norms = tuple(name for name in self.function.asks if norm_of(name))
        self.sights = tuple(_sights(value, self.values)) if "seen" in self.function.asks else ()
        self.fired = tuple(_fired(value)) if "fired" in self.function.asks else ()
        for sight in self.sights:
            if sight.layer > self.layer or sight.head >= config.heads:
                raise ProgramError(
                    f"{value} sees by head {sight.head} of layer {sight.layer}; expected one of {config.heads} heads, "
                    f"of layer {self.layer} or of one before"
                )
            if isinstance(sight.what, str) and layer_of(VALUES[sight.what].file) >= sight.layer:
                raise ProgramError(
                    f"{value} sees {sight.what} by a head of layer {sight.layer}; heads see values of earlier layers"
                )
        for name in self.norms:
            if not norm_reached(name, self.layer, config.layers):
                raise ProgramError(f"{value} asks for {name}; {NORMS}")
        if late := [layer for layer in self.fired if layer > self.layer]:
            raise ProgramError(f"{value} asks what layer {late[0]} fired, which comes later")


GIVEN = ("here", "seen", "fired")  # what a value may ask for beside scales and other values
NORMS = "it may ask for the scales of norms of its layer and those before, and of the next one's in front of heads"


def norm_of(name: str) -> tuple[int, int] | None:
    """The layer of the norm whose scale has this name, and which it is there, 1 or 2: `l0_ln2`; None for others."""
    found = re.fullmatch(r"l(0|[1-9]\d{0,8})_ln([12])", name)
    return (int(found[1]), int(found[2])) if found else None


def norm_reached(name: str, layer: int, layers: int) -> bool:
    """Whether a value of `layer` may ask for the scale of this name, in a model of so many `layers`."""
    at, which = norm_of(name) or (layers, 0)
    return at < layers and at <= layer + (which == 1)


def is_given(name: str) -> bool:
    """Whether a value may ask for this beside other values."""
    return name in GIVEN or norm_of(name) is not None


def _calls(value: Value, name: str) -> Iterable[ast.Call]:
    """The calls of `name` in the text of a value."""
    for node in ast.walk(_functions(value.function.__code__.co_filename)[value.name]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node


def _sights(value: Value, values: tuple[str, ...]) -> Iterable[Sight]:
    """What the text of a value asks heads for: `seen(LAYER, HEAD, KIND)`, also with STEPS, or with one of `values`."""
    for node in _calls(value, "seen"):
        for layer, head, name, steps in read_seen(node) or ((0, 0, "", 0),):
            what = name if name in values and not steps else value.function.__globals__.get(name)
            if not isinstance(what, Kind | str):
                raise ProgramError(
                    f"{value}: expected seen(LAYER, HEAD, KIND), or {{NUMBER: (KIND, …)}}; not {ast.unparse(node)[:60]}"
                )
            yield Sight(layer, head, what, steps)


def _fired(value: Value) -> Iterable[int]:
    """The layers whose neurons a value asks for, by `fired(LAYER, {NEURON: COEFFICIENT})`."""
    for node in _calls(value, "fired"):
        found = read_fired(node)
        if found is None:
            expected = "fired(LAYER, {NEURON: NUMBER}), or {NUMBER: (NEURON, …)}"
            raise ProgramError(f"{value}: expected {expected}; not {ast.unparse(node)[:60]}")
        yield found[0]


def read_seen(call: ast.Call) -> tuple[tuple[int, int, str, int], ...] | None:
    """Layer, head, kind and steps of all that a call of `seen` asks for; None for anything else.

    `seen(0, 3, names)`, `seen(0, 3, names, 1)`, or a sum, `seen(0, 3, {0.8: (names, titles), -0.3: (verbs,)})`.
    """
    match call:
        case ast.Call(
            args=[ast.Constant(value=int(layer)), ast.Constant(value=int(head)), ast.Name(id=name), *rest], keywords=[]
        ):
            match rest:
                case []:
                    return ((int(layer), int(head), name, 0),)
                case [ast.Constant(value=int(steps))]:
                    return ((int(layer), int(head), name, int(steps)),)
        case ast.Call(
            args=[ast.Constant(value=int(layer)), ast.Constant(value=int(head)), ast.Dict() as table], keywords=[]
        ):
            names = [name for members in (read_shared(table) or {}).values() for name in members]
            return tuple((int(layer), int(head), name, 0) for name in names) if names else None
    return None


_MOST = 1e30  # numbers are smaller


def read_shared(table: ast.Dict) -> dict[float, tuple[str, ...]] | None:
    """Each number of `{0.8: (he, she), -0.3: (it,)}` with the names that share it; None for anything else."""
    found: dict[float, tuple[str, ...]] = {}
    for key, entry in zip(table.keys, table.values, strict=True):
        parts = entry.elts if isinstance(entry, ast.Tuple) else []
        names = tuple(part.id for part in parts if isinstance(part, ast.Name))
        try:
            weight: Any = ast.literal_eval(key) if key else None
        except (ValueError, TypeError):
            return None
        if not _is_number(weight) or not 0 < len(names) == len(parts):
            return None
        found[float(weight)] = names
    once = [name for names in found.values() for name in names]
    return found if len(found) == len(table.keys) > 0 and len(once) == len(set(once)) else None


def read_fired(call: ast.Call) -> tuple[int, dict[int, float]] | None:
    """Layer and coefficients of `fired(1, {12: 0.8, 40: -0.3})`, `fired(1, {0.8: (12, 7)})`; None for anything else."""
    match call:
        case ast.Call(args=[ast.Constant(value=int(layer)), ast.Dict() as table], keywords=[]):
            try:
                said = ast.literal_eval(table)
            except (ValueError, TypeError):
                return None
            many = [tuple(numbers) if isinstance(numbers, tuple) else () for numbers in said.values()]
            if not (all(many) or not any(isinstance(numbers, tuple) for numbers in said.values())):
                return None
            terms = weights_of(said)
            good = all(type(n) is int and n >= 0 and _is_number(weight) for n, weight in terms.items())
            once = len(terms) == (sum(map(len, many)) or len(said)) > 0
            if good and once and len(said) == len(table.keys):
                return int(layer), {n: float(weight) for n, weight in terms.items()}
    return None


def _is_number(weight: object) -> bool:
    return isinstance(weight, int | float) and type(weight) is not bool and abs(weight) < _MOST


def weights_of(table: dict[Any, Any]) -> dict[Any, Any]:
    """The weight of each neuron, of `{12: 0.8, 7: 0.8}` and of `{0.8: (12, 7)}`."""
    if not any(isinstance(many, tuple) for many in table.values()):
        return table
    return {one: weight for weight, many in table.items() for one in many}


@cache
def _functions(path: str) -> dict[str, ast.FunctionDef]:
    """The functions of a file."""
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


class Values:
    """The named values of this program, and what heads have to see for those that are `wanted`.

    `asked` by heads are others, which are kept for all positions, and so are those that heads see.
    """

    def __init__(self, config: Config, wanted: Iterable[str], asked: Iterable[str] = ()):
        kept = list(asked)
        needed = list(dict.fromkeys([*wanted, *kept]))
        self.named: dict[str, Named] = {}  # of those alone: what is described and does not run may be large
        for name in needed:
            self.named[name] = Named(VALUES[name], config)
            needed += [other for other in self.named[name].values if other not in needed]
        self.needed = [name for name in VALUES if name in self.named]
        kinds: dict[tuple[int, int], list[tuple[Kind, int]]] = {}
        seen: dict[tuple[int, int], list[str]] = {}
        for name in self.needed:
            for sight in self.named[name].sights:
                if isinstance(sight.what, str):
                    seen.setdefault((sight.layer, sight.head), []).append(sight.what)
                else:
                    kinds.setdefault((sight.layer, sight.head), []).append((sight.what, sight.steps))
        self.asked = {head: tuple(dict.fromkeys(found)) for head, found in kinds.items()}
        self.seen = {head: tuple(dict.fromkeys(found)) for head, found in seen.items()}
        self.fired = {layer for name in self.needed for layer in self.named[name].fired}
        self.norms = {norm for name in self.needed for norm in self.named[name].norms}
        kept += [name for found in self.seen.values() for name in found]
        self.kept = {name: column for column, name in enumerate(dict.fromkeys(kept))}  # their columns in `View.said`

    def heads(self, layer: int) -> list[int]:
        """The heads of a layer whose patterns are asked for."""
        return sorted({head for at, head in (*self.asked, *self.seen) if at == layer})

    def see(self, layer: int, pattern: Floats, sums: Floats, view: View, first: int) -> None:
        """Keep what heads see: `pattern` [batch, head, query, key] is of the queries from `first` on.

        Each row is to be divided by `sums` [batch, head, query, 1].
        """
        last, end = first + pattern.shape[2], pattern.shape[3]
        new = view.ids.shape[1] - view.past
        for head in self.heads(layer):
            kinds, values = self.asked.get((layer, head), ()), self.seen.get((layer, head), ())
            there = [view.levels(kinds)[:, :end]] if kinds else []
            there += [self.everywhere(name, view)[:, :end, None] for name in values]
            said = pattern[:, head] @ np.concatenate(there, -1)  # [batch, query, kinds then values]
            said /= sums[:, head]
            if (layer, head) not in view.seen:
                view.seen[layer, head] = np.empty((len(view.ids), new, said.shape[2]), np.float32)
            view.seen[layer, head][:, first:last] = said

    def everywhere(self, name: str, view: View) -> Floats:
        """The value of this name, which is kept, at all positions so far, [batch, pos]."""
        now = self(name, view)
        return now if view.said is None else view.said[..., self.kept[name]]

    def __call__(self, name: str, view: View) -> Floats:
        """The value of this name at the new positions, [batch, pos]."""
        if name not in view.values:
            found = self.named[name]
            shape = (len(view.ids), view.ids.shape[1] - view.past)

            asked = {other: self(other, view).copy() for other in found.values}
            names = {id(said): other for other, said in asked.items()}  # `seen` is given a value as it is asked for

            def seen(layer: int, head: int, *what: Any) -> Floats:
                if isinstance(what[0], dict):
                    pairs = [(column(layer, head, one), weight) for weight, many in what[0].items() for one in many]
                    columns, weights = zip(*pairs, strict=True)
                    said = view.seen[layer, head][..., list(columns)]
                    return matmul(said, np.array([weights], np.float32).T)[..., 0]
                return view.seen[layer, head][..., column(layer, head, *what)].copy()

            def column(layer: int, head: int, what: Kind | Floats, steps: int = 0) -> int:
                kinds = self.asked.get((layer, head), ())
                if isinstance(what, Kind):
                    return kinds.index((what, steps))
                return len(kinds) + self.seen[layer, head].index(names[id(what)])

            def fired(layer: int, table: dict[Any, Any]) -> Floats:
                terms = weights_of(table)
                if layer not in view.fired:
                    raise LookupError(f"the neurons of layer {layer} have not fired yet where this is read")
                return matmul(view.fired[layer][..., list(terms)], np.array([[*terms.values()]], np.float32).T)[..., 0]

            given: dict[str, object] = {"here": view.here, "seen": seen, "fired": fired, **asked}
            given |= {norm: scale_of(norm, view) for norm in found.norms}
            view.values[name] = np.broadcast_to(found.function(shape, given), shape)
            if view.said is not None and name in self.kept:
                view.said[:, view.past :, self.kept[name]] = view.values[name]
        return view.values[name]


def scale_of(norm: str, view: View) -> Floats:
    """A copy of what a norm divided by. Raises `LookupError` where it has not run yet."""
    if norm not in view.scales:
        raise LookupError(f"{norm} is not known yet where this is read")
    return view.scales[norm].copy()


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
