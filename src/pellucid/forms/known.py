"""The classes of forms that there are: what reads stored forms back goes by this list."""

from __future__ import annotations

from pellucid.forms.form import Form
from pellucid.forms.forms import Fires, Looks
from pellucid.forms.stored import Channel, Compares, Lifted, Still

KINDS: dict[str, type[Form]] = {
    kind.__name__: kind for kind in (Looks, Fires, Lifted, Still, Channel, Compares)
}  # fmt: skip
"""By name."""


def register(kind: type[Form]) -> None:
    """Make a class of forms known. Raises `ValueError` where another one has its name."""
    if KINDS.setdefault(kind.__name__, kind) is not kind:
        raise ValueError(f"there is a form {kind.__name__} already; give this one another name")
