"""What a dictionary must be to be used: whole, finite, of its kind, and made for the model that it is used on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pellucid.base.axes import BATCH, DIM, GROUP, HEAD, MODEL, NEURON, POS
from pellucid.base.errors import PellucidError
from pellucid.dictionary.dictionary import KINDS, Dictionary, Kind
from pellucid.engine.sites import Site, resolve
from pellucid.exact.model import Model


def made(place: str, **parts: Any) -> Dictionary:
    """The dictionary of these `parts` (the fields of `Dictionary`), read from `place`.

    Raises `PellucidError` saying what is wrong with them.
    """
    for problem in _misshapen(**parts):
        raise PellucidError(f"{place}: {problem}")
    return sound(Dictionary(**parts), place)


def sound(dictionary: Dictionary, place: str) -> Dictionary:
    """`dictionary`, read from `place`, if it can be used. Raises `PellucidError` saying what is wrong with it."""
    for problem in _problems(dictionary):
        raise PellucidError(f"{place}: {problem}")
    return dictionary


def _problems(one: Dictionary) -> Iterator[str]:
    if one.kind not in KINDS:
        yield f"{one.kind!r} is no kind of dictionary; expected {', '.join(KINDS)}"
    yield from _not_of_its_kind(one)
    for name, tensor in tensors_of(one).items():
        if not tensor.isfinite().all():
            count = int((~tensor.isfinite()).sum())
            yield f"{count:,} numbers of {name} are not finite (NaN or infinite); the file is broken or was cut short"
    if one.thresholds is not None and (one.thresholds < 0).any():
        yield "a threshold is below 0, where a feature would fire negatively; expected thresholds of 0 or more"


def _misshapen(
    kind: Kind,
    reads: tuple[str, ...],
    writes: tuple[str, ...],
    encoder: Tensor,
    offset: Tensor,
    decoders: tuple[Tensor, ...],
    **more: Any,
) -> Iterator[str]:
    """Which tensors have other shapes than the encoder and the offset ask for."""
    layers, read, width = encoder.shape
    write = offset.shape[1]
    expected: dict[str, tuple[int, ...]] = {"bias": (layers, width), "thresholds": (layers, width)}
    expected |= {"center": (layers, read), "skip": (layers, read, write)}
    held = {name: tensor for name, tensor in more.items() if name in expected and tensor is not None}
    held |= {f"decoder {layer}": vectors for layer, vectors in enumerate(decoders)} | {"offset": offset}
    for layer in range(layers):
        expected[f"decoder {layer}"] = (layers - layer if kind == "crosslayer" else 1, width, write)
    if not len(reads) == len(writes) == len(decoders) == layers:
        yield f"{len(reads)} places are read and {len(writes)} written by an encoder of {layers} layers"
    for name, tensor in held.items():
        if list(tensor.shape) != (right := [*expected.get(name, (layers, write))]):
            yield f"{name} has shape {list(tensor.shape)}, expected {right} beside an encoder of {list(encoder.shape)}"


def _not_of_its_kind(one: Dictionary) -> Iterator[str]:
    if one.kind == "sae" and one.reads != one.writes:
        yield f"an autoencoder writes where it reads, not {one.reads[0]} to {one.writes[0]}; expected a transcoder"
    if one.kind != "crosslayer" and len(one.reads) > 1:
        yield f"a dictionary of kind {one.kind} reads one place, not {len(one.reads)}; expected kind crosslayer"
    if one.kind == "skip-transcoder" and one.skip is None:
        yield "a skip-transcoder has no skip matrix; expected kind transcoder, or the matrix"
    if one.kind in ("sae", "transcoder") and one.skip is not None:
        yield f"a dictionary of kind {one.kind} has a skip matrix; expected kind skip-transcoder"
    if one.firing == "jumprelu" and one.thresholds is None:
        yield "its features fire above thresholds (jumprelu), and the thresholds are missing"
    if one.firing != "jumprelu" and one.thresholds is not None:
        yield f"it has thresholds, which features that fire by {one.firing} do not; expected jumprelu"
    if one.firing == "topk" and not (one.k is not None and 1 <= one.k <= one.width):
        yield f"k is {one.k}, expected 1 to {one.width}, the features that there are"
    if one.firing != "topk" and one.k is not None:
        yield f"it has a k of {one.k}, which features that fire by {one.firing} do not; expected topk"


def tensors_of(one: Dictionary) -> dict[str, Tensor]:
    """Everything that a dictionary holds, by the names of its own file."""
    held = {"encoder": one.encoder, "bias": one.bias, "offset": one.offset}
    held |= {f"decoder.{layer}": vectors for layer, vectors in enumerate(one.decoders)}
    for name in ("thresholds", "center", "skip"):
        tensor = getattr(one, name)
        held |= {} if tensor is None else {name: tensor}
    return held


# --- on a model -------------------------------------------------------------------------------------------------------


def fitting_sites(dictionary: Dictionary, model: Model) -> tuple[tuple[Site, ...], tuple[Site, ...]]:
    """The sites of `model` that `dictionary` reads and writes.

    Raises `PellucidError` for a dictionary of another model, and for a place that the model does not have or that has
    another width; for names see `site_of`.
    """
    own = dictionary.origin.sha256
    if own is not None and model.subject.weights_sha256 and own != model.subject.weights_sha256:
        raise PellucidError(
            f"the dictionary was made for {dictionary.origin.subject or 'another model'} (weights {own[:12]}…), not "
            f"for {model.subject.name} (weights {model.subject.weights_sha256[:12]}…); expected one of this model"
        )
    found = []
    for names, width, what in (
        (dictionary.reads, dictionary.encoder.shape[1], "reads"),
        (dictionary.writes, dictionary.offset.shape[1], "writes"),
    ):
        sites = tuple(site_of(model, name) for name in names)
        for name, site in zip(names, sites, strict=True):
            if (there := width_of(model, site)) != width:
                raise PellucidError(
                    f"the dictionary {what} {width} numbers at {name}, which has {there} in {model.subject.name}; "
                    "expected a dictionary of this model"
                )
        found.append(sites)
    return found[0], found[1]


def site_of(model: Model, name: str) -> Site:
    """The one site that `name` means. Raises `PellucidError` for a name of none, of several, of pairs of positions."""
    sites = resolve(model, name)
    if len(sites) != 1 or sites[0].members is not None or sites[0].axes[:2] != (BATCH, POS):
        raise PellucidError(
            f"{name} is no place that a dictionary can read: expected one activation with a row of numbers at each "
            "position, such as L00.resid_post, L00.mlp_out or blocks.0.hook_mlp_out"
        )
    return sites[0]


def width_of(model: Model, site: Site) -> int:
    """How many numbers a position has at `site`."""
    sizes = model.decoder.sizes
    heads = sizes.group if site.activation.endswith((".k", ".v")) else sizes.head
    of = {MODEL: sizes.model, HEAD: heads, GROUP: sizes.group, DIM: sizes.dim, NEURON: sizes.neuron}
    return int(torch.tensor([of.get(axis, sizes.vocab) for axis in site.axes[2:]]).prod())
