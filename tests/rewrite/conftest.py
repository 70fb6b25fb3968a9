"""The village with a little text, to edit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from cli_support import lean
from pellucid.corpus.corpus import split_corpus, story_corpus
from pellucid.exact.model import Model
from pellucid.listing.emit import emit
from pellucid.project.manifest import CorpusEntry, Manifest, SubjectEntry
from pellucid.project.project import Project
from pellucid.project.trust import trust
from pellucid.rewrite.workbench import Workbench
from pellucid.subject.load import load_subject
from pellucid.zoo.village import Village


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """The village as an all-raw program, with a few hundred stories."""
    root = tmp_path_factory.mktemp("village")
    with lean(root / "state"):
        subject = load_subject("zoo:village")
        entry = SubjectEntry(subject.name, subject.weights_sha256, subject.tokenizer_sha256)
        manifest = Manifest(entry, CorpusEntry("stories", (), ()))
        emit(subject, root / "made")
        manifest.write(root / "made")
        trust(root / "made")
        texts = split_corpus(*(story_corpus(lambda s=s: _stories(s), "stories", "village") for s in ("test", "train")))
        project = Project(root / "made", manifest, Model(subject), texts)
        yield Workbench(project, rows=(80, 240))


@cache
def _stories(split: str) -> list[str]:
    """Stories of a split; texts are read several times, and writing them takes longest."""
    count = {"train": 220, "test": 500}[split]
    return [story.text for story in Village().stories(split, 0, count)]  # type: ignore[arg-type]
