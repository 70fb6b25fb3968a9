"""Tells of every head and neuron of a subject what it does in terms of text."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Int
from torch import Tensor

from pellucid.base.memory import keeping
from pellucid.base.work import Results
from pellucid.exact.model import Model
from pellucid.forms.forms import token_texts
from pellucid.project.descriptions import InWords
from pellucid.stages.about.looking import Looking, where_heads_look
from pellucid.stages.about.places import Places, acting_places
from pellucid.stages.about.tell import Teller, ranked
from pellucid.stages.about.without import SPAN, Ablation, Example, without
from pellucid.stages.lift.means import averages

MEAN_TOKENS = 8_192
HEAD_EXAMPLES, NEURON_EXAMPLES = 24, 3
"""Places of a part at which it is taken away."""
ASKED = 0.9
"""The share of the neurons' summed effect whose neurons are taken away; of the others only where they fire is told."""
WORK = 1e13
"""Multiplications that taking parts away may cost: of a large model, fewer neurons are."""


@keeping()
def tell(
    model: Model, rows: Int[Tensor, "row pos"], seed: int = 0, results: Results[list[Example]] | None = None
) -> dict[str, InWords]:
    """What each head (`L02.H00`) and neuron (`L02.N0417`) does on `rows`, the strongest of a layer first.

    Heads and neurons come by layer, each kind in the order of its effect. What is asked of
    rows one by one is kept among `results`, so that a killed run goes on from there. Raises `ValueError` without rows.
    """
    if not len(rows):
        raise ValueError("what parts do is told on at least one row of tokens")
    some = rows[: max(1, MEAN_TOKENS // rows.shape[1])]
    means = {name: mean for name, mean in averages(model, some).items() if name.endswith((".z", ".post"))}
    places = acting_places(model, rows, means, seed)
    looking = where_heads_look(model, rows, places)
    teller = Teller(rows, token_texts(model.tokenizer), model.tokenizer.decode)
    totals = {ending: sum(float(of.total.sum()) for name, of in places.items() if name.endswith(ending))
              for ending in (".z", ".post")}  # fmt: skip
    examples = _examples(model, rows, means, _asked(model, rows, places), results)
    found: dict[str, InWords] = {}
    for name in sorted(places, key=lambda name: (name.partition(".")[0], name.endswith(".post"))):
        whole = max(totals[".z" if name.endswith(".z") else ".post"], 1e-30)
        for index in places[name].total.argsort(descending=True, stable=True).tolist():
            text = _told(teller, name, index, places[name], looking, examples.get((name, index), []))
            found[_part(name, index)] = InWords(text, float(places[name].total[index]) / whole)
    return found


def _part(name: str, index: int) -> str:
    """The heads of `L00.z` are called L00.H01, the neurons of `L00.post` L00.N0001."""
    layer = name.partition(".")[0]
    return f"{layer}.H{index:02d}" if name.endswith(".z") else f"{layer}.N{index:04d}"


def _told(
    teller: Teller,
    name: str,
    index: int,
    places: Places,
    looking: Mapping[tuple[str, int], Looking],
    examples: list[Example],
) -> str:
    if name.endswith(".z"):
        return teller.head(places, index, looking[name, index], examples)
    return teller.neuron(places, index, examples)


def _asked(model: Model, rows: Int[Tensor, "row pos"], places: Mapping[str, Places]) -> list[Ablation]:
    """The places at which parts are taken away: of every head, and of the strongest neurons that there is time for."""
    room = int(WORK / (SPAN * model.subject.parameters))
    effects = {
        (name, index): effect
        for name, of in places.items()
        if name.endswith(".post")
        for index, effect in enumerate(of.total.tolist())
    }
    heads = [(name, head) for name, of in places.items() if name.endswith(".z") for head in range(of.at.shape[1])]
    most = min(HEAD_EXAMPLES, max(1, room // (2 * max(1, len(heads)))))
    found = [Ablation(at, name, head) for name, head in heads for at in _distinct(places[name], head, rows, most)]
    for name, index in ranked(effects, ASKED)[: max(0, room - len(found)) // NEURON_EXAMPLES]:
        found += [Ablation(at, name, index) for at in _distinct(places[name], index, rows, NEURON_EXAMPLES)]
    return found


def _distinct(places: Places, index: int, rows: Int[Tensor, "row pos"], most: int) -> list[int]:
    """The strongest places of a part, of which no two have the same token and follow the same one."""
    flat, length = rows.flatten(), rows.shape[1]
    seen: set[tuple[int, int]] = set()
    chosen: list[int] = []
    for place, effect in zip(places.at[:, index].tolist(), places.effect[:, index].tolist(), strict=True):
        pair = (int(flat[place]), int(flat[place - 1]) if place % length else -1)
        if effect > 0 and pair not in seen:
            seen.add(pair)
            chosen.append(place)
        if len(chosen) == most:
            break
    return chosen


def _examples(
    model: Model,
    rows: Int[Tensor, "row pos"],
    means: Mapping[str, Tensor],
    asked: list[Ablation],
    results: Results[list[Example]] | None,
) -> dict[tuple[str, int], list[Example]]:
    """What taking each part away changes, by its activation and number."""
    found: dict[tuple[str, int], list[Example]] = {}
    for question, example in zip(asked, without(model, rows, means, asked, results), strict=True):
        found.setdefault((question.name, question.index), []).append(example)
    return found
