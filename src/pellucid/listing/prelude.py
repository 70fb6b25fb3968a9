"""The language of this program: all that `embedding.py` and the `layer_NN.py` files may import.

Every address of the model has exactly one statement:

    raw("L00.H00.QK")                        runs from the weights
    @source("L00.H01.QK") def ...            runs the function below it
    constants("L00.IN", {12: -0.83})         neuron 12 of layer 0 always has the pre-activation -0.83
    lifted("L00.H02.OV", rank=5)             moves what the weights say, but along 5 directions alone
    mean("L00.H03.OV")                       does the same everywhere: what it does on average over text
    means("L00.OUT", 3, 17, 99)              neurons 3, 17 and 99 always write what they write on average
    raw("L00.N*.IN")                         every neuron of layer 0 that has no statement of its own

The vectors of `lifted`, `mean` and `means` are data: they stand in `weights.safetensors` under names of their own.

What a source is given, by the names of its arguments, and what it returns (anything that broadcasts to the shape):

    | address       | may ask for         | returns                                     | shape               |
    |---------------|---------------------|---------------------------------------------|---------------------|
    | `Lxx.Hxx.QK`  | query, key          | scores before the softmax                   | [batch, query, key] |
    | `Lxx.Hxx.OV`  | query, key, pattern | what the head adds to the residual stream   | [batch, pos, model] |
    | `Lxx.Nxxxx.IN`| here                | the pre-activation                          | [batch, pos]        |
    | `Lxx.Nxxxx.OUT`| here, fires        | what the neuron adds to the residual stream | [batch, pos, model] |
    | `EMB.TOK`, `EMB.POS` | here         | what is added to the residual stream        | [batch, pos, model] |
    | `Lxx.ATTN.B`, `Lxx.MLP.B` |         | what is added to the residual stream        | [model]             |

`query`, `key` and `here` are places in the text: `.token`, `.previous` (the token before), `.before(k)` and
`.position`. A `query` looks from its place back at every `key`, which is never later.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "constants",
    "curve",
    "distance",
    "exp",
    "latest",
    "lifted",
    "log",
    "maximum",
    "mean",
    "means",
    "minimum",
    "raw",
    "select",
    "source",
    "sqrt",
    "where",
]

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
Function = TypeVar("Function", bound=Callable[..., Any])


class ProgramError(Exception):
    """Something in this program, or in what it was asked to do, that a person can put right."""


# --- statements: what runs where -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Statement:
    """One line or function of `embedding.py` or a layer file; `key` is the address or pattern that it names."""

    key: str
    form: str  # "raw", "source", "constants", "lifted", "mean" or "means"
    file: str
    line: int
    function: Callable[..., Any] | None = None
    values: dict[int, float] = field(default_factory=dict)  # of `constants`: neuron -> pre-activation
    neurons: tuple[int, ...] = ()  # of `constants` and `means`: the neurons that it is about
    rank: int = 0  # of `lifted`: how many directions

    def __str__(self) -> str:
        name = f" ({self.function.__name__})" if self.function else ""
        return f"{self.file}:{self.line}: {self.key}{name}"


STATEMENTS: dict[str, Statement] = {}
_KEY = re.compile(
    r"L\d{2,}\.(H\d{2,}\.(QK|OV)|N(\d{4,}|\*)\.(IN|OUT)|ATTN\.B|MLP\.B|LN1|LN2)|LNF|EMB\.TOK|EMB\.POS|UNEMB"
)


def raw(address: str) -> None:
    """The part runs from the weights; `L00.N*.IN` means every neuron without a statement of its own."""
    _register(Statement(address, "raw", *_caller()))


def source(address: str) -> Callable[[Function], Function]:
    """The decorated function is the part's source."""
    file, line = _caller()

    def register(function: Function) -> Function:
        _register(Statement(address, "source", file, line, function))
        return function

    return register


def constants(neurons: str, values: dict[int, float]) -> None:
    """Neurons whose pre-activation is a constant: `constants("L00.IN", {neuron: value})`."""
    file, line = _caller()
    if not re.fullmatch(r"L\d{2,}\.IN", neurons):
        raise ProgramError(f'{file}:{line}: constants() is for neurons, for example "L00.IN", not {neurons!r}')
    _register(Statement(neurons, "constants", file, line, values=dict(values), neurons=tuple(values)), checked=True)


def lifted(address: str, *, rank: int) -> None:
    """A head that moves what its weights say along `rank` directions alone: `lifted("L00.H02.OV", rank=5)`.

    Its write is the pattern-weighted mean of `x @ read`, times `write`, plus a bias; x is the normed residual stream.
    """
    file, line = _caller()
    if not address.endswith(".OV") or type(rank) is not int or rank < 1:
        raise ProgramError(f'{file}:{line}: expected lifted("L00.H02.OV", rank=5), not {address!r} of rank {rank!r}')
    _register(Statement(address, "lifted", file, line, rank=rank))


def mean(address: str) -> None:
    """The part is the same everywhere: its mean over text. A head that looks by its mean looks at all keys alike."""
    file, line = _caller()
    if address.rpartition(".")[2] not in ("QK", "OV", "TOK", "POS"):
        raise ProgramError(
            f'{file}:{line}: mean() is for heads and embeddings, for example "L00.H03.OV"; not {address!r}'
        )
    _register(Statement(address, "mean", file, line))


def means(neurons: str, *numbers: int) -> None:
    """Neurons that always write what they write on average, all of them one vector: `means("L00.OUT", 3, 17, 99)`."""
    file, line = _caller()
    if not re.fullmatch(r"L\d{2,}\.OUT", neurons):
        raise ProgramError(f'{file}:{line}: means() is for what neurons write, for example "L00.OUT", not {neurons!r}')
    _register(Statement(neurons, "means", file, line, neurons=numbers), checked=True)


def _register(statement: Statement, checked: bool = False) -> None:
    """Enter a statement; every key may have one."""
    if not checked and not _KEY.fullmatch(statement.key):
        where = f"{statement.file}:{statement.line}"
        raise ProgramError(
            f"{where}: {statement.key!r} is not an address such as L00.H01.QK, L00.N0007.IN or L00.N*.IN"
        )
    if earlier := STATEMENTS.get(statement.key):
        raise ProgramError(f"{statement} is already defined at {earlier.file}:{earlier.line}; keep one of the two")
    STATEMENTS[statement.key] = statement


def _caller() -> tuple[str, int]:
    """File name and line of the statement being executed."""
    frame = sys._getframe(2)
    return Path(frame.f_code.co_filename).name, frame.f_lineno


# --- places in the text: what a source is given -----------------------------------------------------------------------


@runtime_checkable
class TokenSets(Protocol):
    """What tokens need to know of the vocabulary."""

    def id_of(self, text: str | int) -> int:
        """The id of a text that is one token, or of a token given by its id."""
        ...

    def members(self, texts: tuple[str | int, ...]) -> Booleans:
        """Which ids are among texts or ids, with a False for no token at the end."""
        ...


@dataclass(frozen=True, eq=False)
class Tokens:
    """Tokens of the text. Compare them with a token's text (`token == " Ada"`), with other tokens, or with a set."""

    ids: Integers  # -1 before the start of the text, where there is no token: it equals nothing
    vocabulary: TokenSets

    def __eq__(self, other: object) -> Any:
        """Where the token is `other`: a text, a token id, or tokens at other places."""
        if isinstance(other, Tokens):
            return (self.ids == other.ids) & (self.ids >= 0)
        if isinstance(other, str | int):
            return self.ids == self.vocabulary.id_of(other)
        raise TypeError(f"a token is compared with its text, its id or other tokens, not with {other!r}")

    def __ne__(self, other: object) -> Any:
        """Where the token is not `other`."""
        return ~(self == other)

    __hash__ = None  # type: ignore[assignment]

    def one_of(self, *texts: str | int) -> Booleans:
        """Where the token is one of `texts` (or token ids)."""
        return self.vocabulary.members(texts)[self.ids]


@dataclass(frozen=True)
class Place:
    """Positions of the text from `first` to before `last`, shaped to broadcast as `query`, `key` or `here`."""

    text: Integers  # token ids, [batch, all positions so far]
    first: int
    last: int
    axes: tuple[slice | None, ...]  # how [batch, pos] is laid out: query [batch, pos, 1], key [batch, 1, pos]
    vocabulary: TokenSets

    @cached_property
    def position(self) -> Integers:
        """Positions, from 0 at the start of the text; the batch axis has length 1."""
        return np.arange(self.first, self.last)[None][self.axes]

    @cached_property
    def token(self) -> Tokens:
        """The token here."""
        return Tokens(self.text[:, self.first : self.last][self.axes], self.vocabulary)

    @cached_property
    def previous(self) -> Tokens:
        """The token before this one; at position 0 there is none, and it equals nothing."""
        return self.before(1)

    def before(self, steps: int) -> Tokens:
        """The token `steps` positions before this one."""
        if steps < 0:
            raise ValueError(f"before({steps}) would look at what comes later")
        ids = np.full((len(self.text), self.last - self.first), -1, self.text.dtype)
        skip = min(max(steps - self.first, 0), self.last - self.first)
        ids[:, skip:] = self.text[:, self.first + skip - steps : self.last - steps]
        return Tokens(ids[self.axes], self.vocabulary)


@dataclass(frozen=True)
class View:
    """The text as the sources see it while `past` tokens are in the cache and the rest are new."""

    ids: Integers  # [batch, past + new]
    past: int
    vocabulary: TokenSets

    @cached_property
    def here(self) -> Place:
        """The new positions, [batch, pos]."""
        return Place(self.ids, self.past, self.ids.shape[1], (slice(None), slice(None)), self.vocabulary)

    def query(self, first: int, last: int) -> Place:
        """The new positions from `first` to before `last`, [batch, query, 1]."""
        return Place(self.ids, self.past + first, self.past + last, (slice(None), slice(None), None), self.vocabulary)

    def key(self, last: int) -> Place:
        """All positions before `last`, [batch, 1, key]."""
        return Place(self.ids, 0, last, (slice(None), None, slice(None)), self.vocabulary)


# --- what sources are written with ------------------------------------------------------------------------------------


def select(condition: ArrayLike, strength: ArrayLike = 8.0, otherwise: ArrayLike = 0.0) -> Floats:
    """Scores that look where `condition` holds."""
    return where(condition, strength, otherwise)


def where(condition: ArrayLike, then: ArrayLike, otherwise: ArrayLike) -> Floats:
    """`then` where the condition holds, else `otherwise`."""
    return np.where(condition, np.asarray(then, np.float32), np.asarray(otherwise, np.float32))


def distance(query: Place, key: Place) -> Integers:
    """How many positions before the query the key is; negative where it is later (and never looked at)."""
    return query.position - key.position


def curve(steps: Integers, values: tuple[float, ...] | list[float]) -> Floats:
    """`values[steps]`; below 0 the first value, beyond the end the last one."""
    return np.asarray(values, np.float32)[np.clip(steps, 0, len(values) - 1)]


def latest(query: Place, key: Place, condition: ArrayLike) -> Booleans:
    """Where the key is the last place, at or before the query, that meets `condition`."""
    meets = np.logical_and(condition, distance(query, key) >= 0)
    later = np.flip(np.cumsum(np.flip(meets, -1), -1), -1)  # how many places from this key on meet the condition
    found: Booleans = np.logical_and(meets, later == 1)
    return found


def exp(x: ArrayLike) -> Floats:
    """The exponential."""
    return np.exp(np.asarray(x, np.float32))


def log(x: ArrayLike) -> Floats:
    """The natural logarithm."""
    return np.log(np.asarray(x, np.float32))


def sqrt(x: ArrayLike) -> Floats:
    """The square root."""
    return np.sqrt(np.asarray(x, np.float32))


def maximum(a: ArrayLike, b: ArrayLike) -> Floats:
    """The greater of the two, element by element."""
    return np.maximum(np.asarray(a, np.float32), np.asarray(b, np.float32))


def minimum(a: ArrayLike, b: ArrayLike) -> Floats:
    """The lesser of the two, element by element."""
    return np.minimum(np.asarray(a, np.float32), np.asarray(b, np.float32))
