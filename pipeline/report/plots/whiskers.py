"""Values with their intervals, one line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from pipeline.report.blocks import Figure
from pipeline.report.plots.canvas import draw
from pipeline.report.plots.svg import ACCENT, MIDDLE, MUTED
from pipeline.report.visible import label


@dataclass(frozen=True)
class Estimate:
    label: str
    value: float
    low: float
    high: float


def whiskers(
    name: str, estimates: Sequence[Estimate], axis: str, *, alt: str, caption: str
) -> Figure:
    """A dot and its interval a line, in the order given; zero is marked."""
    lanes = range(len(estimates))

    def paint(axes: Axes) -> None:
        lows, highs = [e.low for e in estimates], [e.high for e in estimates]
        axes.axvline(0, color=MUTED, linewidth=1, dashes=(4, 3))
        axes.hlines(lanes, lows, highs, colors=MIDDLE, linewidth=3, zorder=1)
        axes.scatter([e.value for e in estimates], lanes, s=60, color=ACCENT)
        axes.set_yticks(lanes, [label(e.label, 30) for e in estimates])
        axes.set_ylim(len(estimates) - 0.4, -0.6)
        axes.set_xlabel(axis)
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")

    return draw(name, paint, alt=alt, caption=caption, height=72 + 21 * len(estimates))
