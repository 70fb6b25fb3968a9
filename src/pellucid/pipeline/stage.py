"""A stage of the main job: what it is called, what it takes and gives, and how that is kept for a later run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Generic, TypeVar

from pellucid.base.effort import Effort
from pellucid.base.terminal import tell
from pellucid.exact.device import device_of
from pellucid.exact.model import Model
from pellucid.family import needs
from pellucid.family.blocks import Decoder
from pellucid.family.needs import Switch
from pellucid.project.evidence import Measurement
from pellucid.project.hindered import keep_hindered
from pellucid.project.project import Project

Made = TypeVar("Made")
OTHERS: Final = tuple(needs.SWITCHES)
"""What a stage does not understand that was written for GPT-2 alone."""


@dataclass
class StageRun:
    """One run of stages over a project. Vectors are tuned for `tune` minutes; training and tuning run on `device`."""

    project: Project
    effort: Effort
    tune: float = 0.0
    device: str = "cpu"
    lifts: bool = True
    """Whether vectors of lifted parts stand beside the weights; they take a pass with gradients."""
    results: dict[str, Any] = field(default_factory=dict)
    """What stages gave, by their names."""

    @cached_property
    def trainer(self) -> Model:
        """The subject where training and tuning run."""
        device = device_of(self.device)
        return self.project.model if device.type == "cpu" else Model(self.project.subject, device=device)

    def of(self, stage: Stage[Made]) -> Made:
        """What a stage gave. Raises `LookupError` where it has not run."""
        if stage.name not in self.results:
            raise LookupError(f"the stage {stage.name!r} has not run; a route names it before those that need it")
        made: Made = self.results[stage.name]
        return made


def _no_rows(_: object) -> Iterable[Measurement]:
    return ()


@dataclass(frozen=True)
class KeptAs(Generic[Made]):
    """How what a stage gave is kept with the evidence: as text, for a state, with the rows that it measured.

    Where it wrote what other settings write over, it must also be what was kept `last`.
    """

    state: Callable[[StageRun], str]
    dump: Callable[[Made], str]
    load: Callable[[StageRun, str], Made]
    rows: Callable[[Made], Iterable[Measurement]] = _no_rows
    last: bool = False

    def result(self, name: str, run: StageRun, state: str) -> str | None:
        """What is kept for a state, None where nothing is."""
        evidence = run.project.evidence
        return None if self.last and evidence.latest_state(name) != state else evidence.finished(name, state)


def measured(state: Callable[[StageRun], str]) -> KeptAs[list[Measurement]]:
    """How measurements are kept: as rows of the evidence, where they stay; a later run does not need them."""
    return KeptAs(state, lambda _: "", lambda *_: [], list)


@dataclass(frozen=True)
class Stage(Generic[Made]):
    """A step that can be repeated alone.

    Args:
        name: What it is called, in the evidence too.
        does: What it does, in a line.
        make: Gives its result, and may change the program, which is printed when the stage ends.
        needs: The stages whose results it takes.
        cannot: What of a decoder it does not understand yet (`family/needs.py`); then it gives `instead`.
        instead: What it gives then, so that the rest goes on.
        partly: Pieces of its work, each with what of a decoder keeps that piece alone from being done.
        kept: How its result is kept; None where it is made again in every run.
        then: What is done with the result, be it made or kept.
    """

    name: str
    does: str
    make: Callable[[StageRun], Made]
    needs: tuple[Stage[Any], ...] = ()
    cannot: tuple[Switch, ...] = ()
    instead: Callable[[StageRun], Made] | None = None
    partly: Mapping[str, tuple[Switch, ...]] = field(default_factory=dict)
    kept: KeptAs[Made] | None = None
    then: Callable[[StageRun, Made], None] | None = None

    def carry_out(self, run: StageRun) -> None:
        """Run it, or take what it gave for the same state before; print the program as it is then."""
        for other in self.needs:
            run.of(other)
        if self.instead and needs.present(run.project.subject.decoder, *self.cannot):
            run.results[self.name] = self.instead(run)
            return
        run.results[self.name] = made = self._again(run, self.kept) if self.kept else self.make(run)
        if self.then:
            self.then(run, made)
        run.project.print_program()

    def hindered(self, decoder: Decoder) -> list[str]:
        """What of its work it cannot do for a decoder, and why, one sentence each."""
        whole = needs.hindered(decoder, f"the stage {self.name!r}", *self.cannot)
        pieces = {} if whole else self.partly
        said = (needs.hindered(decoder, work, *switches) for work, switches in pieces.items())
        return [sentence for sentence in (whole, *said) if sentence]

    def _again(self, run: StageRun, kept: KeptAs[Made]) -> Made:
        """What is kept of it; made, and kept, where nothing is."""
        evidence, state = run.project.evidence, kept.state(run)
        text = kept.result(self.name, run, state)
        if text is None:
            made = self.make(run)
            text = kept.dump(made)
            evidence.finish(self.name, state, text, kept.rows(made))
        with evidence.understood(self.name):
            return kept.load(run, text)


@dataclass(frozen=True)
class Route:
    """The stages of a way through the main job, in their order."""

    name: str
    does: str
    stages: tuple[Stage[Any], ...]

    def hindered(self, decoder: Decoder) -> list[str]:
        """What of the work of its stages cannot be done for a decoder, and why, one sentence each."""
        return [sentence for stage in self.stages for sentence in stage.hindered(decoder)]

    def follow(self, run: StageRun) -> None:
        """Carry out the stages, but for those that have run; what cannot be done is told, kept, and left out."""
        said = self.hindered(run.project.subject.decoder)
        for sentence in said:
            tell(sentence)
        keep_hindered(run.project, said)
        for stage in self.stages:
            if stage.name not in run.results:
                stage.carry_out(run)
