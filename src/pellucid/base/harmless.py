"""Lines that are printed as they are, but for what steers a terminal.

Characters that would move the cursor, hide text or turn its direction are shown as escapes instead.
"""

from __future__ import annotations

import re
import sys

STEERING = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, all but tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction
    "\u200b\u2028\u2029\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb"  # separators, and what shows nothing
    "\U000e0000-\U000e007f"  # tags
    "\ud800-\udfff"  # halves of characters, such as names of files that are not UTF-8
    "]"
)


def harmless(text: str) -> str:
    """`text` with every character that steers a terminal written as an escape: `\\x1b`, `\\u202e`."""
    return STEERING.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def say(text: str = "") -> None:
    """Print a line on standard output."""
    print(harmless(text), flush=False)


def complain(text: str = "", end: str = "\n") -> None:
    """Print a line on standard error: for the command line, questions and listeners; others `tell`."""
    print(harmless(text), end=end, file=sys.stderr, flush=True)
