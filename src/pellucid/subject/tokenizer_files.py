"""From the files of a checkpoint to its tokenizer: whatever declares tokens, opens texts or ends them is read.

The ids are those that Hugging Face's `AutoTokenizer` gives (tested). What neither BPE nor a list of words can say is
named, and the subject's text is then its bare token ids.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from pellucid.base.errors import SubjectError
from pellucid.base.files import sha256_files, sha256_text
from pellucid.subject.byte_pairs import HALVES, WHOLE, OtherKindError, read_byte_pairs, stored_tokens
from pellucid.subject.chat import TEMPLATE, read_chat
from pellucid.subject.checkpoint import read_json
from pellucid.subject.declared import ADDED, SETTINGS, SPECIAL, read_if_there
from pellucid.subject.tokenizer import END_OF_TEXT, IdTokenizer, Tokenizer, WordTokenizer

TASK, GENERATION = "task.json", "generation_config.json"
TOKENIZER_FILES = (WHOLE, *HALVES, TASK, SETTINGS, SPECIAL, ADDED, GENERATION, TEMPLATE)
"""The files that decide the ids of text, and where it ends."""


@dataclass(frozen=True)
class TokenizerRead:
    """A tokenizer, the SHA-256 of all that decides its ids, and what is unusual about it.

    `formerly` is the SHA-256 of its vocabulary alone, by which it was known before the other files were read, where the
    vocabulary alone gives the same ids; else None.
    """

    tokenizer: Tokenizer
    sha256: str
    formerly: str | None
    notes: tuple[str, ...] = ()


def load_tokenizer(directory: Path, config: Mapping[str, Any], n_vocab: int, *, ids: bool = False) -> TokenizerRead:
    """The tokenizer in `directory` of the model that `config`, its `config.json`, describes.

    With `ids`, and where it is of another kind or not there, the text of the subject is its token ids. Raises
    `SubjectError` for files that are broken, and for a vocabulary with ids of `n_vocab` and more.
    """
    if ids:
        return _bare(directory, config, n_vocab)
    try:
        return _read(directory, config, n_vocab)
    except OtherKindError as reason:
        note = f"{reason}; text is neither read nor written, tokens are given as their ids, such as '5 17 3'"
        return _bare(directory, config, n_vocab, note)


def _bare(directory: Path, config: Mapping[str, Any], n_vocab: int, *notes: str) -> TokenizerRead:
    known = range(n_vocab)
    tokenizer = IdTokenizer(n_vocab, _first(config.get("eos_token_id"), known), directory.name)
    tokenizer.bos_id = _begin(config, None, tokenizer.eos_id, known)
    tokenizer.stops = _stops(directory, config, known)
    return TokenizerRead(tokenizer, sha256_text(f"ids {n_vocab} {tokenizer.start}"), None, notes)


def _read(directory: Path, config: Mapping[str, Any], n_vocab: int) -> TokenizerRead:
    settings, files = read_if_there(directory / SETTINGS), _files(directory)
    tokenizer: Tokenizer
    named: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    if files[0].name == TASK:
        tokenizer = _from_task(files[0], config)
        named = {"bos_token": str(settings.get("bos_token", ""))}
    else:
        found = read_byte_pairs(files, settings, config, n_vocab)
        tokenizer, named, notes = found.tokenizer, found.named, found.notes
    if tokenizer.n_tokens > n_vocab:
        raise SubjectError(
            f"{files[0]} does not fit its model: it has token ids up to {tokenizer.n_tokens - 1}, "
            f"the model has {n_vocab}"
        )
    ids = {text: at for text, at in tokenizer.pieces().ids.items() if at < n_vocab}
    if files[0].name != TASK:
        tokenizer.eos_id = _end(config, ids.get(named.get("eos_token", "")), ids)
    tokenizer.bos_id = _begin(config, ids.get(named.get("bos_token", "")), tokenizer.eos_id, set(ids.values()))
    if not tokenizer.opening and settings.get("add_bos_token") is not True and _parts(tokenizer):
        tokenizer.bos_id = ids[END_OF_TEXT]
    if settings.get("add_bos_token") is True:
        tokenizer.opening = tokenizer.opening or tokenizer.start
    tokenizer.stops = _stops(directory, config, set(ids.values()))
    tokenizer.chat = read_chat(directory, settings, named)
    decisions, before = _decisions(tokenizer, n_vocab), _before(files, settings, config, ids)
    same, digest = decisions == before, sha256_files(files)
    usual = same and not tokenizer.opening and (files[0].name == TASK or tokenizer.eos_id == ids.get(END_OF_TEXT))
    sha256 = digest if usual else sha256_text(f"{digest} {json.dumps(decisions)}")
    return TokenizerRead(tokenizer, sha256, digest if same else None, notes)


def _files(directory: Path) -> list[Path]:
    """The files of the vocabulary."""
    halves = [directory / name for name in HALVES]
    if (directory / WHOLE).is_file():
        return [directory / WHOLE]
    if all(path.is_file() for path in halves):
        return halves
    if (directory / TASK).is_file():
        return [directory / TASK]
    raise OtherKindError(f"{directory} has no {WHOLE}, {' + '.join(HALVES)} or {TASK}")


def _from_task(path: Path, config: Mapping[str, Any]) -> Tokenizer:
    """The list of words that a task has."""
    fields = read_json(path)
    words = fields.get("vocab")
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        raise SubjectError(f"{path} has no vocab, expected a list of words in the order of their ids")
    ids = {word: at for at, word in enumerate(words)}
    if wrong := next((word for at, word in enumerate(words) if ids[word] != at or word.split() != [word]), None):
        raise SubjectError(f"{path}: {wrong!r} is in the vocabulary twice or has white space")
    own = fields.get("eos")
    end = ids[own] if own in ids else _end(config, None, ids)
    return WordTokenizer(words, end, str(fields.get("name", path.parent.name)))


# --- where texts begin and end ----------------------------------------------------------------------------------------


def _tokens(value: Any, known: Collection[int]) -> list[int]:
    """The ids in a field that holds one or several, those alone that are tokens."""
    listed = value if isinstance(value, list) else [value]
    return [at for at in listed if isinstance(at, int) and not isinstance(at, bool) and at in known]


def _first(value: Any, known: Collection[int]) -> int | None:
    return next(iter(_tokens(value, known)), None)


def _end(config: Mapping[str, Any], named: int | None, ids: Mapping[str, int]) -> int | None:
    """The token that ends a text: what config.json says, else what has that role, else `<|endoftext|>`, else none."""
    found = _first(config.get("eos_token_id"), set(ids.values()))
    return found if found is not None else named if named is not None else ids.get(END_OF_TEXT)


def _begin(config: Mapping[str, Any], named: int | None, end: int | None, known: Collection[int]) -> int | None:
    """The token that begins a text where it is another than the one that ends it."""
    found = named if named is not None else _first(config.get("bos_token_id"), known)
    return None if found == end else found


def _parts(tokenizer: Tokenizer) -> bool:
    """Whether `<|endoftext|>` parted the texts that the model was trained on, though another token has the role.

    That other one, which nothing puts before texts, opens turns of a conversation.
    """
    apart = [added.id for added in tokenizer.pieces().added if added.text == END_OF_TEXT]
    return bool(apart) and None not in (tokenizer.bos_id, tokenizer.eos_id) and apart[0] != tokenizer.eos_id


def _stops(directory: Path, config: Mapping[str, Any], known: Collection[int]) -> tuple[int, ...]:
    """The tokens at which talking stops, as generation_config.json says, else config.json; none where neither does."""
    settings = read_if_there(directory / GENERATION)
    return tuple(_tokens(settings.get("eos_token_id"), known) or _tokens(config.get("eos_token_id"), known))


# --- what identifies a tokenizer --------------------------------------------------------------------------------------


def _decisions(tokenizer: Tokenizer, known: int) -> dict[str, Any]:
    """All that decides ids beside the files of the vocabulary."""
    pieces = tokenizer.pieces()
    added = [list(astuple(token)[:4]) for token in pieces.added if token.id < known]
    marks = {"opening": list(tokenizer.opening), "start": list(tokenizer.start), "end": tokenizer.eos_id}
    return {"added": added, "spaced": pieces.spaced} | marks


def _before(files: list[Path], settings: Mapping[str, Any], config: Mapping[str, Any], ids: dict[str, int]) -> Any:
    """What decides ids where the files of the vocabulary, the end token and `add_bos_token` alone are looked at."""
    added = {} if files[0].name == TASK else stored_tokens(files)
    end = _end(config, None, ids)
    if files[0].name == TASK and (own := read_json(files[0]).get("eos")) in ids:
        end = ids[own]
    start = [] if end is None else [end]
    opening = start if settings.get("add_bos_token") is True else []
    listed = [[text, at, False, False] for text, at in sorted(added.items(), key=lambda e: e[1]) if text in ids]
    return {"added": listed, "spaced": False, "opening": opening, "start": start, "end": end}
