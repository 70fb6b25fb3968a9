"""Small programs to test with, and what a person with an editor would do to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.exact.model import Model
from pellucid.listing.load import Program, load_program
from pellucid.subject.load import Subject


@dataclass(frozen=True)
class Project:
    """An emitted program and the subject it came from."""

    directory: Path
    subject: Subject

    def read(self, name: str) -> str:
        """The text of a file of the program."""
        return (self.directory / "program" / name).read_text(encoding="utf-8")

    def write(self, name: str, text: str) -> None:
        """Do what a person with an editor does."""
        (self.directory / "program" / name).write_text(text, encoding="utf-8")

    def replace(self, name: str, old: str, new: str) -> None:
        """Replace a piece of text that stands once in a file of the program."""
        text = self.read(name)
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        self.write(name, text.replace(old, new))

    def source(self, address: str, code: str, arguments: str = "query, key", name: str = "by_hand") -> None:
        """Give a head or bias a source by hand."""
        file = "embedding.py" if address.startswith("EMB") else f"layer_{address[1:3]}.py"
        function = f'@source("{address}")\ndef {name}({arguments}):\n    """By hand."""\n    return {code}\n\n'
        self.replace(file, f'raw("{address}")\n', function)
        self.words(file)

    def words(self, file: str) -> None:
        """Import all words of the language."""
        first = next(line for line in self.read(file).splitlines() if line.startswith("from .prelude import"))
        words = "constants, curve, distance, exp, latest, log, maximum, minimum, raw, select, source, sqrt, where"
        self.replace(file, first, f"from .prelude import {words}")

    def dropped(self, *addresses: str) -> None:
        """Drop the residuals of parts."""
        quoted = ", ".join(f'"{address}"' for address in addresses)
        text = f'[[part]]\naddresses = [{quoted}]\nform = "source"\nresidual = "dropped"\n'
        (self.directory / "parts.toml").write_text(text)

    def load(self, source_only: Any = None) -> Program:
        """Run it."""
        return load_program(self.directory, source_only)

    def exact(self) -> Model:
        """The subject, running."""
        return Model(self.subject)


def some_ids(vocabulary: int, batch: int, length: int, seed: int = 0) -> np.ndarray:
    """Random token ids, [batch, length]."""
    return np.random.default_rng(seed).integers(0, vocabulary, (batch, length))
