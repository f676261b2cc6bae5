"""When each stage and engine ran, and what each worker did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from pipeline.report.blocks import Figure
from pipeline.report.formats import duration, percent, plural
from pipeline.report.plots.canvas import draw, legend_above, seconds_axis
from pipeline.report.plots.svg import ACCENT, MIDDLE, MUTED, SOFT
from pipeline.report.visible import label

MAX_WORKERS = 24
_CELLS = 600  # tasks closer than 1/600 of the plot's width are drawn as one


@dataclass(frozen=True)
class Span:
    """Something that lasted, in seconds since the run's start."""

    name: str
    start: float
    stop: float
    note: str = ""


@dataclass(frozen=True)
class Task:
    worker: str
    kind: str
    start: float
    stop: float
    fits: int


def run_timeline(stages: Sequence[Span], engines: Sequence[Span], total: float) -> Figure:
    """Stages in accent colour, engines below them in grey."""
    stage_names = list(dict.fromkeys(span.name for span in stages))
    engine_names = list(dict.fromkeys(span.name for span in engines))
    lanes = [*stage_names, *(f"engine {name}" for name in engine_names)]

    def paint(axes: Axes) -> None:
        for spans, colour, prefix in ((stages, ACCENT, ""), (engines, SOFT, "engine ")):
            for span in spans:
                lane = lanes.index(prefix + span.name)
                width = max(span.stop - span.start, total / 500)
                axes.barh(lane, width, left=span.start, height=0.56, color=colour)
                text = span.note if span.stop == span.start else _lasted(span)
                _beside(axes, span, total, lane, text)
        axes.set_yticks(range(len(lanes)), [label(name, 28) for name in lanes])
        axes.set_ylim(len(lanes) - 0.4, -0.6)
        seconds_axis(axes, total * 1.02)

    words = "; ".join(f"{s.name} {_lasted(s)}" for s in [*stages, *engines])
    return draw(
        "timeline",
        paint,
        alt=f"Timeline of the run. {words}.",
        caption="Seconds since the run's start. Engines are shown while they were up.",
        height=56 + 34 * len(lanes),
    )


def _lasted(span: Span) -> str:
    return f"{duration(span.stop - span.start)} {span.note}".strip()


def _beside(axes: Axes, span: Span, total: float, lane: int, text: str) -> None:
    """The duration, right of its bar, or left of it where the plot ends."""
    gap = total / 120
    right = span.stop + gap
    if right > total * 0.88 and span.start > total * 0.12:
        axes.text(span.start - gap, lane, text, ha="right", va="center", color=MUTED)
    elif right > total * 0.88:
        axes.text(span.start + gap, lane, text, ha="left", va="center")
    else:
        axes.text(right, lane, text, ha="left", va="center", color=MUTED)


def task_timeline(stage: str, tasks: Sequence[Task]) -> Figure:
    """One lane a worker, one bar a task."""
    total = max(task.stop for task in tasks)
    busy: Counter[str] = Counter()
    for task in tasks:
        busy[task.worker] += round((task.stop - task.start) * 1e6)
    workers = sorted(name for name, _ in busy.most_common(MAX_WORKERS))
    kinds = [kind for kind, _ in Counter(task.kind for task in tasks).most_common()]
    colours = {kind: (ACCENT, MIDDLE, SOFT, MUTED)[min(i, 3)] for i, kind in enumerate(kinds)}

    def paint(axes: Axes) -> None:
        for lane, worker in enumerate(workers):
            for kind in kinds:
                bars = _merged([t for t in tasks if t.worker == worker and t.kind == kind], total)
                axes.broken_barh(bars, (lane - 0.3, 0.6), facecolor=colours[kind])
        axes.set_yticks(range(len(workers)), [label(name, 28) for name in workers])
        axes.set_ylim(len(workers) - 0.4, -0.6)
        handles = [Patch(color=colours[kind], label=label(kind, 20)) for kind in kinds[:6]]
        legend_above(axes, 6, handles)
        seconds_axis(axes, total)

    share = sum(busy[name] for name in workers) / 1e6 / (total * len(workers)) if total else None
    left = len(busy) - len(workers)
    fits = sum(task.fits for task in tasks)
    with_fits = f"with {plural(fits, 'fit')} " if fits else ""
    said = (
        f"{plural(len(tasks), 'task')} of {stage} {with_fits}"
        f"on {plural(len(busy), 'worker')}; workers were busy {percent(share)} of the time"
    )
    hidden = f" The {plural(left, 'worker')} with the least work are left out." if left else ""
    return draw(
        f"tasks-{stage}",
        paint,
        alt=f"{said}.",
        caption=f"{said}. Seconds since the stage's start.{hidden}",
        height=72 + 30 * len(workers),
    )


def _merged(tasks: Sequence[Task], total: float) -> list[tuple[float, float]]:
    """Bars (start, width); neighbours that a screen cannot tell apart are joined."""
    cell = total / _CELLS if len(tasks) > _CELLS else 0.0
    bars: list[tuple[float, float]] = []
    for task in sorted(tasks, key=lambda task: task.start):
        if bars and task.start - sum(bars[-1]) < cell:
            start = bars[-1][0]
            bars[-1] = (start, max(task.stop, sum(bars[-1])) - start)
        else:
            # A hair line between tasks that follow one another, so that they can be counted.
            bars.append((task.start, max(task.stop - task.start - total / 900, total / 900)))
    return bars
