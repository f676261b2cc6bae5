"""Champions against the baseline, one line a segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from pipeline.report.blocks import Figure
from pipeline.report.plots.canvas import draw, legend_above
from pipeline.report.plots.svg import ACCENT, MIDDLE, MUTED
from pipeline.report.visible import label


@dataclass(frozen=True)
class Score:
    label: str
    champion: float
    baseline: float
    gain: float


def dumbbells(scores: Sequence[Score], scorer: str, unit: str, caption: str) -> Figure:
    """A line from the baseline's score to the champion's; the largest gain on top."""
    ordered = sorted(scores, key=lambda s: (-s.gain, s.label))
    lanes = range(len(ordered))

    def paint(axes: Axes) -> None:
        axes.hlines(
            lanes,
            [min(s.champion, s.baseline) for s in ordered],
            [max(s.champion, s.baseline) for s in ordered],
            colors=MIDDLE,
            linewidth=3,
            zorder=1,
        )
        axes.scatter([s.baseline for s in ordered], lanes, s=44, color=MUTED, label="baseline")
        axes.scatter([s.champion for s in ordered], lanes, s=60, color=ACCENT, label="champion")
        axes.set_yticks(lanes, [label(s.label, 30) for s in ordered])
        axes.set_ylim(len(ordered) - 0.4, -0.6)
        axes.set_xlabel(f"{scorer} in cross-validation" + (f" ({label(unit, 12)})" if unit else ""))
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
        legend_above(axes)

    better = sum(s.gain > 0 for s in ordered)
    return draw(
        "champions",
        paint,
        alt=f"{scorer} of champion and baseline in {len(ordered)} segments; "
        f"the champion is better in {better} of them.",
        caption=caption,
        height=96 + 21 * len(ordered),
    )
