"""From a `config.json` to a decoder: which families are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pellucid.base.errors import SubjectError, closest
from pellucid.family import gemma, gpt2, llama, neox, qwen
from pellucid.family.blocks import Decoder

FAMILIES: Final[dict[str, Callable[[Mapping[str, Any], object], Decoder]]] = {
    "gpt2": gpt2.gpt2,
    **dict.fromkeys(llama.TYPES, llama.llama),
    **dict.fromkeys(qwen.TYPES, qwen.qwen),
    **dict.fromkeys(gemma.TYPES, gemma.gemma),
    **dict.fromkeys(neox.TYPES, neox.neox),
}
"""What reads the config of each `model_type`."""
HUB: Final = gpt2.HUB
"""Names on the hub that have no owner in front, with those that they are kept under."""


def decoder_of(fields: Mapping[str, Any], path: object) -> Decoder:
    """The decoder that the contents of the `config.json` at `path` describe.

    Raises `SubjectError` for a family that is not known, naming near ones, and for every setting that is malformed or
    changes the function in a way that is not understood.
    """
    if gpt2.is_gpt2(fields):
        return gpt2.gpt2(fields, path)
    kind = fields.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise _unknown(fields, path)
    return FAMILIES[kind](fields, path)


def remarks(fields: Mapping[str, Any], decoder: Decoder) -> Iterator[str]:
    """What a config says that is no reason to refuse it, and is told of."""
    kind = fields.get("model_type", decoder.names.model_type)
    if decoder.names.model_type and kind != decoder.names.model_type:
        yield f"config.json says model_type {kind!r:.60} and GPT-2's architecture; it is run as a GPT-2"


def _unknown(fields: Mapping[str, Any], path: object) -> SubjectError:
    kind, classes = fields.get("model_type"), fields.get("architectures")
    said = "has no model_type" if kind is None else f"asks for model_type {kind!r:.60}"
    also = f" and architectures {classes!r:.100}" if classes else ""
    near = closest(str(kind), [*FAMILIES]) if kind is not None else ""
    return SubjectError(f"{path} {said}{also}; supported are {', '.join(map(repr, FAMILIES))}{near}")
