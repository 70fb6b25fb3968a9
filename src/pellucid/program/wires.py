"""Wired parts: what each reads and writes, coordinate by coordinate of the residual stream.

    coordinates("person", "gave", "-answer")         stream.py: the names of the coordinates, in order; the third one
                                                     is minus what `answer` says wherever it is named
    tokens("EMB.TOK", "…", person=people)            every token is as much of a coordinate as it is of a kind
    says("UNEMB", "…", answer=places)                every token is spoken for by a coordinate as it is of a kind
    waves("EMB.POS", "…", turn=sine(8, 0.2))         positions write a wave of 8 positions and height 0.2
    looks("L02.H05.QK", "…", seeks(gave=1.2, one=0.3), offers(person=0.9))
                                                     the score: 1.2 gave + 0.3 of the query, times 0.9 person of the key
    moves("L02.H05.OV", "…", takes(person=1), gives(answer=0.8))
                                                     from where it looks, person is taken, and 0.8 of it added to answer
    reads("L02.N0017.IN", "…", -1.2, answer=0.7)     the pre-activation: a bias, and coordinates
    writes("L02.N0017.OUT", "…", answer=0.5)         what is added to coordinates for each unit of activation
    writes("L02.MLP.B", "…", answer=0.1)             what is added everywhere
    plain("L02.LN1")                                 the coordinates less their mean, by their standard deviation

What a part reads has been through the norm before it. Several pairs in `looks` and `moves` add up; `one` is 1. The text
behind an address says what the part does, and computes nothing. A program that is wired throughout needs no weights.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from .prelude import Floats, Kind, ProgramError, Statement, TokenSets, _caller, _register
from .runtime import Config

__all__ = [
    "coordinates",
    "cosine",
    "gives",
    "looks",
    "moves",
    "offers",
    "plain",
    "reads",
    "says",
    "seeks",
    "sine",
    "takes",
    "tokens",
    "waves",
    "writes",
]

ONE = "one"
"""Stands for 1 in what heads seek and what neurons read."""
COORDINATES: dict[str, int] = {}
SIGNS: dict[str, float] = {}


@dataclass(frozen=True)
class Side:
    """One side of a pair: `seeks`, `offers`, `takes` or `gives`, and its coefficients by coordinate."""

    what: str
    terms: dict[str, float]


@dataclass(frozen=True)
class Wave:
    """A sine or cosine of the position."""

    phase: float  # in turns
    period: float  # in positions
    height: float

    def __call__(self, positions: int) -> Floats:
        """Its value at each position."""
        turns = np.arange(positions) / self.period + self.phase
        return (self.height * np.sin(2 * np.pi * turns)).astype(np.float32)


@dataclass(frozen=True)
class Wired:
    """What a wired part says: pairs of sides, one row of terms, kinds or waves by coordinate."""

    pairs: tuple[tuple[Side, Side], ...] = ()
    terms: Mapping[str, float] | None = None
    bias: float = 0.0
    kinds: Mapping[str, Kind] | None = None
    waves: Mapping[str, Wave] | None = None


WIRED: dict[str, Wired] = {}


# --- statements -------------------------------------------------------------------------------------------------------


def coordinates(*names: str) -> None:
    """The names of the coordinates of the residual stream, in order; `-name` where it is minus what its name says."""
    file, line = _caller()
    for written in names:
        name = written.removeprefix("-")
        if not name.isidentifier() or keyword.iskeyword(name) or name == ONE or name in COORDINATES:
            raise ProgramError(f"{file}:{line}: {written!r} cannot name a coordinate; expected a name of its own")
        SIGNS[name] = -1.0 if written.startswith("-") else 1.0
        COORDINATES[name] = len(COORDINATES)


def seeks(**terms: float) -> Side:
    """What a head seeks at the query: coordinates, times coefficients."""
    return Side("seeks", terms)


def offers(**terms: float) -> Side:
    """What a key offers a head."""
    return Side("offers", terms)


def takes(**terms: float) -> Side:
    """What a head takes from where it looks."""
    return Side("takes", terms)


def gives(**terms: float) -> Side:
    """What a head adds to the residual stream for what it took."""
    return Side("gives", terms)


def sine(period: float, height: float) -> Wave:
    """`height` × sin(2π position / period)."""
    return Wave(0.0, period, height)


def cosine(period: float, height: float) -> Wave:
    """`height` × cos(2π position / period)."""
    return Wave(0.25, period, height)


def looks(address: str, text: str, *sides: Side) -> None:
    """Where a head looks: scores are sums of products of what the query seeks and what the key offers."""
    _wire(address, text, Wired(_pairs(address, sides, "seeks", "offers")), ".QK")


def moves(address: str, text: str, *sides: Side) -> None:
    """What a head takes from where it looks, and what it gives for that."""
    _wire(address, text, Wired(_pairs(address, sides, "takes", "gives")), ".OV")


def reads(address: str, text: str, bias: float, **terms: float) -> None:
    """When a neuron fires: its pre-activation is `bias` plus coordinates, times coefficients."""
    _wire(address, text, Wired(terms=terms, bias=bias), ".IN")


def writes(address: str, text: str, **terms: float) -> None:
    """What a neuron adds to coordinates for each unit of activation, or a bias everywhere."""
    _wire(address, text, Wired(terms=terms), ".OUT", ".B")


def plain(address: str) -> None:
    """A norm without gain or bias: less the mean, by the standard deviation."""
    _wire(address, "", Wired(), ".LN1", ".LN2", "LNF")


def tokens(address: str, text: str, **kinds: Kind) -> None:
    """What tokens write, coordinate by coordinate: how much each is of a kind. Tied, that is how they are said too."""
    _wire(address, text, Wired(kinds=kinds), "EMB.TOK")


def says(address: str, text: str, **kinds: Kind) -> None:
    """What coordinates speak for, each for the tokens of a kind."""
    _wire(address, text, Wired(kinds=kinds), "UNEMB")


def waves(address: str, text: str, **found: Wave) -> None:
    """What positions write."""
    _wire(address, text, Wired(waves=found), "EMB.POS")


def _wire(address: str, text: str, wired: Wired, *ends: str) -> None:
    file, line = _caller(3)
    if not address.endswith(ends) or not isinstance(text, str):
        raise ProgramError(f"{file}:{line}: expected an address that ends in {' or '.join(ends)}, and a text")
    _register(Statement(address, "wired", file, line))
    WIRED[address] = wired


def _pairs(address: str, sides: tuple[Side, ...], first: str, second: str) -> tuple[tuple[Side, Side], ...]:
    """The sides two by two."""
    if [side.what for side in sides] != [first, second] * (len(sides) // 2):
        raise ProgramError(f"{address}: expected {first}(…), {second}(…), again and again")
    return tuple(zip(sides[::2], sides[1::2], strict=True))


# --- as weights -------------------------------------------------------------------------------------------------------


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """The tensors of the model that this program is."""
    model, neurons, heads, dim = config.model, config.neurons, config.heads, config.dim
    found: dict[str, tuple[int, ...]] = {
        "EMB.TOK": (config.vocabulary, model),
        "EMB.POS": (config.positions, model),
        "LNF": (model,),
        "LNF.bias": (model,),
        "UNEMB": (config.vocabulary, model),  # for: untied
    }
    for layer in range(config.layers):
        block: dict[str, tuple[int, ...]] = {
            "LN1": (model,),
            "LN1.bias": (model,),
            **dict.fromkeys(("H*.Q", "H*.K", "H*.V"), (model, heads, dim)),
            **dict.fromkeys(("H*.Q.bias", "H*.K.bias", "H*.V.bias"), (heads, dim)),
            "H*.O": (heads, dim, model),
            "ATTN.B": (model,),
            "LN2": (model,),
            "LN2.bias": (model,),
            "N*.IN": (model, neurons),
            "N*.IN.bias": (neurons,),
            "N*.OUT": (neurons, model),
            "MLP.B": (model,),
        }
        found |= {f"L{layer:02d}.{name}": shape for name, shape in block.items()}
    return found


class Loom:
    """Weights in which wired parts take the place of what was there."""

    def __init__(self, config: Config, weights: Mapping[str, Floats], vocabulary: TokenSets | None = None):
        self.config, self.vocabulary = config, vocabulary
        if COORDINATES and len(COORDINATES) != config.model:
            raise ProgramError(f"stream.py names {len(COORDINATES)} coordinates; the model has {config.model}")
        self.given, self.woven = weights, dict(weights)

    def own(self, name: str) -> Floats:
        """A tensor that may be written to: a copy of what was given, or zeros where nothing was."""
        if name not in self.woven:
            self.woven[name] = np.zeros(shapes(self.config)[name], np.float32)
        elif self.woven[name] is self.given.get(name):
            self.woven[name] = np.array(self.woven[name], np.float32)
        return self.woven[name]

    def weave(self, address: str) -> None:
        """Let the wired part at `address` take the place of its weights."""
        wired, kind = WIRED[address], address.rpartition(".")[2]
        at = address.partition(".")[0]
        if kind in ("LN1", "LN2", "LNF"):
            self.own(address)[:], self.own(f"{address}.bias")[:] = 1, 0
        elif kind in ("TOK", "UNEMB"):
            self._tokens(address, cast(Mapping[str, Kind], wired.kinds))
        elif kind == "POS":
            table = self.own("EMB.POS")
            table[:] = 0
            for name, wave in cast(Mapping[str, Wave], wired.waves).items():
                table[:, self.at(address, name)] = wave(len(table)) * np.float32(SIGNS[name])
        elif kind == "B":
            self.own(address)[:] = self.row(address, wired.terms)[0]
        elif kind in ("QK", "OV"):
            self._head(address, at, wired)
        else:
            neuron = int(address.split(".")[1][1:])
            row, one = self.row(address, wired.terms)
            if kind == "IN":
                self.own(f"{at}.N*.IN")[:, neuron] = row
                self.own(f"{at}.N*.IN.bias")[neuron] = wired.bias + one
            else:
                self.own(f"{at}.N*.OUT")[neuron] = row

    def _tokens(self, address: str, kinds: Mapping[str, Kind]) -> None:
        """Fill an embedding: column by column, how much tokens are of a kind."""
        table = self.own(address)
        table[:] = 0
        if self.vocabulary is None:
            raise ProgramError(f"{address} needs a vocabulary")
        for name, kind in kinds.items():
            at, rows = self.vocabulary.levels((kind,))
            table[:, self.at(address, name)] = rows[at[: len(table)], 0] * np.float32(SIGNS[name])

    def _head(self, address: str, at: str, wired: Wired) -> None:
        """Fill what a head reads and writes: one pair a coordinate of it."""
        head, size = int(address.split(".")[1][1:]), self.config.dim
        if len(wired.pairs) > size:
            raise ProgramError(f"{address}: {len(wired.pairs)} pairs; a head of this model has {size} coordinates")
        looks = address.endswith("QK")
        reads = {letter: (self.own(f"{at}.H*.{letter}"), self.own(f"{at}.H*.{letter}.bias")) for letter in "QKV"}
        for letter in "QK" if looks else "V":
            for table in reads[letter]:
                table[..., head, :] = 0
        out = self.own(f"{at}.H*.O")
        if not looks:
            out[head] = 0
        scale = self.config.scale  # for: not scales
        scale = self.config.scales[int(at[1:])]  # for: scales
        for number, (first, second) in enumerate(wired.pairs):
            place = (..., head, number)
            row, one = self.row(address, first.terms)
            if looks:
                reads["Q"][0][place], reads["Q"][1][place] = row / np.float32(scale), one / scale
                reads["K"][0][place], reads["K"][1][place] = self.row(address, second.terms)
            else:
                reads["V"][0][place], reads["V"][1][place] = row, one
                out[head, number] = self.row(address, second.terms)[0]

    def row(self, address: str, terms: Mapping[str, float] | None) -> tuple[Floats, float]:
        """Coefficients of all coordinates, and that of `one`."""
        row = np.zeros(self.config.model, np.float32)
        for name, coefficient in (terms or {}).items():
            if name != ONE:
                row[self.at(address, name)] = coefficient * SIGNS[name]
        return row, float((terms or {}).get(ONE, 0.0))

    def at(self, address: str, name: str) -> int:
        """Which coordinate `name` is."""
        if name not in COORDINATES:
            raise ProgramError(f"{address} names {name!r}; stream.py has no such coordinate")
        return COORDINATES[name]


def woven(
    config: Config,
    weights: Mapping[str, Floats],
    addresses: Iterable[str],
    vocabulary: Callable[[], TokenSets],
) -> dict[str, Floats]:
    """The weights in which the wired parts at `addresses` take the place of what was there; the others as they are."""
    chosen = list(addresses)
    loom = Loom(config, weights, vocabulary() if {"EMB.TOK", "UNEMB"} & {*chosen} else None)
    for address in chosen:
        loom.weave(address)
    return loom.woven
