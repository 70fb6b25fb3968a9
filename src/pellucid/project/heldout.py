"""How often held-out text was read: what is chosen after a look at it leans on it, so every look is counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from pellucid.base.errors import PellucidError, ProjectError
from pellucid.base.schema import Count, parsed
from pellucid.project.evidence import Evidence

STAGE = "readings of held-out text"


@dataclass(frozen=True)
class _Kept:
    """Readings as they are kept."""

    count: Count
    unfinished: str


class HeldoutReadings:
    """The readings of one held-out text (by its SHA-256), as the evidence of a directory counts them.

    An object of this class is one command's: however often it is told of one, it counts one reading until `anew`.
    """

    def __init__(self, evidence: Evidence, text: str) -> None:
        self.evidence, self.text = evidence, text
        self._resumes = self._counted = False

    @property
    def count(self) -> int:
        """How many there were; in directories that were measured before readings were counted, at least so many."""
        return int(self._stored()["count"])

    def anew(self, *, resumes: bool = False) -> None:
        """What is read from here on is another reading; if it `resumes`, it may be one that was killed and goes on."""
        self._counted, self._resumes = False, resumes

    def note(self, state: str) -> None:
        """Count that the text is read to measure the program in `state`."""
        if self._counted:
            return
        self._counted, stored = True, self._stored()
        if not (self._resumes and stored["unfinished"] == state):
            self._store({"count": stored["count"] + 1, "unfinished": state if self._resumes else ""})

    def end(self) -> None:
        """What was read is measured: a later run that reads again does not go on with it."""
        stored = self._stored()
        if stored["unfinished"]:
            self._store(stored | {"unfinished": ""})

    @contextmanager
    def unless_it_fails(self) -> Iterator[None]:
        """What is read within is a reading only if that comes to its end: what fails has measured nothing."""
        counted, stored = self._counted, self._stored()
        try:
            yield
        except BaseException:
            if self._counted and not counted:
                self._counted = False
                with suppress(PellucidError):  # what failed is worth more to know
                    self._store(stored)
            raise

    def _stored(self) -> dict[str, Any]:
        text = self.evidence.finished(STAGE, self.text)
        if text is not None:
            return asdict(parsed(_Kept, text, f"{self.evidence.path}, stage `{STAGE}`", ProjectError))
        before = self.evidence.find(part="program", split="heldout", corpus=self.text)
        return {"count": int(bool(before)), "unfinished": ""}

    def _store(self, found: dict[str, Any]) -> None:
        self.evidence.finish(STAGE, self.text, json.dumps(found))
