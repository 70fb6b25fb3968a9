"""Tokenizers of the kinds that models have, trained on a little text, and text of all scripts to try them on."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")
POSSESSIVE = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]"
    r"|\s+(?!\S)|\s+"
)
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}"
    r"\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SCRIPTS = [
    *((0x20, 0x7E), (0xA0, 0x17F), (0x370, 0x3FF), (0x400, 0x45F), (0x5D0, 0x5EA), (0x600, 0x6FF), (0x900, 0x97F)),
    *((0xE00, 0xE5B), (0x1100, 0x11FF), (0x3041, 0x30FF), (0x4E00, 0x4F00), (0xAC00, 0xAD00), (0x300, 0x36F)),
    *((0x1F300, 0x1F64F), (0x1F1E6, 0x1F1FF), (0x2460, 0x24FF), (0x2150, 0x218B), (0x660, 0x669), (0xFF10, 0xFF19)),
    *((0x0, 0x1F), (0x7F, 0x9F), (0x2000, 0x206F), (0xFE00, 0xFE0F), (0xE000, 0xE010), (0x1D400, 0x1D4FF)),
    *((0x1E00, 0x1EFF), (0xF900, 0xFAFF), (0x1AB0, 0x1AFF), (0x11300, 0x1137F), (0x16D40, 0x16D7F), (0x1E030, 0x1E08F)),
]
ODD = [
    *("\x85", "\xa0", "\u3000", "\u180e", "\u200b", "\u200d", "\ufeff", "\u1680", "\u2028"),
    *("\u2029", "\x1c", "\x1f", "'", "''", "'s", "'S", "'ll", "'RE", "'d", " '", "'t", "’s"),
    *("'\u017f", "  ", "   ", "\t", "\n", "\r\n", " \n ", "\v", "<|end|>", "<|end", "|>"),
    *("<s>", "<s", "é", "e\u0301", "ﬁ", "Ǆ", "ß", "İ", "½", "Ⅷ", "x²", "1", "12", "123456"),
    *("٣", "▁", "▁▁", " ▁", "<0x41>", "<unk>", "Ġ", "Ċ", " the", "The", "don't", "I'm"),
    *("we'll", " 1984", "3.14", "a1b2", "१२", "hello world", "👩‍👩‍👧‍👦", "🏳️‍🌈"),
    *("\U0001f600", "\U00031350", "\U0010ffff", "ａ", "한국", "K", "user", "<user>", "\n\n\n"),
]  # fmt: skip


def strings(count: int, seed: int = 20) -> list[str]:
    """Random texts of all scripts, with much of what is odd about white space, digits, marks and tokens."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        parts = []
        scripts = draw.sample(SCRIPTS, draw.randint(1, 3))
        for _ in range(draw.randint(0, 12)):
            if draw.random() < 0.4:
                parts.append(draw.choice(ODD))
            else:
                first, last = draw.choice(scripts)
                parts.append("".join(chr(draw.randint(first, last)) for _ in range(draw.randint(1, 6))))
            parts.append(draw.choice(["", "", " ", "  ", "\n"]))
        found.append("".join(parts))
    return found


def _byte_level(pre: pre_tokenizers.PreTokenizer, normalizer: Any = None, **model: Any) -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.BPE(**model))
    made.pre_tokenizer, made.decoder = pre, decoders.ByteLevel()
    if normalizer:
        made.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        strings(300, 1) * 2, trainers.BpeTrainer(vocab_size=800, initial_alphabet=alphabet, show_progress=False)
    )
    return made


def _bytes(*before: pre_tokenizers.PreTokenizer, words: bool = False, spaced: bool = False) -> Any:
    return pre_tokenizers.Sequence([*before, pre_tokenizers.ByteLevel(add_prefix_space=spaced, use_regex=words)])


def _split(pattern: str, behaviour: str = "isolated", invert: bool = False) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), behaviour, invert)


def _characters(
    normalizer: Any, pre: Any, taken: bool, *, fallback: bool = True, fused: bool = True
) -> tokenizers.Tokenizer:
    """SentencePiece's kind: characters, `▁` for a blank, and bytes where a character is no token."""
    trained = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fused))
    if normalizer:
        trained.normalizer = normalizer
    if pre:
        trained.pre_tokenizer = pre
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256 if fallback else 250))]
    texts = [text for text in strings(300, 1) if text.isascii()] * 3
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    trained.train_from_iterator([*texts, "hello the world 한국 é", "the user is here"], trainer)
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    made = tokenizers.Tokenizer(
        models.BPE(vocab=model["vocab"], merges=merges, unk_token="<unk>", fuse_unk=fused, byte_fallback=fallback)
    )
    if normalizer:
        made.normalizer = normalizer
    if pre:
        made.pre_tokenizer = pre
    steps: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    made.decoder = decoders.Sequence([*steps, decoders.Strip(content=" ", left=1)] if taken else steps)
    made.add_special_tokens([AddedToken(text, normalized=False) for text in ("<unk>", "<s>", "</s>")])
    made.post_processor = processors.TemplateProcessing(single="<s> $A", pair="$A $B", special_tokens=[("<s>", 1)])
    return made


def _blanks(scheme: str, split: bool = False) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=split)


_SWAP = normalizers.Replace(" ", "▁")
KINDS: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "llama3": lambda: _byte_level(_bytes(_split(LLAMA3)), ignore_merges=True),
    "qwen2": lambda: _byte_level(_bytes(_split(QWEN2)), normalizers.NFC()),
    "neox": lambda: _byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), normalizers.NFC()),
    "smollm": lambda: _byte_level(_bytes(pre_tokenizers.Digits(individual_digits=True), words=True)),
    "starts": lambda: _byte_level(_bytes(pre_tokenizers.Digits(), words=True, spaced=True)),
    "falcon": lambda: _byte_level(
        _bytes(pre_tokenizers.Punctuation("contiguous"), _split("[0-9][0-9][0-9]"), words=True)
    ),
    "possessive": lambda: _byte_level(_bytes(_split(POSSESSIVE, "removed", True))),
    "tekken": lambda: _byte_level(_bytes(_split(TEKKEN))),
    "splits": lambda: _byte_level(
        _bytes(_split(r"[\r\n]"), _split(r"\s?\p{L}+"), _split(r"\s+$"), _split("[一-龥ࠀ-一가-퟿]+", "merged_with_next"))
    ),
    "compatible": lambda: _byte_level(pre_tokenizers.ByteLevel(), normalizers.NFKC()),
    "llama2": lambda: _characters(normalizers.Sequence([normalizers.Prepend("▁"), _SWAP]), None, True),
    "llama2-first": lambda: _characters(None, _blanks("first"), True),
    "always-split": lambda: _characters(None, _blanks("always", True), True, fused=False),
    "gemma": lambda: _characters(_SWAP, pre_tokenizers.Split(" ", "merged_with_previous"), False),
    "no-bytes": lambda: _characters(_SWAP, None, False, fallback=False),
    "no-bytes-apart": lambda: _characters(None, _blanks("never"), False, fallback=False, fused=False),
}
"""Name to what makes a tokenizer."""


def with_tokens(made: tokenizers.Tokenizer, draw: random.Random) -> tokenizers.Tokenizer:
    """The same with some added tokens, found in text before or behind it is changed."""
    for text in draw.sample(
        ["<|end|>", "<user>", "user", "<s>x", "ab c", "é>", "\n\n", "▁▁", "12"], draw.randint(1, 5)
    ):
        flags = {flag: draw.random() < 0.3 for flag in ("lstrip", "rstrip", "normalized")}
        made.add_tokens([AddedToken(text, special=draw.random() < 0.5, **flags)])
    return made
