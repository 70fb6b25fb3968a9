"""What a part without residual costs where all of them run together: the full program with its residual on and off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.base.effort import Effort
from pellucid.base.work import mapped
from pellucid.forms.form import Form
from pellucid.forms.twin import Twin
from pellucid.measure.distance import divergence
from pellucid.measure.record import batches
from pellucid.project.evidence import Measurement
from pellucid.project.inventory import statement_state
from pellucid.project.project import Project
from pellucid.project.rows import first_tokens, rows_for

NEURONS = 40
"""Neurons of either side (IN, OUT) that are measured, those with the largest effects; heads all are."""


def measure_joint(
    project: Project, forms: Mapping[Address, Form], effects: Mapping[Address, float], effort: Effort
) -> list[Measurement]:
    """The `joint` cost (`kl_cost`) on held-out text of the parts whose residual is dropped, of which `forms` are all.

    The KL of the full program to the subject, less that with this one part raw, in nats per token. Measured in the
    twin; small values can be negative, where the part's errors make up for those of others.
    """
    rows = first_tokens(rows_for(project, "heldout", effort.proof_tokens), effort.joint_tokens)
    found = joint_costs(Twin(project.model, forms), chosen(forms, effects), rows)
    listing, corpus = project.listing(), project.texts.heldout.sha256
    return [
        Measurement(
            str(address), "joint", "kl_cost", statement_state(listing.runs(address)), "heldout", corpus, "overall",
            value, None, None, rows.numel(), "in the full program",
        )
        for address, value in found.items()
    ]  # fmt: skip


def chosen(forms: Mapping[Address, Form], effects: Mapping[Address, float]) -> list[Address]:
    """Every head, and of either side of neurons those with the largest effects."""
    found = [address for address in forms if address.kind in ("QK", "OV")]
    for side in ("IN", "OUT"):
        neurons = [address for address in forms if address.kind == side]
        found += sorted(neurons, key=lambda address: (-effects.get(address, 0.0), address))[:NEURONS]
    return found


def joint_costs(twin: Twin, parts: Sequence[Address], rows: Int[Tensor, "row pos"]) -> dict[Address, float]:
    """KL(model ‖ twin) less KL(model ‖ twin with the part raw), for each of `parts`, in nats per token.

    Only what follows the part's layer is run again.
    """
    model = twin.model
    layers = sorted({part.layer for part in parts})
    starts = [f"L{layer:02d}.resid_pre" for layer in layers]
    others = {part: twin.without(part) for part in parts}
    count = sum(1 for _ in batches(rows, model.n_vocab))

    @torch.inference_mode()
    def of_batch(ids: Int[Tensor, "batch pos"]) -> list[float]:
        subject, together = model.logits(ids), twin.run(ids, (*starts, "logits"))
        whole = divergence(subject, together["logits"])
        return [whole - divergence(subject, logits) for _, logits in _each_raw(others, together, ids)]

    totals = dict.fromkeys(parts, 0.0)
    for found in mapped(of_batch, batches(rows, model.n_vocab), "joint costs", total=count):
        for part, cost in zip(parts, found, strict=True):
            totals[part] += cost
    return {part: total / rows.numel() for part, total in totals.items()}


def _each_raw(
    others: Mapping[Address, Twin], together: Mapping[str, Tensor], ids: Int[Tensor, "batch pos"]
) -> Iterator[tuple[Address, Float[Tensor, "batch pos vocab"]]]:
    """The logits with each part raw, from where its layer begins."""
    for part, other in others.items():
        start = f"L{part.layer:02d}.resid_pre"
        yield part, other.run(ids, ("logits",), {start: together[start]}, first=part.layer)["logits"]
