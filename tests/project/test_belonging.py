"""Whose program a directory is: the hashes of weights and tokenizer, those of earlier versions too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import checkpoints
from pellucid.base.errors import ProjectError
from pellucid.project.manifest import CorpusEntry, Manifest, SubjectEntry
from pellucid.project.project import belonging
from pellucid.subject.load import Subject, load_subject


def manifest(subject: Subject, **changes: str) -> Manifest:
    entry = SubjectEntry(subject.name, subject.weights_sha256, subject.tokenizer_sha256)
    return Manifest(replace(entry, **changes), CorpusEntry("", (), ()))


def test_a_directory_that_knew_the_vocabulary_alone_is_still_of_its_subject(tmp_path: Path) -> None:
    directory = checkpoints.write(tmp_path / "subject")
    before = load_subject(directory).tokenizer_sha256
    (directory / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": True}))
    opens = load_subject(directory)
    assert opens.tokenizer_sha256 != before
    assert belonging(opens, manifest(opens), directory) is opens
    assert belonging(opens, manifest(opens, tokenizer_sha256=before), directory) is opens
    (directory / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": True, "bos_token": "w5"}))
    other = load_subject(directory)
    assert other.tokenizer.opened("w1") == [5, 1]
    with pytest.raises(ProjectError, match=r"the tokenizer of .*a version that read the vocabulary alone may have"):
        belonging(other, manifest(other, tokenizer_sha256=before), directory)
    with pytest.raises(ProjectError, match="the weights of"):
        belonging(opens, manifest(opens, weights_sha256="0" * 64), directory)
