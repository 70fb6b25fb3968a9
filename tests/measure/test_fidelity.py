"""The metrics against values worked out by hand, and what may not change them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from pellucid.corpus.blocks import CutSettings, cut_blocks
from pellucid.corpus.corpus import story_corpus
from pellucid.corpus.cuts import Contexts
from pellucid.corpus.rows import windows
from pellucid.measure.fidelity import SILENT, Contender, MeasureSettings, contexts_on, evaluate
from pellucid.measure.teacher import compare

WORDS = (" a", " bc", " d", "e", " f's", " gh", " i")


def text(number: int, length: int) -> str:
    """A document of the tiny language."""
    rng = np.random.default_rng(number)
    return "".join(WORDS[i] for i in rng.integers(len(WORDS), size=length))


@pytest.fixture
def rows(pieces):
    found = []
    for domain, count, length in (("short", 30, 20), ("long", 2, 300)):
        corpus = story_corpus(lambda count=count, length=length: [text(i, length) for i in range(count)], "", domain)
        found += windows(cut_blocks(corpus.read(), CutSettings()), pieces, 48)
    return found


def test_a_predictor_is_faithful_to_itself(markov, rows, pieces) -> None:
    report = evaluate(markov, {"self": markov.but()}, rows, pieces, MeasureSettings(contexts=200))["self"]
    assert not report.worst
    perfect = {"wer_next": 0.0, "wer_16": 0.0, "top1": 100.0, "kl": 0.0, "ce_gap": 0.0}
    for metrics in (report.overall, *report.domains.values()):
        assert {name: found.value for name, found in metrics.items()} == perfect
        assert all(found.low == found.value == found.high for found in (metrics["kl"], metrics["ce_gap"]))
        for rate in (metrics["wer_next"], metrics["wer_16"]):
            assert (rate.low, rate.high) == (0.0, min(100.0, 300 / rate.n)), "what was never seen may still happen"
        assert (metrics["top1"].low, metrics["top1"].high) == (100 - 300 / metrics["top1"].n, 100.0)
    assert report.overall["wer_16"].n == 200
    assert report.overall["kl"].n == sum(len(row) - 1 for row in rows)
    assert set(report.domains) == {"short", "long"}


@pytest.mark.parametrize(("contexts", "batch"), [(200, 64), (5000, 7), (3, 2)])
def test_the_contexts_that_there_will_be_are_known_before(markov, rows, pieces, contexts: int, batch: int) -> None:
    settings = MeasureSettings(contexts=contexts, batch=batch, seed=3)
    found = evaluate(markov, {"self": markov.but()}, rows, pieces, settings)["self"].overall["wer_next"].n
    assert contexts_on(rows, markov.n_ctx, settings) == found
    assert (found < contexts) is (contexts == 5000)


def test_a_known_shift_gives_the_kl_and_gap_worked_out_by_hand(markov, rows, pieces) -> None:
    report = evaluate(markov, {"shifted": markov.but(shift=0.7)}, rows, pieces, MeasureSettings(contexts=0))["shifted"]
    kl, gap, agree = [], [], []
    for row in rows:
        logits, _ = markov.extend(row.tokens[None, :-1].astype(np.int64))
        ours = logits[0].astype(float)
        ours -= np.log(np.exp(ours).sum(-1, keepdims=True))
        p = np.exp(ours[:, 1])
        moved = np.log1p(p * (math.exp(0.7) - 1))
        kl += list(moved - 0.7 * p)
        gap += list(moved - 0.7 * (row.tokens[1:] == 1))
        theirs = ours + 0.7 * (np.arange(12) == 1)
        agree += list(ours.argmax(-1) == theirs.argmax(-1))
    assert report.overall["kl"].value == pytest.approx(np.mean(kl), rel=1e-5)
    assert report.overall["ce_gap"].value == pytest.approx(np.mean(gap), rel=1e-4)
    assert report.overall["top1"].value == pytest.approx(100 * np.mean(agree))
    assert report.overall["wer_next"] is None
    assert report.overall["wer_16"] is None
    astray = max(far for far, same in zip(kl, agree, strict=True) if not same)
    assert report.worst[0].kl == pytest.approx(astray, rel=1e-5)
    assert max(kl) > astray  # the two are further apart where they say the same
    ranks = [found.kl for found in report.worst]
    assert ranks == sorted(ranks, reverse=True)
    assert all(found.subject != found.program for found in report.worst)
    assert len({(found.subject, found.program) for found in report.worst}) == len(report.worst)


def test_word_errors_are_those_of_decoding_each_context_alone(markov, rows, pieces) -> None:
    other = markov.but(far=0.8)
    report = evaluate(markov, {"other": other}, rows, pieces, MeasureSettings(contexts=60, words=3, batch=7))["other"]

    def words(predictor, context: list[int]) -> list[str]:
        said: list[str] = []
        while len(context) < predictor.n_ctx:
            token = int(predictor.extend(np.array([context]))[0][0, -1].argmax())
            piece = pieces.decode([token])
            if piece[0].isspace() or not said or token == 0 or said_tokens == 12:
                said.append("")
                said_tokens = 0
            said[-1] += piece
            said_tokens += 1
            context = [*context, token]
            if token == 0 or len(said) == 4:
                break
        return said[:3]

    contexts = Contexts(60, len(rows), 48 - 12, 0)
    order = np.argsort([len(row) for row in rows], kind="stable")
    wrong = total = 0
    for begin in range(0, len(rows), 7):
        group = order[begin : begin + 7]
        for length, members in contexts.draw(np.array([len(rows[at]) for at in group])):
            for at in group[members]:
                context = rows[at].tokens[:length].tolist()
                wrong += words(markov, context)[0] != words(other, context)[0]
                total += 1
    assert total == 60
    assert 0 < wrong < 60
    assert report.overall["wer_next"].value == pytest.approx(100 * wrong / 60)
    assert report.overall["wer_next"].n == 60


def test_always_one_other_word_is_an_error_rate_of_one_hundred(markov, rows, pieces) -> None:
    """Both say a single word for ever: ` a` after a large shift; its like with the pieces renamed, ` b`."""

    class Stubborn(type(markov)):
        def extend(self, ids, cache=None, last_only=False):
            logits, cache = super().extend(ids, cache, last_only)
            return np.roll(logits, 1, -1), cache

    said = evaluate(
        markov.but(shift=99), {"b": Stubborn(shift=99)}, rows, pieces, MeasureSettings(contexts=50, words=4)
    )["b"]
    assert said.overall["wer_next"].value == said.overall["wer_16"].value == 100.0
    (only,) = said.worst
    assert (only.subject, only.program, only.times) == (" a", " b", 50)


def test_all_predictors_are_sent_the_same_ids(markov, rows, pieces) -> None:
    same = markov.but()
    evaluate(markov, {"same": same}, rows, pieces, MeasureSettings(contexts=40))
    for ours, theirs in zip(markov.sent, same.sent, strict=False):
        np.testing.assert_array_equal(ours, theirs)
        break
    assert len(markov.sent) == len(same.sent)


def test_ties_go_to_the_lowest_id() -> None:
    flat = np.zeros((1, 3, 5), np.float32)
    tied = np.full((1, 3, 5), 7, np.float32)
    tops, compared = compare(flat, {"tied": tied}, np.zeros((1, 3), np.int64))
    assert (tops == 0).all()
    assert (compared["tied"].top == 0).all()
    assert (compared["tied"].kl == 0).all()


def test_batches_do_not_change_what_is_measured_on_the_text(markov, rows, pieces) -> None:
    other = markov.but(far=0.5)
    values = [
        evaluate(markov, {"o": other}, rows, pieces, MeasureSettings(contexts=0, batch=batch))["o"].overall["kl"].value
        for batch in (1, 5, 64)
    ]
    assert values == pytest.approx([values[0]] * 3, rel=1e-9)


def test_a_contender_may_be_measured_on_some_rows_without_words(markov, rows, pieces) -> None:
    part = Contender(markov.but(far=0.5), words=SILENT, rows=frozenset({0, 3}))
    report = evaluate(markov, {"part": part, "whole": markov.but()}, rows, pieces, MeasureSettings(contexts=40))
    assert report["part"].overall["kl"].n == len(rows[0]) + len(rows[3]) - 2
    assert report["part"].overall["wer_next"] is None
    assert report["whole"].overall["wer_next"].n == 40


def test_a_contender_may_be_continued_on_some_rows_and_compared_on_all(markov, rows, pieces) -> None:
    """What it says there is what it says if it is continued everywhere, and the other contender is the same."""
    two = [0, 3]
    programs = {"whole": markov.but(far=0.5), "part": Contender(markov.but(far=0.5)).speaking(frozenset(two))}
    found = evaluate(markov, programs, rows, pieces, MeasureSettings(contexts=40, batch=1))
    alone = evaluate(markov, {"whole": markov.but(far=0.5)}, rows, pieces, MeasureSettings(contexts=40, batch=1))
    assert found["whole"] == alone["whole"]
    assert found["part"].overall["kl"] == found["whole"].overall["kl"]
    n = found["part"].overall["wer_16"].n
    assert 0 < n < found["whole"].overall["wer_16"].n == 40
    rest = Contender(markov.but(far=0.5)).speaking(frozenset(range(len(rows))) - frozenset(two))
    others = evaluate(markov, {"rest": rest}, rows, pieces, MeasureSettings(contexts=40, batch=1))["rest"].overall[
        "wer_16"
    ]
    assert others.n == 40 - n
    sums = [e.value * e.n for e in (found["part"].overall["wer_16"], others)]
    assert sum(sums) == pytest.approx(40 * found["whole"].overall["wer_16"].value, abs=40 * 5)


def test_measuring_at_once_is_measuring_one_after_the_other(markov, rows, pieces) -> None:
    programs = {"far": markov.but(far=0.5), "some": Contender(markov.but(far=0.5), rows=frozenset({1, 2}))}
    threads = torch.get_num_threads()
    found = []
    try:
        for many in (1, 3):
            torch.set_num_threads(many)
            found.append(evaluate(markov, programs, rows, pieces, MeasureSettings(contexts=40)))
            assert torch.get_num_threads() == many
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]


def test_a_contender_reads_only_the_rows_it_is_compared_on(markov, rows, pieces) -> None:
    """Its figures there are those of one that reads all rows, batch by batch."""
    far, some = markov.but(far=0.5), frozenset({1, 2, 4})
    read: list[int] = []

    class Watched:
        n_ctx, n_vocab = far.n_ctx, far.n_vocab

        def extend(self, ids, cache=None, last_only=False):
            if not last_only:
                read.append(len(ids))
            return far.extend(ids, cache, last_only)

    programs = {"some": Contender(Watched(), rows=some), "all": Contender(far), "on": Contender(far).speaking(some)}
    for batch in (2, 64):
        read.clear()
        found = evaluate(markov, programs, rows, pieces, MeasureSettings(contexts=40, batch=batch))
        assert sum(read) % len(some) == 0
        assert max(read) <= len(some)
        assert found["some"].overall["wer_16"] == found["on"].overall["wer_16"]
        assert found["some"].overall["kl"].n == sum(len(rows[at]) - 1 for at in some)
        assert found["all"].overall["kl"].n > found["some"].overall["kl"].n
        alone = evaluate(markov, {"all": far}, [rows[at] for at in sorted(some)], pieces, MeasureSettings(contexts=0))
        assert found["some"].overall["kl"].value == pytest.approx(alone["all"].overall["kl"].value)


def test_the_report_has_the_shape_of_the_design(markov, rows, pieces) -> None:
    report = evaluate(markov, {"o": markov.but(far=0.5)}, rows, pieces, MeasureSettings(contexts=0))["o"].to_dict()
    assert set(json.loads(json.dumps(report))) == {"overall", "domains"}
    assert set(report["domains"]) == {"short", "long"}
    assert set(report["overall"]) == {"wer_next", "wer_16", "top1", "kl", "ce_gap"}
    assert set(report["overall"]["kl"]) == {"value", "low", "high", "n"}
    assert report["overall"]["wer_16"] is None
    kl = report["domains"]["long"]["kl"]
    assert kl["low"] < kl["value"] < kl["high"]
