"""Two ways to edit the weights of a model, written from their papers for `benchmarks/edit.py`.

- ROME (Meng et al., 2022, arXiv 2202.05262): the MLP of one layer is a memory of keys and values. The key is what its
  neurons fire at the last token of the subject, a mean over contexts; the value is found by gradient descent on what
  the MLP writes there; the output matrix takes the pair up by a rank-one update that moves other keys least, in the
  metric of their uncentred covariance over text.
- Constrained fine-tuning (Zhu et al., 2020, arXiv 2012.00363; FT-L in the paper above): gradient descent on the output
  matrix of one layer's MLP, kept within a ball of the maximum norm around what it was.

Both may read fit text: beginnings of stories as contexts, and the covariance. Their settings are chosen on facts that
nothing else is measured on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.exact.model import Model
from pellucid.rewrite.intent import rows_of


@dataclass(frozen=True)
class Lesson:
    """A fact to teach: contexts with prompt and new answer; where the subject ends, and where the answer begins."""

    rows: Tensor
    subjects: Tensor
    starts: Tensor
    lengths: Tensor
    name: Tensor
    """The subject's name alone, which should go on as it did."""

    def loss(self, logits: Tensor) -> Tensor:
        """Minus the mean log-probability of the answer's tokens."""
        chances = logits[:, :-1].log_softmax(-1).gather(-1, self.rows[:, 1:, None])[..., 0]
        at = torch.arange(1, self.rows.shape[1])[None]
        answer = (at >= self.starts[:, None]) & (at < self.lengths[:, None])
        return -chances[answer].mean()


def lesson(model: Model, prompt: str, subject: str, answer: str, contexts: Sequence[str]) -> Lesson:
    """The lesson of "`prompt` `answer`" behind each of `contexts`, so that a space stands before the subject."""
    befores = [model.ids(context + prompt)[0].tolist() for context in contexts]
    wholes = [model.ids(f"{context}{prompt} {answer}")[0].tolist() for context in contexts]
    name = model.tokenizer.encode(f" {subject}")
    ends = [max(at for at in range(len(b)) if b[at + 1 - len(name) : at + 1] == name) for b in befores]
    text = rows_of(wholes)
    alone = model.ids(contexts[0] + subject)
    return Lesson(text.ids, torch.tensor(ends), torch.tensor([len(b) for b in befores]), text.lengths, alone)


@dataclass(frozen=True)
class Rome:
    """The settings of ROME."""

    layer: int
    enough: float
    """The loss at which the search for a value ends."""
    kl: float = 0.0625
    rate: float = 0.5
    steps: int = 25
    decay: float = 1.5e-3
    most: float = 4.0
    """How far, in norms of the old value, the new one may go from it."""

    def edit(self, model: Model, taught: Lesson, covariance: dict[int, Tensor]) -> Model:
        """The model with the fact."""
        at = f"L{self.layer:02d}"
        rows = torch.arange(len(taught.rows))
        with torch.no_grad():
            found = model.run(taught.rows, (f"{at}.post", f"{at}.mlp_out"))
            key = found[f"{at}.post"][rows, taught.subjects].mean(0)
            old = found[f"{at}.mlp_out"][0, taught.subjects[0]]
            before = model.logits(taught.name)[0, -1].log_softmax(-1)
        change = torch.zeros_like(old, requires_grad=True)
        adam = torch.optim.Adam([change], lr=self.rate)
        for _ in range(self.steps):
            logits = self._with(model, taught.rows, taught.subjects, change)
            essence = self._with(model, taught.name, torch.tensor([taught.name.shape[1] - 1]), change)[0, -1]
            drift = (before.exp() * (before - essence.log_softmax(-1))).sum()
            loss = taught.loss(logits)
            whole = loss + self.kl * drift + self.decay * (change.norm() / old.norm()).square()
            if float(loss.detach()) < self.enough:
                break
            adam.zero_grad()
            whole.backward()
            adam.step()
            with torch.no_grad():
                change *= min(1.0, float(self.most * old.norm() / change.norm().clamp(min=1e-9)))
        name = f"h.{self.layer}.mlp.c_proj.weight"
        along = torch.linalg.solve(covariance[self.layer], key)
        update = torch.outer(along / (key @ along), change.detach())
        return model.but({**model.weights, name: model.weights[name] + update}, model.graph)

    def _with(self, model: Model, rows: Tensor, at: Tensor, change: Tensor) -> Tensor:
        """The logits where the MLP writes `change` more at the subject."""
        place = torch.zeros(*rows.shape, 1).index_put((torch.arange(len(rows)), at), torch.ones(1))
        edits = {f"L{self.layer:02d}.mlp_out": lambda x: x + place * change}
        return model.run(rows, ("logits",), edits=edits)["logits"]


@dataclass(frozen=True)
class Tuning:
    """The settings of constrained fine-tuning."""

    layer: int
    ball: float
    enough: float = 0.05
    rate: float = 5e-3
    steps: int = 40

    def edit(self, model: Model, taught: Lesson, covariance: dict[int, Tensor]) -> Model:  # noqa: ARG002
        """The model with the fact."""
        name = f"h.{self.layer}.mlp.c_proj.weight"
        old = model.weights[name]
        weight = old.clone().requires_grad_()
        adam = torch.optim.Adam([weight], lr=self.rate)
        for _ in range(self.steps):
            loss = taught.loss(model.but({**model.weights, name: weight}, model.graph).logits(taught.rows))
            if float(loss.detach()) < self.enough:
                break
            adam.zero_grad()
            loss.backward()
            adam.step()
            with torch.no_grad():
                weight.copy_(torch.clamp(weight, old - self.ball, old + self.ball))
        return model.but({**model.weights, name: weight.detach()}, model.graph)


Method = Rome | Tuning


def settings(method: str, layers: int) -> Iterator[Method]:
    """The settings that are tried."""
    if method == "rome":
        yield from (Rome(layer, enough) for layer, enough in itertools.product(range(layers - 1), (0.02, 0.3)))
    else:
        yield from (Tuning(layer, ball) for layer, ball in itertools.product(range(layers), (0.005, 0.02, 0.08)))


def covariances(model: Model, ids: Tensor, inside: Tensor) -> dict[int, Tensor]:
    """The uncentred covariance of what neurons fire over text, by layer, [neuron, neuron]."""
    found = {}
    for layer in range(model.decoder.layers):
        total = torch.zeros(model.decoder.sizes.neuron, model.decoder.sizes.neuron)
        for at in range(0, len(ids), 32):
            with torch.no_grad():
                fired = model.run(ids[at : at + 32], (f"L{layer:02d}.post",))[f"L{layer:02d}.post"]
            keys = fired[inside[at : at + 32]]
            total += keys.T @ keys
        mean = total / int(inside.sum())
        found[layer] = mean + 1e-4 * mean.diagonal().mean() * torch.eye(len(mean))
    return found
