"""Values that options of the command line have where nothing is said, and their limits.

They stand apart from the modules that work with them, so that `pellucid --help` knows them without importing those.
"""

from __future__ import annotations

from typing import Final

LARGEST_SEED: Final = 2**32 - 1
TOKENS: Final = 20
"""Tokens that a program produces at most, in `run`."""
TOP_PARTS: Final = 10
"""Parts that `why` verifies."""
TIMELINE_JSON, TIMELINE_PNG = "timeline.json", "timeline.png"
TIMELINE_SECONDS: Final = 20.0
"""How long `timeline` searches for the program of one checkpoint."""
ACCOUNT_TOKENS: Final = 400_000
"""Tokens of fit text that the rules of accounts are found on, at most; a quarter as many of tune text."""
FEWEST_TOKENS: Final = 20_000
"""Tokens of fit text below which no accounts are found."""
SYMBOL_PRICE: Final = 1.6e-5
"""What a symbol of an account costs, as a share of the places of fit text that it makes right."""
LEAST_QUESTIONS: Final = 4
"""Questions of a set for readers, at least."""
LONGEST_ROW: Final = 1024
"""Tokens of a row that is read or measured on, at most: what attention takes grows with their square."""
