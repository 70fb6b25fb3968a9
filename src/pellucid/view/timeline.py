"""The picture of a training run: losses, Fourier sparsity and the decompiled program, checkpoint by checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pellucid.view.pictures import Picture
from pellucid.weightless.timeline import Moment, Timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAIN, TEST, RESTRICTED, EXCLUDED, QUIET = "#2166ac", "#b2182b", "#1b7837", "#e08214", "#666666"
_COLOURS = (TRAIN, TEST, "#762a83", "#8c510a")
_VERDICTS = {"decompiled": ("o", "decompiled"), "behavioural": ("s", "behavioural"), "partial": ("x", "partial")}


def drawn(found: Timeline) -> Picture:
    """Four drawings over the steps of training; without progress measures, three."""
    from matplotlib.figure import Figure

    rows = 4 if found.waves else 3
    figure = Figure(figsize=(8.0, 2.1 * rows + 0.6), layout="constrained")
    axes: Sequence[Axes] = list(figure.subplots(rows, 1, sharex=True))
    steps = [moment.step for moment in found.moments]
    _losses(axes[0], steps, found)
    _shares(axes[1], steps, found)
    if found.waves:
        _sparsity(axes[2], steps, found.moments)
    _size(axes[-1], steps, found.moments)
    for ax in axes:
        ax.grid(alpha=0.25)
        ax.margins(x=0.01)
    axes[-1].set_xlabel("step of training")
    title = "what each checkpoint is made of"
    axes[0].set_title(title)
    figure.align_ylabels(axes)
    return Picture(title, figure, [_line(moment) for moment in found.moments])


def _losses(ax: Axes, steps: Sequence[int], found: Timeline) -> None:
    bands = list(found.moments[-1].loss or ())
    for band, colour in zip(bands, _COLOURS, strict=False):
        ax.plot(
            steps, [(m.loss or {}).get(band, float("nan")) for m in found.moments], color=colour, label=_escaped(band)
        )
    if found.waves:
        measures = [m.progress for m in found.moments]
        for name, colour in (("restricted", RESTRICTED), ("excluded", EXCLUDED)):
            values = [getattr(progress, name) for progress in measures]
            ax.plot(steps, values, color=colour, linestyle="--", label=name)
    if bands:
        ax.set_yscale("log")
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    ax.set_ylabel("loss (nats)")


def _shares(ax: Axes, steps: Sequence[int], found: Timeline) -> None:
    for band, colour in zip(found.moments[-1].solved or (), _COLOURS, strict=False):
        shares: list[float] = [100 * (m.solved or {}).get(band, float("nan")) for m in found.moments]
        ax.plot(steps, shares, color=colour, label=f"{_escaped(band)}: right")
    for band, colour in zip(found.moments[-1].match, _COLOURS, strict=False):
        agree = [m.match.get(band) for m in found.moments]
        shares = [float("nan") if share is None else 100 * share for share in agree]
        ax.plot(steps, shares, ".", color=colour, label=f"{_escaped(band)}: program = model")
    ax.set_ylim(-4, 104)
    ax.set_ylabel("rows (%)")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def _sparsity(ax: Axes, steps: Sequence[int], moments: Sequence[Moment]) -> None:
    gini = [moment.progress.gini if moment.progress else float("nan") for moment in moments]
    count = [len(moment.progress.frequencies) if moment.progress else float("nan") for moment in moments]
    (left,) = ax.plot(steps, gini, color=RESTRICTED, label="Gini, embedding")
    ax.set_ylim(0, 1)
    ax.set_ylabel("Gini", color=RESTRICTED)
    other = ax.twinx()
    (right,) = other.plot(steps, count, color="#762a83", drawstyle="steps-post", label="key frequencies")
    other.set_ylim(0, max(count) + 1)
    other.tick_params(axis="y", colors="#762a83")
    ax.legend(handles=[left, right], loc="center left", bbox_to_anchor=(1.05, 0.5), frameon=False)


def _size(ax: Axes, steps: Sequence[int], moments: Sequence[Moment]) -> None:
    numbers = [moment.figures.numbers for moment in moments]
    ax.plot(steps, numbers, color=QUIET, linewidth=0.8)
    for verdict, (marker, label) in _VERDICTS.items():
        at = [entry for entry, moment in enumerate(moments) if moment.figures.verdict == verdict]
        if at:
            ax.plot([steps[n] for n in at], [numbers[n] for n in at], marker, color="black", markersize=4, label=label)
    ax.set_ylim(0, 1.15 * max(numbers))
    ax.set_ylabel("numbers in program")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def _escaped(text: str) -> str:
    return text.replace("$", r"\$").lstrip("_")


def _line(moment: Moment) -> dict[str, Any]:
    losses = {f"loss {band}": loss for band, loss in (moment.loss or {}).items()}
    own = moment.progress.to_dict() if moment.progress else {}
    figures = moment.figures
    rest: dict[str, Any] = {f"match {band}": share for band, share in moment.match.items()}
    rest |= {"verdict": figures.verdict, "numbers": figures.numbers}
    return {"step": moment.step, **losses, **own, **rest}
