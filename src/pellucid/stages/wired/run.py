"""Wiring: a subject with few weights becomes source throughout, exactly, and no weights are left."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pellucid.base.address import Address
from pellucid.base.effort import Effort
from pellucid.base.terminal import tell
from pellucid.exact.model import Model
from pellucid.family.canonical import checkpoint, stored
from pellucid.forms.effect import estimate, mean_forms
from pellucid.forms.forms import token_texts
from pellucid.listing.change import with_content
from pellucid.listing.count import count_whole
from pellucid.listing.held import held as held_by
from pellucid.project.evidence import Measurement
from pellucid.project.inventory import statement_state
from pellucid.project.project import SIZES, Project
from pellucid.project.rows import rows_for
from pellucid.project.symbols import Symbol
from pellucid.stages.first.sources import calibration
from pellucid.stages.lift.means import Extras
from pellucid.stages.prove import calibrated, tested
from pellucid.stages.wired.acts import clauses
from pellucid.stages.wired.places import strongest
from pellucid.stages.wired.prove import Rules, WiredProof, prove
from pellucid.stages.wired.read import plain_norms, weights_left
from pellucid.stages.wired.write import WiredTexts, write_up

CONTEXT_TOKENS = 8_192
ACT_TOKENS = 24_000
"""Tokens of fit text on which parts are watched, for the clauses of their sentences."""
ESTIMATED = "second-order estimate"
TOGETHER = "all wired parts at once"


def written(project: Project) -> WiredTexts | None:
    """The wired program of a subject; None where it has too many weights for its size, or parts that are no wires."""
    model, settings = project.model, project.manifest.settings
    budget = SIZES[settings.size] * project.subject.parameters
    held = stored(model.decoder, model.weights)
    few = 2 * weights_left(held) <= budget
    if not few or not plain_norms(held):
        return None
    text = token_texts(model.tokenizer)
    return write_up(model.decoder, held, text, clauses(model, rows_for(project, "fit", ACT_TOKENS), text))


def wire(project: Project, text: WiredTexts) -> frozenset[Address]:
    """Write the wired program, and say how many numbers it holds; every address, none of which has a residual."""
    wired = with_content(project.listing(), words=text.words, stream=text.stream, statements=dict(text.statements))
    if kept := project.take(wired).kept:
        tell(f"kept as you wrote them: {', '.join(kept)}")
    held, parameters = count_whole(project.listing()) or 0, project.subject.parameters
    tell(f"wired throughout: {held:,} numbers, {held / parameters:.1%} of the weights' {parameters:,}")
    return frozenset(project.subject.decoder.addresses.addresses())


def proved(project: Project, text: WiredTexts, extras: Extras, effort: Effort) -> list[Measurement]:
    """Evidence about every part: what its mean costs, what its source costs, and how far its sentence carries."""
    model, seed, listing = project.model, project.manifest.settings.seed, project.listing()
    stream = listing.stream
    rules = Rules(model, text.told, stream.names if stream else (), stream.signs if stream else ())
    fit = rows_for(project, "fit", effort.fit_tokens)
    heldout = rows_for(project, "heldout", effort.proof_tokens)
    proof = prove(model, as_model(project), rules, fit, heldout, seed)
    return [*_effects(project, extras, effort), *_rows(proof, project, heldout.numel())]


def _effects(project: Project, extras: Extras, effort: Effort) -> Iterator[Measurement]:
    """What the mean in the place of each part costs, and how well these estimates agree with exact ablations."""
    model, seed = project.model, project.manifest.settings.seed
    tune = rows_for(project, "tune", effort.tune_tokens)
    means = mean_forms(model, extras.means)
    shape = list(model.decoder.addresses.addresses())
    data = [extras.vectors.head(address, 0) for address in shape if address.kind == "OV"]
    writes = [extras.vectors.neuron(address) for address in shape if address.kind == "OUT"]
    about = (project.manifest.subject.weights_sha256, "tune", project.texts.tune.sha256, "overall")
    code, rest = estimate(model, tune, means.values(), [*data, *writes], seed=seed)
    for address, value in (code | rest).items():
        yield Measurement(str(address), "effect", "kl", *about, value, None, None, tune.numel(), ESTIMATED)
    state, corpus = about[0], about[2]
    yield calibrated(calibration(model, tune, means, effort, seed=seed), state, corpus)


def _rows(proof: WiredProof, project: Project, n: int) -> Iterator[Measurement]:
    """What held-out text says of every part."""
    listing, corpus = project.listing(), project.texts.heldout.sha256
    for address in listing.decoder.addresses.addresses():
        state = statement_state(listing[address])
        found: list[tuple[str, str, float | None, str]] = [("swapped_in", "kl", max(0.0, proof.kl), TOGETHER)]
        for metric, values in (
            ("score", proof.simulated),
            ("source_agrees", proof.scores),
            ("token_table", proof.table),
        ):
            found += [("isolated", metric, values[address], "")] if address in values else []
        if address in proof.costs:
            found.append(("swapped_in", "simulation_kl_estimate", proof.costs[address], ESTIMATED))
        for kind, metric, value, note in found:
            about = (str(address), kind, metric, state, "heldout", corpus, "overall")
            yield Measurement(*about, value, None, None, n, note)


def strongest_places(project: Project) -> str:
    """Where every part acts most on held-out text, as JSON."""
    return json.dumps(strongest(project.model, rows_for(project, "heldout", CONTEXT_TOKENS)))


def as_model(project: Project) -> Model:
    """The wired program in the engine's terms: the exact graph, with the weights that the text is."""
    model = project.model
    return model.but(checkpoint(model.decoder, model.weights, held_by(project.program())), model.graph)


def wired_names(project: Project, text: WiredTexts) -> dict[str, Symbol]:
    """Symbols of all parts, named where the rule of their sentence passed its test on held-out text."""
    return tested(project, text.names)
