"""Training: what is learned, that it is the same bits when it was killed, caches, and what cannot be followed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dictionaries import drawn
from torch import Tensor

import checkpoints
from pellucid import PellucidError
from pellucid.corpus.rows import Row
from pellucid.dictionary.dictionary import Dictionary, Origin
from pellucid.dictionary.learner import Learner
from pellucid.dictionary.places import places
from pellucid.dictionary.recipe import CHOICES, Choice, Recipe, width_in
from pellucid.dictionary.sound import tensors_of
from pellucid.dictionary.sparse import Entries, jumped, read_entries
from pellucid.dictionary.stream import ActivationStream
from pellucid.dictionary.train import CHECKPOINT, train
from pellucid.exact.model import Model

QUICK = Recipe(width=24, k=4, tokens=1600, batch=64, dead=400)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(checkpoints.in_memory(checkpoints.hugging_face(3)))


def rows(count: int = 40, seed: int = 0) -> list[Row]:
    draw = np.random.default_rng(seed)
    return [Row("a", "a#0", "b", draw.integers(0, 11, draw.integers(5, 17)).astype(np.int32)) for _ in range(count)]


def stream(model: Model, of: Any, **more: Any) -> ActivationStream:
    names = tuple(dict.fromkeys(name for reads, writes in of for name in (*reads, *writes)))
    return ActivationStream(model, more.pop("text", rows()), names, **({"chunk": 200} | more))


def bits(one: Dictionary) -> dict[str, bytes]:
    return {name: tensor.contiguous().numpy().tobytes() for name, tensor in tensors_of(one).items()}


def test_gradients_of_entries_are_those_of_the_whole() -> None:
    x, width = drawn(9, 5), 7
    encoder, bias, vectors = (drawn(*size, seed=n).requires_grad_() for n, size in enumerate([(7, 5), (7,), (7, 4)], 1))
    dense = (x @ encoder.T + bias).relu() @ vectors
    wanted = torch.autograd.grad(dense.square().sum(), [encoder, bias, vectors])
    before = (x @ encoder.T + bias).detach()
    place, feature = (before > 0).nonzero(as_tuple=True)
    value = read_entries(x, encoder, bias, before, place, feature)
    sparse = Entries(place, feature, value, len(x)).decoded(vectors)
    torch.testing.assert_close(sparse, dense)
    for found, right in zip(torch.autograd.grad(sparse.square().sum(), [encoder, bias, vectors]), wanted, strict=True):
        torch.testing.assert_close(found, right)
    assert width == len(bias)


def test_a_threshold_learns_from_what_is_near() -> None:
    before, threshold = torch.tensor([0.9, 1.04, 3.0]), torch.ones(3, requires_grad=True)
    value, fires = jumped(before, threshold, 0.1)
    torch.testing.assert_close(value.detach(), torch.tensor([0.0, 1.04, 3.0]))
    (grad,) = torch.autograd.grad((2 * value + 3 * fires).sum(), [threshold])
    torch.testing.assert_close(grad, torch.tensor([0.0, -50.0, 0.0]))


@pytest.mark.parametrize("choice", CHOICES)
def test_features_that_made_the_data_are_found(choice: Choice) -> None:
    truth = torch.nn.functional.normalize(drawn(16, 16, seed=1), dim=1)
    draw = torch.Generator().manual_seed(2)

    def batch() -> dict[str, Tensor]:
        fires = torch.rand(256, 16, generator=draw) < 0.1
        return {"x": (fires * (1 + torch.rand(256, 16, generator=draw))) @ truth}

    recipe = Recipe(choice=choice, width=16, k=2, tokens=256 * 600, batch=256, rate=1e-2, dead=2560)
    first = batch()["x"]
    scale = float((first - first.mean(0)).square().mean()) ** -0.5
    learner = Learner(recipe, ("x",), ("x",), {"x": (first.mean(0), scale)})
    figures = [learner.step(batch(), step) for step in range(recipe.steps)]
    one = learner.dictionary(Origin())
    assert figures[-1].loss < 0.35 < figures[0].loss
    assert float((one.decoders[0][0] @ truth.T).max(0).values.mean()) > 0.8
    x = batch()["x"]
    missed = one.residual(x[:, None], x[:, None])
    assert float(missed.square().sum() / (x - x.mean(0)).square().sum()) < 0.4
    assert one.unit


def test_dead_features_come_back() -> None:
    def fired(revive: float) -> int:
        recipe = replace(QUICK, width=16, k=4, revive=revive, dead=128, rate=3e-2, choice="topk", tokens=64 * 60)
        learner = Learner(recipe, ("x",), ("x",), {"x": (torch.zeros(8), 1.0)})
        with torch.no_grad():
            learner.parameters["bias.0"][8:] = -4.0
        for step in range(60):
            learner.step({"x": drawn(64, 8, seed=step)}, step)
        return int((learner.silent[0, 8:] < 128).sum())

    assert fired(0.0) == 0
    assert fired(1.0) > 0


@pytest.mark.parametrize(
    ("kind", "choice"),
    [("transcoder", "topk"), ("skip-transcoder", "batchtopk"), ("crosslayer", "matryoshka"), ("sae", "jumprelu")],
)
def test_a_dictionary_says_what_it_learned_to_say(model: Model, kind: Any, choice: Choice) -> None:
    of = places(model, "all" if kind == "crosslayer" else "L01.mlp", kind)
    held = stream(model, of)
    found = train(model, held, of, replace(QUICK, kind=kind, choice=choice, tokens=6400, rate=3e-3))
    (one,), (curve,) = found.dictionaries, found.curves
    assert curve[-1][1].loss < curve[0][1].loss
    values = held.activations(0)
    x, y = (torch.stack([values[name] for name in names], 1) for names in (one.reads, one.writes))
    fvu = one.residual(x, y).square().sum() / (y - y.mean(0)).square().sum()
    assert float(fvu) < 1.5 * curve[-1][1].loss + 0.1
    assert one.origin.trained["tokens"] == 6400


class KilledError(Exception):
    """What a run ends with."""


def test_a_killed_run_goes_on_to_the_same_bits(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = places(model, "all", "transcoder")
    whole = train(model, stream(model, of), of, QUICK)
    again = train(model, stream(model, of), of, QUICK)
    assert [bits(one) for one in whole.dictionaries] == [bits(one) for one in again.dictionaries]
    assert len(whole.dictionaries) == 2

    given = ActivationStream.batches

    def killed(self: ActivationStream, *args: Any) -> Iterator[dict[str, Tensor]]:
        for number, batch in enumerate(given(self, *args)):
            if number == 13:
                raise KilledError
            yield batch

    with monkeypatch.context() as patched:
        patched.setattr(ActivationStream, "batches", killed)
        with pytest.raises(KilledError):
            train(model, stream(model, of), of, QUICK, tmp_path, every=5)
    assert (tmp_path / CHECKPOINT).is_file()
    on = train(model, stream(model, of), of, QUICK, tmp_path, every=5)
    assert on.tokens == 15 * 64
    assert [bits(one) for one in on.dictionaries] == [bits(one) for one in whole.dictionaries]
    assert on.curves == whole.curves
    assert not (tmp_path / CHECKPOINT).exists()


def test_a_cache_serves_other_trainings_of_its_text(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = places(model, "L00.mlp", "sae")
    plain = train(model, stream(model, of), of, QUICK)
    train(model, stream(model, of, cache=tmp_path), of, QUICK)

    def run(*_: object, **__: object) -> None:
        raise AssertionError("the model runs")

    with monkeypatch.context() as patched:
        patched.setattr(Model, "run", run)
        cached = train(model, stream(model, of, cache=tmp_path), of, QUICK)
    assert bits(cached.dictionaries[0]) == bits(plain.dictionaries[0])
    with pytest.raises(PellucidError, match="holds activations of another text"):
        train(model, stream(model, of, cache=tmp_path, text=rows(40, 1)), of, QUICK)
    with pytest.raises(PellucidError, match="holds activations of another seed"):
        train(model, stream(model, of, cache=tmp_path, seed=1), of, QUICK)


def test_every_place_is_served_once_a_turn(model: Model) -> None:
    held = stream(model, places(model, "L00.mlp", "sae"), chunk=10_000)
    batches = list(held.batches(10, total=held.places // 10))
    seen = torch.cat([batch["L00.mlp_out"] for batch in batches])
    everything = held.activations(0)["L00.mlp_out"]
    assert len({tuple(row) for row in seen.tolist()} - {tuple(row) for row in everything.tolist()}) == 0
    later = next(held.batches(10, first=3, total=9))["L00.mlp_out"]
    torch.testing.assert_close(later, batches[3]["L00.mlp_out"], rtol=0, atol=0)


def test_what_cannot_be_followed() -> None:
    for change, said in (
        ({"tokens": 100}, "100 tokens are too few for 24 features: expected 480 or more"),
        ({"k": 25}, "k is 25, expected 1 to 24"),
    ):
        with pytest.raises(PellucidError, match=said):
            replace(QUICK, **change).checked()  # type: ignore[arg-type]
    assert (width_in("8x", 64), width_in("100", 64)) == (512, 100)
    with pytest.raises(PellucidError, match="--width is '8y'"):
        width_in("8y", 64)


def test_the_rate_grows_and_falls() -> None:
    recipe = Recipe(tokens=100, batch=1, width=1, k=1, rate=2.0, warm=0.1, decay=0.5)
    assert [recipe.rate_at(step) for step in (0, 9, 49, 50, 75, 99)] == pytest.approx([0.2, 2, 2, 2, 1, 0.04])
