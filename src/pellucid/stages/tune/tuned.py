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
from pellucid.forms.lifting import Vectors
from pellucid.forms.stored import Channel, Compares, Lifted, Stored
from pellucid.project.project import Project
from pellucid.stages.lift.lifted import LiftedParts
from pellucid.stages.tune.tune import Tensors

TUNED = "tuned.safetensors"


@dataclass(frozen=True)
class Tuned:
    """Tuned vectors by name, and what the parts that hold them cost together before and after, in nats per token."""

    tensors: Tensors
    channels: dict[int, tuple[int, ...]]
    before: float
    after: float
    steps: int

    def forms(self, vectors: Vectors) -> dict[Address, Stored]:
        """What each tuned part runs."""
        found: dict[Address, Stored] = {}
        for layer, neurons in self.channels.items():
            read, write, bias = (self.tensors[f"L{layer:02d}.IN.{name}"] for name in ("read", "write", "bias"))
            for n, neuron in enumerate(neurons):
                address = Address("IN", layer, neuron)
                found[address] = Channel(address, read, write[:, n], float(bias[n]))
        for name in self.tensors:
            part, _, last = name.rpartition(".")
            if last == "read_q":
                address = Address.parse(part)
                q, k, bias = (self.tensors[f"{part}.{own}"] for own in ("read_q", "read_k", "bias"))
                found[address] = Compares(address, q, k, bias)
            elif last == "read" and part.endswith(".OV"):
                address = Address.parse(part)
                mean = vectors.bases[address.layer].mean[address.index]
                found[address] = Lifted(address, mean, self.tensors[name], self.tensors[f"{part}.write"])
        return found

    def write(self, path: Path, state: str) -> None:
        """Store it, atomically; `state` says what it was tuned from."""
        neurons = {f"L{layer:02d}.IN.neurons": torch.tensor(of_layer) for layer, of_layer in self.channels.items()}
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
            channels = {int(name[1:].partition(".")[0]): tuple(at.tolist()) for name, at in numbers.items()}
            return Tuned(tensors, channels, float(facts["before"]), float(facts["after"]), int(facts["steps"]))
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
    stay = {a: f for a, f in lifted.forms.items() if a.kind != "IN" or a.layer not in tuned.channels}
    return replace(lifted, forms=stay | forms, losses=losses, together=frozenset(forms))


def named_tuned(model: Model, vectors: Vectors, tuned: Tuned | None) -> dict[str, Tensor]:
    """All vectors as a program reads them, tuned ones in the place of others.

    A tuned part has a tensor `tuned` as well: it runs at the rank that it was tuned at alone. Neurons that were not
    tuned have no numbers (NaN) where others of their layer were.
    """
    found = vectors.named(model)
    for address, form in tuned.forms(vectors).items() if tuned else ():
        if isinstance(form, Compares):
            found |= {f"{address}.{name}": getattr(form, name) for name in ("read_q", "read_k", "bias")}
        elif isinstance(form, Lifted):
            found |= vectors.moved(model, form)
        if not isinstance(form, Channel):
            found[f"{address}.tuned"] = torch.tensor([float(form.rank)])
    if tuned is None:
        return found
    for layer, neurons in tuned.channels.items():
        at = f"L{layer:02d}.IN"
        read, write, bias = (tuned.tensors[f"{at}.{name}"] for name in ("read", "write", "bias"))
        width, where = model.decoder.sizes.neuron, torch.tensor(neurons)
        nothing = torch.full((len(write), width), math.nan)
        found |= {f"{at}.read": read, f"{at}.write": nothing.index_copy(1, where, write)}
        found |= {f"{at}.centre": torch.zeros(len(write))}
        found |= {f"{at}.offset": torch.full((width,), math.nan).index_copy(0, where, bias)}
        found[f"{at}.tuned"] = torch.tensor([float(len(write))])
    return found


def describe(tuning: Tuned) -> str:
    """What tuning came to, in a line."""
    parts = len({name.rpartition(".")[0] for name in tuning.tensors if not name.startswith("L") or ".IN." not in name})
    neurons = sum(map(len, tuning.channels.values()))
    return (
        f"tuned {neurons:,} neurons and {parts:,} heads for {tuning.steps:,} steps: together they cost "
        f"{tuning.before:.2e} nats a token before, {tuning.after:.2e} after (tune text)"
    )
