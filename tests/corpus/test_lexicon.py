"""Word boundaries and word error rates."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.corpus.lexicon import LONGEST, Lexicon, word_errors
from pellucid.measure.continue_words import continuations


@pytest.fixture
def lexicon(pieces):
    return Lexicon.of(pieces, pieces.n_tokens + 2)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([1, 3, 2, 5], [" ac", " b"]),
        ([3, 6, 1], ["ce"]),
        ([1, 4, 4, 3, 2], [" a", "\n", "\nc"]),
        ([1, 8, 0], [" a's", "<|endoftext|>"]),
        ([0], ["<|endoftext|>"]),
        ([12, 13, 1], ["<12>", "<13>"]),
        ([3] * LONGEST, ["c" * 12]),
        ([3] * (LONGEST + 1), ["c" * 12]),
        ([], []),
        ([1], []),
    ],
)
def test_a_word_ends_before_white_space_or_after_twelve_tokens(lexicon, tokens, words) -> None:
    assert lexicon.words(tokens) == words


def test_in_a_vocabulary_of_words_every_token_is_one(pieces) -> None:
    pieces.kind = "words"
    assert Lexicon.of(pieces, pieces.n_tokens).words([3, 6, 0]) == ["c", "e", "<|endoftext|>"]


def test_words_of_different_bytes_stay_different() -> None:
    lexicon = Lexicon((b" \xc3", b" \xe2\x82", b" x"), np.array([True, True, True]), None)
    assert len(set(lexicon.words([0, 1, 2, 2]))) == 3


@pytest.mark.parametrize(
    ("ours", "theirs", "errors"),
    [
        ([" a", " b"], [" a", " b"], 0),
        ([" a"], ["a"], 1),
        (["\n"], [" "], 1),
        (["\n"], ["\n\n"], 1),
        ([" a", "\n", "\nb"], [" a", "\nb"], 1),
        ([" A."], [" a."], 1),
        ([" a b"], [" a", " b"], 2),
        ([" a", " b", " c"], [], 3),
        ([" a"], [" a", " b", " c"], 2),
        ([" b", " c", " d"], [" a", " b", " c", " d"], 1),
    ],
)
def test_word_errors_are_the_fewest_edits(ours, theirs, errors) -> None:
    assert word_errors(ours, theirs) == errors


def test_rows_leave_the_batch_and_agree_with_decoding_alone(markov, lexicon) -> None:
    rng = np.random.default_rng(1)
    ids = rng.integers(1, 12, size=(30, 9))
    logits, cache = markov.extend(ids)
    lexicon = Lexicon(lexicon.pieces[:12], lexicon.begins[:12], 0)
    together = continuations(markov, cache, logits[:, -1].argmax(-1), lexicon, 5)
    assert min(len(sent) for sent in markov.sent) < 30
    for row, expected in zip(ids, together, strict=True):
        logits, cache = markov.extend(row[None])
        assert continuations(markov, cache, logits[:, -1].argmax(-1), lexicon, 5) == [expected]


def test_a_continuation_without_room_is_cut_after_its_last_complete_word(markov, lexicon) -> None:
    ids = np.full((1, markov.n_ctx), 2)
    logits, cache = markov.extend(ids)
    (found,) = continuations(markov, cache, logits[:, -1].argmax(-1), lexicon, 3)
    assert found.cut
    assert len(found.words) < 3
