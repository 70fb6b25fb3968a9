"""What explaining takes: which parts are explained, on which text, and what readers are asked and answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.base.schema import parsed
from pellucid.base.terminal import tell
from pellucid.corpus.packing import packed_rows, row_tokens
from pellucid.explain.activity import Unit, activity, gauged, unit_of
from pellucid.explain.answers import explanation_in, numbers_in
from pellucid.explain.examples import examples
from pellucid.explain.explained import ByRule, explained, shuffled
from pellucid.explain.items import Item, items_of
from pellucid.explain.kept import ASKED, RULE, load, state, store
from pellucid.explain.requests import (
    Asked,
    ReaderRequest,
    detect_prompt,
    explain_prompt,
    fuzz_prompt,
    request_id,
)
from pellucid.explain.scores import Fuzz, balanced, fuzzes
from pellucid.forms.forms import token_texts
from pellucid.project.descriptions import load as load_told
from pellucid.project.explanations import READ, Explained, Told
from pellucid.project.project import Project
from pellucid.project.rows import rows_for
from pellucid.project.stage_names import ABOUT

FIT, HELDOUT = 131_072, 32_768
"""Tokens that explanations are found on, and scored on."""
WORK: Final = 2e13
"""Multiplications that reading the fit text may cost: of a large model, less of it is read."""
ENOUGH: Final = 0.9
"""The share of the summed effect of all heads, or neurons, whose parts are explained."""
SHOWN: Final = 8
"""Examples of each group in a request."""


def chosen(project: Project, names: Collection[str], count: int, seed: int) -> dict[Unit, float | None]:
    """The parts that are explained, with their shares of the effect of their kind.

    Those that are named, or those that carry most of it, `count` at most. Where effects were not measured, all heads
    and some neurons drawn by `seed`. Raises `PellucidError` for a name that is none.
    """
    model = project.model
    text = project.evidence.latest(ABOUT)
    shares = {name: one.share for name, one in load_told(text).items()} if text else {}
    if names:
        return {unit_of(name, model): shares.get(name) for name in names}
    if shares:
        ranked = _carrying(shares)[:count]
        return {unit_of(name, model): shares[name] for name in ranked}
    tell(
        "what parts carry was not measured (`decompile` does, without --raw); all heads and some neurons are explained"
    )
    sizes, layers = model.decoder.sizes, range(model.decoder.layers)
    heads = [f"L{layer:02d}.H{head:02d}" for layer in layers for head in range(sizes.head)][:count]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(model.decoder.layers * sizes.neuron, generator=generator)[: count - len(heads)].tolist()
    neurons = sorted(f"L{n // sizes.neuron:02d}.N{n % sizes.neuron:04d}" for n in drawn)
    return {unit_of(name, model): None for name in (*heads, *neurons)}


def _carrying(shares: Mapping[str, float]) -> list[str]:
    """The parts that carry most of the effect of their kind, the kinds by turns in the order of what is left."""
    ranked = []
    for heads in (True, False):
        left = ENOUGH
        for name in sorted(shares, key=lambda name: (-shares[name], name)):
            if (".H" in name) is heads and left > 0 and shares[name] > 0:
                ranked.append((1 - left, name))
                left -= shares[name]
    return [name for _, name in sorted(ranked)]


@dataclass(frozen=True)
class ReadTexts:
    """Rows that explanations are found on, and those that they are scored on."""

    fit: Int[Tensor, "row pos"]
    heldout: Int[Tensor, "other pos"]

    @classmethod
    def of(cls, project: Project) -> ReadTexts:
        """Those of a project. The held-out text is read: that counts."""
        model = project.model
        fit = int(min(FIT, max(8_192, WORK / model.subject.parameters)))
        count = max(2, fit * HELDOUT // FIT // row_tokens(model))
        heldout = packed_rows(project.texts.heldout, model, count, project.manifest.settings.seed)
        return cls(rows_for(project, "fit", fit), heldout)


def explain(project: Project, units: Mapping[Unit, float | None], seed: int) -> list[ByRule]:
    """Find a rule for each unit, score it, and keep it beside what is known of the unit."""
    texts = ReadTexts.of(project)
    found = explained(project.model, list(units), texts.fit, texts.heldout, seed)
    known = load(project)
    for one in found:
        before = known.get(one.unit.name, Explained(None, {}, ()))
        told = Told(RULE, one.text, one.scores, one.shuffled)
        others = tuple(other for other in before.told if other.by != RULE)
        known[one.unit.name] = Explained(units[one.unit], one.tokens, (told, *others))
    store(project, known)
    project.readings.end()
    return found


# --- what readers are asked -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Right:
    """What is right in a request: numbers among so many texts."""

    numbers: list[int]
    of: int


def token_writer(project: Project) -> Callable[[int], str]:
    """How the tokens of a project are written in requests."""
    decode = project.model.tokenizer.decode
    texts = token_texts(project.model.tokenizer)
    return lambda token: text if isinstance(text := texts(token), str) else decode([token])


def explain_requests(project: Project, units: Sequence[Unit], seed: int) -> list[ReaderRequest]:
    """One request for each unit: what does it do, going by examples from fit text?"""
    _, there = gauged(project.model, units, ReadTexts.of(project).fit)
    write, own = token_writer(project), state(project)[:12]
    return [
        ReaderRequest(
            request_id(own, "explain", unit.name),
            explain_prompt(examples(there.ids, there.of(unit), SHOWN, seed), write),
        )
        for unit in units
    ]


def score_requests(project: Project, units: Sequence[Unit], by: Collection[str], seed: int) -> list[ReaderRequest]:
    """Requests that score explanations on held-out text, each also with another part's; what is right is kept.

    `by`: whose explanations; none means everybody's. Raises `PellucidError` where there are no such explanations.
    """
    known, texts = load(project), ReadTexts.of(project)
    gauge, _ = gauged(project.model, units, texts.fit)
    here = activity(project.model, gauge, units, texts.heldout)
    other = shuffled(units, seed)
    right = _right(project)
    found: list[ReaderRequest] = []
    for number, unit in enumerate(units):
        items = items_of(here.ids, here.of(unit), seed + number)
        asked = fuzzes(items, seed + number)
        for told in _told(known, unit, by):
            away = next(iter(_told(known, units[other[number]], {told.by})), None)
            for request, numbers in _of_told(project, unit, told, away, items, asked):
                found.append(request)
                right[request.id] = numbers
    if not found:
        whose = f" by {' or '.join(sorted(by))}" if by else ""
        raise PellucidError(f"these parts have no explanations{whose} to score; `pellucid explain` finds some")
    project.evidence.finish(ASKED, state(project), json.dumps({id: vars(one) for id, one in right.items()}))
    project.readings.end()
    return found


def _right(project: Project) -> dict[str, _Right]:
    text = project.evidence.finished(ASKED, state(project))
    return {} if text is None else parsed(dict[str, _Right], text, f"evidence.sqlite, {ASKED}")


def _told(known: Mapping[str, Explained], unit: Unit, by: Collection[str]) -> list[Told]:
    return [told for told in known[unit.name].told if not by or told.by in by] if unit.name in known else []


def _of_told(
    project: Project, unit: Unit, told: Told, away: Told | None, items: Sequence[Item], asked: Sequence[Fuzz]
) -> Iterator[tuple[ReaderRequest, _Right]]:
    """What is asked about one explanation of one unit, and what is right."""
    write, own = token_writer(project), state(project)[:12]
    active = [number for number, item in enumerate(items, start=1) if item.active]
    marked = [number for number, fuzz in enumerate(asked, start=1) if fuzz.right]
    for text, swapped in ((told.text, False), *(((away.text, True),) if away and away.text != told.text else ())):
        if items:
            id = request_id(own, "detect", unit.name, told.name, swapped=swapped)
            yield ReaderRequest(id, detect_prompt(text, items, write)), _Right(active, len(items))
        if asked:
            id = request_id(own, "fuzz", unit.name, told.name, swapped=swapped)
            yield ReaderRequest(id, fuzz_prompt(text, items, asked, write)), _Right(marked, len(asked))


# --- what they answer -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Taken:
    """What came of answers: explanations, scores, and the answers that had another shape than was asked for."""

    explanations: int
    scores: int
    failed: tuple[str, ...]


def take(project: Project, answers: Mapping[str, str], by: str) -> Taken:
    """Keep what readers answered: explanations as those of `by`, marks as scores of what was explained.

    Raises `PellucidError` for an id that was not asked here, as of another project.
    """
    known, right = load(project), _right(project)
    counts, failed = {"explain": 0, "score": 0}, []
    for id, answer in answers.items():
        asked, unit, told, swapped = _parsed_id(project, id, right)
        if asked == "explain":
            text = explanation_in(answer)
            if text is None:
                failed.append(id)
                continue
            before = known.get(unit, Explained(None, {}, ()))
            known[unit] = before.with_told(Told(by, text, {}, {}))
            counts["explain"] += 1
        else:
            numbers = numbers_in(answer, right[id].of)
            if numbers is None:
                failed.append(id)
                continue
            truth = [number in right[id].numbers for number in range(1, right[id].of + 1)]
            value = balanced([number in numbers for number in range(1, right[id].of + 1)], truth)
            known[unit] = _marked(known[unit], told, "detection" if asked == "detect" else "fuzzing", value, swapped)
            counts["score"] += 1
    store(project, known)
    return Taken(counts["explain"], counts["score"], tuple(failed))


def _parsed_id(project: Project, id: str, right: Mapping[str, _Right]) -> tuple[Asked, str, str, bool]:
    """The kind, part and explanation that an id names. Raises `PellucidError` for one that was not asked here."""
    pieces = id.split("/")
    if pieces[0] != state(project)[:12]:
        raise PellucidError(f"{id!r:.100} was not asked about {project.directory}: the answers are another project's")
    if len(pieces) == 3 and pieces[1] == "explain":
        return "explain", unit_of(pieces[2], project.model).name, "", False
    if id not in right:
        raise PellucidError(f"{id!r:.100} was not asked; write requests with --write, and answer those")
    return ("detect" if pieces[1] == "detect" else "fuzz"), pieces[2], pieces[3], pieces[-1] == "swapped"


def _marked(known: Explained, told: str, name: str, value: float | None, swapped: bool) -> Explained:
    """The same with one score more."""
    kept = []
    for one in known.told:
        scores, shuffled_ = dict(one.scores), dict(one.shuffled)
        if one.name == told:
            (shuffled_ if swapped else scores)[f"{name}{READ}"] = value
        kept.append(Told(one.by, one.text, scores, shuffled_))
    return Explained(known.share, known.baseline, tuple(kept))
