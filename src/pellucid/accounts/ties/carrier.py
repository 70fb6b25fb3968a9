"""What may carry a variable: what some heads write at one position, or the residual stream there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pellucid.accounts.check import ROLE

HERE, VALUE = "here", "value"
"""Roles of positions: where the rule speaks; the last token of the value of the variable,
where another value written instead becomes that of the variable."""

Head = tuple[int, int]
"""A layer and the number of a head in it."""


def stream(behind: int) -> str:
    """The name of the residual stream behind a layer, or behind -1 of what the first layer reads."""
    return "L00.resid_pre" if behind < 0 else f"L{behind:02d}.resid_post"


@dataclass(frozen=True)
class Carrier:
    """A set of heads at the position with a role, or the residual stream behind the layer `behind` there.

    Behind layer -1 it is the token and its position, before the first layer.
    """

    role: str
    heads: tuple[Head, ...] = ()
    behind: int | None = None

    @staticmethod
    def of(role: str, heads: Iterable[Head]) -> Carrier:
        """A set of heads, in their order."""
        return Carrier(role, tuple(sorted(heads)))

    @property
    def addresses(self) -> tuple[str, ...]:
        """What it is made of."""
        if self.behind is not None:
            return (stream(self.behind),)
        return tuple(f"L{layer:02d}.H{head:02d}" for layer, head in self.heads)

    def __str__(self) -> str:
        return ", ".join(self.addresses) + ROLE + self.role
