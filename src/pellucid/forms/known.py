"""The classes of forms that there are: what reads stored forms back goes by this list."""

from __future__ import annotations

from pellucid.forms.form import Form, Written
from pellucid.forms.forms import Fires, Looks
from pellucid.forms.stored import Channel, Compares, Lifted, Still
from pellucid.listing import word as words

KINDS: dict[str, type[Form]] = {
    kind.__name__: kind for kind in (Looks, Fires, Lifted, Still, Channel, Compares)
}  # fmt: skip
"""By name."""


def register(kind: type[Form]) -> None:
    """Make a class of forms known, with the word of its statements.

    Raises `ValueError` where another class has its name, or another word the name or the file of its word.
    """
    if KINDS.setdefault(kind.__name__, kind) is not kind:
        raise ValueError(f"there is a form {kind.__name__} already; give this one another name")
    if issubclass(kind, Written) and kind.word:
        try:
            words.register(kind.word)
        except ValueError:
            del KINDS[kind.__name__]
            raise


def forget(kind: type[Form]) -> None:
    """Undo `register`."""
    KINDS.pop(kind.__name__, None)
    if issubclass(kind, Written) and kind.word:
        words.forget(kind.word)
