"""Reading `report.json`, of this format or of the one before it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pellucid.base.errors import ProjectError

FORMAT = 2
"""The format that is written. In format 1 the domains of a program stood beside `overall`, as if they were totals."""
PROGRAMS = ("full", "source_only", "source_only_all", "noise_floor", "trigram", "bigram")
NEEDED = ("state", "subject", "corpus", "gate", "progress", "quick", *PROGRAMS)


def read_report(path: Path) -> dict[str, Any]:
    """The report in the file at `path`, in the shape of format 2. Raises `ProjectError` for anything else."""
    if not path.is_file():
        raise ProjectError(f"{path} is missing; `pellucid verify` measures a project and writes its report")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProjectError(f"{path} cannot be read as a report: {error}; {_again(path)}") from None
    if not isinstance(data, dict) or data.get("format") not in (1, FORMAT) or not set(data) >= set(NEEDED):
        raise ProjectError(f"{path} is no report of format 1 or {FORMAT}; {_again(path)}")
    return data if data["format"] == FORMAT else _from_format_1(data)


def _again(path: Path) -> str:
    return f"`pellucid verify {path.parent}` writes it again"


def _from_format_1(data: dict[str, Any]) -> dict[str, Any]:
    """The report with the domains of each program apart from its totals."""
    blocks = {name: data[name] and _apart(data[name]) for name in PROGRAMS}
    return data | blocks | {"format": FORMAT}


def _apart(block: dict[str, Any]) -> dict[str, Any]:
    domains = {domain: metrics for domain, metrics in block.items() if domain != "overall"}
    return {"overall": block["overall"], "domains": domains}
