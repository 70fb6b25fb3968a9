"""Decompile every algorithmic model below a directory to a program without weights, and print what came out.

    python benchmarks/algorithmic.py DIR [--json] [--output DIR] [--only NAME ...] [--seconds 120]

A model is a directory with a `task.json` and a checkpoint. The table says for each: verdict, rows that match per length
band (held out), probe match, the lowest agreement under interchange interventions, numbers, lines, seconds, and what
the program does. A model that fails is a row with the reason.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from datetime import date
from pathlib import Path
from platform import machine

from pellucid.base.errors import PellucidError
from pellucid.base.progress import track
from pellucid.weightless.decompile import decompiled
from pellucid.weightless.task import TASK


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--output", type=Path, help="write each program to a directory below this one")
    parser.add_argument("--only", nargs="*", help="names of models; all if none is given")
    parser.add_argument("--seconds", type=float, default=120.0, help="time to search for one program (120)")
    options = parser.parse_args()
    found = []
    for path in track(models(options.directory, options.only), "models"):
        found.append(tried(path, options.seconds, options.output))
        print(row(found[-1]), file=sys.stderr, flush=True)
    print(json.dumps(found, indent=1, ensure_ascii=False)) if options.json else table(found)


def tried(path: Path, seconds: float, output: Path | None) -> dict:
    """The figures of the program of the model in `path`, or why there is none: whatever happens is one row."""
    try:
        result = decompiled(path, seconds)
        if output:
            result.write(output / path.name)
    except Exception as error:
        if not isinstance(error, PellucidError | OSError):
            traceback.print_exc()
        return {"model": path.name, "verdict": "error", "error": f"{type(error).__name__}: {error}"}
    return result.figures.to_dict()


def models(directory: Path, only: list[str] | None) -> list[Path]:
    """The models below `directory`, itself included."""
    paths = sorted(path.parent for path in directory.rglob(TASK))
    return [path for path in paths if not only or path.name in only]


def table(found: list[dict]) -> None:
    """Print the table, and a line for every miss."""
    print(f"{date.today()}, {machine()}\n")
    print("| model | verdict | match per band | probes | mechanism | numbers | lines | seconds | what it does |")
    print("|---|---|---|---|---|---|---|---|---|")
    for entry in found:
        print(row(entry))
    counts = {verdict: sum(entry["verdict"] == verdict for entry in found) for verdict in ("decompiled", "behavioural")}
    inside = sum(1 for entry in found if (trained(entry) or 0) >= 0.99)
    print(f"\n{counts['decompiled']} of {len(found)} decompiled, {counts['behavioural']} behavioural; ", end="")
    print(f"{inside} with at least 99 % of rows in the trained band.\n")
    for entry in found:
        if entry.get("misses"):
            print(f"- {entry['model']}: {'; '.join(entry['misses'])}.")


def trained(entry: dict) -> float | None:
    """The share of held-out rows of the trained band that match."""
    band = entry.get("match", {}).get(entry.get("trained"))
    return band["rows"]["value"] if band else None


def row(entry: dict) -> str:
    """A line of the table."""
    if "match" not in entry:
        reason = " ".join(entry["error"].split()).replace("|", "\\|")
        return f"| {entry['model']} | {entry['verdict']} | – | – | – | – | – | – | {reason} |"
    bands = " ".join(percent(band["rows"]["value"]) for band in entry["match"].values())
    lowest = min((value["value"] for value in entry["mechanism"] if value["value"] is not None), default=None)
    probes = percent(entry["probes"]["value"]) if entry["probes"] else "none"
    cells = [bands, probes, percent(lowest), entry["numbers"], entry["lines"], round(entry["seconds"])]
    said = str(entry["summary"]).replace("|", "\\|")
    return f"| {entry['model']} | {entry['verdict']} | {' | '.join(map(str, cells))} | {said} |"


def percent(value: float | None) -> str:
    """A share in percent."""
    return "–" if value is None else f"{100 * value:.1f}"


if __name__ == "__main__":
    main()
