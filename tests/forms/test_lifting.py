"""Lifting finds the best directions, knows what they cost, and leaves alone what people wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import checkpoints
import pellucid
from cli_support import Workshop, copied, lean, text_file
from pellucid.base.address import Address
from pellucid.base.effort import Effort
from pellucid.base.errors import ProjectError, SourceError
from pellucid.exact.model import Model
from pellucid.family.allowance import most_rank
from pellucid.forms.effect import calibrate, compare, estimate, exact
from pellucid.forms.form import StoredForm
from pellucid.forms.forms import Fires
from pellucid.forms.isolated import kept
from pellucid.forms.lifting import Costs, Vectors, costs, fit_vectors
from pellucid.forms.stored import Lifted, Still
from pellucid.forms.twin import Twin
from pellucid.measure.record import record
from pellucid.pipeline import find, link, routes
from pellucid.pipeline.request import Request, begin
from pellucid.pipeline.stage import StageRun
from pellucid.project.inventory import inventory
from pellucid.project.progress import residual_free
from pellucid.project.project import Project
from pellucid.stages.first.sources import FirstSources
from pellucid.stages.lift import means
from pellucid.stages.lift.lifted import LiftedParts, choose, dump_lifted, find_lifted, liftable, load_lifted, lowest
from pellucid.stages.link.linking import PROMISED, units
from pellucid.subject.load import load_subject
from pellucid.verify.examine import examine


@dataclass(frozen=True)
class Fitted:
    """A random model of four heads of 8 coordinates in each of two layers, and the vectors fitted on its rows."""

    model: Model
    rows: Tensor
    vectors: Vectors


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    model, _ = checkpoints.random_model(2, n_head=4, n_embd=32)
    rows = torch.randint(model.n_vocab, (48, 16), generator=torch.Generator().manual_seed(0))
    return Fitted(model, rows, fit_vectors(model, means.averages(model, rows), rows))


def moments(fitted: Fitted, head: int) -> tuple[Tensor, Tensor]:
    """Covariance of what a head of layer 1 mixes, and the second moment of the gradient there."""
    (batch,) = record(fitted.model, fitted.rows, ["L01.z"], gradients=["L01.z"])
    z, g = (x["L01.z"][:, :, head].flatten(0, 1).double() for x in (batch.values, batch.gradients[0]))
    z = z - z.mean(0)
    return z.T @ z / len(z), g.T @ g / len(g)


def cost(project: Tensor, spread: Tensor, slopes: Tensor) -> float:
    """½ E[δᵀGδ] for δ = (z − mean)(P − 1), z and gradient taken as independent."""
    left = project - torch.eye(len(project), dtype=project.dtype)
    return float(torch.trace(spread @ left @ slopes @ left.T)) / 2


def test_no_other_map_of_the_same_rank_costs_less(fitted: Fitted) -> None:
    spread, slopes = moments(fitted, 3)
    axes = torch.linalg.eigh(spread).eigenvectors.flip(1)
    generator = torch.Generator().manual_seed(0)
    for rank in range(1, most_rank(fitted.model.decoder) + 1):
        form = fitted.vectors.head(Address("OV", 1, 3), rank)
        ours = form.read.double() @ form.write.double()
        assert torch.linalg.matrix_rank(ours) == rank
        best = cost(ours, spread, slopes)
        largest = cost(axes[:, :rank] @ axes[:, :rank].T, spread, slopes)
        assert best < largest < cost(torch.zeros_like(ours), spread, slopes)
        for _ in range(20):
            read = form.read.double() + 0.1 * torch.randn(8, rank, generator=generator, dtype=torch.float64)
            write = form.write.double() + 0.1 * torch.randn(rank, 8, generator=generator, dtype=torch.float64)
            assert best < cost(read @ write, spread, slopes)


def test_costs_of_all_ranks_are_the_estimates_of_their_forms(fitted: Fitted) -> None:
    found = costs(fitted.model, fitted.vectors, fitted.rows, seed=3)
    most = most_rank(fitted.model.decoder)
    assert most == 3
    assert found.heads[0].shape == (4, most + 1)
    heads = [Address("OV", layer, head) for layer in range(2) for head in range(4)]
    variants = [[fitted.vectors.head(address, rank) for address in heads] for rank in range(most + 1)]
    neurons = [fitted.vectors.neuron(Address("OUT", 1, n)) for n in range(5)]
    *ranks, means_of = estimate(fitted.model, fitted.rows, *variants, neurons, seed=3)
    for rank, estimates in enumerate(ranks):
        for address, value in estimates.items():
            assert float(found.heads[address.layer][address.index, rank]) == pytest.approx(value, rel=1e-4)
    for address, value in means_of.items():
        assert float(found.neurons[1][address.index]) == pytest.approx(value, rel=1e-4)


def test_estimates_of_lifted_parts_agree_with_exact_ones(fitted: Fitted) -> None:
    heads = [Address("OV", layer, head) for layer in range(2) for head in range(4)]
    forms: list[StoredForm] = [fitted.vectors.head(address, 2) for address in heads]
    forms += [fitted.vectors.neuron(Address("OUT", layer, n)) for layer in range(2) for n in range(0, 128, 6)]
    result = calibrate(fitted.model, fitted.rows, forms, count=len(forms), draws=60)
    assert result.n == len(forms)
    assert result.pearson > 0.95


def test_an_exact_cost_is_that_of_the_whole_model_with_the_part_replaced(fitted: Fitted) -> None:
    clean = fitted.model.logits(fitted.rows).double().log_softmax(-1)
    for form in (fitted.vectors.head(Address("OV", 0, 1), 1), fitted.vectors.neuron(Address("OUT", 1, 7))):
        other = Twin(fitted.model, [form]).logits(fitted.rows).double().log_softmax(-1)
        wanted = float((clean.exp() * (clean - other)).sum(-1).mean())
        assert exact(fitted.model, fitted.rows, [form])[form.address] == pytest.approx(wanted, rel=1e-4)


# --- choosing ---------------------------------------------------------------------------------------------------------


def narrowed(model: Model, head: int, rank: int) -> Model:
    """`model` with a head of layer 0 that carries values of a low rank, and a second one that carries none."""
    weights = {name: tensor.clone() for name, tensor in model.weights.items()}
    joint, width, size = weights["h.0.attn.c_attn.weight"], model.decoder.sizes.model, model.decoder.sizes.dim
    values = slice(2 * width + head * size, 2 * width + (head + 1) * size)
    left, sizes, right = torch.linalg.svd(joint[:, values], full_matrices=False)
    joint[:, values] = left[:, :rank] * sizes[:rank] @ right[:rank]
    joint[:, 2 * width : 2 * width + size] = 0
    return Model(replace(model.subject, weights=weights))


def test_a_head_gets_the_rank_that_it_has(fitted: Fitted) -> None:
    model = narrowed(fitted.model, 2, 2)
    vectors = fit_vectors(model, means.averages(model, fitted.rows), fitted.rows)
    found = choose(costs(model, vectors, fitted.rows), vectors, 1e-5)
    assert found.forms[Address("OV", 0, 2)].rank == 2
    assert found.losses[Address("OV", 0, 2)] < 1e-8 < found.effects[Address("OV", 0, 2)]
    constant = found.forms[Address("OV", 0, 0)]
    assert isinstance(constant, Lifted)
    assert constant.rank == 0
    assert torch.isfinite(torch.cat([constant.mean, vectors.bases[0].read[0].flatten()])).all()
    assert kept(model, [vectors.head(Address("OV", 0, 2), 2)], fitted.rows)[Address("OV", 0, 2)] > 1 - 1e-6
    assert Address("OV", 0, 1) not in found.forms


def test_the_lowest_rank_that_is_cheap_enough() -> None:
    assert lowest([5.0, 2.0, 1.0, 0.5], 2.0) == 1
    assert lowest([5.0, 2.0, 3.0], 0.1) == 1


def test_neurons_are_offered_by_what_their_mean_costs(fitted: Fitted) -> None:
    none = torch.ones(0, 1, dtype=torch.float64)
    neurons = torch.full((128,), 1e-3, dtype=torch.float64)
    neurons[7] = 1e-9
    found = choose(Costs((none, none), (neurons, neurons), (), ()), fitted.vectors, 1e-5)
    assert list(found.forms) == [Address("OUT", 0, 7), Address("OUT", 1, 7)]
    assert len(found.effects) == 256


def test_candidates_survive_a_break(fitted: Fitted) -> None:
    found = choose(costs(fitted.model, fitted.vectors, fitted.rows), fitted.vectors, 1.0)
    again = load_lifted(dump_lifted(found), fitted.vectors)
    assert (again.effects, again.losses) == (found.effects, found.losses)
    assert {a: form.rank for a, form in again.forms.items()} == {a: form.rank for a, form in found.forms.items()}
    head = Address("OV", 1, 1)
    one, other = (parts.forms[head] for parts in (found, again))
    assert isinstance(one, Lifted)
    assert isinstance(other, Lifted)
    assert torch.equal(one.read @ one.write, other.read @ other.write)


def test_a_constant_neuron_and_its_mean_write_are_one_unit() -> None:
    constant, other, alone = (Address("IN", 0, n) for n in (1, 2, 3))
    fires = [Fires(constant, 0.5), Fires(other, 0.5, (("token", (1,), 1.0),)), Fires(alone, 0.5)]
    sources = FirstSources(
        {form.address: form for form in fires}, dict.fromkeys([constant, other, alone], 1.0),
        {constant: 0.1, other: 0.2, alone: 0.3}, compare([]),
    )  # fmt: skip
    outs = [Address("OUT", 0, n) for n in (1, 2)]
    head = Address("OV", 0, 0)
    forms: dict[Address, StoredForm] = {out: Still(out, 0.1) for out in outs}
    forms[head] = Lifted(head, torch.zeros(2), torch.zeros(2, 1), torch.zeros(1, 2))
    lifted = LiftedParts(forms, {}, {outs[0]: 0.15, outs[1]: 0.25, head: 0.4})
    assert units(sources, lifted) == {
        (constant, outs[0]): 0.15,
        (other,): 0.2,
        (alone,): 0.3,
        (outs[1],): 0.25,
        (head,): 0.4,
    }
    costly = FirstSources(sources.forms, dict.fromkeys(sources.forms, 0.05), sources.losses, compare([]))
    assert set(units(costly, lifted)) == {(outs[0],), (outs[1],), (head,)}


# --- from subject to program ------------------------------------------------------------------------------------------


def narrow_subject(root: Path) -> Workshop:
    """A workshop whose subject has a head that moves along one direction, and neurons that hardly write."""
    workshop = Workshop(root)
    model = checkpoints.hugging_face(5, n_embd=16, n_positions=24)
    block = model.transformer.h[1]
    with torch.no_grad():
        values = block.attn.c_attn.weight[:, 32:40]
        values.copy_(torch.outer(values[:, 0], torch.ones(8)))
        block.mlp.c_proj.weight[10:30] *= 1e-5
    checkpoints.write(workshop.subject, model)
    text_file(workshop.text)
    return workshop


def begun(workshop: Workshop, directory: Path) -> Project:
    """A decompilation up to where it would be measured."""
    request = Request(
        subject=str(workshop.subject), directory=directory, corpus=(workshop.text,), effort=Effort.quick()
    )
    project = begin(request, load_subject(request.subject))
    route = routes.SEPARATE
    assert route.stages[-1] is routes.VERIFIED
    replace(route, stages=route.stages[:-1]).follow(StageRun(project, Effort.quick()))
    return project


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    root = tmp_path_factory.mktemp("narrow")
    with lean(root / "state"):
        workshop = narrow_subject(root)
        begun(workshop, workshop.made)
    return workshop


@pytest.fixture
def lifted_copy(narrow: Workshop, tmp_path: Path) -> Iterator[Workshop]:
    with lean(tmp_path / "state"):
        yield copied(narrow, tmp_path / "workshop")


HEAD = Address("OV", 1, 0)
SILENT = [Address("OUT", 1, n) for n in range(10, 30)]


def test_what_is_lifted_runs_without_residual_and_says_so(lifted_copy: Workshop) -> None:
    project = pellucid.open(lifted_copy.made)
    text = (lifted_copy.made / "program" / "layer_01.py").read_text()
    assert 'lifted("L01.H00.OV", rank=1)' in text
    listing, dropped = project.listing(), project.dropped()
    assert {listing.form(address) for address in [HEAD, *SILENT]} == {"lifted"}
    assert {HEAD, *SILENT} <= dropped
    assert all(address in dropped for address, s in listing.pages["layer_01.py"].explained() if s.form == "lifted")
    entries = {entry.address: entry for entry in inventory(project)}
    assert entries[HEAD].numbers == 3 * 16
    assert entries[HEAD].verdict in ("exact", "within")
    assert entries[HEAD].measured["isolated"]["variance_kept"].value == pytest.approx(1, abs=1e-6)
    assert entries[SILENT[0]].numbers == -(-16 // len(listing[SILENT[0]].neurons))
    assert entries[SILENT[0]].state.effect is not None
    parts = (lifted_copy.made / "parts.toml").read_text()
    line = listing[HEAD].line
    assert f'["L01.H00.OV"]\nform = "lifted"\nresidual = "dropped"\nlifted = "layer_01.py:{line}"' in parts
    free = residual_free([entry.state for entry in entries.values()], gate_passed=True)
    assert free["lifted"]["parameters"] > 0
    code = [entry.state for entry in entries.values() if entry.address.is_code]
    felt = sum(state.effect or 0 for state in code if (state.form, state.residual) == ("lifted", "dropped"))
    assert free["lifted"]["effect"] == pytest.approx(felt / sum(state.effect or 0 for state in code))
    assert free["data"]["effect"] > 0


def test_a_clone_without_weights_and_evidence_runs_the_same(lifted_copy: Workshop) -> None:
    ids = np.random.default_rng(0).integers(0, 11, (8, 24))
    before, text = pellucid.open(lifted_copy.made).program().logits(ids), program_text(lifted_copy)
    for name in ("weights.safetensors", "evidence.sqlite", "evidence.sqlite-wal", "evidence.sqlite-shm"):
        (lifted_copy.made / name).unlink(missing_ok=True)
    with pytest.raises(ProjectError, match="is missing; re-create it with: pellucid decompile"):
        pellucid.open(lifted_copy.made).program()
    project = begun(lifted_copy, lifted_copy.made)
    np.testing.assert_array_equal(project.program().logits(ids), before)
    assert program_text(lifted_copy) == text


def program_text(workshop: Workshop) -> dict[str, bytes]:
    return {name: text for name, text in workshop.files().items() if name.startswith("program/layer")}


def test_a_person_may_choose_another_rank_or_none(lifted_copy: Workshop) -> None:
    lifted_copy.edit("program/layer_01.py", 'lifted("L01.H00.OV", rank=1)', 'lifted("L01.H00.OV", rank=3)')
    lifted_copy.edit("program/layer_00.py", 'raw("L00.H01.OV")', 'mean("L00.H01.OV")')
    lifted_copy.edit("program/layer_00.py", "from .prelude import ", "from .prelude import mean, ")
    project = begun(lifted_copy, lifted_copy.made)
    listing = project.listing()
    assert listing[HEAD].rank == 3
    assert listing[Address("OV", 0, 1)].form == "mean"
    extras = means.fit_extras(project, Effort.quick())
    found = find_lifted(project, extras.vectors, PROMISED["both"], Effort.quick())
    assert HEAD in found.forms
    assert not {HEAD, Address("OV", 0, 1)} & liftable(project, found)
    assert Address("OV", 0, 1) not in project.dropped()


def test_what_is_no_longer_linked_is_raw_again(lifted_copy: Workshop) -> None:
    project = pellucid.open(lifted_copy.made)
    extras = means.fit_extras(project, Effort.quick())
    lifted = find_lifted(project, extras.vectors, PROMISED["both"], Effort.quick())
    found = find.Candidates(FirstSources({}, {}, {}, compare([])), lifted)
    link.settle(project, found, [HEAD, *SILENT[:2]])
    listing = project.listing()
    assert listing.form(HEAD) == "lifted"
    assert {listing.form(address) for address in SILENT} == {"raw"}
    assert HEAD in project.dropped()
    assert not set(SILENT) & project.dropped()
    link.settle(project, found, [])
    assert "lifted(" not in (lifted_copy.made / "program" / "layer_01.py").read_text()


def test_a_lifted_part_is_examined(lifted_copy: Workshop) -> None:
    project = pellucid.open(lifted_copy.made)
    head = examine(project, HEAD, Effort.quick())
    kept_of = head["isolated"]["variance_kept"]
    assert kept_of is not None
    assert kept_of.value == pytest.approx(1, abs=1e-6)
    for metric, kind in (("kl", "swapped_in"), ("kl_cost", "joint")):
        measured = head[kind][metric]
        assert measured is not None
        assert abs(measured.value) < 1e-6
    neuron = examine(project, SILENT[3], Effort.quick())
    assert neuron["isolated"] == {}
    assert neuron["swapped_in"]["kl"] is not None


def test_too_high_a_rank_is_refused_with_what_is_allowed(lifted_copy: Workshop) -> None:
    lifted_copy.edit("program/layer_01.py", 'lifted("L01.H00.OV", rank=1)', 'lifted("L01.H00.OV", rank=4)')
    with pytest.raises(SourceError, match=r"layer_01.py:\d+: L01.H00.OV would hold 144 numbers .* the most is rank 3"):
        pellucid.open(lifted_copy.made).listing()
