"""One way to read what comes from disk and may come from a stranger: its shape is a type, what differs is one line.

A shape is a dataclass, or any type that pydantic knows. Nothing is converted: `"1"` is no number, `1.0` no count. A
dataclass says with `__pydantic_config__` whether it has other entries than those named: `CLOSED` or `OPEN`.
"""

from __future__ import annotations

import json
import math
import reprlib
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, overload

from annotated_types import Ge, Le

from pellucid.base.errors import PellucidError
from pellucid.base.files import read_bytes

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

T = TypeVar("T")
Count = Annotated[int, Ge(0), Le(2**53)]
"""A whole number that other readers of JSON and 64 bits can hold."""
CLOSED: Final = {"extra": "forbid", "allow_inf_nan": False}
OPEN: Final = {"extra": "ignore", "allow_inf_nan": False}
_SHOWN = 60
_MOST = 1 << 28
"""The largest file that is read, in bytes (256 MiB)."""
_EXPECTED = "Input should be "


@overload
def parsed(kind: type[T], text: str | bytes, place: str, error: type[PellucidError] = ...) -> T: ...
@overload
def parsed(kind: Any, text: str | bytes, place: str, error: type[PellucidError] = ...) -> Any: ...
def parsed(kind: Any, text: str | bytes, place: str, error: type[PellucidError] = PellucidError) -> Any:
    """`text` as JSON of the shape `kind`.

    Raises `error` with one line: `place`, where in it, what was found there, and what was expected.
    """
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_json(text, strict=True)
    except ValidationError as failed:
        raise error(f"{place}: {_complaint(failed.errors(include_url=False, include_context=False))}") from None


@overload
def fitting(kind: type[T], data: object, place: str, error: type[PellucidError] = ...) -> T: ...
@overload
def fitting(kind: Any, data: object, place: str, error: type[PellucidError] = ...) -> Any: ...
def fitting(kind: Any, data: object, place: str, error: type[PellucidError] = PellucidError) -> Any:
    """`data`, as a TOML reader gives it, in the shape `kind`. Raises `error` as `parsed` does."""
    try:
        text = json.dumps(data, default=str)
    except (ValueError, RecursionError) as failed:
        raise error(f"{place}: {failed}") from None
    return parsed(kind, text, place, error)


@overload
def read_json(kind: type[T], path: Path, error: type[PellucidError] = ...) -> T: ...
@overload
def read_json(kind: Any, path: Path, error: type[PellucidError] = ...) -> Any: ...
def read_json(kind: Any, path: Path, error: type[PellucidError] = PellucidError) -> Any:
    """The file at `path` as JSON of the shape `kind`. Raises `error` as `parsed` does, also if it cannot be read."""
    return parsed(kind, content(path, error), str(path), error)


def plain_json(text: str | bytes, place: str, error: type[PellucidError] = PellucidError) -> Any:
    """`text` as JSON of any shape. Raises `error` for what is none; numbers that are not finite are none."""
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as failed:
        raise error(f"{place}: not JSON: {failed}") from None


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no finite number")
    return number


def content(path: Path, error: type[PellucidError] = PellucidError) -> bytes:
    """The bytes of the file at `path`. Raises `error` naming it if it cannot be read, or is a device or too large."""
    try:
        return read_bytes(path, _MOST)
    except PellucidError as failed:
        raise error(str(failed)) from None
    except FileNotFoundError:
        raise error(f"{path} is not there") from None
    except OSError as failed:
        raise error(f"{path} cannot be read: {failed.strerror or failed}") from None


def text_of(path: Path, error: type[PellucidError] = PellucidError) -> str:
    """The text of the file at `path`, lines ending alike. Raises `error` naming file and byte if it is not UTF-8."""
    try:
        return content(path, error).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as failed:
        byte = failed.object[failed.start]
        raise error(f"{path} is not UTF-8 text: byte 0x{byte:02x} at offset {failed.start:,}") from None


def toml_of(text: str, place: str, error: type[PellucidError] = PellucidError) -> dict[str, Any]:
    """`text` as TOML. Raises `error` naming `place` and, within it, the line."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as failed:
        raise error(f"{place}: not TOML: {failed}") from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _complaint(errors: Sequence[ErrorDetails]) -> str:
    """The first of `errors` in words, and how many others there are."""
    more = f" (and {len(errors) - 1:,} more)" if len(errors) > 1 else ""
    return f"{_said(errors[0])}{more}"


def _said(failed: ErrorDetails) -> str:
    where, found = _where(failed["loc"]), shown(failed["input"])
    message = failed["msg"]
    match failed["type"]:
        case "json_invalid":
            return f"not JSON: {message.removeprefix('Invalid JSON: ')}"
        case "missing" | "missing_argument":
            return f"{where} is missing"
        case "unexpected_keyword_argument" | "extra_forbidden":
            return f"{where} is no entry that is known here"
        case "value_error":
            said = message.removeprefix("Value error, ")
            return said if where == "it" else f"{where}: {said}"
    expected = message.removeprefix(_EXPECTED) if message.startswith(_EXPECTED) else message
    return f"{where} is {found}, expected {expected}"


def _where(loc: tuple[int | str, ...]) -> str:
    """A place in a document, such as `parts[2].name`."""
    path = "".join(f"[{at}]" if isinstance(at, int) else f".{shown(at)[1:-1]}" for at in loc)
    return path.removeprefix(".") or "it"


def shown(value: object) -> str:
    """`value` in one short line, with nothing in it that steers a terminal."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = _SHOWN
    short.maxdict = short.maxlist = 3
    short.maxlevel = 2
    return short.repr(value)
