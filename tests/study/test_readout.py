"""Read-outs: lens, direct effects, what heads do, probes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import checkpoints
from pellucid import direct_effects, head_scores, logit_lens, probe, trace
from pellucid.base.errors import PellucidError
from pellucid.exact.graph import Edit
from pellucid.exact.model import Model
from pellucid.study.heads import repeated


@pytest.fixture(scope="module")
def model() -> Model:
    return checkpoints.random_model(2, n_embd=15, n_head=3, n_inner=7, n_layer=3)[0]


@pytest.fixture(scope="module")
def ids() -> Tensor:
    return torch.randint(11, (3, 14), generator=torch.Generator().manual_seed(1))


def test_the_last_lens_is_the_model_and_the_first_the_embedding(model: Model, ids: Tensor) -> None:
    lens = logit_lens(model, ids)
    torch.testing.assert_close(lens.logits[-1], model.logits(ids))
    first = trace(model, ids, ["L00.resid_pre"])["L00.resid_pre"]
    weight, bias = model.weights["ln_f.weight"], model.weights["ln_f.bias"]
    normed = torch.nn.functional.layer_norm(first, (15,), weight, bias, model.decoder.final.epsilon)
    torch.testing.assert_close(lens.logits[0], normed @ model.weights["wte.weight"].T)
    line = lens.table[-1]
    assert (line["row"], line["stream"], line["position"]) == (2, "L02.resid_post", 13)
    assert line["says"] == f"w{int(model.logits(ids)[2, 13].argmax())}"
    assert int(lens.rank(line["says"])[-1, 2, 13]) == 0


@pytest.mark.parametrize("switches", [{}, {"tie_word_embeddings": False}])
def test_direct_effects_add_up(ids: Tensor, switches: dict[str, bool]) -> None:
    model = checkpoints.random_model(4, n_embd=15, n_head=3, n_inner=7, n_layer=3, **switches)[0]
    found = direct_effects(model, ids, "w3", "w7", position=5)
    logits = model.logits(ids)[:, 5]
    torch.testing.assert_close(found.total, logits[:, 3] - logits[:, 7], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sum(found.parts.values()), found.total, rtol=1e-4, atol=1e-4)
    for layer in range(3):
        torch.testing.assert_close(found.neurons[layer].sum(-1), found.parts[f"L{layer:02d}.N*.OUT"])
    assert abs(found.table[0]["effect"]) >= abs(found.table[1]["effect"])
    alone = direct_effects(model, ids, 3, position=5)
    torch.testing.assert_close(alone.total, logits[:, 3], rtol=1e-4, atol=1e-4)


def test_answers_must_be_tokens(model: Model, ids: Tensor) -> None:
    with pytest.raises(PellucidError, match=r"'w1 w2' is 2 tokens"):
        direct_effects(model, ids, "w1 w2")
    with pytest.raises(PellucidError, match="position 14 is not among the 14"):
        direct_effects(model, ids, "w1", position=14)


class Habit:
    """A program whose head 1 of layer 2 looks `back` positions before its own place."""

    def __init__(self, model: Model, back: int) -> None:
        self.model, self.back = model, back

    def edits(self, ids: Tensor) -> dict[str, Edit]:
        at = torch.arange(ids.shape[1])
        wanted = 50.0 * (at[:, None] - at[None] == self.back)
        return {"L02.scores": lambda x: x.index_copy(1, torch.tensor([1]), wanted.expand(len(x), 1, -1, -1))}


def test_heads_score_for_what_they_do(model: Model) -> None:
    half = repeated(model, 2)[1]
    for back, habit in ((1, "previous_token"), (half, "duplicate_token"), (half - 1, "induction")):
        found = head_scores(Habit(model, back))
        assert float(found[habit][2, 1]) > 0.99
        assert float(found[habit][0, 0]) < 0.9
    line = found.table[7]
    assert line["part"] == "L02.H01"
    assert -1 <= line["copying"] <= 1
    with pytest.raises(PellucidError, match="'copy' is not among"):
        found["copy"]


def test_a_head_that_copies_has_copying_one() -> None:
    model = checkpoints.random_model(0, n_embd=6, n_head=1, n_layer=1, tie_word_embeddings=True)[0]
    identity = torch.eye(6)
    for name in ("h.0.ln_1.weight", "ln_f.weight"):
        model.weights[name] = torch.ones(6)
    model.weights["h.0.attn.c_attn.weight"] = torch.cat([identity] * 3, 1)
    model.weights["h.0.attn.c_proj.weight"] = identity
    assert float(head_scores(model)["copying"][0, 0]) == pytest.approx(1, abs=1e-5)
    model.weights["h.0.attn.c_proj.weight"] = -identity
    assert float(head_scores(model)["copying"][0, 0]) == pytest.approx(-1, abs=1e-5)


def test_a_probe_reads_what_is_there_and_no_more(model: Model) -> None:
    ids = torch.randint(11, (120, 6), generator=torch.Generator().manual_seed(3))
    token = (ids[:, -1] % 2).numpy()
    found = probe(model, "L00.resid_pre", ids, token)
    assert found.accuracy > 0.95
    assert found.control is not None
    assert found.selectivity == pytest.approx(found.accuracy - found.control)
    noise = np.random.default_rng(0).integers(0, 2, 120)
    assert probe(model, "L00.resid_pre", ids, noise).accuracy < 0.75
    assert found.fitted + found.tested == 120
    assert found.table[0]["where"] == "L00.resid_pre"
    every = np.where(np.arange(6) > 2, ids.numpy() % 3, -1)
    assert probe(model, "blocks.0.hook_embed".replace("blocks.0.", ""), ids, every).tested == 36 * 3
    with pytest.raises(PellucidError, match=r"labels have shape \[3\], expected \[120\] or \[120, 6\]"):
        probe(model, "L00.resid_pre", ids, [1, 2, 3])
    with pytest.raises(PellucidError, match="of one kind only"):
        probe(model, "L00.resid_pre", ids, [1] * 120)
