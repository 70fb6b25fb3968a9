"""N-grams of what a model says: certainty and back-off, counted by hand."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
import torch

from pellucid.accounts import ngrams
from pellucid.accounts.ngrams import NGrams


def by_hand(ids: torch.Tensor, said: torch.Tensor, seen: int, sure: float) -> tuple[dict, dict]:  # type: ignore[type-arg]
    """Certain and commonest answers by tuple of tokens."""
    counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for row, answers in zip(ids.tolist(), said.tolist(), strict=True):
        for at in range(len(row)):
            for length in (1, 2, 3):
                if at + 1 >= length:
                    counts[tuple(row[at + 1 - length : at + 1])][answers[at]] += 1
    best = {gram: min(c.items(), key=lambda entry: (-entry[1], entry[0])) for gram, c in counts.items()}
    total = {gram: sum(c.values()) for gram, c in counts.items()}
    certain = {gram: token for gram, (token, n) in best.items() if total[gram] >= seen and n >= sure * total[gram]}
    return certain, {gram: token for gram, (token, _) in best.items()}


def test_the_longest_certain_n_gram_answers_and_the_rest_is_hard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "SEEN", 3)
    monkeypatch.setattr(ngrams, "SURE", 0.7)
    generator = torch.Generator().manual_seed(0)
    ids, said = (torch.randint(0, 5, (12, 20), generator=generator) for _ in range(2))
    said = torch.where(ids == 2, 4, said)
    certain, commonest = by_hand(ids, said, 3, 0.7)
    fresh = torch.randint(0, 6, (4, 9), generator=generator)
    table = NGrams.of(ids, said, 6)
    for what, known, none in ((table.certain, certain, -1), (table.back_off, commonest, table.commonest)):
        for row, found in zip(fresh.tolist(), what(fresh).tolist(), strict=True):
            for at, token in enumerate(found):
                grams = [tuple(row[at + 1 - length : at + 1]) for length in (3, 2, 1) if at + 1 >= length]
                assert token == next((known[gram] for gram in grams if gram in known), none)
    assert 4 in table.certain(fresh)
    assert -1 in table.certain(fresh)


def test_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        NGrams.of(torch.zeros(0, 4, dtype=torch.long), torch.zeros(0, 4, dtype=torch.long), 5)


def test_tokens_of_a_large_vocabulary_that_fit_text_does_not_have() -> None:
    ids = torch.tensor([[262_143, 5, 262_143, 5]])
    table = NGrams.of(ids, torch.tensor([[1, 2, 1, 3]]), 262_144)
    assert table.back_off(torch.tensor([[262_143, 5, 7]])).tolist() == [[1, 2, 1]]
