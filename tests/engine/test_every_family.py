"""The engine on every family: recording, replacing, sweeps and estimates; what is not understood is refused by name."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
import torch
from torch import Tensor

import families
import pellucid
from pellucid.base.errors import PellucidError
from pellucid.engine.sweep import KINDS
from pellucid.exact.model import Model
from pellucid.study.wiring import Wiring

IDS = [[3, 1, 4, 1, 5, 9, 2], [2, 7, 1, 8, 2, 8, 1]]
OTHERS = [[6, 2, 6, 4, 3, 3, 8], [5, 7, 7, 2, 1, 5, 6]]


@pytest.fixture(scope="module", params=families.FAMILIES)
def model(request: pytest.FixtureRequest) -> Model:
    seeds = (seed for seed in range(2, 30) if families.make(request.param, seed).decoder.layers > 1)
    return Model(families.in_memory(families.make(request.param, next(seeds))))


def patched(model: Model, kind: str, layer: int, member: int, position: int) -> Tensor:
    """The logit of 3 minus that of 5 at the end, with one piece of the other prompts in a whole run."""
    name = f"L{layer:02d}.{'post' if kind == 'neuron' else kind}"
    source = pellucid.trace(model, OTHERS, [name])[name]

    def put(x: Tensor) -> Tensor:
        x = x.clone()
        if kind == "pattern":
            x[:, member, position] = source[:, member, position]
        elif x.ndim == 4 or kind == "neuron":
            x[:, position, member] = source[:, position, member]
        else:
            x[:, position] = source[:, position]
        return x

    logits = model.run(model.rows(IDS).ids, ("logits",), edits={name: put})["logits"][:, -1]
    return logits[:, 3] - logits[:, 5]


def swept(model: Model) -> list[str]:
    return [kind for kind in KINDS if f"L00.{kind}" in model.graph or kind == "neuron"]


def test_sweeps_are_patches_one_by_one(model: Model) -> None:
    metric = pellucid.logit_difference(model, 3, 5)
    for kind in swept(model):
        found = pellucid.sweep(model, IDS, OTHERS, metric, kind)
        members = found.members[-1:]
        for layer in range(model.decoder.layers):
            for member in members:
                for position in (1, 6):
                    value = found.values[layer, found.members.index(member), position]
                    expected = patched(model, kind, layer, member, position)
                    torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-4, msg=f"{kind} {layer} {member}")


def test_what_is_missing_in_a_parallel_block_is_said() -> None:
    seeds = (seed for seed in range(12) if families.make("gpt_neox", seed).decoder.blocks[0].parallel)
    model = Model(families.in_memory(families.make("gpt_neox", next(seeds))))
    with pytest.raises(PellucidError, match=r"resid_mid' names no activation"):
        pellucid.sweep(model, IDS, OTHERS, pellucid.logit_difference(model, 3, 5), "resid_mid")


def test_estimates_have_the_shape_of_sweeps(model: Model) -> None:
    metric = pellucid.logit_difference(model, 3, 5)
    for kind in ("resid_pre", "z", "k", "neuron"):
        found = pellucid.estimate(model, IDS, OTHERS, metric, kind)
        assert found.shape == pellucid.sweep(model, IDS, OTHERS, metric, kind).values.shape


def test_every_address_is_a_site(model: Model) -> None:
    for pattern in ("*.B", "LN*", "L*.LN*", "EMB.*", "L*.H00.*", "L*.N0000.*", "UNEMB", "L*.G00.*", "L*.QN", "L*.*.LN"):
        for address in model.decoder.addresses.addresses():
            if fnmatchcase(str(address), pattern):
                assert pellucid.trace(model, IDS, [str(address)])[str(address)].isfinite().all(), address


def test_changes_act_and_scores_of_heads_are_shares(model: Model) -> None:
    plain = pellucid.trace(model, IDS).logits
    for where in ("L00.H00.OV", "L00.N0001.OUT", "blocks.0.hook_attn_out", "L00.v"):
        changed = pellucid.trace(model, IDS, changes=[pellucid.ablate(where)]).logits
        assert not torch.equal(changed, plain), where
    scores = pellucid.head_scores(model, rows=2)
    assert len(scores.table) > 0
    assert len(pellucid.generate(model, IDS[:1], tokens=4)) == 1


def test_what_keeps_a_study_from_a_family_is_named(model: Model) -> None:
    at = model.decoder.blocks[0].attention
    if at.rotary is not None:
        with pytest.raises(PellucidError, match=r"a graph of edges cannot serve .* yet: .*positions turn queries"):
            Wiring.of(model.decoder)
    if at.behind is not None:
        with pytest.raises(PellucidError, match=r"direct effects cannot serve gemma.*what layers write is normed"):
            pellucid.direct_effects(model, IDS, 3, 5)
    else:
        effects = pellucid.direct_effects(model, IDS, 3, 5)
        total = torch.stack(list(effects.parts.values())).sum(0)
        logits = model.logits(IDS)[:, -1]
        torch.testing.assert_close(total, logits[:, 3] - logits[:, 5], rtol=1e-3, atol=1e-3)
