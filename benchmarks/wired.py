"""What a program that is source throughout holds, and how far the sentences about its parts carry.

Numbers by kind of part, names of coordinates included; and from the evidence of its decompilation, on held-out text,
the mean score of the sentences by kind, beside that of tables of means by token, with how many parts are named.

    python benchmarks/wired.py DIR [--json]
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

import pellucid
from pellucid.base.address import Address
from pellucid.listing.count import count_program, count_stream
from pellucid.project.project import Project

SCORED = ("IN", "QK", "OUT", "OV")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    project = pellucid.open(options.directory)
    held, told = numbers(project), scores(project)
    if options.json:
        print(json.dumps({"numbers": held, "scores": told}, indent=1))
        return
    print("| kind | numbers |\n|---|---:|")
    for kind, count in (held | {"all": sum(held.values())}).items():
        print(f"| {kind} | {count:,} |")
    print("\n| kind | live parts | mean score | table by token | named |\n|---|---:|---:|---:|---:|")
    for kind, row in told.items():
        table = "" if row["table"] is None else f"{row['table']:.3f}"
        print(f"| {kind} | {row['live']:,} | {row['score']:.3f} | {table} | {row['named']:,} |")


def numbers(project: Project) -> dict[str, int]:
    """The numbers of a program by kind of part, and those in the names of its coordinates."""
    listing = project.listing()
    found: Counter[str] = Counter()
    for address, count in count_program(listing).items():
        found[address.kind] += count
    return {**found, "names": count_stream(listing)}


def scores(project: Project) -> dict[str, dict[str, Any]]:
    """Of each kind the parts that ever vary, the mean scores of their sentences and tables, and how many are named."""
    symbols, found = project.symbols(), {}
    values: dict[str, dict[Address, float]] = {}
    for metric in ("score", "token_table"):
        rows = project.evidence.find(kind="isolated", metric=metric)
        values[metric] = {Address.parse(row.part): row.value for _, row in rows if row.value is not None}
    for kind in SCORED:
        own, table = ([v for a, v in values[m].items() if a.kind == kind] for m in ("score", "token_table"))
        named = sum(bool(symbol.name) for symbol in symbols.values() if symbol.kind == kind)
        mean = fmean(table) if table else None
        found[kind] = {"live": len(own), "score": fmean(own), "table": mean, "named": named}
    return found


if __name__ == "__main__":
    main()
