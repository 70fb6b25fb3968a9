"""Sentences about what a part does in terms of text, each with the share of the part that it covers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from jaxtyping import Int
from torch import Tensor

from pellucid.forms.form import TokenText
from pellucid.listing.wrap import quoted, shown_token
from pellucid.stages.about.looking import NOWHERE, Looking, strongest
from pellucid.stages.about.places import Places
from pellucid.stages.about.without import Example

Key = TypeVar("Key")

TOKENS = 5
"""Tokens that a sentence names."""
CLEAR = 0.5
"""The share of attention from which on one relation says where a head looks."""
EXAMPLES = 2
"""Places of a head that are told in full."""
SEEN = 0.01
"""By so much at least a probability changes in an example."""
BEFORE = 7
"""Tokens of an example before the one that is predicted."""


class Teller:
    """Tells what parts do on `rows`, in the tokens of a tokenizer."""

    def __init__(self, rows: Int[Tensor, "row pos"], token_text: TokenText, decode: Callable[[list[int]], str]) -> None:
        self.flat, self.length = rows.flatten().tolist(), rows.shape[1]
        self.token_text, self.decode = token_text, decode

    def neuron(self, places: Places, index: int, examples: Sequence[Example]) -> str:
        """A neuron: the tokens on which or behind which it acts, what it speaks for, and an example."""
        shares, at = places.share()[:, index].tolist(), places.at[:, index].tolist()
        above = places.above[:, index].tolist()
        whole = sum(shares)
        if whole <= 0:
            return "Never changes a prediction."
        up = sum(share for share, more in zip(shares, above, strict=True) if more) / whole
        verb = "Fires" if up >= 0.5 else "Is silent"
        return _joined([f"{verb} {self._where(shares, at)}", self._says(examples), *self._examples(examples)[:1]])

    def head(self, places: Places, index: int, looking: Looking, examples: Sequence[Example]) -> str:
        """A head: where it acts, where it looks from there, what it then speaks for, and an example."""
        shares, at = places.share()[:, index].tolist(), places.at[:, index].tolist()
        if sum(shares) <= 0:
            return "Never changes a prediction."
        acts = f"Acts {self._where(shares, at)}, and looks {self._looks(looking)} from there"
        return _joined([acts, self._moves(looking, examples), *self._examples(examples)])

    def _where(self, shares: Sequence[float], at: Sequence[int]) -> str:
        """The tokens on which a part acts, or those behind which, where these are clearly fewer."""
        found, told = {}, {}
        for steps, word in ((0, "on"), (1, "behind")):
            sums: dict[int, float] = defaultdict(float)
            for share, place in zip(shares, at, strict=True):
                token = self._token(place, steps)
                if token is not None:
                    sums[token] += share
            chosen = strongest(sums, TOKENS)
            found[word] = (chosen, sum(sums[token] for token in chosen))
            told[word] = sum(sums[token] ** 2 for token in chosen)
        word = "behind" if told["behind"] > 1.2 * told["on"] else "on"
        chosen, share = found[word]
        return f"{word} {self._tokens(chosen)} ({_percent(share)} of its effect)"

    def _token(self, place: int, steps: int) -> int | None:
        """The token so many steps before a place of the same row."""
        return int(self.flat[place - steps]) if place % self.length >= steps else None

    def _looks(self, looking: Looking) -> str:
        """Where a head looks: at tokens at one distance, at the same or what came after it, or at certain tokens."""
        steps, share = max(looking.steps.items(), key=lambda entry: entry[1])
        nowhere = looking.tokens.get(NOWHERE, 0.0)
        chosen = strongest({token: held for token, held in looking.tokens.items() if token != NOWHERE}, TOKENS)
        covered = sum(looking.tokens[token] for token in chosen)
        if nowhere >= CLEAR:
            said = f"at the first token of the text ({_percent(nowhere)} of its attention)"
        elif share >= CLEAR:
            far = {0: "at the token itself", 1: "at the token before"}.get(steps, f"{steps} tokens back")
            said = f"{far} ({_percent(share)} of its attention)"
        elif looking.after >= CLEAR:
            said = f"at what followed the same token before ({_percent(looking.after)} of its attention)"
        elif looking.same >= CLEAR:
            said = f"at the same token before ({_percent(looking.same)} of its attention)"
        else:
            return f"at {self._tokens(chosen)} ({_percent(covered)} of its attention{self._far(looking)})"
        return said if covered < CLEAR else f"{said}, {'else ' * (nowhere >= CLEAR)}at {self._tokens(chosen)}"

    @staticmethod
    def _far(looking: Looking) -> str:
        """How far back most of a head's attention goes."""
        below, half = 0.0, sum(looking.steps.values()) / 2
        for steps in sorted(looking.steps):
            below += looking.steps[steps]
            if below >= half:
                return f", half of it within {steps} tokens" if steps else ""
        return ""

    def _moves(self, looking: Looking, examples: Sequence[Example]) -> str:
        """What a head speaks for, by the token that it looks at most."""
        pairs: dict[int, Example] = {}
        for example in sorted(examples, key=lambda example: -example.kl):
            pairs.setdefault(looking.most.get(example.place, NOWHERE), example)
        said = {example.said for example in pairs.values()}
        if len(said) < 2:
            return self._says(examples)
        clauses = [f"{self._shown(token)} → {self._shown(example.said)}" for token, example in pairs.items()]
        return f"What it looks at → what it speaks for: {', '.join(clauses[:TOKENS])}"

    def _says(self, examples: Sequence[Example]) -> str:
        """The tokens that a part speaks for, and against, by how much of the change each is."""
        speaks: dict[int, float] = defaultdict(float)
        against: dict[int, float] = defaultdict(float)
        for example in examples:
            speaks[example.said] += example.with_part[0] - example.without_part[0]
            against[example.unsaid] += example.without_part[1] - example.with_part[1]
        pro, contra = strongest(speaks, TOKENS), strongest(against, 3)
        clauses = [f"speaks for {self._tokens(pro)}"] if pro else []
        clauses += [f"against {self._tokens(contra)}"] if contra else []
        said = ", ".join(clauses)
        return said[:1].upper() + said[1:]

    def _examples(self, examples: Sequence[Example]) -> list[str]:
        """The places where taking the part away changes most, no two about the same token, in full.

        Where that shows at none of them, it is said that there is no example.
        """
        best: dict[int, Example] = {}
        for example in sorted(filter(shows, examples), key=lambda example: -example.kl):
            best.setdefault(example.said, example)
        if examples and not best:
            tried = f"any of the {len(examples)} places" if len(examples) > 1 else "the one place"
            return [f"No example was found: without it no probability changes by {_percent(SEEN)} at {tried} tried"]
        return [self._example(example) for example in list(best.values())[:EXAMPLES]]

    def _example(self, best: Example) -> str:
        """One place: the text, what the model says there, and what it says without the part."""
        at, place = (best.place + best.later) % self.length, best.place + best.later
        text = self.decode(self.flat[place - min(at, BEFORE) : place + 1])
        before = " …" if at > BEFORE else ""
        (said, unsaid), (less, more) = best.with_part, best.without_part
        return (
            f"For example behind{before} {quoted(text.strip(' '))}: {self._shown(best.said)} {_percent(said)}, without "
            f"it {_percent(less)}; {self._shown(best.unsaid)} {_percent(unsaid)}, without it {_percent(more)}"
        )

    def _tokens(self, tokens: Sequence[int]) -> str:
        return ", ".join(self._shown(token) for token in tokens)

    def _shown(self, token: int) -> str:
        return "the first token" if token == NOWHERE else shown_token(self.token_text(token))


def shows(example: Example) -> bool:
    """Whether taking the part away changes what the model says by what a reader sees."""
    pairs = zip(example.with_part, example.without_part, strict=True)
    return max(abs(with_part - without_part) for with_part, without_part in pairs) >= SEEN


def _joined(sentences: Sequence[str]) -> str:
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 or share == 0 else f"{100 * share:.1g} %"


def ranked(effects: Mapping[Key, float], share: float) -> list[Key]:
    """The keys of the largest `effects`, the largest first, until they make up `share` of the whole."""
    left = share * sum(effects.values())
    chosen: list[Key] = []
    for key in sorted(effects, key=lambda key: -effects[key]):
        if left <= 0 or effects[key] <= 0:
            break
        chosen.append(key)
        left -= effects[key]
    return chosen
