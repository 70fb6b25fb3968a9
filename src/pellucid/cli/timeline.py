"""`pellucid timeline`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pellucid.base.defaults import TIMELINE_JSON, TIMELINE_PNG, TIMELINE_SECONDS
from pellucid.cli.options import AsJson, finite
from pellucid.cli.output import plain_errors, print_json


def timeline(
    checkpoints: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Checkpoints of one training run, or folders of them.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help=f"Where {TIMELINE_PNG} and {TIMELINE_JSON} go.")
    ] = Path("timeline"),
    seconds: Annotated[
        float, typer.Option(min=0, callback=finite, help="How long to search for the program of one.")
    ] = TIMELINE_SECONDS,
    at_once: Annotated[
        int, typer.Option(min=1, max=256, metavar="N", help="So many are decompiled at once, each on one core.")
    ] = 1,
    json_: AsJson = False,
) -> None:
    """Decompile the checkpoints of an algorithmic model, and draw when each piece of its mechanism appears."""
    with plain_errors():
        from pellucid.view.timeline import drawn
        from pellucid.weightless.timeline import show
        from pellucid.weightless.timeline import timeline as followed

        found = followed(checkpoints, seconds, at_once)
        found.write(output)
        drawn(found).save_png(output / TIMELINE_PNG)
        print_json(found.to_dict()) if json_ else show(found)
