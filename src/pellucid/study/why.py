"""Why did it say this? The heads, MLPs and tokens that made one prediction, ranked, and verified by ablating them.

What is explained is the difference between the logits of what was said and of something else. Gradients say what each
head and MLP at each position, and each token, adds to it beyond its mean over ordinary text; the largest are then put
back to their mean in an exact run, one by one and all together. Shares are of the difference, are measured and not
estimated, and need not add up to one: parts stand in for one another. Where the difference is near zero, as it is
between tokens that are equally likely, there are no shares, and effects are told in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.defaults import TOP_PARTS
from pellucid.base.errors import PellucidError
from pellucid.engine.intervene import Change, Means, ablate, means
from pellucid.engine.shares import divides
from pellucid.engine.sites import heads_write
from pellucid.engine.subjects import Subject, model_of, token_id, token_texts
from pellucid.engine.trace import Gradients, Trace, trace
from pellucid.exact.model import Model
from pellucid.subject.spelling import spelled_next

ROWS, LENGTH = 16, 48
"""Rows of text that means are taken over where none is given, and tokens in each."""


@dataclass(frozen=True)
class Cause:
    """A part at a position: what gradients `estimate` it adds, what ablating it alone takes away (in nats), as a share.

    `looks_at` are the positions that a head takes most from, with their shares of its attention; `neurons` the neurons
    of an MLP that add most.
    """

    part: str
    """Its address, or `L03.N*.OUT` for the neurons of a layer."""
    position: int
    """The position that it acts at, from 0."""
    token: str
    """The token there."""
    estimate: float
    """What gradients say that it adds, in nats."""
    effect: float
    """What ablating it alone takes away, in nats."""
    share: float | None
    """That as a share of the margin."""
    looks_at: tuple[tuple[int, str, float], ...] = ()
    neurons: tuple[tuple[str, float], ...] = ()

    @property
    def phrase(self) -> str:
        """What can be said of it in a line."""
        if self.looks_at:
            return ", ".join(f"looks at {token!r} ({100 * share:.0f} %)" for _, token, share in self.looks_at)
        if self.neurons:
            return ", ".join(f"{name} {value:+.2f}" for name, value in self.neurons)
        return "the token itself" if self.part == "EMB.TOK" else ""


@dataclass(frozen=True)
class Why:
    """A prediction and its causes, the largest measured effect first.

    `margin` is the difference of logits; `together_effect` what is lost of it where all causes are at their means at
    once, and `together` that as a share. Shares are None where the margin is near zero. `probabilities` are those of
    what was said and of the other token.
    """

    prompt: str
    """The text that was explained."""
    tokens: tuple[str, ...]
    """Its tokens."""
    said: str
    """The likeliest next token."""
    instead: str
    """The token that it is held against."""
    margin: float
    together: float | None
    causes: tuple[Cause, ...] = field(repr=False)
    """Parts at positions, each with `part`, `position`, `token`, `estimate` and `effect` in nats, `share` of the
    margin, `looks_at` and `neurons`.
    """
    together_effect: float | None = None
    probabilities: tuple[float, float] | None = None

    def __repr__(self) -> str:
        most = ", ".join(f"{c.part} at {c.position} {_size(c.effect, c.share).strip()}" for c in self.causes[:3])
        return f"<Why {self.prompt!r} → {self.said!r} rather than {self.instead!r}, {self.margin:+.2f}; most: {most}>"

    @property
    def table(self) -> list[dict[str, Any]]:
        """One line a cause."""
        return [
            {
                "part": cause.part,
                "position": cause.position,
                "token": cause.token,
                "share": cause.share,
                "effect": cause.effect,
                "estimate": cause.estimate,
                "what": cause.phrase,
            }
            for cause in self.causes
        ]

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        fields: dict[str, Any] = {"prompt": self.prompt, "said": self.said, "instead": self.instead}
        likely = self.probabilities or (None, None)
        fields |= {"probability": likely[0], "probability_instead": likely[1]}
        fields |= {"margin": self.margin, "together": self.together, "together_effect": self.together_effect}
        return fields | {"causes": self.table}

    @property
    def text(self) -> str:
        """The table to read."""
        said, instead = (repr(token) for token in (self.said, self.instead))
        if self.probabilities is not None:
            shares = [f" ({100 * share:.3g} %)" for share in self.probabilities]
            said, instead = said + shares[0], instead + shares[1]
        head = f"{self.prompt!r} → {said} rather than {instead}: {self.margin:+.2f} in the logits"
        if self.together is None:
            head += ", too little for shares: effects are in nats"
        lines = [
            f"{_size(cause.effect, cause.share)}  {cause.part:<14} at {cause.position:>3} {cause.token!r:<14} "
            f"{cause.phrase}"
            for cause in self.causes
        ]
        together = _size(self.together_effect, self.together)
        return "\n".join([head, *lines, f"{together}  all of these at their means at once"])


def _size(effect: float | None, share: float | None) -> str:
    """An effect as its share, or in nats where there is none."""
    if share is not None:
        return f"{100 * share:6.1f} %"
    return f"{'–':>8}" if effect is None else f"{effect:+8.2f}"


def why(
    subject: Subject,
    prompt: str | Sequence[int],
    instead: str | None = None,
    *,
    texts: Int[Tensor, "row pos"] | None = None,
    top: int = TOP_PARTS,
    seed: int = 0,
) -> Why:
    """Explain what `subject` says next after `prompt` (text, or token ids), rather than `instead` (the runner-up).

    Means are over `texts` (rows of token ids), or over rows that the subject's model writes itself from `seed`.

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        prompt: A text, or token ids.
        instead: A token that could have been said; the runner-up without it.
        texts: Rows of token ids that means are taken over; rows that the model writes itself without it.
        top: How many parts to verify, the largest first.
        seed: What these rows are drawn from.

    Returns:
        What was said and its probability; tokens and parts with their effects, as shares of the margin or in nats.

    Raises:
        PellucidError: An `instead` that is not one token, or is what was said; a prompt that the subject cannot read:
            empty, longer than its context, or a word or id that it does not have.
    """
    model = model_of(subject)
    layers = range(model.decoder.layers)
    names = [
        "EMB.TOK",
        *(f"L{layer:02d}.{name}" for layer in layers for name in (heads_write(model), "mlp_out", "post", "pattern")),
    ]
    run = trace(subject, prompt, names, gradients=True)
    text = prompt if isinstance(prompt, str) else model.tokenizer.decode(prompt)
    last = run.logits[0, -1].detach().float()
    said = int(last.argmax())
    other = runner_up(last) if instead is None else token_id(model, instead)
    if said == other:
        raise PellucidError(f"{instead!r} is what was said after {text!r}; ask for something else instead")
    averages = means(
        subject, own_text(model, seed) if texts is None else texts, [n for n in names if "pattern" not in n]
    )
    slopes = run.gradients(run.logits[0, -1, said] - run.logits[0, -1, other])
    estimates = _estimates(model, run, slopes, averages)
    order = sorted(estimates, key=lambda place: -abs(estimates[place]))[:top]

    def margin(changes: Sequence[Change]) -> float:
        with torch.no_grad():
            logits = trace(subject, run.ids, changes=changes).logits[0, -1].float()
        return float(logits[said] - logits[other])

    whole = margin([])
    tokens = token_texts(model, run.ids[0])
    causes = []
    for place in order:
        effect = whole - margin([_ablated(model, place, averages)])
        part, position = place
        detail = _looks(run, place, tokens), _neurons(run, slopes, averages, place)
        causes.append(Cause(part, position, tokens[position], estimates[place], effect, None, *detail))
    left = margin([_ablated(model, place, averages) for place in order])
    causes.sort(key=lambda cause: -abs(cause.effect))
    together = whole - left
    shares = divides(whole, [together, *(cause.effect for cause in causes)])
    if shares:
        causes = [replace(cause, share=cause.effect / whole) for cause in causes]
    likely = last.softmax(-1)
    words = [spelled_next(model.tokenizer, run.ids[0].tolist(), token) for token in (said, other)]
    sides = float(likely[said]), float(likely[other])
    share = together / whole if shares else None
    return Why(text, tuple(tokens), words[0], words[1], whole, share, tuple(causes), together, sides)


def runner_up(logits: Float[Tensor, " vocab"]) -> int:
    """The likeliest token but for the one that `argmax` gives: another one also where several are equally likely."""
    return int(logits.index_fill(0, logits.argmax()[None], -torch.inf).argmax())


PartAt = tuple[str, int]
"""A part (a head's OV, an MLP `L00.mlp_out`, or EMB.TOK) and a position."""


def _estimates(model: Model, run: Trace, slopes: Gradients, averages: Means) -> dict[PartAt, float]:
    """Σ (activation − mean) · gradient for every part at every position."""

    def beyond(name: str) -> Float[Tensor, pos * _]:
        held = run.activations[name].detach()
        product: Tensor = (held - averages.activations[name]) * slopes.activations[name]
        return product[0].sum(-1).float()

    found: dict[PartAt, float] = {("EMB.TOK", at): value for at, value in enumerate(beyond("EMB.TOK").tolist())}
    for layer in range(model.decoder.layers):
        for at, heads in enumerate(beyond(f"L{layer:02d}.{heads_write(model)}").tolist()):
            found |= {(f"L{layer:02d}.H{head:02d}.OV", at): value for head, value in enumerate(heads)}
        mlp = f"L{layer:02d}.mlp_out"
        found |= {(mlp, at): value for at, value in enumerate(beyond(mlp).tolist())}
    return found


def _ablated(model: Model, place: PartAt, averages: Means) -> Change:
    """The change that puts a part at a position back to its mean."""
    part, position = place
    if part.endswith(".OV"):
        layer, head, _ = part.split(".")
        return ablate(f"{layer}.{heads_write(model)}", mean=averages, heads=int(head[1:]), positions=position)
    return ablate(part, mean=averages, positions=position)


def _looks(run: Trace, place: PartAt, tokens: Sequence[str], most: int = 2) -> tuple[tuple[int, str, float], ...]:
    """The positions that a head takes most from; nothing for what is no head."""
    part, position = place
    if not part.endswith(".OV"):
        return ()
    layer, head, _ = part.split(".")
    pattern = run.activations[f"{layer}.pattern"][0, int(head[1:]), position].detach().float()
    shares, at = pattern.topk(min(most, position + 1))
    pairs = zip(at.tolist(), shares.tolist(), strict=True)
    return tuple((key, tokens[key], share) for key, share in pairs if share >= 0.1)


def _neurons(
    run: Trace, slopes: Gradients, averages: Means, place: PartAt, most: int = 3
) -> tuple[tuple[str, float], ...]:
    """The neurons of an MLP that add most at a position; nothing for what is no MLP."""
    part, position = place
    if not part.endswith(".mlp_out"):
        return ()
    name = f"{part.removesuffix('.mlp_out')}.post"
    change = run.activations[name][0, position].detach() - averages.activations[name][0, 0]
    added = (change * slopes.activations[name][0, position]).float()
    at = added.abs().topk(min(most, len(added))).indices.tolist()
    return tuple((f"{name.removesuffix('.post')}.N{neuron:04d}", float(added[neuron])) for neuron in at)


def own_text(model: Model, seed: int = 0, rows: int = ROWS, length: int = LENGTH) -> Int[Tensor, "row pos"]:
    """Rows of tokens that a model writes itself at temperature 1, begun as its texts begin."""
    rng = np.random.default_rng(seed)
    start = model.tokenizer.start
    new = np.tile(start, (rows, 1)) if start else rng.integers(model.n_vocab, size=rows)[:, None]
    written, cache = list(new.T), None
    for _ in range(min(length, model.n_ctx) - new.shape[1]):
        logits, cache = model.extend(new.astype(np.int64), cache, last_only=True)
        mass = np.exp(logits[:, -1] - logits[:, -1].max(-1, keepdims=True)).cumsum(-1, dtype=np.float64)
        new = (mass <= rng.random((rows, 1)) * mass[:, -1:]).sum(-1)[:, None]
        written.append(new[:, 0])
    return torch.from_numpy(np.stack(written, 1).astype(np.int64)).to(model.device)
