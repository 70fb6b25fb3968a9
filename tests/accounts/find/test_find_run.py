"""Rules that made a text are found again, and written as accounts that say what comes next."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from corpora_support import Language, accounts_of
from pellucid.accounts.find.program import judged
from pellucid.accounts.find.run import FoundAccounts, find
from pellucid.accounts.find.spelling import FreeNames, Spelled
from pellucid.accounts.find.stream import FlatRows, Words
from pellucid.accounts.find.write import Writer
from pellucid.accounts.language import Accounts

Stories = tuple[Language, FoundAccounts, FlatRows]


@pytest.fixture(scope="module")
def stories() -> Stories:
    language = Language()
    words = Words(language.spelling)
    fit, tune, fresh = (language.stream(n, seed, words) for n, seed in ((800, 1), (200, 2), (60, 3)))
    return language, find(fit, tune, 4e-5), fresh


@pytest.fixture(scope="module")
def accounts(stories: Stories, tmp_path_factory: pytest.TempPathFactory) -> Accounts:
    language, found, _ = stories
    folder = tmp_path_factory.mktemp("accounts")
    names, known = FreeNames(), found.board.features.known
    spelled = Spelled.of(found.board.features.stream, known.classes, names)
    written = Writer(found.board, known, spelled, names).all(found.behaviours)
    return accounts_of(written, folder, language.spelling)


def share_right(language: Language, accounts: Accounts, cue: str, count: int = 300) -> float:
    """How often the accounts say the word that comes next behind `cue` in fresh texts."""
    rng, right, asked = np.random.default_rng(9), 0, 0
    while asked < count:
        text = language.text(rng)
        for at in range(len(text)):
            if text.startswith(cue, at):
                said = accounts.said(language.spelling.encode(text[: at + len(cue)]))[-1]
                right += said is not None and text[at + len(cue) :].startswith(f" {said.answer}")
                asked += 1
    return right / asked


def test_a_table_of_facts_is_found(stories: Stories, accounts: Accounts) -> None:
    language, _, _ = stories
    assert share_right(language, accounts, " lives in") >= 0.99
    tables = {frozenset((line[0], line[1]) for line in table.lines.values()) for table in accounts.tables.values()}
    assert any(set(language.home.items()) <= lines for lines in tables)


def test_a_state_that_is_handed_on_is_found(stories: Stories, accounts: Accounts) -> None:
    language, found, _ = stories
    assert found.board.features.known.folds
    assert share_right(language, accounts, " is with") >= 0.99


def test_classes_are_found(stories: Stories) -> None:
    _, found, _ = stories
    texts = found.board.features.stream.words.texts
    groups = [{texts[member] for member in group.members} for group in found.board.features.known.classes]
    assert any({"Ada", "Bo", "Cy", "Lou"} <= group and not group & {"Rome", "lamp"} for group in groups)
    assert any({"Rome", "Oslo"} <= group and "Ada" not in group for group in groups)


def test_the_written_accounts_say_what_the_rules_say(stories: Stories, accounts: Accounts) -> None:
    language, _, fresh = stories
    rows = fresh.ids.reshape(-1, 64)
    said = [one for row in rows.tolist() for one in accounts.said(row)]
    spoken = [(one.token, own) for one, own in zip(said, fresh.own.tolist(), strict=True) if one is not None]
    assert len(spoken) >= 0.8 * len(said)
    assert np.mean([token == own for token, own in spoken]) >= 0.8
    assert language.spelling.ends == frozenset({0})


@pytest.mark.parametrize("shares", [True, False])
def test_a_variable_stands_once(stories: Stories, shares: bool) -> None:
    _, found, _ = stories
    names, known = FreeNames(), found.board.features.known
    spelled = Spelled.of(found.board.features.stream, known.classes, names)
    texts = Writer(found.board, known, spelled, names, shares=shares).all(found.behaviours).texts()
    defined = Counter(line for text in texts.values() for line in text.split("\n") if line.startswith("def "))
    del defined["def next_token(text):"]
    imported = [text.count("from .variables import") for text in texts.values()]
    if shares:
        assert set(defined.values()) == {1}
        assert sum(imported) > 1
        assert texts["variables.py"].startswith(
            '"""Variables that several accounts ask for."""\n\nfrom .language import variable\n'
        )
    else:
        assert max(defined.values()) > 1
        assert "variables.py" not in texts
        assert not any(imported)


def test_rules_that_silence_outdoes_are_not_kept(stories: Stories) -> None:
    language, found, _ = stories
    words = Words(language.spelling)
    fit, tune = (language.stream(n, seed, words) for n, seed in ((800, 1), (200, 2)))
    never = find(fit, tune, 4e-5, otherwise=np.zeros(len(tune), dtype=bool))
    assert len(never.rules) == len(found.rules)
    always = find(fit, tune, 4e-5, otherwise=np.ones(len(tune), dtype=bool))
    assert 0 < len(always.rules) < len(found.rules)
    kept = judged(always.board, always.rules, {rule: always.board.places(rule) for rule in always.rules})
    before = judged(found.board, found.rules, {rule: found.board.places(rule) for rule in found.rules})
    assert kept.hits.mean() > before.hits.mean()


def test_finding_twice_finds_the_same(stories: Stories) -> None:
    language, found, _ = stories
    words = Words(language.spelling)
    again = find(*(language.stream(n, seed, words) for n, seed in ((800, 1), (200, 2))), 4e-5)
    assert len(again.rules) == len(found.rules)
    assert [rule.guards for rule in again.rules] == [rule.guards for rule in found.rules]


def test_where_nothing_can_be_told_no_rule_is_found() -> None:
    language = Language()
    words = Words(language.spelling)
    fit, tune = (language.stream(count, seed, words) for count, seed in ((60, 1), (20, 2)))
    found = find(fit, tune, 1.0)
    assert (found.rules, found.behaviours, len(found.ends)) == ([], [], 0)
