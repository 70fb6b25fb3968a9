"""Changes of a program in memory: what emission puts in the place of what it wrote; what a person wrote stays.

Each takes a program as it was read, or as another change left it, and gives it as it is to be.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pellucid.base.address import Address
from pellucid.base.errors import SourceError
from pellucid.family.allowance import fewest_means
from pellucid.listing import pages
from pellucid.listing.about import ABOUT, is_whole, line_of
from pellucid.listing.draft import Draft, Revision
from pellucid.listing.parse import Listing, read_page
from pellucid.listing.revalue import kept_values
from pellucid.listing.statement import STORED, Statement, described_name, pages_of
from pellucid.listing.wiring import WIRES
from pellucid.program.prelude import APART, BESIDE


def with_statements(listing: Listing, statements: Mapping[Address, str | None]) -> Revision:
    """The program with statements in the place of those that emission wrote; those of a person stay, in `kept`.

    A statement is the text of a decorated function, a row such as `fires(…)`, or `raw("…")`; None means raw. A new
    source stands among the descriptions until `arrange` finds that it runs. For neurons that are constants see
    `with_constants`, for what is lifted `with_lifted`. A function that is called like another one of its layer gets a
    number behind its name. Raises `SourceError` for text that is not a statement about its address, or not in the
    program's language.
    """
    return _revise(listing, {str(address): text for address, text in statements.items()})


def with_content(
    listing: Listing,
    *,
    words: str | None = None,
    values: Mapping[int, Sequence[str]] | None = None,
    statements: Mapping[Address, str | None] | None = None,
    stream: str | None = None,
    about: Mapping[str, str] | None = None,
) -> Revision:
    """The program with kinds of tokens, named values by layer, and statements that use them, all at once.

    Args:
        listing: The program as it is.
        words: The text of `words.py`, which a person's stays in the place of; kinds that pages still use stay behind.
        values: By layer, the texts of functions under `@value`: exactly these are then its named values among those
            that emission may write, in this order. A person's stay, and so do those that they read; neurons that
            emission let sum values which are now gone become raw.
        statements: See `with_statements`.
        stream: The text of `stream.py`.
        about: What whole heads and neurons do, in words, by `L02.H00` or `L02.N0417`: an empty text takes one away,
            those that are not named stay.

    Raises:
        SourceError: What is to be written does not fit together, naming file and line.
    """
    changes: dict[str, str | None] = {str(address): text for address, text in (statements or {}).items()}
    if values is not None:
        gone = {v.name for v in listing.values.values() if v.layer in values and not v.by_person}
        gone -= {_value_name(text) for of_layer in values.values() for text in of_layer}
        gone -= _needed(listing)
        for key, statement in listing.statements.items():
            if not statement.by_person and gone & {*statement.reads}:
                changes.setdefault(key, None)
    for address, said in (about or {}).items():
        if not is_whole(address):
            raise SourceError(f"{address!r} is no whole head or neuron; expected such as L02.H00 or L02.N0417")
        changes[f"{ABOUT}{address}"] = line_of(address, said) if said else None
    return _revise(listing, changes, values, words, stream)


def with_constants(listing: Listing, values: Mapping[Address, float]) -> Revision:
    """The program with neurons that are constant, beside what the `constants` statements of their layers already say.

    Neurons with a person's source, and layers whose `constants` a person wrote, stay and are named in `kept`.
    """
    changes: dict[str, str | None] = {}
    kept = []
    for layer in sorted({address.layer for address in values}):
        here, apart = f"L{layer:02d}.IN", f"L{layer:02d}.IN{APART}"
        old = {key: listing.statements.get(key) for key in (here, apart)}
        merged = {key: dict(found.values) if found else {} for key, found in old.items()}
        for address in (address for address in values if address.layer == layer):
            own = listing.statements.get(str(address))
            if own and own.by_person:
                kept.append(str(address))
                continue
            key = here if address.index in merged[here] else apart
            merged[key][address.index] = float(values[address])
            found = old[key]
            if own and not (found and found.by_person):
                changes[str(address)] = None
        changes |= {key: pages.constants(here, held) for key, held in merged.items() if held}
    revision = _revise(listing, changes)
    return replace(revision, kept=(*kept, *revision.kept))


def with_lifted(
    listing: Listing,
    heads: Mapping[Address, int],
    neurons: Collection[Address],
    channels: Mapping[int, tuple[int, Collection[int]]] | None = None,
) -> Revision:
    """The program in which exactly these parts are lifted, among those that emission may write.

    `heads` (OV, QK) have their rank, 0 for the mean; `neurons` (OUT) write their means, where a layer has enough of
    them to share a vector; `channels` are rank and neurons (IN) by layer. A part that emission lifted before and that
    is not among them becomes raw, or is its source alone.
    """
    old = {key: statement for key, statement in listing.statements.items() if statement.form in STORED}
    changes: dict[str, str | None] = {key: None for key, statement in old.items() if not statement.by_person}
    for address, rank in heads.items():
        beside = BESIDE if address.kind == "QK" and rank else ""
        changes[f"{address}{beside}"] = pages.lifted(str(address), rank)
    for layer, (rank, readers) in (channels or {}).items():
        key = f"L{layer:02d}.IN"
        changes[f"{key}{BESIDE}"] = pages.channels(key, readers, rank)
    for layer in sorted({address.layer for address in neurons}):
        of_layer = [a.index for a in neurons if a.layer == layer and str(a) not in listing.statements]
        if len(of_layer) >= fewest_means(listing.decoder):
            changes[f"L{layer:02d}.OUT"] = pages.means(f"L{layer:02d}.OUT", of_layer)
    return _revise(listing, changes)


def with_gaps_filled(listing: Listing, keys: Collection[str]) -> Revision:
    """The program in which what `keys` name runs raw where nothing says so yet."""
    gaps = {key: pages.raw(key) for key in keys if not listing.covers(key)}
    return _revise(listing, gaps) if gaps else Revision(listing, ())


def _revise(
    listing: Listing,
    changes: Mapping[str, str | None],
    values: Mapping[int, Sequence[str]] | None = None,
    words: str | None = None,
    stream: str | None = None,
) -> Revision:
    """Bring `changes`, named `values` by layer, and the texts of `words.py` and `stream.py` in where emission may."""
    draft = Draft(listing)
    if words is not None:
        draft.put_words(words)
    wanted: dict[str, dict[str, str | None]] = {}
    for key, text in changes.items():
        old, constants = listing.statements.get(key), listing.constants_of(key)
        about = listing.abouts.get(key.removeprefix(ABOUT)) if key.startswith(ABOUT) else None
        if any(found and found.by_person for found in (old, constants, about)):
            draft.kept.append(key)
            continue
        for name, edit in _homes(listing, key, text):
            wanted.setdefault(name, {})[key] = edit
        if constants and constants.key not in changes:
            at = key.partition(".")[0]
            left = {n: v for n, v in constants.values.items() if f"{at}.N{n:04d}.IN" not in changes}
            said = pages.constants(f"{at}.IN", left) if left else None
            wanted.setdefault(constants.file.name, {})[constants.key] = said
    needed = _needed(listing) if values else ()
    for layer, texts in (values or {}).items():
        name = f"layer_{layer:02d}.py"
        both = [listing.pages[page] for page in (name, described_name(name)) if page in listing.pages]
        mine = [kept for page in both for kept in kept_values(page, texts)]
        draft.kept += mine
        draft.put_values(name, [], needed)
        draft.put_values(described_name(name), [text for text in texts if _value_name(text) not in mine], needed)
    for name, edits in wanted.items():
        draft.put(name, edits)
    if stream is not None:
        draft.put_stream(stream)
    return draft.revised()


def _homes(listing: Listing, key: str, text: str | None) -> Iterator[tuple[str, str | None]]:
    """The pages that a statement goes into or leaves, with its text there; None where it leaves one.

    What runs from data stands in the file of its layer, a new source among the descriptions.
    """
    old = listing.statements.get(key)
    here, apart = pages_of(key.removeprefix(ABOUT))
    if key.startswith(ABOUT):
        found = listing.abouts.get(key.removeprefix(ABOUT))
        yield found.file.name if found else apart, text
    elif text is None or text.lstrip().startswith(("raw(", *_DATA)):
        if old and old.described:
            yield old.file.name, None
        if text is not None or old is None or not old.described:
            yield here, text
    elif key.endswith(APART):
        yield apart, text
    elif old and old.part_form == "source":
        if not _is_same(old, text):
            yield old.file.name, text
    elif text.lstrip().startswith(_RUNS):
        yield here, text
    else:
        if old and old.form != "raw":
            yield here, None
        yield apart, text


_DATA = tuple(f"{form}(" for form in STORED)
"""What begins statements whose vectors are data."""
_RUNS = (*(f"{what}(" for what in WIRES), "constants(")
"""What begins sources that run as soon as they are written, as far as nothing else is said."""
_NAME = re.compile(r"(?m)^def \w+\(")


def _is_same(old: Statement, text: str) -> bool:
    """Whether a statement says what stands there already, but for the number behind the name of its function."""
    return old.function is not None and _NAME.sub(f"def {old.function}(", text.strip("\n"), count=1) == old.text


def says(listing: Listing, address: Address, text: str) -> bool:
    """Whether emission wrote `text` about an address, a row or a function, or made the neuron constant."""
    found = listing[address]
    if found.form == "constants" or found.by_person:
        return not found.by_person
    return found.text == text if found.function is None else _is_same(found, text)


def _value_name(text: str) -> str:
    """The name of the value that a text defines, as far as it does."""
    found = read_page(Path(""), {}, text).values
    return found[0].name if len(found) == 1 else ""


def _needed(listing: Listing) -> set[str]:
    """The named values that what a person wrote reads, directly or through others."""
    theirs = [name for value in listing.values.values() if value.by_person for name in value.values]
    theirs += [name for s in listing.statements.values() if s.by_person for name in s.reads]
    for name in theirs:
        theirs += [other for other in listing.values[name].values if other not in theirs]
    return set(theirs)
