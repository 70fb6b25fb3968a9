"""First sources: proposed on *fit* text, chosen on *tune* text within the budget, and written."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from pellucid.base.address import Address
from pellucid.base.effort import Effort
from pellucid.base.errors import ProjectError
from pellucid.base.memory import release
from pellucid.base.schema import Count, parsed
from pellucid.engine.shares import finite
from pellucid.exact.model import Model
from pellucid.forms.codec import dump_forms, load_forms
from pellucid.forms.effect import Calibration, calibrate, estimate, mean_forms
from pellucid.forms.form import TokenText, Written
from pellucid.forms.forms import token_texts
from pellucid.listing.change import says, with_constants, with_statements
from pellucid.project.project import EVIDENCE, Project
from pellucid.project.rows import Rows, first_tokens, rows_for
from pellucid.project.stage_names import SOURCES
from pellucid.stages.first.attention import PAIRS, LooksProposal, propose_looks
from pellucid.stages.first.budget import Option, spend
from pellucid.stages.first.neurons import FiresProposal, propose_fires

STORED_SOURCES = f"evidence.sqlite, stage `{SOURCES}`"
CALIBRATION_TOKENS = 1_500
WEAK = 0.2
"""A source that removes a smaller share of what its mean costs is not written."""


@dataclass(frozen=True)
class FirstSources:
    """What was chosen.

    `effects` are the nats per token that the mean in a part's place costs, `losses` those that its form costs, both
    second-order estimates on tune text.
    """

    forms: dict[Address, Written]
    effects: dict[Address, float]
    losses: dict[Address, float]
    calibration: Calibration

    def only(self, addresses: Collection[Address]) -> FirstSources:
        """These sources, of `addresses` alone; effects stay those of all parts."""
        forms = {address: form for address, form in self.forms.items() if address in addresses}
        return replace(self, forms=forms)

    def without(self, addresses: Collection[Address]) -> FirstSources:
        """These sources but for those of `addresses`."""
        return self.only(self.forms.keys() - addresses)


def find_sources(project: Project, means: Mapping[str, Tensor], effort: Effort, *, less: bool = False) -> FirstSources:
    """Propose sources for every QK and IN, and choose among them within the project's budget.

    From `less` fit text, and fewer pairs of tokens, where most of them will be replaced.
    """
    model, seed = project.model, project.manifest.settings.seed
    fit, tune = rows_for(project, "fit", effort.fit_tokens), rows_for(project, "tune", effort.tune_tokens)
    fit = first_tokens(fit, effort.linked_fit_tokens) if less else fit
    looks = propose_looks(model, fit, tune, seed=seed, pairs=PAIRS // 4 if less else PAIRS)
    release()
    fires = propose_fires(model, fit, tune, seed=seed)
    release()
    ablated = mean_forms(model, means)
    effects = estimate(model, tune, ablated.values(), seed=seed)[0]
    chosen = spend(offers(looks, fires, effects), project.budget)
    forms = {address: option.form for address, option in chosen.items()}
    losses = estimate(model, tune, forms.values(), seed=seed)[0]
    release()
    found = FirstSources(forms, effects, losses, calibration(model, tune, ablated, effort, seed=seed))
    release()
    return found


def calibration(
    model: Model, tune: Rows, ablated: Mapping[Address, Written], effort: Effort, *, seed: int
) -> Calibration:
    """How well the effect estimates agree with exact mean ablations."""
    rows = tune[: max(1, CALIBRATION_TOKENS // tune.shape[1])]
    return calibrate(model, rows, ablated.values(), count=effort.calibrated, seed=seed)


def offers(
    looks: Mapping[Address, LooksProposal], fires: Mapping[Address, FiresProposal], effects: Mapping[Address, float]
) -> dict[Address, list[Option]]:
    """The candidates of every part up to its chosen one, with the nats per token that each leaves.

    A head's candidate leaves the share of its effect that its pattern KL is of uniform attention's.
    """
    found: dict[Address, list[Option]] = {}
    for address, proposal in looks.items():
        uniform = max(proposal.candidates[0].tune_kl, 1e-12)
        found[address] = [
            Option(c.form, c.form.numbers(), effects[address] * c.tune_kl / uniform)
            for c in proposal.candidates[: proposal.choice + 1]
        ]
    for address, fired in fires.items():
        found[address] = [Option(c.form, c.numbers, c.tune_loss) for c in fired.candidates[: fired.choice + 1]]
    return found


# --- written ----------------------------------------------------------------------------------------------------------


def is_weak(sources: FirstSources, address: Address) -> bool:
    """Whether a source says next to nothing: it removes less than a fifth of what its mean costs, or is the mean."""
    form, effect = sources.forms[address], sources.effects[address]
    return form.constant is not None or effect - sources.losses[address] < WEAK * effect or effect <= 0


def write_sources(project: Project, sources: FirstSources) -> None:
    """Write the chosen forms: functions of heads, a row for each neuron, the largest effects first.

    Weak ones are left out unless the settings keep them, or what they are about runs without its residual; a part that
    has none left is raw. What a person wrote stays.
    """
    listing, keep = project.listing(), project.manifest.settings.keep_weak
    runs = {address for address in project.dropped() if listing.lifted(address) is None}
    wanted = {a for a in sources.forms if keep or a in runs or not is_weak(sources, a)}
    _write(project, sources, {address: address in wanted for address in sources.forms})


def write_linked(project: Project, sources: FirstSources, linked: Collection[Address]) -> None:
    """Write the weak ones among the sources that are `linked` as such, since they run; take others away again."""
    if project.manifest.settings.keep_weak:
        return
    listing, text = project.listing(), token_texts(project.model.tokenizer)
    weak = [address for address in sources.forms if is_weak(sources, address)]
    idle = {a for a in weak if a not in linked and says(listing, a, _statement(sources, a, text))}
    _write(project, sources, {a: a in linked for a in weak if a in linked or a in idle})


def _write(project: Project, sources: FirstSources, wanted: Mapping[Address, bool]) -> None:
    """Write what is wanted of `sources`, and take away what is not."""
    text = token_texts(project.model.tokenizer)
    statements: dict[Address, str | None] = {}
    constants: dict[Address, float] = {}
    for address in sorted(wanted, key=lambda a: (-sources.effects[a], a)):
        constant = sources.forms[address].constant
        if wanted[address] and constant is not None:
            constants[address] = constant
        else:
            statements[address] = _statement(sources, address, text) if wanted[address] else None
    if statements:
        project.take(with_statements(project.listing(), statements))
    if constants:
        project.take(with_constants(project.listing(), constants))


def _statement(sources: FirstSources, address: Address, text: TokenText) -> str:
    """A source as it is printed."""
    return sources.forms[address].statement(text, evidence_lines(sources, address))


def evidence_lines(sources: FirstSources, address: Address) -> list[str]:
    """What the docstring says of the numbers behind a source."""
    effect, left = sources.effects[address], sources.losses[address]
    removed = 100 * (effect - left) / effect if effect > 0 else 0.0
    return [
        f"On tune text, by second-order estimates, the mean in its place costs {effect:.1e} nats a token and this "
        f"source {left:.1e}: it removes {removed:.0f} % of that."
    ]


def stored_effects(project: Project) -> dict[Address, float]:
    """What the mean in the place of each QK and IN costs, as the sources of the last run were chosen by; may be empty.

    Asking makes no store of evidence where there is none.
    """
    text = project.evidence.latest(SOURCES) if (project.directory / EVIDENCE).is_file() else None
    return load(text).effects if text else {}


def dump(sources: FirstSources) -> str:
    """`sources` as JSON, to go on from in a later run."""
    c = sources.calibration
    return json.dumps(
        {
            "forms": dump_forms(sources.forms),
            "effects": {str(address): value for address, value in sources.effects.items()},
            "losses": {str(address): value for address, value in sources.losses.items()},
            "calibration": [c.pearson, c.spearman, c.scale, c.n],
        }
    )


@dataclass(frozen=True)
class _Kept:
    """Sources as they are kept; what was not a number stays none."""

    forms: str
    effects: dict[str, float]
    losses: dict[str, float]
    calibration: tuple[float | None, float | None, float | None, Count]


def load(text: str) -> FirstSources:
    """What `dump` wrote, without the single pairs of the calibration. Raises `ProjectError` for anything else."""
    kept = parsed(_Kept, text, STORED_SOURCES, ProjectError)
    effects, losses = ({Address.parse(a): v for a, v in found.items()} for found in (kept.effects, kept.losses))
    forms = load_forms(kept.forms, STORED_SOURCES)
    if lost := forms.keys() - (effects.keys() & losses.keys()):
        raise ProjectError(f"{STORED_SOURCES}: {min(lost)} has a form, but no effect and loss")
    pearson, spearman, scale, n = kept.calibration
    return FirstSources(forms, effects, losses, Calibration(finite(pearson), finite(spearman), finite(scale), n, ()))
