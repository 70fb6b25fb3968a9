"""Devices to run on."""

from __future__ import annotations

import torch

from pellucid.base.errors import PellucidError


def device_of(name: str) -> torch.device:
    """The device of this name: `cpu`, `cuda`, `cuda:1`. Raises `PellucidError` where PyTorch has none such here."""
    try:
        return torch.empty(1, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError):
        count = torch.cuda.device_count()
        there = ", ".join(["cpu", *(f"cuda:{number}" for number in range(count))])
        raise PellucidError(
            f"there is no device {name!r} here; PyTorch {torch.__version__} sees {there}"
            + ("" if count else ". For a GPU, install a PyTorch that is built for it")
        ) from None
