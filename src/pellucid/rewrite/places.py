"""Places that ask the same thing: found by what the program says there of others.

A head takes from one token at a time: from a name, say, what is known of it. What it takes is put in the place of what
it took elsewhere (exact patching): at every place of the text where it takes from a single token, the means of a few
other tokens, the *donors*, one after the other. The mean of the final streams that come out tells what is asked at a
place, whoever it is asked of; places that ask the same thing have nearly the same one, whatever the wording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.rewrite.donors import TAKES, donors, keep, key_of, read_kept, swapped
from pellucid.rewrite.workbench import BATCH, Workbench

BAND = (0.5, 0.95)
"""Between these cosines lies the widest gap, which parts the places that ask the same thing from all others."""
FIELDS = ("donors", "signatures", "centre", "before", "where")
FEWEST = 0.001
"""The least share of all places that must lie above that gap: nothing that is asked is rarer."""
BACK = 10
"""Tokens before a place that can tell what is asked there."""
WRONG, LEAST = 10, 0.005
"""Places that a condition must cover for each one that it wrongly holds for, and the least share that it covers."""
LONGEST, WIDE, MORE = 3, 12, 1.1
"""Tokens of a condition; conditions that are tried with one token more; what that must be worth, as a factor."""


@dataclass(frozen=True)
class AskedAt:
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


def surveyed(bench: Workbench, layer: int, head: int) -> AskedAt | None:
    """What `survey` finds, kept in `scratch/` of the project, since no edit changes what is asked where."""
    name = f"asked-L{layer:02d}.H{head:02d}"
    if name not in bench.known:
        path = bench.project.directory / "scratch" / f"{name}.safetensors"
        held = read_kept(path, key_of(bench))
        bench.known[name] = AskedAt(layer, head, **held) if held else survey(bench, layer, head)
        if bench.known[name] is not None and not held:
            keep(path, key_of(bench), {field: getattr(bench.known[name], field).contiguous() for field in FIELDS})
    found: AskedAt | None = bench.known[name]
    return found


def survey(bench: Workbench, layer: int, head: int) -> AskedAt | None:
    """All places of the fit text where the head takes from one token; None where there are too few to learn from."""
    at, text, own = f"L{layer:02d}", bench.fit, donors(bench, layer).get(head)
    if own is None:
        return None
    runs = [
        bench.run(text.ids[start : start + BATCH], (f"{at}.resid_pre", f"{at}.z", f"{at}.pattern"))
        for start in range(0, len(text.ids), BATCH)
    ]
    share, key = torch.cat([run[f"{at}.pattern"][:, head] for run in runs]).max(-1)
    takes = (share > TAKES) & (key > 0) & text.inside
    total = torch.zeros(int(takes.sum()), bench.model.decoder.sizes.model)
    for donor in own:
        finals = []
        for number, run in enumerate(runs):
            here = takes[number * BATCH : (number + 1) * BATCH]
            given = {f"{at}.resid_pre": run[f"{at}.resid_pre"], f"{at}.z": run[f"{at}.z"]}
            finals.append(_final(bench, text.ids[number * BATCH : (number + 1) * BATCH], at, head, given, here, donor))
        total += torch.cat(finals) / len(own)
    where = torch.cat([takes.nonzero(), key[takes][:, None]], 1)
    return AskedAt(layer, head, own, total, total.mean(0), _before(text.ids)[takes], where)


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


def alike(bench: Workbench, asked: AskedAt, ids: Int[Tensor, "one pos"]) -> Bool[Tensor, " place"]:
    """Which places ask what is asked behind the last token of `ids`."""
    at = f"L{asked.layer:02d}"
    run = bench.run(ids, (f"{at}.resid_pre", f"{at}.z"))
    finals = swapped(bench, ids, run, asked.layer, asked.head, asked.donors, "final")
    own = finals.mean(0) - asked.centre
    others = asked.signatures - asked.centre
    cosine = others @ own / (others.norm(dim=1) * own.norm())
    inside = torch.cat([cosine[(cosine > BAND[0]) & (cosine < BAND[1])], torch.tensor(BAND)]).sort().values
    few = int((cosine >= BAND[1]).sum()) + torch.arange(len(inside) - 1).flip(0) < FEWEST * len(cosine)
    widest = int(inside.diff().masked_fill(few, 0.0).argmax())
    same: Tensor = cosine > float(inside[widest : widest + 2].mean())
    return same


Condition = tuple[tuple[int, int], ...]
"""Tokens that must stand at, or so many places before, a place: (steps back, token), the place itself first."""


def conditions(asked: AskedAt, same: Bool[Tensor, " place"], own: Sequence[int]) -> list[Condition]:
    """Few conditions on tokens that hold at the places in `same`, and hardly at others; one of them holds for `own`.

    `own` are the tokens of the prompt, the last one first. Found greedily: each is the token at the place with at most
    two before it, and covers as many places as any, less those that it wrongly holds for. If none of these holds for
    `own`, the prompt itself is one.
    """
    tokens, left, telling = asked.before, same.clone(), _telling(asked.before, same)
    mine = torch.tensor([*own, *[-1] * BACK])[None, :BACK]
    found: list[Condition] = []
    best = _best(tokens, same, left, telling, mine[0])
    while best or not found:
        best = best or tuple((back, token) for back, token in enumerate(mine[0].tolist()) if token >= 0)
        found.append(best)
        left &= ~holds(tokens, best)
        best = _best(tokens, same, left, telling, None)
    return found


def holds(tokens: Int[Tensor, "place back"], condition: Condition) -> Bool[Tensor, " place"]:
    """Where a condition holds."""
    where = torch.ones(len(tokens), dtype=torch.bool)
    for back, token in condition:
        where &= tokens[:, back] == token
    return where


def _telling(tokens: Int[Tensor, "place back"], same: Bool[Tensor, " place"]) -> Float[Tensor, " token"]:
    """How much larger a share of the places in `same` than of others have each token before them, at any distance."""
    kinds = int(tokens.max()) + 2
    shares = []
    for group in (tokens[same], tokens[~same]):
        held = torch.unique(torch.arange(len(group))[:, None] * kinds + group + 1)
        shares.append(torch.bincount(held % kinds, minlength=kinds)[1:] / max(1, len(group)))
    return shares[0] - shares[1]


def _best(
    tokens: Int[Tensor, "place back"],
    same: Bool[Tensor, " place"],
    left: Bool[Tensor, " place"],
    telling: Float[Tensor, " token"],
    own: Int[Tensor, " back"] | None,
) -> Condition | None:
    """The condition that is worth most at the places that are left, None where none covers enough.

    Of the tokens `own` alone, if given. A longer one has to be worth more than a shorter one by `MORE`; among equals,
    the one whose tokens are `telling`.
    """
    best, most = None, LEAST * int(same.sum())
    begun: list[Condition] = [()]
    for _ in range(LONGEST):
        longer = [way for condition in begun for way in _longer(tokens, same, left, own, condition)]
        worth, _, condition = max(longer, key=lambda way: (way[0], _tells(telling, way[2])), default=(0, 0, ()))
        if worth > most * (MORE if best else 1.0):
            best, most = condition, worth
        longer.sort(key=lambda way: (way[1], _tells(telling, way[2])), reverse=True)
        begun = [condition for _, _, condition in longer[:WIDE]]
    return best


def _tells(telling: Float[Tensor, " token"], condition: Condition) -> float:
    """How telling the tokens of a condition are, behind the first."""
    return float(sum(telling[token] for _, token in condition[1:]))


def _longer(
    tokens: Int[Tensor, "place back"],
    same: Bool[Tensor, " place"],
    left: Bool[Tensor, " place"],
    own: Int[Tensor, " back"] | None,
    condition: Condition,
) -> list[tuple[int, int, Condition]]:
    """A condition with one token more: what it is worth, the places that it covers, and the condition."""
    here = holds(tokens, condition)
    right, wrong = tokens[here & left], tokens[here & ~same]
    kinds = int(tokens.max()) + 2
    found = []
    for back in range(1 + condition[-1][0], tokens.shape[1]) if condition else (0,):
        covers, strays = (torch.bincount(side[:, back] + 1, minlength=kinds)[1:] for side in (right, wrong))
        for token in covers.nonzero()[:, 0].tolist() if own is None else own[back : back + 1].tolist():
            if token >= 0 and covers[token]:
                covered = int(covers[token])
                found.append((covered - WRONG * int(strays[token]), covered, (*condition, (back, token))))
    return found
