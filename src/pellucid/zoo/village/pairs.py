"""Minimal pairs: prompts that differ in the words that decide what comes next, one kind for each phenomenon.

The rules of the village say what decides, so a pair comes with its ground truth: the characters of the clean prompt
that were changed. Scenes are told by the generator of the stories, so that pairs read as stories do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from random import Random

from pellucid.zoo.village import lexicon
from pellucid.zoo.village.consequences import consequences
from pellucid.zoo.village.facts import ATTRIBUTES, Fact, FactBook
from pellucid.zoo.village.pieces import PHENOMENA, Phenomenon, Piece
from pellucid.zoo.village.scenes.agreement import VERBS, agreement
from pellucid.zoo.village.scenes.closing import PAIRS, closing
from pellucid.zoo.village.scenes.giving import giving
from pellucid.zoo.village.scenes.pronouns import pronouns
from pellucid.zoo.village.scenes.stage import Stage
from pellucid.zoo.village.scenes.stranger import invented_name, stranger
from pellucid.zoo.village.scenes.succession import succession
from pellucid.zoo.village.scenes.tracking import tracking
from pellucid.zoo.village.stories import Village
from pellucid.zoo.village.wordings import WORDINGS, held_out_wording, wordings_of


@dataclass(frozen=True, slots=True)
class Contrast:
    """Two prompts, what follows each by the rules, and the characters of the clean one that decide."""

    phenomenon: Phenomenon
    clean: str
    corrupted: str
    answers: tuple[str, ...]
    instead: tuple[str, ...]
    cause: tuple[tuple[int, int], ...]


Half = tuple[str, str]
"""A text and what follows it."""
Maker = Callable[[Stage, Village], tuple[Half, Half] | None]


def contrasts(village: Village, phenomenon: Phenomenon, count: int, seed: int = 0) -> list[Contrast]:
    """`count` different pairs of `phenomenon`, drawn from `seed`; their stories are of the test split."""
    rng = Random(f"pairs {village.seed} {phenomenon} {seed}")
    book = FactBook(village.facts)
    found: dict[tuple[str, str], Contrast] = {}
    while len(found) < count:
        cast = tuple(rng.sample(village.people, 3))
        stage = Stage(rng, (cast[0], cast[1], cast[2]), book, "test")
        opening = f"It was {stage.choose(lexicon.DAYS)}, and {cast[0].name} met {cast[1].name} at the mill."
        made = MAKERS[phenomenon](stage, village)
        if made is None:
            continue
        (clean, answer), (corrupted, instead) = made
        if answer != instead and clean != corrupted:
            texts = opening + clean, opening + corrupted
            cause = tuple(_changed(*texts))
            found[texts] = Contrast(phenomenon, *texts, (answer,), (instead,), cause)
    return list(found.values())


def _changed(clean: str, corrupted: str) -> Iterator[tuple[int, int]]:
    """The characters of `clean` whose words are others in `corrupted`."""
    words = list(re.finditer(r"\s*\S+", clean))
    others = re.findall(r"\s*\S+", corrupted)
    for kind, start, end, _, _ in SequenceMatcher(None, [w[0] for w in words], others, autojunk=False).get_opcodes():
        if kind != "equal" and end > start:
            yield words[start].start(), words[end - 1].end()


def _until(pieces: Iterator[Piece], phenomenon: str) -> Half:
    """The text of a scene up to what `phenomenon` determines first, and that."""
    text = ""
    for piece in pieces:
        if piece.phenomenon == phenomenon:
            return text, piece.text
        text += piece.text
    raise ValueError(f"the scene has no {phenomenon}")


def _swap(text: str, one: str, other: str) -> str:
    """`text` with two words in each other's place."""
    return re.sub(rf"\b({one}|{other})\b", lambda found: other if found[0] == one else one, text)


def _fact(stage: Stage, village: Village) -> tuple[Half, Half] | None:
    """Another person has another answer; the wording is one that training showed of both."""
    relation = stage.rng.choice(ATTRIBUTES)
    facts = [fact for fact in village.facts if fact.relation.name == relation.name]
    one, other = stage.rng.sample(facts, 2)
    kept = {held_out_wording(one), held_out_wording(other)}
    wording = stage.rng.choice([name for name in wordings_of(relation) if name not in kept and name != "therefore"])
    return _told(one, wording), _told(other, wording)


def _told(fact: Fact, wording: str) -> Half:
    return WORDINGS[wording](fact)[0], f" {fact.answer}"


def _consequence(stage: Stage, village: Village) -> tuple[Half, Half] | None:
    """Another person of the same gender, with a fact of the same kind from which something else follows."""
    facts = [fact for fact in village.facts if consequences(fact) and held_out_wording(fact) != "therefore"]
    one = stage.rng.choice(facts)
    same = [f for f in facts if f.relation.name == one.relation.name and f.person.gender == one.person.gender]
    return _follows(one), _follows(stage.rng.choice(same))


def _follows(fact: Fact) -> Half:
    before, after = WORDINGS["therefore"](fact)
    (consequence,) = consequences(fact)
    return f"{before} {fact.answer}{after} {fact.person.she} {consequence.clause}", f" {consequence.answer}"


def _agreement(stage: Stage, _: Village) -> tuple[Half, Half] | None:
    """The subject in the other number."""
    text, verb = _until(iter(agreement(stage)), "agreement")
    numbers = dict(zip(lexicon.SINGULAR_SUBJECTS, _plurals(lexicon.SINGULAR_SUBJECTS), strict=True))
    numbers |= {plural: singular for singular, plural in numbers.items()}
    subject = text.split()[2]
    other = next(pair for pair in VERBS.values() if verb.strip() in pair)
    instead = other[1 - other.index(verb.strip())]
    return (text, verb), (text.replace(f" {subject} ", f" {numbers[subject]} ", 1), f" {instead}")


def _plurals(words: tuple[str, ...]) -> list[str]:
    return [next(plural for plural in lexicon.PLURAL_SUBJECTS if plural in (f"{word}s", f"{word}es")) for word in words]


def _pronoun(stage: Stage, village: Village) -> tuple[Half, Half] | None:
    """Somebody of the other gender."""
    text, said = _until(iter(pronouns(stage)), "pronoun")
    name = text.split()[0]
    person = next(person for person in village.people if person.name == name)
    other = stage.rng.choice([other for other in village.people if other.gender != person.gender])
    forms = {getattr(person, form): getattr(other, form) for form in ("she", "her", "herself")}
    return (text, said), (_swap(text, name, other.name), f" {forms[said.strip()]}")


def _induction(stage: Stage, _: Village) -> tuple[Half, Half] | None:
    """A stranger of another name."""
    text, name = _until(iter(stranger(stage)), "induction")
    other = f" {invented_name(stage)}"
    return (text, name), (text.replace(name, other), other)


def _indirect_object(stage: Stage, _: Village) -> tuple[Half, Half] | None:
    """The other of the two acts."""
    text, taker = _until(iter(giving(stage)), "indirect_object")
    names = [person.name for person in stage.cast if re.search(rf"\b{person.name}\b", text)]
    giver = next(name for name in names if name != taker.strip())
    if " thanked" in text:
        return (text, taker), (_swap(text, giver, taker.strip()), f" {giver}")
    at = text.rindex(f" {giver} ")
    return (text, taker), (text[:at] + taker + text[at + 1 + len(giver) :], f" {giver}")


def _tracking(stage: Stage, _: Village) -> tuple[Half, Half] | None:
    """The last to be named as an owner is another of the three, wherever the text leaves that open."""
    text, owner = _until(iter(tracking(stage)), "tracking")
    name = owner.strip()
    others = [person.name for person in stage.cast if person.name != name]
    if not re.search(rf"\b{name}\b", text):
        return None
    other = stage.rng.choice(others)
    return (text, owner), (_swap(text, name, other), f" {other}")


def _successor(stage: Stage, _: Village) -> tuple[Half, Half] | None:
    """Another day, number or month."""
    text, following = _until(iter(succession(stage)), "successor")
    for series in (lexicon.DAYS, lexicon.NUMBERS, lexicon.MONTHS):
        if (item := following.strip()) in series:
            before = series[series.index(item) - 1]
            other = stage.rng.choice([word for word in series[:-1] if word != before])
            after = series[series.index(other) + 1]
            return (text, following), (_swap(text, before, other), f" {after}")
    return None


def _closing(stage: Stage, _: Village) -> tuple[Half, Half] | None:
    """Another kind of bracket."""
    text, closer = _until(iter(closing(stage)), "closing")
    opener = next(pair[0] for pair in PAIRS.values() if pair[1] == closer)
    other = stage.rng.choice([pair for pair in PAIRS.values() if pair[1] != closer])
    return (text, closer), (text.replace(f" {opener}", f" {other[0]}"), other[1])


MAKERS: dict[Phenomenon, Maker] = {
    "fact": _fact,
    "consequence": _consequence,
    "agreement": _agreement,
    "pronoun": _pronoun,
    "induction": _induction,
    "indirect_object": _indirect_object,
    "tracking": _tracking,
    "successor": _successor,
    "closing": _closing,
}
assert tuple(MAKERS) == PHENOMENA
