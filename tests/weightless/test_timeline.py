"""Checkpoints of a training run, in order, with their progress measures."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from models import majority
from typer.testing import CliRunner

from pellucid.base.errors import SubjectError
from pellucid.cli import app
from pellucid.weightless.clock import Sums
from pellucid.weightless.fourier import Waves, cross_entropy
from pellucid.weightless.hooked import Hooked, load_hooked
from pellucid.weightless.progress_measures import TaskRows, progress, within
from pellucid.weightless.timeline import checkpoints, timeline

ROOT = Path(__file__).resolve().parents[2]
P = 11
PAIRS = np.array([(a, b, P) for a in range(P) for b in range(P)])
MADE = Waves(P, ((2, 1.0), (5, 0.7)))


@pytest.fixture(scope="module")
def grokking() -> ModuleType:
    spec = importlib.util.spec_from_file_location("grokking", ROOT / "training" / "grokking.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["grokking"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def trained(grokking: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run: five checkpoints."""
    out = tmp_path_factory.mktemp("grokking") / "run"
    grokking.train(grokking.Recipe(p=P, width=16, heads=2, neurons=24, steps=60, share=0.6), out, 5)
    return out


def test_training_computes_what_the_checkpoint_computes(grokking: ModuleType, trained: Path) -> None:
    last = sorted(trained.glob("step-*"))[-1]
    model = load_hooked(last)
    ids = torch.from_numpy(PAIRS)
    own = grokking.forward(model.weights, ids[:, :2])
    torch.testing.assert_close(model.run(ids)["logits"][:, -1, :P], own, atol=1e-5, rtol=1e-4)


def test_a_run_goes_on_where_it_was_killed(grokking: ModuleType, trained: Path, tmp_path: Path) -> None:
    recipe = grokking.Recipe(p=P, width=16, heads=2, neurons=24, steps=60, share=0.6)
    straight = load_hooked(sorted(trained.glob("step-*"))[-1]).weights
    weights = grokking.initial(recipe)
    torch.testing.assert_close(grokking.initial(recipe), weights)
    state = torch.load(trained / "state.pt", weights_only=True)
    (tmp_path / "again").mkdir()
    torch.save(state, tmp_path / "again" / "state.pt")
    torch.testing.assert_close(
        {name: value.detach() for name, value in grokking.train(recipe, tmp_path / "again", 5).items()}, dict(straight)
    )
    with pytest.raises(SystemExit, match="another run"):
        grokking.train(grokking.Recipe(p=7), tmp_path / "again", 5)


def test_checkpoints_are_put_in_the_order_of_their_steps(trained: Path) -> None:
    folders = sorted(trained.glob("step-*"))
    assert [path for _, path in checkpoints(folders[::-1])] == folders == [path for _, path in checkpoints([trained])]
    with pytest.raises(SubjectError, match=r"no checkpoint.*task\.json"):
        checkpoints([trained.parent / "nothing"])


def test_restricted_and_excluded_loss_tell_a_rotation_from_a_memory() -> None:
    total = PAIRS[:, :2].sum(1) % P
    rotation = 10 * MADE.logits(MADE.angles(total))
    memory = 10 * np.eye(P)[total]
    model = Hooked({"embed.W_E": torch.randn(P + 1, 8, generator=torch.Generator().manual_seed(0))})
    bands = tuple("train" if at % 3 else "test" for at in range(len(PAIRS)))
    mine = np.array([band == "train" for band in bands])
    found = [
        progress(model, TaskRows(Sums(PAIRS, logits, np.zeros((len(PAIRS), 1))), bands, mine), MADE)
        for logits in (rotation, memory)
    ]
    assert found[0].frequencies == (2, 5)
    assert found[0].restricted == pytest.approx(cross_entropy(rotation, total), abs=1e-6)
    assert found[0].excluded == pytest.approx(np.log(P), abs=1e-6)
    assert found[1].excluded < 0.5
    added = within(memory + rotation, total, MADE) - within(memory, total, MADE)
    np.testing.assert_allclose(added, rotation, atol=1e-9)


def test_the_timeline_is_drawn_and_written(trained: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["timeline", str(trained), "-o", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    data = json.loads((tmp_path / "timeline.json").read_text())
    assert data == json.loads(done.stdout)
    steps = [moment["step"] for moment in data["moments"]]
    assert steps == sorted(steps)
    assert steps[-1] == 60
    assert set(data["moments"][0]["loss"]) == {"train", "test"}
    assert data["moments"][-1]["loss"]["train"] < data["moments"][0]["loss"]["train"]
    assert (tmp_path / "timeline.png").stat().st_size > 10_000


def test_other_models_have_losses_a_match_and_a_program(tmp_path: Path) -> None:
    majority(tmp_path / "step-7")
    shutil.copytree(tmp_path / "step-7", tmp_path / "step-9")
    found = timeline([tmp_path], seconds=1.0, at_once=2)
    moment, later = found.moments
    assert (later.step, later.loss, later.match) == (9, moment.loss, moment.match)
    assert moment.step == 7
    assert moment.progress is None
    assert moment.match["all"] is not None
    assert moment.figures.numbers > 0
    assert found.waves is None
