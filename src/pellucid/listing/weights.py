"""`weights.safetensors` of a project: the weights, the means of parts, and the vectors of lifted ones.

Since format 2 weights stand under the names of addresses (`family/canonical.py`); programs of format 1 read them under
those of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
from torch import Tensor

from pellucid.base.tensors import open_tensors, save_tensors
from pellucid.base.trusted import PROGRAM
from pellucid.family.canonical import canonical, stored
from pellucid.family.shapes import shapes
from pellucid.listing.parse import is_format_1
from pellucid.subject.load import Subject

FILE = "weights.safetensors"


def write_weights(
    subject: Subject,
    directory: Path,
    means: Mapping[str, Tensor] | None = None,
    lifted: Mapping[str, Tensor] | None = None,
    *,
    format_1: bool | None = None,
) -> None:
    """Write `weights.safetensors`, unless it already holds this subject's and no other means or vectors are given.

    In format 1, or in that of the program that stands in `directory`.
    """
    if format_1 is None:
        format_1 = is_format_1(directory / PROGRAM)
    wanted = set(subject.weights if format_1 else shapes(canonical(subject.decoder)))
    extra, names = _held(directory / FILE, subject)
    if wanted <= names and means is None and lifted is None:
        return
    for prefix, given in (("mean", means), ("lifted", lifted)):
        if given is not None:
            extra = {name: tensor for name, tensor in extra.items() if not name.startswith(f"{prefix}.")}
            extra |= {f"{prefix}.{name}": tensor for name, tensor in given.items()}
    weights = subject.weights if format_1 else stored(subject.decoder, subject.weights)
    tensors = {name: tensor.float().contiguous() for name, tensor in {**weights, **extra}.items()}
    save_tensors(directory / FILE, tensors, {"subject": subject.weights_sha256})


def _held(path: Path, subject: Subject) -> tuple[dict[str, Tensor], set[str]]:
    """What the weights file holds beside the weights, and the names of all; none where it is not this subject's."""
    try:
        with open_tensors(path, "pt") as file:
            names = set(file.keys())
            if (file.metadata() or {}).get("subject") != subject.weights_sha256:
                return {}, set()
            if not any(set(wanted) <= names for wanted in (subject.weights, shapes(canonical(subject.decoder)))):
                return {}, set()
            return {name: file.get_tensor(name) for name in names if name.startswith(("mean.", "lifted."))}, names
    except (OSError, safetensors.SafetensorError):
        return {}, set()
