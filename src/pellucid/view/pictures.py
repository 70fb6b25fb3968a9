"""Pictures of what the engine found: drawn with matplotlib, shown in notebooks, saved as one HTML file or as PNG.

`picture` knows what to draw of each result; `attention` draws a pattern. A picture carries its numbers (`table`).
Tokens and names are text from strangers: they are escaped in HTML, and never read as markup or formulas.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import singledispatch
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from pellucid.base.errors import PellucidError
from pellucid.base.files import atomic_path, write_text
from pellucid.engine.sweep import STREAMS, Sweep
from pellucid.engine.trace import Trace
from pellucid.study.circuits import Circuit, Curve
from pellucid.study.heads import HABITS, HeadScores
from pellucid.study.readout import DirectEffects, Lens
from pellucid.study.why import Cause, Why

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

SIGNED, PLAIN = "RdBu_r", "viridis"
RAISES, LOWERS, LOOKS, STREAM = "#b2182b", "#2166ac", "#555555", "#999999"
TOKEN = "EMB.TOK"
Spots = dict[tuple[str, int], tuple[float, float]]
"""Where parts at positions stand."""
Kinds = Mapping[str, Mapping[str, Any]]
"""What lines mean, and how they look."""
LONGEST = 14
"""Characters of a token that are shown."""
BARS = 25
_STYLE = "body{font:14px/1.4 sans-serif;margin:2em;color-scheme:light dark}table{border-collapse:collapse}"
_STYLE += "th,td{padding:.15em .7em;text-align:left;border-bottom:1px solid #8884}svg{max-width:100%;height:auto}"


@dataclass(frozen=True)
class Picture:
    """A drawing with its numbers."""

    title: str
    """What stands above it."""
    figure: Figure = field(repr=False)
    """The figure of Matplotlib."""
    table: list[dict[str, Any]] = field(repr=False)
    """The numbers that are drawn, one line each."""

    def __repr__(self) -> str:
        return f"<Picture {self.title!r}, {len(self.table)} lines; .save(FILE) writes .png, .svg or .html>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return f"<figure>{self.svg()}</figure>"

    def svg(self) -> str:
        """The drawing as SVG that needs nothing else."""
        import matplotlib

        out = io.StringIO()
        with _quiet(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pellucid"}):
            nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            self.figure.savefig(out, format="svg", bbox_inches="tight", metadata=nothing)
        text = out.getvalue()
        return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)

    def save_png(self, path: Path | str, dpi: int = 150) -> None:
        """Write the drawing as PNG, atomically."""
        with atomic_path(Path(path)) as temporary, _quiet():
            self.figure.savefig(temporary, format="png", dpi=dpi, bbox_inches="tight")

    def save(self, path: Path | str) -> None:
        """Write the drawing as what the name ends in: `.png`, `.svg`, or `.html` with its table."""
        ending = Path(path).suffix.lower()
        if ending not in (".png", ".svg", ".html"):
            raise PellucidError(f"{str(path)!r} does not say what to write; expected a name in .png, .svg or .html")
        if ending == ".svg":
            write_text(Path(path), self.svg() + "\n")
        else:
            (self.save_png if ending == ".png" else self.save_html)(path)

    def save_html(self, path: Path | str) -> None:
        """Write the drawing and its table as one HTML file that loads nothing."""
        policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        title = html.escape(self.title)
        parts = [
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}"><style>{_STYLE}</style></head>',
            f"<body><h1>{title}</h1>{self.svg()}{_html_table(self.table)}</body></html>",
        ]
        write_text(Path(path), "\n".join(parts) + "\n")


def _html_table(lines: Sequence[dict[str, Any]], most: int = 200) -> str:
    if not lines:
        return ""
    names = list(lines[0])
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = [
        "<tr>" + "".join(f"<td>{html.escape(_written(line.get(name)))}</td>" for name in names) + "</tr>"
        for line in lines[:most]
    ]
    more = f"<p>and {len(lines) - most:,} more</p>" if len(lines) > most else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{more}"


def _written(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# --- what is drawn of what --------------------------------------------------------------------------------------------


@singledispatch
def picture(result: Any, title: str | None = None) -> Picture:
    """The picture of a sweep, direct effects, head scores, a lens, a circuit, a curve, or a `why`.

    Args:
        result: A sweep, direct effects, head scores, a lens, a circuit, a curve, or a `why`.
        title: What stands above it.

    Returns:
        A picture; `save(FILE)` writes .png, .svg or .html.

    Raises:
        PellucidError: Anything else; `attention` draws the patterns of a trace.
    """
    del title
    raise PellucidError(f"there is no picture of a {type(result).__name__}; attention() draws the patterns of a trace")


@picture.register
def _(result: Sweep, title: str | None = None) -> Picture:
    share, unit = result.recovered.numpy(), "share of the way\nfrom base to source"
    if np.isnan(share).all():
        share, unit = result.effect.numpy(), "what it adds\nto the metric"
    tokens = [f"{at} {_shown(token)}" for at, token in zip(result.positions, result.tokens, strict=True)]
    if result.kind in STREAMS:
        values, rows, columns = share[:, 0], [f"L{layer:02d}" for layer in result.layers], tokens
    elif len(result.layers) * len(result.members) <= 60:
        letter = "N" if result.kind == "neuron" else "H"
        values, columns = share.reshape(-1, share.shape[2]), tokens
        rows = [f"L{n:02d}.{letter}{_number(letter, m)}" for n in result.layers for m in result.members]
    else:
        letter = "N" if result.kind == "neuron" else "H"
        strongest = np.abs(np.nan_to_num(share)).argmax(2)
        values = np.take_along_axis(share, strongest[..., None], 2)[..., 0]
        rows = [f"L{n:02d}" for n in result.layers]
        columns = [f"{letter}{_number(letter, m)}" for m in result.members]
    return _heat_map(title or f"{result.kind} patched, piece by piece", values, rows, columns, result.table, unit)


def _number(letter: str, member: int) -> str:
    """A head's or neuron's number as addresses have it."""
    return f"{member:04d}" if letter == "N" else f"{member:02d}"


@picture.register
def _(result: Lens, title: str | None = None) -> Picture:
    pad = result.pads[0]
    share = result.logits[:, 0, pad:].float().softmax(-1).amax(-1)
    words = [[_shown(word) for word in rows[0][pad:]] for rows in result.says]
    columns = [f"{at} {_shown(token)}" for at, token in enumerate(result.tokens[0][pad:])]
    name = title or "what each layer would say, and how surely"
    drawn = share.cpu().numpy(), list(result.streams), columns, result.table
    return _heat_map(name, *drawn, "probability of what it says", words=words, signed=False)


@picture.register
def _(result: HeadScores, title: str | None = None) -> Picture:
    layers, heads = result["induction"].shape
    figure, axes = _figure(2.2 + 0.4 * heads * len(HABITS), 1.6 + 0.4 * layers, len(HABITS))
    for habit, ax in zip(HABITS, axes, strict=True):
        image = ax.imshow(result[habit].numpy(), cmap=SIGNED, vmin=-1, vmax=1)
        _label(ax, [f"L{n:02d}" for n in range(layers)], [f"H{n:02d}" for n in range(heads)])
        ax.set_title(habit.replace("_", " "))
    figure.colorbar(image, ax=axes, label="share of attention; copying: −1 to 1")
    name = title or "what heads do on a text that is said twice"
    figure.suptitle(name)
    return Picture(name, figure, result.table)


@picture.register
def _(result: DirectEffects, title: str | None = None) -> Picture:
    lines = [line for line in result.table if float(line["effect"])][:BARS]
    names, values = [str(line["part"]) for line in lines], [float(line["effect"]) for line in lines]
    return _bars(title or "what each part adds to the logits directly", names, values, result.table, "logits")


@picture.register
def _(result: Why, title: str | None = None) -> Picture:
    names = [f"{cause.part} at {cause.position} {_shown(cause.token)}" for cause in result.causes]
    shares = [100 * cause.share for cause in result.causes if cause.share is not None]
    values = shares or [cause.effect for cause in result.causes]
    unit = "lost without it, % of the difference" if shares else "lost without it, nats"
    notes = [_shown(cause.phrase, 60) for cause in result.causes]
    return _bars(title or _headline(result), names, values, result.table, unit, notes)


@picture.register
def _(result: Curve, title: str | None = None) -> Picture:
    figure, (ax,) = _figure(5.0, 3.2)
    ax.plot(result.sizes, result.faithfulness, marker="o", label="circuits of the largest edges")
    ax.axhline(1, color="gray", linewidth=0.8, label="the whole model")
    ax.set_xscale("log")
    ax.set_xlabel("share of edges")
    ax.set_ylabel("faithfulness")
    ax.legend(fontsize=7)
    name = title or f"{result.task}: CPR {result.cpr:.3f}, CMD {result.cmd:.3f}"
    ax.set_title(name, parse_math=False)
    return Picture(name, figure, result.table)


@picture.register
def _(result: Circuit, title: str | None = None) -> Picture:
    places = _coordinates(result)
    figure, (ax,) = _figure(max(6.5, 1.1 * result.wiring.heads + 3), 1.0 * (result.wiring.layers * 2 + 2))
    drawn: dict[tuple[str, str], float] = {}
    for writer, reader in result.edges.nonzero().tolist():
        ends = result.wiring.writers[writer], result.wiring.readers[reader].partition("<")[0]
        drawn[ends] = drawn.get(ends, 0.0) + float(result.scores[writer, reader])
    scale = max(map(abs, drawn.values()), default=0.0) or 1.0
    for (source, target), score in drawn.items():
        _arrow(ax, places[source], places[target], abs(score) / scale, RAISES if score > 0 else LOWERS)
    for name in dict.fromkeys(end for ends in drawn for end in ends):
        _box(ax, places[name], result.wiring.address(name))
    ax.set_xlim(-1, max(x for x, _ in places.values()) + 1)
    ax.set_ylim(-0.8, max(y for _, y in places.values()) + 0.8)
    ax.axis("off")
    kinds: Kinds = {"raises the metric": {"color": RAISES}, "lowers it": {"color": LOWERS}}
    _legend(
        ax, {**kinds, "queries, keys and values together; the wider, the larger the score": {"color": "gray", "lw": 3}}
    )
    faithful = "" if result.faithfulness is None else f", faithfulness {result.faithfulness:.2f}"
    name = title or f"{result.task or 'circuit'}: {len(result)} edges ({100 * result.share:.1f} %){faithful}"
    ax.set_title(name, parse_math=False)
    return Picture(name, figure, result.table)


def graph(result: Why, title: str | None = None) -> Picture:
    """A `why` as a graph: tokens at the bottom, the parts behind the prediction at their layers, what is said on top.

    Arrows show where heads look, with the share of their attention, and the way up at one position; boxes show what is
    lost without the part. Only what was verified is drawn.

    Args:
        result: What `why` found.
        title: What stands above it.

    Returns:
        A picture; `save(FILE)` writes .png, .svg or .html.

    Raises:
        Nothing: All that `why` finds can be drawn.
    """
    last = len(result.tokens) - 1
    tokens = sorted({cause.position for cause in result.causes} | {last} | _looked(result))
    levels = sorted({_level(cause.part) for cause in result.causes if cause.part != TOKEN})
    placed = _columns(result, tokens, levels)
    across, top = max(x for x, _ in placed.values()), len(levels) + 1
    figure, (ax,) = _figure(2.5 + 1.25 * (across + 1), 2.2 + 0.85 * (top + 1))
    end = placed[TOKEN, last][0], float(top)
    _graph_arrows(ax, result, placed, end)
    _graph_boxes(ax, result, placed)
    sides = [_said(word, result.probabilities, n) for n, word in enumerate((result.said, result.instead))]
    _box(ax, end, "\nrather than ".join(sides))
    ax.set_xlim(-0.9, across + 0.9)
    ax.set_ylim(-0.6, top + 0.6)
    ax.axis("off")
    kinds: Kinds = {
        "looks at, with the share of its attention": {"color": LOOKS, "lw": 2},
        "up the stream": {"color": STREAM},
        "box: the prediction needs it": {"color": RAISES, "lw": 6},
        "box: it speaks against it": {"color": LOWERS, "lw": 6},
    }
    _legend(ax, kinds)
    name = title or _headline(result)
    ax.set_title(name, parse_math=False)
    return Picture(name, figure, result.table)


def _graph_arrows(ax: Axes, result: Why, placed: Spots, end: tuple[float, float]) -> None:
    """Where heads look, and the way up the stream at each position, at the last one to what is said."""
    for cause in result.causes:
        for key, _, share in cause.looks_at:
            at = placed[cause.part, cause.position]
            _arrow(ax, _below(placed, key, at), at, share, LOOKS, f"{100 * share:.0f} %")
    for position in {own for _, own in placed}:
        spots = [spot for (_, own), spot in placed.items() if own == position]
        spots += [end] if position == len(result.tokens) - 1 else []
        heights = sorted({y for _, y in spots})
        for low, high in pairwise(heights):
            for start, stop in product(spots, spots):
                if (start[1], stop[1]) == (low, high):
                    _arrow(ax, start, stop, 0.15, STREAM)


def _graph_boxes(ax: Axes, result: Why, placed: Spots) -> None:
    """Tokens and parts, with what is lost without them."""
    largest = max((abs(cause.effect) for cause in result.causes), default=0.0) or 1.0
    causes = {(cause.part, cause.position): cause for cause in result.causes}
    for (part, position), at in placed.items():
        name = f"{position} {_shown(result.tokens[position])}" if part == TOKEN else _short(part)
        if cause := causes.get((part, position)):
            _box(ax, at, f"{name}\n{_lost(cause)}", cause.effect / largest)
        else:
            _box(ax, at, name)


def attention(run: Trace, layer: int, heads: Sequence[int] | None = None, row: int = 0) -> Picture:
    """The attention patterns of some heads (all by default) of a layer that `run` recorded (`L00.pattern`).

    Args:
        run: A trace that recorded `L00.pattern`.
        layer: The layer, from 0.
        heads: The heads, from 0; all without it.
        row: The row of the trace.

    Returns:
        A picture; `save(FILE)` writes .png, .svg or .html.

    Raises:
        PellucidError: A layer that was not recorded, or a head or row that is not there.
    """
    whole = run[f"L{layer:02d}.pattern"]
    if not -len(whole) <= row < len(whole):
        raise PellucidError(f"row {row} is not among the {len(whole)} of the run")
    pad = run.ids.shape[1] - run.rows.lengths[row]
    pattern = whole[row, :, pad:, pad:].detach().float().cpu().numpy()
    chosen = list(range(len(pattern))) if heads is None else list(heads)
    if wrong := [head for head in chosen if not 0 <= head < len(pattern)]:
        raise PellucidError(f"head {wrong[0]} is not among the {len(pattern)} of layer {layer}")
    tokens = [_shown(token) for token in run.tokens[row][pad:]]
    size = 1.2 + 0.22 * len(tokens)
    figure, axes = _figure(size * len(chosen) + 0.8, size, len(chosen))
    for head, ax in zip(chosen, axes, strict=True):
        image = ax.imshow(pattern[head], cmap=PLAIN, vmin=0, vmax=1)
        _label(ax, tokens if head == chosen[0] else [], tokens)
        ax.set_title(f"L{layer:02d}.H{head:02d}")
        ax.set_xlabel("looked at")
    axes[0].set_ylabel("looks")
    figure.colorbar(image, ax=axes, label="share of attention")
    lines = [
        {"head": f"L{layer:02d}.H{head:02d}", "query": q, "key": k, "share": float(pattern[head, q, k])}
        for head in chosen
        for q in range(len(tokens))
        for k in range(q + 1)
    ]
    return Picture(f"attention in layer {layer}", figure, sorted(lines, key=lambda line: -float(line["share"])))


# --- the graph of a why -----------------------------------------------------------------------------------------------


def _headline(result: Why) -> str:
    """What was said, what not, how likely both are, and the difference of their logits."""
    said, instead = (
        _said(token, result.probabilities, side) for side, token in enumerate((result.said, result.instead))
    )
    return f"{said} rather than {instead}: {result.margin:+.2f} in the logits"


def _said(token: str, probabilities: tuple[float, float] | None, side: int) -> str:
    likely = "" if probabilities is None else f" ({100 * probabilities[side]:.3g} %)"
    return f"“{_shown(token)}”{likely}"


def _lost(cause: Cause) -> str:
    """What is lost without a part."""
    return f"{cause.effect:+.2f}" if cause.share is None else f"{100 * cause.share:.0f} %"


def _short(part: str) -> str:
    """A part's name on a box: a head, or the MLP of a layer."""
    return part.removesuffix(".OV").replace(".mlp_out", ".MLP")


def _level(part: str) -> tuple[int, int]:
    """The layer of a part, and whether it comes behind attention."""
    return int(part[1:3]), int(not part.endswith(".OV"))


def _looked(result: Why) -> set[int]:
    """The positions that heads look at."""
    return {key for cause in result.causes for key, _, _ in cause.looks_at}


def _columns(result: Why, tokens: Sequence[int], levels: Sequence[tuple[int, int]]) -> Spots:
    """Where tokens and parts stand: a column for each position, as wide as the most parts of one level in it."""
    found: Spots = {}
    x = 0.0
    for position in tokens:
        rows = [
            [c.part for c in result.causes if c.position == position and c.part != TOKEN and _level(c.part) == level]
            for level in levels
        ]
        width = max([1, *map(len, rows)])
        middle = x + (width - 1) / 2
        found[TOKEN, position] = (middle, 0.0)
        for y, parts in enumerate(rows):
            for n, part in enumerate(sorted(parts)):
                found[part, position] = (middle + n - (len(parts) - 1) / 2, y + 1.0)
        x += width
    return found


def _below(placed: Spots, position: int, at: tuple[float, float]) -> tuple[float, float]:
    """The highest thing at a position below a place: a part that was verified, or the token."""
    return max((spot for (_, own), spot in placed.items() if own == position and spot[1] < at[1]), key=lambda s: s[1])


# --- drawing ----------------------------------------------------------------------------------------------------------


def _figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(min(width, 40.0), min(height, 40.0)), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _heat_map(
    title: str,
    values: Float[np.ndarray, "row column"],
    rows: Sequence[str],
    columns: Sequence[str],
    table: list[dict[str, Any]],
    unit: str,
    *,
    words: Sequence[Sequence[str]] | None = None,
    signed: bool = True,
) -> Picture:
    wide = 0.9 if words else 0.42
    figure, (ax,) = _figure(3.0 + wide * len(columns), 1.8 + 0.3 * len(rows))
    largest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    low, high = (-largest, largest) if signed else (0.0, 1.0)
    image = ax.imshow(values, cmap=SIGNED if signed else PLAIN, aspect="auto", vmin=low, vmax=high)
    _label(ax, rows, columns)
    for y, line in enumerate(words or []):
        for x, word in enumerate(line):
            dark = "black" if values[y, x] > 0.6 else "white"
            ax.text(x, y, word, ha="center", va="center", fontsize=7, color=dark, parse_math=False)
    figure.colorbar(image, ax=ax, label=unit)
    ax.set_title(title, parse_math=False, wrap=True)
    return Picture(title, figure, table)


def _bars(
    title: str,
    names: Sequence[str],
    values: Sequence[float],
    table: list[dict[str, Any]],
    unit: str,
    notes: Sequence[str] = (),
) -> Picture:
    figure, (ax,) = _figure(7.0 + 0.05 * max([0, *map(len, notes)]), 1.4 + 0.28 * len(names))
    at = np.arange(len(names))
    ax.barh(at, values, color=[RAISES if value > 0 else LOWERS for value in values])
    ax.set_yticks(at, names)
    ax.invert_yaxis()
    ax.axvline(0, color="gray", linewidth=0.8)
    ax.set_xlabel(unit)
    _plain(ax)
    ax.set_title(title, parse_math=False)
    starts = [max(0.0, value) for value in values] if notes else []
    texts = [
        ax.text(start, y, f"  {note}", va="center", fontsize=7, parse_math=False)
        for y, (start, note) in enumerate(zip(starts, notes, strict=True))
    ]
    _make_room(figure, ax, texts, starts)
    return Picture(title, figure, table)


def _make_room(figure: Figure, ax: Axes, texts: Sequence[Text], starts: Sequence[float]) -> None:
    """Widen the axis until texts that begin at `starts` end inside the frame."""
    for _ in range(2):
        with _quiet():
            figure.draw_without_rendering()
        whole = ax.get_window_extent().width
        left, right = ax.get_xlim()
        shares = [min(0.8, (text.get_window_extent().width + 6) / whole) for text in texts]
        needed = [(start - left * share) / (1 - share) for start, share in zip(starts, shares, strict=True)]
        ax.set_xlim(left, max([right, *needed]))


def _arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], size: float, colour: str, label: str = ""
) -> None:
    """An arrow whose width is `size`, between 0 and 1, with a label in its middle."""
    how = {"arrowstyle": "-|>", "lw": 0.6 + 3 * min(1.0, size), "alpha": 0.6, "shrinkA": 12, "shrinkB": 14}
    ax.annotate("", end, start, arrowprops=how | {"color": colour, "connectionstyle": "arc3,rad=0.08"})
    if label:
        middle = 0.5 * (start[0] + end[0]), 0.5 * (start[1] + end[1])
        ax.text(*middle, label, fontsize=7, ha="center", va="center", parse_math=False, backgroundcolor="#ffffffcc")


def _box(ax: Axes, at: tuple[float, float], text: str, strength: float | None = None) -> None:
    """A name in a box; of parts with a `strength` between −1 and 1, coloured by it."""
    from matplotlib import colormaps

    face = "white" if strength is None else colormaps[SIGNED](0.5 + 0.3 * max(-1.0, min(1.0, strength)))
    box = {"boxstyle": "round", "fc": face, "ec": "gray"}
    ax.text(*at, text, ha="center", va="center", fontsize=9, bbox=box, parse_math=False, zorder=3)


def _legend(ax: Axes, kinds: Kinds) -> None:
    """What lines mean, below the drawing."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], **how) for how in kinds.values()]
    ax.legend(lines, list(kinds), loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, fontsize=7, frameon=False)


def _label(ax: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    ax.set_xticks(np.arange(len(columns)), columns, rotation=90)
    ax.set_yticks(np.arange(len(rows)), rows)
    _plain(ax)


def _plain(ax: Axes) -> None:
    """Show labels as they are, not as formulas."""
    for label in (*ax.get_xticklabels(), *ax.get_yticklabels()):
        label.set_parse_math(False)


def _coordinates(circuit: Circuit) -> dict[str, tuple[float, float]]:
    """Where the nodes of a circuit stand: layers from the bottom up, heads from left to right."""
    heads = circuit.wiring.heads
    found = {"input": (heads / 2, 0.0), "logits": (heads / 2, 2.0 * circuit.wiring.layers + 1)}
    for layer in range(circuit.wiring.layers):
        found |= {f"a{layer}.h{head}": (float(head), 2.0 * layer + 1) for head in range(heads)}
        found[f"m{layer}"] = (heads + 0.5, 2.0 * layer + 2)
    return found


def _shown(text: str, most: int = LONGEST) -> str:
    """A text that fits a label: without line breaks and what cannot be printed, cut if it is long."""
    text = text if text.strip(" ") else text.replace(" ", "␣")
    plain = "".join(char if char.isprintable() else "·" for char in text.replace("\n", "⏎"))
    return plain if len(plain) <= most else plain[: most - 1] + "…"


@contextmanager
def _quiet() -> Iterator[None]:
    """Fonts that lack a sign are no reason to fail."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield
