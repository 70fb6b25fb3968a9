"""A graph: named operations in order. Only what is asked for is computed, from whatever is given.

Any value may be given instead of computed (to restart from the middle), asked for (recorded), or edited by a function
on its way (replaced). What nobody asks for costs nothing, and is freed as soon as its last reader has run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor

from pellucid.base.errors import PellucidError, closest

Edit = Callable[[Tensor], Tensor]
"""Gets an activation, returns what takes its place: a tensor of the same shape."""


@dataclass(frozen=True)
class GraphNode:
    """`name = op(*inputs, *weights, **options)`; `weights` are names of parameters."""

    name: str
    op: Callable[..., Tensor]
    inputs: tuple[str, ...]
    weights: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        arguments = [*self.inputs, *self.weights, *(f"{key}={value!r}" for key, value in self.options.items())]
        return f"{self.name} = {self.op.__name__}({', '.join(arguments)})"


@dataclass(frozen=True)
class _Step:
    """A node to run, and the values that nobody reads after it."""

    node: GraphNode
    done: tuple[str, ...]


class Graph:
    """Nodes in an order in which each follows its inputs; `inputs` are the names that must be given."""

    def __init__(self, inputs: Sequence[str], nodes: Sequence[GraphNode]) -> None:
        self.inputs, self.nodes = tuple(inputs), tuple(nodes)
        self._by_name = {node.name: node for node in nodes}
        self._plans: dict[tuple[frozenset[str], tuple[str, ...]], tuple[_Step, ...]] = {}

    def __str__(self) -> str:
        return "\n".join(str(node) for node in self.nodes)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> GraphNode:
        """The node called `name`."""
        return self._by_name[name]

    def names(self, pattern: str = "*") -> list[str]:
        """The activations that `pattern` fits (`*` stands for anything), in order of execution."""
        if pattern in self._by_name:
            return [pattern]
        return [node.name for node in self.nodes if fnmatchcase(node.name, pattern)]

    def run(
        self,
        weights: Mapping[str, Tensor],
        given: Mapping[str, Any],
        want: Sequence[str],
        edits: Mapping[str, Edit] | None = None,
    ) -> dict[str, Tensor]:
        """The values of `want`, computed from `given` with `edits` applied to the activations they name.

        Raises `PellucidError` for names that do not exist and for an edit that cannot reach what is wanted.
        """
        values = dict(given)
        steps = self._plan(frozenset(given), tuple(want))
        if edits:
            self._check_edits(edits, steps)
        for step in steps:
            node = step.node
            inputs = [values[name] for name in node.inputs]
            value = node.op(*inputs, *[weights[name] for name in node.weights], **node.options)
            if edits and (edit := edits.get(node.name)) is not None:
                value = _edited(node.name, value, edit)
            values[node.name] = value
            del inputs, value
            for name in step.done:
                del values[name]
        return {name: values[name] for name in want}

    def unknown(self, name: str) -> PellucidError:
        """The error for a name that no activation has."""
        near = closest(name, self.names()) or "; names look like L00.resid_pre, L00.pattern, L00.post"
        return PellucidError(f"{name!r} names no activation{near}")

    def _check_edits(self, edits: Mapping[str, Edit], steps: Sequence[_Step]) -> None:
        running = {step.node.name for step in steps}
        for name in edits:
            if name not in self:
                raise self.unknown(name)
            if name not in running:
                raise PellucidError(f"replacing {name} would change nothing: what is asked for is computed without it")

    def _plan(self, given: frozenset[str], want: tuple[str, ...]) -> tuple[_Step, ...]:
        """The nodes that `want` needs, in order; remembered, as the same question comes again and again."""
        if (given, want) not in self._plans:
            if foreign := next((name for name in sorted(given) if name not in self and name not in self.inputs), None):
                raise self.unknown(foreign)
            self._plans[given, want] = self._schedule(self._needed(given, want), want)
        return self._plans[given, want]

    def _needed(self, given: frozenset[str], want: tuple[str, ...]) -> list[GraphNode]:
        needed, open_names = set[str](), [name for name in want if name not in given]
        while open_names:
            name = open_names.pop()
            if name in needed:
                continue
            if name not in self._by_name:
                raise PellucidError(f"{name} must be given") if name in self.inputs else self.unknown(name)
            needed.add(name)
            open_names += [read for read in self._by_name[name].inputs if read not in given]
        return [node for node in self.nodes if node.name in needed]

    def _schedule(self, nodes: list[GraphNode], want: tuple[str, ...]) -> tuple[_Step, ...]:
        """`nodes` with the values that can be freed after each."""
        last = {read: at for at, node in enumerate(nodes) for read in (*node.inputs, node.name)}
        done: list[list[str]] = [[] for _ in nodes]
        for name, at in last.items():
            if name not in want and name not in self.inputs:
                done[at].append(name)
        return tuple(_Step(node, tuple(names)) for node, names in zip(nodes, done, strict=True))


def _edited(name: str, value: Tensor, edit: Edit) -> Tensor:
    """What `edit` makes of `value`. Raises `PellucidError` where that has another shape."""
    new = edit(value)
    if not isinstance(new, Tensor) or new.shape != value.shape:
        got = f"shape {list(new.shape)}" if isinstance(new, Tensor) else repr(type(new).__name__)
        raise PellucidError(f"the replacement of {name} returned {got}, expected a tensor of shape {list(value.shape)}")
    return new
