"""Scores of layers that see a window: what lies before it counts for nobody, in the raw part as in its source."""

from __future__ import annotations

import numpy as np
import torch

import families
from pellucid.base.address import Address
from pellucid.corpus.rows import Row
from pellucid.exact.model import Model
from pellucid.verify.examine import agreement, causal_softmax
from pellucid.verify.freeze import raw_outputs, within


def test_raw_scores_give_the_pattern_of_a_windowed_layer() -> None:
    made = (families.make("gemma2", seed) for seed in range(30))
    model = Model(families.in_memory(next(one for one in made if (one.decoder.blocks[0].attention.window or 99) < 12)))
    window = model.decoder.blocks[0].attention.window
    assert window is not None
    tokens = np.arange(20, dtype=np.int32) % model.n_vocab
    address = Address("QK", 0, 1)
    (raw,) = raw_outputs(model, address, [Row("d", "d", "b", tokens)])
    pattern = model.run(torch.tensor(tokens, dtype=torch.long)[None], ("L00.pattern",))["L00.pattern"][0, 1].numpy()
    np.testing.assert_allclose(causal_softmax(raw), pattern, atol=1e-5)
    said = raw.copy()
    said[np.tri(20, k=-window, dtype=bool)] = 7.0  # a source that says something where nobody looks
    assert agreement(address, [raw], [within(said, window)]).value == 1.0
    assert agreement(address, [raw], [said]).value < 1.0


def test_a_layer_without_a_window_sees_all() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    assert within(scores, None) is scores
    assert (within(scores, 9) == scores).all()
    seen = within(scores, 2)
    assert [int((row > -1e8).sum()) for row in seen] == [
        5,
        5,
        4,
        3,
        2,
    ]  # keys behind a query are left to the causal mask
