"""`parts.toml`: form, residual and source of every part, in order of execution.

`program/` is the truth about forms and sources, and the file is rewritten from it; `residual` is what the file itself
decides: a part whose residual is dropped runs its source alone, or lifted. `form` is what runs; `source` or `lifted`
says where the statement stands that says so, `described` where a source stands that does not run. `["L00.N*.IN"]`
stands for every neuron of the layer that has no entry of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tomlkit

from pellucid.base.address import Address, Shape
from pellucid.base.errors import PellucidError, ProjectError
from pellucid.base.files import write_text
from pellucid.base.kept import kept
from pellucid.base.schema import CLOSED, Count, fitting, shown, text_of, toml_of
from pellucid.family.blocks import Decoder
from pellucid.family.partition import Part, PartForm, Residual, count
from pellucid.listing.parse import Listing
from pellucid.listing.statement import Statement

_HEADER = (
    "What runs: `form`, from the statement at `source` or `lifted`. Where `residual` is `dropped`, it runs alone.",
    "A source that is `described` does not run: the part runs from its weights, or lifted.",
)

_MOST_COMPARED = 1 << 27
"""Parts that the patterns of one file may be held against, all together."""


@dataclass(frozen=True)
class _Entry:
    """A table `[[part]]`."""

    __pydantic_config__ = CLOSED
    addresses: list[str]
    form: Literal["raw", "lifted", "source"]
    residual: Residual
    source: str = ""
    lifted: str = ""
    described: str = ""
    budget: Count = 0


def read_dropped(path: Path, shape: Shape) -> frozenset[Address]:
    """The addresses whose residual is dropped; none where there is no file.

    Raises `ProjectError` with file, line and reason for anything that is not such a file.
    """
    if not path.exists():
        return frozenset()
    text = text_of(path, ProjectError)
    about = repr((shape.layers, shape.heads, shape.neurons, shape.tied, shape.groups, sorted(shape.once), text))
    return kept(
        "dropped",
        about,
        lambda: _dropped_in(path, text, shape),
        lambda found: [*map(str, sorted(found))],
        lambda names: frozenset(map(Address.parse, names)),
    )


def _dropped_in(path: Path, text: str, shape: Shape) -> frozenset[Address]:
    """What `read_dropped` finds in the `text` of the file."""
    parts = toml_of(text, str(path), ProjectError).get("part", [])
    if not isinstance(parts, list):
        raise ProjectError(f"{path}: part is {shown(parts)}, expected tables [[part]]")
    lines = [number for number, line in enumerate(text.split("\n"), 1) if line.strip() == "[[part]]"]
    dropped: set[Address] = set()
    read = _Read(shape)
    for number, part in enumerate(parts):
        place = f"{path}:{lines[number] if number < len(lines) else 1}"
        dropped |= _dropped(part, read, place)
    return frozenset(dropped)


class _Read:
    """Reads addresses and patterns; a file may name only so many patterns, each of which is held against all parts."""

    def __init__(self, shape: Shape) -> None:
        self.shape, self.left = shape, _MOST_COMPARED

    def __call__(self, text: str) -> list[Address]:
        """What `text` means. Raises `PellucidError` for what means nothing, and for one pattern too many."""
        try:
            if (address := Address.parse(text)) in self.shape:
                return [address]
        except PellucidError:
            pass
        self.left -= 2 * self.shape.layers * (self.shape.heads + self.shape.neurons)
        if self.left < 0:
            raise PellucidError(f"{shown(text)} is one pattern too many; name the parts themselves")
        return self.shape.match(text)


def _dropped(part: object, read: _Read, place: str) -> set[Address]:
    """The addresses of one entry if their residual is dropped. Raises `ProjectError` naming `place`."""
    entry = fitting(_Entry, part, place, ProjectError)
    try:
        addresses = {address for text in entry.addresses for address in read(text)}
    except PellucidError as error:
        raise ProjectError(f"{place}: {error}") from None
    return addresses if entry.residual == "dropped" else set()


@dataclass(frozen=True)
class Standing:
    """What runs at an address (`form`, and the statement that says so), and what describes it without running."""

    form: PartForm
    residual: Residual
    runs: Statement
    described: Statement | None = None


def standing(listing: Listing, address: Address, dropped: frozenset[Address]) -> Standing:
    """How `address` stands where the residuals in `dropped` are dropped: a source with its residual describes it."""
    own, runs = listing[address], listing.runs(address)
    residual: Residual = "dropped" if runs.form != "raw" and address in dropped else "on"
    idle = own.part_form == "source" and (own is not runs or residual == "on")
    form: PartForm = "raw" if idle and own is runs else runs.part_form
    return Standing(form, residual, runs, own if idle else None)


def without_residual(listing: Listing, dropped: Iterable[Address]) -> frozenset[Address]:
    """Those of `dropped` that have something else to run than their weights: what `parts.toml` says of them."""
    return frozenset(address for address in dropped if listing.runs(address).form != "raw")


def partition(listing: Listing, dropped: frozenset[Address]) -> list[Part]:
    """All parts of the program in order, those neurons of a layer that are raw and nothing else as one."""
    parts: list[Part] = []
    rest: dict[tuple[int, str], list[Address]] = {}
    for address in listing.decoder.addresses.addresses():
        found = standing(listing, address, dropped)
        if found.form == "raw" and not found.described and address.kind in ("IN", "OUT"):
            group = rest.setdefault((address.layer, address.kind), [])
            if not group:
                parts.append(Part((address,)))
            group.append(address)
            continue
        source = found.runs.source if found.form != "raw" else None
        described = found.described.source if found.described else None
        parts.append(Part((address,), found.form, found.residual, source, described))
    return [
        Part(tuple(rest[part.addresses[0].layer, part.addresses[0].kind]))
        if part.form == "raw" and not part.described and part.addresses[0].kind in ("IN", "OUT")
        else part
        for part in parts
    ]


def write_parts(path: Path, parts: Iterable[Part], decoder: Decoder) -> None:
    """Write `parts.toml`, atomically. `budget` is the most numbers that a source of the part may hold."""
    document = tomlkit.document()
    for line in _HEADER:
        document.add(tomlkit.comment(line))
    tables = tomlkit.aot()
    for part in parts:
        first = part.addresses[0]
        grouped = len(part.addresses) > 1
        entry: dict[str, Any] = {
            "addresses": [f"L{first.layer:02d}.N*.{first.kind}"] if grouped else [str(first)],
            "form": part.form,
            "residual": part.residual,
        }
        entry |= {"lifted" if part.form == "lifted" else "source": part.source} if part.source else {}
        entry |= {"described": part.described} if part.described else {}
        tables.append(tomlkit.item(entry | {"budget": count(first, decoder)}))
    document["part"] = tables
    write_text(path, tomlkit.dumps(document))
