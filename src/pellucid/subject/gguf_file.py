"""What a GGUF file holds: its settings, and where its tensors lie. Whatever a file claims is checked against its size.

The layout is that of ggml's docs/gguf.md: a header with counts, pairs of key and value, descriptions of tensors, and
the tensors. The package `gguf` knows how numbers are packed; its own reader trusts the counts of a file, and takes
eleven seconds for a vocabulary of 262,144 tokens.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pellucid.base.errors import SubjectError

SUFFIX = ".gguf"
_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_LAYOUTS = {0: "u1", 1: "i1", 2: "u2", 3: "i2", 4: "u4", 5: "i4", 6: "f4", 10: "u8", 11: "i8", 12: "f8"}
_NUMBERS: dict[int, np.dtype[Any]] = {kind: np.dtype(f"<{layout}") for kind, layout in _LAYOUTS.items()}
_BOOL, _STRING, _ARRAY = 7, 8, 9
_LONGEST_NAME, _MOST_DIMS, _MOST_KEYS, _MOST_TENSORS = 65_535, 4, 1 << 16, 1 << 20


@dataclass(frozen=True)
class Packed:
    """One tensor of a file: how its numbers are packed, and where they lie. `shape` is as in NumPy, rows first."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


class GGUF:
    """Settings and tensors of the file at `path`. Raises `SubjectError` for what is no GGUF file, or a broken one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = _mapped(path)
        self._at = 0
        try:
            self._read_header()
        except (IndexError, struct.error) as error:
            raise self._broken(f"it ends in the middle of its description, at byte {self._at:,}") from error

    def _read_header(self) -> None:
        if bytes(self._data[:4]) != _MAGIC:
            raise SubjectError(f"{self.path} is no GGUF file: it begins with {bytes(self._data[:4])!r}, not {_MAGIC!r}")
        self._at = 4
        version = self._number("<I")
        if version not in _VERSIONS:
            other = " (its bytes are in the other order)" if version > 0xFFFF else ""
            raise SubjectError(f"{self.path} is of version {version} of GGUF{other}; {_VERSIONS} are read")
        tensors, keys = self._number("<Q"), self._number("<Q")
        if tensors > _MOST_TENSORS or keys > _MOST_KEYS:
            raise self._broken(f"it claims to have {tensors:,} tensors and {keys:,} settings")
        self.values: dict[str, Any] = {}
        for _ in range(keys):
            key = self._text(_LONGEST_NAME)
            if key in self.values:
                raise self._broken(f"the setting {key!r:.60} is there twice")
            self.values[key] = self._value(self._number("<I"), 0)
        found = [self._tensor() for _ in range(tensors)]
        self._start(found)

    def _start(self, found: list[Packed]) -> None:
        """Where the tensors begin, and that they are all there."""
        aligned = self.values.get("general.alignment", 32)
        if not isinstance(aligned, int | np.integer) or not 8 <= aligned <= 1 << 16 or aligned % 8:
            raise self._broken(f"general.alignment is {aligned!r:.40}")
        self.start = -(-self._at // int(aligned)) * int(aligned)
        self.tensors = {tensor.name: tensor for tensor in found}
        if len(self.tensors) < len(found):
            raise self._broken("a tensor is there twice")
        room = len(self._data) - self.start
        for tensor in found:
            if tensor.offset % int(aligned):
                raise self._broken(f"{tensor.name!r:.60} begins at byte {tensor.offset:,}, no multiple of {aligned}")
            if tensor.offset + self._bytes(tensor) > room:
                raise self._broken(
                    f"it has {max(0, room):,} bytes of tensors, and {tensor.name!r:.60} would end behind"
                )

    def array(self, name: str) -> np.ndarray:
        """A tensor as float32, in memory of its own."""
        tensor = self.tensors[name]
        raw = np.frombuffer(self._data, np.uint8, self._bytes(tensor), self.start + tensor.offset)
        found = _unpacked(raw.reshape(*tensor.shape[:-1], -1), tensor.kind)
        return np.array(found, np.float32).reshape(tensor.shape)

    def encodings(self) -> list[str]:
        """How tensors are packed, by name, the commonest first."""
        kinds = Counter(tensor.kind for tensor in self.tensors.values())
        return [_packing()[kind].name for kind, _ in kinds.most_common()]

    def _bytes(self, tensor: Packed) -> int:
        """How many bytes a tensor takes. Raises `SubjectError` for a way of packing that is not known."""
        known = _packing()
        if tensor.kind not in known:
            names = ", ".join(packing.name for _, packing in sorted(known.items()))
            raise SubjectError(
                f"{self.path}: {tensor.name!r:.60} is packed in the way {_named(tensor.kind)}, which is not supported; "
                f"supported are {names}"
            )
        block, size = known[tensor.kind].block, known[tensor.kind].size
        if tensor.shape[-1] % block:
            raise self._broken(f"{tensor.name!r:.60} has rows of {tensor.shape[-1]:,} numbers, packed by {block}")
        return prod(tensor.shape) // block * size

    def _tensor(self) -> Packed:
        name, count = self._text(_LONGEST_NAME), self._number("<I")
        if not 1 <= count <= _MOST_DIMS:
            raise self._broken(f"{name!r:.60} has {count} axes")
        shape = tuple(self._number("<Q") for _ in range(count))[::-1]
        if not all(shape) or prod(shape) > len(self._data) * 64:
            raise self._broken(f"{name!r:.60} claims to have {' × '.join(map(str, shape))} numbers")
        return Packed(name, shape, self._number("<I"), self._number("<Q"))

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _NUMBERS:
            return self._numbers(kind, 1)[0]
        if kind == _BOOL:
            return bool(self._take(1)[0])
        if kind == _STRING:
            return self._text(len(self._data))
        if kind != _ARRAY or depth:
            raise self._broken(f"a setting is of kind {kind}, at byte {self._at:,}")
        inner, count = self._number("<I"), self._number("<Q")
        if count > len(self._data) - self._at:
            raise self._broken(f"a list claims to have {count:,} entries, at byte {self._at:,}")
        if inner in _NUMBERS:
            return self._numbers(inner, count)
        return [self._value(inner, depth + 1) for _ in range(count)]

    def _numbers(self, kind: int, count: int) -> np.ndarray:
        return np.frombuffer(self._take(count * _NUMBERS[kind].itemsize), _NUMBERS[kind], count)

    def _text(self, longest: int) -> str:
        length = self._number("<Q")
        if length > min(longest, len(self._data) - self._at):
            raise self._broken(f"a text claims to have {length:,} bytes, at byte {self._at:,}")
        try:
            return self._take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._broken(f"a text is not UTF-8, at byte {self._at:,}") from error

    def _number(self, layout: str) -> int:
        (found,) = struct.unpack(layout, self._take(struct.calcsize(layout)))
        return int(found)

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise IndexError
        found = self._data[self._at : end]
        self._at = end
        return found

    def _broken(self, what: str) -> SubjectError:
        return SubjectError(f"{self.path} is truncated or broken: {what}; fetch it again")


def _mapped(path: Path) -> mmap.mmap | bytes:
    """The bytes of a file, read as they are needed."""
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
    except (OSError, ValueError) as error:
        raise SubjectError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


class Packing(NamedTuple):
    """A way of packing numbers: `block` of them in `size` bytes."""

    name: str
    block: int
    size: int


@lru_cache(maxsize=1)
def _packing() -> dict[int, Packing]:
    """The ways of packing that can be undone. Raises `SubjectError` with the way to install what undoes them."""
    found = {}
    for kind, (block, size) in _package().GGML_QUANT_SIZES.items():
        with suppress(NotImplementedError):
            _unpacked(np.zeros((1, size), np.uint8), kind)
            found[int(kind)] = Packing(str(kind.name), block, size)
    return found


def _named(kind: int) -> str:
    known = _package().GGMLQuantizationType
    return str(known(kind).name) if kind in {one.value for one in known} else str(kind)


def _unpacked(rows: np.ndarray, kind: int) -> Any:
    quants = _package()
    with np.errstate(all="ignore"):  # what is not finite is told of by its name
        return quants.dequantize(rows, quants.GGMLQuantizationType(kind))


def _package() -> Any:
    """The package that unpacks numbers. Raises `SubjectError` with the way to install it."""
    try:
        return import_module("gguf.quants")
    except ImportError as error:
        raise SubjectError("to read GGUF files the package gguf is needed: pip install 'pellucid[gguf]'") from error
