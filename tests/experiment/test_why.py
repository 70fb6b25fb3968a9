"""Why: effects are those of exact ablations, and shares are of the margin."""

from __future__ import annotations

import pytest
import torch

import checkpoints
from pellucid import ablate, means, trace, why
from pellucid.base.errors import PellucidError
from pellucid.exact.model import Model
from pellucid.experiment.why import own_text


@pytest.fixture(scope="module")
def model() -> Model:
    return checkpoints.random_model(2, n_embd=15, n_head=3, n_inner=4, n_layer=2)[0]


def test_effects_are_those_of_ablations(model: Model) -> None:
    texts = torch.randint(11, (6, 12), generator=torch.Generator().manual_seed(3))
    found = why(model, "w3 w5 w7", texts=texts, top=40)
    logits = model.logits(model.ids("w3 w5 w7"))[0, -1]
    said = int(logits.argmax())
    assert found.said.strip() == f"w{said}"
    other = int(logits.topk(2).indices[1])
    assert found.margin == pytest.approx(float(logits[said] - logits[other]), abs=1e-5)
    averages = means(model, texts, ["L01.z", "L00.mlp_out", "EMB.TOK"])
    for cause in found.causes[:12]:
        if cause.part.endswith(".OV") and cause.part.startswith("L01"):
            change = ablate("L01.z", mean=averages, heads=int(cause.part[5:7]), positions=cause.position)
        elif cause.part in ("L00.mlp_out", "EMB.TOK"):
            change = ablate(cause.part, mean=averages, positions=cause.position)
        else:
            continue
        left = trace(model, "w3 w5 w7", changes=[change]).logits[0, -1]
        assert cause.effect == pytest.approx(found.margin - float(left[said] - left[other]), abs=1e-5)
        assert cause.share == pytest.approx(cause.effect / found.margin)
    sizes = [abs(cause.effect) for cause in found.causes]
    assert sizes == sorted(sizes, reverse=True)
    assert len(found.text.splitlines()) == 2 + len(found.causes)
    assert found.to_dict()["causes"] == found.table


def test_instead_is_a_choice(model: Model) -> None:
    texts = own_text(model, rows=3, length=6)
    assert texts.shape == (3, 6)
    assert bool((texts[:, 0] == 0).all())
    said = why(model, "w3", texts=texts, top=1).said.strip()
    other = "w1" if said != "w1" else "w2"
    assert why(model, "w3", other, texts=texts, top=1).instead.strip() == other
    with pytest.raises(PellucidError, match="is what was said after 'w3'"):
        why(model, "w3", said, texts=texts)
