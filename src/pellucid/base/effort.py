"""How much a command reads, asks and tries: every limit that is lower where `--quick` is given.

One value is made of the command line and handed on. All tokens are counted in tokens of text.
"""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.base.defaults import LONGEST_ROW


@dataclass(frozen=True, kw_only=True)
class Effort:
    """The limits of a run. Make one by `usual`, `quick` or `of`; `dataclasses.replace` changes single limits."""

    is_quick: bool
    """Whether figures are those of a quick run, which leaves the gate open."""

    # --- what whole programs are measured on

    contexts: int
    """Contexts that are continued, at most."""
    seconds: float | None
    """What a measurement is planned to take, of the five minutes that a quick run has in all; None for no limit."""
    longest_row: int
    """Tokens of a row at most."""
    reference_tokens: int
    """Tokens of fit text behind the tables that a program is compared with, at most."""
    reference_bytes: int
    """What these tables may take."""
    sampling_seconds: float
    """How long a subject without text writes its own."""
    sampled_tokens: int
    """How much of it, at most."""

    # --- what sources and lifted forms are found on

    fit_tokens: int
    """Fit text that sources are fitted on."""
    tune_tokens: int
    """Tune text that they are chosen on."""
    linked_fit_tokens: int = 40_000
    """The same of fit text, where sources are only there to be linked: all that run nowhere are trained afterwards."""
    calibrated: int
    """Exact ablations that effect estimates are compared with."""
    mean_tokens: int
    """Fit text that means are taken over."""
    vector_tokens: int
    """Fit text that the vectors of lifted parts are fitted on."""
    lifted_tokens: int
    """Tune text that lifted forms are chosen on, and held-out text that they are measured on."""
    about_tokens: int
    """Fit text on which parts are watched to be told of."""
    minutes: float
    """Minutes of one core that a decompilation trains for where nothing is said."""

    # --- what runs without residual

    link_contexts: int
    """Contexts of check text behind which it is compared what a program says."""
    link_trials: int
    """Judgements that linking may make."""
    tuned_by_tokens: int
    """Tune text that tuning is stopped by."""

    # --- what parts are proved on

    proof_tokens: int
    """Held-out text that sources are proved on."""
    joint_tokens: int
    """Held-out text that each part without residual is measured on in the full program."""
    context_tokens: int = 4_096
    """Held-out text in which the places are looked for where a source is most wrong."""
    part_rows: int
    """Rows of held-out text that one part is measured on by `verify`."""
    front_tokens: int
    """Held-out text that the points of a front are measured on."""
    front_reference_rows: int
    """Rows of fit text behind the tables among them."""

    @staticmethod
    def usual() -> Effort:
        """What is done where nothing is said."""
        return _USUAL

    @staticmethod
    def quick() -> Effort:
        """What is done in minutes, with `--quick`."""
        return _QUICK

    @staticmethod
    def of(is_quick: bool) -> Effort:
        """The one or the other."""
        return Effort.quick() if is_quick else Effort.usual()


_USUAL = Effort(
    is_quick=False,
    contexts=5_000,
    seconds=None,
    longest_row=LONGEST_ROW,
    reference_tokens=500_000,
    reference_bytes=1 << 30,
    sampling_seconds=300.0,
    sampled_tokens=400_000,
    fit_tokens=120_000,
    tune_tokens=30_000,
    calibrated=100,
    mean_tokens=100_000,
    vector_tokens=24_000,
    lifted_tokens=20_000,
    about_tokens=24_000,
    minutes=3.0,
    link_contexts=2_000,
    link_trials=6,
    tuned_by_tokens=8_000,
    proof_tokens=30_000,
    joint_tokens=4_000,
    part_rows=64,
    front_tokens=16_000,
    front_reference_rows=1_000,
)
_QUICK = Effort(
    is_quick=True,
    contexts=500,
    seconds=90.0,
    longest_row=256,
    reference_tokens=50_000,
    reference_bytes=1 << 28,
    sampling_seconds=60.0,
    sampled_tokens=100_000,
    fit_tokens=40_000,
    tune_tokens=10_000,
    calibrated=50,
    mean_tokens=20_000,
    vector_tokens=6_000,
    lifted_tokens=8_000,
    about_tokens=8_000,
    minutes=1.5,
    link_contexts=240,
    link_trials=5,
    tuned_by_tokens=4_000,
    proof_tokens=10_000,
    joint_tokens=2_000,
    part_rows=16,
    front_tokens=4_000,
    front_reference_rows=200,
)
