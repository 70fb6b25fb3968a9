"""How checkpoints of a family may spell the names of its tensors."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """`prefixes` may stand before a name or not; what `buffers` fits is no parameter; `others` are other spellings.

    `others` pairs what a checkpoint may say with the canonical name; `unembed` is where it may repeat a tied embedding.
    A checkpoint that is written is of `model_type` and of the class `architecture`.
    """

    prefixes: tuple[str, ...] = ()
    buffers: str = "$^"
    others: tuple[tuple[str, str], ...] = ()
    unembed: str = "lm_head.weight"
    model_type: str = ""
    architecture: str = ""

    def prefixed(self, name: str) -> str:
        """The name under which a checkpoint with a head for language holds a tensor."""
        return name if name == self.unembed or not self.prefixes else f"{self.prefixes[0]}{name}"

    def config(self, *, tied: bool) -> dict[str, object]:
        """What the config of such a checkpoint says of its class, in float32, with a `tied` unembedding or its own."""
        said = {"model_type": self.model_type, "architectures": [self.architecture]}
        return said | {"dtype": "float32", "tie_word_embeddings": tied}

    def canonical(self, name: str) -> str | None:
        """The canonical name of a stored tensor; None for what is no parameter."""
        for prefix in self.prefixes:
            name = name.removeprefix(prefix)
        return None if re.fullmatch(self.buffers, name) else dict(self.others).get(name, name)
