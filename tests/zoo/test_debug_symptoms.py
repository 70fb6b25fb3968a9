"""The symptoms of `benchmarks/debug.py`: flaws are told from what is right by the tokens that they depend on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from pellucid import zoo
from pellucid.zoo.village import Village
from pellucid.zoo.village.bugs import sites

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
from debug_symptoms import Bug, Heard, Sample, bugs, listen, patterns, siblings

TOKENIZER = Tokenizer.from_file(str(zoo.path("village") / "tokenizer.json"))


@pytest.fixture(scope="module")
def sample() -> Sample:
    return Sample.of(Village().stories("test", 60_000, 450), TOKENIZER)


@pytest.fixture(scope="module")
def flawed(sample: Sample) -> Heard:
    """What a model says that has exactly the planted flaws, and one slip of its own."""
    wrong = {(row, s.span): s.wrong for row, story in enumerate(sample.stories) for s in sites(story)}
    said = [
        tuple(TOKENIZER.encode(wrong[p.row, p.target.span]).ids) if (p.row, p.target.span) in wrong else p.answer
        for p in sample.places
    ]
    slip = next(n for n, place in enumerate(sample.places) if place.group == "tracking")
    said[slip] = (0,) * len(said[slip])
    nothing = torch.zeros(len(sample.rows))
    return Heard(tuple(said), nothing, nothing)


def name(*tokens: int) -> set[str]:
    return {TOKENIZER.decode([token]) for token in tokens}


def test_the_planted_flaws_are_found_and_nothing_else(sample: Sample, flawed: Heard) -> None:
    found = {bug.group: bug for bug in bugs(sample, flawed)}
    assert set(found) == {"fact", "pronoun", "agreement"}
    assert " Boris" in name(*found["fact"].triggers)
    assert name(*found["pronoun"].triggers) == {" sick"}
    assert name(*found["agreement"].triggers) == {" near"}
    assert name(*(right for right, _ in found["agreement"].pairs)) == {" is", " was", " looks"}
    planted = {(row, s.span) for row, story in enumerate(sample.stories) for s in sites(story)}
    symptoms = [sample.places[n] for bug in found.values() for n in bug.symptoms]
    assert len(symptoms) > 0.9 * len(planted)
    assert all((place.row, place.target.span) in planted for place in symptoms)


def test_patterns_reach_from_the_trigger_to_the_place(sample: Sample, flawed: Heard) -> None:
    found: dict[str, Bug] = {bug.group: bug for bug in bugs(sample, flawed)}
    assert patterns(sample, found["pronoun"], TOKENIZER) == [" sick, so"]
    assert patterns(sample, found["agreement"], TOKENIZER)[0] == " near the *"


def test_listening_says_what_is_likeliest(sample: Sample) -> None:
    few = Sample.of(sample.stories[:40], TOKENIZER)

    def logits(ids: torch.Tensor) -> torch.Tensor:
        """Says every token as it stands, and is sure of it."""
        return 50.0 * torch.nn.functional.one_hot(ids.roll(-1, 1), 1024).float()

    heard = listen(logits, few)
    assert all(heard.right(few))
    assert heard.nats.abs().max() < 1e-3
    assert heard.tokens.tolist() == [len(row.tokens) - 1 for row in few.rows]


def test_what_stands_in_the_place_of_a_trigger(sample: Sample, flawed: Heard) -> None:
    found = {bug.group: bug for bug in bugs(sample, flawed)}
    assert name(*siblings(sample, flawed, found["agreement"])) <= {" behind", " beside", " beyond"}
    assert name(*siblings(sample, flawed, found["pronoun"])) <= {" tired", " hungry", " late"}
