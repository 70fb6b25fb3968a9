"""Relations that a model answers by itself are found by asking it, and told apart by whom the text has them with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from corpora_support import NAMES, Language
from pellucid.accounts.find.classes import WordClass
from pellucid.accounts.find.features import Features, Vocabulary
from pellucid.accounts.find.relations import Says, _joined, proposed, relations
from pellucid.accounts.find.stream import NONE, FlatRows, Places, Words
from pellucid.accounts.find.tables import labels, usual


@pytest.fixture(scope="module")
def features() -> Features:
    language = Language()
    stream = language.stream(60, 3, Words(language.spelling))
    people = WordClass(tuple(stream.words.numbers[name] for name in NAMES), True)
    slots = np.full(len(stream.words) + 1, NONE)
    slots[list(people.members)] = 0
    return Features(stream, Vocabulary((people,)), slots)


def knowing(stream: FlatRows, asked: list[str]) -> Says:
    """A model that knows where people live, and says a full stop behind all else."""
    home = Language().home
    first = stream.words.first()

    def says(texts: Sequence[str]) -> Places:
        asked.extend(texts)
        last = [next((name for name in reversed(text.split()) if name in home), "") for text in texts]
        ends = [text.endswith("lives in") for text in texts]
        return np.array(
            [
                first[stream.words.numbers[home[name]]] if name and end else first[stream.words.numbers["."]]
                for name, end in zip(last, ends, strict=True)
            ]
        )

    return says


def test_a_relation_is_found_with_its_answers_for_all(features: Features) -> None:
    stream, first = features.stream, features.stream.words.first()
    asked: list[str] = []
    found = relations(features, first, knowing(stream, asked))
    assert [relation.wordings[0].text for relation in found] == ["{} lives in"]
    tokens = {stream.words.texts[key]: token for key, token in found[0].answers.items()}
    assert tokens == {name: first[stream.words.numbers[town]] for name, town in Language().home.items()}
    assert "Ada lives in" in asked


def test_a_relation_becomes_a_table_and_the_shortest_pattern(features: Features) -> None:
    stream, first = features.stream, features.stream.words.first()
    found = relations(features, first, knowing(stream, []))
    tables, candidates = proposed(features, found, labels(stream, first), usual(stream, first))
    words = stream.words
    said = {words.texts[key]: words.texts[label] for key, label in tables[0].lines.items()}
    assert said == Language().home
    assert [one.pattern for one in candidates] == [(-2, words.numbers["lives"], words.numbers["in"])]


def test_a_model_that_answers_otherwise_than_the_text_has_no_relation(features: Features) -> None:
    stream = features.stream

    def says(texts: Sequence[str]) -> Places:
        return np.full(len(texts), stream.words.first()[stream.words.numbers["."]])

    assert relations(features, stream.words.first(), says) == []


def test_wordings_about_other_members_are_of_another_relation(features: Features) -> None:
    stream, first = features.stream, features.stream.words.first()
    found = relations(features, first, knowing(stream, []))[0].wordings[0]
    members = sorted(set(found.keys.tolist()))
    low, high = set(members[:6]), set(members[6:])
    split = [
        type(found)(found.text, found.places[there], found.keys[there], found.own[there], found.at, found.within)
        for group in (low, high)
        for there in [np.isin(found.keys, list(group))]
    ]
    for one in split:
        one.answers = found.answers
    assert [len(relation.wordings) for relation in _joined(0, split)] == [1, 1]
    assert [len(relation.wordings) for relation in _joined(0, [split[0], found])] == [2]
