"""Tiny graphics inside table cells, written by hand: a plot library would make each 10 KB."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from pipeline.report.visible import visible

WIDTH, HEIGHT = 132, 30


def bar(share: float, tone: str = "accent") -> Markup:
    """A horizontal bar that fills ``share`` (0 to 1) of its cell."""
    width = max(0.0, min(1.0, share)) * 100
    return Markup(
        '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="f-line" width="100" height="6"/>'
        '<rect class="f-{}" width="{}" height="6"/></svg>'
    ).format(tone, f"{width:.1f}")


Histogram = tuple[Sequence[float], Sequence[float]]
"""Edges (n + 1) and counts (n)."""


def histogram(train: Histogram | None, test: Histogram | None, alt: str) -> Markup | str:
    """Train filled, test as a line over it; both as densities on one axis."""
    shown = [h for h in (train, test) if h is not None and _drawable(h)]
    if not shown:
        return ""
    low = min(edges[0] for edges, _ in shown)
    high = max(edges[-1] for edges, _ in shown)
    top = max(max(_density(h)) for h in shown)
    parts = []
    if train is not None and _drawable(train):
        parts.append(f'<path class="f-soft" d="{_steps(train, low, high, top)}"/>')
    if test is not None and _drawable(test):
        parts.append(f'<path class="s-accent" d="{_steps(test, low, high, top)}"/>')
    # Only numbers were put into the paths, so they may be called safe; the text is escaped.
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}">{}'
        '<path class="s-line" d="M0 {}H{}"/></svg>'
    ).format(WIDTH, HEIGHT, visible(alt), Markup("".join(parts)), HEIGHT - 0.5, WIDTH)


def _drawable(h: Histogram) -> bool:
    edges, counts = h
    rising = all(a < b for a, b in pairwise(edges))
    return len(edges) == len(counts) + 1 and len(counts) > 0 and sum(counts) > 0 and rising


def _density(h: Histogram) -> list[float]:
    edges, counts = h
    total = sum(counts)
    return [c / total / (edges[i + 1] - edges[i]) for i, c in enumerate(counts)]


def _steps(h: Histogram, low: float, high: float, top: float) -> str:
    """A path of steps from the base line and back to it."""
    edges = h[0]
    base = HEIGHT - 1

    def x(value: float) -> str:
        return f"{(value - low) / (high - low) * WIDTH:.1f}"

    path = [f"M{x(edges[0])} {base}"]
    for i, dense in enumerate(_density(h)):
        path.append(f"V{base - dense / top * (base - 2):.1f}H{x(edges[i + 1])}")
    return "".join(path) + f"V{base}"
