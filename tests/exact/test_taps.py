"""Any activation can be read, replaced, and restarted from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import checkpoints
from pellucid.base.errors import PellucidError
from pellucid.exact.model import Model, Taps

SHAPES = {
    "resid_pre": ("batch", "pos", "model"),
    "LN1": ("batch", "pos", "model"),
    "q": ("batch", "pos", "head", "dim"),
    "k": ("batch", "pos", "head", "dim"),
    "v": ("batch", "pos", "head", "dim"),
    "scores": ("batch", "head", "pos", "pos"),
    "pattern": ("batch", "head", "pos", "pos"),
    "z": ("batch", "pos", "head", "dim"),
    "attn_out": ("batch", "pos", "model"),
    "resid_mid": ("batch", "pos", "model"),
    "LN2": ("batch", "pos", "model"),
    "pre": ("batch", "pos", "neuron"),
    "post": ("batch", "pos", "neuron"),
    "mlp_out": ("batch", "pos", "model"),
    "resid_post": ("batch", "pos", "model"),
    "head_writes": ("batch", "pos", "head", "model"),
    "LN1.scale": ("batch", "pos", "one"),
    "LN2.normalized": ("batch", "pos", "model"),
}
SIZES = {"batch": 3, "pos": 14, "model": 15, "head": 3, "dim": 5, "neuron": 7, "one": 1}


@pytest.fixture(scope="module")
def model() -> Model:
    return checkpoints.random_model(2, n_embd=15, n_head=3, n_inner=7, n_layer=2)[0]


@pytest.fixture(scope="module")
def ids() -> Tensor:
    return torch.randint(11, (3, 14), generator=torch.Generator().manual_seed(1))


def test_recording_everything_changes_nothing(model: Model, ids: Tensor) -> None:
    run = model.forward(ids, Taps(record=["*"]))
    assert torch.equal(run.logits, model.logits(ids))
    assert run.cache is None
    for name, axes in SHAPES.items():
        found = model.forward(ids, Taps(record=[f"L01.{name}"])).activations[f"L01.{name}"]
        assert list(found.shape) == [SIZES[axis] for axis in axes], name
    assert set(run.activations) == set(model.graph.names())


def test_patterns_name_several(model: Model, ids: Tensor) -> None:
    assert list(model.forward(ids, Taps(record=["L*.resid_mid"])).activations) == ["L00.resid_mid", "L01.resid_mid"]
    scales = model.forward(ids, Taps(record=["*.LN1.scale"])).activations
    assert list(scales) == ["L00.LN1.scale", "L01.LN1.scale"]


@pytest.mark.parametrize("name", ["EMB.TOK", "L00.scores", "L01.keys", "L01.post", "final", "L01.resid_pre"])
def test_replacing_by_itself_changes_nothing(model: Model, ids: Tensor, name: str) -> None:
    assert torch.equal(model.forward(ids, Taps(replace={name: torch.clone})).logits, model.logits(ids))


def test_a_silenced_head_is_a_head_that_writes_nothing(model: Model, ids: Tensor) -> None:
    def silence(z: Tensor) -> Tensor:
        return z.index_fill(2, torch.tensor([1]), 0.0)

    silenced = model.forward(ids, Taps(replace={"L01.z": silence})).logits
    other = Model(model.subject)
    out = other.weights["h.1.attn.c_proj.weight"].clone()
    out[5:10] = 0
    other.weights["h.1.attn.c_proj.weight"] = out
    bias = other.weights["h.1.attn.c_proj.bias"]
    assert not torch.allclose(silenced, model.logits(ids))
    torch.testing.assert_close(silenced, other.logits(ids), rtol=1e-5, atol=1e-5)
    writes = model.forward(ids, Taps(record=["L01.head_writes", "L01.attn_out"])).activations
    torch.testing.assert_close(writes["L01.head_writes"].sum(2) + bias, writes["L01.attn_out"], rtol=1e-5, atol=1e-5)


def test_scores_are_replaced_before_the_mask(model: Model, ids: Tensor) -> None:
    run = model.forward(ids, Taps(record=["L00.pattern"], replace={"L00.scores": torch.zeros_like}))
    expected = torch.tril(torch.ones(14, 14)) / torch.arange(1, 15)[:, None]
    torch.testing.assert_close(run.activations["L00.pattern"], expected.expand(3, 3, 14, 14))


def test_a_frozen_scale_makes_a_norm_linear(model: Model, ids: Tensor) -> None:
    frozen = model.forward(ids, Taps(record=["final.scale"])).activations["final.scale"]
    name = "L01.resid_post"

    def final(factor: float) -> Tensor:
        changes = {"final.scale": lambda _: frozen, name: lambda x: x * factor}
        return model.forward(ids, Taps(record=["final.normalized"], replace=changes)).activations["final.normalized"]

    torch.testing.assert_close(final(3.0), 3 * final(1.0), rtol=1e-4, atol=1e-5)


def test_restarting_from_the_middle_is_exact(model: Model, ids: Tensor) -> None:
    middle = model.run(ids, ("L01.resid_pre",))
    assert torch.equal(model.run(ids, ("logits",), given=middle)["logits"], model.logits(ids))
    ran: list[str] = []
    model.run(ids, ("logits",), given=middle, edits={"L01.z": lambda z: ran.append("z") or z})
    assert ran == ["z"]
    with pytest.raises(PellucidError, match=r"replacing L00\.z would change nothing"):
        model.run(ids, ("logits",), given=middle, edits={"L00.z": torch.clone})


def test_gradients_reach_replaced_activations(model: Model, ids: Tensor) -> None:
    shift = torch.zeros(15, requires_grad=True)
    logits = model.forward(ids, Taps(replace={"L00.mlp_out": lambda x: x + shift})).logits
    logits[..., 3].sum().backward()
    assert shift.grad is not None
    assert float(shift.grad.abs().sum()) > 0


def test_taps_work_behind_a_cache(model: Model, ids: Tensor) -> None:
    _, cache = model.extend(ids[:, :9].numpy())
    run = model.forward(ids[:, 9:], Taps(record=["L01.pattern"]), cache)
    whole = model.forward(ids, Taps(record=["L01.pattern"]))
    torch.testing.assert_close(run.activations["L01.pattern"], whole.activations["L01.pattern"][:, :, 9:])
    torch.testing.assert_close(run.logits, whole.logits[:, 9:], rtol=1e-4, atol=1e-5)
    assert run.cache is not None
    assert (run.cache.length, cache.length) == (14, 9)


@pytest.mark.parametrize(
    ("taps", "message"),
    [
        (Taps(record=["L00.patern"]), r"'L00.patern' names no activation; did you mean L00.pattern"),
        (Taps(replace={"L07.z": torch.clone}), r"'L07.z' names no activation"),
        (Taps(replace={"L00.z": lambda z: z[:, :1]}), r"replacement of L00.z returned shape .*, expected"),
        (Taps(replace={"L00.z": lambda _: None}), r"returned 'NoneType'"),  # type: ignore[dict-item,return-value]
    ],
)
def test_bad_taps_are_named(model: Model, ids: Tensor, taps: Taps, message: str) -> None:
    with pytest.raises(PellucidError, match=message):
        model.forward(ids, taps)


def test_bad_requests_are_named(model: Model, ids: Tensor) -> None:
    with pytest.raises(PellucidError, match=r"'L00.resid' names no activation"):
        model.run(ids, ("logits",), given={"L00.resid": ids})
    with pytest.raises(PellucidError, match="token id 11 is not in 0 … 10"):
        model.logits(torch.tensor([[3, 11]]))
    with pytest.raises(PellucidError, match="token id -1"):
        model.logits(torch.tensor([[3, -1]]))
    with pytest.raises(PellucidError, match="mask must be given"):
        model.graph.run(model.weights, {"ids": ids}, ("L00.pattern",))


def test_other_precisions(model: Model, ids: Tensor) -> None:
    exact = Model(model.subject, dtype=torch.float64).logits(ids)
    coarse = Model(model.subject, dtype=torch.bfloat16)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(exact.float(), model.logits(ids), rtol=1e-4, atol=1e-4)
    assert coarse.logits(ids).dtype == torch.bfloat16
    assert coarse.extend(ids.numpy())[0].dtype.name == "float32"


def test_a_graph_prints_as_a_program(model: Model) -> None:
    lines = str(model.graph).splitlines()
    assert lines[0] == "EMB.TOK = embed(ids, wte.weight)"
    assert "L00.LN1 = layer_norm(L00.resid_pre, h.0.ln_1.weight, h.0.ln_1.bias, epsilon=1e-05)" in lines


@pytest.mark.parametrize("score", [float("-inf"), torch.finfo(torch.float32).min, torch.finfo(torch.float32).max])
def test_no_score_lets_a_query_look_ahead(model: Model, ids: Tensor, score: float) -> None:
    def first_key(x: Tensor) -> Tensor:
        return x.index_fill(3, torch.tensor([0]), score)

    def everything(x: Tensor) -> Tensor:
        return torch.full_like(x, score)

    for change in (first_key, everything):
        run = model.forward(ids, Taps(record=["L01.pattern"], replace={"L01.scores": change}))
        pattern = run.activations["L01.pattern"]
        assert float(pattern.triu(1).abs().max()) == 0
        assert bool(run.logits.isfinite().all())
        if score == -torch.inf:
            blind = pattern[:, :, 0] if change is first_key else pattern
            assert float(blind.abs().max()) == 0, "a query that may look nowhere takes nothing"
        torch.testing.assert_close(pattern[:, :, 1:].sum(-1).round(), torch.ones(3, 3, 13) * (float(pattern.sum()) > 0))


def test_gradients_pass_a_query_that_looks_nowhere(model: Model, ids: Tensor) -> None:
    shift = torch.zeros(15, requires_grad=True)
    changes = {"L00.resid_post": lambda x: x + shift, "L01.scores": lambda x: x.masked_fill(x == x, -torch.inf)}
    model.forward(ids, Taps(replace=changes)).logits[..., 3].sum().backward()
    assert shift.grad is not None
    assert bool(shift.grad.isfinite().all())
    assert float(shift.grad.abs().sum()) > 0


@pytest.mark.parametrize(
    ("name", "number", "broken"),
    [
        ("L00.q", float("nan"), True),
        ("L00.q", float("inf"), True),
        ("L00.q", float("-inf"), True),
        ("L00.q", torch.finfo(torch.float32).max, False),
        ("L00.scores", float("-inf"), False),
        ("L00.scores", float("inf"), True),
        ("L00.scores", float("nan"), True),
        ("L01.resid_mid", -1e20, True),
        ("L01.resid_mid", float("nan"), True),
        ("L01.resid_mid", -1e18, False),
    ],
)
def test_what_is_no_longer_a_number_is_seen(model: Model, name: str, number: float, *, broken: bool) -> None:
    value = torch.zeros(2, 3, 15)
    assert not model.is_broken(name, value)
    value[1, 2, 7] = number
    assert model.is_broken(name, value) is broken
    value[0, 0, 0] = -torch.inf
    assert model.is_broken(name, value) is (broken or "scores" not in name)
    assert not model.is_broken(name, value[:0])
