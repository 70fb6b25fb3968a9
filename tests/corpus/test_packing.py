"""Packed rows: whole contexts, as many as are asked for where there is text enough, however short its documents are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import checkpoints
from pellucid.base.errors import CorpusError
from pellucid.corpus import packing
from pellucid.corpus.corpus import Split, split_corpus, story_corpus
from pellucid.corpus.packing import packed_rows
from pellucid.exact.model import Model

CONTEXT = 24


@pytest.fixture(scope="module")
def model() -> Model:
    return checkpoints.random_model(0, n_positions=CONTEXT, vocab_size=40)[0]


def fit_text(stories: int, words: int) -> Split:
    """The fit split of so many stories of so many words."""

    def told() -> Iterator[str]:
        for at in range(stories):
            yield " ".join(f"w{1 + (3 * at + at // 7 + word) % 39}" for word in range(words))

    return split_corpus(story_corpus(told, "stories of a test")).fit


def test_short_documents_fill_as_many_rows_as_are_asked_for(model: Model) -> None:
    """More than two documents to a row: 5 words each, in contexts of 24."""
    split = fit_text(6_000, 5)
    assert packed_rows(split, model, 300).shape == (300, CONTEXT)


def test_rows_of_a_model_of_long_contexts_are_no_longer_than_attention_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "LONGEST_ROW", 10)
    model = checkpoints.random_model(0, n_positions=CONTEXT, vocab_size=40)[0]
    assert packing.row_tokens(model) == 10
    assert packed_rows(fit_text(600, 40), model, 30).shape == (30, 10)


def test_text_that_is_too_short_fills_what_it_can(model: Model) -> None:
    split = fit_text(120, 60)
    rows = packed_rows(split, model, 10_000)
    assert split.n_words // CONTEXT // 2 < len(rows) <= 2 * split.n_words // CONTEXT


def test_rows_are_drawn_from_the_seed(model: Model) -> None:
    split = fit_text(100, 400)
    assert packed_rows(split, model, 50).tolist() == packed_rows(split, model, 50).tolist()
    assert packed_rows(split, model, 50, seed=1).tolist() != packed_rows(split, model, 50).tolist()


def test_text_that_fills_no_row_is_refused(model: Model) -> None:
    with pytest.raises(CorpusError, match="stories of a test"):
        packed_rows(fit_text(300, 1), model, 4)
