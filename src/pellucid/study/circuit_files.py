"""Circuits in other tools' files: JSON of the MIB circuit track, and attribution graphs of circuit-tracer.

MIB: `cfg` (n_layers, n_heads, parallel_attn_mlp, d_model), `nodes` (name → in_graph), `edges` (name → score, in_graph).
circuit-tracer: `metadata`, `qParams`, `nodes` (node_id, layer, ctx_idx, feature_type, clerp, …), `links` (source,
target, weight). There a node is a feature at a position; a circuit's heads and MLPs are written as features at the last
position, their names as `clerp`, and queries, keys and values that join the same two nodes become one link.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le

from pellucid.base.errors import PellucidError
from pellucid.base.files import write_text
from pellucid.base.schema import OPEN, content, parsed, plain_json, read_json, shown
from pellucid.family.blocks import Decoder
from pellucid.study.circuits import Circuit
from pellucid.study.wiring import Wiring

Score = Annotated[float, Ge(-1e38), Le(1e38)]
"""A number of 32 bits."""


@dataclass(frozen=True)
class _Config:
    """The shape of the model that a circuit of the MIB track is of."""

    __pydantic_config__ = OPEN
    n_layers: int
    n_heads: int
    parallel_attn_mlp: bool = False


@dataclass(frozen=True)
class _Node:
    """Whether a circuit of the MIB track has a node."""

    __pydantic_config__ = OPEN
    in_graph: bool


@dataclass(frozen=True)
class _Edge:
    """Whether it has an edge, and how much that matters."""

    __pydantic_config__ = OPEN
    score: Score
    in_graph: bool


@dataclass(frozen=True)
class _Mib:
    """A circuit of the MIB track."""

    __pydantic_config__ = OPEN
    cfg: _Config
    nodes: dict[str, _Node]
    edges: dict[str, _Edge]


_PARALLEL = ", attention and MLP in parallel"


def save_mib(circuit: Circuit, decoder: Decoder, path: Path | str) -> None:
    """Write a circuit as the MIB circuit track reads it: every edge of the model, with its score.

    There every head has keys and values of its own: an edge to those that heads share is one to each of these heads.
    """
    wiring = circuit.wiring
    used = set(circuit.nodes)
    edges: dict[str, dict[str, float | bool]] = {}
    for at in map(tuple, wiring.real.nonzero().tolist()):
        names = wiring.by_heads(*at)
        entry = {"score": float(circuit.scores[at]) / len(names), "in_graph": bool(circuit.edges[at])}
        edges |= dict.fromkeys(names, entry)
    data = {
        "cfg": {
            "n_layers": wiring.layers,
            "n_heads": wiring.heads,
            "parallel_attn_mlp": wiring.parallel,
            "d_model": decoder.sizes.model,
        },
        "nodes": {name: {"in_graph": name in used} for name in wiring.writers} | {"logits": {"in_graph": True}},
        "edges": edges,
    }
    _write(path, data)


def read_mib(path: Path | str, decoder: Decoder, task: str = "") -> Circuit:
    """The circuit in a file of the MIB track. Raises `PellucidError` for one that is broken or of another model."""
    data = read_json(_Mib, Path(path))
    wiring, cfg = Wiring.of(decoder), data.cfg
    if (cfg.n_layers, cfg.n_heads) != (wiring.layers, wiring.heads) or cfg.parallel_attn_mlp != wiring.parallel:
        raise PellucidError(
            f"{path} is a circuit of {shown(cfg.n_layers)} layers of {shown(cfg.n_heads)} heads"
            f"{_PARALLEL * cfg.parallel_attn_mlp}; this model has "
            f"{wiring.layers} of {wiring.heads}{_PARALLEL * wiring.parallel}"
        )
    edges, scores = torch.zeros_like(wiring.real), torch.zeros(wiring.real.shape)
    for name, entry in data.edges.items():
        at = _edge(wiring, name, path)
        edges[at] |= entry.in_graph
        scores[at] += entry.score
    return Circuit(wiring, edges, scores, task)


def _edge(wiring: Wiring, name: str, path: Path | str) -> tuple[int, int]:
    """The place of an edge. Raises `PellucidError` naming the file that speaks of it."""
    try:
        return wiring.edge(name)
    except PellucidError as error:
        raise PellucidError(f"{path}: {error}") from None


@dataclass(frozen=True)
class _Metadata:
    """What an attribution graph is of."""

    __pydantic_config__ = OPEN
    slug: str
    prompt: str
    prompt_tokens: list[str]
    scan: str | list[str] | None = None


@dataclass(frozen=True)
class _Named:
    """A node, of which every tool writes down other things."""

    __pydantic_config__ = OPEN
    node_id: str


@dataclass(frozen=True)
class _Link:
    """A link; `edges` only where it joins heads."""

    __pydantic_config__ = OPEN
    source: str
    target: str
    weight: float
    edges: dict[str, Score] | None = None


@dataclass(frozen=True)
class _Graph:
    """An attribution graph."""

    __pydantic_config__ = OPEN
    metadata: _Metadata
    nodes: list[_Named]
    links: list[_Link]


@dataclass(frozen=True)
class AttributionGraph:
    """A graph of circuit-tracer: nodes and links as they stand in the file, and the prompt they belong to."""

    slug: str
    prompt: str
    tokens: tuple[str, ...]
    nodes: tuple[dict[str, Any], ...] = field(repr=False)
    links: tuple[dict[str, Any], ...] = field(repr=False)
    scan: str = "pellucid"

    def save(self, path: Path | str) -> None:
        """Write the graph as circuit-tracer's viewer reads it."""
        metadata: dict[str, Any] = {
            "slug": self.slug,
            "scan": self.scan,
            "transcoder_list": [],
            "prompt_tokens": list(self.tokens),
        }
        metadata |= {"prompt": self.prompt, "node_threshold": None, "schema_version": 1}
        parameters = {"pinnedIds": [], "supernodes": [], "linkType": "both", "clickedId": "", "sg_pos": ""}
        nodes, links = list(self.nodes), list(self.links)
        _write(path, {"metadata": metadata, "qParams": parameters, "nodes": nodes, "links": links})

    def circuit(self, decoder: Decoder, task: str = "") -> Circuit:
        """The circuit that was written as this graph. Raises `PellucidError` for a graph of features, not of heads."""
        wiring = Wiring.of(decoder)
        edges, scores = torch.zeros_like(wiring.real), torch.zeros(wiring.real.shape)
        for link in self.links:
            if not isinstance(link.get("edges"), dict):
                raise PellucidError(
                    f"{self.slug} joins features, which are no parts of a checkpoint; read its nodes and links instead"
                )
            for name, score in link["edges"].items():
                at = _edge(wiring, name, self.slug)
                edges[at], scores[at] = True, float(score)
        return Circuit(wiring, edges, scores, task)


def attribution_graph(circuit: Circuit, slug: str, prompt: str, tokens: Sequence[str]) -> AttributionGraph:
    """A circuit as a graph of circuit-tracer, for one prompt."""
    wiring, last = circuit.wiring, len(tokens) - 1
    nodes = {"logits": _node(f"{wiring.layers + 1}_0_{last}", str(wiring.layers + 1), 0, last, "logit", "logits")}
    nodes["logits"]["is_target_logit"] = True
    for number, name in enumerate(wiring.writers):
        layer, index = divmod(number - 1, wiring.heads + 1)
        if name == "input":
            nodes[name] = _node(f"E_0_{last}", "E", last, last, "embedding", name)
        elif name in circuit.nodes:
            pair = (layer + index) * (layer + index + 1) // 2 + index
            kind = "cross layer transcoder"
            nodes[name] = _node(f"{layer}_{index}_{last}", str(layer), pair, last, kind, name)
    links: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for writer, reader in circuit.edges.nonzero().tolist():
        names = wiring.writers[writer], wiring.readers[reader]
        target = nodes.get(names[1].partition("<")[0])
        if target is not None:
            score = float(circuit.scores[writer, reader])
            links[nodes[names[0]]["node_id"], target["node_id"]]["->".join(names)] = score
    joined = tuple(
        {"source": source, "target": target, "weight": sum(edges.values()), "edges": edges}
        for (source, target), edges in links.items()
    )
    return AttributionGraph(slug, prompt, tuple(tokens), tuple(nodes.values()), joined)


def read_attribution_graph(path: Path | str) -> AttributionGraph:
    """A graph of circuit-tracer. Raises `PellucidError` for a file that is none, or whose links join no nodes."""
    text = content(Path(path))
    graph = parsed(_Graph, text, str(path))
    known = {node.node_id for node in graph.nodes}
    for link in graph.links:
        if lost := {link.source, link.target} - known:
            raise PellucidError(f"{path} has a link to {shown(min(lost))}, which is none of its nodes")
    data, about = plain_json(text, str(path)), graph.metadata
    scan = about.scan if isinstance(about.scan, str) else ", ".join(about.scan or ())
    tokens, nodes, links = tuple(about.prompt_tokens), tuple(data["nodes"]), tuple(data["links"])
    return AttributionGraph(about.slug, about.prompt, tokens, nodes, links, scan)


def _node(name: str, layer: str, feature: int, at: int, kind: str, label: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"node_id": name, "feature": feature, "layer": layer, "ctx_idx": at, "feature_type": kind}
    fields |= {"token_prob": 0.0, "is_target_logit": False, "run_idx": 0, "reverse_ctx_idx": 0, "jsNodeId": f"{name}-0"}
    return fields | {"clerp": label, "influence": None, "activation": None}


def _write(path: Path | str, data: dict[str, Any]) -> None:
    write_text(Path(path), json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n")
