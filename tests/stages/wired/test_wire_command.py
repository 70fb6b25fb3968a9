"""A subject with few weights, decompiled from the command line."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import checkpoints
import pellucid
from cli_support import lean, text_file
from cli_support import pellucid as command
from pellucid.exact.model import Model
from pellucid.project.evidence import Evidence
from pellucid.verify.running import open_subject


@pytest.fixture(scope="module")
def decompiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The program of a random model of which one weight in thirty is left."""
    root = tmp_path_factory.mktemp("wired")
    model = checkpoints.hugging_face(n_embd=16)
    checkpoints.thin(dict(model.named_parameters()), 1 / 30)
    with lean(root / "state"):
        checkpoints.write(root / "subject", model)
        text = text_file(root / "text.txt")
        answer = command(
            "decompile", root / "subject", "-o", root / "made", "--corpus", text, "--quick", "--size", "large"
        )
        assert answer.code == 0, answer.err
        assert re.search(r"wired throughout: [0-9,]+ numbers", answer.err)
        yield root / "made"


def test_nothing_is_left_to_train_and_this_is_said(decompiled: Path, tmp_path: Path) -> None:
    root = decompiled.parent
    how = ("--corpus", root / "text.txt", "--quick", "--size", "large", "--understand", 4)
    answer = command("decompile", root / "subject", "-o", tmp_path / "made", *how)
    assert answer.code == 0, answer.err
    assert "every part is wired: there is nothing left for --understand to train" in answer.err


def test_everything_is_source_and_the_program_is_the_subject(decompiled: Path) -> None:
    report = pellucid.open(decompiled).report()
    for program in ("full", "source_only", "source_only_all"):
        assert report[program]["overall"]["kl"]["value"] < 1e-6
    listing = pellucid.open(decompiled).listing()
    assert {listing.form(address) for address in listing.decoder.addresses.addresses()} == {"source"}
    assert pellucid.open(decompiled).dropped() == frozenset(listing.decoder.addresses.addresses())


def test_every_part_has_evidence_and_few_have_names_that_failed(decompiled: Path) -> None:
    evidence, symbols = Evidence(decompiled / "evidence.sqlite"), pellucid.open(decompiled).symbols()
    tested = {row.part: row.value for _, row in evidence.find(kind="isolated", metric="score")}
    for address, symbol in symbols.items():
        if symbol.name:
            score = tested[address]
            assert score is not None
            assert score >= 0.7
    swapped = [row.value for _, row in evidence.find(kind="swapped_in", metric="kl")]
    assert len(swapped) == len(list(pellucid.open(decompiled).listing().decoder.addresses.addresses()))
    assert max(value for value in swapped if value is not None) < 1e-6


def test_it_runs_with_numpy_alone_and_without_weights(decompiled: Path, tmp_path: Path) -> None:
    shutil.copytree(decompiled / "program", tmp_path / "program")
    shutil.copyfile(decompiled / "parts.toml", tmp_path / "parts.toml")
    ran = [sys.executable, "-m", "program", "w1 w2", "--tokens", "2"]
    said = [subprocess.run(ran, cwd=at, capture_output=True, text=True, check=True) for at in (decompiled, tmp_path)]
    assert said[0].stdout == said[1].stdout
    assert said[0].stdout.startswith("w1 w2")


def test_decompiling_again_changes_nothing(decompiled: Path) -> None:
    before = {path.name: path.read_text() for path in (decompiled / "program").glob("*.py")}
    root = decompiled.parent
    with lean(root / "state"):
        answer = command("decompile", root / "subject", "-o", decompiled, "--quick", "--size", "large")
    assert answer.code == 0, answer.err
    assert {path.name: path.read_text() for path in (decompiled / "program").glob("*.py")} == before


def test_the_engine_runs_what_a_person_wrote(decompiled: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    shutil.copytree(decompiled, made)
    page = made / "program" / "embedding.py"
    text = page.read_text()
    wave = re.search(r"cosine\(5, [0-9.]+\)", text)
    assert wave
    page.write_text(text.replace(wave[0], "cosine(5, 2)"))
    with lean(tmp_path / "state"):
        model = open_subject(str(made), trust=True)
        assert isinstance(model, Model)
        program = pellucid.open(made).program()
    ids = np.array([[1, 4, 2, 9, 3]])
    np.testing.assert_allclose(model.logits(torch.from_numpy(ids)).numpy(), program.logits(ids), atol=1e-4)
    subject = pellucid.open(decompiled).model.logits(torch.from_numpy(ids)).numpy()
    assert np.abs(program.logits(ids) - subject).max() > 0.01
