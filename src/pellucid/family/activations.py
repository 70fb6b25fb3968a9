"""The one table of activation functions: by its name, how PyTorch computes it, and how a program does, with NumPy.

The functions are those of Hugging Face that have no parameters to learn, to the bit. A program computes them in place,
to float32 precision, by functions of `program/runtime.py`; the table there is printed from this one (`printed`), which
`tests/family/test_activations.py` holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pellucid.base.errors import SubjectError, closest

if TYPE_CHECKING:
    from torch import Tensor

Function = Callable[["Tensor"], "Tensor"]


@dataclass(frozen=True)
class Activation:
    """One function: `torch` of a tensor, and `numpy`, an expression for what changes a float32 array in place.

    `alike` names what is the same but for rounding, and computed in one step.
    """

    torch: Function
    numpy: str
    alike: str = ""


def _library(name: str, **options: Any) -> Function:
    """A function of `torch.nn.functional`, which is loaded when it is called first."""

    def function(x: Tensor) -> Tensor:
        from torch.nn import functional

        found: Tensor = getattr(functional, name)(x, **options)
        return found

    return function


def _gelu_new(x: Tensor) -> Tensor:
    """Gaussian error linear units, tanh form (Hendrycks & Gimpel, 2016, section 2)."""
    return 0.5 * x * (1.0 + (math.sqrt(2.0 / math.pi) * (x + 0.044715 * x.pow(3.0))).tanh())


def _gelu_python_tanh(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + (math.sqrt(2.0 / math.pi) * (x + 0.044715 * x.pow(3.0))).tanh())


def _gelu_fast(x: Tensor) -> Tensor:
    return 0.5 * x * (1.0 + (x * 0.7978845608 * (1.0 + 0.044715 * x * x)).tanh())


def _gelu_accurate(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x.pow(3))).tanh())


_TANH = "gelu_pytorch_tanh"
ACTIVATIONS: dict[str, Activation] = {
    "gelu_new": Activation(_gelu_new, "_gelu_new", _TANH),
    "gelu": Activation(_library("gelu"), "_gelu"),
    "gelu_python": Activation(lambda x: x * 0.5 * (1.0 + (x / math.sqrt(2.0)).erf()), "_gelu"),
    "gelu_fast": Activation(_gelu_fast, "_gelu_new", _TANH),
    "gelu_accurate": Activation(_gelu_accurate, "_gelu_new", _TANH),
    "gelu_pytorch_tanh": Activation(_library("gelu", approximate="tanh"), "_gelu_new"),
    "gelu_python_tanh": Activation(_gelu_python_tanh, "_gelu_new", _TANH),
    "quick_gelu": Activation(lambda x: x * (1.702 * x).sigmoid(), "lambda x: _sigmoid_times(x, 1.702)"),
    "relu": Activation(_library("relu"), "_relu"),
    "relu2": Activation(lambda x: x.relu().square(), "_relu_squared"),
    "relu6": Activation(_library("relu6"), "lambda x: np.copyto(x, np.clip(x, 0, 6))"),
    "leaky_relu": Activation(_library("leaky_relu"), "lambda x: np.copyto(x, x * np.float32(0.01), where=x < 0)"),
    "silu": Activation(_library("silu"), "lambda x: _sigmoid_times(x, 1.0)"),
    "swish": Activation(_library("silu"), "lambda x: _sigmoid_times(x, 1.0)"),
    "mish": Activation(_library("mish"), "_mish"),
    "tanh": Activation(lambda x: x.tanh(), "_tanh"),
    "sigmoid": Activation(lambda x: x.sigmoid(), "_sigmoid"),
    "linear": Activation(lambda x: x, "_linear"),
}
"""By the names that configs have for them."""


def activation(name: str) -> Activation:
    """The function of that name. Raises `SubjectError` that names the nearest ones for any other."""
    if not is_known(name):
        raise SubjectError(f"there is no activation function {name!r:.60}{unknown(name)}")
    return ACTIVATIONS[name]


def is_known(name: object) -> bool:
    """Whether `name`, which may come from anywhere, is that of a function."""
    return isinstance(name, str) and name in ACTIVATIONS


def unknown(name: object) -> str:
    """What to say behind a name that no function has: those that are near it, or all that there are."""
    return closest(str(name), [*ACTIVATIONS]) or f"; supported are {', '.join(ACTIVATIONS)}"


def printed(names: Collection[str]) -> str:
    """The table of a program's `runtime.py`, with the functions of these names."""
    entries = "".join(f'    "{name}": {ACTIVATIONS[name].numpy},\n' for name in sorted(names))
    return f"ACTIVATIONS: dict[str, Callable[[Floats], None]] = {{\n{entries}}}\n"
