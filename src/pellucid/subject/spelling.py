"""Tokens one by one, so that different ones look different: bytes that are no character alone are shown as such.

`<F0 9F|🤗>` are two bytes of 🤗, which the tokens beside this one complete; `<FF>` is a byte of no character; `<#517>`
is an id that no token has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pellucid.subject.tokenizer import Tokenizer


def spelled(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """The text of each token of a stretch of text."""
    pieces = [tokenizer.token_bytes(token) for token in ids]
    whole = b"".join(pieces)
    characters = [] if all(map(_text, pieces)) else list(_characters(whole))
    found, start = [], 0
    for token, piece in zip(ids, pieces, strict=True):
        text = tokenizer.decode([token]) if _text(piece) else _pieced(whole, characters, start, start + len(piece))
        found.append(text or f"<#{token}>")
        start += len(piece)
    return found


def spelled_next(tokenizer: Tokenizer, before: Sequence[int], token: int) -> str:
    """The text of a token that is said behind others."""
    return spelled(tokenizer, [*before[-4:], token])[-1]


def _text(piece: bytes) -> str:
    """The characters of `piece`, none where it is not made of whole ones."""
    try:
        return piece.decode("utf-8")
    except UnicodeDecodeError:
        return ""


def _characters(whole: bytes) -> Iterator[tuple[int, int, str]]:
    """Begin, end and text of each character; of bytes that belong to none, one by one, without text."""
    at = 0
    while at < len(whole):
        size = next((size for size in range(1, 5) if _text(whole[at : at + size])), 1)
        yield at, at + size, _text(whole[at : at + size])
        at += size


def _pieced(whole: bytes, characters: Sequence[tuple[int, int, str]], start: int, end: int) -> str:
    """What stands from byte `start` to `end`; bytes of characters that reach beyond it with what they make together."""
    shown: list[str] = []
    lone = False
    for begin, stop, text in characters:
        if stop <= start or begin >= end:
            continue
        own = whole[max(start, begin) : min(end, stop)].hex(" ").upper()
        inside = start <= begin and stop <= end
        if not text and lone:
            shown[-1] = f"{shown[-1][:-1]} {own}>"
        else:
            shown.append(text if text and inside else f"<{own}|{text}>" if text else f"<{own}>")
        lone = not text
    return "".join(shown)
