"""The worst contexts are those where words differ, the furthest apart first, each pair once, of many words."""

from __future__ import annotations

from pellucid.measure.worst_rows import ALIKE, Divergence, Worst


def noted(worst: Worst, subject: str, program: str, kl: float) -> None:
    """As measuring notes a context."""
    if worst.admits(subject, program, kl):
        worst.add(Divergence("tales", "one", f"before {kl}", subject, program, kl))


def test_where_both_say_the_same_is_not_listed() -> None:
    worst = Worst()
    noted(worst, " mill", " mill", 9.0)
    noted(worst, " mill", " pond", 0.01)
    assert [(found.subject, found.program) for found in worst.ranked()] == [(" mill", " pond")]


def test_each_pair_is_listed_once_at_its_worst_and_counted() -> None:
    worst = Worst()
    for kl in (0.2, 0.9, 0.5):
        noted(worst, " mill", " pond", kl)
    noted(worst, " pond", " mill", 0.7)
    found = worst.ranked()
    assert [(one.subject, one.kl, one.times) for one in found] == [(" mill", 0.9, 3), (" pond", 0.7, 1)]
    assert found[0].before == "before 0.9"


def test_one_word_does_not_fill_the_list() -> None:
    worst = Worst(most=10)
    for at in range(30):
        noted(worst, " Ada", f" w{at}", 10.0 - at / 100)
    for at in range(8):
        noted(worst, f" v{at}", f" u{at}", 1.0 + at / 100)
    found = worst.ranked()
    assert sum(one.subject == " Ada" for one in found) == ALIKE
    assert [one.kl for one in found] == sorted((one.kl for one in found), reverse=True)
    assert (found[0].program, len(found)) == (" w0", 10)


def test_one_word_fills_the_list_where_there_is_no_other() -> None:
    worst = Worst(most=10)
    for at in range(30):
        noted(worst, " Ada", f" w{at}", 10.0 - at / 100)
    assert [one.program for one in worst.ranked()] == [f" w{at}" for at in range(10)]
