"""Edge attribution and circuits, held against whole runs in which inputs are replaced by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

import checkpoints
from pellucid import (
    agreement,
    edge_attribution,
    estimate,
    faithfulness_curve,
    find_circuit,
    logit_difference,
    read_task,
    replace,
    score_edges,
    steer,
    sweep,
    trace,
)
from pellucid.base.errors import PellucidError
from pellucid.engine.tasks import MinimalPair, MinimalPairs, _counterpart, _Entry, read_blimp
from pellucid.exact.model import Model
from pellucid.study.attribute import EdgeScores, completeness
from pellucid.study.circuits import Curve, Examiner, judge, largest
from pellucid.study.wiring import Wiring

SHAPE = {"n_embd": 15, "n_head": 3, "n_inner": 4, "n_layer": 2}


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(checkpoints.random_model(2, **SHAPE)[0].subject, torch.float64)


@pytest.fixture(scope="module")
def prompts() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(11, (3, 6), generator=generator), torch.randint(11, (3, 6), generator=generator)


@pytest.fixture(scope="module")
def task() -> MinimalPairs:
    draw = torch.Generator().manual_seed(4)

    def text(length: int) -> str:
        return " ".join(f"w{token}" for token in torch.randint(1, 11, (length,), generator=draw).tolist())

    pairs = [MinimalPair(text(n), text(n), (f"w{1 + n}",), (f"w{2 + n}",)) for n in (4, 6, 4, 4, 6, 5)]
    return MinimalPairs("random", tuple(pairs))


def test_the_wiring_has_the_edges_of_the_benchmark() -> None:
    wiring = Wiring(12, 12)
    assert int(wiring.real.sum()) == 32491
    assert wiring.edge("a0.h1->a2.h3<q>") == (2, wiring.readers.index("a2.h3<q>"))
    assert wiring.name(*wiring.edge("m11->logits")) == "m11->logits"
    for wrong, message in (("a0.h1->a0.h3<q>", "reads before"), ("a0.h12->m1", "no 'a0.h12'; did you mean a0.h")):
        with pytest.raises(PellucidError, match=message):
            wiring.edge(wrong)


def test_edges_without_a_path_are_dropped() -> None:
    wiring = Wiring(2, 2)
    edges = torch.zeros_like(wiring.real)
    for name in ("input->a0.h0<v>", "a0.h0->m1", "m1->logits", "a0.h1->m1", "input->a1.h1<k>"):
        edges[wiring.edge(name)] = True
    kept = wiring.connected(edges)
    assert {wiring.name(*at) for at in kept.nonzero().tolist()} == {"input->a0.h0<v>", "a0.h0->m1", "m1->logits"}


def test_all_edges_are_the_clean_run_and_none_the_corrupted(model: Model, task: MinimalPairs) -> None:
    examiner = Examiner(model, task, prompts=2)
    assert examiner.value(Wiring.of(model.decoder).real) == pytest.approx(examiner.clean, rel=1e-9)
    none = torch.zeros_like(Wiring.of(model.decoder).real)
    assert examiner.value(none) == pytest.approx(examiner.corrupted, rel=1e-9)
    assert examiner.faithfulness(none) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("edge", ["a0.h1->a1.h2<k>", "input->a0.h0<v>", "m0->m1", "a1.h0->logits"])
def test_a_missing_edge_is_another_input_of_one_reader(model: Model, task: MinimalPairs, edge: str) -> None:
    wiring = Wiring.of(model.decoder)
    edges = wiring.real.clone()
    edges[wiring.edge(edge)] = False
    (batch, *_) = task.batches(model)
    names = {"a0.h1": "L00.H01.OV", "input": "L00.resid_pre", "m0": "L00.mlp_out", "a1.h0": "L01.H00.OV"}
    said = names[edge.partition("->")[0]]
    delta = trace(model, batch.corrupted, [said])[said] - trace(model, batch.clean, [said])[said]
    reader = edge.partition("->")[2]
    change = {
        "a1.h2<k>": replace("L01.k_in", lambda x: x + delta, heads=2),
        "a0.h0<v>": replace("L00.v_in", lambda x: x + delta, heads=0),
        "m1": steer("L01.mlp_in", delta),
        "logits": steer("final_in", delta),
    }[reader]
    final = trace(model, batch.clean, ["final"], [change])["final"][:, -1]
    rows = torch.arange(len(batch.clean))
    alone = MinimalPairs("one length", batch.pairs)
    assert Examiner(model, alone).value(edges) == pytest.approx(
        float(batch.metric(model, final, rows).mean()), rel=1e-8
    )


def test_edge_scores_are_slopes(model: Model, prompts: tuple[Tensor, Tensor]) -> None:
    clean, corrupted = prompts
    metric = logit_difference(model, 3, 5)
    found = edge_attribution(model, clean, corrupted, metric, "gradient", prompts=2)
    step = 1e-6
    for edge, said, name, heads in (
        ("a0.h2->a1.h1<q>", "L00.H02.OV", "L01.q_in", 1),
        ("input->m0", "L00.resid_pre", "L00.mlp_in", None),
        ("m0->a1.h0<v>", "L00.mlp_out", "L01.v_in", 0),
        ("a0.h1->logits", "L00.H01.OV", "final_in", None),
    ):
        delta = trace(model, clean, [said])[said] - trace(model, corrupted, [said])[said]
        chosen = {} if heads is None else {"heads": heads}
        moved = trace(model, clean, changes=[steer(name, delta, -step, **chosen)]).logits[:, -1]
        plain = model.logits(clean)[:, -1]
        slope = ((plain - moved)[:, 3] - (plain - moved)[:, 5]).mean() / step
        at = found.wiring.edge(edge)
        assert float(found.scores[at]) == pytest.approx(float(slope), rel=1e-3, abs=1e-6), edge
    assert len(found.table) == int(found.wiring.real.sum())


def test_integrated_gradients_average_over_inputs(model: Model, prompts: tuple[Tensor, Tensor]) -> None:
    metric = logit_difference(model, 3, 5)
    one = edge_attribution(model, *prompts, metric, "ig", steps=1)
    assert not torch.allclose(one.scores, edge_attribution(model, *prompts, metric, "gradient").scores)
    many = edge_attribution(model, *prompts, metric, "ig", steps=4)
    assert not torch.allclose(many.scores, one.scores)
    with pytest.raises(PellucidError, match="'gradiant' is no method; did you mean gradient"):
        edge_attribution(model, *prompts, metric, "gradiant")
    with pytest.raises(PellucidError, match="steps is 0"):
        edge_attribution(model, *prompts, metric, "ig", steps=0)


@pytest.mark.parametrize("kind", ["resid_mid", "z", "pattern", "neuron", "k"])
def test_small_patches_are_estimated_exactly(model: Model, prompts: tuple[Tensor, Tensor], kind: str) -> None:
    """Between two runs that differ little, first order is all there is."""
    near = Model(model.subject, torch.float64)
    table = near.weights["wte.weight"].clone()
    table[7] = table[6] + 1e-5 * table[7]
    near.weights["wte.weight"] = table
    base = prompts[0].clone()
    base[:, 1], base[:, 4] = 6, 6
    source = torch.where(base == 6, 7, base)
    metric = logit_difference(near, 3, 5)
    exact = sweep(near, base, source, metric, kind)
    effect = (exact.values - exact.base).double()
    found = estimate(near, base, source, metric, kind)
    assert found.shape == effect.shape
    assert agreement(found, effect).pearson > 0.99 or float(effect.abs().max()) < 1e-6


def test_a_metric_before_the_end_is_read_where_it_stands(model: Model, prompts: tuple[Tensor, Tensor]) -> None:
    last = prompts[0].shape[1] - 1
    found = [
        estimate(model, *prompts, logit_difference(model, 3, 5, position=at), "resid_pre", "ig")
        for at in (-3, last - 2)
    ]
    torch.testing.assert_close(found[0], found[1])
    cut = [ids[:, : last - 1] for ids in prompts]
    torch.testing.assert_close(found[0], estimate(model, *cut, logit_difference(model, 3, 5), "resid_pre", "ig"))
    with pytest.raises(PellucidError, match="the metric's position 99 is not among"):
        estimate(model, *prompts, logit_difference(model, 3, 5, position=99))


def test_integrated_gradients_take_midpoints_and_say_what_they_miss(
    model: Model, prompts: tuple[Tensor, Tensor]
) -> None:
    ids, other = (side[:1] for side in prompts)
    metric = logit_difference(model, 3, 5)
    found = completeness(model, ids, other, metric, steps=8)
    slopes = []
    for step in range(8):
        at = (step + 0.5) / 8
        far, near = (trace(model, side, ["EMB.TOK"])["EMB.TOK"] for side in (other, ids))
        start = replace("EMB.TOK", far + at * (near - far))
        run = trace(model, ids, ["L00.resid_pre"], [start], gradients=True)
        value = run.logits[0, -1, 3] - run.logits[0, -1, 5]
        slopes.append(run.gradients(value)["L00.resid_pre"])
    expected = float(((far - near) * torch.stack(slopes).mean(0)).sum())
    assert found.attributed == pytest.approx(expected, rel=1e-4)
    logits = [model.logits(side)[0, -1] for side in (ids, other)]
    wanted = float((logits[1][3] - logits[1][5]) - (logits[0][3] - logits[0][5]))
    assert found.difference == pytest.approx(wanted, rel=1e-4)
    assert found.missed == pytest.approx(1 - expected / wanted, abs=1e-4)
    many = completeness(model, ids, other, metric, steps=200)
    assert many.missed is not None
    assert abs(many.missed) < 1e-3
    edges = edge_attribution(model, ids, other, metric, "ig", steps=8).completeness
    assert edges is not None
    assert edges.attributed == pytest.approx(-expected, rel=1e-4)
    assert edges.missed == pytest.approx(found.missed, abs=1e-4)
    assert completeness(model, ids, ids, metric).missed is None


def test_relevance_rules_freeze_scales_and_straighten_neurons(model: Model, prompts: tuple[Tensor, Tensor]) -> None:
    metric = logit_difference(model, 3, 5)
    found = estimate(model, *prompts, metric, "neuron", "relp")
    runs = [trace(model, ids, ["L01.post", "final.scale"]) for ids in prompts]
    change = (runs[1]["L01.post"] - runs[0]["L01.post"])[:, -1]
    direction = (model.weights["wte.weight"][3] - model.weights["wte.weight"][5]) * model.weights["ln_f.weight"]
    direction = direction - direction.mean()
    said = change * (model.weights["h.1.mlp.c_proj.weight"] @ direction) / runs[0]["final.scale"][:, -1]
    torch.testing.assert_close(found[1, :, -1], said.T.float(), rtol=1e-4, atol=1e-5)
    edges = edge_attribution(model, *prompts, metric, "relp")
    assert bool(edges.scores.isfinite().all())


def test_agreement_needs_pairs() -> None:
    x = torch.arange(5.0)
    assert agreement(x, x**3).spearman == pytest.approx(1)
    assert agreement(x, x**3).pearson < 1
    with pytest.raises(PellucidError, match="estimates have shape"):
        agreement(x, x[:3])


def test_a_found_circuit_is_measured_and_pruned(model: Model, task: MinimalPairs) -> None:
    scores = score_edges(model, task, "gradient")
    found = find_circuit(model, task, 0.5, scores=scores)
    assert found.faithfulness == pytest.approx(Examiner(model, task).faithfulness(found.edges))
    assert len(found) <= round(0.5 * int(found.wiring.real.sum()))
    everything = find_circuit(model, task, 1.0, scores=scores)
    assert everything.faithfulness == pytest.approx(1, abs=1e-6)
    small = find_circuit(model, task, 1.0, faithful=0.9, scores=scores, test=task)
    assert len(small) < len(everything)
    assert small.faithfulness is not None
    assert small.faithfulness >= 0.9
    with pytest.raises(PellucidError, match="the budget is 0"):
        find_circuit(model, task, 0, scores=scores)


def test_a_budget_is_a_number_of_edges_or_a_share(model: Model, task: MinimalPairs) -> None:
    wiring = Wiring.of(model.decoder)
    scores = torch.zeros(wiring.real.shape)
    scores[wiring.edge("input->logits")], scores[wiring.edge("input->m0")] = 2.0, 1.0
    ranked = EdgeScores(wiring, scores, "gradient")
    assert [line["edge"] for line in find_circuit(model, task, 1, scores=ranked).table] == ["input->logits"]
    assert len(find_circuit(model, task, 1.0, scores=ranked)) == int(wiring.real.sum())
    assert len(find_circuit(model, task, 1e-9, scores=ranked)) == 1
    with pytest.raises(PellucidError, match=r"the budget is 2.5, expected a share .* or a whole number"):
        find_circuit(model, task, 2.5, scores=ranked)


def test_curves_have_the_areas_of_the_benchmark(model: Model, task: MinimalPairs) -> None:
    curve = Curve("t", (0.1, 0.2, 1.0), (0.0, 0.5, 1.0), (1, 2, 10))
    assert curve.cpr == pytest.approx(0.1 * 0.25 + 0.8 * 0.75)
    assert curve.cmd == pytest.approx(0.1 * 0.75 + 0.8 * 0.25)
    found = faithfulness_curve(model, task, score_edges(model, task, "gradient"), (0.1, 1.0))
    assert found.faithfulness[-1] == pytest.approx(1, abs=1e-6)
    assert found.table[0]["share"] == 0.1


def test_the_whole_model_is_complete(model: Model, task: MinimalPairs) -> None:
    whole = largest(score_edges(model, task, "gradient"), 10**6)
    found = judge(model, task, whole, sets=2)
    assert found.faithfulness == pytest.approx(1, abs=1e-6)
    assert found.incompleteness == pytest.approx(0, abs=1e-6)
    assert set(found.without) == set(whole.nodes) - {"input"}
    assert found.resampled == pytest.approx(1, abs=1e-6)


def test_tasks_come_from_lines_of_json(model: Model, task: MinimalPairs, tmp_path: Path) -> None:
    task.save(tmp_path / "random.jsonl")
    assert read_task(tmp_path / "random.jsonl") == task
    assert len(read_task(tmp_path / "random.jsonl", limit=2)) == 2
    assert [len(batch.clean) for batch in task.batches(model)] == [3, 2, 1]
    half, rest = task.split()
    assert half.pairs + rest.pairs == task.pairs
    odd = MinimalPairs(
        "odd", (MinimalPair("a\u2028b\x85", "c\x0bd", ("e",), ("f",)),)
    )  # characters at which other readers end lines
    odd.save(tmp_path / "odd.jsonl")
    assert read_task(tmp_path / "odd.jsonl") == odd
    bad = MinimalPair("w1 w2", "w1", ("w3",), ("w4",))
    with pytest.raises(PellucidError, match=r"'w1 w2' has 2 tokens and 'w1' has 1"):
        MinimalPairs("bad", (bad,)).batches(model)
    assert MinimalPairs("bad", (bad, task.pairs[0])).fitting(model).pairs == task.pairs[:1]
    with pytest.raises(PellucidError, match="begin with the same token"):
        MinimalPairs("bad", (MinimalPair("w1", "w2", ("w3",), ("w3",)),)).batches(model)
    for text, message in (
        ("{", "not JSON"),
        ('{"clean": "a"}', r"corrupted is missing \(and 2 more\)"),
        ('{"clean": "a", "corrupted": "b", "answers": [], "instead": "c"}', "answers.* is "),
        (
            '{"clean": "a", "corrupted": "b", "answers": "d", "instead": "c", "cause": [[0]]}',
            r"cause\[0\]\[1\] is missing",
        ),
    ):
        (tmp_path / "bad.jsonl").write_text(text)
        with pytest.raises(PellucidError, match=f"bad.jsonl:1.*{message}"):
            read_task(tmp_path / "bad.jsonl")
    with pytest.raises(PellucidError, match="is not a file"):
        read_task(tmp_path / "none.jsonl")


def _blimp(path: Path, rows: Sequence[tuple[str, str, str]]) -> Path:
    keys = ("one_prefix_prefix", "one_prefix_word_good", "one_prefix_word_bad", "sentence_good", "sentence_bad")
    full = [(prefix, good, bad, f"{prefix} {good}", f"{prefix} {bad}") for prefix, good, bad in rows]
    path.write_text("\n".join(json.dumps(dict(zip(keys, row, strict=True))) for row in full))
    return path


def test_blimp_gets_partners_that_want_the_other(model: Model, tmp_path: Path) -> None:
    rows = [("w1 w2", "w3", "w4"), ("w5 w6", "w4", "w3"), ("w7", "w3", "w4"), ("w8 w9", "w3", "w5")]
    path = _blimp(tmp_path / "blimp-x.jsonl", rows)
    found = read_blimp(model, path)
    pairs = [("w1 w2", "w5 w6", ("w3",), ("w4",)), ("w5 w6", "w1 w2", ("w4",), ("w3",))]
    assert [(p.clean, p.corrupted, p.answers, p.instead) for p in found.task.pairs] == pairs
    assert found.left_out == {"no prefix wants the other word": 2}
    path.write_text("{}")
    with pytest.raises(PellucidError, match="is no line of BLiMP"):
        read_blimp(model, path)


def test_blimp_words_that_begin_alike_are_told_apart_by_what_follows(model: Model, tmp_path: Path) -> None:
    rows = [("w1 w2", "w3 w6", "w3 w7"), ("w4 w5", "w3 w7", "w3 w6")]
    (first, second) = read_blimp(model, _blimp(tmp_path / "blimp-x.jsonl", rows)).task.pairs
    assert (first.clean, first.corrupted, first.answers, first.instead) == ("w1 w2 w3", "w4 w5 w3", ("w6",), ("w7",))
    assert (second.clean, second.corrupted) == ("w4 w5 w3", "w1 w2 w3")


def test_determiners_and_licensors_have_counterparts() -> None:
    kept = ("a", "b")
    assert _counterpart(_Entry("Eva sold this", "car", "cars", kept)) == "Eva sold these"
    assert _counterpart(_Entry("Even Eva has", "really", "ever", kept)) == "Only Eva has"
    assert _counterpart(_Entry("Even Eva has", "really", "also", kept)) is None
    assert _counterpart(_Entry("These men like", "themselves", "himself", kept)) is None
