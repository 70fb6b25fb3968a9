"""Mixed precision: products in bfloat16, sums and what they are compared by in float32.

Logits are not rounded: those of GPT-2 lie far from zero, where bfloat16 is coarse. A student's gradients then point
where they did but for less than what one batch differs from the next (Micikevicius et al., ICLR 2018, is the practice);
what is kept is judged in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from pellucid.exact.model import Model

WIDE = 192
"""How wide a model has to be for its products to be worth rounding."""
_MADE_FOR_IT = ("avx512_bf16", "amx_bf16", "bf16")
"""What a CPU says that multiplies bfloat16 faster than float32."""


def mixed(model: Model) -> AbstractContextManager[object]:
    """Within it, products of float32 are taken in bfloat16, if `model` is wide and its device is made for that."""
    kind = model.device.type
    worth = model.decoder.sizes.model >= WIDE and model.dtype == torch.float32
    return torch.autocast(kind, torch.bfloat16) if worth and multiplies_bfloat16(kind) else nullcontext()


def multiplies_bfloat16(kind: str) -> bool:
    """Whether devices of a `kind` here multiply bfloat16 faster than float32."""
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    ask: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)  # old releases lack it
    return kind == "cpu" and any(ask().get(name) for name in _MADE_FOR_IT)
