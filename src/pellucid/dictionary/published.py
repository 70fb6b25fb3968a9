"""Transcoders as published for circuit-tracer, and those of Gemma Scope: tensors without settings.

| file | tensors |
|---|---|
| `layer_3.safetensors` | `W_enc`, `W_dec` [feature, model], biases; `activation_function.threshold`, `W_skip` |
| `W_enc_3.safetensors`, `W_dec_3.safetensors` | a layer of a cross-layer transcoder; decoders from 3 on |
| `params.npz` | Gemma Scope: `W_enc` [model, feature], `W_dec`, `b_enc`, `b_dec`, `threshold` |
| `params.safetensors` | Gemma Scope 2: `w_enc` [model, feature], `w_dec`, biases, `threshold`; a skip matrix |

`b_dec` is taken from no input. Where features read and write is said by the `config.yaml` beside the files
(`feature_input_hook`, `feature_output_hook`), or by whoever reads them.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.base.files import require_regular, write_text
from pellucid.base.schema import text_of
from pellucid.dictionary.dictionary import Dictionary, Kind, Origin
from pellucid.dictionary.file import require_tensors, save_plain, tensors_in
from pellucid.dictionary.places import as_hook, of_hook
from pellucid.dictionary.sound import made, sound

SETTINGS, THRESHOLD = "config.yaml", "activation_function.threshold"
_LINE = re.compile(r"(\w+):[ \t]*[\"']?([^\s\"'#]+)[\"']?[ \t]*(?:#.*)?")
_MOST = 1 << 36
_CROSSLAYER = {"W_enc": 2, "W_dec": 3, "b_enc": 1, "b_dec": 1}
_LOWER = {"w_enc": "W_enc", "w_dec": "W_dec", "affine_skip_connection": "W_skip"}


def read_published(path: Path, reads: str | None = None, writes: str | None = None) -> Dictionary:
    """The transcoder (or, where it writes where it reads, autoencoder) of one layer in the file at `path`.

    Args:
        path: A file of tensors: `.safetensors` or `.npz`.
        reads: The activation or hook that features read; without it, what the `config.yaml` beside the file says, of
            the layer that the name of the file says.
        writes: Where they write; without it likewise, or, with `reads` given, where they read.

    Raises:
        PellucidError: A file that holds something else, or that does not say where features read.
    """
    held = _upright(_of_npz(path) if path.suffix == ".npz" else tensors_in(path))
    needed = {"W_enc": 2, "W_dec": 2, "b_enc": 1, "b_dec": 1}
    require_tensors(path, held, needed, {THRESHOLD: 1, "W_skip": 2})
    told = hooks_told(path.parent)
    if reads is None:
        layer = layer_in(path) if told else 0
        reads, writes = (of_hook(layer, told[end]) for end in ("input", "output")) if told else (None, None)
    if reads is None:
        raise PellucidError(
            f"{path} does not say what features read; name it (reads=, writes=), such as blocks.12.hook_resid_post, "
            f"or put the {SETTINGS} of its publisher beside it"
        )
    writes = reads if writes is None else writes
    kind: Kind = "skip-transcoder" if "W_skip" in held else "sae" if reads == writes else "transcoder"
    return made(
        str(path),
        kind=kind,
        reads=(reads,),
        writes=(writes,),
        encoder=held["W_enc"].T[None],
        bias=held["b_enc"][None],
        decoders=(held["W_dec"][None],),
        offset=held["b_dec"][None],
        firing="jumprelu" if THRESHOLD in held else "relu",
        thresholds=held[THRESHOLD][None] if THRESHOLD in held else None,
        skip=held["W_skip"].T[None] if "W_skip" in held else None,
        origin=Origin(told.get("model")),
    )


def read_crosslayer(folder: Path) -> Dictionary:
    """The cross-layer transcoder in `folder`. Raises `PellucidError` for a layer that is missing or misshapen."""
    count = len(list(folder.glob("W_enc_*.safetensors")))
    told = hooks_told(folder) or {"input": "hook_resid_mid", "output": "hook_mlp_out"}
    parts: dict[str, list[Tensor]] = {}
    for layer in range(count):
        held = tensors_in(folder / f"W_enc_{layer}.safetensors")
        held |= tensors_in(folder / f"W_dec_{layer}.safetensors")
        needed = {f"{name}_{layer}": axes for name, axes in _CROSSLAYER.items()}
        allowed = {f"threshold_{layer}": 1, f"W_skip_{layer}": 2}
        require_tensors(folder / f"W_enc_{layer}.safetensors", held, needed, allowed)
        for name, tensor in held.items():
            parts.setdefault(name.removesuffix(f"_{layer}"), []).append(tensor)
    for name, tensors in parts.items():
        shapes = {tuple(one.shape) for one in tensors}
        if len(tensors) != count or (name != "W_dec" and len(shapes) > 1):
            raise PellucidError(
                f"{folder}: {name} of {len(tensors)} of {count} layers, of {len(shapes)} shapes; expected one"
            )
    return made(
        str(folder),
        kind="crosslayer",
        reads=tuple(of_hook(layer, told["input"]) for layer in range(count)),
        writes=tuple(of_hook(layer, told["output"]) for layer in range(count)),
        encoder=torch.stack(parts["W_enc"]).mT,
        bias=torch.stack(parts["b_enc"]),
        decoders=tuple(vectors.transpose(0, 1) for vectors in parts["W_dec"]),
        offset=torch.stack(parts["b_dec"]),
        firing="jumprelu" if "threshold" in parts else "relu",
        thresholds=torch.stack(parts["threshold"]) if "threshold" in parts else None,
        skip=torch.stack(parts["W_skip"]).mT if "W_skip" in parts else None,
        origin=Origin(told.get("model")),
    )


def write_published(dictionary: Dictionary, folder: Path) -> Path:
    """Write `dictionary` as circuit-tracer reads it: `layer_N.safetensors`, or two files for each layer, and settings.

    Raises `PellucidError` for features that do not fire by themselves (TopK), a scaled input, and hooks that differ
    between layers.
    """
    one = sound(dictionary, str(folder)).centered(None)
    if one.firing == "topk" or one.scaling != "none":
        raise PellucidError(
            f"circuit-tracer reads features that fire by themselves on inputs as they are; this is a {one.kind} that "
            f"fires by {one.firing} on inputs scaled by {one.scaling}; train it with --firing batchtopk or jumprelu"
        )
    reads, writes = (_alike([as_hook(name) for name in names]) for names in (one.reads, one.writes))
    if reads is None or writes is None:
        raise PellucidError(
            f"circuit-tracer names one hook of TransformerLens in all layers; {one.reads[0]} or {one.writes[0]} has "
            "none"
        )
    kind = "cross_layer_transcoder" if one.kind == "crosslayer" else "transcoder_set"
    for layer, vectors in enumerate(one.decoders):
        tensors = {"W_enc": one.encoder[layer].T, "b_enc": one.bias[layer], "b_dec": one.offset[layer]}
        tensors |= {} if one.skip is None else {"W_skip": one.skip[layer].T}
        if one.kind == "crosslayer":
            tensors |= {} if one.thresholds is None else {"threshold": one.thresholds[layer]}
            save_plain(folder / f"W_enc_{layer}.safetensors", {f"{name}_{layer}": one for name, one in tensors.items()})
            save_plain(folder / f"W_dec_{layer}.safetensors", {f"W_dec_{layer}": vectors.transpose(0, 1)})
        else:
            tensors |= {"W_dec": vectors[0]} | ({} if one.thresholds is None else {THRESHOLD: one.thresholds[layer]})
            save_plain(folder / f"layer_{reads[0]}.safetensors", tensors)
    said = f'model_name: "{_plain(one.origin.subject)}"\nmodel_kind: "{kind}"\n'
    said += f'feature_input_hook: "{reads[1]}"\nfeature_output_hook: "{writes[1]}"\n'
    write_text(folder / SETTINGS, said)
    return folder


def _alike(hooks: list[tuple[int, str] | None]) -> tuple[int, str] | None:
    """The first layer and the hook, where all layers that follow each other have the same one."""
    first = hooks[0]
    expected = [] if first is None else [(first[0] + at, first[1]) for at in range(len(hooks))]
    return first if hooks == expected else None


def _plain(name: str | None) -> str:
    return re.sub(r"[^\w./:-]", "_", name or "unknown")


def hooks_told(folder: Path) -> dict[str, str]:
    """What a `config.yaml` in `folder` says of hooks and the model; nothing where there is none.

    Only its plain lines are read. Raises `PellucidError` for a file without hooks.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return {}
    found = (_LINE.fullmatch(line) for line in text_of(path).splitlines())
    lines = {line[1]: line[2] for line in found if line}
    told = {"input": lines.get("feature_input_hook"), "output": lines.get("feature_output_hook")}
    if None in told.values():
        raise PellucidError(f"{path}: feature_input_hook or feature_output_hook is missing; expected names of hooks")
    return {name: hook for name, hook in (told | {"model": lines.get("model_name")}).items() if hook is not None}


def layer_in(path: Path) -> int:
    """The layer that the name of a file, or of a folder that it lies in, says. Raises `PellucidError` for none."""
    for part in (path.stem, *reversed(path.parent.parts)):
        if found := re.search(r"layers?[_.]?(\d+)", part):
            return int(found[1])
    raise PellucidError(f"{path} does not say of which layer it is; expected a name such as layer_3.safetensors")


def _of_npz(path: Path) -> dict[str, Tensor]:
    """The arrays of a NumPy archive, pickles refused."""
    require_regular(path, _MOST)
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: torch.from_numpy(np.array(file[name], np.float32)) for name in file.files}
    except (ValueError, OSError, EOFError) as error:
        raise PellucidError(f"{path} holds no arrays that can be read: {error}") from None
    return found | {name: one.mT for name, one in found.items() if name == "W_enc" and one.ndim > 1}


def _upright(held: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under one set of names, features first; those of Gemma Scope 2 are called and lie otherwise."""
    if "w_enc" in held:
        held = {_LOWER.get(name, name): tensor for name, tensor in held.items()}
        held = held | {name: held[name].mT for name in ("W_enc", "W_skip") if name in held and held[name].ndim > 1}
    if "threshold" in held:
        held = {THRESHOLD if name == "threshold" else name: tensor for name, tensor in held.items()}
    return held
