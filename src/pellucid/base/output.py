"""Printing where the terminal or the file that is written to has another encoding than UTF-8."""

from __future__ import annotations

import codecs
import io
import sys

ESCAPED = "pellucid.escaped"
"""The name of what is done about characters that an encoding does not have."""


def print_anything() -> None:
    """Let standard output and standard error take any text: what their encodings do not have becomes `\\uXXXX`.

    JSON stays JSON by this, since it writes characters in the same way.
    """
    codecs.register_error(ESCAPED, escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)


def escaped(error: UnicodeError) -> tuple[str, int]:
    """What stands for the characters that could not be encoded, and where to go on; other errors are raised."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    said = "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
    return said, error.end
