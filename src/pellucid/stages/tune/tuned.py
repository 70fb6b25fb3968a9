"""What tuning left: vectors of lifted parts that no longer follow from subject, text and seed alone, kept beside them.

`tuned.safetensors` in the project directory holds them; it is small, and belongs into git.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from pellucid.base.address import Address
from pellucid.base.files import sha256_files, sha256_text
from pellucid.base.tensors import open_tensors, save_tensors
from pellucid.exact.model import Model
from pellucid.forms.form import Sharing, StoredForm, grouped
from pellucid.forms.known import KINDS
from pellucid.forms.lifting import Vectors
from pellucid.project.project import Project
from pellucid.stages.lift.lifted import LiftedParts
from pellucid.stages.tune.tune import Tensors

TUNED = "tuned.safetensors"


@dataclass(frozen=True)
class Tuned:
    """Tuned vectors by name, and what the parts that hold them cost together before and after, in nats per token."""

    tensors: Tensors
    sharing: Sharing
    """The parts that share vectors, by the name of these: `L01.IN`."""
    before: float
    after: float
    steps: int

    def forms(self, vectors: Vectors) -> dict[Address, StoredForm]:
        """What each tuned part runs."""
        kinds = [kind.restored(self.tensors, self.sharing, vectors.mean) for kind in KINDS.values()]
        return {form.address: form for forms in kinds for form in forms}

    def write(self, path: Path, state: str) -> None:
        """Store it, atomically; `state` says what it was tuned from."""
        neurons = {f"{name}.neurons": torch.tensor(parts) for name, parts in self.sharing.items()}
        facts = {"before": repr(self.before), "after": repr(self.after), "steps": str(self.steps), "state": state}
        held = {name: tensor.cpu().contiguous() for name, tensor in {**self.tensors, **neurons}.items()}
        save_tensors(path, held, facts)

    @staticmethod
    def read(path: Path, state: str) -> Tuned | None:
        """What `write` stored of the same `state`; None where there is none, or it cannot be read."""
        try:
            with open_tensors(path, "pt") as file:
                facts = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if facts.get("state") != state:
                return None
            numbers = {name: tensors.pop(name) for name in list(tensors) if name.endswith(".neurons")}
            sharing = {name.removesuffix(".neurons"): tuple(at.tolist()) for name, at in numbers.items()}
            return Tuned(tensors, sharing, float(facts["before"]), float(facts["after"]), int(facts["steps"]))
        except (OSError, safetensors.SafetensorError, KeyError, ValueError):
            return None


def tuned_state(project: Project) -> str:
    """What tuned vectors belong to: subject, text and seed."""
    manifest = project.manifest
    return sha256_text(repr((manifest.subject, manifest.corpus.fit_sha256, manifest.settings.seed)))


def read_tuned(project: Project) -> Tuned | None:
    """What was tuned in this project, None if nothing was, or for another subject or text."""
    return Tuned.read(project.directory / TUNED, tuned_state(project))


def tuned_hash(project: Project) -> str:
    """A hash of what was tuned, empty where nothing was."""
    path = project.directory / TUNED
    return sha256_files([path]) if path.is_file() and read_tuned(project) else ""


def with_tuned(lifted: LiftedParts, vectors: Vectors, tuned: Tuned) -> LiftedParts:
    """The candidates with tuned forms, whose losses are shares of what they cost together after tuning.

    Neurons of the same layers that were not tuned are candidates no longer: what they would read has changed. What was
    tuned and is no candidate now, since a person has written about it, does not become one.
    """
    forms = {address: form for address, form in tuned.forms(vectors).items() if address in lifted.forms}
    before = math.fsum(lifted.losses[address] for address in forms)
    scale = tuned.after / before if before else 1.0
    losses = lifted.losses | {address: scale * lifted.losses[address] for address in forms}
    stay = {a: f for a, f in lifted.forms.items() if f"L{a.layer:02d}.{a.kind}" not in tuned.sharing}
    return replace(lifted, forms=stay | forms, losses=losses, together=frozenset(forms))


def named_tuned(model: Model, vectors: Vectors, tuned: Tuned | None) -> dict[str, Tensor]:
    """All vectors as a program reads them, tuned ones in the place of others.

    A tuned part has a tensor `tuned` as well: it runs at the rank that it was tuned at alone. Neurons that were not
    tuned have no numbers (NaN) where others of their layer were.
    """
    found = vectors.named(model)
    for group in grouped(model, tuned.forms(vectors).values()) if tuned else ():
        found |= group.named()
    return found


def describe(tuning: Tuned) -> str:
    """What tuning came to, in a line."""
    parts = len({name.rpartition(".")[0] for name in tuning.tensors} - set(tuning.sharing))
    neurons = sum(map(len, tuning.sharing.values()))
    return (
        f"tuned {neurons:,} neurons and {parts:,} heads for {tuning.steps:,} steps: together they cost "
        f"{tuning.before:.2e} nats a token before, {tuning.after:.2e} after (tune text)"
    )
