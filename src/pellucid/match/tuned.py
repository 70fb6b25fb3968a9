"""What tuning left: vectors of lifted parts that no longer follow from subject, text and seed alone, kept beside them.

`tuned.safetensors` in the project directory holds them; it is small, and belongs into git.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from pellucid.base.address import Address
from pellucid.base.files import atomic_path, sha256_files, sha256_text
from pellucid.exact.model import Model
from pellucid.match.effect import divergence
from pellucid.match.lifted import LiftedParts
from pellucid.match.lifting import Vectors
from pellucid.match.linking import PROMISED, Unit, units, worth
from pellucid.match.project import Project
from pellucid.match.record import batches
from pellucid.match.sources import Rows, Sources, first_tokens, rows_for
from pellucid.match.stored import Channel, Compares, Lifted, Stored
from pellucid.match.tune import TOKENS_PER_NUMBER, Tensors, Tunable, tune
from pellucid.match.twin import Twin

TUNED = "tuned.safetensors"
CHECKPOINT = "scratch/tuning.safetensors"
FIT_TOKENS = 1_000_000
"""The least tokens of fit text that are asked for, where there are as many: numbers fit less to ones met once."""
CHECK_TOKENS = {False: 8_000, True: 4_000}
"""Tokens of tune text that tuning is stopped by."""
START = {"both": 2e-3, "next": 1e-2}
"""Nats per token that what is tuned together may cost before it is tuned, by what the gate asks for."""
START_TOKENS = 2_000
"""Tokens of tune text that this is measured on."""
SKIPS = 3
"""Units that cost too much and are passed over."""


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
        with atomic_path(path) as temporary:
            safetensors.torch.save_file(held, temporary, metadata=facts)

    @staticmethod
    def read(path: Path, state: str) -> Tuned | None:
        """What `write` stored of the same `state`; None where there is none, or it cannot be read."""
        try:
            with safetensors.safe_open(path, "pt") as file:
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


def tune_parts(project: Project, sources: Sources, lifted: LiftedParts, minutes: float, *, quick: bool) -> Tuned:
    """Tune what of `lifted` can be tuned together, for about `minutes`, and store it. Goes on from a killed run."""
    model, seed = project.model, project.manifest.settings.seed
    check = first_tokens(rows_for(project, "tune", 4 * CHECK_TOKENS[quick]), CHECK_TOKENS[quick])
    forms = starting(model, sources, lifted, check, project.manifest.gate.asks)
    tunable = Tunable.of(model, forms)
    fit = rows_for(project, "fit", max(FIT_TOKENS, math.ceil(4 * TOKENS_PER_NUMBER * tunable.numbers)))
    about = sha256_text(f"{tuned_state(project)} {' '.join(map(str, sorted(forms)))}")
    path = project.directory / CHECKPOINT
    tuning = tune(tunable, fit, check, 60 * minutes, path, about, seed)
    tuned = Tuned(tuning.best, dict(tunable.channels), tuning.first_kl, tuning.best_kl, tuning.step)
    tuned.write(project.directory / TUNED, tuned_state(project))
    path.unlink(missing_ok=True)
    return tuned


def starting(model: Model, sources: Sources, lifted: LiftedParts, check: Rows, asks: str) -> dict[Address, Stored]:
    """The parts to tune together, those cheapest for their worth first.

    Of where heads look and what neurons read, what costs together at most `START` before it is tuned; of what heads
    move, what adds no more to that than linking is expected to allow in all.
    """
    costs = units(sources, lifted)
    able = [unit for unit in costs if all(tunes(lifted.forms.get(address)) for address in unit)]
    worths = dict(zip(able, worth(able, sources.effects | lifted.effects, model.config), strict=True))
    able.sort(key=lambda unit: costs[unit] / worths[unit])
    rows = first_tokens(check, START_TOKENS)

    def cost(chosen: Sequence[Unit]) -> float:
        return joint_cost(model, forms_of(chosen, lifted), rows)

    found = filled([unit for unit in able if unit[0].is_code], [], cost, START[asks])
    moved = [unit for unit in able if not unit[0].is_code]
    return forms_of(filled(moved, found, cost, cost(found) + PROMISED[asks]), lifted)


def filled(
    able: Sequence[Unit], chosen: Sequence[Unit], cost: Callable[[Sequence[Unit]], float], most: float
) -> list[Unit]:
    """`chosen` and as many of `able`, from the first, as cost at most `most` together; `SKIPS` may be passed over."""
    found, left = list(chosen), list(able)
    for _ in range(1 + SKIPS):
        low, high = 0, len(left)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if cost([*found, *left[:middle]]) <= most else (low, middle - 1)
        found, left = found + left[:low], left[low + 1 :]
    return found


def tunes(form: Stored | None) -> bool:
    """Whether a form has vectors that can be tuned."""
    return isinstance(form, Channel | Compares) or (isinstance(form, Lifted) and form.rank > 0)


def forms_of(chosen: Sequence[Unit], lifted: LiftedParts) -> dict[Address, Stored]:
    """The forms of units."""
    return {address: lifted.forms[address] for unit in chosen for address in unit}


def joint_cost(model: Model, forms: Mapping[Address, Stored], rows: Rows) -> float:
    """KL(subject ‖ twin) in nats per token."""
    twin, total = Twin(model, forms), 0.0
    with torch.inference_mode():
        for ids in batches(rows, model.n_vocab):
            total += divergence(model.logits(ids), twin.logits(ids))
    return total / rows.numel()


def with_tuned(lifted: LiftedParts, vectors: Vectors, tuned: Tuned) -> LiftedParts:
    """The candidates with tuned forms, whose losses are shares of what they cost together after tuning.

    Neurons of the same layers that were not tuned are candidates no longer: what they would read has changed.
    """
    forms = {address: form for address, form in tuned.forms(vectors).items() if address in lifted.losses}
    before = math.fsum(lifted.losses[address] for address in forms)
    scale = tuned.after / before if before else 1.0
    losses = lifted.losses | {address: scale * lifted.losses[address] for address in forms}
    stay = {a: f for a, f in lifted.forms.items() if a.kind != "IN" or a.layer not in tuned.channels}
    return replace(lifted, forms=stay | forms, losses=losses)


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
        width, where = model.config.n_inner, torch.tensor(neurons)
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
