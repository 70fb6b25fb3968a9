"""A dictionary that learns: its numbers, what a batch teaches them, and the dictionary that they are in the end.

Inputs and outputs are centred and scaled to a mean square of 1 (by the first chunk of text), so that a rate and a
threshold mean the same everywhere; both are folded into the dictionary when it is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.dictionary.dictionary import Dictionary, Firing, Origin
from pellucid.dictionary.recipe import Recipe
from pellucid.dictionary.sparse import Entries, jumped, read_entries

Moments = Mapping[str, tuple[Tensor, float]]
_SHARES = (8, 4, 2, 1)
"""A matryoshka's parts: the first eighth, quarter, half of its features, and all."""
_KEPT = 0.9
"""How much of the running threshold of `batchtopk` is kept from one step to the next."""
_FIRST_THRESHOLD = 0.5
_FASTER = 10.0
"""Thresholds learn at so many times the rate."""


@dataclass(frozen=True)
class StepFigures:
    """What a step came to: error as a share of the variance, features that fire at a place, share of dead."""

    loss: float
    l0: float
    dead: float


@dataclass(eq=False)
class Learner:
    """The numbers of a dictionary of `reads` and `writes` while it learns by `recipe`."""

    recipe: Recipe
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    moments: Moments = field(repr=False)
    parameters: dict[str, Tensor] = field(default_factory=dict, repr=False)
    silent: Tensor = field(default_factory=lambda: torch.zeros(0), repr=False)
    """Places since each feature fired, [layer, feature]."""
    threshold: float = 0.0
    _adam: torch.optim.Adam | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.silent = torch.zeros(self.layers, self.recipe.width, dtype=torch.int64)
        draw = torch.Generator().manual_seed(self.recipe.seed)
        wide, read, write = self.recipe.width, *(len(self.moments[end[0]][0]) for end in (self.reads, self.writes))
        for layer in range(self.layers):
            to = self.layers - layer if self.recipe.kind == "crosslayer" else 1
            vectors = torch.randn(to, wide, write, generator=draw)
            vectors /= vectors.square().sum((0, 2)).sqrt()[:, None]
            encoder = torch.randn(wide, read, generator=draw) / read**0.5
            self.parameters[f"decoder.{layer}"] = vectors
            self.parameters[f"encoder.{layer}"] = vectors[0].clone() if self.recipe.kind == "sae" else encoder
            self.parameters[f"bias.{layer}"] = torch.zeros(wide)
            self.parameters[f"offset.{layer}"] = torch.zeros(write)
            if self.recipe.kind == "skip-transcoder":
                self.parameters[f"skip.{layer}"] = torch.zeros(read, write)
            if self.recipe.choice == "jumprelu":
                self.parameters[f"threshold.{layer}"] = torch.full((wide,), _FIRST_THRESHOLD)
        for tensor in self.parameters.values():
            tensor.requires_grad_()
        slow = [one for name, one in self.parameters.items() if not name.startswith("threshold")]
        fast = [one for name, one in self.parameters.items() if name.startswith("threshold")]
        groups = [{"params": slow, "times": 1.0}] + ([{"params": fast, "times": _FASTER}] if fast else [])
        self._adam = torch.optim.Adam(groups, lr=self.recipe.rate)

    @property
    def layers(self) -> int:
        """Places that are read."""
        return len(self.reads)

    def step(self, batch: Mapping[str, Tensor], step: int) -> StepFigures:
        """Learn from activations [place, width] by name, as the step of that number."""
        assert self._adam is not None
        inputs, outputs = ([self._scaled(batch, name) for name in names] for names in (self.reads, self.writes))
        fired = [self._fired(x, layer) for layer, x in enumerate(inputs)]
        loss, missed = self._missed(inputs, outputs, fired)
        count = sum(float((entries.value > 0).sum()) for entries, _, _ in fired) / len(inputs[0])
        whole = loss + self._sparsity(fired, len(inputs[0])) + self._revived(inputs, missed, fired)
        self._adam.zero_grad(set_to_none=True)
        whole.backward()  # type: ignore[no-untyped-call]
        self._straighten()
        for group in self._adam.param_groups:
            group["lr"] = self.recipe.rate_at(step) * group["times"]
        self._adam.step()
        self._after(fired, len(inputs[0]))
        variance = sum(float((y - y.mean(0)).square().mean()) for y in outputs) / len(outputs)
        error = sum(float(one.square().mean()) for one in missed) / len(missed)
        return StepFigures(error / max(variance, 1e-12), count, float(self._dead.float().mean()))

    # --- what a batch says ----------------------------------------------------------------------------------------

    def _scaled(self, batch: Mapping[str, Tensor], name: str) -> Float[Tensor, "place width"]:
        mean, scale = self.moments[name]
        return (batch[name] - mean) * scale

    def _fired(self, x: Float[Tensor, "place read"], layer: int) -> tuple[Entries, Tensor, Tensor | None]:
        """The features of a layer that fire, what decides it, and, above thresholds, whether each entry fires."""
        encoder, bias = self.parameters[f"encoder.{layer}"], self.parameters[f"bias.{layer}"]
        with torch.no_grad():
            before = torch.addmm(bias, x, encoder.T)
        choice, k = self.recipe.choice, self.recipe.k
        if choice == "topk":
            feature = before.topk(k, dim=-1, sorted=False).indices.reshape(-1)
            place = torch.arange(len(x)).repeat_interleave(k)
        elif choice == "jumprelu":
            near = self.parameters[f"threshold.{layer}"].detach() - self.recipe.bandwidth / 2
            place, feature = (before > near).nonzero(as_tuple=True)
        else:
            flat = before.flatten()
            least = flat.topk(k * len(x), sorted=False).values.min().clamp(min=1e-6)
            place, feature = (before >= least).nonzero(as_tuple=True)
        value = read_entries(x, encoder, bias, before, place, feature)
        if choice != "jumprelu":
            return Entries(place, feature, value.relu(), len(x)), before, None
        value, fires = jumped(value, self.parameters[f"threshold.{layer}"][feature], self.recipe.bandwidth)
        return Entries(place, feature, value, len(x)), before, fires

    def _missed(
        self, inputs: list[Tensor], outputs: list[Tensor], fired: list[tuple[Entries, Tensor, Tensor | None]]
    ) -> tuple[Tensor, list[Tensor]]:
        """The mean square of what is missed (of a matryoshka the mean over its parts), and what all features miss."""
        said = [self.parameters[f"offset.{layer}"].expand_as(y) for layer, y in enumerate(outputs)]
        if self.recipe.kind == "skip-transcoder":
            said = [
                one + x @ self.parameters[f"skip.{layer}"]
                for layer, (one, x) in enumerate(zip(said, inputs, strict=True))
            ]
        shares = _SHARES if self.recipe.choice == "matryoshka" else (1,)
        losses, below = [], 0
        for share in shares:
            upto = max(1, self.recipe.width // share)
            for layer, (entries, _, _) in enumerate(fired):
                own = (
                    entries
                    if len(shares) == 1
                    else entries.where((entries.feature >= below) & (entries.feature < upto))
                )
                for to, vectors in enumerate(self.parameters[f"decoder.{layer}"]):
                    said[layer + to] = said[layer + to] + own.decoded(vectors)
            below = upto
            missed = [y - one for y, one in zip(outputs, said, strict=True)]
            losses.append(torch.stack([one.square().mean() for one in missed]).mean())
        return torch.stack(losses).mean(), [one.detach() for one in missed]

    def _sparsity(self, fired: list[tuple[Entries, Tensor, Tensor | None]], places: int) -> Tensor | float:
        """How far features above thresholds are from letting k through."""
        if self.recipe.choice != "jumprelu":
            return 0.0
        counts = [fires.sum() / places for _, _, fires in fired if fires is not None]
        return self.recipe.sparsity * torch.stack([(count / self.recipe.k - 1).square() for count in counts]).mean()

    @property
    def _dead(self) -> Bool[Tensor, "layer feature"]:
        return self.silent >= self.recipe.dead

    def _revived(
        self, inputs: list[Tensor], missed: list[Tensor], fired: list[tuple[Entries, Tensor, Tensor | None]]
    ) -> Tensor | float:
        """What dead features, those that come nearest to firing, still miss of what is missed."""
        whole: Tensor | float = 0.0
        for layer, (x, (_, before, _)) in enumerate(zip(inputs, fired, strict=True)):
            dead = self._dead[layer].nonzero()[:, 0]
            if not len(dead):
                continue
            count = min(len(dead), max(1, x.shape[1] // 2))
            feature = dead[before[:, dead].topk(count, dim=-1, sorted=False).indices].reshape(-1)
            place = torch.arange(len(x)).repeat_interleave(count)
            encoder, bias = self.parameters[f"encoder.{layer}"], self.parameters[f"bias.{layer}"]
            value = read_entries(x, encoder, bias, before, place, feature)
            said = Entries(place, feature, value, len(x)).decoded(self.parameters[f"decoder.{layer}"][0])
            share = min(1.0, 2 * len(dead) / x.shape[1])
            whole = whole + self.recipe.revive * share * (missed[layer] - said).square().mean()
        return whole

    # --- after it -------------------------------------------------------------------------------------------------

    def _straighten(self) -> None:
        """Take from the gradients of vectors what would only change their lengths."""
        for layer in range(self.layers):
            vectors = self.parameters[f"decoder.{layer}"]
            if vectors.grad is not None:
                along = (vectors.grad * vectors.detach()).sum((0, 2))
                vectors.grad -= along[:, None] * vectors.detach()

    @torch.no_grad()
    def _after(self, fired: list[tuple[Entries, Tensor, Tensor | None]], places: int) -> None:
        self.silent += places
        least = []
        for layer, (entries, _, _) in enumerate(fired):
            firing = entries.value > 0
            self.silent[layer, entries.feature[firing]] = 0
            if firing.any():
                least.append(float(entries.value[firing].min()))
            vectors = self.parameters[f"decoder.{layer}"]
            vectors /= vectors.square().sum((0, 2)).sqrt().clamp(min=1e-12)[:, None]
            if (thresholds := self.parameters.get(f"threshold.{layer}")) is not None:
                thresholds.clamp_(min=0)
        if least:
            new = sum(least) / len(least)
            self.threshold = new if not self.threshold else _KEPT * self.threshold + (1 - _KEPT) * new

    @torch.no_grad()
    def dictionary(self, origin: Origin) -> Dictionary:
        """The dictionary that these numbers are, of activations as they are."""
        p, layers = {name: tensor.detach() for name, tensor in self.parameters.items()}, range(self.layers)
        means, scales = zip(*(self.moments[name] for name in self.reads), strict=True)
        wanted, sizes = zip(*(self.moments[name] for name in self.writes), strict=True)
        firing: Firing = "topk" if self.recipe.choice == "topk" else "jumprelu"
        offset = torch.stack([p[f"offset.{layer}"] / sizes[layer] + wanted[layer] for layer in layers])
        skip = None
        if self.recipe.kind == "skip-transcoder":
            skip = torch.stack([p[f"skip.{layer}"] * scales[layer] / sizes[layer] for layer in layers])
            offset = offset - torch.einsum("lr,lrw->lw", torch.stack(means), skip)
        own = [p.get(f"threshold.{layer}", torch.full((self.recipe.width,), self.threshold)) for layer in layers]
        one = Dictionary(
            self.recipe.kind,
            self.reads,
            self.writes,
            torch.stack([p[f"encoder.{layer}"].T * scales[layer] / sizes[layer] for layer in layers]),
            torch.stack([p[f"bias.{layer}"] / sizes[layer] for layer in layers]),
            tuple(
                torch.stack([v * sizes[layer] / sizes[layer + to] for to, v in enumerate(p[f"decoder.{layer}"])])
                for layer in layers
            ),
            offset,
            firing,
            None if firing == "topk" else torch.stack([own[layer] / sizes[layer] for layer in layers]),
            self.recipe.k if firing == "topk" else None,
            torch.stack(means),
            skip,
            origin=origin,
        )
        return one if firing == "topk" else one.normalised()

    # --- to go on -------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """All that it takes to go on from here."""
        assert self._adam is not None
        held = {name: tensor.detach() for name, tensor in self.parameters.items()}
        held |= {"silent": self.silent, "running": torch.tensor([self.threshold], dtype=torch.float64)}
        for name, tensor in self.parameters.items():
            for key, value in self._adam.state.get(tensor, {}).items():
                held[f"adam.{key}.{name}"] = value.reshape(-1) if value.ndim == 0 else value
        return held

    @torch.no_grad()
    def take(self, held: Mapping[str, Tensor]) -> None:
        """Go on from such a state."""
        assert self._adam is not None
        self.silent, self.threshold = held["silent"].clone(), float(held["running"][0])
        for name, tensor in self.parameters.items():
            tensor.copy_(held[name])
            own: dict[str, Any] = {}
            for key in ("step", "exp_avg", "exp_avg_sq"):
                if (value := held.get(f"adam.{key}.{name}")) is not None:
                    own[key] = value.reshape(()).clone() if key == "step" else value.clone()
            if own:
                self._adam.state[tensor] = own
