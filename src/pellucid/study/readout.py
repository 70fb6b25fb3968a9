"""Read-outs: what the residual stream says at each layer, and how much each part says directly.

The logit lens (nostalgebraist, 2020) puts the stream before each layer through the final norm and the unembedding.
Direct logit attribution (Elhage et al., 2021, "A mathematical framework for transformer circuits") freezes the scale of
the final norm, in which everything written to the stream then adds up to the logits exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.engine.pairs import index_of
from pellucid.engine.sites import embeddings
from pellucid.engine.subjects import Subject, Text, model_of, token_id
from pellucid.engine.trace import trace
from pellucid.exact.model import Model
from pellucid.exact.norms import NormView
from pellucid.subject.spelling import spelled_next


@dataclass(frozen=True)
class Lens:
    """Logits read off the stream at each of `streams`, for one prompt a row.

    Rows of different lengths are aligned at their ends; logits are NaN in front, where row n has `pads[n]` positions
    that are none of its own.
    """

    model: Model = field(repr=False)
    """The model whose norm and unembedding read the streams."""
    streams: tuple[str, ...]
    """The streams that were read: in front of each layer, and the last one."""
    ids: Int[Tensor, "batch pos"] = field(repr=False)
    """The tokens of every row."""
    tokens: tuple[tuple[str, ...], ...]
    """Their texts."""
    logits: Float[Tensor, "stream batch pos vocab"] = field(repr=False)
    """The logits at each stream."""
    pads: tuple[int, ...]
    """How many positions in front are none of each row's own."""

    def __repr__(self) -> str:
        rows = f"{len(self.tokens)} {'row' if len(self.tokens) == 1 else 'rows'} of {len(self.tokens[0])} tokens"
        says = [words[0][-1] for words in self.says]
        return f"<Lens of {len(self.streams)} streams, {rows}; behind the first they say {says}>"

    @property
    def table(self) -> list[dict[str, Any]]:
        """One line a row, stream and position: the likeliest token and its probability."""
        share, says = self.logits.float().softmax(-1).amax(-1), self.says
        return [
            {
                "row": row,
                "stream": name,
                "position": at - self.pads[row],
                "token": self.tokens[row][at],
                "says": says[stream][row][at],
                "probability": float(share[stream, row, at]),
            }
            for row in range(share.shape[1])
            for stream, name in enumerate(self.streams)
            for at in range(self.pads[row], share.shape[2])
        ]

    @property
    def says(self) -> list[list[list[str]]]:
        """The likeliest token of each stream, row and position; nothing at padding."""
        top = self.logits.nan_to_num(nan=-torch.inf).argmax(-1).tolist()
        return [
            [
                [
                    "" if at < pad else spelled_next(self.model.tokenizer, ids[: at + 1], token)
                    for at, token in enumerate(row)
                ]
                for row, ids, pad in zip(rows, self.ids.tolist(), self.pads, strict=True)
            ]
            for rows in top
        ]

    def rank(self, token: str | int) -> Int[Tensor, "stream batch pos"]:
        """How many tokens are likelier than `token`."""
        at = token_id(self.model, token) if isinstance(token, str) else token
        return (self.logits > self.logits[..., at, None]).sum(-1)


def logit_lens(subject: Subject, text: Text) -> Lens:
    """What each layer would say if it were the last, at every position; the last stream is the model's own.

    Source: nostalgebraist, "interpreting GPT: the logit lens" (2020).

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        text: Prompts: one text, several of any lengths, or token ids [batch, pos].

    Returns:
        The logits of each stream, [stream, batch, pos, vocab].

    Raises:
        PellucidError: A prompt that the subject cannot read: empty, longer than its context, or a word or id that it
            does not have.
    """
    model = model_of(subject)
    streams = [f"L{layer:02d}.resid_pre" for layer in range(model.decoder.layers)] + [model.last_resid]
    with torch.no_grad():
        run = trace(subject, text, streams, logits=False)
        found = [
            model.graph.run(model.weights, {streams[-1]: run.activations[name]}, ("logits",))["logits"]
            for name in streams
        ]
    tokens = tuple(tuple(row) for row in run.tokens)
    pads = tuple(run.ids.shape[1] - length for length in run.rows.lengths)
    return Lens(model, tuple(streams), run.ids, tokens, torch.stack(found), pads)


@dataclass(frozen=True)
class DirectEffects:
    """What each part adds to a logit or a difference of logits, row by row; the parts add up to `total`.

    `parts` has embeddings, heads, the neurons of a layer together (`L03.N*.OUT`), biases and the final norm's bias;
    `neurons` each neuron, as far as it writes by the weights.
    """

    parts: dict[str, Float[Tensor, " batch"]]
    """By address, what a part adds to the logit of each row."""
    neurons: Float[Tensor, "layer batch neuron"] = field(repr=False)
    """The same of each neuron."""
    total: Float[Tensor, " batch"]
    """The logit, or difference of logits, of each row."""

    def __repr__(self) -> str:
        most = ", ".join(f"{line['part']} {line['effect']:+.2f}" for line in self.table[:3])
        rows = f"{len(self.total)} {'row' if len(self.total) == 1 else 'rows'}"
        return (
            f"<DirectEffects of {len(self.parts)} parts, {rows}: {float(self.total.mean()):+.2f} in all; most: {most}>"
        )

    @property
    def table(self) -> list[dict[str, Any]]:
        """One line a part, the largest effect (mean over rows) first, and then the largest neurons."""
        lines = [{"part": name, "effect": float(value.mean())} for name, value in self.parts.items()]
        means = self.neurons.mean(1)
        for at in means.abs().flatten().topk(min(20, means.numel())).indices.tolist():
            layer, neuron = divmod(at, means.shape[1])
            lines.append({"part": f"L{layer:02d}.N{neuron:04d}.OUT", "effect": float(means[layer, neuron])})
        return sorted(lines, key=lambda line: -abs(float(line["effect"])))


def direct_effects(
    subject: Subject, text: Text, answer: str | int, instead: str | int | None = None, position: int = -1
) -> DirectEffects:
    """What each part adds directly to the logit of `answer` (minus that of `instead`) at `position` of each row.

    Norms are taken at the scale that they have there; of logits that are held within a cap, it is before the cap.

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        text: Prompts: one text, several of any lengths, or token ids [batch, pos].
        answer: One token, as text or id.
        instead: A token whose effects are taken off; none without it.
        position: The position that is read; negative ones count from the end.

    Returns:
        The effects by part, in logits; with the scale of the final norm they add up to the difference.

    Raises:
        PellucidError: An `answer` or `instead` that is not one token, or a position that is not there; a prompt that
            the subject cannot read: empty, longer than its context, or a word or id that it does not have.
    """
    model = model_of(subject)
    layers, starts = range(model.decoder.layers), embeddings(model.decoder)
    first = model.layer(0)
    sums = [name for name, norm in (("attn_sum", first.behind), ("mlp_sum", first.behind_mlp)) if norm]
    each = [f"L{layer:02d}.{name}" for layer in layers for name in ("head_writes", "post", "neuron_writes", *sums)]
    with torch.no_grad():
        run = trace(subject, text, [*starts, *each, "final.scale", model.last_resid], logits=False)
        rows, longest = torch.arange(len(run.ids)), run.ids.shape[1]
        at_end = [index_of(position, length, "position") + longest - length for length in run.rows.lengths]

        def read_at(name: str) -> Tensor:
            value = run.activations[name]
            return value.expand(len(rows), *value.shape[1:])[rows, at_end]

        direction, constant = answer_direction(model, answer, instead)
        read = direction / read_at("final.scale")
        parts = {name: _read(read_at(name), read) for name in starts}
        neurons = []
        for layer in layers:
            at, own = f"L{layer:02d}", model.layer(layer)
            writes, by_heads = read_at(f"{at}.head_writes"), read
            if own.behind:
                by_heads, parts[f"{at}.ATTN.LN"] = _behind(own.behind, read_at(f"{at}.attn_sum"), read)
            for head in range(model.decoder.sizes.head):
                parts[f"{at}.H{head:02d}.OV"] = _read(writes[:, head], by_heads)
            if own.out_bias is not None:
                parts[f"{at}.ATTN.B"] = _read(own.out_bias, by_heads)
            by_neurons = read
            if own.behind_mlp:
                by_neurons, parts[f"{at}.MLP.LN"] = _behind(own.behind_mlp, read_at(f"{at}.mlp_sum"), read)
            said = read_at(f"{at}.post") * (by_neurons @ own.write.T)
            parts[f"{at}.N*.OUT"] = _read(read_at(f"{at}.neuron_writes"), by_neurons)
            if own.write_bias is not None:
                parts[f"{at}.MLP.B"] = _read(own.write_bias, by_neurons)
            neurons.append(said)
        parts["LNF"] = constant.expand(len(read))
        total = _read(read_at(model.last_resid), read) + constant
    return DirectEffects(parts, torch.stack(neurons), total)


def answer_direction(
    model: Model, answer: str | int, instead: str | int | None = None
) -> tuple[Float[Tensor, " model"], Float[Tensor, ""]]:
    """The direction of the stream (over the final norm's scale) that raises `answer` over `instead`; the bias's part.

    The norm's centring and gain are folded in: the difference of logits is stream · direction / scale + constant.
    """
    table = model.unembedding
    row = table[token_id(model, answer) if isinstance(answer, str) else answer]
    if instead is not None:
        row = row - table[token_id(model, instead) if isinstance(instead, str) else instead]
    return model.final_norm.folded(row)


def _behind(
    norm: NormView, total: Float[Tensor, "batch model"], read: Float[Tensor, "batch model"]
) -> tuple[Float[Tensor, "batch model"], Float[Tensor, " batch"]]:
    """The direction that says of a write what `read` says of it behind a norm of the `total`; what the bias adds."""
    direction, constant = norm.folded(read)
    return direction / norm.scale(total), constant


def _read(write: Float[Tensor, "*batch model"], read: Float[Tensor, "batch model"]) -> Float[Tensor, " batch"]:
    return (write * read).sum(-1)
