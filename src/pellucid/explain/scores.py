"""How good an explanation is: what it lets one say of places that it was not made from.

- *simulation*: the correlation of what a part does with what is said that it does, over the tokens of the examples
  (Bills et al., Language models can explain neurons in language models, 2023);
- *detection*: of places, whether the part is active there (Paulo et al., arXiv 2410.13928), as balanced accuracy;
- *fuzzing*: of marked tokens, whether they are those at which it is active (the same), as balanced accuracy;
- *intruder*: which of five places is the one at which it does nothing (Templeton et al. 2024), as accuracy;
- *surprisal* needs the probabilities of a reader that is a language model, and is None where there is none.

A rule is scored by running it. Its threshold is chosen on fit text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pellucid.explain.activity import ACTIVE, NOTHING
from pellucid.explain.items import Item, places

CHANCE = {"simulation": 0.0, "detection": 0.5, "fuzzing": 0.5, "intruder": 0.2}
"""What a reader gets who knows nothing."""
OF = 5
"""Places of a question about an intruder."""
Values = Float[np.ndarray, "row pos"]


@dataclass(frozen=True)
class Fuzz:
    """Marked tokens of an example: all at which the part is active (`right`), or as many at which it does nothing."""

    item: int
    marked: tuple[int, ...]
    right: bool


def balanced(said: Sequence[bool], truth: Sequence[bool]) -> float | None:
    """The mean of the shares of true and of false ones that are said right; None where there are not both."""
    shares = []
    for wanted in (True, False):
        own = [one for one, true in zip(said, truth, strict=True) if true is wanted]
        if not own:
            return None
        shares.append(sum(one is wanted for one in own) / len(own))
    return sum(shares) / 2


def threshold(predicted: Values, values: Values) -> float:
    """From which prediction on a part is said to be active: what is right most often, balanced, on fit text."""
    active, idle = predicted[values >= ACTIVE], predicted[values < NOTHING]
    if not active.size or not idle.size:
        return float(predicted.mean())
    tried = np.unique(np.concatenate([active, idle]))
    edges = np.concatenate([(tried[1:] + tried[:-1]) / 2, tried[-1:] + 1])
    right = [float((active >= edge).mean() + (idle < edge).mean()) for edge in edges]
    return float(edges[int(np.argmax(right))])


def simulation(predicted: Values, values: Values, items: Sequence[Item]) -> float | None:
    """The correlation over the tokens of the items; 0 where always the same is said, None without items."""
    said, true = (_windows(array, items) for array in (predicted, values))
    if len(true) < 2 or true.std() == 0:
        return None
    return float(np.corrcoef(said, true)[0, 1]) if said.std() > 0 else 0.0


def _windows(array: Values, items: Sequence[Item]) -> Float[np.ndarray, " place"]:
    taken = [array[row, at - len(item.example.ids) + 1 : at + 1] for item in items for row, at in [item.example.place]]
    return np.concatenate(taken) if taken else np.zeros(0)


def detection(predicted: Values, items: Sequence[Item], edge: float) -> float | None:
    """Balanced accuracy on the places of the items."""
    if not items:
        return None
    said = predicted[places(items)] >= edge
    return balanced(said.tolist(), [item.active for item in items])


def fuzzes(items: Sequence[Item], seed: int) -> list[Fuzz]:
    """Of every item at which the part is active, both its active tokens and as many idle ones, where there are so many.

    Which of both is asked is drawn by `seed`.
    """
    generator = np.random.default_rng(seed)
    found = []
    for number, item in enumerate(items):
        active = [at for at, value in enumerate(item.example.values) if value >= ACTIVE]
        idle = [at for at, value in enumerate(item.example.values) if value < NOTHING]
        if not item.active or len(idle) < len(active):
            continue
        right = bool(generator.random() < 0.5)
        wrong = generator.choice(len(idle), len(active), replace=False)
        marked = active if right else sorted(idle[at] for at in wrong.tolist())
        found.append(Fuzz(number, tuple(marked), right))
    return found


def fuzzing(predicted: Values, items: Sequence[Item], asked: Sequence[Fuzz], edge: float) -> float | None:
    """Balanced accuracy on marked tokens, by the mean of what is said of them."""
    said = []
    for fuzz in asked:
        row, end = items[fuzz.item].example.place
        first = end - len(items[fuzz.item].example.ids) + 1
        said.append(bool(np.mean([predicted[row, first + at] for at in fuzz.marked]) >= edge))
    return balanced(said, [fuzz.right for fuzz in asked])


def intruder(predicted: Values, items: Sequence[Item]) -> float | None:
    """The share of idle items of which less is said than of each of four active ones; of ties, their share."""
    said = predicted[places(items)] if items else np.zeros(0)
    active = [float(one) for one, item in zip(said, items, strict=True) if item.active]
    idle = [float(one) for one, item in zip(said, items, strict=True) if not item.active]
    if len(active) < OF - 1 or not idle:
        return None
    right = 0.0
    for number, own in enumerate(idle):
        others = [active[(number + step) % len(active)] for step in range(OF - 1)]
        lowest = min(own, *others)
        right += (own == lowest) / (others.count(lowest) + (own == lowest))
    return right / len(idle)


def scored(
    predicted: Values, values: Values, items: Sequence[Item], asked: Sequence[Fuzz], edge: float
) -> dict[str, float | None]:
    """All scores of one part."""
    return {
        "simulation": simulation(predicted, values, items),
        "detection": detection(predicted, items, edge),
        "fuzzing": fuzzing(predicted, items, asked, edge),
        "intruder": intruder(predicted, items),
        "surprisal": None,
    }


def mean_scores(
    scores: Sequence[Mapping[str, float | None]], seed: int = 0
) -> dict[str, dict[str, float | int] | None]:
    """Means over parts with 95 % intervals (parts are drawn again); None where nothing was measured."""
    generator = np.random.default_rng(seed)
    found: dict[str, dict[str, float | int] | None] = {}
    for name in scores[0] if scores else ():
        own = np.array([value for one in scores if (value := one[name]) is not None])
        if not len(own):
            found[name] = None
            continue
        means = generator.choice(own, (2000, len(own))).mean(1)
        low, high = np.quantile(means, [0.025, 0.975])
        found[name] = {"value": float(own.mean()), "low": float(low), "high": float(high), "n": len(own)}
    return found
