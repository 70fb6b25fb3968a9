"""Pictures of what the engine found: drawn with matplotlib, shown in notebooks, saved as one HTML file or as PNG.

`picture` knows what to draw of each result; `attention` draws a pattern. A picture carries its numbers (`table`).
Tokens and names are text from strangers: they are escaped in HTML, and never read as markup or formulas.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from pellucid.base.errors import PellucidError
from pellucid.base.files import atomic_path, write_text
from pellucid.experiment.circuits import Circuit, Curve
from pellucid.experiment.heads import HABITS, HeadScores
from pellucid.experiment.readout import DirectEffects, Lens
from pellucid.experiment.sweep import STREAMS, Sweep
from pellucid.experiment.trace import Trace
from pellucid.experiment.why import Why

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIGNED, PLAIN = "RdBu_r", "viridis"
LONGEST = 14
"""Characters of a token that are shown."""
BARS = 25
_STYLE = "body{font:14px/1.4 sans-serif;margin:2em;color-scheme:light dark}table{border-collapse:collapse}"
_STYLE += "th,td{padding:.15em .7em;text-align:left;border-bottom:1px solid #8884}svg{max-width:100%;height:auto}"


@dataclass(frozen=True)
class Picture:
    """A drawing with its numbers."""

    title: str
    figure: Figure = field(repr=False)
    table: list[dict[str, Any]] = field(repr=False)

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

    Raises `PellucidError` for anything else; `attention` draws the patterns of a trace.
    """
    del title
    raise PellucidError(f"there is no picture of a {type(result).__name__}; attention() draws the patterns of a trace")


@picture.register
def _(result: Sweep, title: str | None = None) -> Picture:
    share, name = result.recovered.numpy(), title or f"{result.kind} patched: share of the way from base to source"
    if np.isnan(share).all():
        share, name = result.effect.numpy(), title or f"{result.kind} patched: what it adds to the metric"
    tokens = [f"{at} {_shown(token)}" for at, token in zip(result.positions, result.tokens, strict=True)]
    if result.kind in STREAMS:
        values, rows, columns = share[:, 0], [f"L{layer:02d}" for layer in result.layers], tokens
    else:
        letter = "N" if result.kind == "neuron" else "H"
        strongest = np.abs(share).argmax(2)
        values = np.take_along_axis(share, strongest[..., None], 2)[..., 0]
        rows, columns = [f"L{n:02d}" for n in result.layers], [f"{letter}{m}" for m in result.members]
    if result.kind not in STREAMS and len(result.layers) * len(result.members) <= 60:
        values = share.reshape(-1, share.shape[2])
        rows, columns = [f"L{n:02d}.{letter}{m}" for n in result.layers for m in result.members], tokens
    return _heat_map(name, values, rows, columns, result.table)


@picture.register
def _(result: Lens, title: str | None = None) -> Picture:
    share, top = result.logits[:, 0].float().softmax(-1).max(-1)
    words = [[_shown(result.model.tokenizer.decode([token])) for token in row] for row in top.tolist()]
    columns = [f"{at} {_shown(token)}" for at, token in enumerate(result.tokens[0])]
    name = title or "what each layer would say, and how surely"
    return _heat_map(name, share.numpy(), list(result.streams), columns, result.table, words=words, signed=False)


@picture.register
def _(result: HeadScores, title: str | None = None) -> Picture:
    layers, heads = result["induction"].shape
    figure, axes = _figure(2.2 + 0.4 * heads * len(HABITS), 1.6 + 0.4 * layers, len(HABITS))
    for habit, ax in zip(HABITS, axes, strict=True):
        image = ax.imshow(result[habit].numpy(), cmap=SIGNED, vmin=-1, vmax=1)
        _label(ax, [f"L{n:02d}" for n in range(layers)], [f"H{n}" for n in range(heads)])
        ax.set_title(habit.replace("_", " "))
    figure.colorbar(image, ax=axes)
    return Picture(title or "what heads do on a text that is said twice", figure, result.table)


@picture.register
def _(result: DirectEffects, title: str | None = None) -> Picture:
    lines = [line for line in result.table if float(line["effect"])][:BARS]
    names, values = [str(line["part"]) for line in lines], [float(line["effect"]) for line in lines]
    return _bars(title or "what each part adds to the logits directly", names, values, result.table)


@picture.register
def _(result: Why, title: str | None = None) -> Picture:
    names = [f"{cause.part} at {cause.position} {_shown(cause.token)}" for cause in result.causes]
    shares = [100 * cause.share for cause in result.causes if cause.share is not None]
    values = shares or [cause.effect for cause in result.causes]
    unit = "% of the difference" if shares else "nats"
    name = title or f"{_shown(result.said)} rather than {_shown(result.instead)}: {unit} lost without it"
    return _bars(name, names, values, result.table, [_shown(cause.words, 60) for cause in result.causes])


@picture.register
def _(result: Curve, title: str | None = None) -> Picture:
    figure, (ax,) = _figure(5.0, 3.2)
    ax.plot(result.sizes, result.faithfulness, marker="o")
    ax.axhline(1, color="gray", linewidth=0.8)
    ax.set_xscale("log")
    ax.set_xlabel("share of edges")
    ax.set_ylabel("faithfulness")
    name = title or f"{result.task}: CPR {result.cpr:.3f}, CMD {result.cmd:.3f}"
    ax.set_title(name, parse_math=False)
    return Picture(name, figure, result.table)


@picture.register
def _(result: Circuit, title: str | None = None) -> Picture:
    places = _places(result)
    figure, (ax,) = _figure(max(5.0, 0.8 * result.wiring.heads + 3), 1.0 * (result.wiring.layers * 2 + 2))
    scale = float(result.scores[result.edges].abs().max()) if len(result) else 1.0
    drawn: dict[tuple[str, str], float] = {}
    for writer, reader in result.edges.nonzero().tolist():
        ends = result.wiring.writers[writer], result.wiring.readers[reader].partition("<")[0]
        drawn[ends] = drawn.get(ends, 0.0) + float(result.scores[writer, reader])
    for (source, target), score in drawn.items():
        (x, y), (to_x, to_y) = places[source], places[target]
        how = {
            "arrowstyle": "-|>",
            "lw": 0.4 + 3 * min(1.0, abs(score) / scale),
            "alpha": 0.6,
            "shrinkA": 9,
            "shrinkB": 9,
        }
        colour = "#b2182b" if score > 0 else "#2166ac"
        ax.annotate("", (to_x, to_y), (x, y), arrowprops=how | {"color": colour, "connectionstyle": "arc3,rad=0.08"})
    for name in dict.fromkeys(end for ends in drawn for end in ends):
        ax.text(*places[name], name, ha="center", va="center", bbox={"boxstyle": "round", "fc": "white", "ec": "gray"})
    ax.set_xlim(-1, max(x for x, _ in places.values()) + 1)
    ax.set_ylim(-0.8, max(y for _, y in places.values()) + 0.8)
    ax.axis("off")
    faithful = "" if result.faithfulness is None else f", faithfulness {result.faithfulness:.2f}"
    name = title or f"{result.task or 'circuit'}: {len(result)} edges ({100 * result.share:.1f} %){faithful}"
    ax.set_title(name, parse_math=False)
    return Picture(name, figure, result.table)


def attention(run: Trace, layer: int, heads: Sequence[int] | None = None, row: int = 0) -> Picture:
    """The attention patterns of some heads (all by default) of a layer that `run` recorded (`L00.pattern`)."""
    pattern = run[f"L{layer:02d}.pattern"][row].detach().float().cpu().numpy()
    chosen = list(range(len(pattern))) if heads is None else list(heads)
    if wrong := [head for head in chosen if not 0 <= head < len(pattern)]:
        raise PellucidError(f"head {wrong[0]} is not among the {len(pattern)} of layer {layer}")
    tokens = [_shown(token) for token in run.tokens[row]]
    size = 1.2 + 0.22 * len(tokens)
    figure, axes = _figure(size * len(chosen), size, len(chosen))
    for head, ax in zip(chosen, axes, strict=True):
        ax.imshow(pattern[head], cmap=PLAIN, vmin=0, vmax=1)
        _label(ax, tokens if head == chosen[0] else [], tokens)
        ax.set_title(f"L{layer:02d}.H{head:02d}")
    lines = [
        {"head": f"L{layer:02d}.H{head:02d}", "query": q, "key": k, "share": float(pattern[head, q, k])}
        for head in chosen
        for q in range(len(tokens))
        for k in range(q + 1)
    ]
    return Picture(f"attention in layer {layer}", figure, sorted(lines, key=lambda line: -float(line["share"])))


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
    *,
    words: Sequence[Sequence[str]] | None = None,
    signed: bool = True,
) -> Picture:
    wide = 0.9 if words else 0.42
    figure, (ax,) = _figure(2.5 + wide * len(columns), 1.8 + 0.3 * len(rows))
    largest = float(np.nanmax(np.abs(values))) if values.size else 1.0
    low, high = (-largest, largest) if signed else (0.0, 1.0)
    image = ax.imshow(values, cmap=SIGNED if signed else PLAIN, aspect="auto", vmin=low, vmax=high)
    _label(ax, rows, columns)
    for y, line in enumerate(words or []):
        for x, word in enumerate(line):
            dark = "black" if values[y, x] > 0.6 else "white"
            ax.text(x, y, word, ha="center", va="center", fontsize=7, color=dark, parse_math=False)
    figure.colorbar(image, ax=ax)
    ax.set_title(title, parse_math=False)
    return Picture(title, figure, table)


def _bars(
    title: str,
    names: Sequence[str],
    values: Sequence[float],
    table: list[dict[str, Any]],
    notes: Sequence[str] = (),
) -> Picture:
    figure, (ax,) = _figure(7.0, 1.2 + 0.28 * len(names))
    colours = ["#b2182b" if value > 0 else "#2166ac" for value in values]
    at = np.arange(len(names))
    ax.barh(at, values, color=colours)
    ax.set_yticks(at, names)
    ax.invert_yaxis()
    ax.axvline(0, color="gray", linewidth=0.8)
    for y, note in enumerate(notes):
        ax.text(max(0.0, values[y]), y, f"  {note}", va="center", fontsize=7, parse_math=False)
    _plain(ax)
    ax.set_title(title, parse_math=False)
    return Picture(title, figure, table)


def _label(ax: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    ax.set_xticks(np.arange(len(columns)), columns, rotation=90)
    ax.set_yticks(np.arange(len(rows)), rows)
    _plain(ax)


def _plain(ax: Axes) -> None:
    """Show labels as they are, not as formulas."""
    for label in (*ax.get_xticklabels(), *ax.get_yticklabels()):
        label.set_parse_math(False)


def _places(circuit: Circuit) -> dict[str, tuple[float, float]]:
    """Where the nodes of a circuit stand: layers from the bottom up, heads from left to right."""
    heads = circuit.wiring.heads
    found = {"input": (heads / 2, 0.0), "logits": (heads / 2, 2.0 * circuit.wiring.layers + 1)}
    for layer in range(circuit.wiring.layers):
        found |= {f"a{layer}.h{head}": (head, 2.0 * layer + 1) for head in range(heads)}
        found[f"m{layer}"] = (heads + 0.5, 2.0 * layer + 2)
    return found


def _shown(text: str, most: int = LONGEST) -> str:
    """A text that fits a label: without line breaks and what cannot be printed, cut if it is long."""
    plain = "".join(char if char.isprintable() else "·" for char in text.replace("\n", "⏎"))
    return plain if len(plain) <= most else plain[: most - 1] + "…"


@contextmanager
def _quiet() -> Iterator[None]:
    """Fonts that lack a sign are no reason to fail."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield
