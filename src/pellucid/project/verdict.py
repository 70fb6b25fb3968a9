"""Verdicts: computed from forms and measurements, never written by hand.

| verdict | the part |
|---|---|
| raw | runs from the weights |
| exact | runs a source that is the raw part to floating point |
| within | has a source whose swapped-in effect is within its tolerance |
| over | has a source whose swapped-in effect is above its tolerance |
| stale | has a source that has changed since it was measured |
| unmeasured | has a source that was never measured swapped in |
"""

from __future__ import annotations

from typing import Literal

Verdict = Literal["raw", "exact", "within", "over", "stale", "unmeasured"]
EXACT = 1e-9
"""A KL increase, in nats per token, that float32 cannot tell from none."""
SHARE = 0.1
"""A source is within its tolerance if it leaves at most this share of what the mean in its place would cost."""


def verdict(
    form: str, source_state: str, measured_state: str | None, kl: float | None, effect: float | None
) -> Verdict:
    """The verdict on a part in `form` whose source's text hashes to `source_state`.

    `measured_state`, `kl` are the state and result of the latest swapped-in measurement (nats per token), `effect` what
    the mean in the part's place costs.
    """
    if form == "raw":
        return "raw"
    if measured_state is None or kl is None:
        return "unmeasured"
    if measured_state != source_state:
        return "stale"
    if kl <= EXACT:
        return "exact"
    return "within" if effect is not None and kl <= SHARE * effect else "over"
