"""What is printed. Names, notes, tokens and texts may be a stranger's: nothing in them steers a terminal.

Everything that a command prints goes through here: lines by `say` and `complain` (`harmless.py`), tables by `terminal`,
JSON by `json_text`. What library code tells (`tell`) is an event, which a listener may print.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from pellucid.base.events import tell as tell
from pellucid.base.harmless import STEERING, harmless
from pellucid.base.harmless import complain as complain
from pellucid.base.harmless import say as say
from pellucid.base.nulls import nulled

WIDTH = 116
"""Columns where there is no terminal to ask."""


def json_text(data: Any) -> str:
    """`data` as JSON for people and programs: the same data, with such characters as escapes of JSON."""
    text = json.dumps(nulled(data), indent=1, ensure_ascii=False, allow_nan=False)
    return STEERING.sub(lambda found: json.dumps(found[0])[1:-1], text)


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
