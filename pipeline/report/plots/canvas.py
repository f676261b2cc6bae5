"""Draw a plot in the page's style and hand it on as a figure block."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import matplotlib
import matplotlib.dates
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter

from pipeline.report.blocks import Figure
from pipeline.report.formats import decimal
from pipeline.report.plots.svg import ACCENT, LINE, MUTED, SURFACE, TEXT, inline

WIDE, HALF = 900, 440  # width in CSS pixels of a plot over the page, and of one of two
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a "$" in data is a dollar sign
    "figure.dpi": 72,  # one unit of the SVG is one CSS pixel
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same layout on every machine
    "font.size": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "text.color": TEXT,
    "axes.labelcolor": MUTED,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.pad": 8,
    "axes.edgecolor": LINE,
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 1,
    "legend.frameon": False,
    "legend.fontsize": 12,
    "legend.labelcolor": TEXT,
    "patch.linewidth": 0,
    "lines.linewidth": 2,
    "lines.color": ACCENT,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "hatch.color": SURFACE,
}


def draw(
    name: str,
    paint: Callable[[Axes], None],
    *,
    alt: str,
    caption: str,
    width: int = WIDE,
    height: int = 300,
) -> Figure:
    """Let ``paint`` draw on fresh axes. ``name`` must be unique on the page: it salts the ids."""
    with _themed(name):
        canvas = Canvas(figsize=(width / 72, height / 72), layout="constrained")
        FigureCanvasSVG(canvas)
        axes = canvas.add_subplot()
        numeric = FuncFormatter(lambda value, _: decimal(round(value, 10)))
        axes.xaxis.set_major_formatter(numeric)
        axes.yaxis.set_major_formatter(numeric)
        paint(axes)
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return Figure(inline(buffer.getvalue(), alt), caption, wide=width > HALF)


@contextmanager
def _themed(salt: str) -> Iterator[None]:
    # From the defaults up, so that a user's matplotlibrc does not change the page. The backend
    # stays: setting it would try to start a user interface.
    style: dict[Any, Any] = {**matplotlib.rcParamsDefault, **_STYLE, "svg.hashsalt": salt}
    style.pop("backend")
    noise = logging.getLogger("matplotlib")
    before = noise.level
    with (
        matplotlib.rc_context(style),
        warnings.catch_warnings(),
    ):
        # Text is drawn by the browser, so a glyph that the measuring font lacks is no loss.
        warnings.filterwarnings("ignore", message=".*Glyph.*")
        noise.setLevel(logging.ERROR)
        try:
            yield
        finally:
            noise.setLevel(before)


def legend_above(axes: Axes, columns: int = 4, handles: Sequence[Artist] | None = None) -> None:
    """One quiet line over the plot, at its left."""
    axes.legend(
        handles=handles if handles is not None else axes.get_legend_handles_labels()[0],
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=columns,
        borderaxespad=0,
        borderpad=0.3,
        handlelength=1.2,
        handletextpad=0.6,
        columnspacing=1.8,
    )


_dates: Any = matplotlib.dates  # it has no types


def day_number(value: datetime | np.datetime64) -> float:
    """A date as matplotlib counts it, in days."""
    return float(_dates.date2num(value))


def date_axis(axes: Axes, ticks: int) -> None:
    """Dates below, each part of them said once."""
    locator = _dates.AutoDateLocator(minticks=3, maxticks=ticks)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(_dates.ConciseDateFormatter(locator))


def seconds_axis(axes: Axes, until: float) -> None:
    """Time from zero, in the unit that suits its length."""
    step, unit = (1, "s") if until < 240 else (60, "min") if until < 3 * 3600 else (3600, "h")
    axes.set_xlim(0, until or 1)
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{decimal(round(value / step, 6))} {unit}")
    )
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
