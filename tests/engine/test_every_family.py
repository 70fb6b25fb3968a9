"""The engine on every family: recording, replacing, sweeps and estimates; what is not understood is refused by name."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch
from torch import Tensor

import families
import pellucid
from pellucid.base.errors import PellucidError
from pellucid.engine.sweep import KINDS
from pellucid.exact.model import Model
from pellucid.study.attribute import messages
from pellucid.study.circuit_files import read_mib, save_mib
from pellucid.study.circuits import Circuit, circuit_final
from pellucid.study.wiring import Wiring

IDS = [[3, 1, 4, 1, 5, 9, 2], [2, 7, 1, 8, 2, 8, 1]]
OTHERS = [[6, 2, 6, 4, 3, 3, 8], [5, 7, 7, 2, 1, 5, 6]]


@pytest.fixture(scope="module", params=families.FAMILIES)
def model(request: pytest.FixtureRequest) -> Model:
    made = (families.make(request.param, seed) for seed in range(2, 60))
    smooth = (one for one in made if one.decoder.layers > 1 and one.decoder.activation != "relu")  # slopes are measured
    return Model(families.in_memory(next(smooth)))


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


def test_direct_effects_add_up_to_the_logits_before_their_cap(model: Model) -> None:
    effects = pellucid.direct_effects(model, IDS, 3, 5)
    logits, cap = model.logits(IDS)[:, -1], model.decoder.logit_cap
    logits = logits if cap is None else cap * torch.atanh(logits / cap)
    total = torch.stack(list(effects.parts.values())).sum(0)
    torch.testing.assert_close(total, logits[:, 3] - logits[:, 5], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(effects.total, total, rtol=1e-3, atol=1e-3)
    assert effects.neurons.shape == (model.decoder.layers, 2, model.decoder.sizes.neuron)
    each = effects.neurons.sum(-1)
    whole = torch.stack([effects.parts[f"L{layer:02d}.N*.OUT"] for layer in range(model.decoder.layers)])
    torch.testing.assert_close(each, whole, rtol=1e-3, atol=1e-3)


# --- edges ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exact(model: Model) -> Model:
    """The model in 64 bits, but for positions and shares of attention, which some families compute in 32."""
    return Model(model.subject, torch.float64)


def streams(model: Model, rows: list[list[int]]) -> dict[str, Tensor]:
    """What readers read in a run."""
    found = model.run(torch.tensor(rows), tuple(model.graph.names("L*.resid_*")))
    return found | {"end": found[model.last_resid]}


def final_of(model: Model, edges: Tensor) -> Tensor:
    """The final streams where `edges` carry what is said of the prompts, and the others what is of the other ones."""
    return circuit_final(model, torch.tensor(IDS), messages(model, torch.tensor(OTHERS)), streams(model, OTHERS), edges)


def test_all_edges_are_the_run_itself_and_none_the_other(exact: Model) -> None:
    wiring = Wiring.of(exact.decoder)
    for rows, edges in ((IDS, wiring.real), (OTHERS, torch.zeros_like(wiring.real))):
        own = exact.run(torch.tensor(rows), ("final",))["final"]
        torch.testing.assert_close(final_of(exact, edges), own, rtol=1e-4, atol=1e-5)


def ends(model: Model) -> list[str]:
    """Edges into readers of every kind."""
    own = "g0" if model.decoder.grouped else "h0"
    late = [] if model.decoder.blocks[0].parallel else ["a1.h0->m1"]
    return ["a0.h0->a1.h0<q>", f"m0->a1.{own}<k>", f"a0.h0->a1.{own}<v>", "m0->m1", *late, "a1.h0->logits"]


def test_a_missing_edge_is_another_input_of_one_reader(exact: Model) -> None:
    wiring, ids = Wiring.of(exact.decoder), torch.tensor(IDS)
    change = messages(exact, torch.tensor(OTHERS)) - messages(exact, ids)
    for edge in ends(exact):
        writer, reader = wiring.edge(edge)
        edges = wiring.real.clone()
        edges[writer, reader] = False
        name, _, part = wiring.readers[reader].partition("<")
        where = {"m1": "L01.mlp_in", "logits": "final_in"}.get(name, f"L01.{part[:1]}_in")

        def put(x: Tensor, writer: int = writer) -> Tensor:
            x = x.clone()
            (x[:, :, 0] if x.ndim == 4 else x).add_(change[writer])
            return x

        expected = exact.run(ids, ("final",), edits={where: put})["final"]
        torch.testing.assert_close(final_of(exact, edges), expected, rtol=1e-4, atol=1e-5, msg=edge)


def test_scores_of_edges_are_slopes(exact: Model) -> None:
    """Where one edge carries a little more, and a little less, of the message."""
    wiring, small = Wiring.of(exact.decoder), 0.002
    metric = pellucid.logit_difference(exact, 3, 5)
    found = pellucid.edge_attribution(exact, IDS, OTHERS, metric, method="gradient")
    rows = torch.arange(len(IDS))
    for edge in ends(exact):
        at = wiring.edge(edge)
        edges = wiring.real.double()
        values = []
        for share in (1 + small, 1 - small):
            edges[at] = share
            values.append(float(metric(exact, final_of(exact, edges)[:, -1], rows).mean()))
        assert float(found.scores[at]) == pytest.approx((values[0] - values[1]) / (2 * small), rel=0.01, abs=2e-4), edge


def test_circuits_are_written_and_read(exact: Model, tmp_path: Path) -> None:
    wiring = Wiring.of(exact.decoder)
    scores = torch.rand(wiring.real.shape, generator=torch.Generator().manual_seed(0)) * wiring.real
    circuit = Circuit(wiring, wiring.real & (scores > 0.5), scores, "random")
    save_mib(circuit, exact.decoder, tmp_path / "circuit.json")
    again = read_mib(tmp_path / "circuit.json", exact.decoder)
    assert torch.equal(again.edges, circuit.edges)
    torch.testing.assert_close(again.scores, circuit.scores)
    heads = exact.decoder.sizes.head
    assert f"input->a0.h{heads - 1}<k>" in (tmp_path / "circuit.json").read_text()
    own = wiring.readers[wiring.edge(f"input->a0.h{heads - 1}<k>")[1]]
    last = f"G{exact.decoder.sizes.group - 1:02d}" if exact.decoder.grouped else f"H{heads - 1:02d}"
    assert wiring.address(own) == f"L00.{last} key"
