"""What places have in common is told by the words before them, and by no word that stands there by chance."""

from __future__ import annotations

import numpy as np
import pytest

from corpora_support import Language
from pellucid.accounts.compare.conditions import Field, clusters
from pellucid.accounts.find.stream import FlatRows, Places, Words


@pytest.fixture(scope="module")
def field() -> Field:
    language = Language()
    return Field(language.stream(400, 5, Words(language.spelling)))


def ends(stream: FlatRows, *texts: str) -> Places:
    """Where the text ends in one of these words, one after the other with blanks between."""
    pieces, found = stream.words.spelling.pieces, []
    for place in np.flatnonzero(stream.closed & ~stream.ends).tolist():
        said = "".join(pieces[token] for token in stream.ids[stream.begins[place] : place + 1])
        if said.endswith(texts):
            found.append(place)
    return np.array(found)


def words(field: Field, elements: tuple[tuple[int, int], ...]) -> set[tuple[int, str]]:
    return {(back, field.stream.words.texts[word]) for back, word in elements}


def test_a_word_some_words_back_is_found_although_half_of_its_places_differ(field: Field) -> None:
    gives = ends(field.stream, *(f" gives the {thing}" for thing in ("lamp", "coin", "ring", "bell")))
    told = list(clusters(field, gives[::2]))
    assert [words(field, cluster.elements) for cluster in told] == [{(3, "gives")}]
    assert (len(told[0].places), told[0].depth) == (len(gives[::2]), 3)
    assert told[0].n == (field.behind[2] == field.stream.words.numbers["gives"]).sum() > len(gives)


def test_several_kinds_of_place_are_told_apart_and_chance_is_not_told(field: Field) -> None:
    shown, lives = ends(field.stream, " shows"), ends(field.stream, "Ada lives in")
    stray = np.random.default_rng(3).choice(np.flatnonzero(field.stream.whole), 12, replace=False)
    stray = np.setdiff1d(stray, [*shown, *lives])
    told = list(clusters(field, np.concatenate([shown, lives, stray])))
    found = [words(field, cluster.elements) for cluster in told]
    assert {(1, "shows")} in found
    assert {(1, "in"), (3, "Ada")} in found or {(2, "lives"), (3, "Ada")} in found
    assert len(found) == 2


def test_words_anywhere_shortly_before_tell_places_too(field: Field) -> None:
    stream = field.stream
    handed = ends(stream, " gives")
    texts = stream.words.texts
    sentence = field.behind[1]
    kims = np.array([place for place in handed.tolist() if "Kim" not in texts[sentence[place]]])
    after_kim = np.array([place for place in kims.tolist() if field.lately(stream.words.numbers["Kim"])[place]])
    told = list(clusters(field, after_kim))
    assert (0, "Kim") in words(field, told[0].elements)
    assert set(told[0].places) <= set(after_kim)


def test_two_sentences_back_is_as_far_as_words_are_looked_for(field: Field) -> None:
    stream = field.stream
    for place in np.flatnonzero(stream.whole)[::97].tolist():
        start = field.since[place]
        assert stream.begins[place] <= start <= stream.sentence[place]
        inside = stream.marks[start:place]
        assert inside.sum() <= 1 + bool(stream.marks[place - 1])


def test_nothing_is_told_of_too_few_places(field: Field) -> None:
    assert list(clusters(field, np.array([5, 70]))) == []
