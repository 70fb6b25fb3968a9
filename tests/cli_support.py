"""A tiny subject with its text, and the command line as a user meets it."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import checkpoints
from pellucid.base.effort import Effort
from pellucid.cli import app
from pellucid.project.trust import is_trusted, trust

CONTEXTS = 24
"""Contexts of a quick measurement in tests."""
DOCUMENTS, WORDS = 200, 30


@dataclass(frozen=True)
class Answer:
    """What a command left behind: its exit code, and what it printed on standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON document without NaN."""
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))

    def complaint(self) -> str:
        """The one line that a user gets for bad input."""
        lines = [
            line
            for line in self.err.splitlines()
            if not line.startswith(("decompiling ", "measuring ", "kept as you wrote"))
        ]
        assert (self.code, len(lines)) == (2, 1), f"code {self.code}: {self.err}"
        assert lines[0].startswith("pellucid: ")
        assert "Traceback" not in self.err + self.out
        return lines[0]


def pellucid(*arguments: object) -> Answer:
    """Run the command line; an exception that gets out of it fails the test with its traceback."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


def limits(patch: pytest.MonkeyPatch, **fewer: Any) -> None:
    """Let quick runs have other limits."""
    patch.setattr(Effort, "quick", staticmethod(partial(replace, Effort.quick(), **fewer)))


@contextmanager
def lean(state: Path) -> Iterator[pytest.MonkeyPatch]:
    """Few contexts, one thread, and a state directory of the test's own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        patch.setenv("HF_HUB_OFFLINE", "1")
        few = {"minutes": 0.0, "mean_tokens": 1000, "vector_tokens": 1000}
        limits(patch, **few, contexts=CONTEXTS)
        patch.setattr(Effort, "usual", staticmethod(partial(replace, Effort.usual(), **few)))
        yield patch
    torch.set_num_threads(threads)


@contextmanager
def own_work(directory: Path) -> Iterator[None]:
    """Change files of a program as its owner does who then says that it may run; a stranger's stays a stranger's."""
    trusted = is_trusted(directory)
    yield
    if trusted:
        trust(directory)


def text_file(path: Path, documents: int = DOCUMENTS, words: int = WORDS) -> Path:
    """A text of the words w1 to w10 in random order."""
    draw = random.Random(0)
    texts = [" ".join(f"w{draw.randrange(1, 11)}" for _ in range(words)) for _ in range(documents)]
    path.write_text("<|endoftext|>".join(texts), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Workshop:
    """A folder with a checkpoint `subject`, a text `text.txt`, and a program `made` that was decompiled from both."""

    root: Path

    @property
    def subject(self) -> Path:
        return self.root / "subject"

    @property
    def text(self) -> Path:
        return self.root / "text.txt"

    @property
    def made(self) -> Path:
        return self.root / "made"

    @property
    def fresh(self) -> Path:
        """A directory that does not exist yet."""
        return self.root / "fresh"

    def decompile(self, output: Path | None = None, *more: object) -> Answer:
        """Decompile the subject on the text."""
        arguments = (self.subject, "-o", output or self.made, "--corpus", self.text, "--quick", "--raw")
        return pellucid("decompile", *arguments, *more)

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a piece of text that stands once in a file of the program's directory."""
        path = self.made / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        with own_work(self.made):
            path.write_text(text.replace(old, new), encoding="utf-8")

    def source(self, address: str, body: str, arguments: str = "query, key", name: str = "by_hand") -> None:
        """Write a source for a head or bias by hand."""
        function = f'@source("{address}")\ndef {name}({arguments}):\n    """By hand."""\n    {body}\n'
        file = f"program/layer_{address[1:3]}.py"
        self.edit(file, f'raw("{address}")\n', function)
        self.edit(file, "from .prelude import raw", "from .prelude import log, raw, source")

    def config(self, **changes: Any) -> None:
        """Change the subject's config.json."""
        path = self.subject / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def files(self, directory: Path | None = None) -> dict[str, bytes]:
        """Everything in a directory, by relative path; nothing where there is none."""
        directory = directory or self.made
        found = (path for path in sorted(directory.rglob("*")) if path.is_file() and path.suffix != ".sqlite-shm")
        return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def furnish(root: Path) -> Workshop:
    """A workshop with its program decompiled."""
    workshop = Workshop(root)
    checkpoints.write(workshop.subject)
    text_file(workshop.text)
    answer = workshop.decompile()
    assert answer.code == 0, answer.err
    return workshop


def copied(original: Workshop, root: Path) -> Workshop:
    """A workshop of one's own, with the same contents at another place, where the program is trusted."""
    shutil.copytree(original.root, root)
    workshop = Workshop(root)
    manifest = workshop.made / "pellucid.toml"
    manifest.write_text(manifest.read_text().replace(str(original.root), str(root)))
    trust(workshop.made)
    return workshop


def leftovers(directory: Path) -> list[str]:
    """Files and folders that only exist while something is being written."""
    return [
        str(path) for path in directory.rglob("*") if path.suffix == ".partial" or path.name.startswith(".program.")
    ]
