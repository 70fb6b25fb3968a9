"""From a GGUF file to a decoder, its weights in float32, and its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.base.errors import SubjectError
from pellucid.family.blocks import Decoder
from pellucid.family.gguf import FREQUENCIES, FileNames, architecture_of, config_of, stretched, undone
from pellucid.subject.checkpoint import StoredTensor, check_shapes, refuse_not_finite
from pellucid.subject.gguf_file import GGUF
from pellucid.subject.gguf_tokenizer import tokenizer_files
from pellucid.subject.given import given_tokenizer, saving
from pellucid.subject.tokenizer_files import TokenizerRead


def gguf_config(file: GGUF) -> dict[str, Any]:
    """The settings of a file as a `config.json` has them. Raises `SubjectError` for what is not understood."""
    found = config_of(file.values, {name: tensor.shape for name, tensor in file.tensors.items()}, file.path)
    if FREQUENCIES in file.tensors:
        found = stretched(found, file.array(FREQUENCIES).reshape(-1), file.path)
    return found


def gguf_weights(file: GGUF, decoder: Decoder, expected: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The parameters by canonical name, as a checkpoint has them, unpacked into float32.

    Raises `SubjectError` listing all tensors that are missing, unexpected, of a wrong shape, or not finite.
    """
    names = architecture_of(file.values, file.path).names
    placed = {names.canonical(name) or name: name for name in file.tensors if name != FREQUENCIES}
    stored = {to: StoredTensor(file.path, at, _shape(names, file, at), "F32") for to, at in placed.items()}
    check_shapes(stored, dict(expected), [file.path])
    heads = {"attn_q": decoder.sizes.head, "attn_k": decoder.sizes.group}
    found = {}
    for to in expected:
        array = undone(names, placed[to], file.array(placed[to]), heads)
        found[to] = torch.from_numpy(np.ascontiguousarray(array))
    refuse_not_finite(found, str(file.path))
    return found


def _shape(names: FileNames, file: GGUF, name: str) -> tuple[int, ...]:
    """The shape that a tensor has in a checkpoint."""
    shape = file.tensors[name].shape
    return shape[::-1] if set(names.columns) & set(name.split(".")[-2:-1]) else shape


def gguf_tokenizer(file: GGUF, config: Mapping[str, Any], known: int, *, ids: bool) -> TokenizerRead:
    """The tokenizer of a file; text is token ids with `ids`, and where it is of a kind that is not known."""
    path = str(file.path)
    try:
        files = {} if ids else tokenizer_files(file.values)
    except (ValueError, TypeError) as error:
        found = given_tokenizer(saving({}), path, config, known, ids=True)
        said = f"{path} has a tokenizer that is not supported: {error}; text is neither read nor written"
        return TokenizerRead(
            found.tokenizer, found.sha256, None, (f"{said}, tokens are given as their ids, such as '5 17 3'",)
        )
    return given_tokenizer(saving(files), path, config, known, ids=ids)


def read_gguf(path: Path) -> GGUF:
    """The file at `path`. Raises `SubjectError` for what is no GGUF file, or a broken one."""
    file = GGUF(path)
    if not file.tensors:
        raise SubjectError(f"{path} has no tensors; a GGUF file with a vocabulary alone is no model")
    return file
