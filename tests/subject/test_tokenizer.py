"""Tokenizers: text to ids and back, from each of the layouts, and those that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

from pellucid.base.errors import PellucidError, SubjectError
from pellucid.subject.load import load_subject
from pellucid.subject.tokenizer import Added, IdTokenizer, Tokenizer, byte_alphabet
from pellucid.subject.tokenizer_files import load_tokenizer

TEXT = ["the cat sat on the mat, the cat that sat", "naïve café — señor, 12 + 12 = 24", "don't we'll they've\n\n\tthe"]


def train() -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [AddedToken("<|endoftext|>", normalized=False)]
    inner.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=special, show_progress=False),
    )
    return inner


@pytest.fixture(scope="module")
def inner() -> tokenizers.Tokenizer:
    return train()


@pytest.fixture(scope="module")
def bpe(inner: tokenizers.Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    directory = tmp_path_factory.mktemp("bpe")
    inner.save(str(directory / "tokenizer.json"))
    return load_tokenizer(directory, {}, 300).tokenizer


@pytest.fixture
def fields(inner: tokenizers.Tokenizer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(inner.to_str())
    return found


def load(directory: Path, fields: object, eos: Any = None, n_tokens: int = 300) -> Tokenizer:
    (directory / "tokenizer.json").write_text(json.dumps(fields))
    return load_tokenizer(directory, {"eos_token_id": eos}, n_tokens).tokenizer


def test_special_tokens_in_text_are_tokens(bpe: Tokenizer) -> None:
    assert bpe.eos_id == 0
    ids = bpe.encode("the cat<|endoftext|> sat")
    assert ids.count(0) == 1
    assert bpe.decode(ids) == "the cat<|endoftext|> sat"
    assert bpe.token_bytes(0) == b"<|endoftext|>"
    assert bpe.kind == "bpe"


def test_ids_without_a_token_are_empty(bpe: Tokenizer) -> None:
    assert bpe.token_bytes(bpe.n_tokens) == b""
    assert bpe.decode([bpe.n_tokens, 7]) == bpe.decode([7])
    assert bpe.encode("") == []


def test_pieces_write_the_tokenizer_down(bpe: Tokenizer, inner: tokenizers.Tokenizer) -> None:
    pieces = bpe.pieces()
    assert pieces.vocab == inner.get_vocab()
    assert len(pieces.merges) == 300 - 257
    assert pieces.added == (Added("<|endoftext|>", 0),)
    assert len(byte_alphabet()) == len(set(byte_alphabet().values())) == 256


def test_vocab_and_merges_are_the_same_tokenizer(bpe: Tokenizer, fields: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps(fields["model"]["vocab"]))
    merges = "\n".join(" ".join(pair) for pair in fields["model"]["merges"])
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    other = load_tokenizer(tmp_path, {"eos_token_id": 0}, 300).tokenizer
    assert other.pieces() == bpe.pieces()
    texts = [*TEXT, "<|endoftext|>x 世界 😀", " lead"]
    assert other.encode_batch(texts) == bpe.encode_batch(texts)
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b c\n")
    with pytest.raises(SubjectError, match="merge 'a b c' is not a pair"):
        load_tokenizer(tmp_path, {}, 300)
    (tmp_path / "merges.txt").write_text("zz qq\n")
    with pytest.raises(SubjectError, match=r"vocab.json and merges.txt do not fit"):
        load_tokenizer(tmp_path, {}, 300)


def test_the_layouts_of_novelist_agree(novelist: Path, tmp_path: Path) -> None:
    whole = load_tokenizer(novelist, {}, 4096).tokenizer
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((novelist / name).read_bytes())
    halves = load_tokenizer(tmp_path, {}, 4096).tokenizer
    assert whole.pieces() == halves.pieces()
    text = "“It was the best of times,” said he;\n<|endoftext|>1859 — naïve 世界"
    assert whole.encode(text) == halves.encode(text)
    assert whole.decode(whole.encode(text)) == text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": []}, "its model is \\[\\]"),
        ({"model": None}, "its model is None"),
        ({"added_tokens": [{"id": "x"}]}, "its added_tokens are no list of tokens"),
        ({"added_tokens": [{"id": 7, "content": "x", "lstrip": 1}]}, "its added_tokens are no list of tokens"),
        ({"pre_tokenizer": {"type": "ByteLevel"}}, "missing field"),
    ],
)
def test_broken_files_are_refused(
    tmp_path: Path, fields: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SubjectError, match=f"tokenizer.json is not a tokenizer: .*{message}"):
        load(tmp_path, fields | changes)


def test_a_tokenizer_must_fit_its_model(tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(SubjectError, match="token ids up to 299, the model has 299"):
        load(tmp_path, fields, n_tokens=299)
    fields["model"]["vocab"]["far"] = 4_000_000_000
    with pytest.raises(SubjectError, match="token ids up to 4000000000"):
        load(tmp_path, fields)


def test_without_a_tokenizer_text_is_ids(tmp_path: Path) -> None:
    found = load_tokenizer(tmp_path, {"eos_token_id": 3, "bos_token_id": 50256}, 10)
    assert isinstance(found.tokenizer, IdTokenizer)
    assert "has no tokenizer.json, vocab.json + merges.txt or task.json" in found.notes[0]
    assert found.tokenizer.encode("5 1,7") == [5, 1, 7]
    assert found.tokenizer.decode([5, 1, 7]) == "5 1 7"
    assert (found.tokenizer.eos_id, found.tokenizer.bos_id, found.tokenizer.n_tokens) == (3, None, 10)
    for text in ("10", "-1", "the", "1 ² 3", "9" * 30):
        with pytest.raises(PellucidError, match="expected token ids from 0 to 9"):
            found.tokenizer.encode(text)


@pytest.mark.parametrize("text", ["\ud800", "a\udcffb"])
def test_text_must_be_unicode(bpe: Tokenizer, text: str) -> None:
    with pytest.raises(PellucidError, match="lone surrogates"):
        bpe.encode(text)


def words(directory: Path, vocab: object, **fields: Any) -> Tokenizer:
    (directory / "task.json").write_text(json.dumps({"name": "sums", "vocab": vocab} | fields))
    return load_tokenizer(directory, {"eos_token_id": 3}, 5).tokenizer


def test_words(tmp_path: Path) -> None:
    tokenizer = words(tmp_path, ["0", "1", "+", "<eos>", "<pad>"])
    assert tokenizer.encode(" 1 + 10"[:6]) == [1, 2, 1]
    assert tokenizer.decode([1, 2, 0, 3]) == "1 + 0 <eos>"
    assert (tokenizer.kind, tokenizer.n_tokens, tokenizer.eos_id) == ("words", 5, 3)
    assert tokenizer.token_bytes(2) == b"+"
    assert tokenizer.token_bytes(9) == b""
    assert tokenizer.pieces().vocab["<pad>"] == 4
    assert words(tmp_path, ["a", "<end>"], eos="<end>").eos_id == 1
    with pytest.raises(PellucidError, match=r"'<eo>' is not in the vocabulary of sums.*did you mean <eos>"):
        tokenizer.encode("1 <eo>")


@pytest.mark.parametrize("vocab", [None, [], "abc", ["a", 1], ["a", ""]])
def test_broken_words(tmp_path: Path, vocab: object) -> None:
    with pytest.raises(SubjectError, match=r"task.json has no vocab, expected a list of words"):
        words(tmp_path, vocab)


@pytest.mark.parametrize("vocab", [["a", "a"], ["a b"]])
def test_ambiguous_words(tmp_path: Path, vocab: list[str]) -> None:
    with pytest.raises(SubjectError, match="in the vocabulary twice or has white space"):
        words(tmp_path, vocab)


@given(st.text(max_size=40))
def test_text_survives_and_decodes_as_the_package_decodes(
    bpe: Tokenizer, inner: tokenizers.Tokenizer, text: str
) -> None:
    ids = bpe.encode(text)
    assert ids == inner.encode(text, add_special_tokens=False).ids
    assert bpe.decode(ids) == text
    assert b"".join(bpe.token_bytes(token) for token in ids) == text.encode("utf-8")


@given(st.lists(st.integers(0, 299), max_size=12))
def test_any_ids_decode_as_the_package_decodes(bpe: Tokenizer, inner: tokenizers.Tokenizer, ids: list[int]) -> None:
    assert bpe.decode(ids) == inner.decode(ids, skip_special_tokens=False)


def test_a_subject_whose_texts_begin_with_the_end_token_reads_prompts_so() -> None:
    tokenizer = load_subject("zoo:village").tokenizer
    assert tokenizer.opened("Ada lives in") == [0, *tokenizer.encode("Ada lives in")]
    assert tokenizer.opened("<|endoftext|>Ada") == tokenizer.encode("<|endoftext|>Ada")
    assert tokenizer.opened("") == []
