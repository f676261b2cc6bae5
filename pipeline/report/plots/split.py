"""The split and the folds as bars: over time, or over the rows where folds are not by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from pipeline.report.blocks import Figure
from pipeline.report.plots.canvas import date_axis, day_number, draw, legend_above
from pipeline.report.plots.svg import ACCENT, MIDDLE, SOFT


@dataclass(frozen=True)
class Fold:
    train_until: datetime
    valid_from: datetime
    valid_until: datetime


def split_bars(
    begin: datetime,
    folds: Sequence[Fold],
    train_until: datetime,
    test_from: datetime,
    end: datetime,
    exact: bool,
) -> Figure:
    """One lane a fold; below them the final fit and the held-out test period.

    Args:
        train_until: where the final fit's rows end; before ``test_from`` if there is a gap.
        exact: whether the first row lies at ``begin``.
    """
    lanes = [*(f"fold {n}" for n in range(1, len(folds) + 1)), "final fit"]

    def paint(axes: Axes) -> None:
        def bar(lane: int, start: datetime, stop: datetime, colour: str) -> None:
            left, right = day_number(start), day_number(stop)
            axes.barh(lane, max(right - left, 0), left=left, height=0.56, color=colour)

        for lane, fold in enumerate(folds):
            bar(lane, begin, fold.train_until, SOFT)
            bar(lane, fold.valid_from, fold.valid_until, MIDDLE)
        bar(len(folds), begin, train_until, SOFT)
        bar(len(folds), test_from, end, ACCENT)
        date_axis(axes, 9)
        axes.set_xlim(day_number(begin), day_number(end))
        axes.set_yticks(range(len(lanes)), lanes)
        axes.set_ylim(len(lanes) - 0.4, -0.6)
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
        roles = ((SOFT, "train"), (MIDDLE, "validate"), (ACCENT, "held-out test"))
        legend_above(axes, 3, [Patch(color=colour, label=name) for colour, name in roles])

    return draw(
        "split",
        paint,
        alt=f"{len(folds)} folds over time from {begin:%Y-%m-%d}; "
        f"the held-out test runs from {test_from:%Y-%m-%d} to {end:%Y-%m-%d}.",
        caption="Each fold validates on rows that come after all rows it trains on. "
        "The held-out test rows are used once, after the champions were chosen."
        + ("" if exact else " Training rows may begin before the plot does."),
        height=84 + 30 * len(lanes),
    )


def dealt_bars(validated: Sequence[int], test_rows: int, held_apart: str) -> Figure:
    """One lane a fold, the rows of each fold side by side; below them the final fit and the test.

    Args:
        validated: rows that each fold validates on; all others it trains on.
        test_rows: rows of the held-out test.
        held_apart: what a fold's two sides have, or have not, in common; a sentence.
    """
    lanes = [*(f"fold {n}" for n in range(1, len(validated) + 1)), "final fit"]
    total = sum(validated)

    def paint(axes: Axes) -> None:
        def bar(lane: int, start: int, rows: int, colour: str) -> None:
            axes.barh(lane, rows, left=start, height=0.56, color=colour)

        start = 0
        for lane, rows in enumerate(validated):
            bar(lane, 0, start, SOFT)
            bar(lane, start, rows, MIDDLE)
            start += rows
            bar(lane, start, total - start, SOFT)
        bar(len(validated), 0, total, SOFT)
        bar(len(validated), total, test_rows, ACCENT)
        axes.set_xlim(0, max(total + test_rows, 1))
        axes.set_xlabel("rows with a target in training, and rows of the test")
        axes.set_yticks(range(len(lanes)), lanes)
        axes.set_ylim(len(lanes) - 0.4, -0.6)
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
        roles = ((SOFT, "train"), (MIDDLE, "validate"), (ACCENT, "held-out test"))
        legend_above(axes, 3, [Patch(color=colour, label=name) for colour, name in roles])

    shown = ", ".join(f"{rows:,}" for rows in validated)
    return draw(
        "split",
        paint,
        alt=f"{len(validated)} folds validate on {shown} of {total:,} training rows; "
        f"the held-out test has {test_rows:,} rows.",
        caption=f"{held_apart} "
        "The held-out test rows are used once, after the champions were chosen.",
        height=106 + 30 * len(lanes),
    )
