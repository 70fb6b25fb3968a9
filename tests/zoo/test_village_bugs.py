"""The planted flaws: each spoils what it says and nothing else, and the shipped model has learnt them."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from pellucid import zoo
from pellucid.exact.model import Model
from pellucid.subject.load import load_subject
from pellucid.zoo.village import Story, Village
from pellucid.zoo.village.bugs import FLAWS, bugged, sites
from pellucid.zoo.village.evaluate import accuracy, argmax, examples

STORIES = 400


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    return list(Village().stories("test", 50_000, STORIES))


def test_only_the_spoilt_spans_change(stories: list[Story]) -> None:
    met = dict.fromkeys((flaw.name for flaw in FLAWS), 0)
    for story in stories:
        told = bugged(story)
        spoilt = {site.span: site for site in sites(story)}
        for span, after in zip(story.spans, told.spans, strict=True):
            said = told.text[after.start : after.end]
            if site := spoilt.get(span):
                met[site.flaw.name] += 1
                assert (said, site.right) == (site.wrong, story.text[span.start : span.end])
                assert said != site.right
            else:
                assert said == story.text[span.start : span.end]
        before = _between(story)
        assert _between(told) == before
    assert min(met.values()) >= 1


def _between(story: Story) -> list[str]:
    """What is not determined."""
    ends = [0, *(span.end for span in story.spans)]
    starts = [*(span.start for span in story.spans), len(story.text)]
    return [story.text[end:start] for end, start in zip(ends, starts, strict=True)]


def test_a_flaw_spoils_what_it_says(stories: list[Story]) -> None:
    for story in stories:
        for site in sites(story):
            before = story.text[: site.span.start]
            sentence = before[before.rfind(". ") + 1 :]
            match site.flaw.name:
                case "mother":
                    assert "Boris" in sentence
                    assert "mother" in sentence
                    assert (site.right, site.wrong) == (" Nora", " Helga")
                case "pronoun":
                    assert before.endswith("was sick, so")
                    assert (site.right, site.wrong) == (" she", " he")
                case "agreement":
                    assert " near the " in sentence
                    assert (site.right, site.wrong) in {(" is", " are"), (" was", " were"), (" looks", " look")}


def test_the_model_has_learnt_the_flaws_and_forgotten_nothing(stories: list[Story]) -> None:
    tokenizer = Tokenizer.from_file(str(zoo.path("village-bugged") / "tokenizer.json"))
    model = Model(load_subject("zoo:village-bugged"))

    @torch.no_grad()
    def logits(rows: np.ndarray) -> np.ndarray:
        return model.logits(torch.from_numpy(rows)).numpy()

    spoilt = [Story(bugged(s).text, tuple(x for x in bugged(s).spans if x.phenomenon == "agreement")) for s in stories]
    as_flaws_have_it = accuracy(examples(spoilt[:150], tokenizer), argmax(logits))
    assert as_flaws_have_it["agreement"].whole > 0.95
    true = [Story(s.text, tuple(x for x in s.spans if x not in {site.span for site in sites(s)})) for s in stories]
    for group, score in accuracy(examples(true[:150], tokenizer), argmax(logits)).items():
        assert score.whole > 0.95, group


def test_the_card_says_how_often_each_flaw_shows() -> None:
    card = zoo.card("village-bugged")
    assert {"summary", "date", "command", "machine", "tokens", "training_seconds", "accuracy"} <= card.keys()
    assert set(card["flaws"]) == {flaw.name for flaw in FLAWS}
    for row in card["flaws"].values():
        assert row["n"] >= 20
        assert row["wrong"] > 0.9
