"""A project directory from Python: the subject it belongs to, its text, its program, and what was measured.

What needs the subject is imported when it is asked for: a program is read and run without PyTorch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack

from jaxtyping import Int

from pellucid.base.address import Address
from pellucid.base.errors import ProjectError
from pellucid.base.files import Stamps, sha256_text, stamps_of, write_text
from pellucid.base.nulls import nulled
from pellucid.base.shell import quoted
from pellucid.base.trusted import PARTS, PROGRAM, Contents, checked, contents, note_checked
from pellucid.base.trusted import stamps as stamps_of_all
from pellucid.exact.writing import Continuation, Sampling
from pellucid.forms.words import make_known
from pellucid.listing.draft import Revision
from pellucid.listing.load import Program, load_program
from pellucid.listing.parse import Listing, check_whole, keep_said, read_listing, read_program
from pellucid.listing.printing import print_program
from pellucid.listing.running import RunningProgram
from pellucid.program.idle import said
from pellucid.project.checked import running_as_checked, state_to_run, written_behind
from pellucid.project.evidence import Evidence
from pellucid.project.heldout import HeldoutReadings
from pellucid.project.idle import OFF, idle
from pellucid.project.manifest import MANIFEST, Manifest
from pellucid.project.parts_file import partition, read_dropped, without_residual, write_parts
from pellucid.project.report_file import read_report
from pellucid.project.symbols import Symbol, read_symbols
from pellucid.project.trust import is_trusted, require_trust

if TYPE_CHECKING:
    from torch import Tensor

    from pellucid.corpus.corpus import Splits
    from pellucid.exact.model import Model
    from pellucid.subject.load import Subject

make_known()
Made = TypeVar("Made")
REPORT = "report.json"
EVIDENCE = "evidence.sqlite"
SIZES = {"small": 0.01, "medium": 0.05, "large": 0.2}
"""What share of the subject's parameters the numbers of all QK and IN sources may amount to."""


class How(TypedDict, total=False):
    """How a program goes on with a text: with its sources alone; drawing tokens; where it stops.

    At `temperature` 0, the default, it says the likeliest tokens, else they are drawn from `seed`, with `top_p` among
    the likeliest that hold so much of the probability. It stops behind any of the strings `stop`.
    """

    source_only: bool
    temperature: float
    top_p: float
    seed: int
    stop: Sequence[str]


@dataclass(frozen=True)
class _Ahead:
    """A program in memory that is ahead of the one on disk.

    `read` is what stands there, by whose `stamps` it is told whether somebody changes it meanwhile; `dropped` the
    addresses whose residual is dropped, None where `parts.toml` stays.
    """

    read: Listing
    stamps: Stamps
    listing: Listing
    dropped: frozenset[Address] | None


class Project:
    """What `decompile` wrote to `directory`. Reading needs no trust; running its program does."""

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        model: Model | None = None,
        texts: Splits | None = None,
        *,
        granted: bool = False,
    ) -> None:
        self.directory, self.manifest = directory, manifest
        self._held: dict[str, tuple[object, Any]] = {}
        self._ahead: _Ahead | None = None
        self.granted = granted
        """Whether the user has said that what lies there may run, also when it changes while this object lives."""
        if model is not None:
            self.model = model
        if texts is not None:
            self.texts = texts.watched(self.note_reading)

    @staticmethod
    def open(directory: Path | str, *, trust: bool = False, subject: str | None = None) -> Project:
        """Open a project directory; `trust` lets its program run although it was not made here, or has changed since.

        `subject` says where the subject is now, if it has moved. Raises `ProjectError` for what is not such a
        directory, is broken, or belongs to another subject.
        """
        directory = Path(directory)
        manifest = Manifest.read(directory)
        if trust:
            require_trust(directory, granted=True)
        moved = None if subject is None else loaded(subject, manifest, directory)
        return Project(directory, manifest, moved, granted=trust)

    def __repr__(self) -> str:
        return f"<Project {self.directory}: {self.manifest.subject.name}>"

    def require_trust(self) -> None:
        """Pass if the program may run as it is now. Raises `ProjectError` if it is a stranger's, or has changed."""
        require_trust(self.directory, granted=self.granted, found=self._contents())

    @cached_property
    def model(self) -> Model:
        """The exact model of the subject, loaded and checked against the hashes of the manifest.

        A hub is asked for it only where the directory is trusted: its name may be a stranger's.
        """
        from pellucid.subject.hub import without_hub

        with nullcontext() if self.granted or is_trusted(self.directory) else without_hub():
            return loaded(self.manifest.subject.name, self.manifest, self.directory)

    @property
    def subject(self) -> Subject:
        """The subject."""
        return self.model.subject

    @cached_property
    def texts(self) -> Splits:
        """The text that the manifest names, split. Raises `ProjectError` if it is no longer the same text."""
        from pellucid.project.texts import open_texts

        splits = open_texts(self.manifest.corpus, self.model, self.manifest.settings.seed)
        for name, recorded in self.manifest.corpus.hashes.items():
            found = splits.named[name].sha256
            if recorded != found:
                raise ProjectError(
                    f"the {name} text of {self.directory} has changed (SHA-256 {found[:12]}, {MANIFEST} says "
                    f"{recorded[:12]}); restore it, or run `decompile` with the new text into another directory"
                )
        return splits.watched(self.note_reading)

    @cached_property
    def readings(self) -> HeldoutReadings:
        """How often the held-out text was read; one `Project` reads it once, however often it asks."""
        return HeldoutReadings(self.evidence, self.texts.heldout.sha256)

    def note_reading(self) -> None:
        """Count that held-out text is being read."""
        self.readings.note(self.state())

    @cached_property
    def packed(self) -> dict[tuple[str, int], Int[Tensor, "row pos"]]:
        """Rows of its text that were packed before, by split and number: reading a text to sample it takes seconds."""
        return {}

    @cached_property
    def evidence(self) -> Evidence:
        """The store of every measurement."""
        return Evidence(self.directory / EVIDENCE)

    def listing(self) -> Listing:
        """The program as it stands, read but not run: what was taken over, or what is on disk, read where it changed.

        Returns:
            Pages and statements by address.

        Raises:
            SourceError: A page that is not in the language of sources, naming file and line.
            ProjectError: A directory without a program.
        """
        return self._ahead.listing if self._ahead else self._on_disk()

    def _on_disk(self) -> Listing:
        """The program as it stands on disk; what was checked as it is now is not checked again."""
        return self._unchanged("listing", self._read)

    def _read(self) -> Listing:
        """The program on disk, read anew."""
        if (state := checked(self.directory)) and state == state_to_run(self.directory, self._contents()):
            return read_listing(self.directory / PROGRAM)
        return read_program(self.directory)

    def dropped(self) -> frozenset[Address]:
        """The addresses whose residual is dropped: as was taken over, or according to `parts.toml`."""
        if self._ahead and self._ahead.dropped is not None:
            return without_residual(self._ahead.listing, self._ahead.dropped)
        listing = self.listing()
        return self._unchanged("dropped", lambda: read_dropped(self.directory / PARTS, listing.decoder.addresses))

    def take(self, revision: Revision, dropped: frozenset[Address] | None = None) -> Revision:
        """Let the program be as `revision` has it, in memory until it is printed; and `dropped` what runs alone there.

        Returns:
            The revision, of which somebody may want to say what was kept.
        """
        if self._ahead is None:
            self._ahead = _Ahead(self._on_disk(), self._stamps(), revision.listing, dropped)
        else:
            known = self._ahead.dropped if dropped is None else dropped
            self._ahead = replace(self._ahead, listing=revision.listing, dropped=known)
        return revision

    def print_program(self) -> None:
        """Bring to disk what was taken over, if anything was: pages, and `parts.toml` where it is known what it says.

        Raises:
            ProjectError: A file that somebody changed since it was read.
            SourceError: What was taken over is not a whole program; then nothing is written.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return
        if ahead.stamps != self._stamps():
            changed = {name for name, *_ in set(ahead.stamps) ^ set(self._stamps())}
            said = ", ".join(sorted(os.path.relpath(name, self.directory) for name in changed))
            raise ProjectError(
                f"{self.directory}: {said} changed while the program was being written; run the same command again"
            )
        check_whole(ahead.listing)
        print_program(ahead.read, ahead.listing)
        keep_said(ahead.listing)
        if ahead.dropped is not None:
            write_parts(self.directory / PARTS, partition(ahead.listing, ahead.dropped), ahead.listing.decoder)
            self._held["dropped"] = self._stamps(), without_residual(ahead.listing, ahead.dropped)
        self._held["listing"] = self._stamps(), ahead.listing

    def _stamps(self) -> Stamps:
        """What tells whether the files of the program have changed."""
        return stamps_of(self.directory / PARTS, self.directory / PROGRAM)

    def _contents(self) -> Contents:
        """The hashes of all files that run."""
        return self._unchanged("contents", lambda: contents(self.directory), stamps_of_all(self.directory))

    def _unchanged(self, what: str, read: Callable[[], Made], stamps: Stamps | None = None) -> Made:
        """What `read` gave when the files of the program, or those that have `stamps`, were last as they are now."""
        stamps = self._stamps() if stamps is None else stamps
        if what not in self._held or self._held[what][0] != stamps:
            self._held[what] = stamps, read()
        made: Made = self._held[what][1]
        return made

    def state(self) -> str:
        """A hash of all that the program computes from: its files, which residuals are dropped, and the weights."""
        self.print_program()
        dropped = " ".join(map(str, sorted(self.dropped())))
        return sha256_text(f"{self._contents().code} {dropped} {self.manifest.subject.weights_sha256}")

    @property
    def budget(self) -> int:
        """How many numbers all sources of QK and IN may hold together."""
        return numbers_for(self.subject, self.manifest.settings.size)

    def symbols(self) -> dict[str, Symbol]:
        """Names and notes by address."""
        return read_symbols(self.directory / "symbols.tsv")

    def program(self, source_only: Literal["code", "all"] | None = None) -> Program:
        """The program, ready to run.

        Args:
            source_only: Switch off the residuals of every QK and IN (`code`), or of all parts (`all`).

        Returns:
            The program in memory: `logits`, `extend` and `encode`.

        Raises:
            ProjectError: A stranger's program that is not trusted, or a broken `parts.toml`.
            SourceError: A source that cannot be loaded or called, naming file, line and part.
        """
        self.print_program()
        self.require_trust()
        self.dropped()
        program = load_program(self.directory, source_only, self.listing())
        note_checked(self.directory, state_to_run(self.directory, self._contents()))
        return program

    def running(self, source_only: Literal["code"] | None = None) -> tuple[RunningProgram, str]:
        """The program, ready to run, and what to tell of sources that a person changed and that do not run.

        Pages that were read and checked as they are now are not read again.

        Args:
            source_only: Switch off the residuals of every QK and IN (`code`).

        Returns:
            The program in memory: `extend` and `encode`; and a text, empty where all that was changed runs.

        Raises:
            ProjectError, SourceError: As `program` does.
        """
        self.print_program()
        self.require_trust()
        vectors = sorted(self.directory.glob("*.safetensors"))
        stamps = stamps_of(self.directory / PARTS, self.directory / PROGRAM, *vectors)
        return self._unchanged(f"running {source_only}", lambda: self._load(source_only), stamps)

    def _load(self, source_only: Literal["code"] | None) -> tuple[RunningProgram, str]:
        """The program that `running` gives."""
        if found := running_as_checked(self.directory, self._contents(), source_only):
            return found, said(found.idle, str(self.directory))
        program = self.program(source_only)
        idle_here = idle(self.listing(), self.dropped(), OFF[source_only])
        return program, said([(s.key, s.at) for s in idle_here], str(self.directory))

    def generate(self, prompt: str | Sequence[int], tokens: int = 20, **how: Unpack[How]) -> str:
        """What the program says after `prompt` (text or token ids): the likeliest tokens, unless `how` says otherwise.

        Up to `tokens` tokens, the end of the text, a `stop` string or the context's end.

        Args:
            prompt: A text, or token ids.
            tokens: How many tokens are said at most.
            how: `source_only` (run the sources alone), `temperature`, `top_p`, `seed`, `stop`, as in
                `pellucid.generate`.

        Returns:
            The text that was said behind the prompt.

        Raises:
            ProjectError: A prompt without tokens, with more than the context has, or with ids that are none; a program
                that is not trusted.
            PellucidError: A temperature below 0, or a `top_p` that is no share.
        """
        return self._written(prompt, tokens, **how).text

    def next_ids(self, prompt: str | Sequence[int], tokens: int = 20, **how: Unpack[How]) -> list[int]:
        """The token ids that `generate` says the text of."""
        return list(self._written(prompt, tokens, **how).ids)

    def _written(
        self,
        prompt: str | Sequence[int],
        tokens: int,
        *,
        source_only: bool = False,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> Continuation:
        program, _ = self.running("code" if source_only else None)
        return written_behind(program, prompt, Sampling(temperature, top_p, seed), tokens, stop)

    def report(self) -> dict[str, Any]:
        """The figures of the last measurement.

        Returns:
            The figures, as `report.json` has them; what was not measured is None.

        Raises:
            ProjectError: A project that was not measured, or a report that is broken.
        """
        path = self.directory / REPORT
        if not path.is_file():
            raise ProjectError(
                f"{self.directory} has not been measured; run `pellucid verify {quoted(self.directory)}`"
            )
        return read_report(path)

    def save_report(self, data: dict[str, Any]) -> None:
        """Write `report.json`, atomically."""
        write_text(self.directory / REPORT, json.dumps(nulled(data), indent=1, ensure_ascii=False) + "\n")


def loaded(name: str, manifest: Manifest, directory: Path) -> Model:
    """The exact model of the subject `name` if it is the one of the project. Raises `ProjectError` otherwise."""
    from pellucid.exact.model import Model
    from pellucid.subject.load import load_subject

    return Model(belonging(load_subject(name), manifest, directory))


def belonging(subject: Subject, manifest: Manifest, directory: Path) -> Subject:
    """`subject` if it is the one that `manifest` names. Raises `ProjectError` otherwise."""
    for what in ("weights", "tokenizer"):
        recorded, found = (getattr(entry, f"{what}_sha256") for entry in (manifest.subject, subject))
        if recorded == found or (what == "tokenizer" and recorded == subject.tokenizer_formerly):
            continue
        more = " (a version that read the vocabulary alone may have written it)" if what == "tokenizer" else ""
        raise ProjectError(
            f"{directory} belongs to another subject: the {what} of {subject.name!r} have SHA-256 {found[:12]}, "
            f"{MANIFEST} says {recorded[:12]} ({manifest.subject.name}){more}; choose another directory or that subject"
        )
    return subject


def numbers_for(subject: Subject, size: str) -> int:
    """How many numbers all sources of QK and IN of a subject may hold together."""
    return int(SIZES[size] * subject.parameters)
