"""The statistics of a column from its value counts: two passes over them, no row is looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dataprep.sums import Floats, Ints, exact_sum
from pipeline.dataprep.value_counts import ValueCounts

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 20
TOP = 10

Statistics = dict[str, Any]
"""JSON: the report and the drift check read it."""


@dataclass(frozen=True)
class Totals:
    """What one pass over the counts of numbers finds; ``low`` and ``high`` of none are nan."""

    count: int = 0
    distinct: int = 0
    low: float = math.nan
    high: float = math.nan
    sum: Fraction = Fraction(0)

    @property
    def mean(self) -> float:
        """Rounded once."""
        return float(self.sum / self.count)

    def __add__(self, other: Totals) -> Totals:
        """Of all values together; ``distinct`` is right where both share no value."""
        return Totals(
            self.count + other.count,
            self.distinct + other.distinct,
            float(np.fmin(self.low, other.low)),
            float(np.fmax(self.high, other.high)),
            self.sum + other.sum,
        )


def total_numbers(counts: ValueCounts) -> Totals:
    """The totals of one split's values."""
    found = Totals()
    for block in counts.blocks():
        values, rows = _columns(block)
        low, high = float(values[0]), float(values[-1])
        found += Totals(int(rows.sum()), len(values), low, high, exact_sum(values, rows))
    return found


def describe_numbers(counts: ValueCounts, totals: Totals, edges: Floats) -> Statistics:
    """One split's ``distinct, mean, std, min``, quantiles, ``max`` and ``histogram``.

    Args:
        totals: of ``counts``.
        edges: of the histogram's bins.
    """
    keys = [f"q{round(q * 100):02d}" for q in QUANTILES]
    names = ["distinct", "mean", "std", "min", *keys, "max", "histogram"]
    if not totals.count:
        return {**dict.fromkeys(names), "distinct": 0}
    found = _second_pass(counts, totals, edges)
    quantiles = [_between(found.at, q * (totals.count - 1)) for q in QUANTILES]
    histogram = {"edges": edges.tolist(), "counts": np.diff(found.below).tolist()}
    values = [totals.distinct, totals.mean, found.std, totals.low, *quantiles, totals.high]
    return dict(zip(names, [*values, histogram], strict=True))


def histogram_edges(low: float, high: float) -> Floats:
    """(BINS + 1,) equally wide bins from the lowest to the highest value; nan gives nan."""
    if low == high:
        low, high = low - 0.5, high + 0.5
    share = np.linspace(0.0, 1.0, BINS + 1)
    # Not low + share * (high - low), which overflows where low and high are far apart.
    edges = low * (1 - share) + high * share
    edges[0], edges[-1] = low, high
    return np.asarray(edges, dtype=np.float64)


def describe_texts(counts: ValueCounts) -> Statistics:
    """One split's ``count``, ``distinct`` and ``top``: the most frequent, ties by value."""
    count = distinct = 0
    best: pa.Table | None = None
    order = [("rows", "descending"), ("value", "ascending")]
    for block in counts.blocks():
        count += int(pc.sum(block.column("rows")).as_py())
        distinct += len(block)
        both = block if best is None else pa.concat_tables([best, block])
        best = both.take(pc.select_k_unstable(both, TOP, order))
    top = [] if best is None else best.sort_by(order).to_pylist()
    pairs = [[item["value"], item["rows"]] for item in top]
    return {"count": count, "distinct": distinct, "top": pairs}


@dataclass(frozen=True)
class _Second:
    """What the second pass finds.

    Attributes:
        std: standard deviation (n - 1); None of one value, or where it is beyond a double.
        below: (BINS + 1,) values below each edge; up to the last edge for the last.
        at: value by position in ascending order, of the positions that quantiles need.
    """

    std: float | None
    below: Ints
    at: Mapping[int, float]


def _second_pass(counts: ValueCounts, totals: Totals, edges: Floats) -> _Second:
    wanted = _positions(totals.count)
    far = Spread.of(totals)
    squares, seen = Fraction(0), 0
    below = np.zeros(len(edges), dtype=np.int64)
    at: dict[int, float] = {}
    for block in counts.blocks():
        values, rows = _columns(block)
        squares += exact_sum(far.scaled(values) ** 2, rows)
        up_to = np.concatenate([[0], np.cumsum(rows)])
        below[:-1] += up_to[np.searchsorted(values, edges[:-1], side="left")]
        below[-1] += up_to[-1]
        here = wanted[(wanted >= seen) & (wanted < seen + up_to[-1])]
        places = np.searchsorted(up_to, here - seen, side="right") - 1
        at |= dict(zip(here.tolist(), values[places].tolist(), strict=True))
        seen += int(up_to[-1])
    return _Second(far.std(squares, totals.count), below, at)


@dataclass(frozen=True)
class Spread:
    """How far values are from their mean, in a power of two that none of them exceeds.

    So no square overflows or vanishes, and scaling rounds nothing.
    """

    mean: float
    exponent: int

    @classmethod
    def of(cls, totals: Totals) -> Spread:
        mean = totals.mean
        farthest = max(totals.high / 2 - mean / 2, mean / 2 - totals.low / 2)
        return cls(mean, math.frexp(farthest)[1])

    def scaled(self, values: Floats) -> Floats:
        """From -1 to 1."""
        return np.ldexp(values / 2 - self.mean / 2, -self.exponent)

    def std(self, squares: Fraction, count: int) -> float | None:
        if count < 2:
            return None
        std = float(np.ldexp(math.sqrt(squares / (count - 1)), self.exponent + 1))
        return std if math.isfinite(std) else None


def _positions(count: int) -> Ints:
    """The positions in ascending order that the quantiles lie between, each once."""
    below = [int(q * (count - 1)) for q in QUANTILES]
    return np.unique(np.array([*below, *(min(n + 1, count - 1) for n in below)], dtype=np.int64))


def _between(at: Mapping[int, float], position: float) -> float:
    """Interpolated as NumPy does it, from the nearer end; also where their distance overflows."""
    low, share = int(position), position - int(position)
    if not share:
        return at[low]
    a, b = at[low], at[low + 1]
    if math.isinf(b - a):
        return a * (1 - share) + b * share
    return b - (b - a) * (1 - share) if share >= 0.5 else a + (b - a) * share


def _columns(block: pa.Table) -> tuple[Floats, Ints]:
    return block.column("value").to_numpy(), block.column("rows").to_numpy()
