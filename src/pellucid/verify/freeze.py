"""Freezing a part: what it does raw on some tune text, kept in a file, so that its source can be tried alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import torch
from jaxtyping import Float32, Int32

from pellucid.base.address import Address
from pellucid.base.errors import PellucidError
from pellucid.base.lock import writing
from pellucid.base.tensors import open_tensors, save_tensors
from pellucid.corpus.packing import row_tokens
from pellucid.corpus.rows import Row, sample_rows
from pellucid.exact.model import Model, Taps
from pellucid.family import seams
from pellucid.forms.outputs import output_of
from pellucid.listing.emit import ignore
from pellucid.project.project import Project

FOLDER = "scratch"
ROWS = 64
"""Rows of tune text that are frozen; fewer where scores would take too much room."""
_ROOM = 1 << 24
"""Numbers that a file holds at most (64 MiB), one row excepted."""

UNSEEN = -1e9
"""A score at which a key gets nothing, small as it is finite."""


@dataclass(frozen=True)
class Frozen:
    """What the raw part at `address` does on rows of text.

    `raw` has, for each of `rows` (token ids), scores [query, key] (QK) or pre-activations [pos] (IN).
    """

    address: Address
    rows: tuple[Int32[np.ndarray, " _"], ...]
    raw: tuple[Float32[np.ndarray, "*_"], ...]

    @property
    def positions(self) -> int:
        """Tokens in all rows."""
        return sum(map(len, self.rows))


def freeze(project: Project, address: Address) -> Frozen:
    """What is frozen of `address`, recorded first if it was not yet, or from another subject, text or seed.

    Only recording needs the subject. Raises `PellucidError` for a part that is neither QK nor IN.
    """
    if address.kind not in ("QK", "IN"):
        raise PellucidError(f"{address} cannot be frozen; expected where a head looks (QK) or when a neuron fires (IN)")
    path = project.directory / FOLDER / f"{address}.safetensors"
    identity = _identity(project)
    if frozen := _read(path, address, identity):
        return frozen
    model = project.model
    length = row_tokens(model)
    count = max(1, min(ROWS, _ROOM // length ** (2 if address.kind == "QK" else 1)))
    rows = sample_rows(project.texts.tune, model.tokenizer, length, count, project.manifest.settings.seed)
    frozen = Frozen(address, tuple(row.tokens for row in rows), raw_outputs(model, address, rows))
    with writing(project.directory):
        ignore(project.directory)
        _write(path, frozen, identity)
    return frozen


def raw_outputs(model: Model, address: Address, rows: Sequence[Row]) -> tuple[Float32[np.ndarray, "*_"], ...]:
    """What the raw part (QK or IN) at `address` says about each row: scores [query, key] or pre-activations [pos].

    Of a gated neuron, activations; of a layer with a window, scores so low that nobody looks at keys before it.
    """
    window = model.decoder.blocks[address.layer].attention.window
    name = seams.at(address.layer).named(output_of(model.decoder, address).name)
    found = []
    for row in rows:
        with torch.inference_mode():
            ids = torch.as_tensor(row.tokens, dtype=torch.long)[None]
            value = model.forward(ids, Taps(record=[name])).activations[name]
        one = value[0, address.index] if address.kind == "QK" else value[0, :, address.index]
        values = one.float().numpy()
        found.append(within(values, window) if address.kind == "QK" else values)
    return tuple(found)


def within(scores: Float32[np.ndarray, "query key"], window: int | None) -> Float32[np.ndarray, "query key"]:
    """`scores` of whole rows, `UNSEEN` where a key is before the `window` that a query sees, its own among them."""
    if window is None:
        return scores
    queries, keys = scores.shape
    return np.where(np.tri(queries, keys, -window, bool), np.float32(UNSEEN), scores)


def _identity(project: Project) -> dict[str, str]:
    """What a recording depends on, beside its address."""
    manifest = project.manifest
    return {
        "format": "1",
        "subject": manifest.subject.weights_sha256,
        "text": manifest.corpus.tune_sha256,
        "seed": str(manifest.settings.seed),
    }


def _write(path: Path, frozen: Frozen, identity: dict[str, str]) -> None:
    """Write all rows end to end: their lengths, tokens [pos] and outputs, flat."""
    tensors = {
        "lengths": torch.tensor([len(row) for row in frozen.rows], dtype=torch.int32),
        "tokens": torch.from_numpy(np.concatenate(frozen.rows).astype(np.int32)),
        "raw": torch.from_numpy(np.concatenate([values.reshape(-1) for values in frozen.raw])),
    }
    save_tensors(path, tensors, identity)


def _read(path: Path, address: Address, identity: dict[str, str]) -> Frozen | None:
    """The recording in `path`; None where there is none, or one that is broken or does not fit `identity`."""
    try:
        with open_tensors(path, "np") as file:
            if file.metadata() != identity:
                return None
            lengths, tokens, raw = (file.get_tensor(name) for name in ("lengths", "tokens", "raw"))
    except (OSError, safetensors.SafetensorError):
        return None
    shapes = [(n, n) if address.kind == "QK" else (n,) for n in lengths.tolist()]
    ends = np.cumsum(lengths)[:-1]
    pieces = np.split(raw, np.cumsum([np.prod(shape, dtype=int) for shape in shapes])[:-1])
    values = tuple(piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True))
    return Frozen(address, tuple(np.split(tokens, ends)), values)
