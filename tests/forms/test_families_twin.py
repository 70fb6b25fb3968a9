"""The twin computes what the program computes for every family: sinks, gated neurons, heads that share values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import families
from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.forms.effect import exact
from pellucid.forms.form import Form
from pellucid.forms.forms import AfterSame, Distance, Fires, Looks, Sink, token_texts
from pellucid.forms.lifting import fit_vectors
from pellucid.forms.outputs import output_of
from pellucid.forms.stored import Lifted, Still
from pellucid.forms.twin import Twin
from pellucid.listing.emit import emit
from pellucid.listing.load import load_program
from pellucid.listing.parse import read_program
from pellucid.project.parts_file import partition, write_parts
from pellucid.stages.lift.means import averages, named
from pellucid.verify.running import Running
from printed import write_constants, write_lifted, write_statements

LARGE = {"gpt2": 8, "llama": 9, "mistral": 5, "qwen2": 3, "qwen3": 3, "gemma2": 9, "gemma3_text": 9, "gpt_neox": 5}
"""A seed of each family whose model has several layers, and heads of some width."""


@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_program_of_sources_and_lifted_parts_is_the_twin(family: str, tmp_path: Path) -> None:
    model = Model(families.in_memory(families.make(family, LARGE[family])))
    rows = torch.randint(model.n_vocab, (30, 12), generator=torch.Generator().manual_seed(0))
    average = averages(model, rows)
    vectors = fit_vectors(model, average, rows)
    last, head = model.decoder.layers - 1, model.decoder.sizes.head - 1
    looks = Looks(Address("QK", last, head), ((Sink(), 1.5), (AfterSame(), 2.0), (Distance(4), -0.25)))
    told = Fires(Address("IN", 0, 2), 0.5, (("token", (1, 3), 2.0), ("previous", (2,), -1.0)))
    fires: list[Fires] = [told, Fires(Address("IN", 0, 3), 0.75)]
    stored = [vectors.head(Address("OV", 0, 0), 1), *(vectors.neuron(Address("OUT", 0, n)) for n in (2, 4, 5, 6))]
    forms: list[Form] = [looks, *fires, *stored]
    emit(model.subject, tmp_path, named(model, average), vectors.named(model))
    text = token_texts(model.tokenizer)
    write_statements(tmp_path, {looks.address: looks.statement(text), told.address: told.statement(text)})
    write_constants(tmp_path, {fires[1].address: fires[1].bias})
    ranks = {form.address: form.rank for form in stored if isinstance(form, Lifted)}
    write_lifted(tmp_path, ranks, [form.address for form in stored if isinstance(form, Still)])
    listing = read_program(tmp_path)
    write_parts(tmp_path / "parts.toml", partition(listing, frozenset(f.address for f in forms)), listing.decoder)
    program, twin, ids = load_program(tmp_path), Twin(model, forms), rows[:4]
    wanted, own = twin.logits(ids).numpy(), model.logits(ids).numpy()
    limit = 1e-4 * np.abs(wanted).max()
    assert np.abs(program.logits(ids.numpy()) - wanted).max() <= limit
    assert np.abs(wanted - own).max() > 10 * limit
    assert np.abs(Running(model, program).model.logits(ids).numpy() - wanted).max() <= limit


@pytest.mark.parametrize("family", families.FAMILIES)
def test_one_part_alone_is_replaced_where_it_puts_out(family: str) -> None:
    """Exact ablations, which start again in the middle, are what the twin says from the start."""
    model = Model(families.in_memory(families.make(family, LARGE[family])))
    rows = torch.randint(model.n_vocab, (4, 10), generator=torch.Generator().manual_seed(1))
    forms: list[Form] = [Looks(Address("QK", 0, 0), ((Sink(), 1.0),)), Fires(Address("IN", 0, 1), 0.5)]
    found = exact(model, rows, forms)
    for form in forms:
        own, other = (x.logits(rows).log_softmax(-1) for x in (model, Twin(model, [form])))
        assert found[form.address] == pytest.approx(float((own.exp() * (own - other)).sum(-1).mean()), abs=1e-6)


def test_a_gated_neuron_s_source_says_its_activation() -> None:
    gated, plain = families.make("llama", 0).decoder, families.make("gpt2", 0).decoder
    where = Address("IN", 0, 0)
    assert (output_of(gated, where).name, output_of(plain, where).name) == ("post", "pre")


def test_a_sink_takes_the_same_share_of_every_text() -> None:
    """With weight 1 the first token counts as much as all that a query sees, itself among them."""
    said = Looks(Address("QK", 0, 0), ((Sink(), 1.0),)).twin(torch.zeros(1, 9, dtype=torch.long))[0]
    for query in (1, 4, 8):
        seen = query + 1
        assert said[query, : query + 1].softmax(-1)[0] == pytest.approx(seen / (2 * seen - 1))
