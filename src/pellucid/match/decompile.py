"""The main job: from a subject to its program, verified."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from pellucid import __version__
from pellucid.base.address import Address
from pellucid.base.errors import ProjectError
from pellucid.base.files import sha256_text
from pellucid.exact.model import Model
from pellucid.explain.symbols import Symbol, merge, write_symbols
from pellucid.listing.emit import emit
from pellucid.match.linking import link_sources
from pellucid.match.manifest import MANIFEST, CorpusEntry, Manifest, Settings, SubjectEntry
from pellucid.match.means import fit_means
from pellucid.match.partition import PARTS, partition, write_parts
from pellucid.match.project import Project, belonging
from pellucid.match.prove import contexts, names, prove
from pellucid.match.sources import Sources, dump, find_sources, load, write_sources
from pellucid.match.texts import open_texts, require_enough, with_tokens
from pellucid.match.trust import require_trust, trust
from pellucid.match.verify import verify
from pellucid.subject.load import Subject, load_subject


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
    raw: bool = False
    trust: bool = False


def decompile(request: Request) -> Project:
    """Write the program of a subject and measure it; what is there already is kept and gone on from.

    With `request.raw` nothing is decompiled yet: the program runs wholly from the weights.
    """
    check_directory(request.directory)
    subject = load_subject(request.subject)
    project = begin(request, subject)
    announce(project)
    averages = write_program(project, quick=request.quick)
    if not request.raw:
        source_program(project, averages, quick=request.quick)
    verify(project, quick=request.quick)
    if not request.raw:
        back_off(project, quick=request.quick)
    return project


def announce(project: Project) -> None:
    """Say on standard error what is being decompiled and what it will take on disk: the weights and the means."""
    config, parameters = project.subject.config, project.subject.parameters
    means = config.n_layer * (config.n_inner * (config.n_embd + 1) + config.n_head * config.n_embd)
    size = 4 * (parameters + means) / 1e6
    print(f"decompiling {project.subject.name}: {parameters:,} parameters, {size:,.0f} MB on disk", file=sys.stderr)
    for note in project.subject.notes:
        print(f"  {note}", file=sys.stderr)


def check_directory(directory: Path) -> None:
    """Raise `ProjectError` if `directory` holds something that is not a project of ours."""
    if not directory.is_dir() and (file := next((p for p in (directory, *directory.parents) if p.is_file()), None)):
        raise ProjectError(f"{file} is a file; name a directory that does not exist yet, or one made by decompile")
    theirs = [path for path in directory.glob("*") if path.suffix != ".partial"]
    if theirs and not (directory / MANIFEST).is_file():
        raise ProjectError(f"{directory} is not empty and has no {MANIFEST}: it is not ours; name another directory")


def begin(request: Request, subject: Subject) -> Project:
    """The project for `request`: the one in its directory, or a new one. Nothing is written before all is checked.

    Raises `ProjectError` if directory, subject and text do not fit, or if a program that is there is a stranger's.
    """
    if request.fit_corpus and not request.corpus:
        raise ProjectError("--fit-corpus is given without --corpus; name the text to measure on too")
    directory = request.directory
    corpus = CorpusEntry("", _resolved(request.corpus), _resolved(request.fit_corpus))
    if (directory / MANIFEST).is_file():
        old = Manifest.read(directory)
        belonging(subject, old, directory)
        require_trust(directory, granted=request.trust)
        same_text = not corpus.paths or (corpus.paths, corpus.fit_paths) == (old.corpus.paths, old.corpus.fit_paths)
        corpus = old.corpus if same_text else corpus
    model = Model(subject)
    corpus = with_tokens(corpus, model, quick=request.quick)
    texts = open_texts(corpus, model, request.seed)
    require_enough(texts, model, request.seed)
    hashes = {f"{name}_sha256": getattr(texts, name).sha256 for name in ("fit", "tune", "heldout")}
    manifest = Manifest(
        SubjectEntry(_name(subject), subject.weights_sha256, subject.tokenizer_sha256),
        replace(corpus, origin=texts.heldout.corpus.origin, **hashes),
        settings=Settings(request.seed, request.size, request.quick, __version__, torch.__version__),
    )
    directory.mkdir(parents=True, exist_ok=True)
    trust(directory)
    manifest.write(directory)
    return Project(directory, manifest, model, texts)


def _resolved(paths: tuple[Path, ...]) -> tuple[str, ...]:
    return tuple(str(path.resolve()) for path in paths)


def _name(subject: Subject) -> str:
    """The name by which the subject can be loaded again from anywhere on this machine."""
    return str(Path(subject.name).resolve()) if Path(subject.name).is_dir() else subject.name


def write_program(project: Project, *, quick: bool) -> dict[str, Tensor]:
    """Write or complete `program/`, `weights.safetensors`, `parts.toml` and `symbols.tsv`; people's work is kept.

    Returns the means over fit text that stand in for parts without a source.
    """
    averages = fit_means(project, quick=quick)
    emission = emit(project.subject, project.directory, averages)
    if emission.kept:
        print(f"kept as you wrote them: {', '.join(emission.kept)}", file=sys.stderr)
    write_parts_of(project, project.dropped())
    write_names(project, {})
    return averages


def write_parts_of(project: Project, dropped: frozenset[Address]) -> None:
    """Write `parts.toml` for the program as it stands."""
    write_parts(project.directory / PARTS, partition(project.listing(), dropped), project.subject.config)


def write_names(project: Project, found: dict[str, Symbol]) -> None:
    """Write `symbols.tsv`: `found` names where no higher rung stands, and a line for every part but raw neurons."""
    listing = project.listing()
    shape = listing.config.shape
    listed = [a for a in shape.addresses() if a.kind not in ("IN", "OUT") or listing.form(a) != "raw"]
    default = {str(address): Symbol(str(address), "", address.kind) for address in listed}
    symbols = merge(merge(default, project.symbols()), found)
    write_symbols(project.directory / "symbols.tsv", symbols)


def source_program(project: Project, averages: dict[str, Tensor], *, quick: bool) -> None:
    """Find sources, write them, link them and prove them. A stage that ended in an earlier run is not repeated."""
    evidence, state = project.evidence, stage_state(project)
    text = evidence.finished("sources", state)
    if text is None:
        text = dump(find_sources(project, averages, quick=quick))
        evidence.finish("sources", state, text)
    sources = load(text)
    write_sources(project, sources)
    sources = sources.only(standing(project, sources))
    dropped = evidence.finished("link", state)
    if dropped is None:
        dropped = " ".join(map(str, link_sources(project, sources, quick=quick)))
        evidence.finish("link", state, dropped)
    by_hand = project.dropped() - set(sources.forms)
    linked = {Address.parse(address) for address in dropped.split()} & set(sources.forms)
    write_parts_of(project, frozenset(by_hand | linked))
    proved = sha256_text(" ".join([state, *map(str, sorted(sources.forms))]))
    if evidence.finished("proof", proved) is None:
        evidence.finish("contexts", proved, contexts(project, sources))
        evidence.finish("proof", proved, "", prove(project, sources, quick=quick))
    write_names(project, names(project, sources))


def stage_state(project: Project) -> str:
    """What the stages of a run depend on: subject, text, settings and version."""
    manifest = project.manifest
    return sha256_text(repr((manifest.subject, manifest.corpus, manifest.settings, manifest.gate)))


def standing(project: Project, sources: Sources) -> set[Address]:
    """The addresses whose statement is what emission wrote: what a person wrote is not ours to judge."""
    listing = project.listing()
    return {address for address in sources.forms if not listing[address].by_person and listing.form(address) != "raw"}


def back_off(project: Project, *, quick: bool) -> None:
    """Put residuals back, the costliest half each time, until the full program no longer fails the gate.

    Each step consults the held-out text once more, which the report says.
    """
    state = stage_state(project)
    linked = (project.evidence.finished("link", state) or "").split()
    while project.report()["gate"]["passed"] is False and linked:
        by_hand = project.dropped() - {Address.parse(address) for address in linked}
        linked = linked[: len(linked) // 2]
        print(f"the full program fails the gate; {len(linked):,} sources stay without residual", file=sys.stderr)
        write_parts_of(project, frozenset(by_hand | {Address.parse(address) for address in linked}))
        project.evidence.finish("link", state, " ".join(linked))
        verify(project, quick=quick)
