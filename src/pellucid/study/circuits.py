"""Circuits: which edges carry a task, measured by letting every other edge carry the corrupted run's message. Exact.

A reader's input is the corrupted stream plus, for each writer that it is joined to, what that writer says now minus
what it says in the corrupted run. With all edges that is the clean run, with none the corrupted one. Faithfulness is
how far from the corrupted to the clean metric a circuit gets; CPR and CMD are the area under its curve over sizes and
the area between the curve and 1, as in the MIB benchmark (arXiv 2504.13151).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.base.work import mapped
from pellucid.engine.batches import in_batches
from pellucid.engine.subjects import Subject, edits_of, model_of
from pellucid.engine.tasks import Batch, MinimalPairs
from pellucid.exact.graph import Edit
from pellucid.study.attribute import STEPS, EdgeScores, NormedHeads, behind_heads, edge_attribution, messages, pooled
from pellucid.study.wiring import Wiring

SIZES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""The shares of edges that faithfulness curves have in the MIB benchmark."""
PROMPTS = 16
Edges = Bool[Tensor, "writer reader"]


@dataclass(frozen=True)
class Circuit:
    """Edges of a model that carry a task, with the score of every edge and the faithfulness that was measured."""

    wiring: Wiring
    """The writers and readers that edges join."""
    edges: Edges = field(repr=False)
    """Which edges are in it."""
    scores: Float[Tensor, "writer reader"] = field(repr=False)
    """The score of each edge of the model, in the task's metric."""
    task: str = ""
    """What the task is called."""
    faithfulness: float | None = None
    """Of the way from the corrupted run to the model's, the share that the circuit goes; 1 is all of it. None: not
    measured.
    """

    def __repr__(self) -> str:
        faithful = "" if self.faithfulness is None else f", faithfulness {self.faithfulness:.3f}"
        most = ", ".join(f"{line['from']} → {line['to']}" for line in self.table[:3])
        named = f" {self.task!r}" if self.task else ""
        return f"<Circuit{named}: {len(self)} of {int(self.wiring.real.sum())} edges{faithful}; most: {most or 'none'}>"

    def __len__(self) -> int:
        return int(self.edges.sum())

    @property
    def share(self) -> float:
        """The share of the model's edges."""
        return len(self) / int(self.wiring.real.sum())

    @property
    def nodes(self) -> list[str]:
        """The writers that have an edge, in order of execution."""
        return [name for name, used in zip(self.wiring.writers, self.edges.any(1).tolist(), strict=True) if used]

    @property
    def table(self) -> list[dict[str, Any]]:
        """One line an edge, the largest score first."""
        lines = [
            self.wiring.told(writer, reader) | {"score": float(self.scores[writer, reader])}
            for writer, reader in self.edges.nonzero().tolist()
        ]
        return sorted(lines, key=lambda line: -abs(float(line["score"])))


def largest(scores: EdgeScores, count: int, *, absolute: bool = True, task: str = "") -> Circuit:
    """The circuit of the `count` edges with the largest scores, without those that no path leads through."""
    real = scores.wiring.real
    ranked = (scores.scores.abs() if absolute else scores.scores).masked_fill(~real, -torch.inf).flatten()
    count = max(0, min(count, int(real.sum())))
    edges = torch.zeros_like(real)
    edges.view(-1)[ranked.topk(count).indices] = True
    return Circuit(scores.wiring, scores.wiring.connected(edges), scores.scores, task)


# --- running a circuit ------------------------------------------------------------------------------------------------


def circuit_final(
    subject: Subject,
    ids: Int[Tensor, "batch pos"],
    corrupted: Float[Tensor, "writer batch pos model"],
    streams: dict[str, Tensor],
    edges: Edges | Float[Tensor, "writer reader"],
) -> Float[Tensor, "batch pos model"]:
    """The final stream of `ids` where only `edges` carry messages; all others carry the `corrupted` ones.

    An edge may also carry a share of the one message, and of the other what is left.

    `streams` are the corrupted run's inputs of readers (`L00.resid_pre`, `L00.resid_mid`, … and the last stream).
    """
    model = model_of(subject)
    wiring = Wiring.of(model.decoder)
    change = torch.zeros_like(corrupted)
    kept = edges.to(corrupted)
    edits: dict[str, Edit] = dict(edits_of(subject, ids))

    def reads(layer: int, part: str) -> Edit:
        before, own = wiring.before(layer, part), wiring.reads_at(layer, part)
        late = part == "mlp" and not wiring.parallel
        name = f"L{layer:02d}.{'resid_mid' if late else 'resid_pre'}"

        def edit(_: Tensor) -> Tensor:
            carried: Tensor = torch.tensordot(kept[:before, own].T, change[:before], 1) + streams[name]
            return carried[0] if part == "mlp" else carried.permute(1, 2, 0, 3)

        return edit

    def says(at: int | slice, order: Callable[[Tensor], Tensor]) -> Edit:
        def edit(x: Tensor) -> Tensor:
            change[at] = order(x) - corrupted[at]
            return x

        return edit

    def normed(at: slice, norm: NormedHeads) -> Edit:
        def edit(x: Tensor) -> Tensor:
            change[at] = norm(change[at] + corrupted[at], x) - corrupted[at]
            return x

        return edit

    edits["L00.resid_pre"] = says(0, lambda x: x)
    edits |= {f"L{layer:02d}.attn_sum": normed(wiring.heads_at(layer), n) for layer, n in behind_heads(model).items()}
    for layer in range(wiring.layers):
        name = f"L{layer:02d}"
        edits |= {f"{name}.{part}_in": reads(layer, part) for part in "qkv"} | {f"{name}.mlp_in": reads(layer, "mlp")}
        edits[f"{name}.head_writes"] = says(wiring.heads_at(layer), lambda x: x.permute(2, 0, 1, 3))
        edits[f"{name}.mlp_out"] = says(wiring.mlp_at(layer), lambda x: x)
    edits["final_in"] = lambda _: torch.tensordot(kept[:, -1], change, 1) + streams["end"]
    return model.run(ids, ("final",), edits=edits)["final"]


@dataclass
class Examiner:
    """Measures circuits of one subject on one task; what the corrupted run says is computed once a batch.

    `resample` draws the corrupted run of each prompt from the other prompts of its batch instead of its own partner.
    """

    subject: Subject
    task: MinimalPairs
    prompts: int = PROMPTS
    resample: int | None = None
    _clean: float | None = None
    _corrupted: float | None = None

    @property
    def clean(self) -> float:
        """The mean metric of the clean prompts."""
        if self._clean is None:
            self._clean = self._plain(False)
        return self._clean

    @property
    def corrupted(self) -> float:
        """The mean metric where every edge carries the corrupted message."""
        if self._corrupted is None:
            self._corrupted = self._plain(True)
        return self._corrupted

    def value(self, edges: Edges) -> float:
        """The mean metric of the circuit `edges`."""
        return self._mean(lambda ids, other: self._run(ids, other, edges))

    def faithfulness(self, edges: Edges) -> float:
        """(metric of the circuit − corrupted) / (clean − corrupted).

        Raises `PellucidError` where the two runs do not differ: there is nothing to explain then.
        """
        if abs(self.clean - self.corrupted) < 1e-9:
            raise PellucidError(f"the metric of {self.task.name} is {self.clean:.4g} in both runs: nothing to explain")
        return (self.value(edges) - self.corrupted) / (self.clean - self.corrupted)

    def _plain(self, corrupted: bool) -> float:
        def run(ids: Tensor, other: Tensor) -> Tensor:
            rows = other if corrupted else ids
            return model_of(self.subject).run(rows, ("final",), edits=edits_of(self.subject, rows))["final"]

        return self._mean(run)

    def _mean(self, run: Callable[[Tensor, Tensor], Tensor]) -> float:
        model = model_of(self.subject)
        total, count = 0.0, 0
        with torch.no_grad():
            for batch in self.task.batches(model):
                others = self._others(batch.corrupted)

                def work(at: slice, batch: Any = batch, others: Tensor = others) -> float:
                    final = run(batch.clean[at], others[at])[:, batch.metric.position]
                    rows = torch.arange(len(batch.clean), device=model.device)[at]
                    return float(batch.metric(model, final, rows).double().sum())

                total += sum(in_batches(len(batch.clean), self.prompts, work, "prompts"))
                count += len(batch.clean)
        return total / count

    def _others(self, corrupted: Tensor) -> Tensor:
        if self.resample is None:
            return corrupted
        order = torch.randperm(len(corrupted), generator=torch.Generator().manual_seed(self.resample))
        return corrupted[order.to(corrupted.device)]

    def _run(self, ids: Tensor, other: Tensor, edges: Edges) -> Tensor:
        model = model_of(self.subject)
        layers = range(model.decoder.layers)
        middle = () if model.decoder.blocks[0].parallel else ("resid_mid",)
        names = [f"L{layer:02d}.{name}" for layer in layers for name in ("resid_pre", *middle, "resid_post")]
        streams = model.run(other, tuple(names), edits=edits_of(self.subject, other))
        streams["end"] = streams[names[-1]]
        return circuit_final(self.subject, ids, messages(self.subject, other), streams, edges)


# --- finding and judging ----------------------------------------------------------------------------------------------


def score_edges(subject: Subject, task: MinimalPairs, method: str = "ig", steps: int = STEPS) -> EdgeScores:
    """Edge attribution on all prompts of `task`: the mean over them.

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        task: Pairs of prompts with their answers.
        method: `gradient`, `ig` or `relp`.
        steps: Points of the path, of `ig`.

    Returns:
        A score for every edge, in the task's metric.

    Raises:
        PellucidError: An unknown method, fewer than one step, or a task that the subject cannot read.
    """
    model = model_of(subject)

    def of_batch(batch: Batch) -> tuple[EdgeScores, int]:
        found = edge_attribution(subject, batch.clean, batch.corrupted, batch.metric, method, steps)
        return found, len(batch.clean)

    return pooled([*mapped(of_batch, task.batches(model), f"edges of {task.name}")])


def find_circuit(
    subject: Subject,
    task: MinimalPairs,
    budget: float | int = 0.05,
    *,
    faithful: float | None = None,
    method: str = "ig",
    scores: EdgeScores | None = None,
    test: MinimalPairs | None = None,
) -> Circuit:
    """A circuit for `task` of at most `budget` edges, found, verified and pruned.

    A whole number is a number of edges (1: a single one), a fraction up to 1.0 a share of all.

    Edge attribution ranks the edges; the largest of them within the budget are run exactly. With `faithful`, edges are
    then taken out again, the least first, in halves down to single ones, for as long as the faithfulness stays at
    least that. The faithfulness that comes back is measured on `test`, which the search did not see, where given.

    Source: edges by EAP-IG (Hanna et al., 2024, arXiv 2403.17806).

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        task: Pairs of prompts with their answers.
        budget: How many edges at most: a whole number, or a share up to 1.0 of all.
        faithful: Prune for as long as the faithfulness stays at least that; no pruning without it.
        method: What ranks edges: `gradient`, `ig` or `relp`.
        scores: Scores that are known already.
        test: Other pairs to measure the faithfulness on.

    Returns:
        The circuit with its edges and its measured faithfulness.

    Raises:
        PellucidError: A budget that is no number of edges, a task whose metric is the same in both runs, or that the
            subject cannot read.
    """
    scores = scores or score_edges(subject, task, method)
    total = int(scores.wiring.real.sum())
    circuit = largest(scores, _count(budget, total), task=task.name)
    examiner = Examiner(subject, task)
    if faithful is not None:
        circuit = replace(circuit, edges=_pruned(circuit, examiner, faithful))
    judge = examiner if test is None else Examiner(subject, test)
    return replace(circuit, faithfulness=judge.faithfulness(circuit.edges))


def _count(budget: float | int, total: int) -> int:
    """How many of `total` edges a budget allows."""
    whole = isinstance(budget, Integral) or (budget > 1 and float(budget).is_integer())
    if not budget > 0 or not (whole or budget <= 1):
        raise PellucidError(
            f"the budget is {budget}, expected a share of all edges above 0 and up to 1.0, or a whole number of them"
        )
    return int(budget) if whole else max(1, round(budget * total))


def _pruned(circuit: Circuit, examiner: Examiner, faithful: float) -> Edges:
    """The circuit's edges without as many of the least as leave it `faithful`; all where it is not so at once."""
    edges = circuit.edges.clone()
    if examiner.faithfulness(edges) < faithful:
        return edges
    size = max(1, int(edges.sum()) // 2)
    while True:
        at = edges.nonzero()
        order = circuit.scores[at[:, 0], at[:, 1]].abs().argsort()
        changed = False
        for start in range(0, len(order), size):
            chosen = at[order[start : start + size]]
            tried = edges.clone()
            tried[chosen[:, 0], chosen[:, 1]] = False
            tried = circuit.wiring.connected(tried)
            if examiner.faithfulness(tried) >= faithful:
                edges, changed = tried, True
            elif size > 1 or start > _PATIENCE:
                break
        if size == 1:
            return edges
        if not changed:
            size //= 2


_PATIENCE = 64
"""Single edges that are tried in vain before pruning ends."""


@dataclass(frozen=True)
class Curve:
    """Faithfulness over sizes of circuits. `cpr` is the area under the curve, `cmd` the area between it and 1."""

    task: str
    """What the task is called."""
    sizes: tuple[float, ...]
    """The shares of all edges."""
    faithfulness: tuple[float, ...]
    """The faithfulness of the circuit of each size."""
    edges: tuple[int, ...]
    """How many edges each has."""

    def __repr__(self) -> str:
        return f"<Curve {self.task!r}: {len(self.sizes)} sizes, CPR {self.cpr:.3f}, CMD {self.cmd:.3f}>"

    @property
    def cpr(self) -> float:
        """Circuit performance ratio: higher is better."""
        return _area(self.sizes, self.faithfulness)

    @property
    def cmd(self) -> float:
        """Circuit-model distance: 0 is best."""
        return _area(self.sizes, [abs(1 - value) for value in self.faithfulness])

    @property
    def table(self) -> list[dict[str, Any]]:
        """One line a size."""
        rows = zip(self.sizes, self.edges, self.faithfulness, strict=True)
        return [{"share": share, "edges": edges, "faithfulness": value} for share, edges, value in rows]


def _area(x: Sequence[float], y: Sequence[float]) -> float:
    """The trapezoids under y over x, as the benchmark adds them up: from the smallest size on, on a linear axis."""
    points = pairwise(zip(x, y, strict=True))
    return sum((right - left) * (low + high) / 2 for (left, low), (right, high) in points)


def faithfulness_curve(
    subject: Subject, task: MinimalPairs, scores: EdgeScores, sizes: Sequence[float] = SIZES, *, absolute: bool = True
) -> Curve:
    """The faithfulness of the circuits of the largest edges at each share of `sizes`.

    Source: the MIB benchmark (arXiv 2504.13151).

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        task: Pairs of prompts with their answers.
        scores: The scores that edges are ranked by.
        sizes: Shares of all edges, up to 1.
        absolute: Rank by absolute scores; else the most helpful first.

    Returns:
        Faithfulness and number of edges at each size.

    Raises:
        PellucidError: A task whose metric is the same in both runs, or that the subject cannot read.
    """
    examiner = Examiner(subject, task)
    total = int(scores.wiring.real.sum())
    circuits = [largest(scores, int(size * total), absolute=absolute) for size in sizes]
    found = mapped(lambda circuit: examiner.faithfulness(circuit.edges), circuits, f"circuits of {task.name}")
    return Curve(task.name, tuple(sizes), tuple(found), tuple(len(circuit) for circuit in circuits))


@dataclass(frozen=True)
class Judgement:
    """How complete and how minimal a circuit is, and how it fares under resampling.

    `incompleteness` is the largest |F(C − K) − F(M − K)| over the sets K of nodes that were taken out of the circuit
    and of the model alike; `without` has the faithfulness the circuit loses with each of its nodes; `resampled` is its
    faithfulness where edges outside carry what other prompts of the task say (in the manner of causal scrubbing).
    """

    faithfulness: float
    """As of the circuit, see `Circuit`."""
    incompleteness: float
    without: dict[str, float]
    resampled: float

    @property
    def table(self) -> list[dict[str, Any]]:
        """One line a node, the most needed first."""
        return [{"node": name, "lost": lost} for name, lost in sorted(self.without.items(), key=lambda item: -item[1])]


def judge(subject: Subject, task: MinimalPairs, circuit: Circuit, sets: int = 8, seed: int = 0) -> Judgement:
    """Judge a circuit as Wang et al. (2022, arXiv 2211.00593, section 4) do, with random sets, and by resampling.

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        task: Pairs of prompts with their answers.
        circuit: What `find_circuit` found.
        sets: Random sets of nodes to try.
        seed: What they are drawn from.

    Returns:
        Faithfulness, incompleteness, what it loses without each node, and its faithfulness under resampling.

    Raises:
        PellucidError: A task that the subject cannot read.
    """
    examiner = Examiner(subject, task)
    whole = examiner.faithfulness(circuit.edges)
    names = [name for name in circuit.nodes if name != "input"]
    draw = torch.Generator().manual_seed(seed)
    gaps = [0.0]
    for _ in range(sets):
        taken = [name for name in names if float(torch.rand(1, generator=draw)) < 0.5]
        within, without = (_without(circuit.wiring, edges, taken) for edges in (circuit.edges, circuit.wiring.real))
        gaps.append(abs(examiner.faithfulness(within) - examiner.faithfulness(without)))
    lost = {name: whole - examiner.faithfulness(_without(circuit.wiring, circuit.edges, [name])) for name in names}
    resampled = Examiner(subject, task, resample=seed)
    return Judgement(whole, max(gaps), lost, resampled.faithfulness(circuit.edges))


def _without(wiring: Wiring, edges: Edges, nodes: Sequence[str]) -> Edges:
    """`edges` without those that `nodes` write to."""
    kept = edges.clone()
    kept[[wiring.writers.index(name) for name in nodes]] = False
    return kept
