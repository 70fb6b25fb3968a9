"""The facts that `benchmarks/edit.py` edits, with the prompts that are asked of each.

Facts of the village come with all its wordings and with what follows from them. Facts of `known_1000.json` (Meng et
al., 2022, arXiv 2202.05262) come with one prompt each; those whose answer the model does not say are left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from pellucid.base.errors import PellucidError
from pellucid.rewrite.intent import rows_of
from pellucid.rewrite.words import answer_ids, prompt_ids
from pellucid.rewrite.workbench import BATCH, Workbench
from pellucid.zoo.village import Village
from pellucid.zoo.village.consequences import consequences
from pellucid.zoo.village.facts import Fact
from pellucid.zoo.village.wordings import WORDINGS, wordings_of

CONTEXTS = 6
"""Beginnings of texts behind which the other methods learn a fact."""
NEIGHBOURS = 8
"""Others of whom the same relation is asked."""
BEHIND = 3
"""Beginnings of held-out texts behind which a prompt without other wordings is asked."""

Prompts = tuple[tuple[str, str], ...]
"""Text before, and text expected."""


@dataclass(frozen=True)
class Case:
    """Of whom a fact is, its answer and the one that it is to have, and the prompts that are asked."""

    subject: str
    was: str
    answer: str
    prompt: str
    told: Prompts
    paraphrases: Prompts
    consequences: Prompts
    neighbours: Prompts
    negated: Prompts
    negated_was: Prompts
    """The same with the old answer."""
    reversed: Prompts
    free: Prompts
    """Questions that are gone on with freely."""


@dataclass(frozen=True)
class Facts:
    """Facts to edit, others that settings are chosen on, and beginnings of fit text."""

    chosen: list[Case]
    apart: list[Case]
    contexts: tuple[str, ...]
    said: str = ""
    """How they were found, where that is not a matter of course."""


# --- the village ------------------------------------------------------------------------------------------------------


def of_village(count: int, seed: int, apart: int = 0, together: int = 0) -> Facts:
    """`count` facts with new answers, and some `apart`; the first `together` are nobody's neighbours."""
    village, rng = Village(), Random(f"edit {seed}")
    facts = rng.sample(list(village.facts), len(village.facts))
    openings = [opening(story.text) for story in village.stories("test", 5000, 40)]
    busy = set(facts[:together])
    found = [_case(village, told, rng, openings, busy) for told in facts[: count + apart]]
    contexts = tuple(opening(story.text) for story in village.stories("train", 9000, CONTEXTS))
    return Facts(found[:count], found[count:], contexts)


def opening(text: str) -> str:
    """The first sentence of a text, and a space."""
    return text[: text.index(".") + 1] + " "


def _case(village: Village, told: Fact, rng: Random, openings: Sequence[str], busy: set[Fact]) -> Case:
    relation = told.relation
    answers = {f.answer for f in village.facts if f.relation == relation} - {told.answer, told.person.name}
    changed = Fact(told.person, relation, rng.choice(sorted(answers)))
    behind = [text for text in openings if told.person.name not in text]

    def asked(fact: Fact, wording: str) -> tuple[str, str]:
        return rng.choice(behind) + WORDINGS[wording](fact)[0][1:], f" {fact.answer}"

    paraphrases = [
        asked(changed, wording) for wording in wordings_of(relation) if wording not in ("plain", "therefore")
    ]
    so = [
        (f"{before}{after}, so {told.person.she} {consequence.clause}", f" {consequence.answer}")
        for before, after in [asked(changed, "plain")]
        for consequence in consequences(changed)
    ]
    others = [f for f in village.facts if f not in busy]
    same = [f for f in others if f.person == told.person and f.relation != relation]
    of_others = [f for f in others if f.relation == relation and f.person != told.person]
    near = [*same, *rng.sample(of_others, min(NEIGHBOURS, len(of_others)))]
    neighbours = tuple(asked(f, rng.choice(["plain", "possessive", "of"])) for f in near)
    prompt = WORDINGS["plain"](told)[0][1:]
    told_as = (asked(changed, "plain"),)
    name = told.person.name
    denied = [f"{rng.choice(behind)}It is not so that {prompt}" for _ in range(2)]
    negated, was = (tuple((before, f" {fact.answer}") for before in denied) for fact in (changed, told))
    back = tuple(
        (f"{rng.choice(behind)}{said.answer} {relation.copula} the {relation.noun} of", f" {name}")
        for said in (told, changed)
    )
    free = tuple(asked(changed, wording) for wording in ("question", "of"))
    return Case(
        name,
        told.answer,
        changed.answer,
        prompt,
        told_as,
        tuple(paraphrases),
        tuple(so),
        neighbours,
        negated,
        was,
        back,
        free,
    )


# --- what a model of the world knows ----------------------------------------------------------------------------------


def known(bench: Workbench, path: Path, count: int, seed: int, apart: int = 0) -> Facts:
    """At most `count` facts of a file, and `apart` others, whose answers the model says, given answers of their kind.

    The prompt alone is told; in the place of other wordings it is asked behind beginnings of held-out texts. Neighbours
    are other known prompts of the same relation. Nothing is known of consequences.
    """
    rng = Random(f"known {seed}")
    every = _records(path)
    says = _said(bench, [record for record in every if record["subject"] in record["prompt"]])
    shared = {record["relation_id"] for record in says}
    kinds = {kind: sorted({r["attribute"] for r in every if r["relation_id"] == kind}) for kind in shared}
    openings = _openings(bench, held_out=True) if says else []
    found = []
    for record in rng.sample(says, len(says)):
        answers = [answer for answer in kinds[record["relation_id"]] if answer != record["attribute"]]
        if answers and len(found) < count + apart:
            near = [r for r in says if r["relation_id"] == record["relation_id"] and r["subject"] != record["subject"]]
            found.append(_known(record, rng.choice(answers), rng.sample(near, min(NEIGHBOURS, len(near))), openings))
    aside = max(0, min(apart, len(found) - 1))
    chosen, rest = found[aside:], found[:aside]
    said = f"says the answer of {len(says)} of {len(every)} prompts of {path.name}; {len(chosen)} of those are edited"
    contexts = tuple(_openings(bench, held_out=False)[:CONTEXTS]) if says else ()
    return Facts(chosen, rest, contexts, said)


def _known(record: dict[str, Any], answer: str, near: Sequence[dict[str, Any]], openings: Sequence[str]) -> Case:
    prompt = record["prompt"]
    behind = tuple((text + prompt, f" {answer}") for text in openings[:BEHIND])
    neighbours = tuple((r["prompt"], f" {r['attribute']}") for r in near)
    told = ((prompt, f" {answer}"),)
    negated, was = (((f"It is not so that {prompt}", f" {said}"),) for said in (answer, record["attribute"]))
    return Case(
        record["subject"], record["attribute"], answer, prompt, told, behind, (), neighbours, negated, was, (), told
    )


def _records(path: Path) -> list[dict[str, Any]]:
    """The facts of a file. Raises `PellucidError` for one that holds none."""
    fields = ("subject", "attribute", "prompt", "relation_id")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if all(isinstance(record[field], str) for record in found for field in fields) and found:
            return list(found)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PellucidError(f"{path}: no list of known facts ({type(error).__name__}: {error})") from None
    raise PellucidError(f"{path}: no list of known facts; each has {', '.join(fields)}")


def _said(bench: Workbench, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those whose answers the model says behind the prompt; what its tokenizer cannot write, it does not say."""
    asked = []
    for record in records:
        with suppress(PellucidError):
            ids = prompt_ids(bench, record["prompt"])
            asked.append((record, ids, answer_ids(bench, record["prompt"], record["attribute"])))
    found = []
    for at in range(0, len(asked), BATCH):
        some = asked[at : at + BATCH]
        top = bench.run(rows_of([[*ids, *wanted] for _, ids, wanted in some]).ids, ("logits",))["logits"].argmax(-1)
        for (record, ids, wanted), said in zip(some, top.tolist(), strict=True):
            if said[len(ids) - 1 : len(ids) - 1 + len(wanted)] == wanted:
                found.append(record)
    return found


def _openings(bench: Workbench, *, held_out: bool) -> list[str]:
    """First sentences of rows of text that have any."""
    text = bench.check if held_out else bench.fit
    rows = [bench.model.tokenizer.decode(row[:n].tolist()) for row, n in zip(text.ids, text.lengths, strict=True)]
    return [opening(row) for row in rows[: 20 * CONTEXTS] if 0 < row.find(".") < 200]
