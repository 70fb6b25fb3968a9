"""Why: effects are those of exact ablations, and shares are of the margin."""

from __future__ import annotations

import json

import pytest
import torch

import checkpoints
from pellucid import ablate, means, picture, trace, why
from pellucid.base.errors import PellucidError
from pellucid.exact.model import Model
from pellucid.study.why import own_text, runner_up


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


def tied(model: Model, prompt: str) -> tuple[Model, int, int]:
    """A model in which another token is exactly as likely as the one that it says behind `prompt`."""
    said = int(model.logits(model.ids(prompt))[0, -1].argmax())
    other = next(token for token in range(1, model.n_vocab) if token != said and f"w{token}" not in prompt.split())
    twin = Model(model.subject)
    table = twin.weights["wte.weight"].clone()
    table[other] = table[said]
    twin.weights["wte.weight"] = table
    return twin, said, other


def test_two_tokens_that_tie_are_told_apart_in_nats(model: Model) -> None:
    twin, said, other = tied(model, "w3 w5")
    texts = torch.randint(11, (4, 6), generator=torch.Generator().manual_seed(3))
    found = why(twin, "w3 w5", texts=texts, top=5)
    assert {found.said.strip(), found.instead.strip()} == {f"w{said}", f"w{other}"}
    assert (found.margin, found.together) == (0.0, None)
    assert {cause.share for cause in found.causes} == {None}
    assert "effects are in nats" in found.text
    assert "%  L0" not in found.text
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["causes"][0]["share"] is None
    assert picture(found).table == found.table


def test_the_runner_up_is_another_token() -> None:
    assert runner_up(torch.tensor([1.0, 3.0, 3.0, 2.0])) == 2
    assert runner_up(torch.tensor([3.0, 3.0, 3.0])) == 1
    assert runner_up(torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16)) == 1


def test_a_margin_near_zero_has_no_percentages(model: Model) -> None:
    twin, _, other = tied(model, "w3 w5")
    table = twin.weights["wte.weight"].clone()
    final = model.run(model.ids("w3 w5"), ("final",))["final"][0, -1]
    across = torch.linspace(-1, 1, len(final))
    table[other] -= across - final * (across @ final - 1e-2) / (final @ final)
    twin.weights["wte.weight"] = table
    found = why(twin, "w3 w5", texts=torch.tensor([[0, 1, 2], [3, 4, 6]]), top=8)
    assert found.margin == pytest.approx(0.01, abs=1e-4)
    assert found.together is None
    assert f"{found.together_effect:+8.2f}" in found.text


def test_probabilities_stand_beside_logits(model: Model) -> None:
    found = why(model, "w3 w5", texts=torch.tensor([[0, 1, 2]]), top=1)
    likely = model.logits(model.ids("w3 w5"))[0, -1].softmax(-1).topk(2).values.tolist()
    assert found.probabilities == pytest.approx(tuple(likely))
    assert f"({100 * likely[0]:.3g} %)" in found.text
