"""Shapes of NumPy arrays in annotations, for modules that a program is run by.

They are jaxtyping's where something reads them: a type checker, or tests, which import it first. Annotations are texts
otherwise, and importing jaxtyping takes as long as importing NumPy.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Float32 as Float32
    from jaxtyping import Float64 as Float64
    from jaxtyping import Int64 as Int64
    from jaxtyping import Integer as Integer
else:
    Float32 = Float64 = Int64 = Integer = None
