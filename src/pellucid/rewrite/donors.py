"""What heads take from other tokens, to be put in the place of what they take here.

Zero and the mean are contents that a head never has; what it takes from another token is one that it has elsewhere
(interchange interventions, Geiger et al., 2021). The *donors* of a head are what it takes on average from each of the
tokens that it takes from alone most often in the fit text.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.progress import track
from pellucid.base.tensors import open_tensors, save_tensors
from pellucid.rewrite.workbench import BATCH, Workbench

DONORS = 8
"""Tokens whose contents are put in the place of others'."""
TAKES, ALONE = 0.5, 0.9
"""The share of its attention from which on a head takes from one token, and from which on it takes from it alone."""
FEWEST = 10
"""Places for each donor that a head must take from one token at, to be looked at so."""


@dataclass(frozen=True)
class Taker:
    """A head that takes from one token at some place, and what other contents would do there.

    `share` of the log odds of what is said goes with its content, on average over donors. `tells` is how much of what
    is said its content decides, in nats: the mutual information of donor and next token. It is large where other
    contents give other answers, and small where they leave the answer as it is or ask something else altogether.
    """

    layer: int
    head: int
    looks_at: int
    attention: float
    share: float
    tells: float

    @property
    def part(self) -> str:
        """The address of what it moves."""
        return f"L{self.layer:02d}.H{self.head:02d}.OV"


def takers(bench: Workbench, ids: Int[Tensor, "one pos"], says: int) -> list[Taker]:
    """Heads that take from one token, not the first, at the end of `ids`; those first that decide what is said."""
    layers = range(bench.model.decoder.layers)
    names = [f"L{layer:02d}.{name}" for layer in layers for name in ("resid_pre", "z", "pattern")]
    run = bench.run(ids, (*names, "logits"))
    whole = _odds(run["logits"][:, -1], says)[0]
    found = []
    for layer in layers:
        attention, at = run[f"L{layer:02d}.pattern"][0, :, -1].max(-1)
        for head, own in donors(bench, layer).items():
            if attention[head] < TAKES or at[head] == 0:
                continue
            logits = swapped(bench, ids, run, layer, head, own, "logits")
            share = 1 - float(_odds(logits, says).mean() / whole)
            found.append(Taker(layer, head, int(at[head]), float(attention[head]), share, _information(logits)))
    return sorted(found, key=lambda taker: -taker.tells)


def _odds(logits: Float[Tensor, "row vocab"], says: int) -> Float[Tensor, " row"]:
    """The log odds of a token."""
    chances = logits.log_softmax(-1)
    return chances[:, says] - chances.index_fill(1, torch.tensor([says]), -torch.inf).logsumexp(-1)


def _information(logits: Float[Tensor, "donor vocab"]) -> float:
    """Nats that the donor tells of the next token."""
    chances = logits.softmax(-1)
    both = torch.cat([chances.mean(0, keepdim=True), chances])
    entropy = torch.special.entr(both).sum(-1)
    return float(entropy[0] - entropy[1:].mean())


def swapped(
    bench: Workbench,
    ids: Int[Tensor, "one pos"],
    run: dict[str, Tensor],
    layer: int,
    head: int,
    own: Float[Tensor, "donor dim"],
    name: str,
) -> Float[Tensor, "donor some"]:
    """The activation `name` at the end of `ids` where a head takes what it takes from each donor.

    `run` has the stream before the layer and what its heads take.
    """
    at = f"L{layer:02d}"
    z = run[f"{at}.z"].repeat(len(own), 1, 1, 1)
    z[:, -1, head] = own
    rows = ids.repeat(len(own), 1)
    given = {f"{at}.resid_pre": run[f"{at}.resid_pre"].repeat(len(own), 1, 1), f"{at}.z": z}
    with torch.no_grad():
        found = bench.running.model.run(rows, (name,), given=given, edits=bench.later(rows, at))
    return found[name][:, -1]


# --- found once -------------------------------------------------------------------------------------------------------


def donors(bench: Workbench, layer: int) -> dict[int, Float[Tensor, "donor dim"]]:
    """The donors of each head of a layer that has enough; kept in `scratch/` of the project."""
    name = f"donors-L{layer:02d}"
    if name not in bench.known:
        path = bench.project.directory / "scratch" / f"{name}.safetensors"
        if (held := read_kept(path, key_of(bench))) is None:
            for other, found in enumerate(_donors(bench)):
                own = {f"{head}": taken.contiguous() for head, taken in found.items()} or {"none": torch.zeros(1)}
                keep(path.with_name(f"donors-L{other:02d}.safetensors"), key_of(bench), own)
                held = own if other == layer else held
        assert held is not None
        bench.known[name] = {int(head): own for head, own in held.items() if head != "none"}
    known: dict[int, Tensor] = bench.known[name]
    return known


@dataclass
class _Taken:
    """What a head takes from single tokens, and which: of the places where it does so alone; at how many it does."""

    places: int
    tokens: list[Int[Tensor, " place"]]
    z: list[Float[Tensor, "place dim"]]

    def of_most(self) -> Float[Tensor, "donor dim"] | None:
        """What it takes on average from each of the tokens that it takes from alone most often; None for too few."""
        if self.places < FEWEST * DONORS:
            return None
        tokens, z = torch.cat(self.tokens), torch.cat(self.z)
        kinds, counts = torch.unique(tokens, return_counts=True)
        if len(kinds) < DONORS:
            return None
        chosen = kinds[counts.argsort(descending=True, stable=True)[:DONORS]]
        return torch.stack([z[tokens == kind].mean(0) for kind in chosen])


def _donors(bench: Workbench) -> list[dict[int, Tensor]]:
    """What the heads of each layer take on average from the tokens that they take from alone most often."""
    text, sizes = bench.fit, bench.model.decoder.sizes
    layers = [f"L{layer:02d}" for layer in range(bench.model.decoder.layers)]
    found = [[_Taken(0, [], []) for _ in range(sizes.head)] for _ in layers]
    for start in track(range(0, len(text.ids), BATCH), "what heads take"):
        ids, inside = text.ids[start : start + BATCH], text.inside[start : start + BATCH]
        run = bench.run(ids, [f"{at}.{name}" for at in layers for name in ("z", "pattern")])
        for at, heads in zip(layers, found, strict=True):
            share, key = run[f"{at}.pattern"].max(-1)
            for head, taken in enumerate(heads):
                here = (key[:, head] > 0) & inside
                alone = here & (share[:, head] > ALONE)
                taken.places += int((here & (share[:, head] > TAKES)).sum())
                taken.tokens.append(ids.gather(1, key[:, head])[alone])
                taken.z.append(run[f"{at}.z"][:, :, head][alone])
    return [{head: own for head, taken in enumerate(heads) if (own := taken.of_most()) is not None} for heads in found]


def key_of(bench: Workbench) -> str:
    """What is found out once is found out about this subject and text, in this way."""
    project, shape = bench.project, tuple(bench.fit.ids.shape)
    subject, text = project.manifest.subject.weights_sha256, project.texts.fit.sha256
    return f"{subject} {text} {shape} {DONORS} {TAKES} {ALONE} {FEWEST}"


def keep(path: Path, key: str, fields: dict[str, Tensor]) -> None:
    """Keep what was found under `key`."""
    save_tensors(path, fields, {"key": key})


def read_kept(path: Path, key: str) -> dict[str, Tensor] | None:
    """What was kept under `key`, None where nothing is; a file of another key is taken away."""
    try:
        with open_tensors(path, "pt") as file:
            if (file.metadata() or {}).get("key") == key:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (OSError, safetensors.SafetensorError):
        pass
    path.unlink(missing_ok=True)
    return None
