"""Dictionaries of EleutherAI's sparsify: a folder named after a module, with `cfg.json` and `sae.safetensors`.

Autoencoders take `b_dec` from their input, transcoders do not; the k largest features fire; a skip matrix reads the
input as it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pellucid.base.errors import PellucidError
from pellucid.base.files import write_text
from pellucid.dictionary.dictionary import Dictionary, Kind
from pellucid.dictionary.file import require_tensors, save_plain, tensors_in
from pellucid.dictionary.places import of_module
from pellucid.dictionary.saelens import CONFIG, settings
from pellucid.dictionary.sound import made, sound

WEIGHTS = "sae.safetensors"


def read_sparsify(folder: Path) -> Dictionary:
    """The dictionary of sparsify in `folder`, whose name says of which module it is.

    Raises `PellucidError` for an activation function that is not understood, a folder that names no module, and tensors
    that are missing or left over.
    """
    config = settings(folder / CONFIG)
    if (function := config.get("activation", "topk")) != "topk":
        raise PellucidError(f"{folder / CONFIG}: activation is {function!r}, expected topk")
    k, transcodes = config.get("k", 32), bool(config.get("transcode", False))
    if isinstance(k, bool) or not isinstance(k, int):
        raise PellucidError(f"{folder / CONFIG}: k is {k!r}, expected how many features fire at a position")
    reads, writes = of_module(folder.resolve().name, transcodes)
    held = tensors_in(folder / WEIGHTS)
    skips = bool(config.get("skip_connection", False))
    needed = {"encoder.weight": 2, "encoder.bias": 1, "W_dec": 2, "b_dec": 1} | ({"W_skip": 2} if skips else {})
    require_tensors(folder / WEIGHTS, held, needed, {})
    kind: Kind = "skip-transcoder" if skips else "transcoder" if transcodes else "sae"
    return made(
        str(folder / WEIGHTS),
        kind=kind,
        reads=(reads,),
        writes=(writes,),
        encoder=held["encoder.weight"].T[None],
        bias=held["encoder.bias"][None],
        decoders=(held["W_dec"][None],),
        offset=held["b_dec"][None],
        firing="topk",
        k=k,
        center=None if transcodes else held["b_dec"][None],
        skip=held["W_skip"].T[None] if skips else None,
    )


def write_sparsify(dictionary: Dictionary, folder: Path) -> Path:
    """Write `dictionary` as sparsify reads it. Raises `PellucidError` for one that sparsify does not have."""
    one = sound(dictionary, str(folder))
    if one.firing != "topk" or one.scaling != "none" or one.kind == "crosslayer":
        raise PellucidError(
            f"sparsify has dictionaries of one layer whose k largest features fire, on inputs as they are; this is a "
            f"{one.kind} that fires by {one.firing}; write it for SAELens, or in pellucid's own format"
        )
    transcodes = one.reads != one.writes
    one = one.centered(None if transcodes else one.offset)
    tensors = {"encoder.weight": one.encoder[0].T, "encoder.bias": one.bias[0]}
    tensors |= {"W_dec": one.decoders[0][0], "b_dec": one.offset[0]}
    tensors |= {} if one.skip is None else {"W_skip": one.skip[0].T}
    config: dict[str, Any] = {"activation": "topk", "expansion_factor": 32, "normalize_decoder": one.unit}
    config |= {"num_latents": one.width, "k": one.k, "multi_topk": False, "skip_connection": one.skip is not None}
    config |= {"transcode": transcodes, "d_in": one.encoder.shape[1]}
    save_plain(folder / WEIGHTS, tensors)
    write_text(folder / CONFIG, json.dumps(config, indent=1) + "\n")
    return folder
