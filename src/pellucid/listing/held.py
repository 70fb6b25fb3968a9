"""What a loaded program multiplies with and adds, under the names of format 2, whatever format it was written in.

Means, constants and lifted parts are folded into a program's own copies of its weights; what is held is those copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.base.errors import ProjectError
from pellucid.family.blocks import Block, Decoder
from pellucid.family.canonical import stored
from pellucid.listing.load import Program


def held(program: Program, *, whole: bool = False) -> dict[str, Tensor]:
    """What heads and neurons are, and of a program with wired parts all weights.

    What is folded into a bias that a checkpoint of the model has not is there too if the `whole` of it is asked for;
    else it raises `ProjectError`, as gated neurons do that fire the same everywhere.
    """
    found: dict[str, Tensor] = {}
    if getattr(program.model.plan, "wired", ()):  # programs that were written before there were wires have none
        own = program.model.plan.weights
        weights = {name: _copy(array) for name, array in own.items() if not name.startswith(("mean.", "lifted."))}
        found |= stored(program.decoder, weights)
    for layer, ((attention, mlp), block) in enumerate(zip(program.model.layers, program.decoder.blocks, strict=True)):
        if not whole:
            _require_weights(mlp)
        pieces = {**_heads(attention, program.decoder), **_neurons(mlp, block)}
        found |= {f"L{layer:02d}.{name}": tensor for name, tensor in _there(pieces, block, program, whole)}
    return found


def _heads(attention: Any, decoder: Decoder) -> dict[str, Tensor]:
    sizes, letter = decoder.sizes, "G" if decoder.grouped else "H"
    reads: Iterable[tuple[Tensor, Tensor | None]]
    if hasattr(attention, "w_in"):  # format 1: queries, keys and values are one matrix
        reads = zip(_copy(attention.w_in).chunk(3, 1), _copy(attention.b_in).chunk(3), strict=True)
    else:
        weights = [_copy(getattr(attention, f"w_{name}")) for name in "qkv"]
        reads = zip(weights, [_maybe(attention, f"b_{name}") for name in "qkv"], strict=True)
    found = {"H*.O": _copy(attention.w_out).view(sizes.head, sizes.dim, sizes.model), "ATTN.B": _copy(attention.b_out)}
    for name, (weight, bias) in zip(("H*.Q", f"{letter}*.K", f"{letter}*.V"), reads, strict=True):
        found[name] = weight.view(sizes.model, -1, sizes.dim)
        if bias is not None:
            found[f"{name}.bias"] = bias.view(-1, sizes.dim)
    return found


def _neurons(mlp: Any, block: Block) -> dict[str, Tensor]:
    found = {"N*.OUT": _copy(mlp.w_out), "MLP.B": _copy(mlp.b_out)}
    if block.mlp.gate is None:
        return found | {"N*.IN": _copy(mlp.w_in), "N*.IN.bias": _copy(mlp.b_in)}
    return found | {"N*.GATE": _copy(mlp.w_gate), "N*.UP": _copy(mlp.w_up)} | _biases(mlp)


def _require_weights(mlp: Any) -> None:
    """Raise `ProjectError` for a gated neuron that fires the same everywhere."""
    if told := [neuron for neuron, _ in constants(mlp)]:
        raise ProjectError(f"neuron {told[0]} fires the same everywhere, which no weights of a gated neuron do")


def constants(mlp: Any) -> list[tuple[int, float]]:
    """The gated neurons of a layer that fire the same everywhere, with what they fire."""
    called = {neuron for neuron, _ in mlp.fires} | {*mlp.sums.neurons}
    told = [neuron for neuron in getattr(mlp, "told", ()) if neuron not in called]
    return [(neuron, float(mlp.b_in[neuron])) for neuron in told]


def _biases(mlp: Any) -> dict[str, Tensor]:
    """The biases of gated neurons."""
    found = {"N*.GATE.bias": _maybe(mlp, "b_gate"), "N*.UP.bias": _maybe(mlp, "b_up")}
    return {name: bias for name, bias in found.items() if bias is not None}


def _there(pieces: Mapping[str, Tensor], block: Block, program: Program, whole: bool) -> Iterator[tuple[str, Tensor]]:
    """The pieces that a checkpoint of the model has; on the `whole`, biases too that are not 0 and it has not."""
    biased = {"ATTN.B": block.attention.o.bias, "MLP.B": block.mlp.write.bias, "N*.IN.bias": block.mlp.first.bias}
    for name, tensor in pieces.items():
        if biased.get(name, True) or (whole and bool(tensor.any())):
            yield name, tensor
        elif bool(tensor.any()):
            raise ProjectError(
                f"{program.directory} has means in the place of parts, and its model no bias {name} that they could be"
            )


def _maybe(piece: Any, name: str) -> Tensor | None:
    return _copy(getattr(piece, name)) if hasattr(piece, name) else None


def _copy(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))
