"""Commands that are shown to be copied: what stands in them is one argument, whatever it holds."""

from __future__ import annotations

import shlex
from pathlib import Path


def quoted(text: str | Path) -> str:
    """One argument of a command in a shell; characters that cannot be printed are written in the form $'…' of bash."""
    text = str(text)
    if text.isprintable():
        return shlex.quote(text)
    pieces = [_escaped(c) for c in text]
    return f"$'{''.join(pieces)}'"


def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
