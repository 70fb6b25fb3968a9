"""The cache gives what the whole text gives."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import checkpoints
from pellucid.base.errors import PellucidError
from pellucid.exact.cache import ModelCache
from pellucid.exact.decode import greedy
from pellucid.exact.model import Model
from pellucid.subject.load import load_subject


def check_greedy(model: Model, ids: torch.Tensor, count: int) -> None:
    """Wherever the uncached model prefers a token by more than 1e-3, the cached decoder took it."""
    produced = greedy(model, ids, count)
    assert produced.shape == (ids.shape[0], count)
    logits = model.logits(torch.cat([ids, produced], dim=1))[:, ids.shape[1] - 1 : -1]
    best = logits.topk(2).values
    clear = best[..., 0] - best[..., 1] > 1e-3
    assert clear.float().mean() > 0.9
    assert torch.equal(logits.argmax(-1)[clear], produced[clear])


@pytest.mark.parametrize("seed", range(4))
def test_greedy_agrees_with_the_uncached_model(seed: int) -> None:
    model, ids = checkpoints.random_model(seed, **checkpoints.random_switches(seed))
    check_greedy(model, ids[:, :4], model.n_ctx - 4)


def test_greedy_agrees_on_novelist(novelist: Path) -> None:
    model = Model(load_subject(novelist))
    check_greedy(model, torch.randint(4096, (4, 30), generator=torch.Generator().manual_seed(0)), 60)


def test_greedy_needs_a_start_and_room() -> None:
    model, ids = checkpoints.random_model()
    assert greedy(model, ids[:, :3], 0).shape == (1, 0)
    assert greedy(model, ids[:, :3], model.n_ctx - 2).shape == (1, model.n_ctx - 2)
    with pytest.raises(PellucidError, match="no token to continue from"):
        greedy(model, ids[:, :0], 1)
    with pytest.raises(PellucidError, match="17 tokens are more than the 16 positions"):
        greedy(model, ids[:, :3], model.n_ctx - 1)


def test_extend_in_any_pieces_is_the_whole() -> None:
    model, _ = checkpoints.random_model()
    ids = torch.randint(model.n_vocab, (3, 16), generator=torch.Generator().manual_seed(0))
    whole = model.logits(ids).numpy()
    for cuts in ((16,), (1,) * 16, (5, 1, 9, 1), (2, 14)):
        cache, found, start = None, [], 0
        for length in cuts:
            logits, cache = model.extend(ids[:, start : start + length].numpy(), cache)
            start += length
            assert cache.length == start
            found.append(logits)
        np.testing.assert_allclose(np.concatenate(found, axis=1), whole, rtol=1e-4, atol=1e-5)


def test_an_extended_cache_stays_as_it_was() -> None:
    model, _ = checkpoints.random_model()
    first, second, third = (np.random.default_rng(at).integers(0, 11, (2, 5)) for at in range(3))
    _, cache = model.extend(first)
    ahead, longer = model.extend(second, cache)
    model.extend(third, cache)
    again, _ = model.extend(second, cache)
    np.testing.assert_array_equal(ahead, again)
    assert (cache.length, longer.length) == (5, 10)
    after, _ = model.extend(third, longer)
    whole = model.logits(torch.from_numpy(np.concatenate([first, second, third], axis=1))).numpy()
    np.testing.assert_allclose(after, whole[:, 10:], rtol=1e-4, atol=1e-5)


def test_taken_rows_are_a_copy_of_a_prefix() -> None:
    model, _ = checkpoints.random_model()
    ids = np.random.default_rng(0).integers(0, 11, (3, 10))
    _, cache = model.extend(ids)
    taken = cache.take(np.array([2, 0, 2]), 6)
    assert taken.length == 6
    logits, _ = model.extend(ids[[2, 0, 2], 6:], taken, last_only=True)
    assert logits.shape == (3, 1, 11)
    whole = model.logits(torch.from_numpy(ids)).numpy()
    np.testing.assert_allclose(logits[:, 0], whole[[2, 0, 2], -1], rtol=1e-4, atol=1e-5)
    same, _ = model.extend(ids[:, :2], cache)
    np.testing.assert_array_equal(same, model.extend(ids[:, :2], model.extend(ids)[1])[0])
    with pytest.raises(ValueError, match="no prefix of 11"):
        cache.take(np.array([0]), 11)


def test_a_cache_that_does_not_fit_is_refused() -> None:
    model, _ = checkpoints.random_model()
    ids = np.zeros((2, 4), dtype=np.int64)
    _, cache = model.extend(ids)
    with pytest.raises(ValueError, match=r"L00.keys of the cache holds 2 rows of 4 positions, expected 1 of 4"):
        model.extend(ids[:1], cache)
    shallow = ModelCache().grown(4)
    model.run(torch.from_numpy(ids), ("L00.z",), cache=shallow)
    with pytest.raises(ValueError, match=r"L01.keys of the cache holds 2 rows of 0 positions, expected 2 of 4"):
        model.extend(ids, shallow)


def test_a_model_can_be_sent_elsewhere() -> None:
    model, ids = checkpoints.random_model()
    model.logits(ids)
    assert torch.equal(pickle.loads(pickle.dumps(model)).logits(ids), model.logits(ids))


def test_extend_refuses_more_than_the_context() -> None:
    model, _ = checkpoints.random_model()
    _, cache = model.extend(np.zeros((1, 16), dtype=np.int32))
    with pytest.raises(PellucidError, match="17 tokens"):
        model.extend(np.zeros((1, 1), dtype=np.int64), cache)


def test_generate_speaks_text() -> None:
    model, _ = checkpoints.random_model()
    words = model.generate("w1 w2", tokens=5).split()
    assert len(words) <= 5
    assert set(words) <= {f"w{at}" for at in range(1, 11)}
    assert model.generate("w1 " * 16, tokens=50).count("w") <= 1
    assert isinstance(model.generate(""), str)
    assert repr(model).startswith("<Model random: 2 layers, 2 heads, 32 neurons, d 8, vocabulary 11, context 16; ")
