"""Circuits go to other tools' files and come back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

import checkpoints
from pellucid.base.errors import PellucidError
from pellucid.exact.model import Model
from pellucid.study.attribute import EdgeScores
from pellucid.study.circuit_files import (
    attribution_graph,
    read_attribution_graph,
    read_mib,
    save_mib,
)
from pellucid.study.circuits import Circuit, largest
from pellucid.study.wiring import Wiring


@pytest.fixture(scope="module")
def model() -> Model:
    return checkpoints.random_model(2, n_embd=15, n_head=3, n_inner=4, n_layer=2)[0]


@pytest.fixture(scope="module")
def circuit(model: Model) -> Circuit:
    wiring = Wiring.of(model.decoder)
    drawn = torch.randn(wiring.real.shape, generator=torch.Generator().manual_seed(0)) * wiring.real
    return largest(EdgeScores(wiring, drawn, "drawn"), 30, task="t")


def test_mib_files_round_trip(model: Model, circuit: Circuit, tmp_path: Path) -> None:
    save_mib(circuit, model.decoder, tmp_path / "c.json")
    data = json.loads((tmp_path / "c.json").read_text())
    assert data["cfg"] == {"n_layers": 2, "n_heads": 3, "parallel_attn_mlp": False, "d_model": 15}
    assert len(data["edges"]) == int(circuit.wiring.real.sum())
    assert set(data["edges"]["input->a0.h0<q>"]) == {"score", "in_graph"}
    assert data["nodes"]["logits"] == {"in_graph": True}
    found = read_mib(tmp_path / "c.json", model.decoder, "t")
    assert torch.equal(found.edges, circuit.edges)
    torch.testing.assert_close(found.scores, circuit.scores)


def test_graphs_of_circuit_tracer_round_trip(model: Model, circuit: Circuit, tmp_path: Path) -> None:
    graph = attribution_graph(circuit, "a-slug", "w1 w2", ["w1", " w2"])
    graph.save(tmp_path / "g.json")
    data = json.loads((tmp_path / "g.json").read_text())
    assert set(data) == {"metadata", "qParams", "nodes", "links"}
    ids = [node["node_id"] for node in data["nodes"]]
    assert len(set(ids)) == len(ids)
    assert {node["feature_type"] for node in data["nodes"]} == {"embedding", "cross layer transcoder", "logit"}
    found = read_attribution_graph(tmp_path / "g.json")
    assert found == graph
    assert torch.equal(found.circuit(model.decoder).edges, circuit.edges)
    total = sum(float(link["weight"]) for link in found.links)
    assert total == pytest.approx(float(circuit.scores[circuit.edges].sum()), rel=1e-4)


def test_graphs_of_features_are_read_but_are_no_circuits(model: Model, tmp_path: Path) -> None:
    nodes = [{"node_id": "0_17_3", "layer": "0"}, {"node_id": "E_5_3", "layer": "E"}]
    metadata = {"slug": "s", "scan": "gemma", "prompt": "p", "prompt_tokens": ["p"]}
    links = [{"source": "E_5_3", "target": "0_17_3", "weight": 0.5}]
    path = tmp_path / "g.json"
    path.write_text(json.dumps({"metadata": metadata, "qParams": {}, "nodes": nodes, "links": links}))
    found = read_attribution_graph(path)
    assert len(found.nodes) == 2
    with pytest.raises(PellucidError, match="s joins features"):
        found.circuit(model.decoder)
    path.write_text(json.dumps({"metadata": metadata, "nodes": nodes[:1], "links": links}))
    with pytest.raises(PellucidError, match="link to 'E_5_3'"):
        read_attribution_graph(path)
    for change, message in (
        ({"links": [links[0] | {"weight": "heavy"}]}, "links[0].weight is 'heavy', expected a valid number"),
        ({"nodes": [*nodes, 7]}, "nodes[2] is 7, expected an object"),
        ({"nodes": [nodes[0] | {"x": float("inf")}, nodes[1]]}, "not JSON: Infinity is no finite number"),
        ({"nodes": nodes, "metadata": []}, "metadata is [], expected an object"),
        (
            {"nodes": nodes, "metadata": metadata | {"prompt_tokens": [1]}},
            "prompt_tokens[0] is 1, expected a valid string",
        ),
    ):
        path.write_text(json.dumps({"metadata": metadata, "nodes": nodes, "links": links} | change))
        with pytest.raises(PellucidError, match=re.escape(message)):
            read_attribution_graph(path)


def test_broken_files_are_named(model: Model, circuit: Circuit, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    with pytest.raises(PellucidError, match="is not there"):
        read_mib(path, model.decoder)
    for text, message in (("[", "not JSON"), ("{}", "cfg is missing (and 2 more)"), ("[1]", "expected an object")):
        path.write_text(text)
        with pytest.raises(PellucidError, match=re.escape(message)):
            read_mib(path, model.decoder)
    save_mib(circuit, model.decoder, path)
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"cfg": data["cfg"] | {"n_layers": 12}}))
    with pytest.raises(PellucidError, match="12 layers of 3 heads; this model has 2 of 3"):
        read_mib(path, model.decoder)
    path.write_text(json.dumps(data | {"edges": {"m1->m0": {"score": 1e39, "in_graph": True}}}))
    with pytest.raises(PellucidError, match=r"score is 1e\+39, expected less than or equal to"):
        read_mib(path, model.decoder)
    path.write_text(json.dumps(data | {"edges": {"m1->m0": {"score": None, "in_graph": True}}}))
    with pytest.raises(PellucidError, match=r"edges\.m1->m0\.score is None, expected a valid number"):
        read_mib(path, model.decoder)
    path.write_text(json.dumps(data | {"edges": {"m1->m0": {"score": 0, "in_graph": True}}}))
    with pytest.raises(PellucidError, match="'m1->m0' is no edge"):
        read_mib(path, model.decoder)
