"""Whether probabilities come true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from pipeline.report.blocks import Figure
from pipeline.report.formats import count, percent
from pipeline.report.pick import number
from pipeline.report.plots.canvas import HALF, draw, legend_above
from pipeline.report.plots.svg import ACCENT, MUTED


def reliability(bins: Sequence[dict[str, Any]]) -> Figure:
    """Observed share against mean probability, one point a bin with rows.

    Args:
        bins: ``rows, mean_probability, observed_share`` each, as ``infer`` records them.
    """
    known = [
        (p, share, number(b, "rows") or 0.0)
        for b in bins
        if (p := number(b, "mean_probability")) is not None
        and (share := number(b, "observed_share")) is not None
    ]
    most = max((rows for *_, rows in known), default=1.0)

    def paint(axes: Axes) -> None:
        axes.plot((0, 1), (0, 1), color=MUTED, linewidth=1, dashes=(4, 3), label="equal")
        x, y = [p for p, _, _ in known], [share for _, share, _ in known]
        axes.plot(x, y, color=ACCENT, linewidth=1)
        sizes = [20 + 120 * rows / most for *_, rows in known]
        axes.scatter(x, y, s=sizes, color=ACCENT, label="a tenth; larger: more rows")
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.set_xlabel("mean probability")
        axes.set_ylabel("share that came true")
        legend_above(axes)

    said = "; ".join(f"{percent(p)}: {percent(share)} of {count(n)}" for p, share, n in known)
    return draw(
        "reliability",
        paint,
        alt="Reliability: mean probability and share that came true, by tenth of the probability: "
        f"{said}.",
        caption="Reliability: rows in tenths of the probability (of two classes the second's, of "
        "more the likeliest one's). On the dashed line probabilities come true.",
        width=HALF,
        height=330,
    )
