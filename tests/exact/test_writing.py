"""Writing on: greedy, drawn, stopped, and the same in every company."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

import checkpoints
from pellucid.base.errors import PellucidError
from pellucid.exact.decode import greedy
from pellucid.exact.model import Model
from pellucid.exact.writing import Sampling, Until, write


@pytest.fixture(scope="module")
def model() -> Model:
    return checkpoints.random_model(2, n_embd=15, n_head=3, n_inner=7, n_layer=2)[0]


def spelled(_: int, said: object) -> str:
    return " ".join(map(str, said))  # type: ignore[call-overload]


def test_without_temperature_the_likeliest_tokens_are_said(model: Model) -> None:
    ids = torch.tensor([[3, 1, 4], [5, 9, 2]])
    found = write(model, ids.numpy(), Sampling(), Until(9), spelled)
    assert [list(one.ids) for one in found] == greedy(model, ids, 9).tolist()
    assert {one.ended for one in found} == {"tokens"}
    assert [one.ended for one in write(model, ids.numpy(), Sampling(), Until(99), spelled)] == ["context"] * 2
    assert len(write(model, ids.numpy(), Sampling(), Until(99), spelled)[0].ids) == model.n_ctx + 1 - 3
    assert write(model, ids.numpy(), Sampling(), Until(0), spelled)[0].ids == ()


def test_draws_follow_the_probabilities() -> None:
    logits = np.array([2.0, 1.0, 0.0, -1.0], np.float32)
    for temperature in (0.5, 1.0, 2.0):
        rng = np.random.default_rng(0)
        counts = Counter(Sampling(temperature)(logits, rng) for _ in range(4000))
        wanted = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
        for token, share in enumerate(wanted):
            assert counts[token] / 4000 == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.5, {0}), (0.65, {0, 1}), (0.9, {0, 1, 2}), (1.0, {0, 1, 2, 3}), (1e-9, {0})]
)
def test_top_p_keeps_the_fewest_that_hold_so_much(top_p: float, kept: set[int]) -> None:
    logits = np.log(np.array([0.6, 0.2, 0.15, 0.05], np.float32))
    rng = np.random.default_rng(1)
    assert {Sampling(1.0, top_p)(logits, rng) for _ in range(500)} == kept


def test_tokens_without_probability_are_never_drawn() -> None:
    logits = np.array([-np.inf, 0.0, -1e9, 0.0], np.float32)
    rng = np.random.default_rng(1)
    assert {Sampling(3.0)(logits, rng) for _ in range(300)} == {1, 3}
    assert {Sampling(1e-6)(np.array([5.0, 4.9], np.float32), rng) for _ in range(50)} == {0}


def test_a_row_draws_alone_as_in_company(model: Model) -> None:
    ids = np.array([[3, 1, 4], [5, 9, 2], [3, 1, 4]])
    choice = Sampling(1.5, 0.95, seed=7)
    together = write(model, ids, choice, Until(8), spelled)
    assert together[0] != together[2], "rows draw from generators of their own"
    for row in range(3):
        (alone,) = write(model, ids[row : row + 1], choice, Until(8), spelled, rows=[row])
        assert alone == together[row]
    assert write(model, ids, choice, Until(8), spelled) == together


def test_texts_end_at_their_end_and_before_stop_strings(model: Model) -> None:
    ids = np.array([[3, 1, 4]])
    said = list(write(model, ids, Sampling(), Until(9), spelled)[0].ids)
    end = said[3]
    (ended,) = write(model, ids, Sampling(), Until(9, ends=[end]), spelled)
    assert (list(ended.ids), ended.ended) == (said[: said.index(end)], "end")
    text = spelled(0, said)
    stop = text[4:7]
    (stopped,) = write(model, ids, Sampling(), Until(9, stop=["never", stop]), spelled)
    assert (stopped.text, stopped.ended) == (text[: text.index(stop)], "stop")
    whole = model.generate("w3", 9, temperature=2.0, seed=5)
    last = whole.split()[-1]
    assert model.generate("w3", 9, temperature=2.0, seed=5, stop=[last]) == whole[: whole.index(last)]


def test_generate_draws_from_its_seed(model: Model) -> None:
    found = {model.generate("w3", 8, temperature=2.0, seed=seed) for seed in range(6)}
    assert len(found) > 3
    assert model.generate("w3", 8, temperature=2.0, seed=4) == model.generate("w3", 8, temperature=2.0, seed=4)
    assert model.generate("w3", 8, temperature=2.0, top_p=1e-6) == model.generate("w3", 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "the temperature is -1.0, expected 0"),
        ({"temperature": float("nan")}, "the temperature is nan"),
        ({"top_p": 0.0}, "top_p is 0.0, expected a share"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"seed": -1}, "the seed is -1"),
        ({"stop": [""]}, "expected a list of texts that are not empty"),
        ({"stop": "\n"}, "expected a list of texts"),
        ({"tokens": -1}, "-1 tokens are asked for"),
    ],
)
def test_bad_requests_are_named(model: Model, options: dict[str, object], message: str) -> None:
    with pytest.raises(PellucidError, match=message):
        model.generate("w3", **options)  # type: ignore[arg-type]
