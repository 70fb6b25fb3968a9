"""The table of activation functions: Hugging Face's to the bit, a program's beside them, and names that none has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers.activations import ACT2FN

from pellucid.base.errors import SubjectError
from pellucid.exact import ops
from pellucid.exact.graph import Graph, GraphNode
from pellucid.exact.rules import fuse
from pellucid.family.activations import ACTIVATIONS, activation, printed
from pellucid.program import runtime


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_torch_computes_what_hugging_face_does(name: str) -> None:
    x = torch.cat([torch.linspace(-12, 12, 1001), torch.randn(1000), torch.tensor([0.0, -0.0, 1e-30])])[None, None]
    assert torch.equal(activation(name).torch(x), ACT2FN[name](x))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_program_computes_the_same(name: str) -> None:
    x = torch.cat([torch.linspace(-30, 30, 100_001), torch.linspace(-100, 100, 1001)])
    got = x.numpy().copy()
    runtime.ACTIVATIONS[name](got)
    wanted = activation(name).torch(x.double()).numpy()
    assert np.abs(got - wanted).max() <= 1e-6 + 1e-6 * np.abs(wanted).max()


def test_the_table_of_programs_is_printed_from_this_one() -> None:
    """Where this fails, let the end of `program/runtime.py` be what `printed` says."""
    assert Path(runtime.__file__).read_text(encoding="utf-8").endswith(f"\n\n{printed(ACTIVATIONS)}")
    assert printed(["relu"]).split("\n")[1:-2] == ['    "relu": _relu,']


@pytest.mark.parametrize("name", [name for name, found in ACTIVATIONS.items() if found.alike])
def test_what_is_alike_is_computed_in_one_step(name: str) -> None:
    x = torch.linspace(-9, 9, 1001)[None, None]
    (node,) = fuse(Graph(["x"], [GraphNode("y", ops.activate, ("x",), options={"function": name})])).nodes
    assert node.options == {"function": activation(name).alike} == {"function": "gelu_pytorch_tanh"}
    torch.testing.assert_close(node.op(x, **node.options), activation(name).torch(x), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gelu_neo", "no activation function 'gelu_neo'; did you mean gelu_new or"),
        ("xielu", "no activation function 'xielu'"),
        ("#", "no activation function '#'; supported are gelu_new, gelu, "),
    ],
)
def test_names_that_no_function_has(name: str, said: str) -> None:
    with pytest.raises(SubjectError, match=said):
        activation(name)


def test_the_table_is_read_without_torch() -> None:
    run = "import sys, pellucid.family.activations; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", run], check=True)
