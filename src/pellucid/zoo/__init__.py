"""Subjects that ship with the package, the generators of their languages, and how well they know them."""

from __future__ import annotations

from pellucid.zoo.registry import card, names, path

__all__ = ["card", "names", "path"]
