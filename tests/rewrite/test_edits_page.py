"""The page of edits: data stays data, and statements come and go without touching others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cli_support import Workshop, own_work, pellucid
from pellucid.base.errors import PellucidError, SourceError
from pellucid.listing.edits import parse_edits, without
from pellucid.project.project import Project
from pellucid.rewrite.predict import predict, strengths
from pellucid.rewrite.source import Speech, function, helpers_of, page
from pellucid.rewrite.workbench import PaddedRows, Workbench
from pellucid.verify.running import Running

NASTY = ['"""', "\\", "'", "\n", "# x", "{0}", "\x00", "<b>", '"), raw("', "\u202e", "import os"]
IDS = torch.randint(1, 11, (3, 12), generator=torch.Generator().manual_seed(1))


def speech(**changes: object) -> Speech:
    fields: dict[str, object] = {
        "address": "L00.H01.OV", "says": ("w3",), "over": ("w5",), "asks": (((0, "w2"),), ((0, "w4"), (1, "w1"))),
        "of": (((0, "w7"),),), "strength": 2.0,
    }  # fmt: skip
    return Speech(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", NASTY)
def test_any_text_stays_data(text: str) -> None:
    helpers: dict[str, str] = {}
    nasty = speech(says=(f" {text}",), over=(text,), asks=(((0, text), (1, f"a{text}")),), of=(((0, text),),))
    written = page(None, helpers, [function(nasty, 1, "edit_0001", f"Says {text!r}: {text}\nWhy: {text}", helpers)])
    found = parse_edits(Path("edits.py"), page(None, helpers, [function(nasty, 1, "edit_0001", f"{text}", helpers)]))
    (edited,) = found.of(1)
    assert (edited.says, edited.over) == ((f" {text}",), (text,))
    assert parse_edits(Path("edits.py"), written).of(1)[0].docstring


def test_statements_come_and_go() -> None:
    helpers: dict[str, str] = {}
    one = page(None, helpers, [function(speech(), 1, "edit_0001", "One.", helpers)])
    held = parse_edits(Path("edits.py"), one)
    helpers = helpers_of(held)
    other = speech(asks=(((0, "w9"),),), address="L01.H00.OV")
    two = page(held, helpers, [function(other, 2, "edit_0002", "Two.", helpers)])
    found = parse_edits(Path("edits.py"), two)
    assert [s.number for s in found.statements if s.kind == "edit"] == [1, 2]
    assert sum(s.name == "is_w7" for s in found.statements) == 1  # a helper that is there is used again
    left = parse_edits(Path("edits.py"), without(found, 2))
    assert [s.text for s in left.statements] == [s.text for s in held.statements]
    assert without(found, 1).count("def asks_w9") == 1


FOREIGN = [
    "import os\n",
    '@source("L00.H00.QK")\ndef f(query):\n    return 1\n',
    '@edit("L00.H00.OV", 0)\ndef f():\n    return 1\n',
    '@edit("L00.H00.OV", 1, says=("a",))\ndef f(query, x=1):\n    return 1\n',
    "print(1)\n",
    "def f(:\n",
]


@pytest.mark.parametrize("text", FOREIGN)
def test_what_is_no_edit_is_refused(text: str) -> None:
    with pytest.raises(SourceError, match=r"edits\.py"):
        parse_edits(Path("edits.py"), text)


def written(workshop: Workshop, *speeches: Speech) -> Workbench:
    helpers: dict[str, str] = {}
    functions = [function(s, n, f"edit_{n}", "Tried.", helpers) for n, s in enumerate(speeches, 1)]
    with own_work(workshop.made):
        (workshop.made / "program" / "edits.py").write_text(page(None, helpers, functions))
    return Workbench(Project.open(workshop.made))


INSERTED = {"address": "L01.E01", "of": ()}
BIAS = {"address": "L01.MLP.B", "asks": (), "of": ()}
NEURON = {"address": "L00.N0003.OUT", "of": ()}


@pytest.mark.parametrize("changes", [{}, INSERTED, BIAS, NEURON, {"address": "L01.E01"}])
def test_program_cache_and_engine_agree(workshop: Workshop, changes: dict[str, object]) -> None:
    bench = written(workshop, speech(**changes))
    plain = Project.open(workshop.made).model
    logits = bench.measured(IDS)
    assert not torch.allclose(logits, plain.logits(IDS), atol=1e-2)
    found = bench.run(IDS, ("logits",))["logits"]
    torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-4)
    first, cache = bench.program.extend(IDS[:, :5].numpy())
    second, _ = bench.program.extend(IDS[:, 5:].numpy(), cache)
    np.testing.assert_allclose(np.concatenate([first, second], 1), logits.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("changes", [{}, INSERTED, NEURON, {"address": "L01.H00.OV"}])
def test_small_changes_are_predicted_exactly(workshop: Workshop, changes: dict[str, object]) -> None:
    bench = Workbench(Project.open(workshop.made))
    before = bench.measured(IDS)
    helpers: dict[str, str] = {}
    text = page(None, helpers, [function(speech(strength=1e-3, **changes), 1, "edit_1", "Tried.", helpers)])
    (edit,) = bench.program.tried(text)
    assert bool(strengths(bench.program, edit, IDS).any())
    told = predict(bench, [edit], PaddedRows(IDS, torch.full((3,), 12), ("",) * 3))
    with own_work(workshop.made):
        (workshop.made / "program" / "edits.py").write_text(text)
    bench.program.edited()
    moved = bench.measured(IDS) - before
    assert moved.abs().max() > 1e-5
    both = torch.stack([told.change.flatten(), moved.flatten()]).double()
    # attention patterns stay as they are along linear paths: behind the last attention that is exact
    assert float(torch.corrcoef(both)[0, 1]) > (0.97 if changes.get("address", "L00")[:3] == "L00" else 0.999)


def test_a_broken_page_is_named_and_nothing_stays_behind(workshop: Workshop) -> None:
    bench = Workbench(Project.open(workshop.made))
    before = bench.measured(IDS)
    helpers: dict[str, str] = {}
    text = page(None, helpers, [function(speech(address="L07.H00.OV"), 1, "edit_1", "Tried.", helpers)])
    with own_work(workshop.made):
        (workshop.made / "program" / "edits.py").write_text(text)
    with pytest.raises(PellucidError, match="has no such part"):
        bench.program.edited()
    assert torch.equal(bench.measured(IDS), before)
    assert "no such part" in pellucid("run", workshop.made, "w1").complaint()


def test_running_tells_of_edits(workshop: Workshop) -> None:
    bench = written(workshop, speech())
    assert isinstance(bench.subject, Running)
    assert bench.subject.edited
