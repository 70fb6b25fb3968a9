"""Changes of a program on disk: it is read, changed in memory and printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pellucid.listing import arrange as places
from pellucid.listing import change
from pellucid.listing.draft import Revision
from pellucid.listing.parse import Listing, read_listing, read_program
from pellucid.listing.printing import print_program


def same(one: Listing, other: Listing) -> None:
    """What is in memory is what would be read."""
    assert list(one.pages) == list(other.pages)
    for name, page in one.pages.items():
        theirs = other.pages[name]
        assert (page.text, page.statements, page.values, page.abouts) == (
            theirs.text,
            theirs.statements,
            theirs.values,
            theirs.abouts,
        )
    assert one.statements == other.statements
    assert (one.front, one.record) == (other.front, other.record)
    for mine, theirs in ((one.words, other.words), (one.stream, other.stream)):
        assert (mine and (mine.text, mine.by_person)) == (theirs and (theirs.text, theirs.by_person))


def _on_disk(changed: Callable[..., Revision]) -> Callable[..., Revision]:
    """The same change of the program in a directory."""

    def write(directory: Path, *arguments: Any, **options: Any) -> Revision:
        old = read_program(directory)
        revision = changed(old, *arguments, **options)
        print_program(old, revision.listing)
        same(read_listing(directory / "program"), revision.listing)
        return revision

    return write


write_statements = _on_disk(change.with_statements)
write_constants = _on_disk(change.with_constants)
write_lifted = _on_disk(change.with_lifted)
write_content = _on_disk(change.with_content)
arrange = _on_disk(places.arranged)


def write_words(directory: Path, text: str) -> Revision:
    """Write kinds of tokens."""
    return write_content(directory, words=text)


def write_values(directory: Path, layer: int, functions: Sequence[str]) -> Revision:
    """Let exactly these be the named values of a layer."""
    return write_content(directory, values={layer: functions})
