"""Variants of a program: the same text with other residuals, or with some parts turned raw, run from a copy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

from pellucid.base.address import Address
from pellucid.base.files import passing_folder, write_text
from pellucid.base.trusted import PARTS, copy_program
from pellucid.listing.load import Program, load_program
from pellucid.listing.parse import read_program
from pellucid.listing.revise import revise
from pellucid.project.parts_file import partition, write_parts
from pellucid.project.project import Project


@contextmanager
def variant(
    project: Project,
    *,
    dropped: Iterable[Address] = (),
    raw: Iterable[Address] = (),
    source_only: Literal["code", "all"] | None = None,
) -> Iterator[Program]:
    """The program of `project` with exactly the residuals in `dropped` dropped, and the parts in `raw` without source.

    Raises `ProjectError` if the program is a stranger's and not trusted.
    """
    project.require_trust()
    with passing_folder() as copy:
        copy_program(project.directory, copy)
        os.symlink((project.directory / "weights.safetensors").resolve(), copy / "weights.safetensors")
        listing = read_program(copy)
        for address in raw:
            page = listing.pages[listing[address].file.name]
            write_text(page.path, revise(page, {str(address): None}).text)
            listing = read_program(copy)
        write_parts(copy / PARTS, partition(listing, frozenset(dropped)), listing.decoder)
        yield load_program(copy, source_only)
