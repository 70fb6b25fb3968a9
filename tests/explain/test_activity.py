"""What parts do is one number at every place, and examples stand by how much that is."""

from __future__ import annotations

import pytest
import torch

import checkpoints
import families
from pellucid.base.errors import PellucidError
from pellucid.exact.model import Model
from pellucid.explain.activity import activity, gauged, unit_of
from pellucid.explain.examples import ALIKE, BEFORE, BOUNDS, examples


@pytest.fixture(scope="module")
def model() -> Model:
    return checkpoints.random_model(2, n_embd=15, n_head=3, n_inner=7, n_layer=2)[0]


def rows(model: Model, seed: int) -> torch.Tensor:
    return torch.randint(0, model.n_vocab, (6, 12), generator=torch.Generator().manual_seed(seed))


def test_a_neuron_is_what_it_fires_in_units_of_its_most(model: Model) -> None:
    unit, ids = unit_of("L01.N0003", model), rows(model, 0)
    gauge, found = gauged(model, [unit], ids)
    post = model.run(ids, ("L01.post",))["L01.post"][..., 3]
    sign = 1 if post.clamp(min=0).square().sum() >= post.clamp(max=0).square().sum() else -1
    fires = (sign * post).clamp(min=0)
    torch.testing.assert_close(found.of(unit), fires / fires.flatten().topk(10).values.mean())
    assert float(found.of(unit).flatten().topk(10).values.mean()) == pytest.approx(1.0)
    other = activity(model, gauge, [unit], rows(model, 1)).of(unit)
    assert float(other.flatten().topk(10).values.mean()) != pytest.approx(1.0), "the scale is that of the fit text"


def test_a_head_is_how_far_its_write_is_from_its_mean(model: Model) -> None:
    unit, ids = unit_of("L00.H02", model), rows(model, 0)
    _, found = gauged(model, [unit], ids)
    z = model.run(ids, ("L00.z",))["L00.z"][:, :, 2]
    length = ((z - z.mean((0, 1))) @ model.layer(0).out[2]).norm(dim=-1)
    beyond = (length - length.flatten().sort().values[int(0.25 * ids.numel()) - 1]).clamp(min=0)
    torch.testing.assert_close(found.of(unit), beyond / beyond.flatten().topk(10).values.mean(), atol=1e-4, rtol=1e-3)
    assert float((found.of(unit) == 0).float().mean()) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "gpt_neox"])
def test_parts_of_every_family_have_numbers(family: str) -> None:
    model = families.deep(family)
    units = [unit_of("L00.H00", model), unit_of("L01.N0001", model)]
    _, found = gauged(model, units, rows(model, 0))
    assert bool(found.values.isfinite().all())
    assert float(found.values.flatten(1).amax(1).min()) > 0


@pytest.mark.parametrize("name", ["L02.H00", "L00.H03", "L00.N0007", "H00", "L00.H00.OV", "L00.X00", ""])
def test_what_is_no_part_is_refused_by_its_name(model: Model, name: str) -> None:
    with pytest.raises(PellucidError, match=r"there is no L|is no head or neuron"):
        unit_of(name, model)


def test_examples_stand_by_how_much_the_part_does() -> None:
    ids = torch.randint(0, 9, (40, 30), generator=torch.Generator().manual_seed(0))
    values = torch.rand(ids.shape, generator=torch.Generator().manual_seed(1)) ** 3
    found = examples(ids, values, 6, 0)
    ends = []
    for quantile, (low, high) in BOUNDS.items():
        assert len(found[quantile]) == 6
        for example in found[quantile]:
            row, at = example.place
            assert low <= example.value < high
            assert len(example.ids) == len(example.values) <= BEFORE + 1
            assert example.ids == tuple(ids[row, max(0, at - BEFORE) : at + 1].tolist())
            ends.append(example.ids[-ALIKE:])
    assert len(set(ends)) == len(ends)
    strongest = [example.value for example in found["top"]]
    assert strongest == sorted(strongest, reverse=True)
    assert examples(ids, values, 6, 0) == found
