"""Which layers see all that came before, and which only a window."""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.base.errors import SubjectError
from pellucid.family.settings import ConfigSettings

FULL, SLIDING = "full_attention", "sliding_attention"


def layer_types(read: ConfigSettings, usual: Sequence[str]) -> list[str]:
    """The type of each layer, `usual` where the config does not say. Raises `SubjectError` for other types."""
    found = read.get("layer_types", list(usual))
    if not isinstance(found, list) or len(found) != len(usual):
        raise SubjectError(f"{read.path}: layer_types is {found!r:.60}, expected one for each of {len(usual)} layers")
    if foreign := [kind for kind in found if kind not in (FULL, SLIDING)]:
        raise SubjectError(
            f"{read.path}: layer_types has {foreign[0]!r:.60}, which is not supported; supported are {FULL}, {SLIDING}"
        )
    return found


def windows(read: ConfigSettings, usual: Sequence[str], window: int | None) -> list[int | None]:
    """The window of each layer; None where it sees all. Raises `SubjectError` where one slides without a size."""
    kinds = layer_types(read, usual)
    if SLIDING in kinds and window is None:
        raise SubjectError(f"{read.path}: layer_types has {SLIDING}, and there is no sliding_window")
    return [window if kind == SLIDING else None for kind in kinds]
