"""Dictionaries of SAELens: `cfg.json` and `sae_weights.safetensors`, read and written so that both say the same.

| `cfg.json` | here |
|---|---|
| `architecture` | kind and firing: `standard`, `jumprelu`, `topk`, and transcoders of the first two |
| `apply_b_dec_to_input` | `b_dec` is taken from the input (autoencoders alone) |
| `normalize_activations` | scaling at run time; what is folded into the weights when saving needs none |
| `rescale_acts_by_decoder_norm` | the k largest are those behind the lengths of their vectors, which are folded in |
| `metadata` | hook names, and the id in Neuronpedia |
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from pellucid.base.errors import PellucidError
from pellucid.base.files import write_text
from pellucid.base.schema import content, plain_json
from pellucid.dictionary.dictionary import Dictionary, Firing, Kind, Origin, Scaling
from pellucid.dictionary.file import require_tensors, save_plain, tensors_in
from pellucid.dictionary.places import hook_named
from pellucid.dictionary.sound import made, sound

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
_ARCHITECTURES: dict[str, tuple[Kind, Firing]] = {
    "standard": ("sae", "relu"),
    "jumprelu": ("sae", "jumprelu"),
    "topk": ("sae", "topk"),
    "transcoder": ("transcoder", "relu"),
    "skip_transcoder": ("skip-transcoder", "relu"),
    "jumprelu_transcoder": ("transcoder", "jumprelu"),
    "jumprelu_skip_transcoder": ("skip-transcoder", "jumprelu"),
}
_SCALINGS: dict[str, Scaling] = {
    "none": "none",
    "expected_average_only_in": "none",
    "covariance_whitening": "none",
    "layer_norm": "layer-norm",
    "constant_norm_rescale": "length",
}


def read_saelens(folder: Path) -> Dictionary:
    """The dictionary of SAELens in `folder`.

    Raises `PellucidError` for another architecture, an activation function or a setting that is not understood, and for
    tensors that are missing or left over.
    """
    config = settings(folder / CONFIG)
    kind, firing, k = _how(folder / CONFIG, config)
    held = tensors_in(folder / WEIGHTS)
    needed = {"W_enc": 2, "W_dec": 2, "b_enc": 1, "b_dec": 1} | ({"threshold": 1} if firing == "jumprelu" else {})
    needed |= {"W_skip": 2} if kind == "skip-transcoder" else {}
    require_tensors(folder / WEIGHTS, held, needed, {})
    reads, writes, origin = _places(folder / CONFIG, config, kind)
    threshold = held["threshold"].clamp(min=0)[None] if firing == "jumprelu" else None
    takes = kind == "sae" and config.get("apply_b_dec_to_input", True)
    one = made(
        str(folder / WEIGHTS),
        kind=kind,
        reads=(reads,),
        writes=(writes,),
        encoder=held["W_enc"][None],
        bias=held["b_enc"][None],
        decoders=(held["W_dec"][None],),
        offset=held["b_dec"][None],
        firing=firing,
        thresholds=threshold,
        k=k,
        center=held["b_dec"][None] if takes else None,
        skip=held["W_skip"].T[None] if "W_skip" in held else None,
        scaling=_scaling(folder / CONFIG, config),
        origin=origin,
    )
    return _rescaled(one) if config.get("rescale_acts_by_decoder_norm") and firing == "topk" else one


def _rescaled(one: Dictionary) -> Dictionary:
    """`one` with the lengths of its vectors in its encoder, where what is compared are features times lengths."""
    lengths = one.lengths
    encoder, bias = one.encoder * lengths[:, None], one.bias * lengths
    return replace(one, encoder=encoder, bias=bias, decoders=(one.decoders[0] / lengths[0, :, None],))


def write_saelens(dictionary: Dictionary, folder: Path) -> Path:
    """Write `dictionary` as SAELens reads it. Raises `PellucidError` for a kind that SAELens does not have."""
    one = sound(dictionary, str(folder))
    known = {value: name for name, value in _ARCHITECTURES.items()}
    if (one.kind, one.firing) not in known:
        raise PellucidError(
            f"SAELens has no {one.kind} whose features fire by {one.firing}; keep it in pellucid's own format, or "
            "train it with features that fire above thresholds (--firing batchtopk or jumprelu)"
        )
    takes = one.kind == "sae" and one.center is not None
    one = one.centered(one.offset if takes else None)
    tensors = {"W_enc": one.encoder[0], "W_dec": one.decoders[0][0], "b_enc": one.bias[0], "b_dec": one.offset[0]}
    tensors |= {} if one.thresholds is None else {"threshold": one.thresholds[0]}
    tensors |= {} if one.skip is None else {"W_skip": one.skip[0].T}
    scaling = next(name for name, value in _SCALINGS.items() if value == one.scaling)
    metadata: dict[str, Any] = {"hook_name": hook_named(one.reads[0]), "model_name": one.origin.subject}
    metadata |= {"neuronpedia_id": one.origin.np}
    config: dict[str, Any] = {
        "architecture": known[one.kind, one.firing],
        "d_in": one.encoder.shape[1],
        "d_sae": one.width,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": takes,
        "normalize_activations": scaling,
        "reshape_activations": "none",
        "metadata": metadata,
    }
    if one.kind != "sae":
        metadata["hook_name_out"] = hook_named(one.writes[0])
        config["d_out"] = one.offset.shape[1]
    if one.firing == "topk":
        config |= {"k": one.k, "rescale_acts_by_decoder_norm": False}
    save_plain(folder / WEIGHTS, tensors)
    write_text(folder / CONFIG, json.dumps(config, indent=1) + "\n")
    return folder


def settings(path: Path) -> dict[str, Any]:
    """The settings in the file at `path`. Raises `PellucidError` where it holds no JSON object."""
    found = plain_json(content(path), str(path))
    if not isinstance(found, dict):
        raise PellucidError(f"{path}: expected settings by name, an object of JSON")
    return found


def _how(path: Path, config: dict[str, Any]) -> tuple[Kind, Firing, int | None]:
    """Kind, firing and k. Files of SAELens before 6 say the activation function apart."""
    name = config.get("architecture", "standard")
    function = config.get("activation_fn", config.get("activation_fn_str", "relu"))
    if name == "standard" and function == "topk":
        name = "topk"
    elif function not in ("relu", "topk"):
        raise PellucidError(f"{path}: the activation function {function!r} is not understood; expected relu or topk")
    if name not in _ARCHITECTURES:
        raise PellucidError(f"{path}: architecture is {name!r}, expected {', '.join(_ARCHITECTURES)}")
    kind, firing = _ARCHITECTURES[name]
    if firing != "topk":
        return kind, firing, None
    k = config.get("k", (config.get("activation_fn_kwargs") or {}).get("k"))
    if isinstance(k, bool) or not isinstance(k, int):
        raise PellucidError(f"{path}: k is {k!r}, expected how many features fire at a position")
    return kind, firing, k


def _scaling(path: Path, config: dict[str, Any]) -> Scaling:
    name = config.get("normalize_activations", "none")
    if name not in _SCALINGS:
        raise PellucidError(f"{path}: normalize_activations is {name!r}, expected {', '.join(_SCALINGS)}")
    return _SCALINGS[name]


def _places(path: Path, config: dict[str, Any], kind: Kind) -> tuple[str, str, Origin]:
    """What is read, what is written, and where it comes from; files of SAELens before 6 have it beside the rest."""
    told = config.get("metadata")
    told = told if isinstance(told, dict) else config
    reads, writes = told.get("hook_name"), told.get("hook_name_out")
    if not isinstance(reads, str):
        raise PellucidError(
            f"{path}: hook_name is {reads!r}, expected the name of a hook such as blocks.5.hook_mlp_out"
        )
    if kind != "sae" and not isinstance(writes, str):
        raise PellucidError(f"{path}: hook_name_out is {writes!r}, expected the name of the hook that is written")
    name, np = told.get("model_name"), told.get("neuronpedia_id")
    origin = Origin(name if isinstance(name, str) else None, None, np if isinstance(np, str) else None)
    return reads, reads if kind == "sae" else str(writes), origin
