"""The partition: which parameters an address owns. Every parameter of a subject has exactly one owner.

QK owns a head's query and key columns with their biases; OV its value columns, their biases, and the rows through which
it writes; IN a neuron's reading column and bias, OUT its writing row. A tied embedding belongs to EMB.TOK.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pellucid.base.address import Address, Kind
from pellucid.base.errors import PellucidError
from pellucid.family.gpt2 import GPT2Config, tensor_shapes

Form = Literal["raw", "lifted", "source"]
Residual = Literal["on", "dropped"]

_WHOLE: dict[Kind, tuple[str, ...]] = {
    "EMB.TOK": ("wte.weight",),
    "EMB.POS": ("wpe.weight",),
    "LN1": ("h.{layer}.ln_1.weight", "h.{layer}.ln_1.bias"),
    "ATTN.B": ("h.{layer}.attn.c_proj.bias",),
    "LN2": ("h.{layer}.ln_2.weight", "h.{layer}.ln_2.bias"),
    "MLP.B": ("h.{layer}.mlp.c_proj.bias",),
    "LNF": ("ln_f.weight", "ln_f.bias"),
    "UNEMB": ("lm_head.weight",),
}


@dataclass(frozen=True)
class Part:
    """One or several addresses treated together.

    `source` names file and function of what runs, `layer_00.py:previous_token`, `described` of a source that does not.
    """

    addresses: tuple[Address, ...]
    form: Form = "raw"
    residual: Residual = "on"
    source: str | None = None
    described: str | None = None


@dataclass(frozen=True)
class Slice:
    """A rectangle of a parameter tensor; `columns` is None for a vector."""

    tensor: str
    rows: slice
    columns: slice | None = None

    @property
    def index(self) -> tuple[slice, ...]:
        """What to index the tensor with."""
        return (self.rows,) if self.columns is None else (self.rows, self.columns)

    @property
    def size(self) -> int:
        """How many parameters it holds."""
        columns = 1 if self.columns is None else self.columns.stop - self.columns.start
        return int((self.rows.stop - self.rows.start) * columns)


def parameters(address: Address, config: GPT2Config) -> list[Slice]:
    """The parameters that `address` owns. Raises `PellucidError` for an address that the subject does not have."""
    if address not in config.shape:
        raise PellucidError(f"{address} names no part of this subject")
    block = f"h.{address.layer}"
    match address.kind:
        case "QK":
            return _reads(address, config, 0) + _reads(address, config, 1)
        case "OV":
            writes = Slice(f"{block}.attn.c_proj.weight", _head(address, config), slice(0, config.n_embd))
            return [*_reads(address, config, 2), writes]
        case "IN":
            neuron = slice(address.index, address.index + 1)
            reads = Slice(f"{block}.mlp.c_fc.weight", slice(0, config.n_embd), neuron)
            return [reads, Slice(f"{block}.mlp.c_fc.bias", neuron)]
        case "OUT":
            neuron = slice(address.index, address.index + 1)
            return [Slice(f"{block}.mlp.c_proj.weight", neuron, slice(0, config.n_embd))]
        case _:
            return [_whole(name.format(layer=address.layer), config) for name in _WHOLE[address.kind]]


def count(address: Address, config: GPT2Config) -> int:
    """How many parameters `address` owns."""
    return sum(owned.size for owned in parameters(address, config))


def _whole(tensor: str, config: GPT2Config) -> Slice:
    shape = tensor_shapes(config)[tensor]
    return Slice(tensor, slice(0, shape[0]), slice(0, shape[1]) if len(shape) == 2 else None)


def _head(address: Address, config: GPT2Config, part: int = 0) -> slice:
    """The columns of a head in part 0 (queries), 1 (keys) or 2 (values) of a joint projection."""
    start = part * config.n_embd + address.index * config.d_head
    return slice(start, start + config.d_head)


def _reads(address: Address, config: GPT2Config, part: int) -> list[Slice]:
    columns = _head(address, config, part)
    joint = f"h.{address.layer}.attn.c_attn"
    return [Slice(f"{joint}.weight", slice(0, config.n_embd), columns), Slice(f"{joint}.bias", columns)]
