"""A decompiled program as the engine runs it: an exact model with the program's weights, and its sources in its graph.

Means, constants and lifted parts are folded into the program's own copies of the weights; where sources run by
themselves, the nodes of the graph call them. What comes out agrees with the program to 1e-4 of its logits (tested).
Gradients do not pass through sources: estimates take what they say as given, exact runs do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as altered
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.base.axes import BATCH, KEY, POS, QUERY
from pellucid.base.errors import ProjectError
from pellucid.exact import ops
from pellucid.exact.cache import ModelCache
from pellucid.exact.graph import Edit, Graph, GraphNode
from pellucid.exact.model import Model
from pellucid.exact.rows import Rows
from pellucid.exact.rules import head_writes, product, refine
from pellucid.family import needs, seams
from pellucid.family.blocks import Decoder
from pellucid.family.canonical import checkpoint
from pellucid.forms.outputs import output_of
from pellucid.listing.held import constants, held
from pellucid.listing.load import Program
from pellucid.project.manifest import MANIFEST
from pellucid.project.project import Project
from pellucid.subject.load import load_subject
from pellucid.verify.edited import edits, has_edits

Ids = Int[Tensor, "batch pos"]
Pads = Int[Tensor, " batch"] | None


class Running:
    """A program in the engine's terms: the model that it is."""

    def __init__(self, model: Model, program: Program) -> None:
        self.program = program
        if program.model.plan.values.needed:
            raise ProjectError(
                f"{program.directory} has parts that read named values and run without residual; the engine does not "
                "run those, `pellucid verify` and the program itself do"
            )
        weights, sources = _weights(model, program), _sources(program)
        if any(name.endswith("_writes") for name in sources):
            needs.refuse(model.decoder, "running what sources write in the engine", *needs.SWITCHES)
        self.edited = bool(sources) or has_edits(program)
        """Whether any source runs by itself, or anything was edited."""
        graph = _graph(model.graph, sources, weights, model.decoder.layers)
        self.model = model.but(weights, _with_constants(_with_biases(graph, model.decoder, weights), program))

    def edits(self, ids: Ids) -> dict[str, Edit]:
        """What the program's edits add, beside what the graph of `model` does by itself."""
        return edits(self.program, ids)


def _weights(model: Model, program: Program) -> dict[str, Tensor]:
    """The model's weights with the program's own copies in their place, and the means of embeddings."""
    own = held(program, whole=True)
    weights = checkpoint(model.decoder, model.weights, own)
    weights |= {f"{MORE}{name}": own[name] for name, _ in _more(model.decoder) if name in own}
    embedding = program.model.embed
    for (_, name), mean in zip(embedding.ways, embedding.means, strict=True):
        if mean is not None:
            found = torch.from_numpy(np.array(mean, np.float32))
            weights[f"mean.{name}"] = found.to(model.device, model.dtype)
    return weights


# --- sources in the graph ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Words:
    """All tokens so far, and how many of them come before those that are computed."""

    rows: Rows
    past: int


@dataclass(frozen=True)
class _Source:
    """A source that runs by itself: its address, and which head or neuron it is."""

    program: Program
    key: str
    member: int

    def __call__(self, words: _Words, like: Tensor, shape: tuple[int, ...], **given: Tensor) -> Tensor:
        """What it says about the positions behind `words.past`, on the device and in the kind of number of `like`."""
        if words.rows.pads is None:
            return self._say(words.rows.ids, words.past, like, shape, given)
        axes = (BATCH, QUERY, KEY) if self.key.endswith("QK") else (BATCH, POS)
        said = like.new_zeros(shape)
        for group in words.rows.groups:
            own = {name: group.cut(value, _GIVEN[name], words.past) for name, value in given.items()}
            text, past = group.cut(words.rows.ids, (BATCH, POS)), max(0, words.past - group.pad)
            part = self._say(text, past, like, tuple(group.cut(said, axes, words.past).shape), own)
            said = group.put(said, axes, part, words.past)
        return said

    def _say(self, text: Ids, past: int, like: Tensor, shape: tuple[int, ...], given: Mapping[str, Tensor]) -> Tensor:
        arrays = {name: value.detach().float().cpu().numpy() for name, value in given.items()}
        return torch.from_numpy(self.program.sources.say(self.key, text.cpu().numpy(), past, shape, **arrays)).to(like)


_GIVEN = {"pattern": (BATCH, QUERY, KEY), "fires": (BATCH, POS)}
"""The axes of what sources are given."""


def _sources(program: Program) -> dict[str, list[_Source]]:
    """The sources that run by themselves, by the node that calls them."""
    found: dict[str, list[_Source]] = {}

    def add(node: str, key: str, member: int = 0) -> None:
        found.setdefault(node, []).append(_Source(program, key, member))

    for how, name in program.model.embed.ways:
        if not isinstance(how, str):
            add(name, name)
    for layer, (attention, mlp) in enumerate(program.model.layers):
        at = f"L{layer:02d}"
        for node, letter, kind, found_here in (
            ("scores", "H{:02d}", "QK", attention.looks),
            ("head_writes", "H{:02d}", "OV", attention.moves),
            (output_of(program.decoder, Address("IN", layer, 0)).name, "N{:04d}", "IN", mlp.fires),
            ("neuron_writes", "N{:04d}", "OUT", mlp.writes),
        ):
            for member, _ in found_here:
                add(f"{at}.{node}", f"{at}.{letter.format(member)}.{kind}", member)
    return found


def _graph(graph: Graph, sources: dict[str, list[_Source]], weights: dict[str, Tensor], layers: int) -> Graph:
    """`graph` with nodes that call `sources`, and means of embeddings where `weights` have them.

    Where any head or neuron writes by a source, the writes of all layers stand in the graph in pieces.
    """
    pieces = {
        f"L{layer:02d}.{kind}"
        for kind in ("head_writes", "neuron_writes")
        if any(name.endswith(kind) for name in sources)
        for layer in range(layers)
    }
    nodes = []
    for node in refine(graph, pieces).nodes:
        if f"mean.{node.name}" in weights:
            node = GraphNode(node.name, _everywhere, ("ids",), (f"mean.{node.name}",))
        elif own := sources.get(node.name):
            options = {**node.options, "sources": tuple(own), "slot": f"{node.name}.text"}
            read = () if node.op is ops.embed else node.inputs
            read += (f"{node.name.partition('.')[0]}.pattern",) if node.op is head_writes else ()
            node = altered(node, op=_CALLING[node.op], inputs=(*read, "ids", "cache", "pads"), options=options)
        nodes.append(node)
    return Graph(graph.inputs, nodes)


MORE = "more."
"""Begins the names of biases that a program has and its model has not: what its means come to."""


def _more(decoder: Decoder) -> Iterator[tuple[str, str]]:
    """The biases of writes that the model has not, with the node that they are added in."""
    for layer, block in enumerate(decoder.blocks):
        at = seams.at(layer)
        if not block.attention.o.bias:
            yield f"L{layer:02d}.ATTN.B", at.attn_sum if block.attention.behind else at.attn_out
        if not block.mlp.write.bias:
            yield f"L{layer:02d}.MLP.B", at.mlp_sum if block.mlp.behind else at.mlp_out


def _with_biases(graph: Graph, decoder: Decoder, weights: Mapping[str, Tensor]) -> Graph:
    """`graph` with the biases among `weights` that the model has not."""
    added = {node: f"{MORE}{name}" for name, node in _more(decoder) if f"{MORE}{name}" in weights}
    nodes = (
        altered(node, weights=(*node.weights, added[node.name])) if node.name in added else node for node in graph.nodes
    )
    return Graph(graph.inputs, [*nodes]) if added else graph


def _with_constants(graph: Graph, program: Program) -> Graph:
    """`graph` with gated neurons that fire the same everywhere."""
    nodes: dict[str, GraphNode] = {}
    for layer, (_, mlp) in enumerate(program.model.layers):
        if program.decoder.blocks[layer].mlp.gate and (found := constants(mlp)):
            name = seams.at(layer).post
            options = {"inner": graph[name].op, "constants": tuple(found), **graph[name].options}
            nodes[name] = altered(graph[name], op=_constant, options=options)
    return Graph(graph.inputs, [nodes.get(node.name, node) for node in graph.nodes]) if nodes else graph


def _constant(
    *given: Any, inner: Callable[..., Tensor], constants: tuple[tuple[int, float], ...], **options: Any
) -> Float[Tensor, "batch pos neuron"]:
    """Activations, of which some neurons have the same everywhere."""
    post = inner(*given, **options).clone()
    for neuron, value in constants:
        post[..., neuron] = value
    return post


def _text(ids: Ids, cache: ModelCache | None, pads: Pads, slot: str) -> _Words:
    """All tokens so far, and how many of them come before `ids`."""
    held = None if cache is None else cache.append(slot, ids[:, None, :, None].double())  # a cache holds floats
    text = ids if held is None else held[:, 0, :, 0].long()
    return _Words(Rows(text, pads), text.shape[1] - ids.shape[1])


def _everywhere(ids: Ids, mean: Float[Tensor, " model"]) -> ops.Resid:
    """The mean of an embedding at every position."""
    return mean.expand(*ids.shape, -1)


def _embed(
    ids: Ids, cache: ModelCache | None, pads: Pads, table: Tensor, *, sources: Sequence[_Source], slot: str
) -> ops.Resid:
    """What a source of an embedding writes."""
    (source,) = sources
    return source(_text(ids, cache, pads, slot), table, (*ids.shape, table.shape[1]))


def _scores(
    queries: ops.PerHead,
    keys: Float[Tensor, "batch head key dim"],
    ids: Ids,
    cache: ModelCache | None,
    pads: Pads,
    *,
    scale: float,
    cap: float | None = None,
    window: int | None = None,
    sources: Sequence[_Source],
    slot: str,
) -> ops.QueryKeys:
    """Scores, those of some heads by their sources."""
    raw = ops.scores(queries, keys, scale=scale, cap=cap, window=window)
    text = _text(ids, cache, pads, slot)
    said = [source(text, raw, (raw.shape[0], *raw.shape[2:])) for source in sources]
    return raw.index_copy(1, _members(sources, raw), torch.stack(said, 1))


def _pre(
    x: ops.Resid,
    ids: Ids,
    cache: ModelCache | None,
    pads: Pads,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    transposed: bool = False,
    sources: Sequence[_Source],
    slot: str,
) -> Float[Tensor, "batch pos neuron"]:
    """Pre-activations, those of some neurons by their sources."""
    raw = (ops.linear_transposed if transposed else ops.linear)(x, weight, bias)
    return _told(raw, _text(ids, cache, pads, slot), sources)


def _gated(
    x: Float[Tensor, "batch pos neuron"],
    up: Float[Tensor, "batch pos neuron"],
    ids: Ids,
    cache: ModelCache | None,
    pads: Pads,
    *,
    function: str,
    sources: Sequence[_Source],
    slot: str,
) -> Float[Tensor, "batch pos neuron"]:
    """Activations of gated neurons, those of some by their sources."""
    return _told(ops.gated(x, up, function=function), _text(ids, cache, pads, slot), sources)


def _told(
    raw: Float[Tensor, "batch pos neuron"], text: _Words, sources: Sequence[_Source]
) -> Float[Tensor, "batch pos neuron"]:
    """`raw` with what the sources of some neurons say."""
    said = [source(text, raw, tuple(raw.shape[:2])) for source in sources]
    return raw.index_copy(2, _members(sources, raw), torch.stack(said, 2))


def _head_writes(
    z: ops.PerHead,
    pattern: ops.QueryKeys,
    ids: Ids,
    cache: ModelCache | None,
    pads: Pads,
    weight: Tensor,
    *,
    sources: Sequence[_Source],
    slot: str,
) -> Float[Tensor, "batch pos head model"]:
    """What each head writes, some by their sources."""
    raw = head_writes(z, weight)
    text = _text(ids, cache, pads, slot)
    shape = (*raw.shape[:2], raw.shape[3])
    said = [source(text, raw, shape, pattern=pattern[:, source.member]) for source in sources]
    return raw.index_add(2, _members(sources, raw), torch.stack(said, 2))


def _neuron_writes(
    post: Float[Tensor, "batch pos neuron"],
    ids: Ids,
    cache: ModelCache | None,
    pads: Pads,
    weight: Tensor,
    *,
    sources: Sequence[_Source],
    slot: str,
) -> ops.Resid:
    """What the neurons of a layer write together, some by their sources."""
    total = product(post, weight)
    text = _text(ids, cache, pads, slot)
    for source in sources:
        total = total + source(text, total, tuple(total.shape), fires=post[..., source.member])
    return total


def _members(sources: Sequence[_Source], like: Tensor) -> Int[Tensor, " source"]:
    return torch.tensor([source.member for source in sources], device=like.device)


_CALLING: dict[Callable[..., Tensor], Callable[..., Tensor]] = {
    ops.embed: _embed,
    ops.scores: _scores,
    ops.linear: _pre,
    ops.linear_transposed: partial(_pre, transposed=True),
    ops.gated: _gated,
    head_writes: _head_writes,
    product: _neuron_writes,
}
"""What takes the place of a node's operation where sources run: it gets the text beside what that got."""


# --- opening ----------------------------------------------------------------------------------------------------------


def running(model: Model, program: Program) -> Model | Running:
    """`program` (of the subject `model`) for the engine; an exact model where none of its sources runs by itself."""
    found = Running(model, program)
    return found if found.edited else found.model


def open_subject(
    name: str, *, source_only: bool | Literal["code", "all"] = False, trust: bool = False
) -> Model | Running:
    """What the engine runs for a directory that `decompile` wrote, or for a subject as `pellucid.load` takes it.

    `source_only` switches off the residuals of every QK and IN (True, "code"), or of all parts.

    Args:
        name: A directory that `decompile` wrote, or what `load` takes.
        source_only: Switch off the residuals of every QK and IN (True, `code`), or of all parts (`all`).
        trust: Run a program although it was not made on this account, or has changed since.

    Returns:
        What the engine's functions take as `subject`.

    Raises:
        ProjectError: A program that is not trusted, or `source_only` of what is no program.
        SubjectError: What is neither a program nor a subject.
    """
    if (Path(name) / MANIFEST).is_file():
        project = Project.open(name, trust=trust)
        which: Literal["code", "all"] | None = "code" if source_only is True else source_only or None
        return running(project.model, project.program(which))
    if source_only:
        raise ProjectError(f"{name} is no directory of a program, which alone can run without residuals")
    return Model(load_subject(name))
