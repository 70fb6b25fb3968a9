"""From an intent to an edit: where it belongs, what it says there and when, and how strongly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.rewrite.edit import Kind, today
from pellucid.rewrite.locate import Located, Site, locate
from pellucid.rewrite.places import TAKES, Asked, alike, conditions, surveyed
from pellucid.rewrite.predict import Edited, carried, needed, start_of, written
from pellucid.rewrite.source import Condition, Speech, function, helpers_of, page
from pellucid.rewrite.words import answer_ids, forms, prompt_ids, token_name, word_at
from pellucid.rewrite.workbench import Text, Workbench

MARGIN = 2.5
"""How far, in the predicted logits, what an edit says stands above all else at every place that it is tuned on."""
SURE = 1.0
"""The least predicted margin with which an edit is sure to do what it is for."""
CANDIDATES = 3
"""Heads that are tried, where the first ones know what is asked rather than what is answered."""
STRONGEST = 128.0
"""Beyond it a write drowns what stands in the stream, and the margin grows no more."""
RIVALS = 2
"""Tokens that an edit speaks against as well, where they stand in its way."""
TUNED = 12
"""Places, in other wordings, that the strength of an edit is found on beside its prompt."""
KEPT = 40
"""Tokens of text before such a place."""
EXAMPLES = 24
"""Places of the text that a rule is located and tuned on."""
Margin = Callable[[Float[Tensor, "place vocab"], Float[Tensor, "place vocab"]], float]
"""How far an edit is from doing too little, from the logits after and before it."""


@dataclass(frozen=True)
class Proposal:
    """An edit that has not been made: what it will say in `program/edits.py`, and how that was found."""

    kind: Kind
    what: str
    why: str
    speeches: tuple[Speech, ...]
    tokens: tuple[int, ...]
    """The tokens that it names."""
    located: tuple[Site, ...]
    margin: float
    """The least predicted margin of what it is to say, over the prompt and the places that it was tuned on."""
    inserted: str = ""
    """Why it needs a part of its own; empty where it does not."""
    tuned: int = 0
    """Places in other wordings that it was tuned on."""
    prompt: tuple[int, ...] = ()
    """A text behind which it speaks."""

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

    def ready(self, bench: Workbench) -> list[Edited]:
        """The edit, ready to be called."""
        return ready(bench, self.speeches)


def ready(bench: Workbench, speeches: Sequence[Speech]) -> list[Edited]:
    """Speeches ready to be called, without the program taking them over."""
    helpers: dict[str, str] = {}
    functions = [function(speech, 1, f"edit_{n}", "Tried.", helpers) for n, speech in enumerate(speeches)]
    return bench.program.tried(page(None, helpers, functions))


# --- facts ------------------------------------------------------------------------------------------------------------


def fact(bench: Workbench, prompt: str, answer: str) -> Proposal:
    """Let the program say `answer` behind `prompt`, in whatever wording the same is asked of the same.

    Raises `PellucidError` where it says so already, and for text that cannot be told apart.
    """
    ids, wanted = prompt_ids(bench, prompt), answer_ids(bench, prompt, answer)
    said = _goes_on(bench, ids, len(wanted))
    if said == wanted:
        raise PellucidError(f"the program already says {answer!r} behind {prompt!r}; there is nothing to edit")
    found: list[_Step] = []
    for n, token in enumerate(wanted):
        now = [*ids, *wanted[:n]]
        last = bench.run(torch.tensor([now]), ("logits",))["logits"][0, -1]
        first, second = last.topk(2).indices.tolist()
        if first != token or float(last[first] - last[second]) < MARGIN / 2:
            old = second if first == token else first
            found.append(_step(bench, now, n, token, old, found[0] if found else None))
    what = f"Says {answer!r} behind {prompt!r}, in the place of {bench.model.tokenizer.decode(said)!r}."
    return _proposal("fact", what, f"--fact {prompt!r} {answer!r}", found, ids)


def forget(bench: Workbench, prompt: str) -> Proposal:
    """Let the program say no more behind `prompt` than it says of others.

    Raises `PellucidError` where no part was found that knows it of somebody in particular.
    """
    ids = prompt_ids(bench, prompt)
    last = bench.run(torch.tensor([ids]), ("logits",))["logits"][0, -1]
    old, second = last.topk(2).indices.tolist()
    step = _step(bench, ids, 0, second, old, None, says=False)
    what = f"Forgets {bench.texts([old])[0]!r} behind {prompt!r}."
    return _proposal("forget", what, f"--forget {prompt!r}", [step], ids)


@dataclass(frozen=True)
class _Step:
    """One token of an edit: its speech, the margin that it is predicted to have, and where it was found."""

    speech: Speech
    margin: float
    located: Located
    tuned: int
    tokens: tuple[int, ...]
    inserted: str


def _proposal(kind: Kind, what: str, why: str, steps: Sequence[_Step], prompt: Sequence[int]) -> Proposal:
    sites = tuple(site for step in steps for site in step.located.sites)
    return Proposal(
        kind, what, why,
        tuple(step.speech for step in steps),
        tuple(dict.fromkeys(token for step in steps for token in step.tokens)),
        sites,
        min(step.margin for step in steps),
        next((step.inserted for step in steps if step.inserted), ""),
        max(step.tuned for step in steps),
        tuple(prompt),
    )  # fmt: skip


def _step(
    bench: Workbench, ids: list[int], n: int, token: int, old: int, first: _Step | None, *, says: bool = True
) -> _Step:
    """The edit that lets the program say `token` and not `old` behind `ids`, the last `n` of them its own answer."""
    row = torch.tensor([ids])
    located = locate(bench, row, [len(ids) - 1], [old])
    heads = located.heads(TAKES)
    if n and first is not None and first.speech.kind == "OV":  # the same head comes first, if it looks at anything
        heads = [site for site in located.sites if site.part == first.speech.address] or heads
    if not heads:
        return _inserted(bench, ids, token, old, located, says=says)
    found: list[_Step] = []
    for head in heads[:CANDIDATES]:
        word, own = word_at(bench, ids, head.looks_at)
        asked, examples = _asked(bench, ids, n, head, word)
        sides = (token_name(bench, token),) if says else (), (token_name(bench, old),)
        speech = Speech(head.part, *sides, asked, forms(bench, word, own))
        speech, margin = _tuned(bench, speech, [ids, *examples], token, old)
        found.append(_Step(speech, margin, located, len(examples), (token, old) if says else (old,), ""))
        if margin >= SURE:
            break
    return max(found, key=lambda step: step.margin)


def _asked(
    bench: Workbench, ids: list[int], n: int, head: Site, word: str
) -> tuple[tuple[Condition, ...], list[list[int]]]:
    """When the same is asked, as conditions on tokens; and other wordings with the same word, from the fit text."""
    layer, index = head.layer, int(head.part.split(".")[1][1:])
    prompt, said = ids[: len(ids) - n], ids[len(ids) - n :]
    survey = surveyed(bench, layer, index)
    literal: list[tuple[tuple[int, int], ...]] = [tuple(enumerate(reversed(prompt[head.looks_at + 1 :])))]
    examples: list[list[int]] = []
    if survey is not None:
        same = alike(bench, survey, torch.tensor([prompt]))
        literal = [*conditions(survey, same, prompt[::-1])] or literal
        examples = [[*example, *said] for example in _examples(bench, survey, same, word)]
    spoken = tuple(enumerate(reversed(said)))
    shifted = [(*spoken, *((back + n, token) for back, token in condition)) for condition in literal if condition]
    named = tuple(tuple((back, token_name(bench, token)) for back, token in condition) for condition in shifted)
    return named, examples


def _examples(bench: Workbench, survey: Asked, same: Tensor, word: str) -> list[list[int]]:
    """Places of the fit text that ask the same, with `word` in the place of the one that they ask it of."""
    tokenizer = bench.model.tokenizer
    own = tokenizer.encode(f" {word}" if tokenizer.kind == "bpe" else word)
    places = survey.where[same]
    step = max(1, len(places) // TUNED)
    found = []
    for row, at, key in places[::step][:TUNED].tolist():
        tokens = bench.fit.ids[row].tolist()
        start = max(1, at + 1 - KEPT) if key >= at + 1 - KEPT else key
        found.append([tokens[0], *tokens[start:key], *own, *tokens[key + 1 : at + 1]])
    return found


def _goes_on(bench: Workbench, ids: list[int], count: int) -> list[int]:
    """What the program says behind `ids`, at temperature 0."""
    said: list[int] = []
    for _ in range(count):
        said.append(int(bench.run(torch.tensor([[*ids, *said]]), ("logits",))["logits"][0, -1].argmax()))
    return said


def _inserted(bench: Workbench, ids: list[int], token: int, old: int, located: Located, *, says: bool) -> _Step:
    """An edit in a part of its own, behind the neurons of the layer where most is done."""
    best = located.sites[0]
    why = f"no head that looks at one word carries {100 * 0.25:.0f} % of it (most: {best.part} with {best.share:.0%})"
    conditions = tuple((back, token_name(bench, t)) for back, t in enumerate(reversed(ids[1:])))
    address = f"L{bench.model.config.n_layer - 1:02d}.E{bench.next_part:02d}"
    sides = (token_name(bench, token),) if says else (), (token_name(bench, old),)
    speech, margin = _tuned(bench, Speech(address, *sides, (conditions,)), [ids], token, old)
    return _Step(speech, margin, located, 0, (token, old) if says else (old,), why)


# --- strength ---------------------------------------------------------------------------------------------------------


def rows_of(rows: Sequence[Sequence[int]]) -> Text:
    """Rows of token ids as text."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.zeros((len(rows), int(lengths.max())), dtype=torch.long)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(row)
    return Text(ids, lengths, ("",) * len(rows))


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

    best, least = tuned(bench, speech, text, ends, margin)
    for _ in range(RIVALS):
        if least >= MARGIN or not rivals or rivals[0] == old:
            break
        wider = replace(speech, over=(*dict.fromkeys((*best.over, token_name(bench, rivals[0]))),))
        again, reached = tuned(bench, wider, text, ends, margin)
        if reached <= least:
            break
        best, least = again, reached
    return best, least


def tuned(
    bench: Workbench, speech: Speech, text: Text, places: Iterable[tuple[int, int]], margin: Margin
) -> tuple[Speech, float]:
    """The least strength at which `margin` of the predicted logits at `places` reaches `MARGIN`; found by bisection.

    Where none does, the one that comes nearest.
    """
    (edit,) = ready(bench, [replace(speech, strength=1.0)])
    start = start_of(edit)
    pattern_name = f"L{edit.layer:02d}.pattern"
    names = [*needed(bench.model, start), *([pattern_name] if edit.kind == "OV" else [])]
    before = bench.run(text.ids, tuple(dict.fromkeys(names)))
    write = written(bench, edit, text.ids, before[pattern_name][:, edit.head] if edit.kind == "OV" else None)
    rows, at = (torch.tensor(side) for side in zip(*places, strict=True))
    was = before["logits"][rows, at]

    def reached(strength: float) -> float:
        change = carried(bench.model, before, start, write * strength)
        return margin(was + change[rows, at], was)

    tried: list[tuple[float, float]] = []
    low, high = 0.0, 4.0
    while high <= STRONGEST:
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
