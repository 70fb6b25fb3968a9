"""The twin computes what the program computes: sources, constants, lifted heads and means, alone and together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import checkpoints
from pellucid.base.address import Address
from pellucid.exact.model import Model
from pellucid.forms.form import Form, StoredForm
from pellucid.forms.forms import Fires, First, Looks, token_texts
from pellucid.forms.lifting import Vectors, fit_vectors
from pellucid.forms.stored import Lifted, Still
from pellucid.forms.twin import Twin
from pellucid.listing.emit import emit
from pellucid.listing.load import load_program
from pellucid.listing.parse import read_program
from pellucid.project.parts_file import partition, write_parts
from pellucid.stages.lift.means import averages, named
from printed import write_constants, write_lifted, write_statements


@dataclass(frozen=True)
class Lab:
    """A random model, text of random tokens, and the vectors that were fitted on it."""

    model: Model
    rows: torch.Tensor
    means: dict[str, torch.Tensor]
    vectors: Vectors

    def stored(self) -> list[StoredForm]:
        """Lifted heads of all ranks, a head's mean, and the means of some neurons."""
        heads: list[StoredForm] = [self.vectors.head(Address("OV", 0, n), n) for n in range(3)]
        heads.append(self.vectors.head(Address("OV", 1, 2), 1))
        return [*heads, *(self.vectors.neuron(Address("OUT", layer, n)) for layer in (0, 1) for n in (1, 4, 5, 9))]

    def program(self, directory: Path, forms: list[Form], **how: Any) -> Any:
        """The program with exactly the given parts without residual."""
        emit(self.model.subject, directory, self.means, self.vectors.named(self.model))
        text = token_texts(self.model.tokenizer)
        sources = [form for form in forms if isinstance(form, Looks)]
        write_statements(directory, {f.address: f.statement(text) for f in sources})
        constants = {form.address: form.bias for form in forms if isinstance(form, Fires)}
        if constants:
            write_constants(directory, constants)
        still = [form.address for form in forms if isinstance(form, Still)]
        write_lifted(directory, {f.address: f.rank for f in forms if isinstance(f, Lifted)}, still)
        listing = read_program(directory)
        dropped = frozenset(form.address for form in forms)
        write_parts(directory / "parts.toml", partition(listing, dropped), listing.decoder)
        return load_program(directory, **how)


@pytest.fixture(scope="module", params=[0, 1])
def lab(request: pytest.FixtureRequest) -> Lab:
    switches: dict[str, Any] = [
        {"n_head": 3, "n_embd": 24},
        {"n_head": 3, "n_embd": 27, "activation_function": "relu", "scale_attn_by_inverse_layer_idx": True},
    ][request.param]
    model, _ = checkpoints.random_model(request.param, **switches)
    rows = torch.randint(model.n_vocab, (40, 16), generator=torch.Generator().manual_seed(0))
    average = averages(model, rows)
    return Lab(model, rows, named(model, average), fit_vectors(model, average, rows))


def largest(program: Any, twin: Twin, ids: torch.Tensor) -> float:
    """The largest difference between logits, as a share of the largest logit."""
    wanted = twin.logits(ids).numpy()
    return float(np.abs(program.logits(ids.numpy()) - wanted).max() / np.abs(wanted).max())


def test_lifted_parts_run_in_the_program_as_in_the_twin(lab: Lab, tmp_path: Path) -> None:
    forms: list[Form] = list(lab.stored())
    ids = lab.rows[:5]
    program, twin = lab.program(tmp_path, forms), Twin(lab.model, forms)
    assert largest(program, twin, ids) <= 1e-4
    assert largest(program, Twin(lab.model, []), ids) > 1e-3


def test_sources_and_lifted_parts_run_together(lab: Lab, tmp_path: Path) -> None:
    looks = [Looks(Address("QK", 1, 2), ((First(), 2.0),)), Looks(Address("QK", 0, 1))]
    fires = [Fires(Address("IN", 0, 4), 0.3), Fires(Address("IN", 1, 0), -1.0)]
    forms: list[Form] = [*looks, *fires, *lab.stored()]
    program, twin = lab.program(tmp_path, forms), Twin(lab.model, forms)
    assert largest(program, twin, lab.rows[:5]) <= 1e-4
    one_less = twin.without(Address("OV", 0, 2))
    assert len(one_less.forms) == len(forms) - 1
    assert largest(program, one_less, lab.rows[:5]) > 1e-3


def test_a_lifted_program_reads_with_a_cache(lab: Lab, tmp_path: Path) -> None:
    program = lab.program(tmp_path, list(lab.stored()))
    ids = lab.rows[:3, :12].numpy()
    first, cache = program.extend(ids[:, :5])
    second, cache = program.extend(ids[:, 5:6], cache)
    third, _ = program.extend(ids[:, 6:], cache)
    np.testing.assert_allclose(np.concatenate([first, second, third], 1), program.logits(ids), atol=1e-5)


def test_a_lifted_part_whose_residual_is_on_runs_raw(lab: Lab, tmp_path: Path) -> None:
    lab.program(tmp_path, list(lab.stored()))
    listing = read_program(tmp_path)
    write_parts(tmp_path / "parts.toml", partition(listing, frozenset()), listing.decoder)
    assert largest(load_program(tmp_path), Twin(lab.model, []), lab.rows[:5]) <= 1e-5


def test_source_only_knows_nothing_of_what_is_lifted(lab: Lab, tmp_path: Path) -> None:
    lab.program(tmp_path, [])
    raw = load_program(tmp_path, "all").logits(lab.rows[:2].numpy())
    forms: list[Form] = list(lab.stored())
    lifted = lab.program(tmp_path, forms, source_only="all").logits(lab.rows[:2].numpy())
    np.testing.assert_allclose(lifted, raw, atol=1e-5)
    code = lab.program(tmp_path, forms, source_only="code").logits(lab.rows[:2].numpy())
    without = lab.program(tmp_path, [], source_only="code").logits(lab.rows[:2].numpy())
    np.testing.assert_allclose(code, without, atol=1e-5)
    assert np.abs(code - lifted).max() > 1e-3
