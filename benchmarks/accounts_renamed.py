"""Finding accounts anew: on a copy of a directory, and of a subject all of whose letters are permuted.

Permuted are the letters of the tokenizer and of the text, weights unchanged, so that the model reads the same tokens.
A text is dealt to fit, tune, check and held-out text by what it says; the child that finds accounts of the permuted one
deals each text as the one that it was made from.

    python benchmarks/accounts_renamed.py DIR LETTERS      (the child: `pellucid accounts DIR` with that dealing)
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import string
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import torch

from pellucid.accounts.folder import FOLDER, Folder
from pellucid.accounts.measure import measure, read
from pellucid.accounts.paired import ReadFolder, stated
from pellucid.base.effort import Effort
from pellucid.cli import main as pellucid
from pellucid.corpus import blocks, rows
from pellucid.pipeline.program import write_program
from pellucid.pipeline.request import Request, begin
from pellucid.project.project import EVIDENCE, Project
from pellucid.subject.load import load_subject

CONTRACTED = "dmst"
"""What a byte-level tokenizer takes for one word with an apostrophe before it: these change places with one another."""
ENDS = re.compile(r"(<\|endoftext\|>)")
SHOWN = 20
"""Rules that are told where they differ."""
FIGURES = {"top-1": "top1", "covered": "covered", "precision where covered": "precision"}


@dataclass(frozen=True)
class Letters:
    """A permutation of the letters of a text, of small and capital ones each among themselves."""

    of: str
    """What stands for a to z, then for A to Z."""

    @staticmethod
    def drawn(seed: int) -> Letters:
        """One in which no letter stands for itself."""
        random = Random(seed)
        others = "".join(set(string.ascii_lowercase) - set(CONTRACTED))
        small = _deranged(CONTRACTED, random) | _deranged("".join(sorted(others)), random)
        capital = _deranged(string.ascii_uppercase, random)
        return Letters("".join((small | capital)[letter] for letter in string.ascii_letters))

    def text(self, text: str) -> str:
        """`text` in other letters; what ends a text stays."""
        table = str.maketrans(string.ascii_letters, self.of)
        return "".join(part if ENDS.fullmatch(part) else part.translate(table) for part in ENDS.split(text))

    @property
    def back(self) -> Letters:
        """The one that undoes it."""
        return Letters("".join(string.ascii_letters[self.of.index(letter)] for letter in string.ascii_letters))


def _deranged(letters: str, random: Random) -> dict[str, str]:
    """Each of `letters` with another one: all lie on one circle."""
    circle = random.sample(letters, len(letters))
    return dict(zip(circle, [*circle[1:], circle[0]], strict=True))


# --- finding ----------------------------------------------------------------------------------------------------------


def found_anew(directory: Path, target: Path) -> dict[str, Any]:
    """Copy `directory` to `target` and find accounts there anew: what finding and measuring them took."""
    without_accounts(directory, target)
    return timed([sys.executable, "-m", "pellucid", "accounts", str(target), "--trust"], target)


def without_accounts(directory: Path, target: Path) -> None:
    """Copy `directory` to `target`, without its accounts and what is known of them."""
    shutil.copytree(directory, target)
    shutil.rmtree(target / FOLDER, ignore_errors=True)
    with closing(sqlite3.connect(target / EVIDENCE)) as held, held:
        held.execute("DELETE FROM stage WHERE name LIKE '%account%'")  # what an earlier run would go on from


def timed(command: list[str], directory: Path) -> dict[str, Any]:
    """Seconds, processor seconds and peak memory of `command`, which is to leave accounts in `directory`."""
    start = perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode or not list((directory / FOLDER).glob("*.py")):
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode} and left no accounts")
    return {
        "seconds": perf_counter() - start,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "peak_gib": used.ru_maxrss / 2**20,
    }


# --- other letters ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Renamed:
    """A project whose letters are others, with accounts of its own."""

    project: Project
    letters: Letters
    figures: Mapping[str, Any]
    finding: Mapping[str, Any]


def renamed(project: Project, root: Path, seed: int) -> Renamed:
    """The subject and text of `project` in other letters below `root`, with accounts that were found there."""
    letters = Letters.drawn(seed)
    model = _checkpoint(project, root / "model", letters)
    corpus, fit = _texts(project, root, letters)
    own = {name: read(project, name).ids for name in ("fit", "check", "heldout")}
    with dealt_by(letters):
        made = begin(
            Request(subject=str(model), directory=root / "renamed", corpus=(corpus,), fit_corpus=(fit,), raw=True),
            load_subject(str(model)),
        )
        write_program(made, Effort.quick())
        for name, ids in own.items():
            if not torch.equal(read(made, name).ids, ids):
                raise SystemExit(f"the {name} text is cut into other tokens in other letters; take another --seed")
        finding = timed([sys.executable, __file__, str(made.directory), letters.of], made.directory)
        figures = measure(Project.open(made.directory, trust=True))
    assert figures is not None
    return Renamed(made, letters, figures, finding)


def _checkpoint(project: Project, target: Path, letters: Letters) -> Path:
    """The checkpoint of the subject with the letters of its tokens permuted."""
    shutil.copytree(project.subject.path, target)
    path = target / "tokenizer.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    model = fields["model"]
    model["vocab"] = {letters.text(token): at for token, at in model["vocab"].items()}
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    model["merges"] = [[letters.text(side) for side in pair] for pair in pairs]
    path.write_text(json.dumps(fields, ensure_ascii=False), encoding="utf-8")
    return target


def _texts(project: Project, root: Path, letters: Letters) -> tuple[Path, Path]:
    """The text to measure on and the one to fit on, in files."""
    found = []
    for name, split in (("measured", project.texts.heldout), ("fitted", project.texts.fit)):
        texts = ["".join(document.fragments) for document in split.corpus.read()]
        path = root / name / f"{split.corpus.domains[0]}.txt"
        path.parent.mkdir(parents=True)
        path.write_text("<|endoftext|>".join(map(letters.text, texts)), encoding="utf-8")
        found.append(path)
    return found[0], found[1]


@contextmanager
def dealt_by(letters: Letters) -> Iterator[None]:
    """Let texts in other letters be dealt and drawn as those that they were made from."""
    known, back = blocks.fraction, letters.back

    def fraction(*keys: object) -> float:
        return known(*(back.text(key) if isinstance(key, str) and " " in key else key for key in keys))

    blocks.fraction = rows.fraction = fraction  # type: ignore[attr-defined]
    try:
        yield
    finally:
        blocks.fraction = rows.fraction = known  # type: ignore[attr-defined]


# --- comparing --------------------------------------------------------------------------------------------------------


def compared(project: Project, figures: Mapping[str, Any], other: Renamed) -> dict[str, Any]:
    """The accounts of a project beside those that were found in other letters."""
    sides = Plain.of(project, Letters(string.ascii_letters)), Plain.of(other.project, other.letters.back)
    kinds = {"rules": [side.rules for side in sides], "tables": [side.tables for side in sides]}
    kinds["classes"] = [side.classes for side in sides]
    both = (figures, other.figures)
    return {
        "letters": other.letters.of,
        "finding": other.finding,
        "counts": {
            **{name: [each.total() for each in found] for name, found in kinds.items()},
            "symbols": [each["symbols"] for each in both],
        },
        "same": {name: (found[0] & found[1]).total() for name, found in kinds.items()},
        "figures": {
            f"{label}, {of} positions": [each[of][name]["value"] for each in both]
            for of in ("all", "hard")
            for label, name in FIGURES.items()
        },
        "only_here": sorted((kinds["rules"][0] - kinds["rules"][1]).elements())[:SHOWN],
        "only_there": sorted((kinds["rules"][1] - kinds["rules"][0]).elements())[:SHOWN],
    }


@dataclass(frozen=True)
class Plain:
    """Accounts without the names that were given to tables and classes: in their place stands what is in them."""

    rules: Counter[str]
    tables: Counter[str]
    classes: Counter[str]

    @staticmethod
    def of(project: Project, letters: Letters) -> Plain:
        """The accounts of a project, with the letters of what they quote changed."""
        side = ReadFolder.of(Folder(project))
        tables = {
            name: _listed("table", (f"{key} -> {table[key]}" for key in table.lines), letters)
            for name, table in side.tables.items()
        }
        classes = {name: _listed("class", members, letters) for name, members in side.classes.items()}
        rules = stated(side, (tables | classes).__getitem__, letters.text)
        said = Counter(" ".join(rule.key) for rule in rules)
        return Plain(said, Counter(tables.values()), Counter(classes.values()))


def _listed(kind: str, lines: Iterable[str], letters: Letters) -> str:
    return f"<{kind} of {', '.join(sorted(map(letters.text, lines)))}>"


def main() -> None:
    """What a child runs."""
    directory, letters = sys.argv[1:]
    sys.argv = ["pellucid", "accounts", directory, "--trust"]
    with dealt_by(Letters(letters)):
        pellucid()


if __name__ == "__main__":
    main()
