"""The tokens that a checkpoint declares beside its vocabulary, in the order in which Hugging Face adds them.

`added_tokens_decoder` of tokenizer_config.json decides alone where it is there; where not, added_tokens.json and
special_tokens_map.json do. The added tokens of tokenizer.json count in either case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from pellucid.base.errors import SubjectError
from pellucid.subject.checkpoint import read_json

SETTINGS, SPECIAL, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
ROLES = tuple(f"{role}_token" for role in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))
_MORE = ("additional_special_tokens", "extra_special_tokens")
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


@dataclass(frozen=True)
class Declared:
    """`tokens` in the order in which they are added, the `ids` that files give them, and what roles they `named`."""

    tokens: tuple[AddedToken, ...]
    ids: dict[str, int]
    named: dict[str, str]


def read_if_there(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; nothing where there is no such file."""
    return read_json(path) if path.is_file() else {}


def declared_tokens(directory: Path, stored: list[Any], defaults: Mapping[str, str], *, stored_first: bool) -> Declared:
    """What `directory` declares beside its vocabulary; `stored` are the added tokens of its tokenizer.json.

    `defaults` says which tokens have the roles that no file names, `stored_first` that tokenizer.json has the last word
    on how its tokens are found. Raises `SubjectError` naming file and entry.
    """
    settings = read_if_there(directory / SETTINGS)
    roles, more = _roles(settings, directory / SETTINGS), _more(settings, directory / SETTINGS)
    if "added_tokens_decoder" in settings:
        by_id = _decoder(settings["added_tokens_decoder"], directory / SETTINGS)
    else:
        special = read_if_there(directory / SPECIAL)
        roles |= _roles(special, directory / SPECIAL)
        more += _more(special, directory / SPECIAL)
        by_id = _added(directory / ADDED, {str(token) for token in (*roles.values(), *more) if token})
    known = {str(token) for token in by_id.values()}
    for entry in stored:
        if stored_first or "added_tokens_decoder" not in settings or entry["content"] not in known:
            by_id[entry["id"]] = AddedToken(entry["content"], **{flag: entry[flag] for flag in _FLAGS if flag in entry})
    named = {role: str(token) for role, token in roles.items() if token is not None}
    standing = {role: AddedToken(text, special=True) for role, text in defaults.items() if role not in roles}
    with_roles = [token for token in ({**standing, **roles}).values() if token is not None]
    tokens = _once([*(by_id[at] for at in sorted(by_id)), *with_roles, *more])
    return Declared(tuple(tokens), {str(token): at for at, token in by_id.items()}, named)


def _once(tokens: list[AddedToken]) -> Iterator[AddedToken]:
    seen: set[str] = set()
    for token in tokens:
        if str(token) not in seen:
            seen.add(str(token))
            yield token


def _roles(fields: Mapping[str, Any], path: Path) -> dict[str, AddedToken | None]:
    """Role to token, in the order of `ROLES`, then further roles; None where a file says that there is none."""
    others = [key for key, value in fields.items() if key.endswith("_token") and key not in ROLES and _is_token(value)]
    return {role: _token(fields[role], path, role) for role in (*ROLES, *others) if role in fields}


def _is_token(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and "content" in value)


def _more(fields: Mapping[str, Any], path: Path) -> list[AddedToken]:
    """Further special tokens, which have no role."""
    found = []
    for key in _MORE:
        listed = fields.get(key) or []
        for value in listed.values() if isinstance(listed, dict) else listed if isinstance(listed, list) else [listed]:
            if (token := _token(value, path, key)) is not None:
                found.append(token)
    return found


def _decoder(table: object, path: Path) -> dict[int, AddedToken]:
    if not isinstance(table, dict) or not all(key.isascii() and key.isdecimal() for key in table):
        raise SubjectError(f"{path}: added_tokens_decoder is no table from ids to tokens")
    found = {int(key): _token(value, path, "added_tokens_decoder") for key, value in table.items()}
    return {at: token for at, token in found.items() if token is not None}


def _added(path: Path, special: set[str]) -> dict[int, AddedToken]:
    """The tokens of added_tokens.json by id."""
    found = {}
    for text, at in read_if_there(path).items():
        if isinstance(at, bool) or not isinstance(at, int) or at < 0:
            raise SubjectError(f"{path}: {text!r} has the id {at!r}, expected a number")
        found[at] = AddedToken(text, normalized=text not in special, special=text in special)
    return found


def _token(value: object, path: Path, key: str) -> AddedToken | None:
    """A token that is written as its text, or as a table of its text and how it is found."""
    if value is None:
        return None
    table = {"content": value} if isinstance(value, str) else value
    text = table.get("content") if isinstance(table, dict) else None
    flags = {flag: table[flag] for flag in _FLAGS if flag in table} if isinstance(table, dict) else {}
    if not isinstance(text, str) or not all(isinstance(flag, bool) for flag in flags.values()):
        raise SubjectError(f"{path}: {key} has {value!r}, expected a token: its text, or a table with `content`")
    if key != "added_tokens_decoder":
        flags["special"] = True
    return AddedToken(text, **flags)
