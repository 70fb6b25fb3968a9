"""A device that is not there: tensors that say they are elsewhere, hold their numbers here, and refuse to be mixed.

What runs on it runs on a GPU as far as tensors of two devices meeting is concerned, which is what breaks there first.
PyTorch's "meta" stands for the device, since autograd runs what is on it on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

FAR = torch.device("meta")
_Generator = torch.Generator
_aten = torch.ops.aten
_MAY_COPY = {_aten._to_copy.default, _aten.copy_.default}
_MAY_INDEX = {_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default}
"""Places may be named by tensors of the CPU on any device."""


class Far(Tensor):
    """A tensor on `FAR` whose numbers are those of `near`."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> Far:
        found = torch.Tensor._make_wrapper_subclass(
            cls,
            near.shape,
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            device=FAR,
            requires_grad=False,
        )
        found.near = near
        return found

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"Far({self.near!r})"

    def tolist(self) -> Any:
        return self.near.tolist()

    def numpy(self, **_: bool) -> Any:
        raise TypeError("what is on a far device cannot be an array; take .cpu() first")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {})


class Distance(TorchDispatchMode):
    """While it is on, tensors can be made on, and moved to, the device that is not there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {})

    def __enter__(self) -> Distance:
        self._literals = Literals()
        self._literals.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._literals.__exit__(*error)


@contextmanager
def far_away() -> Iterator[torch.device]:
    """The device, while it can be used; what is drawn at random is drawn here."""
    with Distance(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "Generator", lambda *_: _Generator())
        yield FAR


class Literals(TorchFunctionMode):
    """Tensors of numbers that Python holds are made here, and then moved: "meta" would keep their shapes alone."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        if func is Tensor.new_tensor:
            like, numbers = args
            return torch.tensor(numbers, dtype=like.dtype).to(like.device)
        return func(*args, **kwargs)


def dispatched(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """`func` on near tensors; its results are far if its tensors are, or if it makes them there."""
    tensors = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)]
    far = any(isinstance(each, Far) for each in tensors)
    near = [each for each in tensors if not isinstance(each, Far) and each.ndim]
    if far and near and func not in _MAY_COPY and not (func in _MAY_INDEX and isinstance(args[0], Far)):
        raise RuntimeError(f"{func}: tensors of two devices, one here of shape {tuple(near[0].shape)}")
    devices = [torch.device(each) for each in (*args, *kwargs.values()) if isinstance(each, torch.device)]
    away = devices[0] == FAR if devices else far
    if func is _aten.copy_.default:
        away = isinstance(args[0], Far)
    if torch.Tag.inplace_view in func.tags:  # the outside takes the new shape as well
        with no_dispatch():
            func(*args, **kwargs)
    whose = {id(each.near): each for each in tensors if isinstance(each, Far)}

    def here(each: Any) -> Any:
        if isinstance(each, torch.device):
            return torch.device("cpu")
        return each.near if isinstance(each, Far) else each

    def wrapped(each: Any) -> Any:
        if not isinstance(each, Tensor) or isinstance(each, Far):
            return each
        if id(each) in whose:
            return whose[id(each)]
        return Far(each) if away else each

    return tree_map(wrapped, func(*tree_map(here, args), **tree_map(here, kwargs)))
