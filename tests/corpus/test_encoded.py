"""Tokens that are kept are those that the tokenizer gives, and they do not pile up."""

from __future__ import annotations

import gc
import weakref

import pytest

from pellucid.corpus import encoded as module
from pellucid.corpus.encoded import encoded


class Letters:
    """Every letter is a token; counts how often it is asked."""

    kind, n_tokens = "bpe", 128
    eos_id: int | None = None
    start: tuple[int, ...] = ()

    def __init__(self) -> None:
        self.asked = 0

    def encode(self, text: str) -> list[int]:
        self.asked += 1
        return [ord(letter) for letter in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))

    def token_bytes(self, id: int, /) -> bytes:
        return bytes([id])


def test_a_text_is_cut_once() -> None:
    letters, other = Letters(), Letters()
    assert [encoded(letters, "abc") for _ in range(3)] == 3 * [[97, 98, 99]]
    assert (encoded(other, "abc"), letters.asked, other.asked) == ([97, 98, 99], 1, 1)


def test_what_is_handed_out_is_not_what_is_kept() -> None:
    letters = Letters()
    encoded(letters, "ab").append(0)
    encoded(letters, "ab").append(0)
    assert encoded(letters, "ab") == [97, 98]


def test_no_more_than_so_many_characters_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 5)
    letters = Letters()
    for text in ("abc", "de", "fgh", "abc", "too long a text"):
        assert encoded(letters, text) == [ord(letter) for letter in text]
    assert letters.asked == 5
    assert module._KEPT[letters].characters <= 5


def test_the_tokens_of_a_tokenizer_go_with_it() -> None:
    letters = Letters()
    encoded(letters, "abc")
    kept = weakref.ref(module._KEPT[letters])
    assert kept() is not None
    del letters
    gc.collect()
    assert kept() is None
