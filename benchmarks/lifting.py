"""What limits lifting: what each kind of part costs alone, lifted within the number bound, untuned.

Where heads look, when neurons fire and what heads move at the highest rank allowed; what neurons write, half of the
neurons, those that it costs least of, at their means; and the scales of norms, each the same everywhere, its mean over
fit text. Everywhere, layer by layer, and of heads and of what neurons write as many as cost at most so many nats
together, the cheapest first (of what neurons write, half at most). Held-out text.

    python benchmarks/lifting.py DIR [--tokens 10000] [--nats 0.0005] [--json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

import pellucid
from pellucid.base.address import Address
from pellucid.base.effort import Effort
from pellucid.exact.model import Model, Taps
from pellucid.family.allowance import fewest_means, most_rank
from pellucid.forms.form import StoredForm
from pellucid.forms.lifting import Costs, Vectors, costs
from pellucid.forms.twin import Twin
from pellucid.measure.distance import distance
from pellucid.measure.record import batches
from pellucid.project.rows import first_tokens, rows_for
from pellucid.stages.lift.means import fit_extras

COST_TOKENS = 8_000
"""Tokens of tune text that parts are ordered by."""
KINDS = {
    "QK": "where heads look (QK)",
    "IN": "when neurons fire (IN)",
    "OV": "what heads move (OV)",
    "OUT": "half of what neurons write (OUT)",
}
NORMS = "scales of norms (LayerNorm)"

Logits = Callable[[Tensor], Tensor]


def main() -> None:
    """Print KL and top-1 of each variant."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--tokens", type=int, default=10_000)
    parser.add_argument("--nats", type=float, default=5e-4, help="what parts may cost together in the last table")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    project = pellucid.open(options.directory)
    model, seed = project.model, project.manifest.settings.seed
    rows = rows_for(project, "heldout", options.tokens)
    vectors = fit_extras(project, Effort.usual()).vectors
    order = costs(model, vectors, first_tokens(rows_for(project, "tune", COST_TOKENS), COST_TOKENS), seed)
    scales = mean_scales(model, rows_for(project, "fit", COST_TOKENS))
    forms = {kind: lifted(model, vectors, order, kind) for kind in KINDS}
    tables = {"everywhere": everywhere(model, forms, scales, rows), "by layer": layers(model, forms, scales, rows)}
    few = {KINDS[kind]: cheapest(model, forms[kind], order, rows, options.nats) for kind in ("QK", "OV", "OUT")}
    if options.json:
        print(json.dumps({**tables, "cheapest": few}, indent=1))
        return
    for title, table in tables.items():
        print(f"| {title} | top-1 % | KL |\n|---|---:|---:|")
        for name, row in table.items():
            print(f"| {name} | {row['top1']:.1f} | {row['kl']:.2g} |")
        print()
    print(f"| within {options.nats:g} nats | parts | of |\n|---|---:|---:|")
    for name, (count, whole) in few.items():
        print(f"| {name} | {count:,} | {whole:,} |")


def lifted(model: Model, vectors: Vectors, order: Costs, kind: str) -> list[StoredForm]:
    """All parts of a kind, lifted as far as the number bound allows; of what neurons write, half of each layer."""
    config = model.decoder
    if kind == "OUT":
        half = max(fewest_means(config), config.n_inner // 2)
        chosen = [(layer, n) for layer, cost in enumerate(order.neurons) for n in cost.argsort()[:half].tolist()]
        return [vectors.neuron(Address("OUT", layer, neuron)) for layer, neuron in chosen]
    count = config.n_inner if kind == "IN" else config.n_head
    most = most_rank(config, kind, config.n_inner) if kind == "IN" else most_rank(config, kind)  # type: ignore[arg-type]
    parts = [Address(kind, layer, n) for layer in range(config.n_layer) for n in range(count)]  # type: ignore[arg-type]
    return [vectors.form(address, most) for address in parts]


def mean_scales(model: Model, rows: Tensor) -> dict[str, Tensor]:
    """The mean over `rows` of what the norms of all layers divide by."""
    names = [f"L{layer:02d}.{norm}.scale" for layer in range(model.decoder.layers) for norm in ("LN1", "LN2")]
    totals = dict.fromkeys(names, torch.zeros(()))
    for ids in batches(rows, model.n_vocab):
        with torch.inference_mode():
            found = model.forward(ids, Taps(record=names)).activations
        totals = {name: totals[name] + found[name].sum() for name in names}
    return {name: total / rows.numel() for name, total in totals.items()}


def flat(model: Model, scales: Mapping[str, Tensor]) -> Logits:
    """The subject in which these norms divide by the same number everywhere."""
    edits = {name: (lambda x, mean=mean: torch.full_like(x, float(mean))) for name, mean in scales.items()}
    return lambda ids: model.forward(ids, Taps(replace=edits)).logits


def everywhere(
    model: Model, forms: Mapping[str, Sequence[StoredForm]], scales: Mapping[str, Tensor], rows: Tensor
) -> dict[str, dict[str, float]]:
    """Each kind alone, and all that sources could take the place of together."""
    found = {KINDS[kind]: measured(model, Twin(model, some).logits, rows) for kind, some in forms.items()}
    found[NORMS] = measured(model, flat(model, scales), rows)
    several = [form for kind in ("QK", "IN", "OV") for form in forms[kind]]
    return found | {"QK, IN and OV together": measured(model, Twin(model, several).logits, rows)}


def layers(
    model: Model, forms: Mapping[str, Sequence[StoredForm]], scales: Mapping[str, Tensor], rows: Tensor
) -> dict[str, dict[str, float]]:
    """One kind of one layer at a time."""
    found: dict[str, dict[str, float]] = {}
    for layer in range(model.decoder.layers):
        for kind, some in forms.items():
            own = [form for form in some if form.address.layer == layer]
            found[f"L{layer:02d} {kind}"] = measured(model, Twin(model, own).logits, rows)
        norms = {name: mean for name, mean in scales.items() if name.startswith(f"L{layer:02d}.")}
        found[f"L{layer:02d} norms"] = measured(model, flat(model, norms), rows)
    return found


def cheapest(model: Model, forms: Sequence[StoredForm], order: Costs, rows: Tensor, nats: float) -> tuple[int, int]:
    """How many parts of a kind cost at most `nats` together, the cheapest first, and how many there are."""
    ordered = sorted(forms, key=lambda form: cost_of(order, form))
    low, high = 0, len(ordered)
    while low < high:
        middle = (low + high + 1) // 2
        fits = measured(model, Twin(model, ordered[:middle]).logits, rows)["kl"] <= nats
        low, high = (middle, high) if fits else (low, middle - 1)
    each = model.decoder.sizes.neuron if forms[0].address.kind == "OUT" else model.decoder.sizes.head
    return low, model.decoder.layers * each


def cost_of(order: Costs, form: StoredForm) -> float:
    """What a part costs alone, estimated on tune text."""
    at = form.address
    match at.kind:
        case "QK":
            return float(order.looks[at.layer][at.index])
        case "OV":
            return float(order.heads[at.layer][at.index, form.rank])
        case _:
            return float(order.neurons[at.layer][at.index])


def measured(model: Model, logits: Logits, rows: Tensor) -> dict[str, float]:
    """KL from the subject in nats per token, and the share of top tokens that agree in percent."""
    kl, top1 = distance(model, logits, rows)
    return {"top1": top1, "kl": kl}


if __name__ == "__main__":
    main()
