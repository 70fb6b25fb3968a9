"""GGUF files: the logits are those of the model whose numbers they hold, and what is broken or unknown is named."""

from __future__ import annotations

import json
import random
import struct
from contextlib import suppress
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cutting
import gguf_files
import pellucid
from pellucid.base.errors import SubjectError
from pellucid.subject.load import load_subject

BYTES = {f"tokenizer.ggml.{key}": value for key, value in {"model": "gpt2", "pre": "gpt-2"}.items()}


@pytest.mark.parametrize("packing", ["F32", "Q8_0"])
@pytest.mark.parametrize("kind", gguf_files.KINDS)
def test_logits_are_those_of_the_model(kind: str, packing: str, tmp_path: Path) -> None:
    made = gguf_files.written(tmp_path / "tiny.gguf", kind, packing)
    model = pellucid.load(made.path)
    ids = torch.randint(48, (2, 19))
    with torch.inference_mode():
        theirs = made.model(ids).logits
    assert torch.equal(model.logits(ids), theirs)
    assert model.subject.notes[0].startswith("the numbers of tiny.gguf, packed as ")
    assert packing in model.subject.notes[0]
    assert model.subject.weights_sha256 == sha256(made.path.read_bytes()).hexdigest()


@pytest.mark.parametrize("packing", ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_other_packings(packing: str, tmp_path: Path) -> None:
    made = gguf_files.written(tmp_path / "tiny.gguf", "llama", packing)
    with torch.inference_mode():
        theirs = made.model(torch.arange(20)[None]).logits
    assert torch.equal(pellucid.load(made.path).logits(torch.arange(20)[None]), theirs)


def test_without_a_tokenizer_text_is_ids(tmp_path: Path) -> None:
    made = gguf_files.written(tmp_path / "tiny.gguf", "llama", more={"tokenizer.ggml.eos_token_id": 7})
    subject = load_subject(made.path)
    assert subject.tokenizer.encode("5 17") == [5, 17]
    assert subject.tokenizer.eos_id == 7
    assert any("tiny.gguf has a tokenizer that is not supported: no tokenizer.ggml.model" in n for n in subject.notes)


# --- tokenizers -------------------------------------------------------------------------------------------------------


def tokens(kind: str, special: tuple[str, ...] = ()) -> tuple[Any, dict[str, Any]]:
    """A trained tokenizer, and the same as settings of a file."""
    inner = cutting.KINDS[kind]()
    inner.add_special_tokens(list(special))
    fields = json.loads(inner.to_str())
    ids = inner.get_vocab()
    added = {entry["content"] for entry in fields["added_tokens"]}
    found = {
        "tokens": sorted(ids, key=lambda text: ids[text]),
        "token_type": [3 if text in added else 1 for text in sorted(ids, key=lambda text: ids[text])],
        "merges": [" ".join(pair) for pair in fields["model"]["merges"]],
    }
    return inner, {f"tokenizer.ggml.{key}": value for key, value in found.items()}


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that know as many tokens as the tokenizers of these tests have."""
    wider = {k: (a, c, f | {"vocab_size": 1024}) for k, (a, c, f) in gguf_files.KINDS.items()}
    monkeypatch.setattr(gguf_files, "KINDS", wider)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize(
    ("kind", "pre"), [("smollm", "smollm"), ("llama3", "llama-bpe"), ("qwen2", "qwen2"), ("smollm", "gpt-2")]
)
def test_tokenizers_of_bytes(kind: str, pre: str, tmp_path: Path) -> None:
    inner, settings = tokens(kind, ("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    start, turn, end = (inner.token_to_id(text) for text in ("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    own = {"model": "gpt2", "pre": pre, "bos_token_id": turn, "eos_token_id": end, "eot_token_id": start}
    settings |= {f"tokenizer.ggml.{key}": value for key, value in own.items()} | {"tokenizer.ggml.add_bos_token": False}
    subject = load_subject(gguf_files.written(tmp_path / "a.gguf", "llama", more=settings).path)
    texts = cutting.strings(150)
    same = [subject.tokenizer.encode(text) == inner.encode(text, add_special_tokens=False).ids for text in texts]
    assert all(same) == ((kind, pre) != ("smollm", "gpt-2"))
    assert (subject.tokenizer.opening, subject.tokenizer.start) == ((), (start,))
    assert subject.tokenizer.ends == (end, start)
    assert str(tmp_path) not in "".join(subject.notes).replace(str(tmp_path / "a.gguf"), "")


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize(("kind", "spaced"), [("llama2", True), ("gemma", False)])
def test_tokenizers_of_characters(kind: str, spaced: bool, tmp_path: Path) -> None:
    _, settings = tokens(kind)
    merges = [pair.split(" ") for pair in settings.pop("tokenizer.ggml.merges")]
    ranks = {left + right: -float(at) for at, (left, right) in reversed([*enumerate(merges)])}
    listed = settings["tokenizer.ggml.tokens"]
    scores = [ranks.get(text, -1000.0) for text in listed]
    own = {"model": "llama", "scores": scores, "bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0}
    own |= {"add_space_prefix": spaced}
    settings |= {f"tokenizer.ggml.{key}": value for key, value in own.items()}
    tokenizer = load_subject(gguf_files.written(tmp_path / "a.gguf", "llama", more=settings).path).tokenizer
    assert tokenizer.opened("the")[0] == 1
    best = {text: score for text, score in zip(listed, scores, strict=True) if score > -1000}
    for text in (text for text in cutting.strings(300) if not {"<", "\u2581"} & set(text)):
        assert tokenizer.encode(text) == reference(text, best, listed, spaced), repr(text)


def reference(text: str, scores: dict[str, float], listed: list[str], spaced: bool) -> list[int]:
    """SentencePiece's own way: the pair with the highest score, of equal ones the leftmost."""
    if not text:
        return []
    ids = {token: at for at, token in enumerate(listed)}
    pieces = list(("\u2581" if spaced else "") + text.replace(" ", "\u2581"))
    while found := [(-scores[a + b], at) for at, (a, b) in enumerate(pairwise(pieces)) if a + b in scores]:
        at = min(found)[1]
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    spelled = [[piece] if piece in ids else [f"<0x{byte:02X}>" for byte in piece.encode()] for piece in pieces]
    return [ids[token] for one in spelled for token in one]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "t5"}, "tokenizer.ggml.model 't5'"),
        ({"model": "gpt2", "pre": "smolm"}, "tokenizer.ggml.pre 'smolm'; did you mean smollm"),
        ({"model": "llama", "scores": [1.0]}, "3 tokens and 1 scores"),
        ({"model": "gpt2", "pre": "gpt-2", "tokens": ["a", "a", "b"]}, "tokens of which some are equal"),
    ],
)
def test_tokenizers_that_are_not_known(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    settings = {"tokens": ["a", "b", "ab"], "merges": ["a b"]} | changes
    more = {f"tokenizer.ggml.{key}": value for key, value in settings.items()}
    subject = load_subject(gguf_files.written(tmp_path / "a.gguf", "llama", more=more).path)
    assert message in "".join(subject.notes)
    assert subject.tokenizer.encode("5") == [5]


# --- what is not understood, or broken --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"general.architecture": "lama"}, "has general.architecture 'lama'.*did you mean llama"),
        ({"llama.expert_count": 8}, "asks for what is not supported: llama.expert_count = 8"),
        ({"llama.rope.scaling.type": "longrope"}, "llama.rope.scaling.type = 'longrope'"),
        ({"llama.rope.dimension_count": 8}, "llama.rope.dimension_count = 8, keys have 16"),
        ({"llama.attention.head_count_kv": [1, 2]}, "head_count_kv differs from layer to layer"),
        ({"llama.block_count": "two"}, "num_hidden_layers is 'two'"),
        ({"llama.attention.head_count": 0}, "num_attention_heads is 0"),
        ({"llama.block_count": 1 << 31}, "claims to have 2,147,483,648 blocks, and has 20 tensors"),
        ({"llama.block_count": 3}, "does not fit its config: missing layers.2"),
        ({"llama.embedding_length": 32}, "wrong shapes"),
    ],
)
def test_settings_that_are_not_understood(more: dict[str, Any], message: str, tmp_path: Path) -> None:
    made = gguf_files.written(tmp_path / "a.gguf", "llama", more=more, without=())
    with pytest.raises(SubjectError, match=message):
        load_subject(made.path)


def test_settings_and_tensors_must_be_there(tmp_path: Path) -> None:
    made = gguf_files.written(tmp_path / "a.gguf", "llama", without=("llama.block_count",))
    with pytest.raises(SubjectError, match=r"a.gguf lacks llama.block_count"):
        load_subject(made.path)
    made = gguf_files.written(tmp_path / "b.gguf", "llama", without=("blk.1.attn_q.weight",))
    with pytest.raises(SubjectError, match=r"missing layers.1.self_attn.q_proj.weight"):
        load_subject(made.path)


def test_a_tensor_whose_name_has_no_dot_is_unexpected(tmp_path: Path) -> None:
    made = gguf_files.written(tmp_path / "a.gguf", "llama")
    data = made.path.read_bytes()
    made.path.write_bytes(data.replace(b"blk.1.attn_q.weight", b"blk_1_attn_q_weight"))
    with pytest.raises(SubjectError, match=r"does not fit its config: .*unexpected blk_1_attn_q_weight"):
        load_subject(made.path)


def test_stretched_positions_of_another_kind(tmp_path: Path) -> None:
    made = gguf_files.written(tmp_path / "a.gguf", "llama3")
    data = made.path.read_bytes()
    at = data.index(np.float32(8.0).tobytes() * 4)
    made.path.write_bytes(data[:at] + np.float32(3.0).tobytes() + data[at + 4 :])
    with pytest.raises(SubjectError, match=r"rope_freqs.weight stretches positions in a way that is not understood"):
        load_subject(made.path)


def header(*counts: int, magic: bytes = b"GGUF", version: int = 3, rest: bytes = b"") -> bytes:
    return magic + struct.pack("<I", version) + struct.pack("<QQ", *counts) + rest


def text(value: bytes, claimed: int | None = None) -> bytes:
    return struct.pack("<Q", len(value) if claimed is None else claimed) + value


TENSOR = text(b"token_embd.weight") + struct.pack("<IQQIQ", 2, 64, 2, 0, 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no GGUF file: it begins with b''"),
        (header(0, 0, magic=b"GGML"), "no GGUF file: it begins with b'GGML', not b'GGUF'"),
        (header(0, 0, version=1), "of version 1 of GGUF"),
        (header(0, 0, version=3 << 24), r"its bytes are in the other order"),
        (b"GGUF\x03\0\0\0\1", "ends in the middle of its description"),
        (header(1 << 60, 0), "claims to have 1,152,921,504,606,846,976 tensors"),
        (header(0, 1 << 60), "and 1,152,921,504,606,846,976 settings"),
        (header(0, 1, rest=text(b"a", 1 << 62)), "a text claims to have 4,611,686,018,427,387,904 bytes"),
        (header(0, 1, rest=text(b"\xff") + struct.pack("<I", 8)), "a text is not UTF-8"),
        (header(0, 1, rest=text(b"a") + struct.pack("<I", 99)), "a setting is of kind 99"),
        (
            header(0, 1, rest=text(b"a") + struct.pack("<IIQ", 9, 4, 1 << 50)),
            "a list claims to have 1,125,899,906,842,624",
        ),
        (header(0, 1, rest=text(b"a") + struct.pack("<IIQ", 9, 9, 1) + b"\0" * 30), "a setting is of kind 9"),
        (header(0, 2, rest=(text(b"a") + struct.pack("<IB", 7, 1)) * 2), "the setting 'a' is there twice"),
        (header(2, 0, rest=TENSOR * 2 + b"\0" * 2000), "a tensor is there twice"),
        (header(1, 0, rest=TENSOR), "has 0 bytes of tensors, and 'token_embd.weight' would end behind"),
        (header(1, 0, rest=text(b"x") + struct.pack("<I", 9) + b"\0" * 90), "'x' has 9 axes"),
        (header(1, 0, rest=text(b"x") + struct.pack("<IQQIQ", 2, 1 << 40, 1 << 40, 0, 0)), "'x' claims to have"),
        (header(1, 0, rest=text(b"x") + struct.pack("<IQIQ", 1, 0, 0, 0)), "'x' claims to have 0 numbers"),
        (header(1, 0, rest=text(b"x") + struct.pack("<IQIQ", 1, 8, 77, 0) + b"\0" * 99), "'x' is packed in the way 77"),
        (header(1, 0, rest=text(b"x") + struct.pack("<IQIQ", 1, 8, 24, 0) + b"\0" * 99), "in the way I8, which is not"),
        (
            header(1, 0, rest=text(b"x") + struct.pack("<IQIQ", 1, 8, 2, 0) + b"\0" * 99),
            "rows of 8 numbers, packed by 32",
        ),
        (
            header(1, 0, rest=text(b"x") + struct.pack("<IQIQ", 1, 8, 0, 3) + b"\0" * 99),
            "begins at byte 3, no multiple",
        ),
        (header(0, 0), "has no tensors"),
    ],
)
def test_what_is_broken_is_one_clear_error(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(data)
    with pytest.raises(SubjectError, match=message) as caught:
        load_subject(tmp_path / "x.gguf")
    assert str(tmp_path / "x.gguf") in str(caught.value)


def test_truncated_and_damaged_files(tmp_path: Path) -> None:
    _, settings = tokens("smollm")
    listed = {key: value[:40] for key, value in settings.items()} | BYTES
    listed["tokenizer.ggml.merges"] = []
    data = gguf_files.written(tmp_path / "a.gguf", "llama", "Q8_0", more=listed).path.read_bytes()
    draw, path = random.Random(5), tmp_path / "b.gguf"
    header_end = data.index(b"blk.0.attn_q.weight")
    for _ in range(150):
        changed = bytearray(data)
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(min(len(data), 2 * header_end))] = draw.randrange(256)
        path.write_bytes(changed[: draw.choice([len(data), len(data), draw.randrange(len(data))])])
        with suppress(SubjectError):
            load_subject(path)
    for end in (0, 3, 20, header_end, len(data) - 1):
        path.write_bytes(data[:end])
        with pytest.raises(SubjectError):
            load_subject(path)


def test_other_files_are_no_subjects(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(SubjectError, match=r"or a file that ends in .gguf"):
        load_subject(tmp_path / "x.txt")
