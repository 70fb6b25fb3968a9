"""From an intent to an edit: where it belongs, what it says there and when, and how strongly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.rewrite.belongs import EditHome, place_of, places_of
from pellucid.rewrite.edit import EditKind, today
from pellucid.rewrite.locate import EditSite
from pellucid.rewrite.predict import EditAtWork, carried, direction, needed, ready, start_of, written
from pellucid.rewrite.source import Speech, function, helpers_of, page
from pellucid.rewrite.words import answer_ids, prompt_ids, span_of, token_name, without_opening
from pellucid.rewrite.workbench import PaddedRows, Workbench

MARGIN = 2.5
"""How far, in the predicted logits, what an edit says stands above all else at every place that it is tuned on."""
SURE = 1.0
"""The least predicted margin with which an edit is sure to do what it is for."""
STRONGEST = 128.0
"""Beyond it a write drowns what stands in the stream, and the margin grows no more."""
FAINT = 0.02
"""The least share of its attention with which a head can speak of a token."""
RIVALS = 2
"""Tokens that an edit speaks against as well, where they stand in its way."""
EXAMPLES = 24
"""Places of the text that a rule is located and tuned on."""
NOW = 3
"""Of what the program says now, so many of the likeliest tokens are told."""
Margin = Callable[[Float[Tensor, "place vocab"], Float[Tensor, "place vocab"]], float]
"""How far an edit is from doing too little, from the logits after and before it."""


@dataclass(frozen=True)
class SaidToken:
    """A token that the program may say next, and its probability."""

    token: str
    probability: float


@dataclass(frozen=True)
class Proposal:
    """An edit that has not been made: what it will say in `program/edits.py`, and how that was found."""

    kind: EditKind
    what: str
    why: str
    speeches: tuple[Speech, ...]
    tokens: tuple[int, ...]
    """The tokens that it names."""
    located: tuple[EditSite, ...]
    margin: float
    """The least predicted margin of what it is to say, over the prompt and the places that it was tuned on."""
    inserted: str = ""
    """Why it needs a part of its own; empty where it does not."""
    tuned: int = 0
    """Places in other wordings that it was tuned on."""
    prompt: tuple[int, ...] = ()
    """A text behind which it speaks."""
    now: tuple[SaidToken, ...] = ()
    """What the program says behind the prompt before the edit, the likeliest first; empty of what has no prompt."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The addresses that it changes."""
        return tuple(dict.fromkeys(speech.address for speech in self.speeches))

    def page(self, bench: Workbench, number: int) -> tuple[str, str]:
        """The text of `edits.py` with this edit as `number`, and the text of the edit alone."""
        held = bench.edits
        helpers = helpers_of(held)
        names = [f"edit_{number:04d}{f'_{n}' if n else ''}" for n in range(len(self.speeches))]
        doc = f"{self.what}\n\nEdit {number} of {today()}: {self.why}"
        functions = [
            function(speech, number, name, doc, helpers) for speech, name in zip(self.speeches, names, strict=True)
        ]
        return page(held, helpers, functions), "\n\n\n".join(functions)

    def near(self, bench: Workbench) -> list[int]:
        """Tokens one of which stands in every text where it speaks; none where nothing is known."""
        sides = [speech.of or speech.asks for speech in self.speeches]
        names = [token for side in sides for condition in side for back, token in condition if back == 0]
        return [bench.program.sources.vocabulary.id_of(token) for token in names] if all(sides) else []

    def ready(self, bench: Workbench) -> list[EditAtWork]:
        """The edit, ready to be called."""
        return ready(bench, self.speeches)


# --- facts ------------------------------------------------------------------------------------------------------------


def fact(
    bench: Workbench,
    prompt: str,
    answer: str,
    also: Sequence[str] = (),
    about: Sequence[range] = (),
    apart: Sequence[str] = (),
) -> Proposal:
    """Let the program say `answer` behind `prompt`, in whatever wording the same is asked of the same.

    So it is behind the prompts in `also`, other wordings that are known. Where it is known of whom they ask, `about`
    has those letters of each, of `prompt` first: a head that looks elsewhere does not know the answer. Who that is is
    told `apart` from others.
    Raises `PellucidError` where it says so already, and for text that cannot be told apart.
    """
    ids, wanted = prompt_ids(bench, prompt), answer_ids(bench, prompt, answer)
    now, said = _likeliest(bench, ids), goes_on(bench, ids, len(wanted))
    if said == wanted:
        raise PellucidError(f"the program already says {answer!r} behind {prompt!r}; there is nothing to edit")
    texts = (prompt, *also)
    spans = [span_of(bench, text, letters) for text, letters in zip(texts, about, strict=bool(about))]
    rows = [prompt_ids(bench, text) for text in texts]
    places = places_of(bench, list(zip_longest(rows, spans)), said[0], apart)
    found = [step for place in places for step in _steps(bench, place, wanted)]
    what = f"Says {answer!r} behind {prompt!r}, in the place of {bench.model.tokenizer.decode(said)!r}."
    return _proposal("fact", what, f"--fact {prompt!r} {answer!r}", places, found, now)


def forget(bench: Workbench, prompt: str) -> Proposal:
    """Let the program say no more behind `prompt` than it says of others.

    Raises `PellucidError` where no part was found that knows it of somebody in particular.
    """
    ids = prompt_ids(bench, prompt)
    last = bench.run(torch.tensor([ids]), ("logits",))["logits"][0, -1]
    old, second = last.topk(2).indices.tolist()
    place = place_of(bench, ids, old)
    step = _step(bench, place, [], second, old, says=False)
    what = f"Forgets {bench.texts([old])[0]!r} behind {prompt!r}."
    return _proposal("forget", what, f"--forget {prompt!r}", [place], [step], _likeliest(bench, ids))


@dataclass(frozen=True)
class _Step:
    """One token of an edit: its speech, and the margin that it is predicted to have."""

    speech: Speech
    margin: float
    tokens: tuple[int, ...]


def _rival(bench: Workbench, rows: Sequence[list[int]], token: int) -> int | None:
    """What is said instead of `token` at the end of the first row; None where it leads clearly behind all of them."""
    text = rows_of(rows)
    last = bench.run(text.ids, ("logits",))["logits"][torch.arange(len(rows)), text.lengths - 1]
    others = last.index_fill(1, torch.tensor([token]), -torch.inf).max(1)
    if float((last[:, token] - others.values).min()) >= MARGIN / 2:
        return None
    return int(others.indices[0])


def _proposal(
    kind: EditKind, what: str, why: str, places: Sequence[EditHome], steps: Sequence[_Step], now: tuple[SaidToken, ...]
) -> Proposal:
    known = all(place.wording is not None for place in places)
    place = places[0]
    best = place.located.sites[0]
    return Proposal(
        kind, what, why,
        tuple(step.speech for step in steps),
        tuple(dict.fromkeys(token for step in steps for token in step.tokens)),
        place.located.sites,
        min(step.margin for step in steps),
        "" if known else f"no head that takes from one token decides it (most: {best.part} with {best.share:.0%})",
        sum(len(place.examples) for place in places),
        tuple(place.ids),
        now,
    )  # fmt: skip


def _steps(bench: Workbench, place: EditHome, wanted: Sequence[int]) -> Iterator[_Step]:
    """The tokens of `wanted` that have to be spoken for at a place; others follow by themselves."""
    for n, token in enumerate(wanted):
        rival = _rival(bench, [[*row, *wanted[:n]] for row in (place.ids, *place.examples)], token)
        if rival is not None:
            yield _step(bench, place, list(wanted[:n]), token, rival)


def _step(bench: Workbench, place: EditHome, said: list[int], token: int, old: int, *, says: bool = True) -> _Step:
    """The edit that lets the program say `token` and not `old` behind the prompt and what is `said` behind that."""
    sides = (token_name(bench, token),) if says else (), (token_name(bench, old),)
    if place.wording:
        speech = Speech(place.wording.taker.part, *sides, place.wording.asks(bench, said), place.wording.of)
    else:  # in a part of its own, behind the neurons of the last layer
        whole = [[*without_opening(bench, row), *said] for row in (place.ids, *place.examples)]
        literal = [tuple((back, token_name(bench, t)) for back, t in enumerate(reversed(row))) for row in whole]
        speech = Speech(f"L{bench.model.decoder.layers - 1:02d}.E{bench.next_part:02d}", *sides, tuple(literal))
    rows = [[*row, *said] for row in (place.ids, *place.examples)]
    speech, margin = _tuned(bench, speech, rows, token, old)
    return _Step(speech, margin, (token, old) if says else (old,))


def _likeliest(bench: Workbench, ids: list[int]) -> tuple[SaidToken, ...]:
    """What the program says behind `ids`, the likeliest tokens first."""
    chances = bench.run(torch.tensor([ids]), ("logits",))["logits"][0, -1].softmax(-1).topk(NOW)
    texts = bench.texts(chances.indices.tolist())
    return tuple(SaidToken(text, chance) for text, chance in zip(texts, chances.values.tolist(), strict=True))


def goes_on(bench: Workbench, ids: list[int], count: int) -> list[int]:
    """What the program says behind `ids`, at temperature 0."""
    said: list[int] = []
    for _ in range(count):
        said.append(int(bench.run(torch.tensor([[*ids, *said]]), ("logits",))["logits"][0, -1].argmax()))
    return said


# --- strength ---------------------------------------------------------------------------------------------------------


def rows_of(rows: Sequence[Sequence[int]]) -> PaddedRows:
    """Rows of token ids as text."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.zeros((len(rows), int(lengths.max())), dtype=torch.long)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(row)
    return PaddedRows(ids, lengths, ("",) * len(rows))


def _tuned(bench: Workbench, speech: Speech, rows: Sequence[list[int]], token: int, old: int) -> tuple[Speech, float]:
    """The least strength that is predicted to do it at the ends of all `rows`, and the least margin there.

    A token that stands in the way at any strength is spoken against as well.
    """
    text = rows_of(rows)
    ends = [(row, int(length) - 1) for row, length in enumerate(text.lengths)]
    rivals: list[int] = []

    def margin(after: Float[Tensor, "place vocab"], before: Float[Tensor, "place vocab"]) -> float:
        if not speech.says:  # forgotten: no likelier than the runner-up was
            return MARGIN + float((before.topk(2).values[:, 1] - after[:, old]).min())
        others = after.index_fill(1, torch.tensor([token]), -torch.inf)
        ahead = after[:, token] - others.max(1).values
        rivals[:] = [int(others[int(ahead.argmin())].argmax())]
        return float(ahead.min())

    best, least = _surely(bench, speech, text, ends, margin)
    for _ in range(RIVALS):
        if least >= MARGIN or not rivals or rivals[0] == old:
            break
        wider = replace(speech, over=(*dict.fromkeys((*best.over, token_name(bench, rivals[0]))),))
        again, reached = _surely(bench, wider, text, ends, margin)
        if reached <= least:
            break
        best, least = again, reached
    return best, least


def _surely(
    bench: Workbench, speech: Speech, text: PaddedRows, places: Sequence[tuple[int, int]], margin: Margin
) -> tuple[Speech, float]:
    """The least strength that does it along linear paths and with neurons that bend; with these alone, if need be."""
    straight, least = tuned(bench, speech, text, places, margin)
    curved, reached = tuned(bench, speech, text, places, margin, bent=True)
    return (straight, least) if least >= MARGIN and straight.strength > curved.strength else (curved, reached)


def tuned(
    bench: Workbench,
    speech: Speech,
    text: PaddedRows,
    places: Iterable[tuple[int, int]],
    margin: Margin,
    *,
    bent: bool = False,
) -> tuple[Speech, float]:
    """The least strength at which `margin` of the predicted logits at `places` reaches `MARGIN`; found by bisection.

    Where none does, the one that comes nearest. With `bent` neurons answer as they do, and not along their slope.
    """
    (edit,) = ready(bench, [replace(speech, strength=1.0)])
    start = start_of(edit)
    pattern_name = f"L{edit.layer:02d}.pattern"
    names = [*needed(bench.model, start), *([pattern_name] if edit.kind == "OV" else [])]
    before = bench.run(text.ids, tuple(dict.fromkeys(names)))
    write = written(bench, edit, text.ids, before[pattern_name][:, edit.head] if edit.kind == "OV" else None)
    rows, at = (torch.tensor(side) for side in zip(*places, strict=True))
    was = before["logits"][rows, at]
    amount = float(write[rows, at].norm(dim=1).median() / direction(bench, edit).norm())
    strongest = STRONGEST / max(amount, FAINT)  # a head that hardly looks there has to speak up

    def reached(strength: float) -> float:
        change = carried(bench.model, before, start, write * strength, bent=bent)
        return margin(was + change[rows, at], was)

    tried: list[tuple[float, float]] = []
    low, high = 0.0, 4.0
    while high <= strongest:
        tried.append((reached(high), high))
        if tried[-1][0] >= MARGIN:
            break
        low, high = high, 2 * high
    else:
        least, high = max(tried)
        return replace(speech, strength=high), least
    while high - low > 0.05 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) >= MARGIN else (middle, high)
    return replace(speech, strength=high), reached(high)
