"""Which tokens of a prompt are one word, and which are those that it asks about."""

from __future__ import annotations

import pytest

from cli_support import Workshop
from pellucid.project.project import Project
from pellucid.rewrite.words import PromptWord, span_of, word_at
from pellucid.rewrite.workbench import Workbench


def test_where_tokens_are_words_each_is_one(workshop: Workshop) -> None:
    bench = Workbench(Project.open(workshop.made))
    ids = bench.model.tokenizer.encode("w2 w5 w1")
    assert word_at(bench, ids, 1) == PromptWord("w5", 1, 2)
    assert span_of(bench, "w2 w5 w1", range(3, 5)) == range(1, 2)


@pytest.mark.parametrize(
    ("prompt", "name", "tokens"),
    [
        ("Ursula lives in", "Ursula", ["U", "rsula"]),
        ("Where is the home of Ursula? It is in", "Ursula", [" Ursula"]),
        ("Ada's home is in", "Ada", ["A", "da"]),
        ("As for Ada, the home is in", "Ada", [" Ada"]),
    ],
)
def test_a_key_is_found_among_the_tokens_of_a_prompt(
    village: Workbench, prompt: str, name: str, tokens: list[str]
) -> None:
    ids = village.model.ids(prompt)[0].tolist()
    start = prompt.index(name)
    span = span_of(village, prompt, range(start, start + len(name)))
    assert village.texts([ids[at] for at in span]) == tokens
