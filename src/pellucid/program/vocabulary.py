"""Text to token ids and back, from `vocabulary.json`: BPE of bytes or of characters, or a list of words.

Byte-level BPE (Radford et al. 2019): text is cut into words with their leading space, a word's UTF-8 bytes are written
in 256 printable characters, and neighbouring pieces are merged, the pair learned first before all others. Where
`vocabulary.json` lists `cuts`, it is cut by these (`cutting.py`); BPE of characters (SentencePiece, Kudo and Richardson
2018) writes blanks as a character of their own, and characters that are no token as bytes, `<0xE2>`.
"""

from __future__ import annotations

import heapq
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .cutting import Cutter
from .prelude import Booleans, Floats, Integers, Kind, ProgramError, level_rows

# White_Space of Unicode without the plain space. Python's own \s also has U+001C to U+001F.
_SPACES = "\t\n\v\f\r\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
_SPACES += "\u2028\u2029\u202f\u205f\u3000"
_WHITE = " " + _SPACES
_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")
_SURROGATE = re.compile("[\ud800-\udfff]")
# GPT-2's pattern, for text whose characters were replaced by their class: L letter, N number, _ white space, . other.
# The letters of 's 't 're 've 'm 'll 'd, the apostrophe and the plain space stand for themselves.
_WORD = re.compile(r"'(?:[stmd]|re|ve|ll)| ?[Lstrevmld]+| ?N+| ?[.']+|[ _]+(?![^ _])|[ _]+")
# Letters and numbers of Unicode 15 and 16 by code point: Python before 3.14 does not know all of them.
_YOUNG_LETTERS = (
    "1c89-1c8a a7cb-a7cd a7da-a7dc 105c0-105f3 10d4a-10d65 10d6f-10d85 10ec2-10ec4 1123f-11240 11380-11389 1138b 1138e "
    "11390-113b5 113b7 113d1 113d3 11bc0-11be0 11f02 11f04-11f10 11f12-11f33 1342f 13441-13446 13460-143fa 16100-1611d "
    "16d40-16d6c 18cff 1b132 1b155 1df25-1df2a 1e030-1e06d 1e4d0-1e4eb 1e5d0-1e5ed 1e5f0 2b739 2ebf0-2ee5d 31350-323af"
)
_YOUNG_NUMBERS = (
    "10d40-10d49 116d0-116e3 11bf0-11bf9 11f50-11f59 16130-16139 16d70-16d79 1ccf0-1ccf9 1d2c0-1d2d3 1e4f0-1e4f9 "
    "1e5f1-1e5fa"
)


class _Classes(dict[int, str]):
    """Code point -> the letter that stands for its class, worked out when first asked for."""

    def __missing__(self, code: int) -> str:
        kind = unicodedata.category(chr(code))[0]
        if kind not in "LN":
            kind = "L" if _among(code, _YOUNG_LETTERS) else "N" if _among(code, _YOUNG_NUMBERS) else "."
        self[code] = kind
        return kind


def _among(code: int, ranges: str) -> bool:
    """Whether a code point is in one of the ranges."""
    bounds = (part.partition("-") for part in ranges.split())
    return any(int(first, 16) <= code <= int(last or first, 16) for first, _, last in bounds)


_CLASSES = _Classes({ord(c): c for c in " 'strevmld"} | dict.fromkeys(map(ord, _SPACES), "_"))


def words(text: str) -> list[str]:
    """Cut text as GPT-2 does: `"It's 12 o'clock"` -> It, 's, ␣12, ␣o, ', clock."""
    return [text[found.start() : found.end()] for found in _WORD.finditer(text.translate(_CLASSES))]


def longest_first(texts: Iterable[str]) -> re.Pattern[str]:
    """Finds any of `texts`, the longest where several begin."""
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))))


def merged(pieces: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """Neighbours of `pieces` put together while any pair has a rank: the lowest first, of equal ones the leftmost."""
    behind = [*range(1, len(pieces)), -1]
    ahead = list(range(-1, len(pieces) - 1))
    queue = [(ranks[pair], at, *pair) for at, pair in enumerate(pairwise(pieces)) if pair in ranks]
    heapq.heapify(queue)
    while queue:
        _, at, left, right = heapq.heappop(queue)
        next = behind[at]
        if next < 0 or pieces[at] != left or pieces[next] != right:
            continue
        pieces[at], pieces[next] = left + right, ""
        behind[at], behind[next] = behind[next], -1
        if behind[at] >= 0:
            ahead[behind[at]] = at
        for first in (ahead[at], at):
            if first >= 0 and behind[first] >= 0 and (pair := (pieces[first], pieces[behind[first]])) in ranks:
                heapq.heappush(queue, (ranks[pair], first, *pair))
    return [piece for piece in pieces if piece]


def byte_alphabet() -> list[str]:
    """The printable character that stands for each byte: itself where it is printable, else one from U+0100 on."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in own else chr(next(others)) for byte in range(256)]


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 31


def _is_text_and_id(text: Any, id: Any) -> bool:
    return isinstance(text, str) and _is_id(id)


def _list_of(good: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(good, value))


def _dict_of(good: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(good, value.values()))


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


_ENTRIES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "kind": ("a text", _is(str)),
    "pieces": ("texts, or null for ids that no token has", _list_of(_is(str, type(None)))),
    "special": (
        "pairs of texts and their ids",
        _list_of(lambda v: _is(list)(v) and len(v) == 2 and _is_text_and_id(*v)),
    ),
    "merges": (
        "pairs of pieces, a space between",
        _list_of(lambda pair: isinstance(pair, str) and pair.count(" ") == 1),
    ),
    "end": ("an id or null", lambda value: value is None or _is_id(value)),
    "ends": ("ids", _list_of(_is_id)),
    "opening": ("ids", _list_of(_is_id)),
    "opens": ("true or false", _is(bool)),
    "spaced": ("true or false", _is(bool)),
    "strips": ("texts with two of true or false", _dict_of(lambda v: _list_of(_is(bool))(v) and len(v) == 2)),
    "late": ("texts", _list_of(_is(str))),
    "changes": ("steps", _list_of(_is(list))),
    "cuts": ("steps, or null", lambda value: value is None or _list_of(_is(list))(value)),
    "classes": ("ranges of code points", _list_of(_is(str))),
    "seen": ("texts by text", _dict_of(_is(str))),
    "blank": ("a text", _is(str)),
    "unknown": ("a text or null", _is(str, type(None))),
    "chat": ("a template with its tokens, or null", _is(dict, type(None))),
    **dict.fromkeys(("taken", "bytewise", "fallback", "whole", "fused"), ("true or false", _is(bool))),
}
_USUAL: dict[str, Any] = {"changes": [], "cuts": None, "classes": [], "seen": {}, "blank": "", "unknown": None}
_USUAL |= {"chat": None, "taken": False, "bytewise": True, "fallback": False, "whole": False, "fused": False}


def _checked(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """`data` if every entry that is read has its type. Raises `ProgramError` naming one that has not."""
    for name, (expected, good) in _ENTRIES.items():
        if name not in data:
            raise ProgramError(f"{path} has no {name}, expected {expected}")
        if not good(data[name]):
            raise ProgramError(f"{path}: {name} is something else, expected {expected}")
    return data


class Vocabulary:
    """The tokens of the model; the file is read when they are first needed."""

    @cached_property
    def _data(self) -> dict[str, Any]:
        """The contents of `vocabulary.json`."""
        path = Path(__file__).with_name("vocabulary.json")
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ProgramError(f"{path} cannot be read: {error}") from error
        if not isinstance(data, dict):
            raise ProgramError(f"{path} holds no object")
        end = [] if data.get("end") is None else [data["end"]]
        usual = {"ends": end, "opening": end if data.get("opens") else [], "spaced": False, "strips": {}, "late": []}
        return _checked({"end": None, "opens": False, "merges": [], "special": []} | _USUAL | usual | data, path)

    @cached_property
    def _ids(self) -> dict[str, int]:
        """Piece -> id. Pieces are written in the byte alphabet; ids that no token has are null."""
        return {piece: id for id, piece in enumerate(self._data["pieces"]) if piece is not None}

    @cached_property
    def _special(self) -> dict[str, int]:
        """Tokens that are found in the text before it is cut, such as <|endoftext|>."""
        return dict(self._data["special"])

    @cached_property
    def _rounds(self) -> list[dict[str, str]]:
        """Special tokens by what they are found as: first most of them, then the late ones between those."""
        late, seen = set(self._data["late"]), self._data["seen"]
        early = {text: text for text in self._special if text not in late}
        return [early, {seen.get(text, text): text for text in self._special if text in late}]

    @cached_property
    def _finders(self) -> list[re.Pattern[str] | None]:
        """What finds the tokens of each round."""
        return [longest_first(texts) if texts else None for texts in self._rounds]

    @cached_property
    def _cutter(self) -> Cutter | None:
        """What is done to text where it is not cut as GPT-2 does."""
        data = self._data
        if data["cuts"] is None:
            return None
        return Cutter(data["changes"], data["cuts"], data["classes"], self._alphabet)

    @cached_property
    def _ranks(self) -> dict[tuple[str, str], int]:
        """Pair of pieces -> when it was learned."""
        pairs = (pair.split(" ") for pair in self._data["merges"])
        return {(left, right): rank for rank, (left, right) in enumerate(pairs)}

    @property
    def is_words(self) -> bool:
        """Whether every token is a word and text separates them by spaces."""
        return bool(self._data["kind"] == "words")

    @property
    def end(self) -> int | None:
        """The token that ends a text, if there is one."""
        end: int | None = self._data["end"]
        return end

    @property
    def chat(self) -> dict[str, Any] | None:
        """The template that the model is spoken to by, and its tokens, if there is one; programs use neither."""
        chat: dict[str, Any] | None = self._data["chat"]
        return chat

    @property
    def ends(self) -> list[int]:
        """The tokens at which the model stops talking."""
        return list(self._data["ends"])

    def opened(self, text: str) -> list[int]:
        """The token ids of `text`, behind what the model has always read before a text."""
        ids, opening = self.encode(text), list(self._data["opening"])
        return ids if not ids or ids[: len(opening)] == opening else opening + ids

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`. Raises `ProgramError` for what is no Unicode."""
        if _SURROGATE.search(text):
            raise ProgramError(f"{text[:60]!r} is not UTF-8 text")
        if self.is_words:
            return [self.id_of(word) for word in text.split()]
        ids: list[int] = []
        for at, part in enumerate(self._split(text, 0)):
            if isinstance(part, int):
                ids.append(part)
                continue
            part = self._cutter.changed(part) if self._cutter else part
            for n, piece in enumerate(self._split(part, 1)):
                if isinstance(piece, int):
                    ids.append(piece)
                    continue
                for word in self._words(piece, begins=at == n == 0):
                    ids += self._merge(word)
        return ids

    def _words(self, piece: str, *, begins: bool) -> list[str]:
        """What is merged apart in a piece of text, with which the whole text `begins` or not."""
        if self._cutter:
            return self._cutter.cut(piece, begins)
        gap = " " if piece and self._data["spaced"] and piece[0] != " " else ""
        return words(gap + piece)

    def _split(self, piece: str, number: int) -> Iterator[str | int]:
        """What is between the special tokens of a round in a piece of text, and the ids of these."""
        pattern, texts = self._finders[number], self._rounds[number]
        if pattern is None:
            yield piece
            return
        done = 0
        for found in pattern.finditer(piece):
            left, right = self._data["strips"].get(texts[found[0]], (False, False))
            start, end = found.span()
            if left:
                start = max(done, len(piece[:start].rstrip(_WHITE)))
            if right:
                end = len(piece) - len(piece[end:].lstrip(_WHITE))
            if piece[done:start]:
                yield piece[done:start]
            if start < end:  # else it is white space that the token before has taken
                yield self._known(texts[found[0]])
            done = end
        if piece[done:]:
            yield piece[done:]

    def _known(self, special: str) -> int:
        """The id of a special token."""
        id = self._special[special]
        if id >= len(self._data["pieces"]):
            raise ProgramError(f"the model has no embedding of the token {special!r}; leave it out")
        return id

    def text(self, ids: Sequence[int]) -> str:
        """The whole text of token ids, without the blank that some tokenizers put before every text."""
        text = self.decode(ids)
        return text[1:] if self._data["taken"] and text[:1] == " " else text

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, as it stands among others; bytes that are not UTF-8 become U+FFFD."""
        texts = [self._bytes[id] if 0 <= id < len(self._bytes) else b"" for id in ids]
        return (b" " if self.is_words else b"").join(texts).decode("utf-8", errors="replace")

    def id_of(self, text: str | int) -> int:
        """The id of the one token that stands for `text`; an id stands for itself."""
        id = self._id_of_text.get(text) if isinstance(text, str) else text
        if id is None or not 0 <= id < len(self._data["pieces"]):
            raise ProgramError(f"{text!r} is not one token of this model's vocabulary")
        return id

    @cache  # noqa: B019 (a model and its vocabulary live equally long)
    def members(self, texts: tuple[str | int, ...]) -> Booleans:
        """Which ids are among `texts` (or ids); one more entry at the end stands for no token and is False."""
        table = np.zeros(len(self._data["pieces"]) + 1, np.bool_)
        table[[self.id_of(text) for text in texts]] = True
        return table

    @cache  # noqa: B019
    def levels(self, kinds: tuple[Kind, ...]) -> tuple[Integers, Floats]:
        """How much each token is of `kinds`: a row for every id and one for no token, see `level_rows`."""
        return level_rows(kinds, self.id_of, len(self._data["pieces"]))

    @lru_cache(maxsize=1 << 16)  # noqa: B019
    def _merge(self, word: str) -> list[int]:
        """The tokens of one word."""
        if self._data["whole"] and word in self._ids:
            return [self._ids[word]]
        pieces = merged(list(self._smallest(word)), self._ranks)
        if lost := [piece for piece in pieces if piece not in self._ids]:
            raise ProgramError(f"the model has no embedding of the token {lost[0][:60]!r}; leave it out")
        return [self._ids[piece] for piece in pieces]

    def _smallest(self, word: str) -> Iterator[str]:
        """What a word is merged from: bytes, or characters. What is no token is spelled otherwise, or left out."""
        if self._cutter is None:
            yield from (piece for byte in word.encode("utf-8") if (piece := self._alphabet[byte]) in self._ids)
            return
        unknown, before = self._data["unknown"], False
        for character in word:
            in_bytes = [f"<0x{byte:02X}>" for byte in character.encode("utf-8")] if self._data["fallback"] else []
            is_known = character in self._ids
            if is_known or (in_bytes and all(byte in self._ids for byte in in_bytes)):
                yield from [character] if is_known else in_bytes
                before = False
            elif unknown is not None:
                if not (before and self._data["fused"]):
                    yield unknown
                before = True

    @cached_property
    def _alphabet(self) -> list[str]:
        return byte_alphabet()

    @cached_property
    def _bytes(self) -> list[bytes]:
        """The bytes that each token stands for."""
        values = {character: byte for byte, character in enumerate(self._alphabet)}
        special = {id: self._data["seen"].get(text, text) for text, id in self._special.items() if text}
        bytewise, blank = not self.is_words and self._data["bytewise"], self._data["blank"]
        table = []
        for id, piece in enumerate(self._data["pieces"]):
            text = special.get(id, piece or "")
            byte = _BYTE.fullmatch(text) if self._data["fallback"] and id not in special else None
            if byte:
                table.append(bytes([int(byte[1], 16)]))
            elif id in special or not bytewise or not set(text) <= values.keys():
                table.append((text.replace(blank, " ") if blank else text).encode("utf-8", "surrogatepass"))
            else:
                table.append(bytes(values[character] for character in text))
        return table

    @cached_property
    def _id_of_text(self) -> dict[str, int]:
        """Text -> id, for tokens that are whole characters; a byte that is spelled `<0x61>` yields to others."""
        texts: dict[str, int] = {}
        special, fallback = set(self._special.values()), self._data["fallback"]
        spelled = [bool(fallback and _BYTE.fullmatch(piece or "")) for piece in self._data["pieces"]]
        for id in sorted(range(len(spelled)), key=lambda id: spelled[id] and id not in special):
            try:
                texts.setdefault(self._bytes[id].decode("utf-8"), id)
            except UnicodeDecodeError:
                continue
        return texts
