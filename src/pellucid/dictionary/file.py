"""Pellucid's own files of dictionaries: a folder of `dictionary.json` (what it is) and `dictionary.safetensors`.

    {"format": 1, "kind": "transcoder", "reads": ["L12.LN2"], "writes": ["L12.mlp_out"], "firing": "jumprelu",
     "k": null, "scaling": "none", "unit": true, "origin": {"subject": …, "sha256": …, "np": null, "trained": {…}}}

`unit` says that the vectors of each feature have length 1; a file where they do not is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.base.files import write_text
from pellucid.base.schema import CLOSED, read_json
from pellucid.base.tensors import open_tensors, save_tensors
from pellucid.dictionary.dictionary import Dictionary, Firing, Kind, Origin, Scaling
from pellucid.dictionary.sound import made, sound, tensors_of

ABOUT, TENSORS = "dictionary.json", "dictionary.safetensors"
FORMAT = 1


@dataclass(frozen=True)
class KeptOrigin:
    """Where a dictionary comes from, in its file."""

    __pydantic_config__ = CLOSED
    subject: str | None
    sha256: str | None
    np: str | None
    trained: dict[str, Any]


@dataclass(frozen=True)
class KeptDictionary:
    """What `dictionary.json` holds."""

    __pydantic_config__ = CLOSED
    format: int
    kind: Kind
    reads: list[str]
    writes: list[str]
    firing: Firing
    k: int | None
    scaling: Scaling
    unit: bool
    origin: KeptOrigin


def write_dictionary(dictionary: Dictionary, folder: Path) -> Path:
    """Write `dictionary` into `folder`. Raises `OSError` where that cannot be: a full disk, say."""
    one = sound(dictionary, str(folder))
    save_plain(folder / TENSORS, tensors_of(one))
    origin = KeptOrigin(one.origin.subject, one.origin.sha256, one.origin.np, dict(one.origin.trained))
    kept = KeptDictionary(
        FORMAT, one.kind, [*one.reads], [*one.writes], one.firing, one.k, one.scaling, one.unit, origin
    )
    write_text(folder / ABOUT, json.dumps(asdict(kept), indent=1) + "\n")
    return folder


def read_own(folder: Path) -> Dictionary:
    """The dictionary in `folder`. Raises `PellucidError` for what is broken, naming file and entry."""
    kept = read_json(KeptDictionary, folder / ABOUT)
    if kept.format != FORMAT:
        raise PellucidError(f"{folder / ABOUT}: format is {kept.format}, expected {FORMAT}; another pellucid wrote it")
    path = folder / TENSORS
    held = tensors_in(path)
    layers = len(kept.reads)
    needed = {"encoder": 3, "bias": 2, "offset": 2} | {f"decoder.{layer}": 3 for layer in range(layers)}
    require_tensors(path, held, needed, {"thresholds": 2, "center": 2, "skip": 3})
    one = made(
        str(path),
        kind=kept.kind,
        reads=tuple(kept.reads),
        writes=tuple(kept.writes),
        encoder=held["encoder"],
        bias=held["bias"],
        decoders=tuple(held[f"decoder.{layer}"] for layer in range(layers)),
        offset=held["offset"],
        firing=kept.firing,
        thresholds=held.get("thresholds"),
        k=kept.k,
        center=held.get("center"),
        skip=held.get("skip"),
        scaling=kept.scaling,
        origin=Origin(kept.origin.subject, kept.origin.sha256, kept.origin.np, kept.origin.trained),
    )
    if kept.unit and not one.unit:
        worst = float((one.lengths - 1).abs().max()) + 1
        raise PellucidError(
            f"{path}: the decoder is not normalised: a feature's vectors have a length that differs from 1 by up to "
            f'{worst - 1:.2g}, and {ABOUT} says "unit": true; expected length 1'
        )
    return one


# --- tensors of any file ----------------------------------------------------------------------------------------------


def tensors_in(path: Path) -> dict[str, Tensor]:
    """The tensors of the file at `path`, float32. Raises `PellucidError` for a file that holds none."""
    try:
        with open_tensors(path) as file:
            held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, a file is no mapping
    except FileNotFoundError:
        raise PellucidError(f"{path} is not there") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise PellucidError(f"{path} holds no tensors that can be read: {error}") from None
    return {name: tensor.to(torch.float32) if tensor.is_floating_point() else tensor for name, tensor in held.items()}


def require_tensors(
    path: Path, held: Mapping[str, Tensor], needed: Mapping[str, int], allowed: Mapping[str, int]
) -> None:
    """Raise `PellucidError` for a tensor of `path` that is missing, is not understood, or has another number of axes.

    `needed` and `allowed` say how many axes each has.
    """
    known = {**needed, **allowed}
    if missing := sorted(needed.keys() - held.keys()):
        raise PellucidError(f"{path}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    if foreign := sorted(held.keys() - known.keys()):
        raise PellucidError(
            f"{path}: {foreign[0]} is no tensor that is understood here; expected {', '.join(sorted(known))}"
        )
    for name, tensor in held.items():
        if tensor.ndim != known[name] or not tensor.is_floating_point():
            raise PellucidError(
                f"{path}: {name} is {str(tensor.dtype).removeprefix('torch.')} of shape {list(tensor.shape)}, expected "
                f"numbers with {known[name]} axes"
            )


def save_plain(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write `tensors` to `path` as float32. Raises `OSError` where that cannot be: a full disk, say."""
    plain = torch.contiguous_format
    save_tensors(
        path, {name: one.detach().to("cpu", torch.float32).clone(memory_format=plain) for name, one in tensors.items()}
    )
