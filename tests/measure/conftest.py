"""The tiny language of `chains.py`."""

from __future__ import annotations

from chains import markov, pieces  # noqa: F401
