"""The program's own tokenizer does what `tokenizers` does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from cutting import strings
from pellucid.listing import pages
from pellucid.program.prelude import ProgramError
from pellucid.program.vocabulary import Vocabulary, words
from pellucid.subject.tokenizer import IdTokenizer, Tokenizer, WordTokenizer
from pellucid.subject.tokenizer_files import load_tokenizer


def emitted(tokenizer: Tokenizer, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Vocabulary:
    """The vocabulary of a program that was emitted with `tokenizer`."""
    (directory / "vocabulary.json").write_text(pages.vocabulary(tokenizer), encoding="utf-8")
    monkeypatch.setattr("pellucid.program.vocabulary.__file__", str(directory / "vocabulary.py"))
    return Vocabulary()


def small(directory: Path) -> Tokenizer:
    """A byte-level BPE trained on a little of everything."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=["<|endoftext|>", "<|end"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(strings(600), trainer)
    tokenizer.save(str(directory / "tokenizer.json"))
    return load_tokenizer(directory, {"eos_token_id": 0}, 1 << 20).tokenizer


def assert_same(ours: Vocabulary, theirs: Tokenizer, texts: list[str]) -> None:
    for text, wanted in zip(texts, theirs.encode_batch(texts), strict=True):
        assert ours.encode(text) == wanted, repr(text)
        assert ours.decode(wanted) == theirs.decode(wanted), repr(text)


def test_a_small_vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = small(tmp_path)
    assert_same(emitted(tokenizer, tmp_path, monkeypatch), tokenizer, strings(5_000))


def test_the_vocabulary_of_a_real_model(novelist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = load_tokenizer(novelist, {"eos_token_id": 0}, 1 << 20).tokenizer
    assert_same(emitted(tokenizer, tmp_path, monkeypatch), tokenizer, strings(10_000))


def test_every_character_is_of_the_class_that_tokenizers_gives_it() -> None:
    theirs = pre_tokenizers.ByteLevel(add_prefix_space=False)
    vast = [range(0x3400, 0x9FF0), range(0xAC10, 0xD800), range(0x17000, 0x18C00), range(0x20000, 0x2EA00)]
    vast += [range(0xD800, 0xE000), range(0xE010, 0xF8F0), range(0x2EF00, 0x31300), range(0x32400, 0x110000)]
    codes = [code for code in range(0x110000) if not any(code in part for part in vast)]
    for start in range(0, len(codes), 16):
        batch = codes[start : start + 16]
        text = " ".join(f"a{chr(code)}a1{chr(code)}1!{chr(code)}" for code in batch)
        cut = [text[first:last] for _, (first, last) in theirs.pre_tokenize_str(text)]
        assert words(text) == cut, f"U+{codes[start]:04X} and on"


def test_words_are_separated_by_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = WordTokenizer(["<bos>", "a", "b'", "\u3000x\\"][:3], 0, "task")
    ours = emitted(tokenizer, tmp_path, monkeypatch)
    assert ours.encode("<bos>  a\nb' a") == [0, 1, 2, 1]
    assert ours.decode([0, 1, 2]) == "<bos> a b'"
    assert ours.members(("a", 2)).tolist() == [False, True, True, False]


def test_text_may_be_bare_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = emitted(IdTokenizer(12, 3, "model"), tmp_path, monkeypatch)
    assert ours.encode("5 11 0") == [5, 11, 0]
    assert ours.decode([5, 11, 0]) == "5 11 0"
    with pytest.raises(ProgramError, match="'12' is not one token of this model's vocabulary"):
        ours.encode("12")


def test_what_vocabularies_had_before_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = small(tmp_path)
    data = json.loads(pages.vocabulary(tokenizer))
    ours = emitted(tokenizer, tmp_path, monkeypatch)
    before = {key: data[key] for key in ("kind", "end", "special", "pieces", "merges")} | {"opens": True}
    (tmp_path / "vocabulary.json").write_text(json.dumps(before))
    assert ours.opened("the") == [0, *tokenizer.encode("the")]
    assert ours.ends == [0]
    assert_same(ours, tokenizer, strings(50))


def test_vocabulary_is_data(tmp_path: Path) -> None:
    data = json.loads(pages.vocabulary(small(tmp_path)))
    before = {"kind", "end", "opens", "special", "pieces", "merges"}
    assert set(data) == before | {"ends", "opening", "spaced", "strips", "late"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.update(pieces=3), "pieces is something else, expected texts, or null"),
        (lambda data: data.pop("pieces"), "has no pieces"),
        (lambda data: data["pieces"].__setitem__(0, []), "pieces is something else"),
        (lambda data: data.update(merges=["a b c"]), "merges is something else, expected pairs"),
        (lambda data: data.update(special=[["x", "y"]]), "special is something else, expected pairs of texts and"),
        (lambda data: data.update(end="x"), "end is something else, expected an id or null"),
        (lambda data: data.update(strips={"x": True}), "strips is something else"),
    ],
)
def test_a_vocabulary_of_another_shape_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    vocabulary = emitted(small(tmp_path), tmp_path, monkeypatch)
    data = json.loads((tmp_path / "vocabulary.json").read_text())
    change(data)
    (tmp_path / "vocabulary.json").write_text(json.dumps(data))
    with pytest.raises(ProgramError, match=said):
        vocabulary.encode("a")


def test_merges_may_lead_to_tokens_that_the_model_does_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary = emitted(small(tmp_path), tmp_path, monkeypatch)
    data = {"kind": "bpe", "pieces": ["a", "b", None, "\ud800"], "merges": ["a b"]}
    (tmp_path / "vocabulary.json").write_text(json.dumps(data))
    assert vocabulary.encode("ba") == [1, 0]
    assert vocabulary.decode([0, 3]) == "a\ufffd\ufffd\ufffd"
    with pytest.raises(ProgramError, match="no embedding of the token 'ab'"):
        vocabulary.encode("ab")


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000, "3"])
def test_what_is_no_vocabulary_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    vocabulary = emitted(small(tmp_path), tmp_path, monkeypatch)
    (tmp_path / "vocabulary.json").write_text(text)
    with pytest.raises(ProgramError, match=r"vocabulary\.json"):
        vocabulary.encode("a")


def test_a_prompt_that_is_not_utf_8_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProgramError, match="is not UTF-8 text"):
        emitted(small(tmp_path), tmp_path, monkeypatch).encode("caf\udce9")
