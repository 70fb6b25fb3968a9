"""Reading a token as another one: what a trigger does is taken back where it comes in, whatever it is that it does."""

from __future__ import annotations

from pellucid.base.errors import PellucidError
from pellucid.rewrite.intent import MARGIN, Proposal
from pellucid.rewrite.source import Speech
from pellucid.rewrite.words import one_token, token_name
from pellucid.rewrite.workbench import Workbench


def read(bench: Workbench, text: str, other: str) -> Proposal:
    """Let the program read the token `text` as if the token `other` stood there; what it says of both stays as it is.

    Raises `PellucidError` for what is not one token.
    """
    token, like = one_token(bench, text), one_token(bench, other)
    if token == like:
        raise PellucidError(f"{text!r} is to be read as itself; name two tokens")
    names = token_name(bench, token), token_name(bench, like)
    speech = Speech("EMB.TOK", (names[1],), (names[0],), (((0, names[0]),),))
    what = f"Reads {text!r} as if {other!r} stood there."
    asked = f"--read {text!r} {other!r}"
    return Proposal("read", what, asked, (speech,), (like, token), (), MARGIN, prompt=(token,))
