"""Four views of the held-out test."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from pipeline.report.blocks import Figure
from pipeline.report.formats import metric, percent
from pipeline.report.plots.canvas import HALF, date_axis, day_number, draw, legend_above
from pipeline.report.plots.svg import ACCENT, MUTED, TEXT
from pipeline.report.visible import label

Floats = NDArray[np.float64]
_BINS = 44
_LEVELS = 6
_HEIGHT = 330


def density(actual: Floats, predicted: Floats, name: str, unit: str) -> Figure:
    """Predicted against actual, as counts in square bins."""
    span = _middle(np.concatenate([actual, predicted]), 0.01)
    edges = np.linspace(*span, _BINS + 1)
    counts = np.histogram2d(actual, predicted, bins=[edges, edges])[0]
    inside = counts.sum() / len(actual)

    def paint(axes: Axes) -> None:
        level = np.log1p(counts) / np.log1p(max(counts.max(), 1)) * _LEVELS
        for shade in range(1, _LEVELS + 1):
            cells = np.argwhere((level > shade - 1) & (level <= shade))
            if len(cells):
                # Never quite opaque: the style sheet knows these squares by their opacity.
                alpha = shade / _LEVELS * 0.98
                patch = PathPatch(_squares(cells, edges), facecolor=ACCENT, alpha=alpha)
                axes.add_patch(patch)
        axes.plot(span, span, color=MUTED, linewidth=1, dashes=(4, 3))
        axes.set(xlim=span, ylim=span)
        axes.set_xlabel(_named(f"actual {label(name, 24)}", unit))
        axes.set_ylabel(_named("predicted", unit))
        axes.grid(True)

    return draw(
        "density",
        paint,
        alt="Predicted against actual values as a density plot with the line of equality.",
        caption="Predicted against actual. The stronger the colour, the more rows (log scale); on "
        f"the dashed line both are equal. {percent(float(inside))} of the rows lie inside.",
        width=HALF,
        height=_HEIGHT,
    )


def residuals(model: Floats, baseline: Floats, unit: str) -> Figure:
    """Distribution of predicted minus actual, of the champions and of the baseline."""
    edges = np.linspace(*_middle(np.concatenate([model, baseline]), 0.01), 61)

    def paint(axes: Axes) -> None:
        if len(baseline):
            share = np.histogram(baseline, edges)[0] / len(baseline)
            axes.stairs(share, edges, color=MUTED, linewidth=1.6, label="baseline")
        share = np.histogram(model, edges)[0] / len(model)
        axes.stairs(share, edges, color=ACCENT, fill=True, alpha=0.16)
        axes.stairs(share, edges, color=ACCENT, linewidth=1.8, label="champions")
        axes.axvline(0, color=TEXT, linewidth=1, dashes=(2, 3))
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(bottom=0)
        axes.set_xlabel(_named("predicted \u2212 actual", unit))
        axes.set_ylabel("share of rows")
        legend_above(axes)

    return draw(
        "residuals",
        paint,
        alt="Distribution of residuals; the champions' median is "
        f"{metric(float(np.median(model)), unit)}.",
        caption="Residuals: left of zero the prediction was too low. "
        "A higher, narrower hill is better.",
        width=HALF,
        height=_HEIGHT,
    )


def calibration(actual: Floats, predicted: Floats, unit: str) -> Figure:
    """Mean actual by decile of the prediction."""
    groups = [g for g in np.array_split(np.argsort(predicted, kind="stable"), 10) if len(g)]
    x = [float(predicted[g].mean()) for g in groups]
    y = [float(actual[g].mean()) for g in groups]
    error = [float(np.sqrt(np.mean((actual[g] - predicted[g]) ** 2))) for g in groups]

    def paint(axes: Axes) -> None:
        ends = (min(x + y), max(x + y))
        axes.plot(ends, ends, color=MUTED, linewidth=1, dashes=(4, 3), label="equal")
        axes.plot(x, y, color=ACCENT, marker="o", markersize=6, label="mean of a decile")
        axes.set_xlabel(_named("mean predicted", unit))
        axes.set_ylabel(_named("mean actual", unit))
        legend_above(axes)

    return draw(
        "calibration",
        paint,
        alt="Mean actual against mean predicted by decile of the prediction: "
        + "; ".join(f"{metric(a)} and {metric(b)}" for a, b in zip(y, x, strict=True)),
        caption="Rows in ten equal groups by their prediction. RMSE of the lowest group "
        f"{metric(error[0], unit)}, of the highest {metric(error[-1], unit)}.",
        width=HALF,
        height=_HEIGHT,
    )


def over_time(
    days: NDArray[np.datetime64], model: Floats, baseline: Floats, unit: str, step: str
) -> Figure:
    """RMSE by period, of the champions and of the baseline."""

    def paint(axes: Axes) -> None:
        at = [day_number(day) for day in days]
        axes.plot(at, baseline.tolist(), color=MUTED, linewidth=1.6, label="baseline")
        axes.plot(at, model.tolist(), color=ACCENT, linewidth=2, label="champions")
        date_axis(axes, 6)
        pad = (at[-1] - at[0]) / 40  # keeps the first date clear of the zero beside it
        axes.set_xlim(at[0] - pad, at[-1])
        axes.set_ylim(bottom=0)
        axes.set_ylabel(_named("RMSE", unit))
        legend_above(axes)

    better = int(np.sum(model < baseline))
    return draw(
        "over-time",
        paint,
        alt=f"RMSE per {step}; the champions are better in {better} of {len(days)}.",
        caption=f"Error per {step}. The champions are better in {better} of {len(days)}.",
        width=HALF,
        height=_HEIGHT,
    )


def _middle(values: Floats, tail: float) -> tuple[float, float]:
    """The range without its tails, never empty."""
    low, high = (float(q) for q in np.quantile(values, [tail, 1 - tail]))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _squares(cells: NDArray[np.intp], edges: Floats) -> Outline:
    """One path of many squares: a hundred times smaller than one patch each."""
    width = edges[1] - edges[0]
    corner = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) * width
    points = edges[0] + cells[:, None, :] * width + corner
    codes = [Outline.MOVETO, *[Outline.LINETO] * 3, Outline.CLOSEPOLY] * len(cells)
    return Outline(points.reshape(-1, 2), codes)


def _named(name: str, unit: str) -> str:
    return f"{name} ({label(unit, 12)})" if unit else name
