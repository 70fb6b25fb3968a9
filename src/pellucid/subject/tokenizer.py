"""Text to token ids and back: BPE of bytes or characters, a list of words for small algorithmic models, or bare ids.

Byte-level BPE is that of Radford et al. (2019), that of characters SentencePiece's (Kudo and Richardson, 2018);
`tokenizer_files.py` reads ids, merges and added tokens.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from pellucid.base.errors import PellucidError, closest
from pellucid.subject.chat import Chat
from pellucid.subject.steps import Steps

if TYPE_CHECKING:  # a program is read and run without the package
    import tokenizers

END_OF_TEXT = "<|endoftext|>"
BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")
"""A token that is one byte."""


@dataclass(frozen=True)
class Added:
    """A token that is found in text before that is cut into words.

    `left` and `right` say that white space beside it belongs to it; a `late` one is looked for between the others, in
    changed text, where it may be `seen` as another text.
    """

    text: str
    id: int
    left: bool = False
    right: bool = False
    late: bool = False
    seen: str = ""


@dataclass(frozen=True)
class Pieces:
    """All that it takes to write the tokenizer down again. `merges` and `added` are empty for a vocabulary of words.

    `vocab` maps tokens to ids (byte-level tokens in GPT-2's printable alphabet), `added` has those found before any
    split, in the order of their ids. `spaced` says that a space is put before text that does not begin with one.
    `steps` are what is done to text; None: it is cut as GPT-2 does.
    """

    kind: Literal["bpe", "words"]
    vocab: dict[str, int]
    merges: tuple[tuple[str, str], ...]
    added: tuple[Added, ...] = ()
    spaced: bool = False
    steps: Steps | None = None

    @property
    def ids(self) -> dict[str, int]:
        """Token to id, added ones too."""
        return self.vocab | {added.text: added.id for added in self.added}


class Tokenizer(ABC):
    """What turns text into token ids and back."""

    kind: Literal["bpe", "words"]
    eos_id: int | None
    """The token that ends a text, None where the subject has none."""
    bos_id: int | None = None
    """The token that begins a text, where the subject has one that is not the one that ends it."""
    opening: tuple[int, ...] = ()
    """What stands before every text that the subject reads, by a post-processor or `add_bos_token`."""
    stops: tuple[int, ...] = ()
    """The tokens at which the subject stops talking, where these are not just the one that ends a text."""
    chat: Chat | None = None
    """How it is spoken to, where its files say."""

    @property
    def start(self) -> tuple[int, ...]:
        """What a document begins with: what opens texts, else the token that begins or ends one, if there is any."""
        own = self.eos_id if self.bos_id is None else self.bos_id
        return self.opening or (() if own is None else (own,))

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens at which the subject stops talking."""
        return self.stops or (() if self.eos_id is None else (self.eos_id,))

    def opened(self, text: str) -> list[int]:
        """The ids of `text` as the subject expects a text to begin."""
        ids, opening = self.encode(text), list(self.opening)
        return ids if not ids or ids[: len(opening)] == opening else [*opening, *ids]

    @property
    @abstractmethod
    def n_tokens(self) -> int:
        """One more than the largest id."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The ids of `text`; a special token such as `<|endoftext|>` written in it is that token."""

    @abstractmethod
    def token_bytes(self, token: int) -> bytes:
        """The bytes that a token stands for, empty for an id that no token has."""

    def is_byte(self, token: int) -> bool:
        """Whether a token is one byte of characters that are no tokens, such as `<0x61>`, beside one of its text."""
        del token
        return False

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids` as it stands among others; bytes that are no UTF-8 become U+FFFD."""

    @abstractmethod
    def pieces(self) -> Pieces:
        """The tables behind it."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each text."""
        return [self.encode(text) for text in texts]


class BytePairTokenizer(Tokenizer):
    """BPE, run by the `tokenizers` package, for a model that has `known` tokens."""

    kind: Literal["bpe", "words"] = "bpe"

    def __init__(self, inner: tokenizers.Tokenizer, pieces: Pieces, eos_id: int | None, known: int) -> None:
        self._inner, self._pieces, self.eos_id, self._known = inner, pieces, eos_id, known

    @property
    def n_tokens(self) -> int:
        own = (added.id for added in self._pieces.added if added.id < self._known)
        return 1 + max((*self._pieces.vocab.values(), *own))

    def encode(self, text: str) -> list[int]:
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each text.

        Raises `PellucidError` for text that is no Unicode, or that has a token which the model has no embedding of.
        """
        for text in texts:
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise PellucidError(f"{text[:60]!r} holds lone surrogates; text must be valid Unicode")
        try:
            rows = [list(found.ids) for found in self._inner.encode_batch(list(texts), add_special_tokens=False)]
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # what Rust code raises, which is no Exception
                raise
            raise PellucidError(f"the tokenizers package cannot cut {texts[0][:60]!r}…: {error}") from None
        for text, row in zip(texts, rows, strict=True):
            if (wrong := max(row, default=0)) >= self._known:
                raise PellucidError(
                    f"{text[:60]!r} has the token {self._inner.id_to_token(wrong)!r}, number {wrong} of the tokenizer, "
                    f"but the model knows {self._known} tokens; leave it out"
                )
        return rows

    def token_bytes(self, token: int) -> bytes:
        return self._bytes[token] if 0 <= token < len(self._bytes) else b""

    def is_byte(self, token: int) -> bool:
        return token in self._spelled

    @cached_property
    def _spelled(self) -> set[int]:
        """The tokens that are bytes of other characters."""
        if self._pieces.steps is None or not self._pieces.steps.fallback:
            return set()
        return {at for piece, at in self._pieces.vocab.items() if BYTE.fullmatch(piece)} - {
            added.id for added in self._pieces.added
        }

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(self.token_bytes(int(token)) for token in ids).decode("utf-8", errors="replace")

    def pieces(self) -> Pieces:
        return self._pieces

    @cached_property
    def _bytes(self) -> list[bytes]:
        """The bytes of each id."""
        spelled = _in_bytes() if self._pieces.steps is None or self._pieces.steps.bytewise else self._in_characters
        table = [b""] * self.n_tokens
        for token, at in self._pieces.vocab.items():
            table[at] = spelled(token)
        for added in self._pieces.added:
            if added.id < len(table):
                table[added.id] = self._plain(added.seen or added.text)
        return table

    def _in_characters(self, token: str) -> bytes:
        """What a token of characters stands for; `<0xE2>` may be a byte."""
        steps = self._pieces.steps
        byte = BYTE.fullmatch(token) if steps is not None and steps.fallback else None
        return bytes([int(byte[1], 16)]) if byte else self._plain(token)

    def _plain(self, token: str) -> bytes:
        blank = self._pieces.steps.blank if self._pieces.steps else ""
        return (token.replace(blank, " ") if blank else token).encode("utf-8")


def _in_bytes() -> Callable[[str], bytes]:
    """What reads tokens that are bytes in printable characters; others stand for themselves."""
    values = byte_alphabet()

    def read(token: str) -> bytes:
        known = all(character in values for character in token)
        return bytes(values[character] for character in token) if known else token.encode("utf-8")

    return read


class WordTokenizer(Tokenizer):
    """A list of words: text is its words with white space between."""

    kind: Literal["bpe", "words"] = "words"

    def __init__(self, words: Sequence[str], eos_id: int | None, name: str) -> None:
        self._words, self._name, self.eos_id = tuple(words), name, eos_id
        self._ids = {word: at for at, word in enumerate(words)}

    @property
    def n_tokens(self) -> int:
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
        return Pieces("words", dict(self._ids), ())


class IdTokenizer(WordTokenizer):
    """For a subject whose own tokenizer is not read: every token is written as its id, `464 3139 286`."""

    def __init__(self, count: int, eos_id: int | None, name: str) -> None:
        super().__init__([str(token) for token in range(count)], eos_id, name)

    def encode(self, text: str) -> list[int]:
        """The ids that `text` lists. Raises `PellucidError` for anything else."""
        return ids_in(text, self.n_tokens, self._name)


def ids_in(text: str, count: int, name: str) -> list[int]:
    """The token ids that `text` lists, with white space or commas between.

    Raises `PellucidError` quoting what is no id of a model `name` that has `count` tokens.
    """
    words = text.replace(",", " ").split()
    for word in words:
        if not (word.isascii() and word.isdecimal() and len(word) < 20 and int(word) < count):
            raise PellucidError(f"{word[:60]!r} is no token of {name}; expected token ids from 0 to {count - 1}")
    return [int(word) for word in words]


def byte_alphabet() -> dict[str, int]:
    """GPT-2's printable characters for the 256 bytes: character to byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
