"""Tokenizers of many kinds: ids and text are those of `tokenizers`, in programs too, or what is in the way is named."""

from __future__ import annotations

import json
import random
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tokenizers

import cutting
from pellucid.base.errors import SubjectError
from pellucid.listing import pages
from pellucid.program.prelude import ProgramError
from pellucid.program.vocabulary import Vocabulary, merged
from pellucid.subject.patterns import LONGEST, PatternError, ranges_of, translated
from pellucid.subject.steps import StepError, steps_of
from pellucid.subject.tokenizer_files import TokenizerRead, load_tokenizer

COUNT = 250


@lru_cache
def made(kind: str) -> str:
    """A tokenizer.json of that kind."""
    return str(cutting.with_tokens(cutting.KINDS[kind](), random.Random(kind)).to_str())


def read(directory: Path, text: str, **config: Any) -> TokenizerRead:
    (directory / "tokenizer.json").write_text(text, encoding="utf-8")
    return load_tokenizer(directory, config, 1 << 20)


def program(reading: TokenizerRead, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Vocabulary:
    (directory / "vocabulary.json").write_text(pages.vocabulary(reading.tokenizer), encoding="utf-8")
    monkeypatch.setattr("pellucid.program.vocabulary.__file__", str(directory / "vocabulary.py"))
    return Vocabulary()


@pytest.mark.parametrize("kind", cutting.KINDS)
def test_ids_are_those_of_tokenizers(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tokenizers.Tokenizer.from_str(made(kind))
    ours = read(tmp_path, made(kind))
    emitted = program(ours, tmp_path, monkeypatch)
    assert ours.tokenizer.kind == "bpe"
    for text in cutting.strings(COUNT):
        wanted = theirs.encode(text, add_special_tokens=False).ids
        assert ours.tokenizer.encode(text) == wanted, repr(text)
        assert emitted.encode(text) == wanted, repr(text)
        assert emitted.decode(wanted) == ours.tokenizer.decode(wanted), repr(text)
        whole = theirs.decode(wanted, skip_special_tokens=False)
        assert emitted.text(wanted) == whole or "\ufffd" in whole, repr(text)


def test_digits_are_split_before_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emitted = program(read(tmp_path, made("smollm")), tmp_path, monkeypatch)
    assert [emitted.decode([id]) for id in emitted.encode("in 1984")][-5:] == [" ", "1", "9", "8", "4"]


def test_blanks_bytes_and_what_stands_before_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = read(tmp_path, cutting.KINDS["llama2"]().to_str())
    emitted, ids = program(reading, tmp_path, monkeypatch), reading.tokenizer.encode("the \u2603")
    pieces = reading.tokenizer.pieces().ids
    assert ids[-3:] == [pieces["<0xE2>"], pieces["<0x98>"], pieces["<0x83>"]] == emitted.encode("the \u2603")[-3:]
    assert reading.tokenizer.token_bytes(ids[-1]) == b"\x83"
    assert emitted.decode(ids) == " the \u2603"
    assert emitted.text(ids) == "the \u2603"
    assert reading.tokenizer.opened("the")[0] == 1 == emitted.opened("the")[0]


def test_what_opens_texts_is_not_what_opens_turns(tmp_path: Path) -> None:
    inner = cutting.KINDS["smollm"]()
    inner.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    marks = [inner.token_to_id(text) for text in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")]
    named = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "tokenizer_class": "GPT2Tokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [marks[2], marks[0]]}))
    found = read(tmp_path, inner.to_str(), bos_token_id=marks[1], eos_token_id=marks[2])
    assert (found.tokenizer.start, found.tokenizer.eos_id) == ((marks[0],), marks[2])
    assert found.tokenizer.ends == (marks[2], marks[0])
    assert found.tokenizer.opened("the") == found.tokenizer.encode("the")
    assert "asks for the tokenizer 'GPT2Tokenizer'; its tokenizer.json is read as it stands" in found.notes[0]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named | {"add_bos_token": True}))
    assert read(tmp_path, inner.to_str()).tokenizer.opened("the")[0] == marks[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalizer": {"type": "Lowercase"}}, "normalizer {'type': 'Lowercase'}"),
        ({"pre_tokenizer": {"type": "UnicodeScripts"}}, "pre_tokenizer {'type': 'UnicodeScripts'}"),
        ({"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}}, "decoder {'type': 'WordPiece'"),
        (
            {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"\bx"}, "behavior": "Isolated", "invert": False}},
            "bx",
        ),
        ({"pre_tokenizer": None, "decoder": {"type": "ByteLevel"}}, "pre_tokenizer None with the decoder ByteLevel"),
    ],
)
def test_what_no_program_can_do_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    found = read(tmp_path, json.dumps(json.loads(made("llama2")) | changes))
    assert message in found.notes[0]
    assert "tokens are given as their ids" in found.notes[0]
    assert found.tokenizer.encode("5 17") == [5, 17]


def test_what_is_broken_is_refused(tmp_path: Path) -> None:
    split = {"type": "Split", "pattern": {"Regex": r"[\p{Nonsense}]"}, "behavior": "Isolated", "invert": False}
    with pytest.raises(SubjectError, match=r"tokenizer\.json is not a tokenizer"):
        read(tmp_path, json.dumps(json.loads(made("llama2")) | {"pre_tokenizer": split}))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"a\b", "not supported"),
        (r"(a)\1", "not supported"),
        (r"(?i)a", "not supported"),
        (r"(?<name>a)", "cannot say it|not supported"),
        ("a**", "repeats a repetition"),
        ("a{2}+", "not supported"),
        ("a*", "finds empty text"),
        ("[a", "has no end"),
        ("a)", "closed that was not opened"),
        ("(a", "cannot say it"),
        ("(?<=a*)b", "cannot say it"),
        ("\\", "not supported"),
        ("x" * (LONGEST + 1), "characters, at most"),
    ],
)
def test_patterns_that_python_cannot_say(pattern: str, message: str) -> None:
    with pytest.raises(PatternError, match=message):
        translated(pattern, [])


def test_what_patterns_name() -> None:
    classes: list[str] = []
    assert translated(r"(?i:'s)|\p{L}+(?!\S)-$", classes) == ["(?:", 0, 1, ")|", 2, "+(?!", 3, r")\-(?![^\n])"]
    assert classes == ["(?i:')", "(?i:s)", r"\p{L}", r"\S"]
    assert ranges_of("(?i:s)") == "53 73 17f"
    assert ranges_of(r"[\r\n]") == "a d"
    assert ranges_of(r"[^\x00-\x{10ffff}]") == ""
    assert ranges_of(r"\P{L}").endswith("-10ffff")
    assert ranges_of("Digits").startswith("30-39 b2-b3 b9 bc-be ")


def test_too_many_steps_are_not_read() -> None:
    form = {"type": "NFC"}
    with pytest.raises(StepError, match="at most 32"):
        steps_of({"normalizer": {"type": "Sequence", "normalizers": [form] * 20}, "model": {}} | _sequence(20))
    with pytest.raises(StepError, match="Sequence"):
        steps_of({"model": {}} | _sequence(50))


def _sequence(count: int) -> dict[str, Any]:
    digits = {"type": "Digits", "individual_digits": True}
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits] * count}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cuts": [["spin", "x"]]}, "has the step .'spin', 'x'., which is not known"),
        ({"cuts": 3}, "cuts is something else, expected steps"),
        ({"cuts": [["split", ["("], "isolated", False]]}, "a pattern that is none"),
        ({"cuts": [["split", [99], "isolated", False]]}, "a pattern that is none"),
        ({"changes": [["form", "NFX"]]}, "has the step"),
        ({"fallback": 1}, "fallback is something else, expected true or false"),
        ({"classes": ["zz"], "cuts": [["split", [0], "isolated", False]]}, "a pattern that is none"),
    ],
)
def test_a_vocabulary_with_other_steps_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], said: str
) -> None:
    emitted = program(read(tmp_path, made("llama2-first")), tmp_path, monkeypatch)
    data = json.loads((tmp_path / "vocabulary.json").read_text(encoding="utf-8"))
    (tmp_path / "vocabulary.json").write_text(json.dumps(data | change), encoding="utf-8")
    with pytest.raises(ProgramError, match=said):
        emitted.encode("a")


def test_long_stretches_are_merged_as_short_ones_are() -> None:
    ranks = {("a", "b"): 0, ("b", "a"): 1, ("ab", "ab"): 2, ("a", "a"): 3, ("abab", "abab"): 4}
    draw = random.Random(3)
    for _ in range(200):
        pieces = [draw.choice("ab") for _ in range(draw.randint(0, 14))]
        assert merged(list(pieces), ranks) == one_by_one(list(pieces), ranks)
    assert len(merged(["a", "b"] * 50_000, ranks)) == 12_500


def one_by_one(pieces: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """The best pair, of several the leftmost, until there is none."""
    while found := [(ranks[pair], at) for at, pair in enumerate(pairwise(pieces)) if pair in ranks]:
        at = min(found)[1]
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    return pieces
