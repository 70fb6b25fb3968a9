"""What whole heads and neurons do, in words: `about("L02.H00", "Looks at the last name and says where it lives.")`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pellucid.base.address import Address, Shape
from pellucid.base.errors import SourceError
from pellucid.listing.wrap import literals, prose

ABOUT = "about "
"""Begins the keys of these lines in the record, and among edits."""
_WHOLE = re.compile(r"L\d{2,}\.(H\d{2,}|N\d{4,})")


@dataclass(frozen=True)
class About:
    """What a page says of a whole head or neuron; `address` is `L02.H00` or `L02.N0417`."""

    address: str
    said: str
    file: Path
    line: int
    """First line, counted from 1; `end` is the last one."""
    end: int
    text: str
    by_person: bool = True

    @property
    def at(self) -> str:
        """File and line, for messages."""
        return f"{self.file.name}:{self.line}"

    @property
    def key(self) -> str:
        """What it is called in the record, and among edits."""
        return f"{ABOUT}{self.address}"


def whole(address: Address) -> str | None:
    """The head or neuron that an address is a side of, `L02.H00`; None for other parts."""
    return str(address).rpartition(".")[0] if address.kind in ("QK", "OV", "IN", "OUT") else None


def is_whole(address: str) -> bool:
    """Whether a text names a whole head or neuron."""
    return _WHOLE.fullmatch(address) is not None


def sides(address: str) -> tuple[str, str]:
    """The two addresses of a whole head or neuron, in the order in which they run."""
    first, second = ("QK", "OV") if ".H" in address else ("IN", "OUT")
    return f"{address}.{first}", f"{address}.{second}"


def line_of(address: str, said: str) -> str:
    """The statement, on as many lines as its text needs."""
    one = f'about("{address}", {prose(said)})'
    if len(one) <= 120:
        return one
    *parts, last = literals(said, 116, "    ")
    return "\n".join(["about(", f'    "{address}",', *parts, f"{last},", ")"])


def read_abouts(path: Path, tree: ast.Module, lines: list[str]) -> Iterator[About]:
    """These lines of a page. Raises `SourceError` naming file and line for what is none."""
    for node in tree.body:
        match node:
            case ast.Expr(value=ast.Call(func=ast.Name(id="about")) as call):
                end = node.end_lineno or node.lineno
                match call:
                    case ast.Call(
                        args=[ast.Constant(value=str(address)), ast.Constant(value=str(said))], keywords=[]
                    ) if is_whole(address):
                        text = "\n".join(lines[node.lineno - 1 : end])
                        yield About(address, said, path, node.lineno, end, text)
                    case _:
                        raise SourceError(
                            f'{path.name}:{node.lineno}: expected about("L02.H00", "…"): a head or neuron, and a text; '
                            f"not {ast.unparse(call)[:80]}"
                        )


def collect_abouts(found: Iterable[About], shape: Shape) -> dict[str, About]:
    """By address. Raises `SourceError` for doubled ones, and for parts that the subject does not have."""
    held: dict[str, About] = {}
    for entry in found:
        if earlier := held.get(entry.address):
            raise SourceError(f"{entry.at}: {entry.address} has a text at {earlier.at} already; keep one")
        if Address.parse(sides(entry.address)[0]) not in shape:
            raise SourceError(f"{entry.at}: {entry.address} names no part of this subject")
        held[entry.address] = entry
    return held
