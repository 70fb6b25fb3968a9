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
from cli_support import lean, limits, pellucid
from pellucid.project.project import Project
from pellucid.stages.about import run
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
        assert "lifting where heads look cannot serve " in answer.err
        assert "the stage '" not in answer.err
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


SMALL = {"llama": 8, "mistral": 11, "qwen2": 0, "qwen3": 0, "gemma2": 8, "gemma3_text": 8, "gpt_neox": 9}
"""A seed of each family whose model is small."""
FEW = {
    "fit_tokens": 2000,
    "tune_tokens": 1000,
    "linked_fit_tokens": 1000,
    "calibrated": 6,
    "lifted_tokens": 500,
    "about_tokens": 200,
    "link_contexts": 30,
    "link_trials": 3,
    "proof_tokens": 600,
    "joint_tokens": 200,
    "contexts": 12,
    "context_tokens": 200,
    "reference_tokens": 2000,
}


@pytest.mark.parametrize("subject", SMALL.items(), indirect=True, ids=SMALL)
def test_every_family_is_decompiled_as_far_as_that_goes(subject: Path, tmp_path: Path) -> None:
    """What keeps a piece of the work from being done is said, in the report too, and all the rest is there."""
    made = tmp_path / "made"
    with lean(tmp_path / "state") as patch:
        limits(patch, **FEW)
        patch.setattr(run, "WORK", 1e7)
        options = ("--quick", "--keep-weak", "--no-accounts", "--understand", 5)
        answer = pellucid("decompile", subject, "-o", made, "--corpus", tmp_path / "ids.txt", *options)
        assert answer.code == 0, answer.err
        project = Project.open(made)
        decoder, said = project.subject.decoder, project.report().get("hindered", [])
        assert "for all sources together" not in answer.err  # no training is announced that is not done
        assert all(sentence in answer.err for sentence in said)
        assert [
            any(what in sentence for sentence in said) for what in ("where heads look", "neurons read", "understan")
        ] == [
            not decoder.alone,
            bool(decoder.blocks[0].mlp.gate) or not decoder.blocks[0].attention.q.bias,
            True,
        ]
        forms = {str(a): found.part_form for a in decoder.addresses.addresses() if (found := project.listing()[a])}
        assert all(forms[address] == "source" for address in forms if address.endswith((".QK", ".IN")))
        assert {about.partition(".")[2][0] for about in project.listing().abouts} == {"H", "N"}
        assert {kind for kind in ("effect", "isolated", "swapped_in") if project.evidence.find(kind=kind)} == {
            *("effect", "isolated", "swapped_in")
        }
        ids = torch.randint(project.model.n_vocab, (2, 9))
        wanted = project.program("code").logits(ids.numpy())
        assert np.isfinite(wanted).all()
        running = Running(project.model, project.program("code"))
        assert np.abs(running.model.logits(ids).numpy() - wanted).max() <= 1e-4 * np.abs(wanted).max()
