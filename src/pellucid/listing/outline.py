"""A program in memory that holds kinds, values and statements and nothing else: enough to count their numbers.

To write them into a program on disk takes several times as long, since all that stands there has to fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pellucid.family.blocks import Decoder
from pellucid.listing.content import PAGE as WORDS
from pellucid.listing.content import read_words
from pellucid.listing.parse import Listing as Program
from pellucid.listing.parse import StatementPage, read_page
from pellucid.listing.statement import Statement, described_name

_FUNCTION = re.compile(r"(?m)^def \w+\(")


def outline(
    decoder: Decoder, words: str, values: Sequence[Iterable[str]], statements: Mapping[str, str], subject: str = ""
) -> Program:
    """The program of the text `words` of `words.py`, the `values` of each layer, and `statements` by address.

    Raises `SourceError` for texts that are none of these.
    """
    kinds = read_words(Path(WORDS), words)
    own: list[list[str]] = [[] for _ in values]
    for number, (key, text) in enumerate(statements.items()):
        own[int(key[1 : key.index(".")])].append(_FUNCTION.sub(f"def source_{number}(", text, count=1))
    held: dict[str, StatementPage] = {}
    for layer, of_layer in enumerate(values):
        name = described_name(f"layer_{layer:02d}.py")
        pieces = [f"from .words import {', '.join(kinds.kinds)}"] if kinds.kinds else []
        held[name] = read_page(Path(name), {}, "\n\n\n".join([*pieces, *of_layer, *own[layer]]) + "\n")
    said: dict[str, Statement] = {found.key: found for page in held.values() for found in page.statements}
    return Program(Path(), subject, decoder, held, said, kinds)
