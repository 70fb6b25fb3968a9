"""Places that ask the same thing: found by what the program says there of others.

A head takes from one token at a time: from a name, say, what is known of it. What it takes is put in the place of what
it took elsewhere (exact patching): at every place of the text where it takes from a single token, the means of a few
other tokens, the *donors*, one after the other. The mean of the final streams that come out tells what is asked at a
place, whoever it is asked of; places that ask the same thing have nearly the same one, whatever the wording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.base.files import atomic_path
from pellucid.rewrite.workbench import BATCH, Workbench

DONORS = 8
"""Tokens whose contents are put in the place of others'."""
TAKES, ALONE = 0.5, 0.9
"""The share of its attention from which on a head takes from one token, and from which on it takes from it alone."""
BAND = (0.5, 0.95)
"""Between these cosines lies the widest gap, which parts the places that ask the same thing from all others."""
FIELDS = ("donors", "signatures", "centre", "before", "where")
FEWEST = 0.001
"""The least share of all places that must lie above that gap: nothing that is asked is rarer."""
BACK = 10
"""Tokens before a place that can tell what is asked there."""
WRONG, LEAST = 10, 0.02
"""Places that a condition must cover for each one that it wrongly holds for, and the least share that it covers."""


@dataclass(frozen=True)
class Asked:
    """Places of a text where a head takes from one token, with what is asked there and the tokens before."""

    layer: int
    head: int
    donors: Float[Tensor, "donor dim"]
    signatures: Float[Tensor, "place model"]
    centre: Float[Tensor, " model"]
    before: Int[Tensor, "place back"]
    """The token at each place, the one before it, and so on; -1 before the start of the text."""
    where: Int[Tensor, "place three"]
    """The row of the fit text, the position, and the position of the token that the head takes from."""


def surveyed(bench: Workbench, layer: int, head: int) -> Asked | None:
    """What `survey` finds, kept in `scratch/` of the project, since no edit changes what is asked where."""
    name = f"L{layer:02d}.H{head:02d}"
    if name not in bench.known:
        project, shape = bench.project, tuple(bench.fit.ids.shape)
        key = f"{project.manifest.subject.weights_sha256} {project.texts.fit.sha256} {shape} {DONORS} {TAKES} {ALONE}"
        path = project.directory / "scratch" / f"asked-{name}.safetensors"
        bench.known[name] = _read(path, key, layer, head) or survey(bench, layer, head)
        if bench.known[name] is not None and not path.is_file():
            fields = {field: getattr(bench.known[name], field).contiguous() for field in FIELDS}
            with atomic_path(path) as temporary:
                safetensors.torch.save_file(fields, temporary, metadata={"key": key})
    found: Asked | None = bench.known[name]
    return found


def _read(path: Path, key: str, layer: int, head: int) -> Asked | None:
    """What was found before about the same subject and text."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("key") == key:
                return Asked(layer, head, **{field: file.get_tensor(field) for field in FIELDS})
    except (OSError, safetensors.SafetensorError):
        pass
    path.unlink(missing_ok=True)
    return None


def survey(bench: Workbench, layer: int, head: int) -> Asked | None:
    """All places of the fit text where the head takes from one token; None where there are too few to learn from."""
    at, text = f"L{layer:02d}", bench.fit
    runs = [
        bench.run(text.ids[start : start + BATCH], (f"{at}.resid_pre", f"{at}.z", f"{at}.pattern"))
        for start in range(0, len(text.ids), BATCH)
    ]
    share, key = torch.cat([run[f"{at}.pattern"][:, head] for run in runs]).max(-1)
    takes = (share > TAKES) & (key > 0) & text.inside
    z = torch.cat([run[f"{at}.z"][:, :, head] for run in runs])
    donors = _donors(z, text.ids.gather(1, key), takes & (share > ALONE))
    if donors is None or int(takes.sum()) < 10 * DONORS:
        return None
    total = torch.zeros(int(takes.sum()), bench.model.config.n_embd)
    for donor in donors:
        finals = []
        for number, run in enumerate(runs):
            here = takes[number * BATCH : (number + 1) * BATCH]
            given = {f"{at}.resid_pre": run[f"{at}.resid_pre"], f"{at}.z": run[f"{at}.z"]}
            finals.append(_final(bench, text.ids[number * BATCH : (number + 1) * BATCH], at, head, given, here, donor))
        total += torch.cat(finals) / len(donors)
    where = torch.cat([takes.nonzero(), key[takes][:, None]], 1)
    return Asked(layer, head, donors, total, total.mean(0), _before(text.ids)[takes], where)


def _donors(
    z: Float[Tensor, "row pos dim"], tokens: Int[Tensor, "row pos"], alone: Bool[Tensor, "row pos"]
) -> Float[Tensor, "donor dim"] | None:
    """What the head takes on average from each of the tokens that it takes from alone most often."""
    kinds, counts = torch.unique(tokens[alone], return_counts=True)
    if len(kinds) < DONORS:
        return None
    chosen = kinds[counts.argsort(descending=True, stable=True)[:DONORS]]
    return torch.stack([z[alone & (tokens == kind)].mean(0) for kind in chosen])


def _final(
    bench: Workbench,
    ids: Int[Tensor, "row pos"],
    at: str,
    head: int,
    given: dict[str, Tensor],
    here: Bool[Tensor, "row pos"],
    donor: Float[Tensor, " dim"],
) -> Float[Tensor, "place model"]:
    """The final stream at places where the head takes what it takes from a donor."""
    z = given[f"{at}.z"].clone()
    z[:, :, head][here] = donor
    with torch.no_grad():
        found = bench.running.model.run(ids, ("final",), given=given | {f"{at}.z": z}, edits=bench.later(ids, at))
    return found["final"][here]


def _before(ids: Int[Tensor, "row pos"]) -> Int[Tensor, "row pos back"]:
    """The tokens at and before every place."""
    found = torch.full((*ids.shape, BACK), -1)
    for back in range(min(BACK, ids.shape[1])):
        found[:, back:, back] = ids[:, : ids.shape[1] - back]
    return found


def alike(bench: Workbench, asked: Asked, ids: Int[Tensor, "one pos"]) -> Bool[Tensor, " place"]:
    """Which places ask what is asked behind the last token of `ids`."""
    at = f"L{asked.layer:02d}"
    run = bench.run(ids, (f"{at}.resid_pre", f"{at}.z"))
    here = torch.zeros_like(ids, dtype=torch.bool)
    here[0, -1] = True
    finals = [_final(bench, ids, at, asked.head, run, here, donor)[0] for donor in asked.donors]
    own = torch.stack(finals).mean(0) - asked.centre
    others = asked.signatures - asked.centre
    cosine = others @ own / (others.norm(dim=1) * own.norm())
    inside = torch.cat([cosine[(cosine > BAND[0]) & (cosine < BAND[1])], torch.tensor(BAND)]).sort().values
    few = int((cosine >= BAND[1]).sum()) + torch.arange(len(inside) - 1).flip(0) < FEWEST * len(cosine)
    widest = int(inside.diff().masked_fill(few, 0.0).argmax())
    same: Tensor = cosine > float(inside[widest : widest + 2].mean())
    return same


Condition = tuple[tuple[int, int], ...]
"""Tokens that must stand at, or so many places before, a place: (steps back, token), the place itself first."""


def conditions(asked: Asked, same: Bool[Tensor, " place"], own: Sequence[int]) -> list[Condition]:
    """Few conditions on tokens that hold at the places in `same`, and hardly at others; the first one holds for `own`.

    `own` are the tokens of the prompt, the last one first. Found greedily: each is the token at the place with at most
    one token before it, and covers as many places as any, less those that it wrongly holds for.
    """
    tokens, left = asked.before, same.clone()
    mine = [(back, own[back]) for back in range(min(BACK, len(own)))]
    best = _best(tokens, same, left, mine)
    found: list[Condition] = []
    while best:
        found.append(best)
        left &= ~holds(tokens, best)
        kinds = [(back, token) for back in range(BACK) for token in set(tokens[left][:, back].tolist())]
        best = _best(tokens, same, left, [option for option in kinds if option[1] >= 0])
    return found


def holds(tokens: Int[Tensor, "place back"], condition: Condition) -> Bool[Tensor, " place"]:
    """Where a condition holds."""
    return torch.stack([tokens[:, back] == token for back, token in condition]).all(0)


def _best(
    tokens: Int[Tensor, "place back"],
    same: Bool[Tensor, " place"],
    left: Bool[Tensor, " place"],
    options: Sequence[tuple[int, int]],
) -> Condition | None:
    """The condition that covers most of the places that are left, None where none covers enough."""
    best, most = None, max(1.0, LEAST * int(same.sum()))
    for first in [option for option in options if option[0] == 0]:
        here = tokens[:, 0] == first[1]
        seconds: list[tuple[int, int] | None] = [None, *(option for option in options if option[0] > 0)]
        for second in seconds:
            where = here if second is None else here & (tokens[:, second[0]] == second[1])
            worth = int((where & left).sum()) - WRONG * int((where & ~same).sum())
            if worth > most:
                best, most = ((first,) if second is None else (first, second)), float(worth)
    return best
