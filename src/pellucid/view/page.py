"""Self-contained pages: data as inert JSON, and a policy that lets only the page's own scripts and styles run."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from pellucid.base.errors import PellucidError
from pellucid.base.nulls import nulled

_LONE_SURROGATES = range(0xD800, 0xE000)  # what is left of a character cut in two; UTF-8 has no bytes for it
_ESCAPES = {code: f"\\u{code:04x}" for code in (*map(ord, "<>&\u2028\u2029"), *_LONE_SURROGATES)}
_SLOT = re.compile(r"\{\{([a-z-]+)\}\}")


def static(*names: str) -> str:
    """The text of the files `names` of the folder `static`, one after the other."""
    folder = files("pellucid.view") / "static"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def inert_json(data: Mapping[str, Any]) -> str:
    """`data` as JSON that can stand inside a `<script type="application/json">` element.

    The characters that could end the element or start markup are written as `\\uXXXX`; JSON readers undo that.
    Raises `PellucidError` naming the first value that JSON cannot hold (NaN, infinity, an object of another type).
    """
    for path, value in _unwritable("data", data):
        raise PellucidError(f"{path} is {value!r}, which JSON cannot hold; write null for what is unmeasured")
    return json.dumps(nulled(data), ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)


def policy(scripts: list[str], styles: list[str]) -> str:
    """The Content-Security-Policy under which exactly these inline scripts and styles work, and nothing is loaded."""
    return "; ".join(
        [
            "default-src 'none'",
            "script-src " + " ".join(map(_source_hash, scripts)),
            "style-src " + " ".join(map(_source_hash, styles)),
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def fill(template: str, slots: Mapping[str, str]) -> str:
    """Put `slots` into the places `{{name}}` of `template`, in one pass: what was put in is not searched again."""
    return _SLOT.sub(lambda slot: slots[slot[1]], template)


def _source_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


def _unwritable(path: str, value: object) -> Iterator[tuple[str, object]]:
    """The places below `path` that hold something JSON has no word for."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from [(f"the key {key!r} of {path}", key)] if not isinstance(key, str) else []
            yield from _unwritable(f"{path}[{key!r}]", inner)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            if type(inner) is not str:  # columns of tens of thousands of strings are the bulk of a report
                yield from _unwritable(f"{path}[{index}]", inner)
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield path, value
    elif value is not None and not isinstance(value, str | int):
        yield path, value
