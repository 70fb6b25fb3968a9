"""Questions for readers: how well somebody who has only the text of a program can say what the model does.

They are drawn from held-out text, by a seed, and nothing of the accounts is read for it. Three of four ask what the
model says next, at hard positions where it is sure, no two of which end alike; the others, which of some prompts it
continues otherwise once a head writes nothing, or were a line of a table another. Prompts are cut to the ends that
decide (`endings.py`), and no text of a set tells the answer of another question, as far as there are such
(`apart.py`). The truth is what the model does on exactly these prompts. It is kept with the evidence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pellucid.accounts.apart import apart
from pellucid.accounts.endings import LEAST, cut
from pellucid.accounts.line_questions import line_questions
from pellucid.accounts.measure import read
from pellucid.accounts.meter import NOBODY
from pellucid.accounts.ngrams import NGrams
from pellucid.accounts.prompts import CHOICE, Prompt, Question, said, shown
from pellucid.base.errors import ProjectError
from pellucid.base.files import sha256_text
from pellucid.base.terminal import tell
from pellucid.corpus.packing import packed_rows, row_tokens
from pellucid.engine.intervene import ablate
from pellucid.exact.model import Model
from pellucid.project.project import Project

STAGE = "readers"
ALIKE = 3
"""Prompts that end in the same tokens, so many, are one question."""
EACH = 3
"""Questions of each kind of hard position, of so many kinds as there is room for."""
PLACES = 20
"""Positions to draw from, for each question."""
TRIED = 4
"""Places that are looked at at a time for each question; at some of them the model is not sure."""
FEW = 2 * CHOICE
"""Prompts that questions about changes show again and again beside those that change: every text tells something."""
NEXT = "What does the model say next? Answer with its next token, as text, or with a text that begins with it."
CHANGES = (
    "Once {head} writes nothing, behind which of these prompts is the next token another? "
    "Answer with their numbers, from 1 on."
)


def draw(project: Project, n: int, seed: int) -> list[dict[str, Any]]:
    """`n` questions for readers, drawn by `seed`; what is right is stored with the evidence of the project.

    Raises `ProjectError` where the held-out text has too few positions.
    """
    model, generator = project.model, torch.Generator().manual_seed(seed)
    about_changes = ceil(n / 4)
    count = max(1, ceil(PLACES * n / row_tokens(model)))
    ids = packed_rows(project.texts.heldout, model, count, seed)
    fit = read(project, "fit")
    places = list(_places(model, ids, NGrams.of(fit.ids, fit.own, model.n_vocab), generator))
    pool = cut(model, places[: CHOICE * max(about_changes, CHOICE)])
    name = sha256_text(f"{seed} {n} {project.texts.heldout.sha256} {project.manifest.subject.weights_sha256}")[:12]
    lines = list(line_questions(project, pool[:FEW], about_changes // 2, generator))
    heads = list(_changes(model, pool, about_changes - len(lines), generator))
    texts = dict.fromkeys(text for question, _ in (*lines, *heads) for text in question["prompts"])
    asked = _sure(model, places, n - about_changes, [Prompt.of(model, text) for text in texts])
    found = [*_next(model, asked), *lines, *heads]
    order = torch.randperm(len(found), generator=generator).tolist()
    named = [(f"{name}-{number:03d}", *found[at]) for number, at in enumerate(order, start=1)]
    truth = {id: answer for id, _, answer in named}
    project.evidence.finish(STAGE, name, json.dumps(truth))
    project.readings.end()
    return [{"id": id, **question} for id, question, _ in named]


def _places(model: Model, ids: Int[Tensor, "row pos"], grams: NGrams, generator: torch.Generator) -> Iterator[Prompt]:
    """The positions of `ids` in random order, each with what stands before it in its text, no prompt twice."""
    tokenizer, ends = model.tokenizer, {*model.tokenizer.ends, *model.tokenizer.start}
    hard: Bool[Tensor, "row pos"] = grams.certain(ids) == NOBODY
    seen: set[str] = set()
    for place in torch.randperm(ids.numel(), generator=generator).tolist():
        row, at = divmod(place, ids.shape[1])
        before = ids[row, : at + 1].tolist()
        first = next((start for start in range(at + 1, 0, -1) if before[start - 1] in ends), 0)
        text = tokenizer.decode(before[first:])
        prompt = tokenizer.opened(text)
        if len(before) - first >= LEAST and prompt[-LEAST:] == before[-LEAST:] and text not in seen:
            seen.add(text)
            yield Prompt(text, prompt[-model.n_ctx :], bool(hard[row, at]))


def _sure(model: Model, places: Sequence[Prompt], n: int, texts: Sequence[Prompt]) -> list[Prompt]:
    """`n` of the places at which the model is sure, cut to the ends that decide, those first that no text tells."""
    ranked, found, told_by_none = _ranked(places, n), list[Prompt](), list[Prompt]()
    while ranked and len(told_by_none) < n:
        tried, ranked = ranked[: TRIED * n], ranked[TRIED * n :]
        found += cut(model, tried)
        told_by_none = apart(found, said(model, found), n, texts)
    if len(found) < n:
        raise ProjectError(f"the held-out text has {len(found)} positions to ask about, {n} are needed; ask fewer")
    if count := n - len(told_by_none):
        tell(f"{count} of the answers are told by other questions' texts")
    chosen = _filled(told_by_none, found, n)
    if count := sum(not place.hard for place in chosen):
        tell(f"{n - count} hard positions were found instead of {n}; the other questions stand elsewhere")
    return chosen


def _ranked(places: Sequence[Prompt], n: int) -> list[Prompt]:
    """All places, hard ones of many kinds first that end unlike, then those that end as others do, then the rest."""
    apart = list({tuple(place.ids[-ALIKE:]): place for place in reversed(places)}.values())[::-1]
    hard = [place for place in apart if place.hard]
    order = [*_of_kinds(hard, n), *hard, *(place for place in places if place.hard), *places]
    return list({place.text: place for place in order}.values())


def _of_kinds(places: Sequence[Prompt], n: int) -> list[Prompt]:
    """`n` of the places, `EACH` of every one of the commonest kinds: those that end in one and the same token."""
    kinds: dict[int, list[Prompt]] = {}
    for place in places:
        kinds.setdefault(place.ids[-1], []).append(place)
    common = sorted(kinds.values(), key=len, reverse=True)[: max(1, n // EACH)]
    return _filled([place for kind in common for place in kind[:EACH]][:n], places, n)


def _filled(chosen: Sequence[Prompt], places: Sequence[Prompt], n: int) -> list[Prompt]:
    """`chosen`, and so many of the other places that there are `n`."""
    kept = {place.text for place in chosen}
    return [*chosen, *[place for place in places if place.text not in kept][: n - len(chosen)]]


def _next(model: Model, prompts: Sequence[Prompt]) -> Iterator[Question]:
    for prompt, token in zip(prompts, said(model, prompts), strict=True):
        truth = {"kind": "next", "answer": model.tokenizer.decode([token]), "hard": prompt.hard}
        yield {"kind": "next", "asks": NEXT, "text": prompt.text}, truth


def _changes(model: Model, pool: Sequence[Prompt], n: int, generator: torch.Generator) -> Iterator[Question]:
    """Questions about heads in random order: those that change some prompt, as long as there are such."""
    own = said(model, pool)
    heads = [(layer, head) for layer in range(model.decoder.layers) for head in range(model.decoder.sizes.head)]
    order = [heads[at] for at in torch.randperm(len(heads), generator=generator).tolist()]
    asked = 0
    changed: dict[str, list[bool]] = {}
    while asked < n:
        before = asked
        for layer, head in order:
            name = f"L{layer:02d}.H{head:02d}"
            if name not in changed:
                silenced = said(model, pool, [ablate(f"{name}.OV")])
                changed[name] = [a != b for a, b in zip(own, silenced, strict=True)]
            if asked < n and any(changed[name]):
                yield _about(name, pool, changed[name], generator)
                asked += 1
        if asked == before:
            tell("no head alone changes what the model says at these places; nothing is asked about heads")
            return


def _about(name: str, pool: Sequence[Prompt], changed: Sequence[bool], generator: torch.Generator) -> Question:
    """A question about one head: some prompts that change, at most half, and others."""
    order = torch.randperm(len(pool), generator=generator).tolist()
    some = [pool[at] for at in order if changed[at]][: CHOICE // 2]
    others = [pool[at] for at in sorted(order, key=lambda at: at >= FEW) if not changed[at]][: CHOICE - len(some)]
    prompts, answer = shown(some, others, generator)
    question = {"kind": "changes", "asks": CHANGES.format(head=name), "silenced": name, "prompts": prompts}
    return question, {"kind": "changes", "answer": answer, "of": len(prompts)}
