"""Options and arguments that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A directory that `decompile` wrote.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output instead of text.")]
AsIds = Annotated[bool, typer.Option("--ids", help="PROMPT is token ids, such as '464 3139 286'.")]
AsChat = Annotated[
    bool,
    typer.Option("--chat", help="PROMPT is what a user says: the subject's chat template makes a conversation of it."),
]
Trust = Annotated[bool, typer.Option("--trust", help="Run the program in DIR although it was not made here.")]
Quick = Annotated[
    bool,
    typer.Option("--quick", help="At most 500 contexts, as many as 90 s allow, instead of 5,000; how many is said."),
]
Corpus = Annotated[
    list[Path] | None,
    typer.Option(
        help="Text to measure on, and to fit on if there is no --fit-corpus: files or folders (.txt, .gz, .xz; "
        "documents separated by <|endoftext|>). May be repeated."
    ),
]
FitCorpus = Annotated[
    list[Path] | None,
    typer.Option(help="Other text to fit and tune on; all of --corpus is then held out. Files or folders as there."),
]
Watch = Annotated[bool, typer.Option("--watch", help="Repeat whenever the file of the part is saved.")]
SubjectPath = Annotated[
    str | None, typer.Option("--subject", help="Where the subject is now, if it has moved; its hashes must match.")
]


def finite(value: float | None) -> float | None:
    """An option that is a number. Bounds alone let `nan` pass, which no comparison refuses, and `inf`."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value
