"""How checkpoints of a family may spell the names of its tensors."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """`prefixes` may stand before a name or not; what `buffers` fits is no parameter; `others` are other spellings.

    `others` pairs what a checkpoint may say with the canonical name; `unembed` is where it may
    repeat a tied embedding.
    """

    prefixes: tuple[str, ...] = ()
    buffers: str = "$^"
    others: tuple[tuple[str, str], ...] = ()
    unembed: str = "lm_head.weight"

    def canonical(self, name: str) -> str | None:
        """The canonical name of a stored tensor; None for what is no parameter."""
        for prefix in self.prefixes:
            name = name.removeprefix(prefix)
        return None if re.fullmatch(self.buffers, name) else dict(self.others).get(name, name)
