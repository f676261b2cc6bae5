"""How much the error rises with each feature permuted, one bar a feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from pipeline.report.blocks import Figure
from pipeline.report.plots.canvas import draw
from pipeline.report.plots.svg import MIDDLE, MUTED, TEXT
from pipeline.report.visible import label


@dataclass(frozen=True)
class Rise:
    """A feature's mean rise, and its standard deviation over the repeats."""

    feature: str
    mean: float
    std: float


def importances(rises: Sequence[Rise], axis: str, *, alt: str, caption: str) -> Figure:
    """A bar and its spread a line, in the order given; zero is marked."""
    lanes = range(len(rises))

    def paint(axes: Axes) -> None:
        means = [rise.mean for rise in rises]
        axes.barh(lanes, means, height=0.62, color=MIDDLE)
        lows, highs = [r.mean - r.std for r in rises], [r.mean + r.std for r in rises]
        axes.hlines(lanes, lows, highs, colors=TEXT, linewidth=1.4)
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.set_yticks(lanes, [label(rise.feature, 30) for rise in rises])
        axes.set_ylim(len(rises) - 0.4, -0.6)
        axes.set_xlabel(axis)
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")

    return draw("importance", paint, alt=alt, caption=caption, height=72 + 21 * len(rises))
