"""The subject: the original model, checked, in memory, and identified by hashes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from pellucid.base.files import sha256_files
from pellucid.family.blocks import Decoder
from pellucid.family.known import decoder_of, remarks
from pellucid.family.shapes import shapes
from pellucid.subject.checkpoint import read_json, read_weights, weight_files
from pellucid.subject.gguf_weights import gguf_config, gguf_tokenizer, gguf_weights, read_gguf
from pellucid.subject.locate import at_revision, locate
from pellucid.subject.tokenizer import Pieces, Tokenizer, byte_alphabet
from pellucid.subject.tokenizer_files import TokenizerRead, load_tokenizer


@dataclass(frozen=True)
class Subject:
    """A checkpoint and its tokenizer.

    `decoder` is what it is made of. `weights` are float32 on the CPU by canonical name; `notes` says what loading
    changed. `tokenizer_formerly` is the hash of the vocabulary alone, where that alone gives the same ids. `place` is
    the name by which the subject can be loaded again from anywhere on this machine, where it has one.
    """

    name: str
    path: Path
    decoder: Decoder
    weights: dict[str, Tensor] = field(repr=False)
    tokenizer: Tokenizer = field(repr=False)
    weights_sha256: str
    tokenizer_sha256: str
    config_json: dict[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()
    tokenizer_formerly: str | None = None
    place: str = ""

    @property
    def parameters(self) -> int:
        """How many numbers the checkpoint holds."""
        return sum(tensor.numel() for tensor in self.weights.values())


def load_subject(name: str | Path, *, revision: str | None = None, ids: bool = False) -> Subject:
    """Load a subject: a directory in Hugging Face layout, a GGUF file, a hub name (`gpt2`, `OWNER/NAME`) or `zoo:NAME`.

    `revision` is a branch, tag or commit of a hub model; with `ids` the subject's text is token ids. Raises
    `SubjectError` with one line for everything that makes it unusable.
    """
    place = locate(at_revision(name, revision))
    parts = _of_file(place.path, ids) if place.path.is_file() else _of_directory(place.path, ids)
    return made_of(parts, str(name), place.path, place.name)


@dataclass(frozen=True)
class Parts:
    """What a subject is made of, wherever that comes from."""

    config_json: dict[str, Any]
    decoder: Decoder
    weights: dict[str, Tensor]
    weights_sha256: str
    tokens: TokenizerRead
    notes: tuple[str, ...] = ()


def made_of(parts: Parts, name: str, path: Path, place: str) -> Subject:
    """The subject of these parts, with all that is unusual about it."""
    tokens = parts.tokens
    return Subject(
        name=name,
        path=path,
        decoder=parts.decoder,
        weights=parts.weights,
        tokenizer=tokens.tokenizer,
        weights_sha256=parts.weights_sha256,
        tokenizer_sha256=tokens.sha256,
        tokenizer_formerly=tokens.formerly,
        place=place,
        config_json=parts.config_json,
        notes=(*parts.notes, *tokens.notes, *_remarks(parts.config_json, parts.decoder, tokens.tokenizer)),
    )


def _of_directory(path: Path, ids: bool) -> Parts:
    """A directory in Hugging Face layout."""
    config_json = read_json(path / "config.json")
    files = weight_files(path)
    decoder = decoder_of(config_json, path / "config.json")
    tokens = load_tokenizer(path, config_json, decoder.sizes.vocab, ids=ids)
    weights, notes = read_weights(files, decoder)
    return Parts(config_json, decoder, weights, sha256_files(files), tokens, tuple(notes))


def _of_file(path: Path, ids: bool) -> Parts:
    """A GGUF file."""
    file = read_gguf(path)
    config_json = gguf_config(file)
    decoder = decoder_of(config_json, path)
    tokens = gguf_tokenizer(file, config_json, decoder.sizes.vocab, ids=ids)
    note = f"the numbers of {path.name}, packed as {', '.join(file.encodings())}, were unpacked into float32"
    weights = gguf_weights(file, decoder, shapes(decoder))
    return Parts(config_json, decoder, weights, sha256_files([path]), tokens, (note,))


def _bytes_lost(pieces: Pieces) -> int:
    """How many bytes have no token, where text is merged from bytes or falls back on them."""
    steps = pieces.steps
    if steps is None or steps.bytewise:
        return len(byte_alphabet().keys() - pieces.vocab.keys())
    return len({f"<0x{byte:02X}>" for byte in range(256)} - pieces.vocab.keys()) if steps.fallback else 0


def _remarks(config_json: dict[str, Any], decoder: Decoder, tokenizer: Tokenizer) -> Iterator[str]:
    """What is unusual about a subject, but no reason to refuse it."""
    yield from remarks(config_json, decoder)
    if config_json.get("reorder_and_upcast_attn"):
        yield "reorder_and_upcast_attn changes nothing in float32 but the last bits; the usual order is computed"
    if unused := decoder.sizes.vocab - tokenizer.n_tokens:
        yield f"the last {unused} ids of the model's vocabulary have no token"
    if tokenizer.kind == "bpe" and (lost := _bytes_lost(tokenizer.pieces())):
        yield f"the tokenizer has no token for {lost} of the 256 bytes; text with such bytes loses them"
