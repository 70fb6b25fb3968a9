"""Symptoms for `benchmarks/debug.py`: what a model says wrong in true stories, grouped by what tells wrong from right.

Nothing here knows what was planted. A story says which of its tokens the text before them determines; where the model
says something else, that is a symptom. Symptoms that say the same in the place of the same are held against the places
where the model says the same thing right: few tokens of the sentence tell the two apart, and symptoms that the same
tokens tell belong together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from tokenizers import Tokenizer
from torch import Tensor

from pellucid.rewrite.intent import rows_of
from pellucid.zoo.village import Story
from pellucid.zoo.village.evaluate import Example, Target, example

BATCH = 32
FEWEST = 4
"""Symptoms that say the same in the place of the same, below which they are left alone."""
WRONG = 5
"""Symptoms that a condition must explain for each place that it wrongly accuses."""
LEFT = 0.05
"""The share of symptoms of a group that may stay unexplained."""
COMMON, MOST = 0.02, 4
"""The least share of symptoms that must stand at the same distance from the trigger to make a pattern of its own, and
how many patterns there may be."""
SIBLINGS = 2
"""Tokens that are tried in the place of a trigger."""
STOP = "."


@dataclass(frozen=True)
class Place:
    """A determined span of a story: its row, its tokens, and the sentence before it, in tokens."""

    row: int
    target: Target
    answer: tuple[int, ...]
    before: tuple[int, ...]

    @property
    def group(self) -> str:
        """What determines it."""
        return self.target.span.phenomenon


@dataclass(frozen=True, eq=False)
class Sample:
    """True stories, as text and in tokens."""

    stories: tuple[Story, ...]
    rows: tuple[Example, ...]
    places: tuple[Place, ...]

    @staticmethod
    def of(stories: Iterable[Story], tokenizer: Tokenizer) -> Sample:
        told = tuple(stories)
        rows = tuple(example(story, tokenizer) for story in told)
        stop = tokenizer.token_to_id(STOP)
        places = [_place(n, row.tokens, target, stop) for n, row in enumerate(rows) for target in row.targets]
        return Sample(told, rows, tuple(places))


def _place(row: int, tokens: Sequence[int], target: Target, stop: int) -> Place:
    ends = [at for at in range(1, target.start) if tokens[at] == stop]
    start = ends[-1] + 1 if ends else 1
    return Place(row, target, tuple(tokens[target.start : target.end]), tuple(tokens[start : target.start]))


@dataclass(frozen=True, eq=False)
class Heard:
    """What a model says on a sample: the tokens in the place of each span, and nats and tokens of each story."""

    said: tuple[tuple[int, ...], ...]
    nats: Float[Tensor, " row"]
    tokens: Float[Tensor, " row"]

    def right(self, sample: Sample) -> list[bool]:
        """Of every place whether all of its tokens are right."""
        return [said == place.answer for said, place in zip(self.said, sample.places, strict=True)]


def listen(logits: Callable, sample: Sample) -> Heard:  # type: ignore[type-arg]
    """Run a model over a sample once."""
    order = sorted(range(len(sample.rows)), key=lambda row: len(sample.rows[row].tokens))
    top: dict[int, list[int]] = {}
    nats, counts = torch.zeros(len(order)), torch.zeros(len(order))
    for at in range(0, len(order), BATCH):
        chosen = order[at : at + BATCH]
        text = rows_of([list(sample.rows[row].tokens) for row in chosen])
        found = logits(text.ids)
        lost = F.cross_entropy(found[:, :-1].transpose(1, 2), text.ids[:, 1:], reduction="none") * text.inside[:, 1:]
        nats[chosen], counts[chosen] = lost.sum(1), text.inside[:, 1:].sum(1).float()
        top |= dict(zip(chosen, found.argmax(-1).tolist(), strict=True))
    spans = ((top[p.row], p.target) for p in sample.places)
    said = tuple(tuple(row[target.start - 1 : target.end - 1]) for row, target in spans)
    return Heard(said, nats, counts)


# --- groups -----------------------------------------------------------------------------------------------------------


@dataclass
class Bug:
    """Symptoms that belong together: the tokens that tell them, and what is said in the place of what."""

    group: str
    triggers: tuple[int, ...]
    """Any one of them stands in the sentence before a symptom."""
    pairs: Counter[tuple[int, int]] = field(default_factory=Counter)
    """The right token and the one that is said, with how often."""
    symptoms: list[int] = field(default_factory=list)
    """Places, by number."""

    def met(self, place: Place) -> bool:
        """Whether a place is one that this bug can spoil."""
        return place.group == self.group and bool({*place.before} & {*self.triggers})

    def spoils(self, place: Place) -> bool:
        """Whether it is one that this bug is said to spoil."""
        return self.met(place) and place.answer[0] in {right for right, _ in self.pairs}


def bugs(sample: Sample, heard: Heard) -> list[Bug]:
    """What the model says wrong, by what it has in common, the most frequent first."""
    found: dict[tuple[str, int], Bug] = {}
    for group, right, said, wrong in _kinds(sample, heard):
        passing = [n for n, p in enumerate(sample.places) if p.group == group and p.answer[0] == right]
        fine = [n for n in passing if heard.said[n] == sample.places[n].answer]
        triggers = tuple(
            _triggers([{*sample.places[n].before} for n in wrong], [{*sample.places[n].before} for n in fine])
        )
        if not triggers:
            continue
        bug = found.setdefault((group, triggers[0]), Bug(group, triggers))
        bug.triggers = tuple(dict.fromkeys((*bug.triggers, *triggers)))
        bug.pairs[right, said] += len(wrong)
        bug.symptoms += wrong
    return sorted(found.values(), key=lambda bug: -len(bug.symptoms))


def _kinds(sample: Sample, heard: Heard) -> Iterator[tuple[str, int, int, list[int]]]:
    """Symptoms by what determines the place, what is right, and what is said."""
    kinds: dict[tuple[str, int, int], list[int]] = {}
    for n, (place, said) in enumerate(zip(sample.places, heard.said, strict=True)):
        if said[0] != place.answer[0]:
            kinds.setdefault((place.group, place.answer[0], said[0]), []).append(n)
    yield from ((*kind, wrong) for kind, wrong in kinds.items() if len(wrong) >= FEWEST)


def _triggers(wrong: Sequence[set[int]], fine: Sequence[set[int]]) -> Iterator[int]:
    """Tokens one of which stands before almost every symptom and hardly before what is right; the best first."""
    left = list(wrong)
    accused = Counter(token for tokens in fine for token in tokens)
    while len(left) > LEFT * len(wrong):
        explained = Counter(token for tokens in left for token in tokens)
        worth = {token: count - WRONG * accused[token] for token, count in explained.items()}
        best = max(worth, key=lambda token: (worth[token], -token), default=None)
        if best is None or worth[best] <= 0:
            return
        yield best
        left = [tokens for tokens in left if best not in tokens]


# --- what to ask for --------------------------------------------------------------------------------------------------


def patterns(sample: Sample, bug: Bug, tokenizer: Tokenizer) -> list[str]:
    """The text from a trigger to the place, ` *` where it differs: one for each distance that is common enough."""
    reaches = Counter(_reach(sample.places[n], bug) for n in bug.symptoms)
    found = []
    for reach, count in reaches.most_common(MOST):
        if count < COMMON * len(bug.symptoms):
            break
        tails = [p.before[-reach:] for n in bug.symptoms if _reach(p := sample.places[n], bug) == reach]
        columns = [{tail[at] for tail in tails} for at in range(reach)]
        found.append("".join(tokenizer.decode([*column]) if len(column) == 1 else " *" for column in columns))
    return found


def siblings(sample: Sample, heard: Heard, bug: Bug) -> list[int]:
    """Tokens that stand between the same tokens as the trigger where the model is right, the most frequent first."""
    between: dict[bool, Counter[tuple[int, int, int]]] = {True: Counter(), False: Counter()}
    for place, said in zip(sample.places, heard.said, strict=True):
        if place.group == bug.group and (bug.met(place) or said == place.answer):
            met, text = bug.met(place), place.before
            between[met].update(zip(text, text[1:], text[2:], strict=False))
    trigger = bug.triggers[0]
    around = {(left, right) for left, token, right in between[True] if token == trigger}
    found: Counter[int] = Counter()
    for (left, token, right), count in between[False].items():
        if (left, right) in around and token != trigger:
            found[token] += count
    return [token for token, _ in found.most_common(SIBLINGS)]


def _reach(place: Place, bug: Bug) -> int:
    """How many tokens before a place the nearest trigger stands."""
    return next(back for back, token in enumerate(reversed(place.before), 1) if token in bug.triggers)


def shortest(sample: Sample, bug: Bug) -> Place:
    """The symptom with the shortest sentence."""
    return min((sample.places[n] for n in bug.symptoms), key=lambda place: len(place.before))
