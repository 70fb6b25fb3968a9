"""What the program stands on: the weights file, the cache of keys and values, and the arithmetic. All in float32."""

from __future__ import annotations

import ctypes
import inspect
import json
import os
import shlex
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .prelude import Floats, Integers, ProgramError
from .rotary import Rotary  # for: rotary

BLOCK = 1 << 16  # numbers that elementwise steps handle at a time, so that they stay in the processor's cache


@dataclass(frozen=True)
class Config:
    """The numbers that fix the shape of the model."""

    layers: int
    model: int  # coordinates of the residual stream
    heads: int
    groups: int  # heads of keys and values, each of which several heads of queries share  # for: grouped
    dim: int  # coordinates of a head
    neurons: int  # per layer
    positions: int  # the longest text
    vocabulary: int
    activation: str
    epsilon: float  # is added to what norms divide by
    scale: float  # scores are multiplied by it  # for: not scales
    scales: tuple[float, ...]  # layer by layer: scores are multiplied by it  # for: scales
    rotary: Rotary  # for: rotary
    local_rotary: Rotary  # that of layers that look near  # for: local rotary
    window: int  # keys that a query sees, its own among them  # for: window
    local: tuple[int, ...]  # the layers that look near; others see all  # for: local layers
    score_cap: float  # for: score cap
    logit_cap: float  # for: logit cap
    embed_scale: float  # what tokens write first is multiplied by it  # for: scaled embedding

    @property
    def held(self) -> int:
        """How many numbers a layer keeps of a token: its keys and values."""
        return 2 * self.groups * self.dim  # for: grouped
        return 2 * self.heads * self.dim  # for: not grouped


# --- weights ----------------------------------------------------------------------------------------------------------


def read_weights(path: Path, subject: str) -> dict[str, Floats]:
    """Map a safetensors file into memory: name -> float32 array. `subject` is named in the error if it is missing."""
    again = f"re-create it with: pellucid decompile {shlex.quote(subject)} -o {shlex.quote(str(path.parent))}"
    if not path.is_file():
        raise ProgramError(f"{path} is missing; {again}")
    data = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
    end = 8 + int.from_bytes(data[:8].tobytes(), "little")
    if len(data) < 8 or end > len(data):
        raise ProgramError(f"{path} is truncated ({len(data)} bytes); {again}")
    try:
        header = json.loads(data[8:end].tobytes())
        header.pop("__metadata__", None)
        return {name: _tensor(data[end:], entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProgramError(f"{path} is not a float32 safetensors file ({error}); {again}") from error


def _tensor(data: NDArray[np.uint8], entry: dict[str, Any]) -> Floats:
    """One tensor of a safetensors file: a view, not a copy."""
    start, stop = entry["data_offsets"]
    if entry["dtype"] != "F32" or not 0 <= start <= stop <= len(data):
        raise ValueError(f"a tensor of {entry['dtype']} at bytes {start} to {stop} of {len(data)}")
    tensor: Floats = np.asarray(data[start:stop]).view(np.float32).reshape(entry["shape"])
    return tensor


# --- cache ------------------------------------------------------------------------------------------------------------


class Cache:
    """The tokens of a text so far, the keys and values that every layer computed for them, and the named values kept.

    Extending a cache leaves it valid: new positions go into spare room behind it, or into a copy where that is taken.
    """

    def __init__(self, ids: Integers, held: Floats, said: Floats, length: int, used: list[int]):
        self.ids = ids  # [batch, room]
        self.held = held  # [layer, batch, room, keys then values]
        self.said = said  # [batch, room, named value]
        self.length = length
        self._used = used  # one number, shared by all caches in the same room: positions written

    @staticmethod
    def empty(config: Config, batch: int, room: int, kept: int = 0) -> Cache:
        """A cache without positions, with room for some, and for so many named values that are `kept`."""
        held = np.empty((config.layers, batch, room, config.held), np.float32)
        return Cache(np.empty((batch, room), np.int64), held, np.empty((batch, room, kept), np.float32), 0, [0])

    def grown(self, new: Integers, config: Config) -> Cache:
        """This cache with `new` tokens behind it, [batch, new]; their keys and values are still to be filled in.

        Raises `ProgramError` for what the model cannot read.
        """
        length = self.length + new.shape[1]
        if length > config.positions:
            raise ProgramError(f"{length} tokens are more than the {config.positions} positions of the model")
        if new.size and not 0 <= new.min() <= new.max() < config.vocabulary:
            raise ProgramError(f"token ids are from 0 to {config.vocabulary - 1}, not {new.min()} to {new.max()}")
        if len(new) != len(self.ids):
            raise ProgramError(f"{len(new)} rows cannot follow a cache of {len(self.ids)} rows")
        target = self
        if self._used[0] != self.length or length > self.ids.shape[1]:
            room = length if self.length == 0 else min(config.positions, max(2 * self.length, length + 16))
            target = Cache.empty(config, len(self.ids), room, self.said.shape[2])
            target.ids[:, : self.length] = self.ids[:, : self.length]
            target.held[:, :, : self.length] = self.held[:, :, : self.length]
            target.said[:, : self.length] = self.said[:, : self.length]
        target.ids[:, self.length : length] = new
        target._used[0] = length
        return Cache(target.ids, target.held, target.said, length, target._used)

    def take(self, rows: Integers, length: int) -> Cache:
        """A copy of the given rows, cut to their first `length` positions."""
        ids = self.ids[rows, :length]
        return Cache(ids, self.held[:, rows, :length], self.said[rows, :length], length, [length])


# --- functions of this program ----------------------------------------------------------------------------------------


class Function:
    """A function of a layer file: called with what it asks for, and what it raises or returns is checked."""

    def __init__(self, function: Callable[..., Any], file: str, place: str, name: str, line: int | None = None):
        self.function, self.file = function, file
        self.place, self.name = place, name  # the whole place for messages, and the name without file and line
        self.line = function.__code__.co_firstlineno if line is None else line
        self.asks = tuple(inspect.signature(function).parameters)

    def __call__(self, shape: tuple[int, ...], given: Mapping[str, object]) -> Floats:
        """What it says, in a form that broadcasts to `shape`."""
        try:
            with np.errstate(all="ignore"):
                result = np.asarray(self.function(*(given[name] for name in self.asks)), dtype=np.float32)
        except Exception as error:
            raise ProgramError(f"{self._where(error)} raised {type(error).__name__}: {error}") from error
        if result.ndim > len(shape) or any(
            n not in (1, m) for n, m in zip(result.shape[::-1], shape[::-1], strict=False)
        ):
            raise ProgramError(f"{self.place} returned shape {list(result.shape)}; it must broadcast to {list(shape)}")
        if not np.isfinite(result).all():
            raise ProgramError(f"{self.place} returned NaN or infinity")
        return result

    def _where(self, error: Exception) -> str:
        """Its name, with the line of its file where the error arose."""
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename).name == self.file]
        return f"{self.file}:{lines[-1] if lines else self.line}: {self.name}"


# --- processors -------------------------------------------------------------------------------------------------------

Item = TypeVar("Item")


def in_parallel(function: Callable[[Item], None], items: list[Item]) -> None:
    """Call `function` on each item, as many at a time as there are processors."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if len(items) == 1 or processors == 1:
        for item in items:
            function(item)
        return
    with ThreadPoolExecutor(min(processors, len(items))) as pool:
        list(pool.map(function, items))


def _multiply_alone() -> None:
    """Tell OpenBLAS, where NumPy uses it, to multiply on one processor: rows are shared out here instead.

    Its own threads wait for each other busily, which is many times slower on a machine that does other work as well.
    """
    library = ctypes.CDLL(np.linalg._umath_linalg.__file__)
    for name in ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_", "openblas_set_num_threads"):
        if hasattr(library, name):
            getattr(library, name)(1)


_multiply_alone()

# --- arithmetic -------------------------------------------------------------------------------------------------------


def matmul(x: Floats, weight: Floats, out: Floats | None = None) -> Floats:
    """`x @ weight` for x [..., in] and weight [in, out] as one multiplication."""
    flat = None if out is None else out.reshape(-1, weight.shape[1])
    product: Floats = np.matmul(x.reshape(-1, x.shape[-1]), weight, out=flat)
    return product.reshape(*x.shape[:-1], weight.shape[1])


def layer_norm(x: Floats, gain: Floats, bias: Floats, epsilon: float) -> tuple[Floats, Floats]:  # for: layer norm
    """Centre and scale the last axis to mean 0 and variance 1, then apply gain and bias (arXiv 1607.06450).

    Also what it was divided by, without that axis.
    """
    y: Floats = x - x.mean(-1, keepdims=True)
    scale = np.einsum("...i,...i->...", y, y)[..., None]
    scale /= x.shape[-1]
    scale += epsilon
    y /= np.sqrt(scale, out=scale)
    y *= gain
    y += bias
    return y, scale[..., 0]


def rms_norm(x: Floats, gain: Floats, epsilon: float) -> tuple[Floats, Floats]:  # for: rms norm
    """Scale the last axis to a mean square of 1, then apply the gain (arXiv 1910.07467).

    Also what it was divided by, without that axis.
    """
    scale = np.einsum("...i,...i->...", x, x)[..., None]
    scale /= x.shape[-1]
    scale += epsilon
    y: Floats = x / np.sqrt(scale, out=scale)
    y *= gain
    return y, scale[..., 0]


def soft_cap(x: Floats, cap: float) -> None:  # for: capped
    """Hold `x` softly between −cap and cap, in place: cap · tanh(x / cap)."""
    x /= np.float32(cap)
    np.tanh(x, out=x)
    x *= np.float32(cap)


def softmax_sums(scores: Floats) -> Floats:
    """Turn scores into unnormalised weights in place; return what the last axis must be divided by."""
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    sums: Floats = scores.sum(-1, keepdims=True)
    return sums


def in_blocks(function: Callable[[Floats], None], x: Floats) -> Floats:
    """Apply an in-place elementwise function to a contiguous array, a block at a time."""
    flat = x.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        function(flat[start : start + BLOCK])
    return x


def _gelu_new(x: Floats) -> None:
    """x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))) (arXiv 1606.08415)."""
    inner = x * x
    inner *= 0.044715 * 0.7978845608
    inner += 0.7978845608
    inner *= x
    np.tanh(inner, out=inner)
    inner += 1
    inner *= 0.5
    x *= inner


def _gelu(x: Floats) -> None:
    """x Φ(x), Φ the normal distribution function."""
    phi = _erf(x * np.float32(0.5**0.5))
    phi += 1
    phi *= 0.5
    x *= phi


def _erf(x: Floats) -> Floats:
    """The error function to float32 precision: the rational minimax approximation that Eigen uses."""
    np.clip(x, -4, 4, out=x)
    square = x * x
    above = np.full_like(x, -2.72614225801306e-10)
    for a in (2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04):
        above *= square
        above += np.float32(a)
    for a in (-2.95459980854025e-03, -1.60960333262415e-02):
        above *= square
        above += np.float32(a)
    below = np.full_like(x, -1.45660718464996e-05)
    for b in (-2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02):
        below *= square
        below += np.float32(b)
    above *= x
    above /= below
    return above


def _sigmoid_times(x: Floats, slope: float) -> None:
    """x σ(slope x)."""
    gate = x * np.float32(-slope)
    np.minimum(gate, 80, out=gate)
    np.exp(gate, out=gate)
    gate += 1
    x /= gate


def _relu(x: Floats) -> None:
    """max(x, 0)."""
    np.maximum(x, 0, out=x)


def _relu_squared(x: Floats) -> None:
    """max(x, 0)²."""
    np.maximum(x, 0, out=x)
    np.square(x, out=x)


def _tanh(x: Floats) -> None:
    """tanh(x)."""
    np.tanh(x, out=x)


def _sigmoid(x: Floats) -> None:
    """σ(x) = (1 + tanh(x/2)) / 2."""
    x *= 0.5
    np.tanh(x, out=x)
    x += 1
    x *= 0.5


def _mish(x: Floats) -> None:
    """x tanh(log(1 + eˣ)) (arXiv 1908.08681)."""
    gate = np.logaddexp(x, np.float32(0))
    np.tanh(gate, out=gate)
    x *= gate


def _linear(x: Floats) -> None:
    """x."""


ACTIVATIONS: dict[str, Callable[[Floats], None]] = {
    "gelu": _gelu,
    "gelu_accurate": _gelu_new,
    "gelu_fast": _gelu_new,
    "gelu_new": _gelu_new,
    "gelu_python": _gelu,
    "gelu_python_tanh": _gelu_new,
    "gelu_pytorch_tanh": _gelu_new,
    "leaky_relu": lambda x: np.copyto(x, x * np.float32(0.01), where=x < 0),
    "linear": _linear,
    "mish": _mish,
    "quick_gelu": lambda x: _sigmoid_times(x, 1.702),
    "relu": _relu,
    "relu2": _relu_squared,
    "relu6": lambda x: np.copyto(x, np.clip(x, 0, 6)),
    "sigmoid": _sigmoid,
    "silu": lambda x: _sigmoid_times(x, 1.0),
    "swish": lambda x: _sigmoid_times(x, 1.0),
    "tanh": _tanh,
}
