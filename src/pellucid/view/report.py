"""`report.html`: all that a decompilation has to show, in one file that opens anywhere and asks the network nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pellucid.accounts.behaviours import behaviours
from pellucid.base.errors import PellucidError
from pellucid.base.files import write_text
from pellucid.base.terminal import tell
from pellucid.project.project import Project
from pellucid.project.report_file import FORMAT
from pellucid.verify.report import page_data
from pellucid.view.page import fill, inert_json, policy, static

COLUMNS = ("address", "form", "residual", "verdict", "parameters", "effect", "name", "detail")
STYLES = ("theme.css", "layout.css", "scores.css", "map.css", "parts.css", "accounts.css")
SCRIPTS = (  # one module; a file may use what the files before it define
    "dom.js",
    "format.js",
    "model.js",
    "search.js",
    "head.js",
    "scores.js",
    "treemap.js",
    "raster.js",
    "overlay.js",
    "input.js",
    "legend.js",
    "map.js",
    "list.js",
    "highlight.js",
    "detail.js",
    "meter.js",
    "uncovered.js",
    "behaviours.js",
    "accounts.js",
    "domains.js",
    "worst.js",
    "main.js",
)


PAGE = "report.html"


def write_page(project: Project) -> Path:
    """Write the page of `project`, which has a report; the file that it is."""
    path = project.directory / PAGE
    write_text(path, render(page_data(project) | {"behaviours": _behaviours(project)}))
    return path


def _behaviours(project: Project) -> dict[str, Any] | None:
    """What the accounts say, None where there are none or they are broken, which is said: the page is without them."""
    try:
        return behaviours(project)
    except PellucidError as error:
        tell(f"the page is without accounts: {error}")
        return None


def render(data: dict[str, Any]) -> str:
    """The report of a decompilation as one HTML page.

    `data` is the content of `report.json` as `read_report` gives it: subject, corpus, gate, a block of fidelity for
    each program and reference, progress, `parts` as columns with one entry an address, `details` of the parts that have
    a source, the named `values` that they read, the worst contexts, and the `behaviours` of accounts. Blocks may be
    missing or null and are then shown as unmeasured. All of it is treated as text from strangers: it reaches the page
    as inert JSON and the document as text, never as markup.

    Raises `PellucidError` if the format is another one, if the columns of `parts` do not fit together, or if a value
    cannot be written as JSON.
    """
    if data.get("format") != FORMAT:
        raise PellucidError(
            f"report data of format {data.get('format')!r} cannot be shown; expected {FORMAT}. "
            "Write the report again with this version of pellucid"
        )
    _check_parts(data.get("parts") or {}, len(data.get("details") or []))
    style, theme, script = static(*STYLES), static("theme.js"), static(*SCRIPTS)
    return fill(
        static("report.html"),
        {
            "policy": policy([theme, script], [style]),
            "style": style,
            "theme": theme,
            "data": inert_json(data),
            "script": script,
        },
    )


def _check_parts(parts: Mapping[str, Any], details: int) -> None:
    """Raise `PellucidError` unless all columns are there, equally long, and point at existing details."""
    if not parts:
        return
    if missing := [name for name in COLUMNS if name not in parts]:
        raise PellucidError(f"the report's parts lack the columns {', '.join(missing)}; expected {', '.join(COLUMNS)}")
    lengths = {name: len(parts[name]) for name in COLUMNS}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise PellucidError(f"the columns of the report's parts differ in length ({listed}); expected one entry a part")
    for address, index in zip(parts["address"], parts["detail"], strict=True):
        if not -1 <= index < details:
            raise PellucidError(
                f"part {address!r} points at detail {index}, but there are {details}; expected -1 for none"
            )
