"""Sweeps give what patching one piece at a time in a whole run gives."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

import checkpoints
from pellucid import edge_attribution, estimate, logit_difference, patch, path_patch, sweep, trace
from pellucid.base.errors import PellucidError
from pellucid.engine.metrics import OfLogits, divergence_from
from pellucid.engine.sweep import KINDS
from pellucid.exact.graph import Edit
from pellucid.exact.model import Model


@pytest.fixture(scope="module")
def model() -> Model:
    return checkpoints.random_model(2, n_embd=15, n_head=3, n_inner=4, n_layer=3)[0]


@pytest.fixture(scope="module")
def prompts() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(11, (2, 7), generator=generator), torch.randint(11, (2, 7), generator=generator)


class Alike:
    """A program whose first head of layer 1 looks everywhere alike."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def edits(self, ids: Tensor) -> Mapping[str, Edit]:
        return {"L01.scores": lambda x: x.index_fill(1, torch.tensor([0]), 0.0 * len(ids))}


def by_hand(subject: Model | Alike, base: Tensor, source: Tensor, kind: str, read: int) -> Tensor:
    """The same from whole runs: the logit of 3 minus that of 5 at `read`, [layer, member, position, prompt]."""
    decoder = (subject if isinstance(subject, Model) else subject.model).decoder
    name = "post" if kind == "neuron" else kind
    held = trace(subject, source, [f"L*.{name}"])
    members: list[int | None] = [None]
    if kind not in ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"):
        members = list(range(decoder.sizes.neuron if kind == "neuron" else decoder.sizes.head))
    axis = "neurons" if kind == "neuron" else "heads"
    found = []
    for layer in range(decoder.layers):
        for member in members:
            chosen = {} if member is None else {axis: member}
            for at in range(read + 1):
                change = patch(f"L{layer:02d}.{name}", held, positions=at, **chosen)
                found.append(trace(subject, base, changes=[change]).logits[:, read])
    stacked = torch.stack(found)
    return (stacked[..., 3] - stacked[..., 5]).view(decoder.layers, len(members), read + 1, len(base))


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_is_exact(model: Model, prompts: tuple[Tensor, Tensor], kind: str) -> None:
    found = sweep(model, *prompts, logit_difference(model, 3, 5), kind)
    expected = by_hand(model, *prompts, kind, 6)
    torch.testing.assert_close(found.values, expected, rtol=1e-4, atol=2e-5)
    logits = [model.logits(ids)[:, -1] for ids in prompts]
    torch.testing.assert_close(found.base, logits[0][:, 3] - logits[0][:, 5])
    torch.testing.assert_close(found.source, logits[1][:, 3] - logits[1][:, 5])


@pytest.mark.parametrize("tokens", [1, 9, 40])
@pytest.mark.parametrize("kind", ["z", "v", "resid_pre"])
def test_batches_change_nothing(model: Model, prompts: tuple[Tensor, Tensor], kind: str, tokens: int) -> None:
    metric = logit_difference(model, [[3, 4], [5]], [1, 2], position=5)
    whole = sweep(model, *prompts, metric, kind)
    some = sweep(model, *prompts, metric, kind, tokens=tokens, positions=[5, 2], layers=[2, 0])
    assert whole.positions == (0, 1, 2, 3, 4, 5)
    expected = whole.values[[2, 0]][:, :, [5, 2]]
    torch.testing.assert_close(some.values, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("switches", [{"activation_function": "relu"}, {"scale_attn_by_inverse_layer_idx": True}])
def test_switches_of_the_family(prompts: tuple[Tensor, Tensor], switches: dict[str, object]) -> None:
    model = checkpoints.random_model(5, n_embd=15, n_head=3, n_inner=4, n_layer=2, vocab_size=11, **switches)[0]
    for kind in ("q", "z"):
        found = sweep(model, *prompts, logit_difference(model, 3, 5), kind)
        torch.testing.assert_close(found.values, by_hand(model, *prompts, kind, 6), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("kind", ["resid_mid", "z", "pattern", "neuron"])
def test_a_program_is_swept_with_what_it_replaces(model: Model, prompts: tuple[Tensor, Tensor], kind: str) -> None:
    found = sweep(Alike(model), *prompts, logit_difference(model, 3, 5), kind, tokens=50)
    torch.testing.assert_close(found.values, by_hand(Alike(model), *prompts, kind, 6), rtol=1e-4, atol=2e-5)


def test_any_function_of_logits_is_a_metric(model: Model, prompts: tuple[Tensor, Tensor]) -> None:
    metric = OfLogits(lambda logits, rows: logits[:, 3] * (rows + 1) - logits[:, 5] * (rows + 1))
    found = sweep(model, *prompts, metric, "mlp_out")
    expected = by_hand(model, *prompts, "mlp_out", 6) * torch.tensor([1, 2])
    torch.testing.assert_close(found.values, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(PellucidError, match="the metric returned"):
        sweep(model, *prompts, OfLogits(lambda logits, _: logits), "mlp_out")


def test_the_table_names_pieces_by_effect(model: Model, prompts: tuple[Tensor, Tensor]) -> None:
    found = sweep(model, *prompts, logit_difference(model, 3, 5), "z")
    lines = found.table
    assert len(lines) == 3 * 3 * 7
    assert abs(lines[0]["effect"]) == max(abs(line["effect"]) for line in lines)
    first = lines[0]
    place = first["layer"], first["head"], first["position"]
    assert first["recovered"] == pytest.approx(float(found.recovered[place]))
    assert first["token"] == f"w{int(prompts[0][0, first['position']])}"


def test_bad_sweeps_are_named(model: Model, prompts: tuple[Tensor, Tensor]) -> None:
    metric = logit_difference(model, 3)
    with pytest.raises(PellucidError, match=r"'w0 .* has 7 tokens and 'w.* has 6; .* must match token by token"):
        sweep(model, prompts[0], prompts[1][:, :6], metric)
    with pytest.raises(PellucidError, match="'patern' cannot be swept; did you mean pattern"):
        sweep(model, *prompts, metric, "patern")
    with pytest.raises(PellucidError, match="layer 3 is not among the 3"):
        sweep(model, *prompts, metric, layers=[3])
    with pytest.raises(PellucidError, match="position 7 is not among the 7"):
        sweep(model, *prompts, logit_difference(model, 3, position=7))


def test_runs_that_do_not_differ_have_no_shares(model: Model, prompts: tuple[Tensor, Tensor]) -> None:
    metric = logit_difference(model, 3, 5)
    found = sweep(model, prompts[0], prompts[0], metric)
    assert {line["recovered"] for line in found.table} == {None}
    assert bool(found.recovered.isnan().all())
    assert json.dumps(found.table, allow_nan=False)
    path = path_patch(model, prompts[0], prompts[0], metric, "L00.H00.OV", "logits")
    assert path.table[0]["recovered"] is None
    other = sweep(model, *prompts, metric)
    assert all(line["recovered"] is not None for line in other.table)


def test_answers_are_one_for_all_or_one_for_each(model: Model, prompts: tuple[Tensor, Tensor]) -> None:
    one = [ids[:1] for ids in prompts]
    both = logit_difference(model, [3, 5])
    for run in (sweep, estimate, edge_attribution):
        with pytest.raises(PellucidError, match="the metric has answers for 2 prompts, and 1 is given"):
            run(model, *one, both)
    with pytest.raises(PellucidError, match="answers for 2 prompts, and 1 is given"):
        path_patch(model, *one, both, "L00.H00.OV", "logits")
    with pytest.raises(PellucidError, match="answers for 3 prompts, and 2 are given"):
        sweep(model, *prompts, logit_difference(model, 3, [1, 2, 4]))
    with pytest.raises(PellucidError, match="there are 2 answers and 3 to say instead"):
        logit_difference(model, [3, 5], [1, 2, 4])
    with pytest.raises(PellucidError, match="a prompt has no answer"):
        logit_difference(model, [[3], []])
    with pytest.raises(PellucidError, match="answers for 2 prompts, and 1 is given"):
        sweep(model, *one, divergence_from(model, model.logits(prompts[0])[:, -1]))
    logits = model.logits(prompts[0])[:, -1]
    each = sweep(model, *prompts, logit_difference(model, [3, [5, 1]], 2), layers=[0])
    wanted = [logits[0, 3] - logits[0, 2], logits[1, [5, 1]].mean() - logits[1, 2]]
    torch.testing.assert_close(each.base, torch.stack(wanted), rtol=1e-4, atol=1e-5)
