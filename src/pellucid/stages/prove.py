"""The proof of what was found: every source scored on held-out text, its worst places shown, and names given."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pellucid.base.address import Address
from pellucid.base.effort import Effort
from pellucid.forms.effect import Calibration, estimate
from pellucid.forms.forms import token_texts
from pellucid.forms.isolated import kept, scores
from pellucid.forms.worst_places import worst_contexts
from pellucid.project.evidence import Measurement
from pellucid.project.inventory import PASSING, lifted_state, statement_state
from pellucid.project.project import Project
from pellucid.project.rows import first_tokens, rows_for
from pellucid.project.symbols import Symbol
from pellucid.stages.first.sources import FirstSources
from pellucid.stages.lift.lifted import LiftedParts

ESTIMATED = "second-order estimate"


def prove(project: Project, sources: FirstSources, effort: Effort) -> list[Measurement]:
    """Evidence about every source of `sources` that still stands in the program as it was written.

    `effect`: what the mean in the part's place costs on tune text; `isolated`: the held-out score, and
    that of its sentence alone (`sentence`); `swapped_in`: what
    the source alone costs on held-out text. Effect and swapped-in are second-order estimates, and say so.
    """
    effects, sources = sources.effects, standing(project, sources)
    listing, heldout = project.listing(), rows_for(project, "heldout", effort.proof_tokens)
    found = scores(project.model, sources.forms, heldout)
    shorter = {a: said for a, form in sources.forms.items() if (said := form.told()) != form}
    told = found | scores(project.model, shorter, heldout)
    costs = estimate(project.model, heldout, sources.forms.values(), seed=project.manifest.settings.seed)[0]
    hashes = {name: getattr(project.texts, name).sha256 for name in ("tune", "heldout")}
    weights, tuned = project.manifest.subject.weights_sha256, effort.tune_tokens
    rows = [
        _row(address, ("effect", "kl", weights, "tune", hashes["tune"]), value, tuned, ESTIMATED)
        for address, value in effects.items()
    ]
    for address in sources.forms:
        state, n = statement_state(listing[address]), heldout.numel()
        rows += [
            _row(address, ("isolated", "score", state, "heldout", hashes["heldout"]), found[address], n),
            _row(address, ("isolated", "sentence", state, "heldout", hashes["heldout"]), told[address], n),
            _row(
                address,
                ("swapped_in", "kl_estimate", state, "heldout", hashes["heldout"]),
                costs[address],
                n,
                ESTIMATED,
            ),
        ]
    return [*rows, calibrated(sources.calibration, weights, hashes["tune"])]


def prove_lifted(project: Project, lifted: LiftedParts, effort: Effort) -> list[Measurement]:
    """Evidence about lifted parts: the `effect` of every OV and OUT, and what the candidates come to on held-out text.

    `isolated`: the share of variance that is kept, of a head's write in the directions that it writes along, of a
    neuron's pre-activation, or of a head's scores around their mean over the keys of a query.
    """
    heldout = first_tokens(rows_for(project, "heldout", effort.proof_tokens), effort.lifted_tokens)
    model, tuned = project.model, effort.lifted_tokens
    found = kept(model, lifted.forms.values(), heldout)
    costs = estimate(model, heldout, lifted.forms.values(), seed=project.manifest.settings.seed)[0]
    hashes = {name: getattr(project.texts, name).sha256 for name in ("tune", "heldout")}
    weights = project.manifest.subject.weights_sha256
    rows = [
        _row(address, ("effect", "kl", weights, "tune", hashes["tune"]), value, tuned, ESTIMATED)
        for address, value in lifted.effects.items()
    ]
    n = heldout.numel()
    for address, form in lifted.forms.items():
        about = (lifted_state(form.rank), "heldout", hashes["heldout"])
        metric = "lifted_kl_estimate" if address.kind in ("QK", "IN") else "kl_estimate"  # beside that of a source
        rows.append(_row(address, ("swapped_in", metric, *about), costs[address], n, ESTIMATED))
        if address in found:
            rows.append(_row(address, ("isolated", "variance_kept", *about), found[address], n))
    return rows


def calibrated(found: Calibration, state: str, corpus: str) -> Measurement:
    """How well the effect estimates agree with exact ablations: the correlation of their logarithms."""
    scale, ranks = ("unmeasured" if x is None else f"{x:.3g}" for x in (found.scale, found.spearman))
    note = f"exact = {scale} x estimate; rank correlation {ranks}"
    about = ("program", "effect_calibration", "correlation", state, "tune", corpus, "overall")
    return Measurement(*about, found.pearson, None, None, found.n, note)


def _row(address: Address, about: tuple[str, str, str, str, str], value: float, n: int, note: str = "") -> Measurement:
    """A measurement `about` (kind, metric, state, split, corpus) on `n` tokens."""
    return Measurement(str(address), *about, "overall", value, None, None, n, note)


def contexts(project: Project, sources: FirstSources, effort: Effort) -> str:
    """The worst places of every source on held-out text, as JSON."""
    rows = rows_for(project, "heldout", effort.context_tokens)
    found = worst_contexts(project.model, standing(project, sources).forms, rows)
    return json.dumps({str(address): entries for address, entries in found.items()})


def names(project: Project, sources: FirstSources) -> dict[str, Symbol]:
    """Symbols of all parts with a source: named where the description passed its test on held-out text."""
    text = token_texts(project.model.tokenizer)
    return tested(project, {a: form.name(text) for a, form in standing(project, sources).forms.items()})


def standing(project: Project, sources: FirstSources) -> FirstSources:
    """Those that stand in the program: weak ones may not."""
    listing = project.listing()
    return sources.only({address for address in sources.forms if listing[address].part_form == "source"})


def tested(project: Project, names: Mapping[Address, str]) -> dict[str, Symbol]:
    """Symbols of parts with the `names` of those whose description passed its test on held-out text."""
    proofs = {row.part: (id, row.value) for id, row in project.evidence.find(kind="isolated", metric="score")}
    found: dict[str, Symbol] = {}
    for address, name in names.items():
        id, score = proofs.get(str(address), (0, None))
        passed = score is not None and score >= PASSING
        about = (name, address.kind, "analysis", str(id)) if passed else ("", address.kind, "default", "")
        found[str(address)] = Symbol(str(address), *about, score="" if score is None else f"{score:.3f}")
    return found
