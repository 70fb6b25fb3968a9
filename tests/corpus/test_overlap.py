"""Text to measure on is compared with text to fit on by content, whatever files it stands in."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from pellucid.corpus import overlap as module
from pellucid.corpus.blocks import CutSettings, cut_blocks
from pellucid.corpus.overlap import Overlap, overlap, window_hashes
from pellucid.corpus.reading import Document

WORDS = [f"{a}{b}" for a in ("ba", "ko", "mi", "su", "te") for b in ("nar", "lim", "dot", "pes", "gul", "fer")]


def prose(count: int, seed: int) -> str:
    """Words in random order."""
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(count))


def found(measured: list[str], fitted: list[str]) -> Overlap:
    """What is found where each text is a document, those to fit on in two fragments."""
    left = [Document("new", f"new#{n}", (text,)) for n, text in enumerate(measured)]
    right = [Document("old", f"old#{n}", (text[:77], text[77:])) for n, text in enumerate(fitted)]
    return overlap(cut_blocks(left, CutSettings()), right)


def test_other_text_shares_nothing() -> None:
    result = found([prose(4000, n) for n in range(3)], [prose(4000, n) for n in range(10, 14)])
    assert (result.copied, result.alike) == ((), ())
    assert result.stretches > 60


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.upper().replace(" ", "\n\n"),
        lambda text: f"{prose(1000, 5)} {text} {prose(500, 6)}",
    ],
    ids=["a copy", "other case and lines", "a superset"],
)
def test_a_copy_is_found_wherever_it_stands(change: Callable[[str], str]) -> None:
    text = prose(3000, 0)
    result = found([prose(3000, 1), text], [change(text)])
    assert set(result.copied) == {"new#1"}
    assert len(result.copied) == result.stretches // 2
    assert result.alike == ()


def test_text_without_spaces_is_compared_too() -> None:
    draw = random.Random(0)
    text = "".join(chr(0x4E00 + draw.randrange(3000)) for _ in range(20_000))
    assert len(found([text], ["".join(reversed(text)), f"天地{text}玄黄"]).copied) == 20
    assert found([text], ["".join(reversed(text))]).copied == ()


def test_a_text_with_changes_is_a_near_duplicate() -> None:
    words = prose(3000, 0).split()
    for at in range(0, len(words), 20):
        words[at] = "other"
    result = found([prose(3000, 0)], [" ".join(words)])
    assert result.copied == ()
    assert len(result.alike) == result.stretches


def test_short_documents_are_compared_in_their_order() -> None:
    """Single short ones may be alike by chance; a file of them is a copy."""
    lines = [prose(4, n) for n in range(800)]
    assert len(found(lines, lines).copied) >= 18
    assert found(lines, lines[::2]).copied == ()


def test_a_sample_of_windows_tells_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 500)
    text = prose(3000, 0)
    result = found([prose(3000, 1), text], [text])
    assert set(result.copied) == {"new#1"}


def test_hashes_depend_on_the_window_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    text = prose(5000, 0)
    whole = window_hashes(text)
    assert len(whole) == len(text) - module.WINDOW + 1
    assert len(np.unique(whole)) == len({text[at : at + module.WINDOW] for at in range(len(whole))})
    assert (window_hashes(text[1234:]) == whole[1234:]).all()
    monkeypatch.setattr(module, "_AT_ONCE", 1000)
    module._powers.cache_clear()
    assert (window_hashes(text) == whole).all()
    module._powers.cache_clear()
    assert len(window_hashes("x" * (module.WINDOW - 1))) == 0


def test_nothing_to_compare() -> None:
    assert found([], [prose(100, 0)]) == Overlap(0)
    assert found(["short"], []).copied == ()
