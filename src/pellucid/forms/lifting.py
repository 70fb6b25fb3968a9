"""Lifting: what heads move, along few directions; and what is the same everywhere, as a mean.

A head's write is z W_O, z being the values it looks at, mixed by its pattern. Let C be the covariance of z and G the
second moment of ∂ log p / ∂z over tokens drawn from the model's own predictions, so that a small change δ of z costs
½ E[δᵀGδ] nats (see `effect`). Among all maps of rank r, z̃ = μ + (z − μ) P costs least, as far as z and its gradient
are independent, with P = C^(−1/2) U_r U_rᵀ C^(1/2) and U_r the leading eigenvectors of C^(1/2) G C^(1/2) (reduced-rank
regression). The directions of a lower rank are the first of those of a higher one, so one pass over *fit* text finds
those of all ranks, and another over *tune* text what each of them costs. What neurons and heads read is lifted along
with it, see `channels`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.base.progress import track
from pellucid.exact.model import Model
from pellucid.family import needs
from pellucid.family.activations import activation
from pellucid.family.allowance import most_rank
from pellucid.forms.channels import ChannelMoments, Channels, Comparisons, roots
from pellucid.forms.form import StoredForm
from pellucid.forms.outputs import causal
from pellucid.forms.stored import Lifted, Still
from pellucid.measure.record import Recording, batches, record

LOOKS: Final[tuple[needs.Switch, ...]] = ("groups", "rotary", "head norms", "no biases", "windows", "score cap")
"""What keeps heads from looking along few directions: what they compare is no bilinear form of two streams."""
READS: Final[tuple[needs.Switch, ...]] = ("gates", "no biases")
"""What keeps neurons from reading along few directions, which replace one matrix and its bias."""


@dataclass(frozen=True)
class Basis:
    """The heads of a layer: z ≈ mean + (z − mean) · read[:, :r] · write[:r] for every rank r up to what is held."""

    mean: Float[Tensor, "head dim"]
    read: Float[Tensor, "head dim rank"]
    write: Float[Tensor, "head rank dim"]

    def lifted(self, address: Address, rank: int) -> Lifted:
        """The form of a head at a rank; 0 is its mean."""
        mean, read, write = (part[address.index] for part in (self.mean, self.read, self.write))
        return Lifted(address, mean, read[:, :rank], write[:rank])


@dataclass(frozen=True)
class Vectors:
    """All vectors that lifted parts may run with, by layer.

    What heads move (`bases`), what neurons write on average (`posts`), what neurons read (`channels`), and where heads
    look (`comparisons`). There are no channels or comparisons where a decoder is not served, see `READS` and `LOOKS`.
    """

    bases: tuple[Basis, ...]
    posts: tuple[Float[Tensor, " neuron"], ...]
    channels: tuple[Channels, ...]
    comparisons: tuple[Comparisons, ...]

    def form(self, address: Address, rank: int) -> StoredForm:
        """What the part at `address` is lifted to at a rank."""
        match address.kind:
            case "OV":
                return self.head(address, rank)
            case "OUT":
                return self.neuron(address)
            case "IN":
                return self.channels[address.layer].form(address, rank)
            case _:
                return self.comparisons[address.layer].form(address, rank)

    def head(self, address: Address, rank: int) -> Lifted:
        """What a head moves, at a rank; 0 is its mean."""
        return self.bases[address.layer].lifted(address, rank)

    def neuron(self, address: Address) -> Still:
        """What a neuron writes, on average."""
        return Still(address, float(self.posts[address.layer][address.index]))

    def mean(self, address: Address) -> Float[Tensor, " dim"]:
        """What a head mixes, on average."""
        return self.bases[address.layer].mean[address.index]

    def most(self, address: Address) -> int:
        """The highest rank that a neuron reads or a head looks with; 0 if it may not be lifted."""
        if address.kind == "IN":
            return self.channels[address.layer].read.shape[1] if self.channels else 0
        return self.comparisons[address.layer].bias.shape[1] if self.comparisons else 0

    def named(self, model: Model) -> dict[str, Tensor]:
        """The vectors as a program reads them, in coordinates of the residual stream.

        `L00.H02.OV.read` [model, rank], `.write` [rank, model], and `.centre` [rank]: x @ read where the head's write
        is its mean; of heads whose values are not their own, of what they mix: [dim, rank]. `L00.IN.read`, `.write`,
        `.centre`, `.offset` and `L00.H02.QK.read_q`, `.read_k`, `.bias`: see `Channels` and `Comparisons`.
        """
        found: dict[str, Tensor] = {}
        for layer, basis in enumerate(self.bases):
            for head in range(model.decoder.sizes.head):
                address = Address("OV", layer, head)
                found |= self.head(address, basis.read.shape[2]).named(model)
        for layer in range(len(self.bases)):
            for several in (self.channels, self.comparisons):
                found |= several[layer].named(layer) if several else {}
        return found


def fit_vectors(model: Model, averages: Mapping[str, Tensor], rows: Int[Tensor, "row pos"], seed: int = 0) -> Vectors:
    """The bases of all heads, fitted on `rows`; `averages` are mean activations (`L00.z`, `L00.post`)."""
    layers = range(model.decoder.layers)
    means = [averages[f"L{layer:02d}.z"] for layer in layers]
    spread = [torch.zeros(*mean.shape, mean.shape[1], dtype=torch.float64) for mean in means]
    slopes = [torch.zeros_like(total) for total in spread]
    names = [f"L{layer:02d}.z" for layer in layers]
    reads, looks = (not needs.present(model.decoder, *switches) for switches in (READS, LOOKS))
    moments = [ChannelMoments(model, layer, reads, looks) for layer in layers]
    wanted = [*names, *(name for moment in moments for name in moment.names)]
    slopes_at = [*names, *(name for moment in moments for name in moment.gradients)]
    batches_of = sum(1 for _ in batches(rows, model.n_vocab))
    for batch in track(record(model, rows, wanted, gradients=slopes_at, seed=seed), "lifting", batches_of):
        for moment in moments:
            moment.add(batch)
        for layer, name in enumerate(names):
            spread[layer] += _second_moment(batch.values[name] - means[layer])
            slopes[layer] += _second_moment(batch.gradients[0][name])
    most, count = most_rank(model.decoder), rows.numel()
    bases = tuple(_basis(mean, c / count, g / count, most) for mean, c, g in zip(means, spread, slopes, strict=True))
    posts = tuple(averages[f"L{layer:02d}.post"] for layer in layers)
    channels = tuple(m.channels() for m in moments if reads)
    return Vectors(bases, posts, channels, tuple(m.comparisons() for m in moments if looks))


def _second_moment(x: Float[Tensor, "batch pos head dim"]) -> Float64[Tensor, "head dim other"]:
    """Σ over positions of x xᵀ, for each head."""
    per_head = x.flatten(0, 1).transpose(0, 1)
    return (per_head.transpose(1, 2) @ per_head).double()


def _basis(
    mean: Float[Tensor, "head dim"],
    spread: Float64[Tensor, "head dim dim"],
    slopes: Float64[Tensor, "head dim dim"],
    most: int,
) -> Basis:
    """The directions of all heads of a layer up to rank `most`, from C (`spread`) and G (`slopes`)."""
    root, whiten = roots(spread)
    best = torch.linalg.eigh(root @ slopes @ root).eigenvectors.flip(2)[..., :most]
    return Basis(mean, (whiten @ best).float(), (best.transpose(1, 2) @ root).float())


# --- what it costs ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Costs:
    """Second-order estimates in nats per token, by layer.

    Of each head's OV at ranks 0, 1, …; of what each neuron writes, its mean; of each neuron along all channels of its
    layer (`reads`); and of where each head looks (`looks`), by its most directions.
    """

    heads: tuple[Float64[Tensor, "head ranks"], ...]
    neurons: tuple[Float64[Tensor, " neuron"], ...]
    reads: tuple[Float64[Tensor, " neuron"], ...]
    looks: tuple[Float64[Tensor, " head"], ...]


def costs(model: Model, vectors: Vectors, rows: Int[Tensor, "row pos"], seed: int = 0) -> Costs:
    """What each head would cost alone, lifted to every rank, and each neuron, writing its mean; all in one pass."""
    layers = range(model.decoder.layers)
    names = [f"L{layer:02d}.{name}" for layer in layers for name in ("z", "post", "pattern")]
    wanted = [*names, *(f"L{layer:02d}.{name}" for layer in layers for name in ("LN1", "LN2"))]
    reads: list[Tensor] = [torch.zeros(())] * len(vectors.channels)
    looks: list[Tensor] = [torch.zeros(())] * len(vectors.comparisons)
    heads: list[Tensor] = [torch.zeros(())] * len(layers)
    neurons: list[Tensor] = [torch.zeros(())] * len(layers)
    batches_of = sum(1 for _ in batches(rows, model.n_vocab))
    for batch in track(record(model, rows, wanted, gradients=names, seed=seed), "costs of lifted parts", batches_of):
        for layer in layers:
            heads[layer] = heads[layer] + _rank_squares(batch, f"L{layer:02d}.z", vectors.bases[layer])
            name = f"L{layer:02d}.post"
            slopes = ((vectors.posts[layer] - batch.values[name]) * batch.gradients[0][name]).sum(1)
            neurons[layer] = neurons[layer] + slopes.double().square().sum(0)
            if vectors.channels:
                reads[layer] = reads[layer] + _read_squares(model, batch, layer, vectors.channels[layer])
            if vectors.comparisons:
                looks[layer] = looks[layer] + _look_squares(model, batch, layer, vectors.comparisons[layer])
    scale = 2 * rows.numel()
    found = ([total / scale for total in totals] for totals in (heads, neurons, reads, looks))
    return Costs(*map(tuple, found))


def _read_squares(model: Model, batch: Recording, layer: int, channels: Channels) -> Float64[Tensor, " neuron"]:
    """Σ over rows of (Σ_t g_t · δ_t)² for every neuron that reads all channels."""
    at, rank = f"L{layer:02d}", channels.read.shape[1]
    said = (batch.values[f"{at}.LN2"] @ channels.read) @ channels.write + channels.bias(rank)
    posts = activation(model.decoder.activation).torch(said)
    slopes = ((posts - batch.values[f"{at}.post"]) * batch.gradients[0][f"{at}.post"]).sum(1)
    return slopes.double().square().sum(0)


def _look_squares(model: Model, batch: Recording, layer: int, comparisons: Comparisons) -> Float64[Tensor, " head"]:
    """The same for every head that compares all its directions."""
    at, rank = f"L{layer:02d}", comparisons.bias.shape[1]
    slopes = []
    for head in range(model.decoder.sizes.head):
        form = comparisons.form(Address("QK", layer, head), rank)
        pattern = causal(form.twin(batch.values[f"{at}.LN1"], model.decoder.blocks[layer].attention.scale))
        delta = (pattern - batch.values[f"{at}.pattern"][:, head]) * batch.gradients[0][f"{at}.pattern"][:, head]
        slopes.append(delta.sum((1, 2)))
    return torch.stack(slopes, 1).double().square().sum(0)


def _rank_squares(batch: Recording, name: str, basis: Basis) -> Float64[Tensor, "head ranks"]:
    """Σ over rows of (Σ_t g_t · (z̃_t − z_t))² for every head at every rank; rank 0 leaves all of z − mean out."""
    centred, slope = batch.values[name] - basis.mean, batch.gradients[0][name]
    along = torch.einsum("bphd,hdr->bphr", centred, basis.read)
    weight = torch.einsum("bphd,hrd->bphr", slope, basis.write)
    kept = (along * weight).sum(1).double().cumsum(-1)  # [batch head rank]: what the first directions carry
    whole = (centred * slope).sum((1, 3)).double()[..., None]
    return (torch.cat([torch.zeros_like(whole), kept], -1) - whole).square().sum(0)
