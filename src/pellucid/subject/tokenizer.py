"""Text to token ids and back: GPT-2's byte-level BPE, or a plain list of words for small algorithmic models.

Byte-level BPE is that of Radford et al. (2019); ids, merges and added tokens come from the checkpoint's files.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from pellucid.base.errors import PellucidError, SubjectError, closest
from pellucid.subject.checkpoint import read_json

END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class Pieces:
    """All that it takes to write the tokenizer down again. `merges` is empty for a vocabulary of words.

    `vocab` maps tokens to ids (byte-level tokens in GPT-2's printable alphabet), `added` those found before any split.
    """

    kind: Literal["bpe", "words"]
    vocab: dict[str, int]
    merges: tuple[tuple[str, str], ...]
    added: dict[str, int]


class Tokenizer(ABC):
    """What turns text into token ids and back."""

    kind: Literal["bpe", "words"]
    eos_id: int | None
    """The token that ends a text, None where the subject has none."""
    opens: bool = False
    """Whether every text that the subject reads begins with that token (`add_bos_token` in tokenizer_config.json)."""

    def opened(self, text: str) -> list[int]:
        """The ids of `text` as the subject expects a text to begin."""
        ids = self.encode(text)
        return [self.eos_id, *ids] if self.opens and self.eos_id is not None and ids and ids[0] != self.eos_id else ids

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """One more than the largest id."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The ids of `text`; a special token such as `<|endoftext|>` written in it is that token."""

    @abstractmethod
    def token_bytes(self, token: int) -> bytes:
        """The bytes that a token stands for, empty for an id that no token has."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; bytes that are no UTF-8 become U+FFFD."""

    @abstractmethod
    def pieces(self) -> Pieces:
        """The tables behind it."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each text."""
        return [self.encode(text) for text in texts]


class BytePairTokenizer(Tokenizer):
    """GPT-2's byte-level BPE, run by the `tokenizers` package."""

    kind: Literal["bpe", "words"] = "bpe"

    def __init__(self, inner: tokenizers.Tokenizer, pieces: Pieces, eos_id: int | None) -> None:
        self._inner, self._pieces, self.eos_id = inner, pieces, eos_id

    @property
    def vocab_size(self) -> int:
        return 1 + max((self._pieces.vocab | self._pieces.added).values())

    def encode(self, text: str) -> list[int]:
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        for text in texts:
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise PellucidError(f"{text[:60]!r} holds lone surrogates; text must be valid Unicode")
        return [list(found.ids) for found in self._inner.encode_batch(list(texts), add_special_tokens=False)]

    def token_bytes(self, token: int) -> bytes:
        return self._bytes[token] if 0 <= token < len(self._bytes) else b""

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(self.token_bytes(int(token)) for token in ids).decode("utf-8", errors="replace")

    def pieces(self) -> Pieces:
        return self._pieces

    @cached_property
    def _bytes(self) -> list[bytes]:
        """The bytes of each id."""
        values = byte_alphabet()
        table = [b""] * self.vocab_size
        for token, at in self._pieces.vocab.items():
            known = all(character in values for character in token)
            table[at] = bytes(values[character] for character in token) if known else token.encode("utf-8")
        for token, at in self._pieces.added.items():
            table[at] = token.encode("utf-8")
        return table


class WordTokenizer(Tokenizer):
    """A list of words: text is its words with white space between."""

    kind: Literal["bpe", "words"] = "words"

    def __init__(self, words: Sequence[str], eos_id: int | None, name: str) -> None:
        self._words, self._name, self.eos_id = tuple(words), name, eos_id
        self._ids = {word: at for at, word in enumerate(words)}

    @property
    def vocab_size(self) -> int:
        return len(self._words)

    def encode(self, text: str) -> list[int]:
        """The ids of the words of `text`. Raises `PellucidError` for a word that is not in the vocabulary."""
        words = text.split()
        if unknown := next((word for word in words if word not in self._ids), None):
            known = ", ".join(self._words[:12]) + (", …" if len(self._words) > 12 else "")
            near = closest(unknown, list(self._words))
            raise PellucidError(f"{unknown!r} is not in the vocabulary of {self._name} ({known}){near}")
        return [self._ids[word] for word in words]

    def token_bytes(self, token: int) -> bytes:
        return self._words[token].encode("utf-8") if 0 <= token < len(self._words) else b""

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(self.token_bytes(int(token)).decode("utf-8") for token in ids)

    def pieces(self) -> Pieces:
        return Pieces("words", dict(self._ids), (), {})


def byte_alphabet() -> dict[str, int]:
    """GPT-2's printable characters for the 256 bytes: character to byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


def load_tokenizer(directory: Path, eos: Any, vocab_size: int) -> tuple[Tokenizer, list[Path]]:
    """The tokenizer in `directory` and the files it came from.

    `eos` is the config's `eos_token_id`. Raises `SubjectError` where there is none, where it is of an unsupported kind,
    or where it has ids of `vocab_size` and more.
    """
    whole, words = directory / "tokenizer.json", directory / "task.json"
    halves = [directory / "vocab.json", directory / "merges.txt"]
    if whole.is_file():
        tokenizer, files = _from_tokenizer_json(whole, eos), [whole]
    elif all(path.is_file() for path in halves):
        tokenizer, files = _from_vocab_and_merges(halves[0], halves[1], eos), halves
    elif words.is_file():
        tokenizer, files = _from_task(words, eos), [words]
    else:
        raise SubjectError(
            f"{directory} has no tokenizer; expected tokenizer.json, vocab.json + merges.txt or task.json"
        )
    if tokenizer.vocab_size > vocab_size:
        raise SubjectError(
            f"{files[0]} does not fit its model: it has token ids up to {tokenizer.vocab_size - 1}, "
            f"the model's vocab_size is {vocab_size}"
        )
    settings = directory / "tokenizer_config.json"
    tokenizer.opens = settings.is_file() and read_json(settings).get("add_bos_token") is True
    return tokenizer, files


def _from_tokenizer_json(path: Path, eos: Any) -> Tokenizer:
    fields = read_json(path)
    try:
        inner = tokenizers.Tokenizer.from_str(json.dumps(fields))
    except Exception as error:  # the package raises bare Exception for what it cannot parse
        raise SubjectError(f"{path} is not a tokenizer: {error}") from error
    _refuse_other_kinds(fields, path)
    inner.no_truncation()
    inner.no_padding()
    added = {entry["content"]: int(entry["id"]) for entry in fields.get("added_tokens") or []}
    merges = tuple(_pair(merge, path) for merge in fields["model"]["merges"])
    vocab = {str(token): int(at) for token, at in fields["model"]["vocab"].items()}
    return BytePairTokenizer(inner, Pieces("bpe", vocab, merges, added), _end(eos, added | vocab))


def _refuse_other_kinds(fields: dict[str, Any], path: Path) -> None:
    """Raise for everything that is not GPT-2's byte-level BPE, whose text a program must be able to tokenise itself."""
    model, split = fields.get("model") or {}, fields.get("pre_tokenizer") or {}
    wrong = []
    if model.get("type", "BPE") != "BPE" or not {"vocab", "merges"} <= set(model):
        wrong.append(f"model {model.get('type')!r}")
    if split.get("type") != "ByteLevel" or split.get("add_prefix_space") or not split.get("use_regex", True):
        wrong.append(f"pre_tokenizer {split}")
    if fields.get("normalizer"):
        wrong.append(f"normalizer {fields['normalizer'].get('type')!r}")
    options = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges")
    wrong += [f"{option} = {model[option]!r}" for option in options if model.get(option)]
    for entry in fields.get("added_tokens") or []:
        wrong += [f"{flag} of {entry['content']!r}" for flag in ("single_word", "lstrip", "rstrip") if entry.get(flag)]
    if wrong:
        raise SubjectError(f"{path} is not GPT-2's byte-level BPE (not supported: {', '.join(wrong)})")


def _pair(merge: Any, path: Path) -> tuple[str, str]:
    pair = merge.split(" ") if isinstance(merge, str) else merge
    if len(pair) != 2:
        raise SubjectError(f"{path}: merge {merge!r} is not a pair of tokens")
    return str(pair[0]), str(pair[1])


def _from_vocab_and_merges(vocabulary: Path, merge_list: Path, eos: Any) -> Tokenizer:
    vocab = read_json(vocabulary)
    try:
        lines = merge_list.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise SubjectError(f"{merge_list} cannot be read: {error}") from error
    lines = [line for line in lines if line and not line.startswith("#version")]
    merges = tuple(_pair(line, merge_list) for line in lines)
    try:
        inner = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=list(merges)))
    except Exception as error:  # the package raises bare Exception for what it cannot use
        raise SubjectError(f"{vocabulary} and {merge_list.name} do not fit: {error}") from error
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    added = {END_OF_TEXT: int(vocab[END_OF_TEXT])} if END_OF_TEXT in vocab else {}
    inner.add_special_tokens([AddedToken(token, normalized=False) for token in added])
    return BytePairTokenizer(inner, Pieces("bpe", vocab, merges, added), _end(eos, vocab))


def _from_task(path: Path, eos: Any) -> Tokenizer:
    fields = read_json(path)
    words = fields.get("vocab")
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        raise SubjectError(f"{path} has no vocab, expected a list of words in the order of their ids")
    ids = {word: at for at, word in enumerate(words)}
    if wrong := next((word for at, word in enumerate(words) if ids[word] != at or word.split() != [word]), None):
        raise SubjectError(f"{path}: {wrong!r} is in the vocabulary twice or has white space")
    own = fields.get("eos")
    return WordTokenizer(words, ids[own] if own in ids else _end(eos, ids), str(fields.get("name", path.parent.name)))


def _end(eos: Any, ids: dict[str, int]) -> int | None:
    """The end-of-text id: what the config says, else `<|endoftext|>`, else None."""
    if isinstance(eos, int) and not isinstance(eos, bool) and eos in set(ids.values()):
        return eos
    return ids.get(END_OF_TEXT)
