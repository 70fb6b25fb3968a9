"""What is printed. Names, notes, tokens and texts may be a stranger's: nothing in them steers a terminal.

Everything that a command prints goes through here: lines by `say` and `complain`, tables by `terminal`, JSON by
`json_text`. What library code tells (`tell`) is an event, which a listener may print. Characters that would move the
cursor, hide text or turn its direction are shown as escapes instead.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from pellucid.base.events import tell as tell
from pellucid.base.nulls import nulled

WIDTH = 116
"""Columns where there is no terminal to ask."""
_STEERING = re.compile(
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
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def json_text(data: Any) -> str:
    """`data` as JSON for people and programs: the same data, with such characters as escapes of JSON."""
    text = json.dumps(nulled(data), indent=1, ensure_ascii=False, allow_nan=False)
    return _STEERING.sub(lambda found: json.dumps(found[0])[1:-1], text)


def say(text: str = "") -> None:
    """Print a line on standard output."""
    print(harmless(text), flush=False)


def complain(text: str = "", end: str = "\n") -> None:
    """Print a line on standard error: for the command line, questions and listeners; others `tell`."""
    print(harmless(text), end=end, file=sys.stderr, flush=True)


class _Harmless(Console):
    """A console on which texts are texts: no markup, no emoji names, and nothing that steers the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(harmless(segment.text), segment.style)


def terminal(width: int = WIDTH, *, errors: bool = False) -> Console:
    """Standard output, or standard error; where it is no terminal, `width` columns wide."""
    console = _Harmless(highlight=False, markup=False, emoji=False, stderr=errors)
    if not console.is_terminal:
        console.width = width
    return console
