"""Prompts of different lengths in one call: every row comes out as it does alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

import checkpoints
from pellucid import (
    ablate,
    direct_effects,
    edge_attribution,
    estimate,
    logit_difference,
    logit_lens,
    means,
    patch,
    path_patch,
    probe,
    replace,
    steer,
    sweep,
    trace,
)
from pellucid.base.errors import PellucidError
from pellucid.engine.intervene import Change
from pellucid.engine.subjects import Subject
from pellucid.engine.sweep import KINDS
from pellucid.exact.graph import Edit
from pellucid.exact.model import Model

TEXTS = ["w3 w1 w4", "w5 w9 w2 w6 w5 w3", "w8 w7", "w2 w7 w1"]
OTHERS = ["w3 w6 w4", "w5 w2 w2 w7 w5 w3", "w8 w1", "w1 w7 w1"]
NAMES = ["L00.pattern", "L01.z", "L01.H02.OV", "L00.N0001.IN", "EMB.POS", "L01.values", "L01.ATTN.B", "L01.scores"]


@pytest.fixture(scope="module")
def model() -> Model:
    return checkpoints.random_model(2, n_embd=15, n_head=3, n_inner=4, n_layer=2)[0]


class Own:
    """A program that writes into the stream what depends on each token and its place in the text."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def edits(self, ids: Tensor) -> Mapping[str, Edit]:
        places = torch.arange(ids.shape[1])
        return {"L01.resid_pre": lambda x: x + (0.1 * ids + 0.3 * places)[..., None] * torch.linspace(-1, 1, 15)}


def same(found: Tensor, alone: Tensor, dims: tuple[int, ...]) -> None:
    """`found` ends as `alone` on its axes of positions `dims`, and is NaN in front."""
    for dim in dims:
        gap = found.shape[dim] - alone.shape[dim]
        assert bool(found.narrow(dim, 0, gap).isnan().all())
        found = found.narrow(dim, gap, alone.shape[dim])
    torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5)


CHANGES: dict[str, Callable[[], list[Change]]] = {
    "none": list,
    "a number": lambda: [replace("L00.mlp_out", 0.5, positions=1)],
    "the last": lambda: [steer("L00.resid_post", torch.linspace(-1, 1, 15), 2.0, positions=-1)],
    "a range": lambda: [
        steer("L00.N0001.IN", 3.0, positions=slice(1, None)),
        ablate("L01.H01.OV", positions=slice(-2, None)),
    ],
    "a function of all": lambda: [replace("L00.pattern", lambda p: p.flip(-1).tril(), heads=1)],
    "a key": lambda: [replace("L01.scores", float("-inf"), keys=0, positions=slice(1, None))],
    "a bias": lambda: [ablate("L01.ATTN.B"), ablate("EMB.POS", positions=[0, -1])],
}


@pytest.mark.parametrize("program", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_a_run_of_many_is_many_runs(model: Model, name: str, program: bool) -> None:
    subject: Subject = Own(model) if program else model
    run = trace(subject, TEXTS, NAMES, CHANGES[name]())
    assert run.tokens[0] == ["", "", "", "w3", "w1", "w4"]
    for row, text in enumerate(TEXTS):
        alone = trace(subject, text, NAMES, CHANGES[name]())
        same(run.logits[row], alone.logits[0], (0,))
        same(run["L00.pattern"][row], alone["L00.pattern"][0], (1, 2))
        same(run["L01.values"][row], alone["L01.values"][0], (1,))
        for where in ("L01.z", "L01.H02.OV", "L00.N0001.IN", "EMB.POS"):
            same(run[where][row], alone[where][0], (0,))
        torch.testing.assert_close(run["L01.ATTN.B"], alone["L01.ATTN.B"])


def test_rows_are_chosen_among_all(model: Model) -> None:
    vectors = torch.arange(4.0)[:, None, None].expand(4, 1, 15)
    run = trace(model, TEXTS, ["L00.mlp_out"], [replace("L00.mlp_out", vectors[[3, 0]], rows=[3, 0])])["L00.mlp_out"]
    plain = trace(model, TEXTS, ["L00.mlp_out"])["L00.mlp_out"]
    assert run[3, -1, 0] == 3
    assert run[0, -1, 0] == 0
    torch.testing.assert_close(run[1:3], plain[1:3], equal_nan=True)
    one = trace(model, TEXTS, ["L00.mlp_out"], [replace("L00.mlp_out", 7.0, rows=-2)])["L00.mlp_out"]
    assert bool((one[2, -2:] == 7).all())
    torch.testing.assert_close(one[[0, 1, 3]], plain[[0, 1, 3]], equal_nan=True)
    with pytest.raises(PellucidError, match=r"positions of L00.mlp_out: 2 is not among the 2"):
        trace(model, TEXTS, changes=[ablate("L00.mlp_out", positions=2)])


@pytest.mark.parametrize("at", [-1, -2, 0, [0, -1], slice(-2, None)])
def test_negative_positions_count_from_the_end_of_either_run(model: Model, at: int | list[int] | slice) -> None:
    source = trace(model, OTHERS[1], ["L01.resid_post", "L00.z", "L01.pattern"])
    for text in TEXTS:
        found = trace(model, text, ["L01.resid_post"], [patch("L01.resid_post", source, positions=at)])
        assert torch.equal(found["L01.resid_post"][0, at], source["L01.resid_post"][0, at])
    drawn = trace(model, TEXTS[0], ["L00.z"], [ablate("L00.z", resample=source, positions=at, heads=2)])["L00.z"]
    assert torch.equal(drawn[0, at, 2], source["L00.z"][0, at, 2])
    with pytest.raises(PellucidError, match="must have the same number of tokens, or name positions that both have"):
        trace(model, TEXTS[0], changes=[patch("L01.resid_post", source)])


def test_patching_is_row_by_row_from_each_rows_end(model: Model) -> None:
    source = trace(model, OTHERS[::-1], ["L00.resid_post"])  # of 3, 2, 6 and 3 tokens
    found = trace(model, TEXTS, ["L00.resid_post"], [patch("L00.resid_post", source, positions=[-1, 0])])
    plain = trace(model, TEXTS, ["L00.resid_post"])["L00.resid_post"]
    for row, (text, other) in enumerate(zip(TEXTS, OTHERS[::-1], strict=True)):
        here, there = (6 - len(words.split()) for words in (text, other))
        for own, theirs in ((-1, -1), (here, there)):
            assert torch.equal(found["L00.resid_post"][row, own], source["L00.resid_post"][row, theirs])
        assert torch.equal(found["L00.resid_post"][row, here + 1 : -1], plain[row, here + 1 : -1])
    twin = trace(model, TEXTS, changes=[patch("L00.resid_post", trace(model, OTHERS, ["L00.resid_post"]))]).logits
    torch.testing.assert_close(twin, trace(model, OTHERS).logits, equal_nan=True)
    with pytest.raises(
        PellucidError, match="was recorded in 4 rows of the run to take it from, and is changed in 5 here"
    ):
        trace(model, [*TEXTS, "w1"], changes=[patch("L00.resid_post", source, positions=-1)])


def test_gradients_reach_every_row(model: Model) -> None:
    names = ["L00.z", "L01.pattern"]
    run = trace(model, TEXTS, names, gradients=True)
    found = run.gradients(run.logits[:, -1, 4].sum() - run.logits[:, -1, 2].sum())
    for row, text in enumerate(TEXTS):
        own = trace(model, text, names, gradients=True)
        slopes = own.gradients(own.logits[0, -1, 4] - own.logits[0, -1, 2])
        length = own.ids.shape[1]
        for name in names:
            ends = found[name][row]
            ends = ends[..., -length:, -length:] if name.endswith("pattern") else ends[-length:]
            torch.testing.assert_close(ends, slopes[name][0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("program", [False, True])
def test_means_are_over_tokens_and_never_over_padding(model: Model, program: bool) -> None:
    subject: Subject = Own(model) if program else model
    names = ["L01.z", "L00.pattern", "L01.keys", "L01.MLP.B"]
    runs = [trace(subject, text, names) for text in TEXTS]
    found = means(subject, TEXTS, names, batch=2).activations
    whole = torch.cat([run["L01.z"][0] for run in runs]).mean(0)
    torch.testing.assert_close(found["L01.z"][0, 0], whole)
    torch.testing.assert_close(found["L01.keys"][0, :, 0], torch.cat([run["L01.keys"][0] for run in runs], 1).mean(1))
    torch.testing.assert_close(found["L01.MLP.B"], runs[0]["L01.MLP.B"])
    placed = means(subject, TEXTS, names, by_position=True).activations
    assert placed["L01.z"].shape == (1, 6, 3, 5)
    torch.testing.assert_close(placed["L01.z"][0, 1], torch.stack([run["L01.z"][0, 1] for run in runs]).mean(0))
    torch.testing.assert_close(placed["L01.z"][0, 4], runs[1]["L01.z"][0, 4])
    three = torch.stack([runs[row]["L00.pattern"][0, :, 2, 1] for row in (0, 1, 3)]).mean(0)
    torch.testing.assert_close(found["L00.pattern"][0, :, 2, 1], three)
    change = ablate("L01.z", mean=means(subject, TEXTS, ["L01.z"], by_position=True), positions=-1)
    run = trace(subject, TEXTS, ["L01.z"], [change])["L01.z"]
    torch.testing.assert_close(run[2, -1], placed["L01.z"][0, 1])
    with pytest.raises(PellucidError, match=r"the means of L01.z are by position, of 6 positions, and 7 are there"):
        trace(subject, "w1 " * 7, changes=[change])


@pytest.mark.parametrize("kind", KINDS)
def test_sweeps_and_estimates_of_many_are_those_of_each(model: Model, kind: str) -> None:
    metric = logit_difference(model, [3, 4, 5, 6], 1)
    swept = sweep(model, TEXTS, OTHERS, metric, kind)
    guessed = estimate(model, TEXTS, OTHERS, metric, kind)
    assert swept.positions == (-6, -5, -4, -3, -2, -1)
    assert swept.tokens == ("w5", "w9", "w2", "w3", "w1", "w4")
    for row, (text, other) in enumerate(zip(TEXTS, OTHERS, strict=True)):
        own = logit_difference(model, 3 + row, 1)
        alone = sweep(model, text, other, own, kind)
        same(swept.values[..., row], alone.values[..., 0], (2,))
        torch.testing.assert_close(swept.base[row], alone.base[0])
        same(guessed[..., row], estimate(model, text, other, own, kind)[..., 0], (2,))
    places = sweep(model, TEXTS, OTHERS, metric, kind, positions=[1, -2], layers=[1])
    torch.testing.assert_close(places.values[:, :, 1], swept.values[1:, :, 4])
    torch.testing.assert_close(places.values[0, :, 0, 1], swept.values[1, :, 1, 1])
    whole = float((swept.source - swept.base).mean())
    if swept.recovered[0, 0, 4].isfinite():
        assert float(swept.recovered[0, 0, 4]) == pytest.approx(float(swept.effect[0, 0, 4]) / whole, rel=1e-4)
    effect = swept.values[0, 0, 4] - swept.base
    assert float(swept.effect[0, 0, 4]) == pytest.approx(float(effect.mean()), abs=1e-6)


def test_positions_behind_what_is_read_are_refused(model: Model) -> None:
    metric = logit_difference(model, 3, 5, position=-2)
    found = sweep(model, TEXTS, OTHERS, metric)
    assert found.positions == (-6, -5, -4, -3, -2)
    alone = sweep(model, "w8", "w8", logit_difference(model, 3, 5))
    assert float(found.base[2]) == pytest.approx(float(alone.base[0]), abs=1e-5)
    with pytest.raises(PellucidError, match="position -1 is behind the one that the metric reads"):
        sweep(model, TEXTS, OTHERS, metric, positions=[-1])
    first = sweep(model, TEXTS, OTHERS, logit_difference(model, 3, 5, position=1))
    assert first.positions == (0, 1)
    assert bool(first.values.isfinite().all())
    with pytest.raises(PellucidError, match="the metric's position 2 is not among the 2"):
        sweep(model, TEXTS, OTHERS, logit_difference(model, 3, 5, position=2))
    with pytest.raises(PellucidError, match="there are 4 clean and 3 corrupted prompts"):
        sweep(model, TEXTS, OTHERS[:3], metric)
    with pytest.raises(PellucidError, match="'w3 w1 w4' has 3 tokens and 'w5 w2 w2 w7 w5 w3' has 6"):
        sweep(model, TEXTS[:2], OTHERS[1::-1], metric)


def test_edges_paths_and_readouts_of_many_are_those_of_each(model: Model) -> None:
    metric = logit_difference(model, [3, 4, 5, 6], 1)
    edges = edge_attribution(model, TEXTS, OTHERS, metric, steps=2, prompts=2)
    paths = path_patch(model, TEXTS, OTHERS, metric, "L00.H01.OV", "L01.H02.QK")
    lens = logit_lens(model, TEXTS)
    direct = direct_effects(model, TEXTS, 3, 5, position=1)
    scores = []
    for row, (text, other) in enumerate(zip(TEXTS, OTHERS, strict=True)):
        own = logit_difference(model, 3 + row, 1)
        scores.append(edge_attribution(model, text, other, own, steps=2).scores)
        alone = path_patch(model, text, other, own, "L00.H01.OV", "L01.H02.QK")
        assert float(paths.values[row]) == pytest.approx(float(alone.values[0]), abs=1e-5)
        same(lens.logits[:, row], logit_lens(model, text).logits[:, 0], (1,))
        one = direct_effects(model, text, 3, 5, position=1)
        assert {name: float(value[row]) for name, value in direct.parts.items()} == pytest.approx(
            {name: float(value[0]) for name, value in one.parts.items()}, abs=1e-5
        )
    torch.testing.assert_close(edges.scores, torch.stack(scores).mean(0), rtol=1e-4, atol=1e-6)
    assert [line["position"] for line in lens.table if line["row"] == 2] == [0, 1] * 3


def test_probes_read_texts_of_any_length(model: Model) -> None:
    draw = torch.Generator().manual_seed(0)
    lengths = torch.randint(2, 7, (120,), generator=draw).tolist()
    texts = [" ".join(f"w{n}" for n in torch.randint(1, 11, (length,), generator=draw).tolist()) for length in lengths]
    labels = [int(text.split()[-1][1:]) % 2 for text in texts]
    assert probe(model, "L00.resid_pre", texts, labels).accuracy > 0.9
    grid = torch.full((120, 6), -1)
    grid[:, -1] = torch.tensor(labels)
    assert probe(model, "L00.resid_pre", texts, grid).accuracy > 0.9
    grid[:, 0] = 0
    with pytest.raises(PellucidError, match="in front of a text that is shorter than others; give -1 there"):
        probe(model, "L00.resid_pre", texts, grid)
