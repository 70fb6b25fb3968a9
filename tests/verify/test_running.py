"""The engine runs a program as the program runs itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cli_support import Workshop, own_work, pellucid
from pellucid import ablate, direct_effects, logit_difference, open_subject, patch, sweep, trace
from pellucid.base.errors import ProjectError
from pellucid.engine.subjects import model_of
from pellucid.exact.model import Model
from pellucid.project.project import Project
from pellucid.study.attribute import messages
from pellucid.study.circuits import circuit_final
from pellucid.study.wiring import Wiring
from pellucid.verify.running import Running, running

IDS = torch.randint(1, 11, (3, 9), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("source_only", [None, "code"])
def test_logits_are_the_programs(workshop: Workshop, source_only: str | None) -> None:
    workshop.source("L00.H01.QK", "return 6 * (key.position == query.position - 1)")
    project = Project.open(workshop.made)
    program = project.program(source_only)  # type: ignore[arg-type]
    found = running(project.model, program)
    assert isinstance(found, Running if source_only else Model)
    wanted = torch.from_numpy(program.logits(IDS.numpy()))
    torch.testing.assert_close(trace(found, IDS).logits, wanted, rtol=1e-4, atol=1e-4)
    if source_only:
        assert not torch.allclose(wanted, project.model.logits(IDS), atol=1e-2)
        pattern = trace(found, IDS, ["L00.pattern"])["L00.pattern"][:, 1]
        assert bool((pattern.diagonal(-1, 1, 2)[:, 1:] > 0.9).all())
        changed = trace(found, IDS, changes=[ablate("L01.H00.OV")]).logits
        assert not torch.allclose(changed, wanted, atol=1e-3)
        swept = sweep(found, IDS, IDS.roll(1, 1), logit_difference(project.model, 3, 5), "z")
        assert bool(swept.values.isfinite().all())


def test_programs_read_texts_of_different_lengths_as_each_alone(workshop: Workshop) -> None:
    workshop.source("L00.H01.QK", "return 6 * (key.position == query.position - 1)")
    project = Project.open(workshop.made)
    found = running(project.model, project.program("code"))
    texts = ["w3 w1 w4", "w5 w9 w2 w6 w5 w3", "w8"]
    together = trace(found, texts, ["L00.scores"])
    for row, text in enumerate(texts):
        alone = trace(found, text, ["L00.scores"])
        length = alone.ids.shape[1]
        torch.testing.assert_close(together.logits[row, -length:], alone.logits[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(together["L00.scores"][row, :, -length:, -length:], alone["L00.scores"][0])


def test_run_draws_and_stops_as_the_model_does(workshop: Workshop) -> None:
    project = Project.open(workshop.made)
    options = {"temperature": 1.5, "top_p": 0.9, "seed": 3}
    drawn = project.generate("w1 w2", 6, **options)  # type: ignore[arg-type]
    assert drawn.split() == project.model.generate("w1 w2", 6, **options).split()  # type: ignore[arg-type]
    flags = ["--tokens", "6", "--temperature", "1.5", "--top-p", "0.9", "--seed", "3"]
    assert pellucid("run", workshop.made, "w1 w2", *flags, "--json").json["continuation"] == drawn
    last = drawn.split()[-1]
    assert pellucid("run", workshop.made, "w1 w2", *flags, "--stop", last).out == f"w1 w2{drawn[: drawn.index(last)]}\n"
    assert "the temperature is -1.0" in pellucid("run", workshop.made, "w1", "--temperature", "-1").complaint()
    assert "top_p is 2.0" in pellucid("run", workshop.made, "w1", "--top-p", "2").complaint()


def test_a_directory_or_a_subject_opens(workshop: Workshop) -> None:
    assert isinstance(open_subject(str(workshop.subject)), Model)
    assert isinstance(open_subject(str(workshop.made)), Model)
    with pytest.raises(ProjectError, match="is no directory of a program"):
        open_subject(str(workshop.subject), source_only=True)


def test_why_speaks_of_subjects_and_programs(workshop: Workshop, tmp_path: Path) -> None:
    workshop.source("L00.H01.QK", "return 6 * (key.position == query.position - 1)")
    plain = pellucid("why", workshop.subject, "w1 w2 w3", "--top", "4")
    assert plain.code == 0
    assert len(plain.out.splitlines()) == 6
    found = pellucid("why", workshop.made, "w1 w2 w3", "--source-only", "--json", "--html", tmp_path / "w.html")
    assert found.json["prompt"] == "w1 w2 w3"
    assert (tmp_path / "w.html").read_text().startswith("<!doctype html>")
    assert "'w1 w2' is 2 tokens" in pellucid("why", workshop.subject, "w3", "--instead", "w1 w2").complaint()
    complaint = pellucid("why", workshop.subject, "w3", "--source-only").complaint()
    assert "is no directory of a program" in complaint


def _write(workshop: Workshop, address: str, arguments: str, value: str) -> None:
    """Write a source for any address by hand."""
    layer = f"layer_{address[1:3]}.py" if address.startswith("L") else "embedding.py"
    page = workshop.made / "program" / layer
    name = address.replace(".", "_").lower()
    function = f'@source("{address}")\ndef {name}({arguments}):\n    """By hand."""\n    return {value}\n'
    text = page.read_text().replace("import raw\n", "import raw, source\n")
    raw = f'raw("{address}")\n'
    with own_work(workshop.made):
        page.write_text(text.replace(raw, function) if raw in text else f"{text}\n\n{function}")


@pytest.mark.parametrize("source_only", [None, "code", "all"])
def test_sources_of_every_kind_run_as_in_the_program(workshop: Workshop, source_only: str | None) -> None:
    along = "* [1, -1, 2, 0, 0.5, 0, -2, 1]"
    moves = f"(pattern * (key.token == 4)).sum(-1)[..., None] {along}"
    _write(workshop, "L00.H01.QK", "query, key", "6 * (key.position == query.position - 1)")
    _write(workshop, "L00.H00.OV", "key, pattern", moves)
    _write(workshop, "L01.H01.OV", "key, pattern", moves)
    _write(workshop, "L01.N0003.IN", "here", "0.1 * here.position + (here.token == 8)")
    _write(workshop, "L01.N0003.OUT", "here, fires", f"0.3 * (fires + here.position)[..., None] {along}")
    _write(workshop, "EMB.POS", "here", f"0.05 * (here.position % 3)[..., None] {along}")
    project = Project.open(workshop.made)
    program = project.program(source_only)  # type: ignore[arg-type]
    found = running(project.model, program)
    wanted = torch.from_numpy(program.logits(IDS.numpy()))
    largest = float(wanted.abs().max())
    for dtype in (torch.float32, torch.float64):
        one = running(Model(project.model.subject, dtype), program)
        torch.testing.assert_close(trace(one, IDS).logits.float(), wanted, rtol=0, atol=1e-4 * largest)
    model = model_of(found)
    first, cache = model.extend(IDS[:, :4].numpy())
    second, _ = model.extend(IDS[:, 4:].numpy(), cache)
    both = torch.from_numpy(np.concatenate([first, second], 1))
    torch.testing.assert_close(both, wanted, rtol=0, atol=1e-4 * largest)
    effects = direct_effects(found, IDS, 3, 5)
    exact = trace(found, IDS).logits[:, -1]
    torch.testing.assert_close(effects.total, exact[:, 3] - exact[:, 5], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(sum(effects.parts.values()), effects.total, rtol=1e-3, atol=1e-4)  # type: ignore[arg-type]
    metric, other = logit_difference(model, 3, 5), IDS.roll(1, 0)
    heads, neurons_swept = (sweep(found, IDS, other, metric, kind) for kind in ("z", "neuron"))
    assert bool(heads.values.isfinite().all())
    if source_only == "all":
        assert float((heads.values[1, 1] - heads.base).abs().max()) > 1e-6, "a head that writes by its source counts"
        assert float((neurons_swept.values[1, 3] - neurons_swept.base).abs().max()) > 1e-6
        silenced = trace(found, IDS, changes=[ablate("L01.H01.OV")]).logits
        assert not torch.allclose(silenced, wanted, atol=1e-5)
        everything = Wiring.of(model.decoder).real
        said, streams = messages(found, other), {}
        with torch.no_grad():
            names = [f"L{layer:02d}.{name}" for layer in (0, 1) for name in ("resid_pre", "resid_mid", "resid_post")]
            streams = model.run(other, tuple(names))
            streams["end"] = streams[names[-1]]
            final = circuit_final(found, IDS, said, streams, everything)
            torch.testing.assert_close(final, model.run(IDS, ("final",))["final"], rtol=1e-3, atol=1e-4)


def test_embeddings_at_their_means_run(workshop: Workshop) -> None:
    embedding = workshop.made / "program" / "embedding.py"
    text = embedding.read_text().replace("import raw", "import mean, raw")
    with own_work(workshop.made):
        embedding.write_text(text.replace('raw("EMB.POS")\n', 'mean("EMB.POS")\n'))
    entry = '[[part]]\naddresses = ["EMB.POS"]\nform = "lifted"\nresidual = "dropped"\n'
    (workshop.made / "parts.toml").write_text(entry)
    project = Project.open(workshop.made)
    program = project.program()
    found = running(project.model, program)
    assert isinstance(found, Model)
    wanted = torch.from_numpy(program.logits(IDS.numpy()))
    assert not torch.allclose(wanted, project.model.logits(IDS), atol=1e-2)
    torch.testing.assert_close(trace(found, IDS).logits, wanted, rtol=1e-4, atol=1e-4)
    base, other = IDS[:1], IDS[1:2]
    metric = logit_difference(found, 3, 5)
    swept = sweep(found, base, other, metric, "resid_pre", layers=[0])
    (last,) = swept.values[0, 0, -1].tolist()
    changed = trace(found, base, changes=[patch("L00.resid_pre", trace(found, other, ["L00.resid_pre"]), positions=-1)])
    assert last == pytest.approx(float(changed.logits[0, -1, 3] - changed.logits[0, -1, 5]), abs=1e-4)
