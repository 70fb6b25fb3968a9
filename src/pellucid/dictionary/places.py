"""Places of a model by the names that people and other tools give them: `L12.mlp`, hooks, modules."""

from __future__ import annotations

import re

from pellucid.base.errors import PellucidError
from pellucid.dictionary.dictionary import Kind
from pellucid.dictionary.sound import site_of
from pellucid.engine.sites import hook_of
from pellucid.exact.model import Model
from pellucid.family import seams

_MODULE = re.compile(r"(?:\w+\.)*?(\d+)(?:\.(\w+))?")
_PUBLISHED = {"mlp.hook_in": "LN2", "ln2.hook_normalized": "LN2.normalized", "hook_mlp_out": "mlp_out"}
_PUBLISHED |= {"mlp.hook_out": "mlp_out"}
_OUTPUTS = {None: "resid_post", "mlp": "mlp_out", "attn": "attn_out", "attention": "attn_out", "self_attn": "attn_out"}


def hook_named(name: str) -> str:
    """The hook that TransformerLens has for an activation, or `name` as it is if it has none or is one already."""
    return hook_of(name) or name


def of_hook(layer: int, hook: str) -> str:
    """The activation of `layer` that published transcoders mean by `hook`, or that hook's whole name.

    Their `ln2.hook_normalized` is the norm's output before its gain: they were trained with gains folded away.
    """
    return seams.at(layer).named(_PUBLISHED[hook]) if hook in _PUBLISHED else f"blocks.{layer}.{hook}"


def as_hook(name: str) -> tuple[int, str] | None:
    """The layer and the hook by which published transcoders name an activation; None where there is none."""
    for hook, own in _PUBLISHED.items():
        if found := re.fullmatch(rf"L(\d+)\.{re.escape(own)}", name):
            return int(found[1]), hook
    found = re.fullmatch(r"blocks\.(\d+)\.(.+)", hook_named(name))
    return (int(found[1]), found[2]) if found else None


def of_module(name: str, transcodes: bool) -> tuple[str, str]:
    """What is read and written of a module by its name in PyTorch, such as `layers.5.mlp`; of a layer by its number.

    An autoencoder reads what the module puts out; with `transcodes`, what it takes, and what it puts out is written.
    Raises `PellucidError` for a module that is not understood.
    """
    found = _MODULE.fullmatch(name)
    if found is None or found[2] not in _OUTPUTS or (transcodes and found[2] != "mlp"):
        raise PellucidError(
            f"{name!r} is no module that is understood: expected the folder of a layer such as layers.5, "
            "layers.5.mlp or layers.5.attn, and of a transcoder layers.5.mlp"
        )
    here = seams.at(int(found[1]))
    written = here.named(_OUTPUTS[found[2]])
    return (here.norm2, written) if transcodes else (written, written)


def places(model: Model, at: str, kind: Kind) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """What the dictionaries of `kind` at `at` read and write: one for each place.

    Args:
        model: The model that they are for.
        at: `L12.mlp`, `L12.attn_out`, `L12.resid_post`, any other activation with a row of numbers at each position;
            or `all`, the MLPs of all layers. A cross-layer transcoder is always of all.
        kind: Autoencoders read what they write. Transcoders are of MLPs: they read what the MLP reads, behind its norm,
            and write what it adds to the stream.

    Raises:
        PellucidError: A place that the model does not have, or where such a dictionary cannot be.
    """
    layers = range(model.decoder.layers)
    if kind == "crosslayer" and at != "all":
        raise PellucidError(f"a cross-layer transcoder is of all layers; expected --at all, not {at!r}")
    names = [f"L{layer:02d}.mlp" for layer in layers] if at == "all" else [at]
    found = [_of_mlp(model, name, kind) if name.endswith(".mlp") else _of_site(model, name, kind) for name in names]
    if kind == "crosslayer":
        return [(tuple(reads[0] for reads, _ in found), tuple(writes[0] for _, writes in found))]
    return found


def _of_mlp(model: Model, name: str, kind: Kind) -> tuple[tuple[str, ...], tuple[str, ...]]:
    number = name.removesuffix(".mlp").removeprefix("L")
    if not number.isdigit() or int(number) >= model.decoder.layers:
        raise PellucidError(
            f"{name!r} is no layer's MLP: {model.subject.name} has layers 0 to {model.decoder.layers - 1}"
        )
    here = seams.at(int(number))
    if kind == "sae":
        return (here.mlp_out,), (here.mlp_out,)
    read = here.norm2 if here.norm2 in model.graph else here.norm1
    return (read,), (here.mlp_out,)


def _of_site(model: Model, name: str, kind: Kind) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if kind != "sae":
        raise PellucidError(f"a {kind} stands for an MLP; expected --at L00.mlp or all, not {name!r}")
    found = site_of(model, name).activation
    return (found,), (found,)
