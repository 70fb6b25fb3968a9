"""A project as `pellucid.open` gives it: with all that is done with one, which lies above what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from pellucid.accounts.folder import Folder
from pellucid.accounts.language import Accounts
from pellucid.project.project import Project
from pellucid.rewrite.export import Exported, export
from pellucid.verify.check import Check, check
from pellucid.verify.next import Suggestion, next_parts
from pellucid.verify.scratch import Scratch, scratch


class OpenedProject(Project):
    """A project that was opened from Python."""

    def accounts(self) -> Accounts:
        """Its accounts, ready to be asked: `accounts.said(ids)` tells what they say behind every token.

        Where there are none, none speaks.

        Returns:
            What can be asked: `said(ids)`.

        Raises:
            ProjectError: Accounts of a stranger that are not trusted.
        """
        return Folder(self).accounts()

    def next(self, count: int = 15) -> list[Suggestion]:
        """The `count` parts that leave most unexplained, the most first; see `pellucid.verify.next`.

        Args:
            count: How many parts.

        Returns:
            The parts with what each leaves unexplained, in nats.

        Raises:
            ProjectError: A project that is broken, or whose subject is not there.
        """
        return next_parts(self, count)

    def scratch(self, address: str) -> Scratch:
        """Try the source of one part on frozen text, without the model; see `pellucid.verify.scratch`.

        Args:
            address: Where a head looks, or when a neuron fires, such as `L00.H01.QK`.

        Returns:
            The score of the source, from 0 to 1, and the places where it is most wrong.

        Raises:
            PellucidError: A name that is no such part, near ones named.
            SourceError: A source that cannot be called.
        """
        return scratch(self, address)

    def check(self, against: Path | None = None, *, measured: bool = True, full: bool = False) -> Check:
        """What got worse since the last report, or the report `against`; see `pellucid.verify.check`.

        Args:
            against: Another `report.json` to compare with.
            measured: Measure now; else compare what was measured already.
            full: Measure on 5,000 contexts, not 500.

        Returns:
            What got worse, and whether it passed.

        Raises:
            ProjectError: No report to compare with, or a program that is not trusted.
        """
        return check(self, against, measured=measured, full=full)

    def export(self, target: Path | str, steer: Mapping[str, Tensor | float] | None = None) -> Exported:
        """Write what the program computes as a checkpoint for Transformers; see `pellucid.rewrite.export`.

        Args:
            target: The directory to write, which is not there.
            steer: What is added for good, by where, as `pellucid.steer` takes it.

        Returns:
            Where it is, and how far its logits are from the program's.

        Raises:
            ProjectError: A target that is there already, or a program that no checkpoint can say.
        """
        return export(self, target, steer)
