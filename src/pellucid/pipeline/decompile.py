"""The main job: from a subject to its program, verified."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from pellucid import __version__
from pellucid.base.address import Address
from pellucid.base.defaults import LARGEST_SEED
from pellucid.base.effort import Effort
from pellucid.base.errors import CorpusError, ProjectError
from pellucid.base.files import sha256_text
from pellucid.base.lock import LOCK, writing
from pellucid.base.terminal import tell
from pellucid.exact.device import device_of
from pellucid.exact.model import Model
from pellucid.family.allowance import most_rank
from pellucid.listing.arrange import arranged
from pellucid.listing.count import count_program
from pellucid.listing.emit import emit
from pellucid.project.gate import judge
from pellucid.project.manifest import MANIFEST, CorpusEntry, Gate, Manifest, Settings, Size, SubjectEntry
from pellucid.project.project import EVIDENCE, Project, belonging, numbers_for
from pellucid.project.symbols import Symbol, merge, write_symbols
from pellucid.project.texts import compared, open_texts, require_enough, with_tokens
from pellucid.project.trust import require_trust, trust
from pellucid.stages.about.write import tell_parts
from pellucid.stages.first.sources import Sources, dump, find_sources, load, stored_effects, write_linked, write_sources
from pellucid.stages.lift.lifted import (
    LiftedParts,
    as_many_channels,
    before_sources,
    dump_lifted,
    find_lifted,
    liftable,
    load_lifted,
    write_lifted_parts,
)
from pellucid.stages.lift.means import Extras, fit_extras
from pellucid.stages.link.joint import measure_joint
from pellucid.stages.link.linking import PROMISED, allowed, link_sources
from pellucid.stages.prove import contexts, names, prove, prove_lifted
from pellucid.stages.tune.rounds import tune_parts
from pellucid.stages.tune.tuned import describe, named_tuned, read_tuned, tuned_hash, with_tuned
from pellucid.stages.understand.minutes import Budget, given, needed, within
from pellucid.stages.understand.plan import LEAST_STEPS
from pellucid.stages.understand.run import (
    planned,
    prove_understanding,
    understand,
    understood_names,
    write_understanding,
)
from pellucid.stages.wired.run import proved, strongest_places, wire, wired_names, written
from pellucid.subject.load import Subject, decompilable, load_subject
from pellucid.verify.measure import measure_full
from pellucid.verify.verify import verify

CAREFUL = 0.8
"""On check text the full program is held to this share of the gate's limits: held-out text will differ by chance."""


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


def decompile(request: Request) -> Project:
    """Write the program of a subject and measure it; what is there already is kept and gone on from.

    With `request.raw` nothing is decompiled yet: the program runs wholly from the weights.
    """
    check_directory(request.directory)
    with writing(request.directory, make=True):
        return _decompile(request)


def _decompile(request: Request) -> Project:
    """The same, alone in its directory."""
    device = device_of(request.device)
    subject = decompilable(load_subject(request.subject))
    project = begin(request, subject)
    announce(project)
    extras = write_program(project, request.effort)
    if not request.raw:
        trainer = project.model if device.type == "cpu" else Model(subject, device=device)
        explain_program(project, extras, trainer, request.effort, request.tune)
    verify(project, request.effort, known=True)
    return project


def announce(project: Project) -> None:
    """Say on standard error what is being decompiled and what it will take on disk: weights, means and vectors."""
    subject, parameters, sizes = project.subject, project.subject.parameters, project.subject.decoder.sizes
    head = sizes.model + most_rank(subject.decoder) * (2 * sizes.model + 1)
    extras = subject.decoder.layers * (sizes.neuron * (sizes.model + 1) + sizes.head * head)
    size = 4 * (parameters + extras) / 1e6
    tell(f"decompiling {project.subject.name}: {parameters:,} parameters, {size:,.0f} MB on disk")
    for note in project.subject.notes:
        tell(f"  {note}")


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
        Settings(request.seed, request.size, request.effort.is_quick, *versions, steps, stray, weak, training.minutes),
    )
    project = Project(directory, manifest, model, texts, granted=True)
    if not request.raw and not (steps and understood_before(project)):
        enough_to_train(project, training)
    directory.mkdir(parents=True, exist_ok=True)
    if is_new:
        trust(directory)
    project.manifest.write(directory)
    return project


def trained(request: Request, before: Settings | None, subject: Subject) -> Budget:
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


def write_program(project: Project, effort: Effort) -> Extras:
    """Write or complete `program/`, `weights.safetensors`, `parts.toml` and `symbols.tsv`; people's work is kept.

    Returns the means over fit text that stand in for parts without a source, and the vectors of lifted parts.
    """
    extras = fit_extras(project, effort)
    vectors = named_tuned(project.model, extras.vectors, read_tuned(project))
    emission = emit(project.subject, project.directory, extras.means, vectors)
    if emission.kept:
        tell(f"kept as you wrote them: {', '.join(emission.kept)}")
    write_parts_of(project, project.dropped())
    write_names(project, {})
    return extras


def write_parts_of(project: Project, dropped: frozenset[Address]) -> None:
    """Bring what runs without residual to its place in the program, and print it, with `parts.toml` as it stands."""
    project.take(arranged(project.listing(), dropped, stored_effects(project)), dropped)
    project.print_program()


def write_names(project: Project, found: dict[str, Symbol]) -> None:
    """Write `symbols.tsv`: `found` names where no higher rung stands, and a line for every part but raw neurons."""
    listing = project.listing()
    shape = listing.decoder.addresses
    listed = [a for a in shape.addresses() if a.kind not in ("IN", "OUT") or listing.form(a) != "raw"]
    default = {str(address): Symbol(str(address), "", address.kind) for address in listed}
    symbols = merge(merge(default, project.symbols()), found)
    write_symbols(project.directory / "symbols.tsv", symbols)


@dataclass(frozen=True)
class Candidates:
    """What a run found: sources for QK and IN, and lifted forms."""

    sources: Sources
    lifted: LiftedParts

    @property
    def addresses(self) -> set[Address]:
        """All that linking decides about."""
        return {*self.sources.forms, *self.lifted.forms}


def wire_program(project: Project, extras: Extras, effort: Effort) -> bool:
    """Whether the subject has so few weights that its program is wired throughout; if so, write and prove that."""
    text = written(project)
    if text is None:
        return False
    if project.manifest.settings.understand:
        tell("every part is wired: there is nothing left for --understand to train")
    write_parts_of(project, wire(project, text))
    tell_all(project, effort)
    evidence, state = project.evidence, sha256_text(f"{stage_state(project)} {project.state()}")
    project.readings.anew(resumes=True)
    if evidence.finished("wired", state) is None:
        evidence.finish("strongest", state, strongest_places(project))
        evidence.finish("wired", state, "", proved(project, text, extras, effort))
    write_names(project, wired_names(project, text))
    return True


def explain_program(project: Project, extras: Extras, trainer: Model, effort: Effort, tune: float = 0.0) -> None:
    """Find sources and lifted forms, tune the latter for `tune` minutes, link them, write and prove them.

    `trainer` is the subject where training and tuning run. A stage that ended in an earlier run is kept. A subject with
    few weights is wired instead. Held-out text is read once all is chosen, to prove it.
    """
    if wire_program(project, extras, effort):
        return
    evidence, state, promised = project.evidence, stage_state(project), PROMISED[project.manifest.gate.asks]
    text = evidence.finished("sources", state)
    if text is None:
        text = dump(find_sources(project, extras.means, effort, less=reads_less(project)))
        evidence.finish("sources", state, text)
    with evidence.understood("sources"):
        sources = load(text)
    understood = understood_before(project)
    if not understood:
        evidence.finish("understanding", "", "")  # what other settings understood is about to be written over
    write_sources(project, sources.without(understood))
    project.print_program()
    text = evidence.finished("lifted", state)
    if text is None:
        text = dump_lifted(find_lifted(project, extras.vectors, promised, effort))
        evidence.finish("lifted", state, text)
    with evidence.understood("lifted"):
        lifted = load_lifted(text, extras.vectors)
    standing_sources = sources.only(standing(project, sources))
    losses = {address: sources.losses[address] for address in standing_sources.forms}
    lifted = before_sources(lifted.only(liftable(project, lifted)), losses, promised)
    lifted = as_many_channels(lifted, extras.vectors, project.model.decoder)
    found = Candidates(standing_sources, lifted)
    found = tune_program(project, found, extras, trainer, tune, effort)
    linked = evidence.finished("link", link_state(project))
    if linked is None:
        first = found.sources.without(understood)  # others no longer stand in the program
        linked = " ".join(map(str, link_sources(project, first, found.lifted, effort)))
        evidence.finish("link", link_state(project), linked)
    settle(project, found, linked.split())
    back_off(project, found, effort)
    tell_all(project, effort)
    project.readings.anew(resumes=True)
    if not understood and project.manifest.settings.understand:
        understood = understand_program(project, found, trainer, effort)
    found = replace(found, sources=found.sources.without(understood))
    prove_all(project, found, effort)
    prove_together(project, found, effort)
    write_names(project, names(project, found.sources))


def tell_all(project: Project, effort: Effort) -> None:
    """Put into words what parts do, before anything is proved: the program that is proved is then the one that stays.

    Texts move the lines that `parts.toml` names, and rows bring theirs along to where their effects put them.
    """
    tell_parts(project, stage_state(project), effort)
    write_parts_of(project, project.dropped())


def tune_program(
    project: Project, found: Candidates, extras: Extras, trainer: Model, minutes: float, effort: Effort
) -> Candidates:
    """The candidates with their vectors tuned together for `minutes`, or as they were tuned before."""
    tuned = read_tuned(project)
    if tuned is None and minutes:
        tuned = tune_parts(project, trainer, found.sources, found.lifted, extras.vectors, minutes, effort)
        said = describe(tuned) if tuned else "nothing that can be lifted costs little enough to be tuned"
        tell(said)
        if tuned:
            emit(project.subject, project.directory, lifted=named_tuned(project.model, extras.vectors, tuned))
    return replace(found, lifted=with_tuned(found.lifted, extras.vectors, tuned)) if tuned else found


def link_state(project: Project) -> str:
    """What linking and all that follows depend on: the state of the stages before, and what was tuned."""
    tuned = tuned_hash(project)
    return sha256_text(f"{stage_state(project)} {tuned}") if tuned else stage_state(project)


def understood_before(project: Project) -> set[Address]:
    """The parts that the last run has written sources over kinds and values for, if its settings were these."""
    state = understanding_state(project)
    measured = (project.directory / EVIDENCE).is_file()  # asking makes one where there is none
    if not measured or project.evidence.latest_state("understanding") != state:
        return set()
    found = project.evidence.finished("understanding", state) or ""
    return {Address.parse(address) for address in found.split()}


def understand_program(project: Project, found: Candidates, trainer: Model, effort: Effort) -> set[Address]:
    """Let sources over kinds and values take the place of first sources that run nowhere alone; those addresses."""
    listing, dropped = project.listing(), project.dropped()
    chosen = {address for address in found.sources.forms if address not in dropped or listing.lifted(address)}
    held = count_program(listing)
    rest = sum(held[address] for address in held if address.is_code and address not in chosen)
    understanding = understand(project, trainer, project.manifest.settings.understand, rest)
    write_understanding(project, understanding, chosen)
    write_parts_of(project, project.dropped())
    rows, worst = prove_understanding(project, understanding, chosen, effort)
    project.evidence.add(rows)
    write_names(project, understood_names(project, understanding, chosen))
    state = understanding_state(project)
    project.evidence.finish("worst of understanding", state, worst)
    project.evidence.finish("understanding", state, " ".join(map(str, sorted(chosen))))
    return chosen


def understanding_state(project: Project) -> str:
    """What the stage of understanding depends on."""
    settings = project.manifest.settings
    strays = f" {settings.stray}" if settings.stray else ""
    return sha256_text(f"{stage_state(project)} {settings.understand}{strays}")


def settle(project: Project, found: Candidates, linked: Sequence[str]) -> None:
    """Drop the residuals of exactly the `linked` among what was found, and lift what of it is data.

    What a person dropped stays dropped.
    """
    by_hand = project.dropped() - found.addresses
    chosen = {Address.parse(address) for address in linked} & found.addresses
    write_lifted_parts(project, found.lifted, chosen)
    write_linked(project, found.sources, chosen - found.lifted.forms.keys())
    write_parts_of(project, frozenset(by_hand | chosen))


def prove_all(project: Project, found: Candidates, effort: Effort) -> None:
    """Store the evidence about everything that was found, each kind once."""
    evidence, state = project.evidence, link_state(project)
    weak = " and weak ones" * project.manifest.settings.keep_weak
    proved = sha256_text(" ".join([state, *map(str, sorted(found.sources.forms))]) + weak)
    if evidence.finished("proof", proved) is None:
        evidence.finish("contexts", proved, contexts(project, found.sources, effort))
        evidence.finish("proof", proved, "", prove(project, found.sources, effort))
    proved = sha256_text(" ".join([state, *map(str, sorted(found.lifted.forms))]))
    if evidence.finished("lifted proof", proved) is None:
        evidence.finish("lifted proof", proved, "", prove_lifted(project, found.lifted, effort))


def stage_state(project: Project) -> str:
    """What the stages of a run depend on: subject, text, settings and version, and from how much text they begin."""
    return sha256_text(f"{_whole_state(project)} less text") if reads_less(project) else _whole_state(project)


def reads_less(project: Project) -> bool:
    """Whether first sources are found from less text: they are there to be linked, and then all others are trained.

    Not where they were found from all of it before.
    """
    if not project.manifest.settings.understand:
        return False
    made = (project.directory / EVIDENCE).is_file()  # asking makes one where there is none
    return not made or project.evidence.finished("sources", _whole_state(project)) is None


def _whole_state(project: Project) -> str:
    manifest = project.manifest
    settings = replace(manifest.settings, understand=0, stray=0.0, minutes=0.0)
    return sha256_text(repr((manifest.subject, manifest.corpus, settings, manifest.gate)))


def standing(project: Project, sources: Sources) -> set[Address]:
    """The addresses that no person wrote about, sources that are too weak to be written among them."""
    listing = project.listing()
    return {address for address in sources.forms if not listing[address].by_person}


def prove_together(project: Project, found: Candidates, effort: Effort) -> None:
    """Store what each part that was linked costs in the full program, as it stands after all backing off."""
    evidence, dropped = project.evidence, project.dropped()
    forms = {**found.sources.forms, **found.lifted.forms}
    linked = {address: form for address, form in forms.items() if address in dropped}
    proved = sha256_text(" ".join([link_state(project), *map(str, sorted(linked))]))
    if evidence.finished("joint proof", proved) is None:
        effects = found.sources.effects | found.lifted.effects
        evidence.finish("joint proof", proved, "", measure_joint(project, linked, effects, effort))


def back_off(project: Project, found: Candidates, effort: Effort) -> None:
    """Put residuals back, the costliest half each time, until the full program keeps within the gate on check text.

    What was tuned together comes last. Without check text held-out text is consulted, which is said and counted.
    """
    evidence, state, forms = project.evidence, link_state(project), {**found.sources.forms, **found.lifted.forms}
    linked = [Address.parse(address) for address in (evidence.finished("link", state) or "").split()]
    while linked and evidence.finished("chosen", f"{state} {project.state()}") is None:
        if keeps_within(project, effort):
            evidence.finish("chosen", f"{state} {project.state()}", "")
            return
        half = half_of([address for address in linked if address in forms], found.lifted.together)
        linked = allowed([half], forms, project.model.decoder)
        tell(f"the full program fails the gate; {len(linked):,} parts stay without residual")
        said = [str(address) for address in linked]
        settle(project, found, said)
        evidence.finish("link", state, " ".join(said))


def keeps_within(project: Project, effort: Effort) -> bool:
    """Whether the full program does not fail the gate on check text, at `CAREFUL` of its limits.

    Where there is no check text, on held-out text, by the limits themselves.
    """
    texts, gate = project.texts, project.manifest.gate
    if texts.check:
        split, gate = texts.check, gate.tighter(CAREFUL)
    else:
        split = texts.heldout
        project.readings.anew()
        tell(
            f"{project.directory} was made without check text: what runs without residual is chosen on held-out text, "
            "and what is measured there leans on it; decompile into a new directory to have some"
        )
    return judge(measure_full(project, split, effort).to_dict(), gate, effort)["passed"] is not False


def half_of(linked: Sequence[Address], together: Collection[Address]) -> tuple[Address, ...]:
    """The first half of what is `linked`, with all that was tuned `together` while there is anything else."""
    base = tuple(address for address in linked if address in together)
    rest = tuple(address for address in linked if address not in together)
    return base + rest[: len(rest) // 2] if rest else base[: len(base) // 2]
