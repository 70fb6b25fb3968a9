"""Tuning: the vectors of lifted parts together, end to end, on the KL to the subject.

What lifted parts hold is folded into the subject's weights, through which gradients flow, and KL(subject ‖ program) is
lowered on *fit* text; the best state on *tune* text is what stays. Matrices move along their momentum made orthogonal,
so that directions of small slopes get as far as those of large ones (Muon; Liu et al., arXiv 2502.16982), vectors by
Adam (arXiv 1412.6980). A tensor's learning rate is in proportion to its root mean square. A killed run goes on from its
last checkpoint; a step that diverges leads back to the best state, at half the rate.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.base.errors import PellucidError
from pellucid.base.memory import keeping
from pellucid.base.progress import track
from pellucid.base.schema import Count, parsed
from pellucid.base.tensors import open_tensors, save_tensors
from pellucid.base.terminal import tell
from pellucid.exact.graph import Graph
from pellucid.exact.model import Model
from pellucid.exact.rules import fuse
from pellucid.forms.form import Form, Sharing, Together, folded, grouped
from pellucid.measure.distance import mean_kl
from pellucid.measure.record import batches, compared_places, predictions

RATE = 4e-3
"""The learning rate of a tensor whose root mean square is 1, at first; it falls to nothing."""
MOMENTUM, SQUARES = 0.9, 0.99
"""How much of their running means slopes, and their squares, keep at each step."""
CHECK_STEPS = 20
"""Steps between looks at tune text."""
PATIENCE = 12
"""Looks without improvement after which the rate is halved: far from the end it may be too high to get nearer."""
SAVE_SECONDS = 30.0
DIVERGED = 4.0
"""A KL on tune text that is this many times the first one counts as divergence, as does one that is no number."""
TRIES = 5
"""So often the rate is halved; then tuning ends, with the best state."""
STREAM_BYTES = 1 << 30
"""The most memory that what the subject says of fit text may take; more is computed anew each time."""
TOKENS_PER_NUMBER = 0.5
"""Tokens of fit text that every tuned number needs: a token's prediction is compared in many directions at once."""

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Tunable:
    """The lifted parts that are tuned together; their vectors are tensors by name."""

    model: Model
    groups: tuple[Together[Any], ...]
    start: Tensors

    @staticmethod
    def of(model: Model, forms: Mapping[Address, Form]) -> Tunable:
        """What of `forms` can be tuned: means cannot."""
        groups = grouped(model, [forms[address] for address in sorted(forms) if forms[address].is_tuned])
        start: Tensors = {}
        for name, tensor in ((name, tensor) for group in groups for name, tensor in group.vectors.items()):
            # laid out as they are stored, so that a run that goes on ends the same
            here = tensor.detach().to(model.device, torch.float32)
            start[name] = here.clone(memory_format=torch.contiguous_format)
        return Tunable(model, tuple(groups), start)

    @cached_property
    def graph(self) -> Graph:
        """What steps run with `step_weights`: made once, since a graph keeps its plans."""
        graph = fuse(self.model.graph)
        shorter = {node.name: node for group in self.groups for node in map(group.shorter, graph.nodes) if node}
        return Graph(graph.inputs, [shorter.get(node.name, node) for node in graph.nodes])

    @cached_property
    def whole(self) -> list[Together[Any]]:
        """Those that steps run from their vectors: that is less to do than to fold them into weights."""
        return [group for group in self.groups if any(map(group.shorter, self.model.graph.nodes))]

    @property
    def sharing(self) -> Sharing:
        """Which parts share vectors, by the name of these."""
        return {name: parts for group in self.groups for name, parts in group.sharing.items()}

    @property
    def numbers(self) -> int:
        """How many numbers are tuned."""
        return sum(tensor.numel() for tensor in self.start.values())

    def weights(self, tensors: Tensors) -> Tensors:
        """The subject's weights with `tensors` folded in; gradients flow to them."""
        return self.model.weights | folded(self.model, self.groups, tensors)

    def step_weights(self, tensors: Tensors) -> Tensors:
        """The same for `graph`, beside the `tensors` that it runs with instead."""
        rest = [group for group in self.groups if group not in self.whole]
        return self.model.weights | folded(self.model, rest, tensors) | tensors


@dataclass(frozen=True)
class _Facts:
    """What is kept of a tuning beside its tensors."""

    step: Count
    best_kl: float
    first_kl: float
    worse: Count
    tries: Count
    seconds: float
    done: bool
    history: list[tuple[Count, float]]


@dataclass
class Tuning:
    """Where tuning stands: the tensors, running means of slopes (of vectors also squares), and the best state."""

    tensors: Tensors
    first: Tensors
    second: Tensors
    best: Tensors
    step: int = 0
    best_kl: float = math.inf
    first_kl: float = math.inf
    worse: int = 0
    tries: int = 0
    seconds: float = 0.0
    done: bool = False
    history: list[tuple[int, float]] = field(default_factory=list)

    @staticmethod
    def begin(start: Tensors) -> Tuning:
        """Nothing tuned yet."""
        copies = [{name: tensor.clone() for name, tensor in start.items()} for _ in range(2)]
        first = {name: torch.zeros_like(tensor) for name, tensor in start.items()}
        second = {name: torch.zeros_like(tensor) for name, tensor in start.items() if tensor.ndim == 1}
        return Tuning(copies[0], first, second, copies[1])

    def save(self, path: Path, about: str) -> None:
        """Write everything to `path`, atomically; `about` is what it is a tuning of."""
        groups = {"at": self.tensors, "first": self.first, "second": self.second, "best": self.best}
        held = {f"{group}.{name}": t.cpu().contiguous() for group, ts in groups.items() for name, t in ts.items()}
        names = ("step", "best_kl", "first_kl", "worse", "tries", "seconds", "done", "history")
        facts = json.dumps({name: getattr(self, name) for name in names})
        save_tensors(path, held, {"about": about, "facts": facts})

    @staticmethod
    def load(path: Path, about: str, device: torch.device | str = "cpu") -> Tuning | None:
        """What `save` wrote; None where there is nothing, or something else."""
        try:
            with open_tensors(path, "pt", device=str(device)) as file:
                said = file.metadata() or {}
                if said.get("about") != about:
                    return None
                held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts = parsed(_Facts, said["facts"], str(path))
        except (OSError, safetensors.SafetensorError, KeyError, PellucidError):
            return None
        groups: dict[str, Tensors] = {"at": {}, "first": {}, "second": {}, "best": {}}
        for name, tensor in held.items():
            group, _, own = name.partition(".")
            # products of what lies elsewhere in memory are rounded elsewhere: a copy lies where `begin` puts it
            groups.get(group, {})[own] = tensor.clone()
        return Tuning(groups["at"], groups["first"], groups["second"], groups["best"], **vars(facts))


def require_text(tunable: Tunable, fit: Int[Tensor, "row pos"]) -> None:
    """Raise `PellucidError` where there is too little fit text for the numbers that are to be tuned."""
    needed = math.ceil(TOKENS_PER_NUMBER * tunable.numbers)
    if fit.numel() < needed:
        raise PellucidError(
            f"tuning {tunable.numbers:,} numbers needs at least {needed:,} tokens of fit text, there are "
            f"{fit.numel():,}; give more with --fit-corpus, or leave --tune out"
        )


@keeping()
def tune(
    tunable: Tunable,
    fit: Int[Tensor, "rows pos"],
    check: Int[Tensor, "checked pos"],
    seconds: float,
    path: Path,
    about: str = "",
    seed: int = 0,
    steps: int | None = None,
) -> Tuning:
    """Tune for about `seconds` in all, or `steps`; go on from the checkpoint at `path` if it is one of `about`.

    `fit` are rows to tune on, `check` rows of tune text to stop by. Raises `PellucidError` for too little fit text.
    """
    require_text(tunable, fit)
    device = tunable.model.device
    tuning = Tuning.load(path, about, device) or Tuning.begin(tunable.start)
    rates = {name: float(tensor.square().mean().sqrt()) for name, tensor in tunable.start.items()}
    groups, streams = list(batches(fit, tunable.model.n_vocab)), Streams(tunable.model)
    if not tuning.history:
        tuning.first_kl = tuning.best_kl = loss_on(tunable, tuning.tensors, check)
        tuning.history.append((0, tuning.best_kl))
    last = saved = time.monotonic()
    bar, shown = track(range(steps or math.ceil(seconds)), "tuning"), 0
    while not tuning.done:
        share = tuning.step / steps if steps else tuning.seconds / max(seconds, 1e-9)
        while shown < min(1.0, share) * (steps or math.ceil(seconds)):
            next(bar, None)
            shown += 1
        if share >= 1:
            break
        number = _drawn(tuning.step, len(groups), seed)
        own = streams(number, groups[number])
        places = compared_places(tunable.model, groups[number], 1_000_003 * seed + tuning.step)
        _descend(tunable, tuning, groups[number], own, places, rates, _rate(share) * 0.5**tuning.tries)
        if tuning.step % CHECK_STEPS == 0:
            _look(tunable, tuning, check)
        now = time.monotonic()
        tuning.seconds, last = tuning.seconds + now - last, now
        if now - saved > SAVE_SECONDS:
            tuning.save(path, about)
            saved = now
    if tuning.step % CHECK_STEPS and not tuning.done:
        _look(tunable, tuning, check)
    tuning.save(path, about)
    return tuning


def _drawn(step: int, count: int, seed: int) -> int:
    """The batch of a step: every one once before any again, in an order of its own each time."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + step // count)
    return int(torch.randperm(count, generator=generator)[step % count])


def _rate(share: float) -> float:
    """The learning rate when `share` of the time is over."""
    return RATE * (1 - min(share, 1.0))


class Streams:
    """The subject's normed streams on batches of fit text, by their numbers; kept as far as memory allows."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.kept: dict[int, Tensor] = {}
        self.room = STREAM_BYTES

    @torch.no_grad()
    def __call__(self, number: int, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos model"]:
        """The stream on a batch, which has always the same number."""
        if number in self.kept:
            return self.kept[number]
        stream = self.model.run(ids, ("final",))["final"]
        size = stream.numel() * stream.element_size()
        if size <= self.room:
            self.kept[number], self.room = stream, self.room - size
        return stream


def _descend(
    tunable: Tunable,
    tuning: Tuning,
    ids: Int[Tensor, "batch pos"],
    stream: Float[Tensor, "batch pos model"],
    at: Int[Tensor, " place"],
    rates: Mapping[str, float],
    rate: float,
) -> None:
    """One step on a batch of fit text, its normed `stream` of the subject known, compared `at` places."""
    model, names = tunable.model, list(tuning.tensors)
    with torch.no_grad():
        own = predictions(model, stream, at)
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in tuning.tensors.items()}
    other = model.but(tunable.step_weights(leaves), tunable.graph)
    said = predictions(other, other.run(ids, ("final",))["final"], at)
    loss = (own.exp() * (own - said)).sum(-1).mean()
    slopes = torch.autograd.grad(loss, [leaves[name] for name in names])
    tuning.step += 1
    for name, slope in zip(names, slopes, strict=True):
        first = tuning.first[name].mul_(MOMENTUM).add_(slope, alpha=1 - MOMENTUM)
        if slope.ndim == 2:
            change = orthogonal(first) * math.sqrt(max(slope.shape))
        else:
            second = tuning.second[name].mul_(SQUARES).addcmul_(slope, slope, value=1 - SQUARES)
            root = (second / (1 - SQUARES**tuning.step)).sqrt()
            change = (first / (1 - MOMENTUM**tuning.step)) / (root + 1e-12)
        tuning.tensors[name] = tuning.tensors[name] - rate * rates[name] * change


def orthogonal(matrix: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
    """`matrix` with all its singular values made 1, but for those next to nothing; NaN where it is not finite."""
    if matrix.shape[0] < matrix.shape[1]:
        return orthogonal(matrix.T).T.contiguous()
    wide = matrix.double()
    if not wide.isfinite().all():
        return torch.full_like(matrix, math.nan)
    values, vectors = torch.linalg.eigh(wide.T @ wide)
    scale = values.clamp(min=max(1e-12 * float(values[-1]), 1e-100)).rsqrt()
    found: Tensor = wide @ ((vectors * scale) @ vectors.T)
    return found.to(matrix)


def _look(tunable: Tunable, tuning: Tuning, check: Tensor) -> None:
    """Measure on tune text and keep what is best; back to it, at half the rate, after a divergence or no improvement.

    Ends when that was of no use `TRIES` times.
    """
    kl = loss_on(tunable, tuning.tensors, check)
    tuning.history.append((tuning.step, kl))
    if math.isfinite(kl) and kl < tuning.best_kl:
        tuning.best_kl, tuning.worse = kl, 0
        tuning.best = {name: tensor.clone() for name, tensor in tuning.tensors.items()}
        return
    tuning.worse += 1
    diverged = not math.isfinite(kl) or kl > DIVERGED * tuning.first_kl
    if diverged or tuning.worse >= PATIENCE:
        tuning.tries, tuning.worse = tuning.tries + 1, 0
        _back(tuning)
    if diverged:
        said = f"at half the rate, from a KL of {tuning.best_kl:.2e}"
        tell(f"tuning diverged at step {tuning.step} (KL {kl:.2e}); going on {said}")
    tuning.done = tuning.tries >= TRIES


def _back(tuning: Tuning) -> None:
    """Return to the best state, with all running means forgotten."""
    tuning.tensors = {name: tensor.clone() for name, tensor in tuning.best.items()}
    for moments in (tuning.first, tuning.second):
        for tensor in moments.values():
            tensor.zero_()


def loss_on(tunable: Tunable, tensors: Tensors, rows: Int[Tensor, "row pos"]) -> float:
    """KL(subject ‖ subject with `tensors` folded in) in nats per token."""
    model = tunable.model
    with torch.no_grad():
        other = model.but(tunable.weights(tensors), model.graph)
    return mean_kl(model, other.logits, rows)
