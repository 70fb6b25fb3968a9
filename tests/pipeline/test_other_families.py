"""Models of other families become programs that run from the weights; what is not done for them yet is said by name."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import families
from cli_support import lean, pellucid
from pellucid.project.project import Project
from pellucid.verify.running import Running


@pytest.fixture
def subject(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A checkpoint without a tokenizer, whose text is ids, and a text beside it."""
    made = families.make(*request.param)
    made.model.save_pretrained(tmp_path / "subject")
    draw = random.Random(0)
    texts = (" ".join(str(draw.randrange(made.decoder.sizes.vocab)) for _ in range(30)) for _ in range(500))
    (tmp_path / "ids.txt").write_text("<|endoftext|>".join(texts))
    return tmp_path / "subject"


@pytest.mark.parametrize("subject", [("llama", 1), ("gemma3_text", 3), ("gpt_neox", 2)], indirect=True)
def test_a_program_is_written_measured_and_run(subject: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    with lean(tmp_path / "state"):
        answer = pellucid("decompile", subject, "-o", made, "--corpus", tmp_path / "ids.txt", "--raw", "--quick")
        assert answer.code == 0, answer.err
        assert "of decompiling cannot" not in answer.err
        assert "lifting cannot serve " in answer.err
        project = Project.open(made)
        full = project.report()["full"]["overall"]
        assert (full["wer_next"]["value"], full["top1"]["value"]) == (0.0, 100.0)
        ids = torch.randint(project.model.n_vocab, (2, 9))
        wanted = project.model.logits(ids).numpy()
        limit = 1e-5 * np.abs(wanted).max()
        assert np.abs(project.program().logits(ids.numpy()) - wanted).max() <= limit
        running = Running(project.model, project.program())
        assert np.abs(running.model.logits(ids).numpy() - wanted).max() <= 2 * limit
        assert np.isfinite(project.program("all").logits(ids.numpy())).all()  # means in the place of every part
        said = pellucid("run", made, "1 2 3", "--ids", "--tokens", 5).out.strip()
        command = [sys.executable, "-m", "program", "1 2 3", "--ids", "--tokens", "5"]
        alone = subprocess.run(command, cwd=made, env={}, capture_output=True, text=True, check=True)
        assert alone.stdout.strip() == said
        assert pellucid("show", made, "L00.H00.QK").out.startswith("L00.H00.QK  raw")
        assert pellucid("report", made).code == 0
        assert pellucid("check", made).code == 0
        assert pellucid("next", made).code == 0
        assert pellucid("edit", made, "--suppress", "3", "--dry-run", "--anyway").code == 0
        assert "writing a program as a checkpoint cannot serve" in pellucid("export", made, "-o", tmp_path / "x").err


@pytest.mark.parametrize("subject", [("llama", 1)], indirect=True)
def test_what_is_not_found_yet_is_said_and_the_rest_goes_on(subject: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    with lean(tmp_path / "state"):
        answer = pellucid("decompile", subject, "-o", made, "--corpus", tmp_path / "ids.txt", "--quick")
        assert answer.code == 0, answer.err
        assert "'sources', 'lifted', " in answer.err
        assert " of decompiling cannot serve llama yet: " in answer.err
        assert "neurons are gated" in answer.err
        assert {listed.part_form for listed in Project.open(made).listing().statements.values()} == {"raw"}
