"""BPE from tokenizer.json, or from vocab.json and merges.txt, as Hugging Face's classes read them.

`GPT2Tokenizer`, which is meant where nothing else is asked for, takes vocabulary, merges, added tokens and
post-processor from tokenizer.json and `add_prefix_space` from tokenizer_config.json; a plain
`PreTrainedTokenizerFast` runs tokenizer.json as it stands. What tokenizer.json does otherwise than GPT-2 (other cuts,
normal forms, blanks, bytes as a last resort) is read as it stands: see `steps.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import pre_tokenizers

from pellucid.base.errors import SubjectError
from pellucid.subject.checkpoint import read_json
from pellucid.subject.declared import SETTINGS, Declared, declared_tokens
from pellucid.subject.steps import StepError, Steps, steps_of
from pellucid.subject.tokenizer import END_OF_TEXT, Added, BytePairTokenizer, Pieces, byte_alphabet

WHOLE, HALVES = "tokenizer.json", ("vocab.json", "merges.txt")
_AS_GPT2, _AS_STORED = ("", "GPT2Tokenizer"), ("PreTrainedTokenizer", "TokenizersBackend")
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_LISTED = 8


class OtherKindError(Exception):
    """The tokenizer is not one that a program could run; the message says why."""


class BytePairs:
    """What the files give: the tokenizer, which tokens have which role, and what is unusual about them."""

    def __init__(self, tokenizer: BytePairTokenizer, declared: Declared, notes: list[str]) -> None:
        self.tokenizer, self.named, self.notes = tokenizer, declared.named, tuple(notes)


def read_byte_pairs(files: list[Path], settings: Mapping[str, Any], config: Mapping[str, Any], known: int) -> BytePairs:
    """The tokenizer in `files` with all that is declared beside them, for a model that has `known` tokens.

    Raises `SubjectError` for what is broken, and `OtherKindError` for another kind of tokenizer.
    """
    directory, asked = files[0].parent, str(settings.get("tokenizer_class") or config.get("tokenizer_class") or "")
    kind = asked.removesuffix("Fast")
    fields = _whole(files[0]) if files[0].name == WHOLE else _halves(*files)
    _refuse_other_kinds(fields, settings, files[0])
    notes = []
    if kind not in (*_AS_GPT2, *_AS_STORED) and files[0].name != WHOLE:
        raise OtherKindError(f"{directory} asks for the tokenizer {asked!r} and has no {WHOLE}")
    steps = _steps(fields, files[0])
    as_gpt2 = steps is None and kind in _AS_GPT2
    roles = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT) if as_gpt2 else {}
    declared = declared_tokens(directory, fields["added_tokens"], roles, stored_first=not as_gpt2)
    if asked and (kind not in (*_AS_GPT2, *_AS_STORED) if steps is None else kind in _AS_GPT2):
        notes.append(f"{directory} asks for the tokenizer {asked!r}; its {WHOLE} is read as it stands")
    inner = _inner(fields, files, steps)
    if as_gpt2:
        spaced = _switch(settings, "add_prefix_space", directory)
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    inner.add_tokens(list(declared.tokens))
    _check_ids(inner, declared, files[0])
    tokenizer = BytePairTokenizer(inner, _pieces(inner, fields["model"], files[-1], steps), None, known)
    opening, closing = _around(inner, files[0])
    if not opening and _switch(settings, "add_bos_token", directory):
        opening = _role(inner, declared, "bos_token")
    if not closing and _switch(settings, "add_eos_token", directory):
        closing = _role(inner, declared, "eos_token")
    tokenizer.opening = opening
    notes += _remarks(tokenizer, closing, known)
    return BytePairs(tokenizer, declared, notes)


def stored_tokens(files: list[Path]) -> dict[str, int]:
    """The tokens that `files` alone say are found in text before it is cut."""
    if files[0].name == WHOLE:
        return {entry["content"]: entry["id"] for entry in _whole(files[0])["added_tokens"]}
    vocab = read_json(files[0])
    return {END_OF_TEXT: vocab[END_OF_TEXT]} if END_OF_TEXT in vocab else {}


# --- the files --------------------------------------------------------------------------------------------------------


def _whole(path: Path) -> dict[str, Any]:
    """tokenizer.json, with its added tokens checked."""
    fields = read_json(path)
    added = fields.get("added_tokens") or []
    if not isinstance(added, list) or not all(_is_entry(entry) for entry in added):
        raise SubjectError(f"{path} is not a tokenizer: its added_tokens are no list of tokens with content and id")
    if not isinstance(fields.get("model"), dict):
        raise SubjectError(f"{path} is not a tokenizer: its model is {fields.get('model')!r}")
    return fields | {"added_tokens": added}


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
        return False
    flags = (entry.get(flag, False) for flag in ("single_word", "lstrip", "rstrip", "normalized", "special"))
    return isinstance(entry.get("id"), int) and entry["id"] >= 0 and all(isinstance(flag, bool) for flag in flags)


def _halves(vocabulary: Path, merge_list: Path) -> dict[str, Any]:
    """vocab.json and merges.txt, as tokenizer.json would have them."""
    try:
        lines = merge_list.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise SubjectError(f"{merge_list} cannot be read: {error}") from error
    merges = [list(_pair(line, merge_list)) for line in lines if line and not line.startswith("#version")]
    model = {"type": "BPE", "vocab": read_json(vocabulary), "merges": merges}
    return {"version": "1.0", "added_tokens": [], "pre_tokenizer": _BYTES, "decoder": _BYTES, "model": model}


def _pair(merge: Any, path: Path) -> tuple[str, str]:
    pair = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(pair, list) or len(pair) != 2:
        raise SubjectError(f"{path}: merge {merge!r} is not a pair of tokens")
    return str(pair[0]), str(pair[1])


def _switch(settings: Mapping[str, Any], key: str, directory: Path) -> bool:
    value = settings.get(key) or False
    if not isinstance(value, bool):
        raise SubjectError(f"{directory / SETTINGS}: {key} is {value!r}, expected true or false")
    return value


def _refuse_other_kinds(fields: dict[str, Any], settings: Mapping[str, Any], path: Path) -> None:
    """Raise for everything that is not BPE whose text a program is able to tokenise itself."""
    model = fields["model"]
    wrong = []
    if model.get("type", "BPE") != "BPE" or not {"vocab", "merges"} <= set(model):
        wrong.append(f"model {model.get('type')!r}")
    options = ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
    wrong += [f"{option} = {model[option]!r}" for option in options if model.get(option)]
    wrong += [f"{key} = {settings[key]!r:.200}" for key in ("split_special_tokens",) if settings.get(key)]
    if set(settings.get("fast_tokenizer_files") or ()) - {WHOLE}:
        wrong.append(f"fast_tokenizer_files = {settings['fast_tokenizer_files']!r:.200}")
    if wrong:
        raise OtherKindError(f"{path} is no BPE that a program can run (not supported: {', '.join(wrong)})")


def _steps(fields: dict[str, Any], path: Path) -> Steps | None:
    """What the tokenizer does to text; None where it cuts as GPT-2 does and nothing else."""
    model, split = fields["model"], fields.get("pre_tokenizer") or {}
    as_gpt2 = isinstance(split, dict) and split.get("type") == "ByteLevel" and split.get("use_regex", True)
    as_gpt2 = as_gpt2 and not fields.get("normalizer") and not model.get("byte_fallback")
    unknown = model.get("unk_token") and isinstance(model["vocab"], dict)
    if as_gpt2 and not model.get("ignore_merges") and not (unknown and byte_alphabet().keys() - set(model["vocab"])):
        return None
    try:
        return steps_of(fields)
    except StepError as error:
        raise OtherKindError(f"{path} is no BPE that a program can run (not supported: {error})") from error


# --- the tokenizer ----------------------------------------------------------------------------------------------------


def _inner(fields: dict[str, Any], files: list[Path], steps: Steps | None) -> tokenizers.Tokenizer:
    """The tokenizer of `fields` without its added tokens."""
    bare = fields | {"added_tokens": [], "truncation": None, "padding": None}
    if steps is None:
        bare["model"] = bare["model"] | {"unk_token": None}
    try:
        return tokenizers.Tokenizer.from_str(json.dumps(bare))
    except Exception as error:  # the package raises bare Exception for what it cannot use
        if len(files) > 1:
            raise SubjectError(f"{files[0]} and {files[1].name} do not fit: {error}") from error
        raise SubjectError(f"{files[0]} is not a tokenizer: {error}") from error


def _check_ids(inner: tokenizers.Tokenizer, declared: Declared, path: Path) -> None:
    """Raise where a file gives a token another id than the next free one, which is what it gets when it is added."""
    for text, at in declared.ids.items():
        if text and (own := inner.token_to_id(text)) != at:
            raise OtherKindError(f"{path.parent} says that {text!r} is token {at}, but beside {path.name} it is {own}")


def _pieces(inner: tokenizers.Tokenizer, model: Mapping[str, Any], path: Path, steps: Steps | None) -> Pieces:
    """The tables behind `inner`, whose vocabulary and merges stand in `path`."""
    vocab = {str(text): int(at) for text, at in model["vocab"].items()}
    spaced = steps is None and bool(json.loads(inner.pre_tokenizer.__getstate__())["add_prefix_space"])
    return Pieces("bpe", vocab, tuple(_pair(merge, path) for merge in model["merges"]), _added(inner), spaced, steps)


def _added(inner: tokenizers.Tokenizer) -> tuple[Added, ...]:
    """The tokens that are found before text is cut, by id."""
    found = sorted(inner.get_added_tokens_decoder().items())
    if alone := [token.content for _, token in found if token.single_word]:
        raise OtherKindError(f"the token {alone[0]!r} is to be found as a word of its own (single_word) alone")
    seen = {at: inner.normalizer.normalize_str(t.content) for at, t in found if t.normalized and inner.normalizer}
    return tuple(
        Added(t.content, at, t.lstrip, t.rstrip, t.normalized, "" if seen.get(at, t.content) == t.content else seen[at])
        for at, t in found
    )


def _around(inner: tokenizers.Tokenizer, path: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the post-processor puts before and behind a text."""
    for text in ("a", "e", "0", "!", *byte_alphabet()):
        plain = inner.encode(text, add_special_tokens=False).ids
        if plain:
            break
    else:
        return (), ()
    whole = inner.encode(text, add_special_tokens=True)
    own = [at for at, special in enumerate(whole.special_tokens_mask) if not special]
    if [whole.ids[at] for at in own] != plain or own != list(range(own[0], own[0] + len(own))):
        raise OtherKindError(f"{path} has a post_processor that does not just open and close texts")
    return tuple(whole.ids[: own[0]]), tuple(whole.ids[own[-1] + 1 :])


def _role(inner: tokenizers.Tokenizer, declared: Declared, role: str) -> tuple[int, ...]:
    """The token that has a role, if there is one."""
    found = inner.token_to_id(declared.named.get(role, END_OF_TEXT))
    return () if found is None else (found,)


def _remarks(tokenizer: BytePairTokenizer, closing: tuple[int, ...], known: int) -> Iterator[str]:
    if closing:
        said = tokenizer.decode(closing)
        yield f"the tokenizer also closes texts with {said!r}; prompts are read without it, for they are to go on"
    beyond = [added.text for added in tokenizer.pieces().added if added.id >= known]
    if beyond:
        listed = ", ".join(map(repr, beyond[:_LISTED])) + (", …" if len(beyond) > _LISTED else "")
        yield f"the tokenizer has tokens that the model has no embedding of; text with them is refused: {listed}"
