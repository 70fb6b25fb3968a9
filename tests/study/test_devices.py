"""The engine's verbs run in every kind of number, and on a GPU where there is one."""

from __future__ import annotations

import pytest
import torch

import checkpoints
from pellucid import (
    ablate,
    edge_attribution,
    generate,
    logit_difference,
    means,
    patch,
    path_patch,
    replace,
    steer,
    sweep,
    trace,
    why,
)
from pellucid.engine.sweep import KINDS
from pellucid.engine.tasks import MinimalPair, MinimalPairs
from pellucid.exact.model import Model
from pellucid.study.attribute import estimate
from pellucid.study.circuits import find_circuit, judge
from pellucid.study.readout import direct_effects, logit_lens

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
PLACES = [
    ("cpu", "bfloat16"),
    ("cpu", "float64"),
    *(pytest.param("cuda", n, marks=CUDA) for n in ("float32", "bfloat16")),
]


@pytest.mark.parametrize(("device", "kind"), PLACES)
def test_every_verb_runs_there(device: str, kind: str) -> None:
    dtype = getattr(torch, kind)
    subject = checkpoints.random_model(2, n_embd=16, n_head=2, n_inner=8, n_layer=2)[0].subject
    model, reference = Model(subject, dtype, device), Model(subject)
    clean, corrupted = "w1 w2 w3 w4", "w5 w2 w3 w6"
    metric = logit_difference(model, "w7", "w8")
    source = trace(model, corrupted, ["L*.head_writes"])
    changes = [patch("L00.H01.OV", source), steer("L01.resid_pre", torch.ones(16)), ablate("L01.N0003.OUT")]
    logits = trace(model, clean, changes=changes).logits
    assert (logits.device.type, logits.dtype) == (device, dtype)
    for what in KINDS:
        found = sweep(model, clean, corrupted, metric, what)
        exact = sweep(reference, clean, corrupted, logit_difference(reference, "w7", "w8"), what)
        torch.testing.assert_close(found.values, exact.values, rtol=0.1, atol=0.1, check_dtype=False)
        assert bool(estimate(model, clean, corrupted, metric, what, "relp").isfinite().all())
    assert bool(edge_attribution(model, clean, corrupted, metric).scores.isfinite().all())
    assert bool(path_patch(model, clean, corrupted, metric, "L00.H00.OV", "L01.H01.QK").values.isfinite().all())
    task = MinimalPairs("one", (MinimalPair(clean, corrupted, ("w7",), ("w8",)),))
    circuit = find_circuit(model, task, 0.5)
    judge(model, task, circuit, sets=1)
    assert bool(direct_effects(model, clean, "w7").total.isfinite().all())
    assert bool(logit_lens(model, clean).logits.isfinite().all())
    assert why(model, clean, top=3).causes


@pytest.mark.parametrize(("device", "kind"), PLACES)
def test_prompts_of_different_lengths_run_there(device: str, kind: str) -> None:
    subject = checkpoints.random_model(2, n_embd=16, n_head=2, n_inner=8, n_layer=2)[0].subject
    model, reference = Model(subject, getattr(torch, kind), device), Model(subject)
    texts, others = ["w1 w2 w3 w4", "w5 w6"], ["w5 w2 w3 w6", "w7 w6"]
    metric = logit_difference(model, [7, 8], 9)
    changes = [patch("L00.H01.OV", trace(model, others, ["L00.head_writes"]), positions=-1)]
    changes += [ablate("L01.z", mean=means(model, texts, ["L01.z"])), replace("L01.scores", -torch.inf, keys=0)]
    run = trace(model, texts, ["L01.pattern"], changes, gradients=True)
    assert run.gradients(run.logits[:, -1, 3].sum())["L01.pattern"].device.type == device
    torch.testing.assert_close(
        model.logits(texts)[:, -1],
        reference.logits(texts)[:, -1],
        rtol=0.1,
        atol=0.1,
        check_dtype=False,
        check_device=False,
    )
    assert bool(sweep(model, texts, others, metric, "z").effect.isfinite().all())
    assert bool(estimate(model, texts, others, metric, "z", "ig")[:, :, -1].isfinite().all())
    assert bool(edge_attribution(model, texts, others, metric).scores.isfinite().all())
    assert bool(path_patch(model, texts, others, metric, "L00.H00.OV", "L01.H01.QK").values.isfinite().all())
    assert bool(direct_effects(model, texts, "w7").total.isfinite().all())
    said = generate(model, texts, 3, changes=changes[1:], record=["L01.pattern"], temperature=1.0)
    assert all(one.trace is not None and bool(one.trace["L01.pattern"].isfinite().all()) for one in said)
