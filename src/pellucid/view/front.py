"""The picture of a front: KL and top-1 agreement against the numbers that programs hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from pellucid.verify.front import Front, Point
from pellucid.view.pictures import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLES: dict[str, dict[str, Any]] = {
    "channels": {
        "color": "#2166ac",
        "marker": "o",
        "linestyle": "-",
        "label": "all IN, k channels (hollow: over 45 %)",
    },
    "heads": {"color": "#1b7837", "marker": "s", "linestyle": "-", "label": "all QK, rank r (hollow: over 45 %)"},
    "program": {"color": "#b2182b", "marker": "*", "markersize": 11, "linestyle": "", "label": "this program"},
    "reference": {
        "color": "#666666",
        "marker": "^",
        "linestyle": "",
        "label": "tables of predictions (dashed: larger)",
    },
    "noise floor": {"color": "#e08214", "marker": "D", "linestyle": "", "label": "bfloat16"},
}
WIDE = 2.0
"""Times the subject's parameters beyond which a program is drawn as a line, whose label says how large it is."""
LEAST = 1e-7
"""KL below which points are drawn at the edge: the logarithm of 0 has no place."""


def drawn(found: Front) -> Picture:
    """KL above, disagreement of top tokens below, over the size of the program."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 6.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for name, style in _STYLES.items():
        points = sorted((p for p in found.points if p.curve == name), key=lambda p: p.numbers)
        far = WIDE * found.parameters
        _draw(above, [(p, max(p.kl, LEAST)) for p in points if p.kl is not None], style, far)
        _draw(below, [(p, max(100 - p.top1, 1e-3)) for p in points if p.top1 is not None], style, far)
    for ax in (above, below):
        ax.set_yscale("log")
        ax.margins(x=0.08, y=0.1)
        ax.grid(alpha=0.25, which="major")
        ax.axvline(found.parameters, color="#999999", linewidth=0.8, linestyle=":")
    above.set_ylabel("KL to the subject (nats a token)")
    below.set_ylabel("top tokens that differ (%)")
    below.set_xlabel("numbers that the program holds (dotted: the subject's parameters)")
    below.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:,.0f}k")
    figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    title = "fidelity for size"
    above.set_title(title)
    return Picture(title, figure, [_line(point) for point in found.points])


def _draw(ax: Axes, every: list[tuple[Point, float]], style: dict[str, Any], far: float) -> None:
    _lines(ax, [(p, y) for p, y in every if p.numbers > far], style)
    points = [(p, y) for p, y in every if p.numbers <= far]
    if not every:
        return
    ax.plot([p.numbers for p, _ in points], [y for _, y in points], **style)
    hollow = [(p, y) for p, y in points if p.allowed is False]
    ax.plot([p.numbers for p, _ in hollow], [y for _, y in hollow], style["marker"], color=style["color"], mfc="white")
    for n, (point, y) in enumerate(points):
        label = point.name if point.rank is None else str(point.rank)
        if point.rank is None or point.allowed != points[min(n + 1, len(points) - 1)][0].allowed or n == 0:
            left = point.curve == "channels"
            ax.annotate(
                label, (point.numbers, y), xytext=(-7, -3) if left else (7, 2), textcoords="offset points",
                fontsize=8, horizontalalignment="right" if left else "left",
            )  # fmt: skip


def _lines(ax: Axes, points: list[tuple[Point, float]], style: dict[str, Any]) -> None:
    """Programs of more numbers than the picture has room for, the label of the best one below its line."""
    best = min((y for _, y in points), default=0.0)
    for point, y in points:
        ax.axhline(y, color=style["color"], linewidth=0.8, linestyle="--")
        ax.annotate(
            f"{point.name}: {point.numbers / 1e6:,.1f}M numbers", (0.995, y), xycoords=ax.get_yaxis_transform(),
            xytext=(0, -3 if y == best else 3), textcoords="offset points", fontsize=8, color=style["color"],
            horizontalalignment="right", verticalalignment="top" if y == best else "bottom",
        )  # fmt: skip


def _line(point: Point) -> dict[str, Any]:
    percent = "top-1 %"
    return {"program": point.name, "numbers": point.numbers, "KL": point.kl, percent: point.top1} | {
        "next word %": point.wer_next,
        "16 words %": point.wer_16,
        "may be lifted": {None: "", True: "yes", False: "too many numbers"}[point.allowed],
    }


def table(found: Front) -> Table:
    """All points, in the terminal."""
    lines = [_line(point) for point in sorted(found.points, key=lambda point: point.numbers)]
    shown = Table(title=f"{found.tokens:,} tokens of held-out text", title_justify="left", pad_edge=False)
    for name in lines[0]:
        shown.add_column(name, justify="left" if name in ("program", "may be lifted") else "right")
    for line in lines:
        shown.add_row(*(Text(_cell(value)) for value in line.values()))
    return shown


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
