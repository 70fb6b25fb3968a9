"""The main job: from a subject to its program, verified."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pellucid import __version__
from pellucid.base.address import Address
from pellucid.base.errors import ProjectError
from pellucid.exact.model import Model
from pellucid.experiment.rows import sample_rows
from pellucid.explain.symbols import Symbol, merge, write_symbols
from pellucid.listing.emit import emit
from pellucid.listing.parse import Listing
from pellucid.match.manifest import MANIFEST, CorpusEntry, Manifest, Settings, SubjectEntry
from pellucid.match.means import means
from pellucid.match.partition import PARTS, partition, write_parts
from pellucid.match.project import Project, belonging
from pellucid.match.texts import open_texts
from pellucid.match.trust import trust
from pellucid.match.verify import verify
from pellucid.subject.load import Subject, load_subject

MEAN_TOKENS = {False: 100_000, True: 20_000}
"""Tokens of fit text that means are taken over."""


@dataclass(frozen=True)
class Request:
    """What a user asks for; `corpus` and `fit_corpus` are files or folders of text, none for the subject's own."""

    subject: str
    directory: Path
    corpus: tuple[Path, ...] = ()
    fit_corpus: tuple[Path, ...] = ()
    size: str = "medium"
    quick: bool = False
    seed: int = 0


def decompile(request: Request) -> Project:
    """Write the program of a subject and measure it; what is there already is kept and gone on from."""
    check_directory(request.directory)
    subject = load_subject(request.subject)
    project = begin(request, subject)
    write_program(project, quick=request.quick)
    verify(project, quick=request.quick)
    return project


def check_directory(directory: Path) -> None:
    """Raise `ProjectError` if `directory` holds something that is not a project of ours."""
    if directory.is_file():
        raise ProjectError(f"{directory} is a file; name a directory that does not exist yet, or one made by decompile")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / MANIFEST).is_file():
        raise ProjectError(f"{directory} is not empty and has no {MANIFEST}: it is not ours; name another directory")


def begin(request: Request, subject: Subject) -> Project:
    """The project for `request`: the one in its directory, or a new one. Raises `ProjectError` if they do not fit."""
    if request.fit_corpus and not request.corpus:
        raise ProjectError("--fit-corpus is given without --corpus; name the text to measure on too")
    directory = request.directory
    corpus = CorpusEntry("", _resolved(request.corpus), _resolved(request.fit_corpus))
    if (directory / MANIFEST).is_file():
        old = Manifest.read(directory)
        belonging(subject, old, directory)
        same_text = (corpus.paths, corpus.fit_paths) == (old.corpus.paths, old.corpus.fit_paths)
        corpus = old.corpus if same_text else corpus
    model = Model(subject)
    texts = open_texts(corpus, model, request.seed)
    hashes = {f"{name}_sha256": getattr(texts, name).sha256 for name in ("fit", "tune", "heldout")}
    manifest = Manifest(
        SubjectEntry(_name(subject), subject.weights_sha256, subject.tokenizer_sha256),
        replace(corpus, origin=texts.heldout.corpus.origin, **hashes),
        settings=Settings(request.seed, request.size, request.quick, __version__, torch.__version__),
    )
    directory.mkdir(parents=True, exist_ok=True)
    manifest.write(directory)
    trust(directory)
    return Project(directory, manifest, model, texts)


def _resolved(paths: tuple[Path, ...]) -> tuple[str, ...]:
    return tuple(str(path.resolve()) for path in paths)


def _name(subject: Subject) -> str:
    """The name by which the subject can be loaded again from anywhere on this machine."""
    return str(Path(subject.name).resolve()) if Path(subject.name).is_dir() else subject.name


def write_program(project: Project, *, quick: bool) -> None:
    """Write or complete `program/`, `weights.safetensors`, `parts.toml` and `symbols.tsv`; people's work is kept."""
    model, seed = project.model, project.manifest.settings.seed
    count = max(1, MEAN_TOKENS[quick] // model.n_ctx)
    rows = sample_rows(project.texts.fit, model.tokenizer, model.n_ctx, count, seed)
    emission = emit(project.subject, project.directory, means(model, rows))
    if emission.kept:
        print(f"kept as you wrote them: {', '.join(emission.kept)}", file=sys.stderr)
    listing = project.listing()
    write_parts(project.directory / PARTS, partition(listing, project.dropped()), project.subject.config)
    default = {str(address): Symbol(str(address), "", address.kind) for address in listed(listing)}
    write_symbols(project.directory / "symbols.tsv", merge(default, project.symbols()))


def listed(listing: Listing) -> list[Address]:
    """The addresses that have a line in `symbols.tsv` from the start: all but neurons that run raw."""
    return [a for a in listing.config.shape.addresses() if a.kind not in ("IN", "OUT") or listing.form(a) != "raw"]
