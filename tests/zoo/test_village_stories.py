"""The stories: reproducible, split cleanly, labelled on whole tokens, skewed, and beyond a trigram table."""

import re
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from tokenizers import Tokenizer

from pellucid import zoo
from pellucid.zoo.village import PHENOMENA, Village, lexicon
from pellucid.zoo.village.chance import pick
from pellucid.zoo.village.evaluate import Trigram, accuracy, examples
from pellucid.zoo.village.scenes import SCENES

VILLAGE = Village()
TRAIN = tuple(VILLAGE.stories("train", 0, 6_000))
TEST = tuple(VILLAGE.stories("test", 0, 500))
STRANGER = re.compile(r"A stranger called (\w+ \w+) came")


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(zoo.path("village") / "tokenizer.json"))


def test_a_story_depends_on_seed_split_and_number_alone():
    assert Village().story(17, "train") == TRAIN[17]
    assert next(VILLAGE.stories("test", start=5)) == TEST[5]
    assert Village(1).story(17, "train") != TRAIN[17]


def test_splits_share_no_story():
    train = {story.text for story in TRAIN}
    tune = {story.text for story in VILLAGE.stories("tune", 0, 300)}
    test = {story.text for story in TEST}
    assert not train & test
    assert not train & tune
    assert not tune & test


def test_splits_share_no_strangers():
    def strangers(stories):
        return {name for story in stories for name in STRANGER.findall(story.text)}

    assert len(strangers(TRAIN)) > 1_000
    assert not strangers(TRAIN) & strangers(TEST)


def test_training_never_shows_a_held_out_wording():
    assert not any(span.held_out for story in TRAIN for span in story.spans)
    assert sum(span.held_out for story in TEST for span in story.spans) > 100


def test_spans_begin_with_their_space_and_agree_with_the_facts():
    facts = {(fact.person.name, fact.relation.name): fact.answer for fact in VILLAGE.facts}
    names = re.compile("|".join(person.name for person in VILLAGE.people))
    for story in TEST:
        for span in story.spans:
            text = story.text[span.start : span.end]
            assert (text[0] == " ") == (span.phenomenon != "closing")
            if span.phenomenon == "fact":
                person = names.findall(story.text[: span.start])[-1]
                assert text == f" {facts[person, span.detail.split('/')[0]]}"


def test_every_phenomenon_occurs():
    counts = Counter(span.phenomenon for story in TRAIN for span in story.spans)
    assert set(counts) == set(PHENOMENA)
    assert min(counts.values()) > 100


def test_a_thing_belongs_to_whom_it_last_went_to():
    event = re.compile(
        r"(?P<finder>\w+) finds a|gives the \w+ to (?P<receiver>\w+)|(?P<taker>\w+) takes the \w+ from (?P<giver>\w+)"
        r"|Now the \w+ belongs to (?P<owner>\w+)"
    )
    checked = 0
    for story in TEST:
        has = None
        for found in event.finditer(story.text):
            said = found["giver"] or found["owner"]
            assert said is None or said == has
            checked += said is not None
            has = found["finder"] or found["receiver"] or found["taker"] or has
    assert checked == sum(span.phenomenon == "tracking" for story in TEST for span in story.spans) > 100


def test_agreement_is_balanced():
    counts = Counter(
        span.detail.split("/")[1] for story in TRAIN for span in story.spans if span.phenomenon == "agreement"
    )
    assert 0.8 < counts["plural"] / counts["singular"] < 1.25


def test_stories_fit_into_the_context(tokenizer):
    assert max(len(case.tokens) for case in examples(TEST, tokenizer)) < 128


def test_the_likeliest_option_leads():
    rng = Random(0)
    (_, first), (_, second) = Counter(pick(rng, range(10)) for _ in range(20_000)).most_common(2)
    assert first >= 1.5 * second


def test_scenes_and_heroes_lead():
    for weights in (SCENES.values(), lexicon.HEROES.values()):
        first, second = sorted(weights)[:-3:-1]
        assert first >= 1.5 * second


def _opening_words(sentences):
    """First words of sentences; names become the order in which the story first mentions them."""
    people = {person.name for person in VILLAGE.people}
    for story in sentences:
        known = []
        for sentence in re.split(r"(?<=[.?]) ", story.text):
            words = re.findall(r"\w+", sentence)
            yield known.index(words[0]) if words[0] in known else "new" if words[0] in people else words[0]
            known += [word for word in words if word in people and word not in known]


def test_the_first_word_of_stories_and_of_sentences_is_skewed():
    openings = Counter(story.text.split()[0] for story in TRAIN)
    sentences = Counter(_opening_words(TRAIN))
    for counts in (openings, sentences):
        (_, first), (_, second) = counts.most_common(2)
        assert first >= 1.5 * second


def test_facts_can_be_replaced():
    changed = [replace(fact, answer="flute") if "instrument" in fact.relation.name else fact for fact in VILLAGE.facts]
    spans = [
        story.text[span.start : span.end]
        for story in Village(facts=changed).stories("train", 0, 200)
        for span in story.spans
        if span.detail.startswith("instrument/")
    ]
    assert set(spans) == {" flute"}


def test_a_trigram_table_does_not_suffice(tokenizer):
    trigram = Trigram(([0, *tokenizer.encode(story.text).ids, 0] for story in TRAIN), tokenizer.get_vocab_size())
    for phenomenon, score in accuracy(examples(TEST, tokenizer), trigram).items():
        assert score.first < 0.6, phenomenon
        assert score.whole < 0.6, phenomenon
