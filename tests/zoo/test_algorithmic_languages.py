"""What the small subjects of the zoo were taught, and that those which ship know it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pellucid.exact.model import Model
from pellucid.subject.load import load_subject
from pellucid.weightless.decompile import suits
from pellucid.weightless.hooked import is_hooked, load_hooked
from pellucid.weightless.task import read_task
from pellucid.weightless.teacher import answers, logits, padded
from pellucid.zoo import registry
from pellucid.zoo.algorithmic import LANGUAGES, Labelled

SHIPPED = [name for name in LANGUAGES if name in registry.names()]
LARGEST = 300_000


def said(row: Labelled) -> list[set[str]]:
    """The right answers of a row in order."""
    return [set(words) for words in row.right]


@pytest.mark.parametrize(
    ("name", "words", "right"),
    [
        ("sort", "7 11 2", "2 7 11 <eos>"),
        ("reverse", "d a c", "c a d <eos>"),
        ("most-frequent", "a b a c", "a"),
        ("induction", "d a c", "a c"),
        ("wrong-rule", "bad film good bad", "negative"),
        ("wrong-rule", "bad film director bad", "positive"),
        ("modular-addition", "30 3", "2"),
    ],
)
def test_labels_are_what_they_should_be(name: str, words: str, right: str) -> None:
    row = LANGUAGES[name].row(tuple(words.split()), "any")
    assert said(row) == [{word} for word in right.split()]
    assert max(row.scored) < len(row.tokens)


def test_brackets_may_close_only_where_one_is_open() -> None:
    row = LANGUAGES["dyck"].row(tuple("(())"), "any")
    inside, outside = {"(", ")"}, {"(", "<eos>"}
    assert said(row) == [outside, inside, inside, inside, outside]


@pytest.mark.parametrize("name", LANGUAGES)
def test_rows_come_from_the_seed_and_fit_their_band(name: str) -> None:
    language = LANGUAGES[name]
    for band, (low, high) in language.bands.items():
        rows = language.rows(0, 30, band)
        assert rows == language.rows(0, 30, band) != language.rows(1, 30, band)
        assert {word for row in rows for word in row.tokens} <= set(language.vocabulary)
        assert all(low - 1 <= len(row.tokens) <= max(language.longest, high) for row in rows)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_knows_what_its_card_says(name: str) -> None:
    path, language = registry.path(name), LANGUAGES[name]
    card = registry.card(name)
    assert {"summary", "date", "command", "machine", "accuracy", "parameters"} <= card.keys()
    assert suits(f"zoo:{name}")
    assert sum(file.stat().st_size for file in path.iterdir()) <= LARGEST
    assert read_task(path).vocabulary == language.vocabulary
    if is_hooked(path):
        ids = np.array([row.ids for row in read_task(path).rows][:300])
        found = load_hooked(path).run(torch.from_numpy(ids))["logits"][:, -1, : ids.max()].argmax(-1).numpy()
        assert float((found == ids[:, :2].sum(1) % ids.max()).mean()) > 0.95
        return
    right, task = [], read_task(path)
    model = Model(load_subject(path))
    chosen = [row for row in task.rows if row.band == task.trained][:100]
    truth = {row.tokens: row for row in language.rows(2, 1500, language.trained)}
    for row, own in zip(chosen, logits(model, padded(chosen)), strict=True):
        wanted = truth[tuple(language.vocabulary[id] for id in row.ids)]
        given = answers(own[list(row.scored)], task.answer)
        sets = [{int(x) for x in (np.flatnonzero(g) if task.answer == "set" else [g])} for g in given]
        right.append([{language.vocabulary[id] for id in ids} for ids in sets] == said(wanted))
    assert abs(float(np.mean(right)) - card["accuracy"][language.trained]) < 0.05
