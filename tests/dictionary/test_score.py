"""Scores of dictionaries whose worth is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from dictionaries import random_dictionary

import checkpoints
from pellucid import PellucidError
from pellucid.dictionary.dictionary import Dictionary
from pellucid.dictionary.score import FORMULA, score, score_lines
from pellucid.exact.model import Model


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(checkpoints.in_memory(checkpoints.hugging_face(3)))


ROWS = torch.randint(11, (20, 12), generator=torch.Generator().manual_seed(0))


def mirrored() -> Dictionary:
    """Two features for each coordinate, one for either sign: nothing is missed."""
    both = torch.cat([torch.eye(8), -torch.eye(8)])[None]
    one = random_dictionary("sae", "relu", width=16, center=None)
    return replace(one, encoder=both.mT, bias=torch.zeros(1, 16), decoders=(both,), offset=torch.zeros(1, 8))


def test_a_dictionary_that_misses_nothing_changes_nothing(model: Model) -> None:
    found = score(model, mirrored(), ROWS)
    assert found.tokens == 240
    assert found.l0 == pytest.approx(8)
    assert found.fvu == pytest.approx(0, abs=1e-6)
    assert found.pca_fvu == pytest.approx(0, abs=1e-5)
    assert found.with_it.kl == pytest.approx(0, abs=1e-6)
    assert (found.ce_recovered, found.kl_recovered) == (pytest.approx(1, abs=1e-4), pytest.approx(1, abs=1e-4))
    assert found.with_mean.kl > 1e-3
    assert sum(found.density) == 16
    assert score_lines(found)[0] == FORMULA


def test_a_dictionary_that_says_the_mean_recovers_nothing(model: Model) -> None:
    y = model.run(ROWS, ("L00.mlp_out",))["L00.mlp_out"].flatten(0, 1)
    silent = replace(mirrored(), bias=torch.full((1, 16), -1e4), offset=y.mean(0)[None])
    found = score(model, silent, ROWS)
    assert (found.l0, found.dead, found.dense) == (0, 1, 0)
    assert found.fvu == pytest.approx(1, abs=1e-5)
    assert found.kl_recovered == pytest.approx(0, abs=1e-4)
    assert found.with_it.kl == pytest.approx(found.with_mean.kl, rel=1e-4)
    sizes = torch.linalg.svdvals(y - y.mean(0)).square()
    assert found.pca_fvu == pytest.approx(float(sizes[1:].sum() / sizes.sum()), abs=1e-4)


def test_a_transcoder_reads_and_writes_in_all_layers_at_once(model: Model) -> None:
    found = score(model, random_dictionary("crosslayer", layers=2), ROWS)
    assert found.fvu > 0.5
    assert found.kl_recovered is not None


def test_a_dictionary_of_another_width_is_refused(model: Model) -> None:
    one = replace(random_dictionary(), reads=("L00.post",), writes=("L00.post",))
    with pytest.raises(PellucidError, match=r"reads 8 numbers at L00\.post, which has 32"):
        score(model, one, ROWS)
