"""What a part costs in company: the full program with its residual on and off."""

from __future__ import annotations

import pytest
import torch

import checkpoints
from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.forms.form import Form
from pellucid.forms.forms import Fires, First, Looks
from pellucid.forms.lifting import fit_vectors
from pellucid.forms.twin import Twin
from pellucid.measure.distance import divergence
from pellucid.stages.lift.means import averages
from pellucid.stages.link.joint import NEURONS, chosen, joint_costs


@pytest.fixture(scope="module")
def lab() -> tuple[Model, torch.Tensor, list[Form]]:
    model, _ = checkpoints.random_model(4, n_layer=3)
    rows = torch.randint(model.n_vocab, (300, 16), generator=torch.Generator().manual_seed(1))
    vectors = fit_vectors(model, averages(model, rows), rows)
    forms: list[Form] = [
        Looks(Address("QK", 0, 1), ((First(), 1.0),)),
        Fires(Address("IN", 2, 5), 0.2),
        Fires(Address("IN", 2, 6), 0.1, (("token", (3,), 0.5),)),
        vectors.head(Address("OV", 1, 0), 1),
        vectors.neuron(Address("OUT", 0, 3)),
    ]
    return model, rows, forms


def test_costs_are_those_of_whole_passes(lab: tuple[Model, torch.Tensor, list[Form]]) -> None:
    model, rows, forms = lab
    parts = [form.address for form in forms]
    found = joint_costs(Twin(model, forms), parts, rows)
    clean, together = model.logits(rows), Twin(model, forms).logits(rows)
    for form in forms:
        others = Twin(model, [other for other in forms if other.address != form.address])
        wanted = divergence(clean, together) - divergence(clean, others.logits(rows))
        assert found[form.address] == pytest.approx(wanted / rows.numel(), rel=1e-3)


def test_a_part_that_is_alone_costs_all_there_is(lab: tuple[Model, torch.Tensor, list[Form]]) -> None:
    model, rows, forms = lab
    (cost,) = joint_costs(Twin(model, forms[3:4]), [forms[3].address], rows).values()
    assert cost == pytest.approx(divergence(model.logits(rows), Twin(model, forms[3:4]).logits(rows)) / rows.numel())


def test_all_heads_and_the_neurons_with_the_largest_effects_are_measured() -> None:
    heads = [Looks(Address("QK", 0, n)) for n in range(60)]
    neurons = [Fires(Address("IN", 0, n), 0.0) for n in range(60)]
    forms: dict[Address, Form] = {form.address: form for form in (*neurons, *heads)}
    effects = {form.address: float(form.address.index) for form in (*neurons, *heads)}
    found = chosen(forms, effects)
    assert {address for address in found if address.kind == "QK"} == {form.address for form in heads}
    assert [a.index for a in found if a.kind == "IN"] == list(range(59, 59 - NEURONS, -1))
