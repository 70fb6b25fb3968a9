"""What may carry a variable: what some heads write at one position, or the residual stream there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pellucid.accounts.check import ROLE

HERE, VALUE, ONCE = "here", "value", "value that stands once"
"""Roles of positions: where the rule speaks; the last token of the value of the variable, where another value written
instead becomes that of the variable; the same in texts that have this value in no other place."""

TOKEN = "EMB.TOK"
"""The address of what a token writes into the stream before all layers."""

Head = tuple[int, int]
"""A layer and the number of a head in it."""


def stream(behind: int) -> str:
    """The name of the residual stream behind a layer."""
    return f"L{behind:02d}.resid_post"


@dataclass(frozen=True)
class Carrier:
    """A set of heads at the position with a role, or the residual stream behind the layer `behind` there.

    Behind layer -1, before all layers, it is the token alone: where that stands is no part of a value.
    """

    role: str
    heads: tuple[Head, ...] = ()
    behind: int | None = None

    @staticmethod
    def of(role: str, heads: Iterable[Head]) -> Carrier:
        """A set of heads, in their order."""
        return Carrier(role, tuple(sorted(heads)))

    @property
    def is_token(self) -> bool:
        """Whether it is no more than the token."""
        return self.behind == -1

    @property
    def addresses(self) -> tuple[str, ...]:
        """What it is made of."""
        if self.behind is not None:
            return (stream(self.behind) if self.behind >= 0 else TOKEN,)
        return tuple(f"L{layer:02d}.H{head:02d}" for layer, head in self.heads)

    def __str__(self) -> str:
        return ", ".join(self.addresses) + ROLE + self.role
