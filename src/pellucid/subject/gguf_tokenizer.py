"""The tokenizer of a GGUF file, as the files of a checkpoint would have it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pellucid.family.gguf import Pre, ignoring_merges, iterated, pre_of

_CONTROL, _BY_USER, _UNKNOWN = 3, 4, 2
_ROLES = ("bos", "eos", "unknown", "padding")
_STOPS = ("eos", "eot", "eom")
_DECODER = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
_STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
_BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


def tokenizer_files(values: Mapping[str, Any]) -> dict[str, Any]:
    """tokenizer.json and what stands beside it, made of a file's settings.

    Raises `ValueError` naming a kind of tokenizer that is not known, or what is broken.
    """
    if "tokenizer.ggml.model" not in values:
        raise ValueError("no tokenizer.ggml.model")
    pre, tokens = pre_of(values), list(iterated(values, "tokens"))
    kinds = [int(kind) for kind in iterated(values, "token_type")] or [1] * len(tokens)
    if len(set(tokens)) != len(tokens) or len(kinds) != len(tokens) or not all(isinstance(t, str) for t in tokens):
        raise ValueError("tokens of which some are equal, or no texts, or without a kind")
    ids = {text: at for at, text in enumerate(tokens)}
    whole = {
        "version": "1.0",
        "added_tokens": list(_added(tokens, kinds)),
        "normalizer": pre.normalizer,
        "pre_tokenizer": pre.pre_tokenizer,
        "post_processor": None,
        "decoder": _decoder(pre, values),
        "model": {
            "type": "BPE",
            "vocab": ids,
            "merges": list(_merges(values, pre, tokens, ids)),
            **_model(values, pre),
        },
    }
    return {
        "tokenizer.json": whole,
        "tokenizer_config.json": _settings(values, pre),
        "generation_config.json": {"eos_token_id": _stops(values)},
    }


def _added(tokens: list[str], kinds: list[int]) -> Iterator[dict[str, Any]]:
    """The tokens that are found in text before it is cut."""
    for at, (text, kind) in enumerate(zip(tokens, kinds, strict=True)):
        if kind in (_CONTROL, _BY_USER, _UNKNOWN) and text:
            flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
            yield {"id": at, "content": text, **flags, "special": kind != _BY_USER}


def _decoder(pre: Pre, values: Mapping[str, Any]) -> dict[str, Any]:
    if not pre.blanks:
        return _BYTES
    taken = [_STRIP] if values.get("tokenizer.ggml.add_space_prefix", True) else []
    return {"type": "Sequence", "decoders": [*_DECODER, *taken]}


def _model(values: Mapping[str, Any], pre: Pre) -> dict[str, Any]:
    if not pre.blanks:
        return {"ignore_merges": ignoring_merges(values)}
    return {"byte_fallback": True, "fuse_unk": True, "unk_token": _text_of(values, "unknown")}


def _merges(values: Mapping[str, Any], pre: Pre, tokens: list[str], ids: Mapping[str, int]) -> Iterator[list[str]]:
    """Pairs in the order in which they merge: as listed, or of tokens with scores the highest first."""
    if not pre.blanks:
        for merge in iterated(values, "merges"):
            yield str(merge).split(" ")
        return
    scores = [float(score) for score in iterated(values, "scores")]
    if len(scores) != len(tokens):
        raise ValueError(f"{len(tokens)} tokens and {len(scores)} scores")
    for at in sorted(range(len(tokens)), key=lambda at: -scores[at]):
        text = tokens[at]
        halves = [(text[:cut], text[cut:]) for cut in range(1, len(text)) if text[:cut] in ids and text[cut:] in ids]
        yield from map(list, sorted(halves, key=lambda pair: (ids[pair[0]], ids[pair[1]])))


def _id_of(values: Mapping[str, Any], role: str) -> int | None:
    """The token with a role, if it is one."""
    found = values.get(f"tokenizer.ggml.{role}_token_id")
    count = len(values.get("tokenizer.ggml.tokens", ()))
    return int(found) if found is not None and 0 <= int(found) < count else None


def _text_of(values: Mapping[str, Any], role: str) -> str | None:
    at = _id_of(values, role)
    return None if at is None else str(values["tokenizer.ggml.tokens"][at])


def _settings(values: Mapping[str, Any], pre: Pre) -> dict[str, Any]:
    """tokenizer_config.json: what opens a text, and which tokens have a role."""
    named = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
    roles = {key: text for role, key in named.items() if (text := _text_of(values, role)) is not None}
    opened = bool(values.get("tokenizer.ggml.add_bos_token", pre.blanks or ignoring_merges(values)))
    found = {"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": opened, **roles}
    template = values.get("tokenizer.chat_template")
    return found | ({"chat_template": template} if isinstance(template, str) else {})


def _stops(values: Mapping[str, Any]) -> list[int]:
    """The tokens at which talking stops: the end of a text, of a turn, of a message."""
    return list(dict.fromkeys(at for role in _STOPS if (at := _id_of(values, role)) is not None))
