"""Tokens that are parts of characters are shown by their bytes, and by what they make together."""

from __future__ import annotations

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from pellucid.subject.spelling import spelled, spelled_next
from pellucid.subject.tokenizer import BytePairTokenizer, Pieces, WordTokenizer, byte_alphabet


def bytes_and(*merges: tuple[str, str]) -> BytePairTokenizer:
    """A tokenizer of single bytes and of what `merges` make of them."""
    vocab = {character: at for at, character in enumerate(byte_alphabet())}
    for left, right in merges:
        vocab[left + right] = len(vocab)
    inner = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=list(merges)))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return BytePairTokenizer(inner, Pieces("bpe", vocab, merges), None, len(vocab))


def test_parts_of_characters_show_their_bytes_and_their_character() -> None:
    plain = bytes_and()
    assert spelled(plain, plain.encode("a🤗é")) == ["a", "<F0|🤗>", "<9F|🤗>", "<A4|🤗>", "<97|🤗>", "<C3|é>", "<A9|é>"]
    alphabet = {byte: character for character, byte in byte_alphabet().items()}
    first, second = alphabet[0xF0] + alphabet[0x9F], alphabet[0x20] + alphabet[0xC3]
    merged = bytes_and((first[0], first[1]), (second[0], second[1]))
    assert spelled(merged, merged.encode("🤗 é")) == ["<F0 9F|🤗>", "<A4|🤗>", "<97|🤗>", " <C3|é>", "<A9|é>"]


def test_bytes_of_no_character_and_ids_of_no_token() -> None:
    plain = bytes_and()
    emoji = plain.encode("🤗")
    assert spelled(plain, [emoji[3], *emoji[:3]]) == ["<97>", "<F0>", "<9F>", "<A4>"]
    assert spelled(plain, [emoji[0], 9999]) == ["<F0>", "<#9999>"]
    assert len(set(spelled(plain, range(256)))) == 256
    assert spelled(plain, []) == []


def test_what_comes_next_is_shown_with_what_stands_before() -> None:
    plain = bytes_and()
    emoji = plain.encode("a 🤗")
    assert spelled_next(plain, emoji[:-1], emoji[-1]) == "<97|🤗>"
    assert spelled_next(plain, emoji[:-1], plain.encode("b")[0]) == "b"
    assert spelled_next(plain, emoji[:2], emoji[2]) == "<F0>"


def test_words_are_words() -> None:
    words = WordTokenizer(["a", "böse"], None, "words")
    assert spelled(words, [1, 0, 1]) == ["böse", "a", "böse"]
