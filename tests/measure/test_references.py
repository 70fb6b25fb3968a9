"""The tables that need no understanding."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.corpus.blocks import CutSettings, cut_blocks
from pellucid.corpus.corpus import story_corpus
from pellucid.corpus.rows import windows
from pellucid.measure.fidelity import MeasureSettings, evaluate
from pellucid.measure.references import references


@pytest.fixture
def texts(pieces):
    """Rows to fit, to tune and to measure on."""

    def rows(start: int, count: int):
        def stories():
            for number in range(start, start + count):
                ids = np.random.default_rng(number).integers(1, 12, size=40)
                yield pieces.decode(ids.tolist())

        return list(windows(cut_blocks(story_corpus(stories, "random").read(), CutSettings()), pieces, 48))

    return rows(0, 200), rows(1000, 10), rows(2000, 30)


def test_a_bigram_table_recovers_a_bigram_model(markov, texts, pieces) -> None:
    subject = markov.but(far=0.0)
    found = references(subject, *texts)
    report = evaluate(subject, found, texts[2], pieces, MeasureSettings(contexts=80))
    for name in ("bigram", "trigram"):
        overall = report[name].overall
        assert overall["kl"].value < 1e-5
        assert overall["top1"].value == 100
        assert overall["wer_16"].value < 1
        assert overall["wer_16"].n == 80


def test_a_trigram_table_is_better_on_a_model_that_looks_two_back(markov, texts, pieces) -> None:
    report = evaluate(markov, references(markov, *texts), texts[2], pieces, MeasureSettings(contexts=0))
    assert report["trigram"].overall["kl"].value < 0.02 < 0.2 < report["bigram"].overall["kl"].value


def test_too_many_contexts_for_the_memory_are_measured_on_fewer_rows(markov, texts, pieces) -> None:
    full = references(markov, *texts)["trigram"].predictor
    found = references(markov, *texts, limit=4 * 12 * 115)
    assert found["bigram"].speaks
    assert not found["trigram"].speaks
    rows = found["trigram"].rows
    assert 0 < len(rows) < len(texts[2])
    report = evaluate(markov, found, texts[2], pieces, MeasureSettings(contexts=30))
    assert report["trigram"].overall["wer_next"] is None
    assert report["trigram"].overall["kl"].n == sum(len(texts[2][at]) - 1 for at in rows)
    for at in rows:
        ids = texts[2][at].tokens[None].astype(np.int64)
        limited = found["trigram"].predictor
        if limited.trigram.smoothing == full.trigram.smoothing:
            np.testing.assert_allclose(limited.extend(ids)[0], full.extend(ids)[0], rtol=1e-5)


def test_a_table_continues_from_its_cache(markov, texts) -> None:
    table = references(markov, *texts)["trigram"].predictor
    ids = texts[2][0].tokens[None].astype(np.int64)
    whole, _ = table.extend(ids)
    _, cache = table.extend(ids)
    rest, _ = table.extend(ids[:, 9:12], cache.take(np.array([0, 0])[:1], 9))
    np.testing.assert_array_equal(rest, whole[:, 9:12])


def test_tables_of_a_text_do_not_grow_beyond_their_limit(markov, texts) -> None:
    for limit in (1 << 10, 1 << 12, 1 << 14):
        found = references(markov, *texts, limit=limit)
        tables = (found["bigram"].predictor.bigram, found["trigram"].predictor.trigram)
        assert sum(table.sums.numel() * 4 for table in tables) <= limit
