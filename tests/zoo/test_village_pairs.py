"""Minimal pairs differ where the rules decide, and nowhere else."""

import pytest

from pellucid.zoo.village import PHENOMENA, Village
from pellucid.zoo.village.pairs import contrasts

VILLAGE = Village()


@pytest.mark.parametrize("phenomenon", PHENOMENA)
def test_the_cause_is_all_that_differs(phenomenon):
    for pair in contrasts(VILLAGE, phenomenon, 20):
        assert pair.answers != pair.instead
        assert pair.cause
        kept, at = "", 0
        for start, end in pair.cause:
            kept, at = kept + pair.clean[at:start], end
        words = (kept + pair.clean[at:]).split()
        left = iter(pair.corrupted.split())
        assert all(word in left for word in words), "what is no cause stands in the other prompt too, in order"


def test_the_same_seed_gives_the_same_pairs():
    assert contrasts(VILLAGE, "fact", 5) == contrasts(VILLAGE, "fact", 5)
    assert contrasts(VILLAGE, "fact", 5) != contrasts(VILLAGE, "fact", 5, seed=1)


def test_answers_are_those_of_the_rules():
    facts = {(fact.person.name, fact.answer) for fact in VILLAGE.facts}
    for pair in contrasts(VILLAGE, "fact", 20):
        (start, end), *_ = pair.cause
        name = pair.clean[start:end].strip(" ,?").removesuffix("'s")
        assert (name, pair.answers[0].strip()) in facts
    for pair in contrasts(VILLAGE, "agreement", 20):
        subject = pair.clean[slice(*pair.cause[0])].strip()
        plural = subject.endswith("s") and subject != "goose"
        assert (pair.answers[0].strip() in ("are", "were", "look")) == plural
