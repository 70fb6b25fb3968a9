"""A student as it is printed: every number rounded, and what nothing reads left out.

What is printed is what was measured, so this comes before anything is measured of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from pellucid.forms.forms import rounded
from pellucid.stages.understand.plan import Plan
from pellucid.stages.understand.student import PLACES, SHIFTS, Student, bends, reach


def printed(student: Student) -> Student:
    """`student` with every number rounded to what is printed, and with what nothing reads left out."""
    if student.groups is None:
        raise ValueError("a student is printed once its kinds have levels")
    tensors = {name: _rounded(student[name].detach()) for name in student.tensors}
    limits = torch.tensor([float(bend) for bend in bends(student.model.n_ctx)])
    for name, tensor in tensors.items():
        if name.endswith(".curve"):
            tensors[name] = _rounded(tensor / limits.to(tensor)) * limits.to(tensor)
    small = replace(student, tensors=tensors, masks={})
    _drop_empty(small)
    for layer in reversed(range(student.model.decoder.layers)):
        _drop_unread(small, layer)
    return small


def _drop_empty(student: Student) -> None:
    """Leave out what reads kinds that no token is of, or late values that sum nothing."""
    held, heads = student.tensors, student.model.decoder.sizes.head
    kinds = (student.kinds() != 0).any(0)
    late: list[Tensor] = []
    for layer in range(student.model.decoder.layers):
        at = f"L{layer:02d}"
        for name in (f"{at}.offers", f"{at}.seeks.query", f"{at}.seeks.key"):
            held[name] *= kinds[:, None]
            if layer:
                held[f"{name}.late"] *= late[-1]
        seen = [torch.cat([kinds, late[n - 1]] if n else [kinds]).repeat(heads) for n in reach(layer)]
        here = [late[n] for n in reach(layer)[:-1]]
        known = torch.cat([kinds.new_ones(1 + PLACES), kinds.repeat(SHIFTS), *seen, *here])
        for name in (f"{at}.values", f"{at}.late"):
            if name in held:
                held[name][: len(known)] *= known[:, None]
        if f"{at}.late" in held:
            late.append((held[f"{at}.late"] != 0).any(0))


def _drop_unread(student: Student, layer: int) -> None:
    """Leave out what nothing reads: values of a layer, late values, and half products of a head."""
    held, at = student.tensors, f"L{layer:02d}"
    held[f"{at}.values"] *= (held[f"{at}.neurons"] != 0).any(1)
    if f"{at}.late" in held:
        held[f"{at}.late"] *= late_read(student, layer)
    seeks = [name for name in held if name.startswith(f"{at}.seeks.")]
    sides = [[name for name in seeks if ("key" in name) == key] for key in (False, True)]
    asked, answered = (torch.stack([_any(held[name]) for name in side]).any(0) for side in sides)
    for name in seeks:
        both = (asked & answered).to(held[name])
        held[name] *= both.reshape(*both.shape, *[1] * (held[name].ndim - 2))


def _any(table: Tensor) -> Tensor:
    """For every head and pair, whether `table` [head, rank, …] says anything."""
    return (table != 0).reshape(*table.shape[:2], -1).any(-1)


def late_read(student: Student, layer: int) -> Tensor:
    """Which late values of a layer something reads: heads of the next, or values of later layers."""
    held, plan, heads = student.tensors, student.plan, student.model.decoder.sizes.head
    following = f"L{layer + 1:02d}"
    found = torch.zeros(plan.late, dtype=torch.bool, device=held[f"{following}.offers.late"].device)
    for name in ("offers.late", "seeks.query.late", "seeks.key.late"):
        found |= (held[f"{following}.{name}"] != 0).flatten(0, -2).any(0)
    for later in range(layer + 1, student.model.decoder.layers):
        for name in (f"L{later:02d}.values", f"L{later:02d}.late"):
            if name in held:
                reads = (held[name] != 0).any(1)
                for start in late_rows(plan, heads, later, layer):
                    found |= reads[start : start + plan.late]
    return found


def late_rows(plan: Plan, heads: int, later: int, layer: int) -> Iterator[int]:
    """Where the rows of a value of layer `later` begin that read the late values of `layer`: by each head, and here."""
    start = 1 + PLACES + SHIFTS * plan.kinds
    for n in reach(later):
        each = plan.kinds + plan.late * (n > 0)
        if n == layer + 1:
            yield from (start + each * head + plan.kinds for head in range(heads))
        start += heads * each
    if layer in reach(later)[:-1]:
        yield start + plan.late * reach(later).index(layer)


def _rounded(tensor: Tensor) -> Tensor:
    """`tensor` to the significant digits that are printed."""
    found, there = torch.zeros_like(tensor), tensor != 0
    found[there] = torch.tensor([rounded(x) for x in tensor[there].tolist()]).to(tensor)
    return found
