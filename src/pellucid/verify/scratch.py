"""A workbench for one part: its source against the frozen raw part, in seconds and without the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from pellucid.base.address import Address
from pellucid.base.errors import PellucidError
from pellucid.listing.load import LoadedSources, Program, load_sources
from pellucid.listing.parse import Listing
from pellucid.project.project import Project
from pellucid.project.variant import variant
from pellucid.verify.examine import agreement, causal_softmax, overlap, source_output
from pellucid.verify.freeze import Frozen, freeze

WORST = 8
"""Places that are shown, each from another row."""
BEFORE = 16
"""Tokens that are shown up to a place."""
KEYS = 3
"""Keys of a pattern that are shown, those with the largest weights."""

Values = Sequence[Float32[np.ndarray, "*_"]]


@dataclass(frozen=True)
class Closeness:
    """How near something comes to the raw part.

    `score`: what `examine` calls so, 0 for the mean and 1 at best; `error`: the mean
    KL between patterns, nats a query (QK), or the root mean square difference of pre-activations (IN).
    """

    score: float
    error: float


@dataclass(frozen=True)
class Key:
    """A token that a head looks at, how many positions back it is, and the weight that it gets."""

    token: str
    back: int
    weight: float


@dataclass(frozen=True)
class Difference:
    """Where two differ: the `tokens` up to there, by how much (`difference`), and what raw part and source do there.

    For a head `difference` is the total variation between the patterns, and the keys with the largest weights are
    given; for a neuron it is that of the pre-activations.
    """

    tokens: tuple[str, ...]
    difference: float
    raw: float | tuple[Key, ...]
    source: float | tuple[Key, ...]


@dataclass(frozen=True)
class Scratch:
    """The source of a part beside the raw part and the mean; `source` is None where the part still runs raw.

    `worst` are the places where the source (or, without one, the mean) differs most from the raw part.
    """

    address: str
    """The part."""
    place: str
    """File and line of its source."""
    rows: int
    """How many rows of text it was tried on."""
    positions: int
    """How many positions these have."""
    source: Closeness | None
    mean: Closeness
    """How near its mean comes to the raw part: `score` and `error`."""
    worst: tuple[Difference, ...]
    space: str = ""
    """What stands between two tokens of the text: nothing where tokens hold their own spaces."""

    def to_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self)


def scratch(project: Project, address: Address | str) -> Scratch:
    """Try the source of `address` as it stands on disk; freezes the part first, which alone needs the subject.

    Raises `PellucidError` for what is not one QK or IN, `SourceError` for a source that is broken, and `ProjectError`
    if the program is a stranger's and not trusted.
    """
    project.require_trust()
    listing = project.listing()
    address = one(listing, address) if isinstance(address, str) else address
    frozen = freeze(project, address)
    statement = listing[address]
    sources = load_sources(project.directory, statement.file.name)
    mean = [np.full_like(values, _average(frozen)) for values in frozen.raw]
    said = _said(project, sources, listing, frozen) if statement.part_form == "source" else None
    return Scratch(
        str(address),
        f"{statement.at} {statement.function or statement.form}",
        len(frozen.rows),
        frozen.positions,
        None if said is None else figures(frozen, said),
        figures(frozen, mean),
        worst(frozen, mean if said is None else said, sources),
        " " if sources.vocabulary.is_words else "",
    )


def one(listing: Listing, text: str) -> Address:
    """The one address that `text` names. Raises `PellucidError` if there is none, or several."""
    found = listing.decoder.addresses.match(text)
    if len(found) > 1:
        raise PellucidError(f"{text!r} names {len(found):,} parts; scratch takes one, for example {found[0]}")
    return found[0]


def _said(project: Project, sources: LoadedSources, listing: Listing, frozen: Frozen) -> Values:
    """What the source says; of what reads named values, which look where the heads do, by running the program.

    All other residuals are on then, so that heads look where the subject's do.
    """
    statement = listing[frozen.address]
    if statement.form != "linear" and not statement.reads:
        return say(sources, listing, frozen)
    with variant(project, dropped=[frozen.address]) as program:
        return say(program, listing, frozen)


def say(sources: LoadedSources | Program, listing: Listing, frozen: Frozen) -> Values:
    """What the source says on every frozen row. Raises `SourceError` for one that is broken or looks ahead."""
    address = frozen.address
    if listing[address].form == "source" and isinstance(sources, LoadedSources):
        sources.check(str(address))
    pairs = zip(frozen.rows, frozen.raw, strict=True)
    return [source_output(sources, listing, address, row[None], values.shape) for row, values in pairs]


def figures(frozen: Frozen, said: Values) -> Closeness:
    """How near `said` comes to the raw part."""
    errors = np.concatenate([_errors(frozen.address, *pair) for pair in zip(frozen.raw, said, strict=True)])
    error = errors.mean() if frozen.address.kind == "QK" else np.sqrt(errors.mean())
    return Closeness(agreement(frozen.address, frozen.raw, said).value, float(error))


def worst(frozen: Frozen, said: Values, sources: LoadedSources) -> tuple[Difference, ...]:
    """The places where `said` is furthest from the raw part, one a row and each text once, the worst first."""
    found = []
    for number, (raw, values) in enumerate(zip(frozen.raw, said, strict=True)):
        apart = 1 - overlap(raw, values) if frozen.address.kind == "QK" else np.abs(raw - values)
        found.append((float(apart.max()), number, int(apart.argmax())))
    places: dict[tuple[str, ...], Difference] = {}
    for apart_most, number, at in sorted(found, key=lambda entry: -entry[0]):
        texts = [sources.vocabulary.decode([token]) for token in frozen.rows[number][: at + 1].tolist()]
        tokens = tuple(texts[-BEFORE:])
        if tokens not in places:
            sides = (_shown(side[number], at, texts) for side in (frozen.raw, said))
            places[tokens] = Difference(tokens, apart_most, *sides)
        if len(places) == WORST:
            break
    return tuple(places.values())


def _average(frozen: Frozen) -> float:
    """What the mean in a part's place gives: scores of 0 (a uniform pattern), or the mean pre-activation."""
    return 0.0 if frozen.address.kind == "QK" else float(np.concatenate(frozen.raw).mean())


def _errors(
    address: Address, raw: Float32[np.ndarray, "*_"], said: Float32[np.ndarray, "*_"]
) -> Float64[np.ndarray, " pos"]:
    """KL between the patterns of every query in nats (QK), or squared differences of pre-activations (IN)."""
    if address.kind == "IN":
        return np.asarray((raw.astype(np.float64) - said) ** 2)
    ours, theirs = _log_pattern(raw), _log_pattern(said)
    return np.asarray((np.exp(ours) * (ours - theirs)).sum(-1).clip(min=0))


def _log_pattern(scores: Float32[np.ndarray, "query key"]) -> Float64[np.ndarray, "query key"]:
    """Log-probabilities of the causal pattern; a key that is later than its query has a very small, finite one."""
    masked = np.where(np.tri(len(scores), dtype=bool), scores.astype(np.float64), -1e9)
    masked -= masked.max(-1, keepdims=True)
    return np.asarray(masked - np.log(np.exp(masked).sum(-1, keepdims=True)), np.float64)


def _shown(values: Float32[np.ndarray, "*_"], at: int, texts: Sequence[str]) -> float | tuple[Key, ...]:
    """A pre-activation, or the keys that query `at` looks at most."""
    if values.ndim == 1:
        return float(values[at])
    weights = causal_softmax(values)[at, : at + 1]
    most = np.argsort(-weights, kind="stable")[:KEYS].tolist()
    return tuple(Key(texts[key], at - key, float(weights[key])) for key in most)
