"""The text of `words.py`: a name for every token that is used, and kinds of tokens."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, count

from pellucid.forms import forms
from pellucid.forms.form import TokenText
from pellucid.forms.forms import WIDTH
from pellucid.listing.language import ASKED, BUILTINS, STATEMENTS, WORDS
from pellucid.listing.wrap import shown_token

_TAKEN = frozenset({"kind"}) | STATEMENTS | WORDS | BUILTINS | ASKED
_SIGNS = {
    ",": "comma", ".": "stop", ";": "semicolon", ":": "colon", "!": "exclamation", "?": "question", '"': "quote",
    "'": "apostrophe", "-": "dash", "(": "bracket", ")": "bracket", "\n": "newline", " ": "space",
    "<|endoftext|>": "end",
}  # fmt: skip


def words_page(about: str, kinds: Mapping[str, Mapping[float, Sequence[int]]], token_text: TokenText) -> str:
    """The text of `words.py`, which says what it is `about`: names for tokens, then kinds of them."""
    used = sorted({token for levels in kinds.values() for tokens in levels.values() for token in tokens})
    named = dict(zip(used, unique([_called(token_text(token)) for token in used], {*kinds}), strict=True))
    lines = [f'"""Kinds of tokens: {about}"""', "", "from .prelude import kind", ""]
    lines += [f"{name} = {shown_token(token_text(token))}" for token, name in named.items()]
    for name, levels in kinds.items():
        lines += ["", f"{name} = kind(", "    {"]
        for level, tokens in levels.items():
            lines += entry_lines(level, [named[token] for token in tokens])
        lines += ["    }", ")"]
    return "\n".join(lines) + "\n"


def _called(token: str | int) -> str:
    """A name for a token: its letters, behind `_` where no space is before them."""
    text = token if isinstance(token, str) else f"token_{token}"
    letters = re.sub(r"\W+", "_", text.strip(), flags=re.ASCII).strip("_") or word(token) or "sign"
    name = letters if text[:1] == " " or (len(text.strip()) < 2 and not text.isalpha()) else f"_{letters}"
    name = name if name.isidentifier() else f"t_{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in _TAKEN else name


def entry_lines(level: float, members: Sequence[str]) -> Iterator[str]:
    """One level of a kind, on as many lines as its tokens need."""
    whole = f"        {level!r}: ({', '.join(members)},),"
    if len(whole) <= WIDTH:
        yield whole
        return
    yield f"        {level!r}: ("
    line = ""
    for member in members:
        if len(line) + len(member) + 16 > WIDTH:
            yield f"            {line.rstrip()}"
            line = ""
        line += f"{member}, "
    yield f"            {line.rstrip()}"
    yield "        ),"


def word(token: str | int) -> str:
    """What a token may lend to a Python name: its letters, or what its sign is called."""
    return forms.word(token) or (_SIGNS.get(token.strip() or token, "") if isinstance(token, str) else "")


def unique(names: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """`names` with a number behind those that came before, or that are `taken`."""
    found: dict[str, None] = {}
    for name in names:
        numbered = (f"{name}_{number}" for number in count(2))
        free = (other for other in chain([name], numbered) if other not in found and other not in taken)
        found[next(free)] = None
    return list(found)
