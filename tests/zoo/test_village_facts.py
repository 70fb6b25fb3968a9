"""Who lives in the village, and what is true of them."""

from collections import Counter

from pellucid.zoo.village import Village, consequences
from pellucid.zoo.village.consequences import RULES
from pellucid.zoo.village.facts import KINSHIP
from pellucid.zoo.village.wordings import WORDINGS, held_out_wording, tell, wordings_of

VILLAGE = Village()
PARENT = {"f": "mother", "m": "father"}
CHILD = {"f": "daughter", "m": "son"}
SIBLING = {"f": "sister", "m": "brother"}
SPOUSE = {"f": "wife", "m": "husband"}
INVERSE = {
    "mother": CHILD,
    "father": CHILD,
    "son": PARENT,
    "daughter": PARENT,
    "brother": SIBLING,
    "sister": SIBLING,
    "husband": SPOUSE,
    "wife": SPOUSE,
}


def test_there_are_enough_people_and_facts():
    assert len(VILLAGE.people) >= 64
    assert len(VILLAGE.facts) >= 640
    assert min(Counter(fact.person.name for fact in VILLAGE.facts).values()) >= 10


def test_a_person_has_one_answer_a_relation():
    assert max(Counter((fact.person.name, fact.relation.name) for fact in VILLAGE.facts).values()) == 1


def test_kin_is_closed_under_inversion():
    known = {(fact.person.name, fact.relation.name, fact.answer) for fact in VILLAGE.facts}
    kin = [fact for fact in VILLAGE.facts if fact.relation.name in KINSHIP]
    for fact in kin:
        back = INVERSE[fact.relation.name][fact.person.gender]
        assert (fact.answer, back, fact.person.name) in known


def test_kin_has_the_right_gender():
    gender = {person.name: person.gender for person in VILLAGE.people}
    for fact in VILLAGE.facts:
        if fact.relation.name in KINSHIP:
            female = fact.relation.name in {"mother", "daughter", "sister", "wife"}
            assert gender[fact.answer] == ("f" if female else "m")


def test_facts_depend_on_the_seed_alone():
    assert Village(0).facts == VILLAGE.facts
    assert Village(1).facts != VILLAGE.facts


def test_every_wording_of_every_fact_ends_in_its_answer():
    for fact in VILLAGE.facts:
        assert len(wordings_of(fact.relation)) >= 5
        for wording in wordings_of(fact.relation):
            before, answer, after = tell(fact, wording)[:3]
            assert fact.person.name in before.text
            assert answer.text == f" {fact.answer}"
            assert after.text in {".", ", so"}


def test_a_tenth_of_all_tellings_is_held_out_and_no_fact_is_held_out_altogether():
    tellings = sum(len(wordings_of(fact.relation)) for fact in VILLAGE.facts)
    kept = [held_out_wording(fact) for fact in VILLAGE.facts]
    assert 0.10 <= sum(wording is not None for wording in kept) / tellings <= 0.15
    assert set(kept) == {*WORDINGS, None}


def test_consequences_follow_the_rules_of_the_village():
    for fact in VILLAGE.facts:
        found = [(consequence.clause, consequence.answer) for consequence in consequences(fact)]
        if fact.relation.name in RULES:
            clause, answers = RULES[fact.relation.name]
            assert found == [(clause, answers[fact.answer])]
        else:
            assert found == []
