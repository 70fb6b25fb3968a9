"""What is asked for, and the project that it is about: all is checked before anything is written."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from pellucid import __version__
from pellucid.base.defaults import LARGEST_SEED
from pellucid.base.effort import Effort
from pellucid.base.errors import CorpusError, ProjectError
from pellucid.base.lock import LOCK
from pellucid.base.terminal import tell
from pellucid.exact.model import Model
from pellucid.pipeline.explain import UNDERSTANDING
from pellucid.pipeline.states import understood_before
from pellucid.project.manifest import MANIFEST, CorpusEntry, Gate, Manifest, RunSettings, Size, SubjectEntry
from pellucid.project.project import Project, belonging, numbers_for
from pellucid.project.texts import compared, open_texts, require_enough, with_tokens
from pellucid.project.trust import require_trust, trust
from pellucid.stages.understand.minutes import Budget, given, needed, within
from pellucid.stages.understand.plan import LEAST_STEPS
from pellucid.stages.understand.run import planned
from pellucid.subject.load import Subject


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for; `corpus` and `fit_corpus` are files or folders of text, none for the subject's own.

    `understand` is the steps of training for sources over kinds and values and `stray` the share of rows of its text
    that have random tokens in them, None for as many as last time, or the first time for as many as fit into so many
    `minutes` of one core, by the size of the model alone; `tune` the minutes for which what is lifted is
    tuned, where it was not before. `gate` is what the gate asks for, `both` word error rates or `next` words alone,
    None for what it asked for last time. Training and tuning run on `device`, all else on the CPU. `keep_weak` writes
    sources too that are hardly better than the mean; None for as last time.
    """

    subject: str
    directory: Path
    corpus: tuple[Path, ...] = ()
    fit_corpus: tuple[Path, ...] = ()
    size: Size = "medium"
    effort: Effort = field(default_factory=Effort.usual)
    seed: int = 0
    raw: bool = False
    trust: bool = False
    understand: int | None = None
    stray: float | None = None
    tune: float = 0.0
    gate: str | None = None
    device: str = "cpu"
    keep_weak: bool | None = None
    minutes: float | None = None


def check_directory(directory: Path) -> None:
    """Raise `ProjectError` if `directory` holds something that is not a project of ours."""
    if not directory.is_dir() and (file := next((p for p in (directory, *directory.parents) if p.is_file()), None)):
        raise ProjectError(f"{file} is a file; name a directory that does not exist yet, or one made by decompile")
    theirs = [path for path in directory.glob("*") if path.suffix != ".partial" and path.name != LOCK]
    if theirs and not (directory / MANIFEST).is_file():
        raise ProjectError(f"{directory} is not empty and has no {MANIFEST}: it is not ours; name another directory")


def begin(request: Request, subject: Subject) -> Project:
    """The project for `request`: the one in its directory, or a new one. Nothing is written before all is checked.

    Raises `ProjectError` if directory, subject and text do not fit, or if a program that is there is a stranger's.
    """
    if not 0 <= request.seed <= LARGEST_SEED:
        raise ProjectError(f"--seed {request.seed}: expected a number from 0 to {LARGEST_SEED}")
    if request.fit_corpus and not request.corpus:
        raise ProjectError("--fit-corpus is given without --corpus; name the text to measure on too")
    stray, gate, weak, before = request.stray or 0.0, Gate(), bool(request.keep_weak), None
    directory = request.directory
    corpus = CorpusEntry("", _resolved(request.corpus), _resolved(request.fit_corpus))
    if not (is_new := not (directory / MANIFEST).exists()):
        old = Manifest.read(directory)
        belonging(subject, old, directory)
        require_trust(directory, granted=request.trust)
        same_text = not corpus.paths or (corpus.paths, corpus.fit_paths) == (old.corpus.paths, old.corpus.fit_paths)
        corpus = old.corpus if same_text else corpus
        before = old.settings
        stray = old.settings.stray if request.stray is None else stray
        gate = old.gate
        weak = old.settings.keep_weak if request.keep_weak is None else weak
    training = trained(request, before, subject)
    steps = training.steps
    if request.stray and not steps:
        raise ProjectError(f"--stray {request.stray:g} is given without --understand; say for how many steps to train")
    if 0 < steps < LEAST_STEPS:
        raise ProjectError(f"--understand {steps}: expected 0, or at least {LEAST_STEPS} steps of training")
    model = Model(subject)
    corpus = with_tokens(corpus, model, request.effort)
    texts = open_texts(corpus, model, request.seed)
    require_enough(texts, model, request.seed)
    if corpus.heldout_sha256 != texts.heldout.sha256:
        corpus = compared(corpus, texts)
    versions = (__version__, torch.__version__)
    manifest = Manifest(
        SubjectEntry(subject.place or subject.name, subject.weights_sha256, subject.tokenizer_sha256),
        corpus.about(texts.heldout.corpus.origin, {name: split.sha256 for name, split in texts.named.items()}),
        replace(gate, asks=request.gate or gate.asks),
        RunSettings(
            request.seed, request.size, request.effort.is_quick, *versions, steps, stray, weak, training.minutes
        ),
    )
    project = Project(directory, manifest, model, texts, granted=True)
    unserved = UNDERSTANDING.hindered(subject.decoder)  # the route tells of it, so no training is announced
    if not request.raw and not unserved and not (steps and understood_before(project)):
        enough_to_train(project, training)
    directory.mkdir(parents=True, exist_ok=True)
    if is_new:
        trust(directory)
    project.manifest.write(directory)
    return project


def trained(request: Request, before: RunSettings | None, subject: Subject) -> Budget:
    """How long sources are trained: as asked, as in the run `before`, or for the minutes that the model's size gives.

    Raises `ProjectError` for minutes that are none.
    """
    numbers = numbers_for(subject, request.size)
    if request.understand is not None:
        return given(subject.decoder, numbers, request.understand)
    if request.minutes is None and before is not None:
        return replace(given(subject.decoder, numbers, before.understand), minutes=before.minutes)
    minutes = request.minutes if request.minutes is not None else request.effort.minutes
    if not 0 <= minutes < math.inf:
        raise ProjectError(f"--minutes {minutes:g}: expected 0 or more")
    return within(subject.decoder, numbers, minutes)


def enough_to_train(project: Project, training: Budget) -> None:
    """Say how long sources are trained, or that and why they are not: too few minutes, or too little text.

    Raises `CorpusError` where text is too short for steps that were asked for by their number.
    """
    manifest, asked = project.manifest, f"--minutes {training.minutes:g}"
    try:
        if training.steps:
            planned(project, training.steps)
    except CorpusError as error:
        if not training.minutes:
            raise
        project.manifest = replace(manifest, settings=replace(manifest.settings, understand=0))
        tell(f"every source is found by itself, not trained with the others: {error}")
        return
    if training.steps:
        said = f"{asked}: " if training.minutes else ""
        tell(f"{said}{training}, for all sources together; --minutes 0 leaves that out")
    elif training.minutes:
        least = math.ceil(needed(project.subject.decoder, project.budget))
        tell(
            f"{asked}: too few to train all sources of a model of this size together, so every source is found by "
            f"itself; from --minutes {least} on it is worth it"
        )


def _resolved(paths: tuple[Path, ...]) -> tuple[str, ...]:
    return tuple(str(path.resolve()) for path in paths)
