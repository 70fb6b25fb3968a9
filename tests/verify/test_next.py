"""What is worth working on is ranked by the effect that is not explained yet."""

from __future__ import annotations

import pytest
import torch

from checkpoints import random_model
from cli_support import Workshop, pellucid
from pellucid.base.address import Address
from pellucid.project.evidence import Measurement
from pellucid.project.project import Project
from pellucid.verify.next import head_cosines, next_parts, similar


def measured(workshop: Workshop, *rows: tuple[str, str, str, float]) -> Project:
    """The project with figures (part, kind, metric, value) in its evidence."""
    project = Project.open(workshop.made)
    project.evidence.add(
        Measurement(part, kind, metric, "state", "tune", "text", "overall", value, None, None, 1)
        for part, kind, metric, value in rows
    )
    return project


def test_effects_are_ranked_by_what_the_best_source_leaves(workshop: Workshop) -> None:
    effects = {"L00.H00.QK": 0.1, "L00.H01.QK": 0.5, "L01.N0003.IN": 0.3, "L01.N0004.IN": 0.0}
    project = measured(
        workshop,
        *((part, "effect", "kl", value) for part, value in effects.items()),
        ("L00.H01.QK", "swapped_in", "kl_estimate", 0.2),
        ("L00.H01.QK", "isolated", "score", 0.8),
        ("L00.H01.QK", "isolated", "score", 0.6),
        ("L00.H00.QK", "swapped_in", "kl", 7.0),
    )
    found = next_parts(project, 5)
    assert [entry.address for entry in found[:3]] == ["L01.N0003.IN", "L00.H01.QK", "L00.H00.QK"]
    assert [entry.left for entry in found[:3]] == pytest.approx([0.3, 0.2, 0.1])
    assert (found[1].score, found[1].kl, found[1].estimated) == (0.6, 0.2, True)
    assert {entry.ranked_by for entry in found[3:]} == {"parameters"}
    assert "L01.N0004.IN" not in {entry.address for entry in next_parts(project, 1000)}


def test_without_effects_the_number_of_parameters_decides(workshop: Workshop) -> None:
    project = measured(workshop, ("L01.H00.QK", "isolated", "score", 0.75))
    found = next_parts(Project.open(workshop.made), 5)
    assert [entry.address for entry in found[:3]] == ["L00.H00.QK", "L00.H01.QK", "L01.H01.QK"]
    assert {entry.ranked_by for entry in found} == {"parameters"}
    assert {entry.effect for entry in found} == {None}
    left = {entry.address: entry.left for entry in next_parts(project, 1000)}
    assert left["L01.H00.QK"] == pytest.approx(left["L00.H00.QK"] / 4)
    assert len(left) == 2 * (2 + 32)


def test_on_the_command_line(workshop: Workshop) -> None:
    assert [entry["address"] for entry in pellucid("next", workshop.made, "-n", 2, "--json").json] == [
        "L00.H00.QK",
        "L00.H01.QK",
    ]
    answer = pellucid("next", workshop.made)
    assert (answer.code, answer.err) == (0, "")
    assert "never measured" in answer.out
    assert pellucid("next", workshop.root).complaint().endswith("make one with `decompile`")


def test_heads_are_compared_by_their_maps_from_query_to_key() -> None:
    model, _ = random_model(2, n_layer=2, n_head=3, n_embd=12)

    def product(layer: int, head: int) -> torch.Tensor:
        weight = model.weights[f"h.{layer}.attn.c_attn.weight"]
        q, k = (weight[:, start + 4 * head : start + 4 * head + 4] for start in (0, 12))
        return (q @ k.T).flatten()

    cosines = head_cosines(model, [Address("QK", 1, 2)])[0]
    expected = [[torch.cosine_similarity(product(1, 2), product(n, h), 0) for h in range(3)] for n in range(2)]
    assert torch.allclose(cosines, torch.tensor(expected), atol=1e-5)


def test_a_copied_neuron_and_a_copied_head_are_similar_to_their_originals() -> None:
    model, _ = random_model(1, n_layer=2, n_head=2, n_embd=16)
    model.weights["h.1.mlp.c_fc.weight"][:, 5] = 3 * model.weights["h.0.mlp.c_fc.weight"][:, 2]
    for start in (0, 16):
        first, second = (model.weights[f"h.{layer}.attn.c_attn.weight"] for layer in (0, 1))
        second[:, start : start + 8] = first[:, start + 8 : start + 16]
    found = similar(model, [Address("IN", 0, 2), Address("QK", 1, 0)])
    assert found["L00.N0002.IN"][0] == ("L01.N0005.IN", 1.0)
    assert found["L01.H00.QK"][0] == ("L00.H01.QK", 1.0)
    assert all(name != address for address, others in found.items() for name, _ in others)
