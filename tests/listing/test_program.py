"""An all-raw program is its subject: with a cache or without, and with NumPy alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from emitted import Project, some_ids

import checkpoints
from pellucid.exact.model import Model
from pellucid.listing.emit import emit
from pellucid.listing.load import load_program
from pellucid.subject.load import load_subject

BLOCKED = "torch", "tokenizers", "transformers", "safetensors", "pellucid", "regex", "tomlkit", "jaxtyping"
ALONE = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocker())
import runpy
sys.argv[0] = "program"
runpy.run_module("program", run_name="__main__")
"""


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m program ARGUMENTS` where only NumPy and the standard library can be imported."""
    command = [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, '.')\n{ALONE}", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("seed", range(12))
def test_logits_are_those_of_the_subject(tmp_path: Path, seed: int) -> None:
    model, ids = checkpoints.random_model(seed, **checkpoints.random_switches(seed))
    emit(model.subject, tmp_path)
    wanted = model.logits(ids).numpy()
    got = load_program(tmp_path).logits(ids.numpy())
    assert np.abs(got - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("neurons", [1, 2])
def test_models_of_one_or_two_neurons(tmp_path: Path, neurons: int) -> None:
    """`LN1` and `LN2` are norms, and no neurons 1 and 2 that such a model does not have."""
    model, ids = checkpoints.random_model(3, n_inner=neurons, n_layer=3)
    emit(model.subject, tmp_path)
    wanted = model.logits(ids).numpy()
    assert np.abs(load_program(tmp_path).logits(ids.numpy()) - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_agrees_on_real_text(novelist: Path, shared: Path, tmp_path: Path) -> None:
    subject = load_subject(novelist)
    emit(subject, tmp_path)
    text = (shared / "text" / "domains" / "novels.txt").read_text(encoding="utf-8")[:120_000]
    tokens = subject.tokenizer.encode(text)
    ids = np.array(tokens[: 80 * 256]).reshape(80, 256)
    program, model = load_program(tmp_path), Model(subject)
    differing: list[float] = []
    for start in range(0, len(ids), 16):
        rows = ids[start : start + 16]
        got, wanted = program.logits(rows), model.extend(rows)[0]
        assert np.abs(got - wanted).max() <= 1e-5 * np.abs(wanted).max()
        best = np.sort(wanted[got.argmax(-1) != wanted.argmax(-1)], -1)
        differing += (best[:, -1] - best[:, -2]).tolist()
    assert ids.size >= 20_000
    assert all(margin <= 1e-3 for margin in differing), f"argmax differs at margins {differing}"


@pytest.mark.parametrize("pieces", [[1] * 12, [5, 7], [3, 1, 8], [11, 1]])
def test_cached_equals_uncached(project: Project, pieces: list[int]) -> None:
    program = project.load()
    ids = some_ids(11, 3, 12)
    wanted = program.logits(ids)
    cache, got, start = None, [], 0
    for length in pieces:
        logits, cache = program.extend(ids[:, start : start + length], cache)
        got.append(logits)
        start += length
        assert cache.length == start
    np.testing.assert_allclose(np.concatenate(got, 1), wanted, atol=1e-5)


def test_an_extended_cache_stays_valid(project: Project) -> None:
    program = project.load()
    ids = some_ids(11, 2, 6)
    _, cache = program.extend(ids[:, :4])
    first, longer = program.extend(ids[:, 4:], cache)
    program.extend((ids[:, 4:] + 1) % 11, cache)
    again, _ = program.extend(ids[:, 4:], cache)
    np.testing.assert_array_equal(first, again)
    rows, shorter = np.array([1, 1, 0]), longer.take(np.array([1, 1, 0]), 4)
    taken, _ = program.extend(ids[rows][:, 4:], shorter)
    np.testing.assert_allclose(taken, first[rows], atol=1e-6)
    assert (shorter.length, longer.length, cache.length) == (4, 6, 4)


def test_last_only_gives_the_last_logits(project: Project) -> None:
    program = project.load()
    ids = some_ids(11, 3, 9)
    np.testing.assert_allclose(program.extend(ids, last_only=True)[0], program.logits(ids)[:, -1:], atol=1e-6)


def test_many_rows_are_computed_in_chunks(project: Project) -> None:
    program = project.load()
    ids = some_ids(11, 150, 16)
    np.testing.assert_allclose(program.logits(ids)[70:75], program.logits(ids[70:75]), atol=1e-6)


def test_runs_with_numpy_alone(project: Project) -> None:
    model = project.exact()
    done = run(project.directory, "w1 w2 w3", "--tokens", "5", "--top", "2")
    assert (done.returncode, done.stderr) == (0, "")
    *table, text = done.stdout.splitlines()
    assert text == f"w1 w2 w3 {model.generate('w1 w2 w3', 5)}".strip()
    assert len(table) == 2
    assert "%" in table[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([" "], "the prompt is empty"),
        (["w1 " * 17], "the prompt has 17 tokens, the model reads 16"),
        (["w1 nowhere"], "'nowhere' is not one token"),
        (["w1", "--source-only"], "has no mean.L00.IN"),
    ],
)
def test_bad_input_is_one_clear_line(project: Project, arguments: list[str], said: str) -> None:
    done = run(project.directory, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_missing_weights_say_how_to_make_them_again(project: Project) -> None:
    (project.directory / "weights.safetensors").unlink()
    done = run(project.directory, "w1")
    assert done.returncode == 2
    assert "weights.safetensors is missing; re-create it with: pellucid decompile random -o" in done.stderr


def test_truncated_weights_are_named(project: Project) -> None:
    path = project.directory / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "is not a float32 safetensors file" in run(project.directory, "w1").stderr
    path.write_bytes(b"\xff\xff")
    assert "is truncated" in run(project.directory, "w1").stderr
