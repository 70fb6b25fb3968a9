"""Recording and replacing at addresses, activations and hook names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import checkpoints
import pellucid
from pellucid import ablate, means, patch, replace, steer, trace
from pellucid.base.errors import PellucidError
from pellucid.engine.intervene import Change
from pellucid.engine.sites import axes, hooks, resolve
from pellucid.exact.graph import Edit
from pellucid.exact.model import Model, Taps

SIZES = {"batch": 3, "pos": 14, "query": 14, "key": 14, "model": 15, "head": 3, "dim": 5, "neuron": 7, "vocab": 11}


@pytest.fixture(scope="module")
def model() -> Model:
    return checkpoints.random_model(2, n_embd=15, n_head=3, n_inner=7, n_layer=2)[0]


@pytest.fixture(scope="module")
def ids() -> Tensor:
    return torch.randint(11, (3, 14), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def others() -> Tensor:
    return torch.randint(11, (3, 14), generator=torch.Generator().manual_seed(7))


def test_every_hook_and_activation_has_the_axes_that_are_told(model: Model, ids: Tensor) -> None:
    for hook, name in hooks(model).items():
        found = trace(model, ids, [hook], logits=False)[hook]
        if name not in ("EMB.POS",) and not name.endswith(".scale"):
            assert list(found.shape) == [SIZES[axis] for axis in axes(name)], hook


def test_addresses_are_the_parts_of_their_layer(model: Model, ids: Tensor) -> None:
    names = ["L01.H02.OV", "L01.H01.QK", "L00.N0003.IN", "L01.N0006.OUT", "L01.ATTN.B", "L00.MLP.B", "LNF", "L00.LN2"]
    run = trace(model, ids, [*names, "L01.z", "L01.attn_out"])
    out = model.weights["h.1.attn.c_proj.weight"].view(3, 5, 15)
    torch.testing.assert_close(run["L01.H02.OV"], run["L01.z"][:, :, 2] @ out[2])
    assert torch.equal(run["L01.H01.QK"], run["L01.scores"][:, 1])
    assert torch.equal(run["L00.N0003.IN"], run["L00.pre"][..., 3])
    assert torch.equal(run["L01.ATTN.B"][0, 0], model.weights["h.1.attn.c_proj.bias"])
    assert torch.equal(run["LNF"], run["final"])
    both = trace(model, ids, ["blocks.*.attn.hook_z"])
    assert torch.equal(both["blocks.1.attn.hook_z"], run["L01.z"])
    torch.testing.assert_close(run.logits, model.logits(ids))


@pytest.mark.parametrize("where", ["L01.H01.OV", "L00.N0002.OUT"])
def test_zero_is_what_a_part_without_weights_writes(model: Model, ids: Tensor, where: str) -> None:
    other = Model(model.subject)
    name, at = ("h.1.attn.c_proj.weight", slice(5, 10)) if "H" in where else ("h.0.mlp.c_proj.weight", slice(2, 3))
    other.weights[name] = other.weights[name].clone()
    other.weights[name][at] = 0
    found = trace(model, ids, changes=[ablate(where)]).logits
    assert not torch.allclose(found, model.logits(ids))
    torch.testing.assert_close(found, other.logits(ids), rtol=1e-4, atol=1e-5)


def test_selected_rows_positions_heads_change_and_nothing_else(model: Model, ids: Tensor) -> None:
    change = replace("blocks.1.attn.hook_z", lambda z: z * 2 + 1, positions=[-1, 3], heads=[0, 2], rows=[1])
    plain = trace(model, ids, ["L01.z"])["L01.z"]
    found = trace(model, ids, ["L01.z"], [change])["L01.z"]
    expected = plain.clone()
    for position in (13, 3):
        for head in (0, 2):
            expected[1, position, head] = plain[1, position, head] * 2 + 1
    assert torch.equal(found, expected)
    one = trace(model, ids, ["L00.post"], [replace("L00.post", torch.arange(3.0), positions=-1, neurons=4)])["L00.post"]
    assert one[:, -1, 4].tolist() == [0, 1, 2]
    tail = trace(model, ids, ["L00.pre"], [steer("L00.N0001.IN", 2.0, positions=slice(10, None))])["L00.pre"]
    moved = tail - trace(model, ids, ["L00.pre"])["L00.pre"]
    assert bool((moved[:, 10:, 1] - 2 < 1e-5).all())
    assert float(moved.abs().sum()) == pytest.approx(3 * 4 * 2, abs=1e-4)


def test_patching_the_whole_stream_gives_the_other_run(model: Model, ids: Tensor, others: Tensor) -> None:
    source = trace(model, others, ["L*.resid_mid", "L00.q", "L00.pattern", "L01.H00.OV"])
    found = trace(model, ids, changes=[patch("blocks.1.hook_resid_mid", source)]).logits
    assert torch.equal(found, source.logits)
    half = trace(model, ids, changes=[patch("L01.resid_mid", source, rows=[0, 2])]).logits
    assert torch.equal(half[[0, 2]], source.logits[[0, 2]])
    assert torch.equal(half[1], model.logits(ids)[1])
    own = trace(model, ids, ["L01.H00.OV"], [patch("L01.H00.OV", source)])
    assert torch.equal(own["L01.H00.OV"], source["L01.H00.OV"])


def test_steering_adds_and_carries_gradients(model: Model, ids: Tensor) -> None:
    vector = torch.zeros(15, requires_grad=True)
    logits = trace(model, ids, changes=[steer("blocks.0.hook_resid_post", vector, 3.0, positions=-1)]).logits
    logits[:, -1, 2].sum().backward()
    assert vector.grad is not None
    step = 1e-3 * vector.grad / vector.grad.norm()
    moved = trace(model, ids, changes=[steer("L00.resid_post", step, 3.0, positions=-1)]).logits[:, -1, 2].sum()
    assert float((moved - logits[:, -1, 2].sum()).detach()) == pytest.approx(1e-3 * float(vector.grad.norm()), rel=0.05)


def test_gradients_are_those_of_small_changes(ids: Tensor) -> None:
    model = Model(checkpoints.random_model(2, n_embd=15, n_head=3, n_inner=7, n_layer=2)[0].subject, torch.float64)
    names = ["L00.N0001.OUT", "L01.H01.QK", "L00.resid_pre", "L01.k", "L01.post"]
    run = trace(model, ids, names, gradients=True)
    found = run.gradients(run.logits[:, -1, 4].sum() - run.logits[:, -1, 2].sum())
    torch.testing.assert_close(run.logits.detach(), model.logits(ids))
    assert found["L01.H01.QK"].shape == (3, 14, 14)
    for where, at in (("L00.N0001.OUT", {"positions": 5}), ("L01.k", {"positions": 2, "heads": 1})):
        moved = trace(model, ids, changes=[steer(where, 1e-6, **at)]).logits[:, -1]
        before = run.logits[:, -1].detach()
        change = float((moved[:, 4] - moved[:, 2]).sum() - (before[:, 4] - before[:, 2]).sum())
        slope = found[where][:, 5] if "N" in where else found[where][:, 2, 1]
        assert change / 1e-6 == pytest.approx(float(slope.sum()), rel=1e-3)


def test_means_and_resampling(model: Model, ids: Tensor, others: Tensor) -> None:
    texts = torch.cat([ids, others, ids[:1]])
    plain = trace(model, texts, ["L01.z", "L00.scores"])
    found = means(model, texts, ["L01.z"], batch=2)
    torch.testing.assert_close(found.activations["L01.z"], plain["L01.z"].mean((0, 1), keepdim=True))
    placed = means(model, texts, ["L01.z", "L00.H01.QK"], by_position=True, batch=3)
    torch.testing.assert_close(placed.activations["L00.scores"], plain["L00.scores"].mean(0, keepdim=True))
    run = trace(model, ids, ["L01.z"], [ablate("L01.z", mean=found, heads=1, positions=[0, 5])])
    torch.testing.assert_close(run["L01.z"][:, 5, 1], found.activations["L01.z"][0, 0, 1].expand(3, -1))
    run = trace(model, ids, ["L01.z"], [ablate("L01.z", mean=placed, heads=1, positions=5)])
    torch.testing.assert_close(run["L01.z"][:, 5, 1], placed.activations["L01.z"][0, 5, 1].expand(3, -1))
    drawn = trace(model, ids, ["L01.z"], [ablate("L01.z", resample=plain, seed=3)])["L01.z"]
    assert all(any(torch.equal(row, other) for other in plain["L01.z"]) for row in drawn)
    again = trace(model, ids, ["L01.z"], [ablate("L01.z", resample=plain, seed=3)])["L01.z"]
    assert torch.equal(drawn, again)


def test_changes_of_one_activation_apply_in_order(model: Model, ids: Tensor) -> None:
    run = trace(model, ids, ["L00.mlp_out"], [replace("L00.mlp_out", 2.0), steer("blocks.0.hook_mlp_out", 1.0)])
    assert bool((run["L00.mlp_out"] == 3).all())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_precisions(model: Model, ids: Tensor, dtype: str) -> None:
    other = Model(model.subject, getattr(torch, dtype))
    run = trace(
        other, ids, ["L01.pattern", "L00.H01.OV"], [steer("L00.resid_post", torch.ones(15, dtype=torch.float32))]
    )
    assert {run.logits.dtype, run["L01.pattern"].dtype, run["L00.H01.OV"].dtype} == {getattr(torch, dtype)}


class Flat:
    """A program whose every first head of layer 1 looks everywhere alike."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def edits(self, ids: Tensor) -> dict[str, Edit]:
        return {"L01.scores": lambda x: x.index_fill(1, torch.tensor([0]), 0.0 * len(ids))}


def test_programs_run_with_what_they_replace(model: Model, ids: Tensor) -> None:
    expected = model.forward(ids, Taps(replace=Flat(model).edits(ids))).logits
    assert torch.equal(trace(Flat(model), ids).logits, expected)
    run = trace(Flat(model), ids, ["L01.pattern"], [ablate("L01.H01.OV")])
    assert bool((run["L01.pattern"][:, 0, 3, :4] == 0.25).all())
    assert not torch.allclose(run.logits, expected)


def test_only_what_is_asked_for_runs(model: Model, ids: Tensor) -> None:
    ran: list[str] = []
    seen = replace("L01.z", lambda z: ran.append("z") or z)
    with pytest.raises(PellucidError, match=r"replacing L01\.z would change nothing"):
        trace(model, ids, ["L00.pattern"], [seen], logits=False)
    assert not ran


BAD: list[tuple[Change, str]] = [
    (ablate("L01.H07.OV"), r"'L01.H07.OV' names nothing in random .*; did you mean L01.H0\d.OV"),
    (ablate("blocks.1.attn.hook_patern"), r"names nothing .* did you mean blocks.1.attn.hook_pattern"),
    (ablate("L00.resid_past"), r"did you mean L00.resid_"),
    (ablate("L00.z", positions=14), "positions of L00.z: 14 is not among the 14"),
    (ablate("L00.z", heads=3), "heads of L00.z: 3 is not among the 3"),
    (ablate("L00.z", positions=[]), "selects none of the 14"),
    (ablate("L00.resid_pre", heads=0), "L00.resid_pre has no heads: its axes are batch, pos, model"),
    (ablate("L00.H01.OV", heads=0), "is an address already"),
    (replace("L00.z", torch.zeros(4)), r"value for L00.z has shape \[4\], which does not broadcast"),
    (replace("L00.z", lambda z: z[:1]), r"replacement of L00.z has shape"),
    (replace("L00.z", float("nan"), heads=1), "replacement of L00.z has NaN"),
    (replace("L00.z", float("inf"), heads=1), r"replacement of L00.z has infinite numbers in float32 \(210 of 210\)"),
    (steer("L00.z", torch.tensor(1e30), 1e30), "replacement of L00.z has infinite numbers"),
    (replace("L00.scores", float("inf"), keys=0), "replacement of L00.scores has infinite numbers"),
    (
        steer("L00.resid_post", torch.linspace(-1, 1, 15), 1e30),
        r"with steer\('L00.resid_post'\) L00.resid_post is no longer finite",
    ),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_bad_changes_are_named(model: Model, ids: Tensor, change: Change, message: str) -> None:
    with pytest.raises(PellucidError, match=message):
        trace(model, ids, changes=[change])


def test_bad_requests_are_named(model: Model, ids: Tensor) -> None:
    run = trace(model, ids, ["L00.z"])
    with pytest.raises(PellucidError, match=r"recorded without gradients"):
        run.gradients(run.logits.sum())
    with pytest.raises(PellucidError, match=r"was not recorded in this run"):
        run["L01.z"]
    with pytest.raises(PellucidError, match=r"clean and corrupted prompts must have the same number of tokens"):
        trace(model, ids, changes=[patch("L00.z", trace(model, ids[:, :9], ["L00.z"]))])
    with pytest.raises(PellucidError, match=r"choose one"):
        ablate("L00.z", mean=run, resample=run)
    with pytest.raises(PellucidError, match=r"dtype is 'float8'"):
        pellucid.load("zoo:village", dtype="float8")


def test_patterns_of_addresses_join(model: Model) -> None:
    (site,) = resolve(model, "L01.N*.IN")
    assert (site.activation, site.members, site.single) == ("L01.pre", tuple(range(7)), False)
    assert [str(site) for site in resolve(model, "L*.H01.OV")] == ["L00.head_writes[1]", "L01.head_writes[1]"]


def test_unknown_attributes_of_the_package_are_errors() -> None:
    missing: Any = pellucid
    with pytest.raises(AttributeError, match="has no attribute 'tarce'"):
        missing.tarce  # noqa: B018


def test_a_run_that_overflows_by_itself_is_said(model: Model, ids: Tensor) -> None:
    broken = Model(model.subject)
    broken.weights["h.0.mlp.c_proj.weight"] = broken.weights["h.0.mlp.c_proj.weight"] * 1e38
    with pytest.raises(PellucidError, match=r"^L00.resid_post is no longer finite in float32, or too large"):
        trace(broken, ids)
    with pytest.raises(PellucidError, match=r"with L00.mlp_out replaced the logits are no longer finite"):
        model.forward(ids, Taps(replace={"L00.mlp_out": lambda x: x * 1e30}))
    fine = trace(model, ids, ["L00.scores", "L00.pattern"], [replace("L00.scores", float("-inf"), keys=2)])
    assert bool((fine["L00.scores"][..., 2] == -torch.inf).all())
    assert float(fine["L00.pattern"][:, :, 3:, 2].max()) == 0


def test_means_are_not_mistaken_for_runs_of_one_token(model: Model) -> None:
    one = trace(model, "w3", ["L00.z"])
    with pytest.raises(PellucidError, match="must have the same number of tokens"):
        trace(model, "w3 w4 w5", changes=[patch("L00.z", one)])
