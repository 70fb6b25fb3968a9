"""The language of this program: all that `embedding.py`, `layer_NN.py` and `described_NN.py` may import.

`layer_00.py` says what runs at every address of layer 0, each in exactly one statement:

    raw("L00.H00.QK")                        runs from the weights
    raw("L00.N*.IN")                         every neuron of layer 0 that has no statement of its own here
    @source("L00.H01.QK") def ...            a source: the function below it, in the place of the weights
    fires("L00.N0012.IN", -0.8, {2.1: (" one", " two")}, before={0.4: (" a",)})
                                             a source: neuron 12 has the pre-activation -0.8, plus 2.1 on the tokens
                                             " one" and " two", plus 0.4 behind the token " a"
                                             (neurons here are gated: what is called a  # for: gated
                                             pre-activation is their activation, a product)  # for: gated
    constants("L00.IN", {12: -0.83})         neuron 12 of layer 0 always has the pre-activation -0.83
    lifted("L00.H02.OV", rank=5)             moves what the weights say, but along 5 directions alone
    lifted("L00.H02.QK", rank=9)             looks where the weights say, but compares 9 directions alone
    channels("L00.IN", 3, 17, rank=40)       neurons 3 and 17 read 40 directions alone, the same for all that are named
    mean("L00.H03.OV")                       does the same everywhere: what it does on average over text
    means("L00.OUT", 3, 17, 99)              neurons 3, 17 and 99 always write what they write on average
    linear("L01.N0012.IN", -0.3, he=0.8)     a neuron whose pre-activation is a bias plus 0.8 times the value `he`
    linear("L01.N0012.IN", -0.3, {0.8: (he, she)}, it=-0.2)      and plus 0.8 times `she`, less 0.2 times `it`: values
                                             that share a number are defined above on the same page

`described_00.py`, where there is one, holds sources that do not run: the part runs from its weights, or lifted, and the
source describes it. They run in the place of the weights with sources only (`python -m program TEXT --source-only`).
A source runs in the full program, and stands in `layer_00.py`, where the part's residual (weights less source) is
dropped in `parts.toml`.

    about("L00.H01", "Looks at the ...")     what a whole head or neuron does, in words; computes nothing

`lifted` (QK) and `channels` take the place of the weights. They may stand beside a raw statement or a source, which is
what runs with sources only. The vectors of `lifted`, `channels`, `mean` and `means` are data: they stand in
`weights.safetensors` under names of their own.

What a source is given, by the names of its arguments, and what it returns (anything that broadcasts to the shape):

    | address       | may ask for         | returns                                     | shape               |
    |---------------|---------------------|---------------------------------------------|---------------------|
    | `Lxx.Hxx.QK`  | query, key, values  | scores before the softmax                   | [batch, query, key] |
    | `Lxx.Hxx.OV`  | query, key, pattern | what the head adds to the residual stream   | [batch, pos, model] |
    | `Lxx.Nxxxx.IN`| here                | the pre-activation                          | [batch, pos]        |
    | `Lxx.Nxxxx.OUT`| here, fires        | what the neuron adds to the residual stream | [batch, pos, model] |
    | `EMB.TOK`, `EMB.POS` | here         | what is added to the residual stream        | [batch, pos, model] |
    | `Lxx.ATTN.B`, `Lxx.MLP.B` |         | what is added to the residual stream        | [model]             |

`query`, `key` and `here` are places in the text: `.token`, `.previous` (the token before), `.before(k)` and
`.position`. A `query` looks from its place back at every `key`, which is never later.

Kinds of tokens stand in `words.py`: `names = kind({1.0: (" Ada", " Ida"), 0.4: (" Bo",)})`, and `names(here.token)` is
how much each token is of that kind. A function under `@value` is a named value, [batch, pos], that neurons of its layer
and of later ones may sum. It may ask for `here`, for values that are defined earlier, and for

    seen(0, 3, names)           what head 3 of layer 0 sees of a kind: the sum over keys of its pattern times how much
                                the token there is of that kind; `seen(0, 3, names, 1)` is about the token before it
    seen(2, 3, l1_after_he)     what it sees of a value of an earlier layer, which this value asks for too
    seen(0, 3, {0.8: (names, titles), -0.3: (verbs,)})      the sum of what it sees of each, times its number
    fired(0, {12: 0.8})         0.8 times the activation of neuron 12 of layer 0 here, summed over all that are named;
                                of the value's own layer as well, but then neurons of that layer cannot sum it
    fired(0, {0.8: (12, 7)})    the same of several neurons that share a number

It may also ask for `l0_ln2`, what norm LN2 of layer 0 divides by here, [batch, pos]: the standard deviation of the
residual stream over its coordinates. All that is written adds up in the stream, and only norms divide it, so a value
may say what a neuron reads as a sum of what was written, divided by the scale of the norm in between: `l1_ln2` in a
value of layer 1 that its neurons read, `l2_ln1` in one that heads of layer 2 ask for or see.

A head may ask for values of earlier layers, by their names, and call them: `l1_after_he(query)`, `l1_after_he(key)`.

Names that emission gave say what a kind or value goes with most over text, and are no definitions:

    like_he_she                 the kind of token that " he" and " she" are most of
    l1_on_like_he_she           a value of layer 1, high where the token is of that kind; `after`: where the one before
                                is, `two_after`: the one before that; `low_on`: low there
    l1_late_on_like_he_she      computed behind the neurons of layer 1, for heads of layer 2 and for later values; one
                                without `late` is computed before them, for those neurons
    l1_l00_h02_sees_like_he     high where head 2 of layer 0 sees that kind; `as_l00_n0110_fires`: where neuron 110 of
                                layer 0 fires; `l1_on_like_he_she_2`: a second value that goes with the same

Parts of a model with few weights can be wired: `wires.py` has the words for what they read and write.
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
    "about",
    "base",
    "channels",
    "constants",
    "curve",
    "distance",
    "edit",
    "exp",
    "fires",
    "kind",
    "latest",
    "lifted",
    "linear",
    "log",
    "maximum",
    "mean",
    "means",
    "minimum",
    "raw",
    "select",
    "source",
    "sqrt",
    "value",
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
    """One line or function of `embedding.py`, `layer_NN.py` or `described_NN.py`; `key` is what it is about."""

    key: str
    form: str  # "raw", "source", "fires", "constants", "linear", "lifted", "channels", "mean", "means" or "wired"
    file: str
    line: int
    function: Callable[..., Any] | None = None
    values: dict[int, float] = field(default_factory=dict)  # of `constants`: neuron -> pre-activation
    neurons: tuple[int, ...] = ()  # of `constants`, `channels` and `means`: the neurons that it is about
    rank: int = 0  # of `lifted` and `channels`: how many directions
    bias: float = 0.0  # of `linear`
    terms: dict[str, float] = field(default_factory=dict)  # of `linear`: value -> its coefficient

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.name}"

    @property
    def name(self) -> str:
        """Its key, and what its function is called."""
        return f"{self.key} ({self.function.__name__})" if self.function and self.form == "source" else self.key

    @property
    def described(self) -> bool:
        """Whether it stands where sources do that do not run in the full program."""
        return self.file.startswith(DESCRIBED)


STATEMENTS: dict[str, Statement] = {}  # of a part that is raw in its layer's file and described, what describes it
BESIDE = ".lifted"  # ends the keys of statements that stand beside a raw part or a source, in the place of the weights
APART = ".described"  # ends the key of `constants` that do not run: others of the same layer may
DESCRIBED = "described_"  # begins the names of files that hold sources which do not run
_KEY = re.compile(
    r"L\d{2,}\.(H\d{2,}\.(QK|OV)|N(\d{4,}|\*)\.(IN|OUT)|ATTN\.B|MLP\.B|LN1|LN2)|LNF|EMB\.TOK|EMB\.POS|UNEMB"
    r"|L\d{2,}\.(G\d{2,}\.(K|V)|QN|KN|ATTN\.LN|MLP\.LN)"
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
    key = f"{neurons}{APART}" if file.startswith(DESCRIBED) else neurons
    _register(Statement(key, "constants", file, line, values=dict(values), neurons=tuple(values)), checked=True)


Levels = dict[float, tuple[str | int, ...]]  # what is added for tokens, by their text or id


def fires(address: str, bias: float, here: Levels | None = None, /, *, before: Levels | None = None) -> None:
    """A neuron whose pre-activation is `bias`, plus a number for the token here, and one for the token before.

    `fires("L00.N0012.IN", -0.8, {2.1: (" one", " two")}, before={0.4: (" a",)})`: other tokens add nothing.
    """
    file, line = _caller()
    if not re.fullmatch(r"L\d{2,}\.N\d{4,}\.IN", address):
        raise ProgramError(f'{file}:{line}: fires() is for a neuron, for example "L01.N0012.IN", not {address!r}')

    at, behind = here or {}, before or {}

    def function(here: Place) -> Any:
        total: Any = np.float64(bias)
        for tokens, levels in ((here.token, at), (here.previous, behind)):
            for number, texts in levels.items():
                total = total + number * tokens.one_of(*texts)
        return total

    _register(Statement(address, "fires", file, line, function))


def about(address: str, text: str) -> None:
    """What a whole head or neuron does, in words: `about("L02.H00", "…")`. It computes nothing."""
    file, line = _caller()
    if not re.fullmatch(r"L\d{2,}\.(H\d{2,}|N\d{4,})", address) or not isinstance(text, str):
        raise ProgramError(f'{file}:{line}: expected about("L02.H00", "…"): a head or neuron, and a text')


def linear(
    address: str, bias: float, shared: dict[float, tuple[Callable[..., Any], ...]] | None = None, /, **terms: float
) -> None:
    """A neuron whose pre-activation is `bias` plus named values, each times its coefficient.

    Of the values in `shared`, several have the same: `{0.8: (he, she)}`.
    """
    file, line = _caller()
    if not re.fullmatch(r"L\d{2,}\.N\d{4,}\.IN", address):
        raise ProgramError(f'{file}:{line}: linear() is for a neuron, for example "L01.N0012.IN", not {address!r}')
    for coefficient, values in (shared or {}).items():
        for found in values:
            name = getattr(found, "__name__", "")
            if name not in VALUES or VALUES[name].function is not found or name in terms:
                raise ProgramError(f"{file}:{line}: linear() takes values, each of them once; not {found!r:.60}")
            terms[name] = coefficient
    _register(Statement(address, "linear", file, line, bias=bias, terms=terms))


def lifted(address: str, *, rank: int) -> None:
    """A head that moves, or looks where, its weights say along `rank` directions alone: `lifted("L00.H02.OV", rank=5)`.

    OV: its write is the pattern-weighted mean of `x @ read`, times `write`, plus a bias; x is the normed residual
    stream. QK: its scores are `(x @ read_q + bias)` of the query times `x @ read_k` of the key.
    """
    file, line = _caller()
    if not address.endswith((".OV", ".QK")) or type(rank) is not int or rank < 1 or not _KEY.fullmatch(address):
        raise ProgramError(f'{file}:{line}: expected lifted("L00.H02.OV", rank=5), not {address!r} of rank {rank!r}')
    beside = address.endswith(".QK")
    _register(Statement(f"{address}{BESIDE}" if beside else address, "lifted", file, line, rank=rank), checked=beside)


def channels(layer: str, *neurons: int, rank: int) -> None:
    """Neurons that read `rank` directions alone, the same for all of them: `channels("L00.IN", 3, 17, rank=40)`.

    Their pre-activations are `(x @ read) @ write`, plus biases; x is the normed residual stream.
    """
    file, line = _caller()
    if not re.fullmatch(r"L\d{2,}\.IN", layer) or type(rank) is not int or rank < 1 or not neurons:
        raise ProgramError(
            f'{file}:{line}: expected channels("L00.IN", 3, 17, rank=40), not {layer!r} of rank {rank!r}'
        )
    _register(Statement(f"{layer}{BESIDE}", "channels", file, line, neurons=neurons, rank=rank), checked=True)


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
    if statement.described and statement.form in ("lifted", "channels", "mean", "means"):
        raise ProgramError(f"{statement} says what runs; it belongs into the file of its layer")
    earlier = STATEMENTS.get(statement.key)
    if earlier and not (statement.described and not earlier.described and earlier.form == "raw"):
        raise ProgramError(f"{statement} is already defined at {earlier.file}:{earlier.line}; keep one of the two")
    STATEMENTS[statement.key] = statement


def _caller(up: int = 2) -> tuple[str, int]:
    """File name and line of the statement being executed, which stands `up` calls above."""
    frame = sys._getframe(up)
    return Path(frame.f_code.co_filename).name, frame.f_lineno


# --- edits ------------------------------------------------------------------------------------------------------------


@dataclass
class Change:
    """An edit of a part: how strongly it speaks for the tokens `says` rather than `over`, or what its source was."""

    address: str
    number: int
    file: str
    line: int
    says: tuple[str | int, ...] = ()
    over: tuple[str | int, ...] = ()
    function: Callable[..., Any] | None = None  # of a base None: the part was raw

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.address} (edit {self.number})"


CHANGES: list[Change] = []
BASES: dict[str, Change] = {}
READS = "EMB.TOK"
_EDITED = re.compile(r"L\d{2,}\.(H\d{2,}\.OV|N\d{4,}\.OUT|E\d{2,}|MLP\.B)|EMB\.TOK")


def edit(
    address: str, number: int, *, says: tuple[str | int, ...] = (), over: tuple[str | int, ...] = ()
) -> Callable[[Function], Function]:
    """The decorated function is how strongly the part speaks for `says` rather than `over`, beside all that it does.

    It may ask for `query` and `key` (OV, [batch, query, key]), or for `here` (OUT and inserted parts such as L02.E01,
    [batch, pos]); for MLP.B it is a number. An inserted part writes when its layer's neurons do. For EMB.TOK it is how
    much what the tokens `says` write takes the place of what `over` write (`here`, [batch, pos]).
    """
    change = Change(address, number, *_caller(), tuple(says), tuple(over))
    if not _EDITED.fullmatch(address) or not (says or over) or (address == READS and not (says and over)):
        raise ProgramError(f'{change}: expected a part such as "L02.H00.OV", and tokens to say, or not to')
    CHANGES.append(change)

    def register(function: Function) -> Function:
        change.function = function
        return function

    return register


def base(address: str, number: int) -> Callable[[Function], Function]:
    """The decorated function is what the part's source was before edit `number`; without one, the part was raw."""
    change = Change(address, number, *_caller())
    if address not in STATEMENTS:
        raise ProgramError(f"{change}: there is no statement about {address}")
    if earlier := BASES.get(address):
        raise ProgramError(f"{change} has a base at {earlier.file}:{earlier.line}; keep one of the two")
    BASES[address] = change

    def register(function: Function) -> Function:
        change.function = function
        return function

    return register


# --- kinds of tokens, and named values --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Kind:
    """How much each token is of a kind; one that is not named is not of it at all."""

    levels: dict[float, tuple[str | int, ...]]  # level -> tokens, by their text or id
    place: str

    def __call__(self, tokens: Tokens) -> Floats:
        """How much each of `tokens` is of this kind, in their shape; 0 where there is none."""
        if not isinstance(tokens, Tokens):
            raise TypeError(f"a kind is asked about tokens, for example here.token, not about {tokens!r:.40}")
        return tokens.level(self)


@dataclass(frozen=True)
class Value:
    """A named value: its function, and where it stands."""

    name: str
    function: Callable[..., Any]
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.name} (value)"


VALUES: dict[str, Value] = {}


def kind(levels: dict[float, tuple[str | int, ...]]) -> Kind:
    """A kind of tokens: `kind({1.0: (" Ada", " Ida"), 0.4: (" Bo",)})`."""
    file, line = _caller()
    return Kind(levels, f"{file}:{line}")


def value(function: Function) -> Function:
    """The decorated function is a named value of its layer, called as the function is."""
    code = function.__code__
    found = Value(function.__name__, function, Path(code.co_filename).name, code.co_firstlineno)
    if earlier := VALUES.get(found.name):
        raise ProgramError(f"{found} is already defined at {earlier.file}:{earlier.line}; give one another name")
    VALUES[found.name] = found
    return function


def level_rows(kinds: tuple[Kind, ...], id_of: Callable[[str | int], int], count: int) -> tuple[Integers, Floats]:
    """For `count` ids, and no token at the end, a row of levels: `rows[at[id]]` [kind] is how much it is of each kind.

    Raises `ProgramError` where a kind names a token twice.
    """
    named: list[dict[int, float]] = []
    for of_kind in kinds:
        levels: dict[int, float] = {}
        for level, tokens in of_kind.levels.items():
            for token in tokens:
                if id_of(token) in levels:
                    raise ProgramError(f"{of_kind.place}: the kind names the token {token!r} twice")
                levels[id_of(token)] = level
        named.append(levels)
    ids = sorted({id for levels in named for id in levels})
    at = np.zeros(count + 1, np.int64)
    at[ids] = range(1, len(ids) + 1)
    rows = np.zeros((len(ids) + 1, len(kinds)), np.float32)
    for column, levels in enumerate(named):
        rows[at[list(levels)], column] = list(levels.values())
    return at, rows


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

    def levels(self, kinds: tuple[Kind, ...]) -> tuple[Integers, Floats]:
        """How much tokens are of `kinds`, see `level_rows`."""
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

    @cached_property
    def _levels(self) -> dict[Kind, Floats]:
        """What has been looked up so far."""
        return {}

    def level(self, of_kind: Kind) -> Floats:
        """How much each token is of a kind."""
        if of_kind not in self._levels:
            at, rows = self.vocabulary.levels((of_kind,))
            self._levels[of_kind] = rows[at[self.ids], 0]
        return self._levels[of_kind].copy()


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
    said: Floats | None = None  # [batch, past + new, value]: named values that are kept, where text is cached

    @cached_property
    def here(self) -> Place:
        """The new positions, [batch, pos]."""
        return Place(self.ids, self.past, self.ids.shape[1], (slice(None), slice(None)), self.vocabulary)

    @cached_property
    def values(self) -> dict[str, Floats]:
        """The named values that have been computed for the new positions so far, [batch, pos]."""
        return {}

    @cached_property
    def seen(self) -> dict[tuple[int, int], Floats]:
        """What heads, by layer and number, see of the kinds and values they are asked for, [batch, pos, kind]."""
        return {}

    @cached_property
    def fired(self) -> dict[int, Floats]:
        """The activations of the neurons of layers that values ask for, [batch, pos, neuron]."""
        return {}

    @cached_property
    def scales(self) -> dict[str, Floats]:
        """What the norms that values ask for divide by, by their names, [batch, pos]."""
        return {}

    def levels(self, kinds: tuple[tuple[Kind, int], ...]) -> Floats:
        """How much every token so far is of `kinds`, or the one some steps before it, [batch, position, kind]."""
        if kinds not in self._levels:
            everywhere = Place(self.ids, 0, self.ids.shape[1], (slice(None), slice(None)), self.vocabulary)
            found = np.empty((*self.ids.shape, len(kinds)), np.float32)
            for steps in {steps for _, steps in kinds}:
                columns = [n for n, (_, back) in enumerate(kinds) if back == steps]
                at, rows = self.vocabulary.levels(tuple(kinds[n][0] for n in columns))
                found[..., columns] = rows[at[everywhere.before(steps).ids]]
            self._levels[kinds] = found
        return self._levels[kinds]

    @cached_property
    def _levels(self) -> dict[tuple[tuple[Kind, int], ...], Floats]:
        """What has been looked up so far."""
        return {}

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
