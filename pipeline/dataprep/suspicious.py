"""Features that are known only together with the target: alone they predict it, or share its nulls.

One pass over a feature and the target together, batch by batch. The sums are of whole numbers (see
:mod:`pipeline.dataprep.sums`), so that what is found does not depend on how the rows were cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dataprep.describe import Spread, Statistics
from pipeline.dataprep.sums import GRID, Floats, grid_sum, halves, joined, to_grid

ALMOST_EXACT = 0.98
MAX_CATEGORIES = 100_000
"""Of a feature; the target is not compared with one that has more."""

Mask = NDArray[np.bool_]


class Alike:
    """Whether a feature is null exactly where the target is."""

    def __init__(self) -> None:
        self._rows = self._nulls = 0
        self._same = True

    def add(self, feature: Mask, target: Mask) -> None:
        """Whether each row of a batch has no value."""
        self._rows += len(target)
        self._nulls += int(np.count_nonzero(target))
        self._same = self._same and np.array_equal(feature, target)

    def found(self) -> list[Statistics]:
        if not self._same or not 0 < self._nulls < self._rows:
            return []
        return [{"why": "null exactly where the target is null", "value": self._nulls}]


def numeric_suspicions(
    batches: Iterable[tuple[Floats, Floats]], feature: Spread | None, target: Spread | None
) -> list[Statistics]:
    """Signs of a numeric feature.

    Args:
        batches: (n_samples,) values and target, NaN for null.
        feature, target: how far both are spread; None of a column without values.
    """
    alike, rows, sums = Alike(), 0, [0] * 5
    for x, y in batches:
        no_x, no_y = np.isnan(x), np.isnan(y)
        alike.add(no_x, no_y)
        if feature and target:
            both = ~(no_x | no_y)
            u, v = feature.scaled(x[both]), target.scaled(y[both])
            parts = (u, v, u * u, v * v, u * v)
            sums = [total + grid_sum(part) for total, part in zip(sums, parts, strict=True)]
            rows += len(u)
    return [*alike.found(), *_said(_correlation(rows, *sums) if rows > 2 else None)]


def _correlation(n: int, x: int, y: int, xx: int, yy: int, xy: int) -> float | None:
    """Pearson's, from sums in units of the grid; None where one of the two is constant."""
    unit = 2**GRID
    of_x, of_y, of_both = n * unit * xx - x * x, n * unit * yy - y * y, n * unit * xy - x * y
    if min(of_x, of_y) <= _least(n):
        return None
    return float(of_both / math.isqrt(of_x * of_y))


def categorical_suspicions(
    batches: Iterable[tuple[pa.Array, Floats]], target: Spread | None
) -> list[Statistics]:
    """As for numbers; the correlation is that of the target with its mean in each category.

    Args:
        batches: texts, and (n_samples,) the target, NaN for null.
    """
    alike, categories = Alike(), _Categories()
    for texts, y in batches:
        null = texts.is_null().to_numpy(zero_copy_only=False)
        alike.add(null, np.isnan(y))
        if target:
            both = ~(null | np.isnan(y))
            categories.add(texts.filter(pa.array(both)), target.scaled(y[both]))
    return [*alike.found(), *_said(categories.correlation())]


@dataclass
class _Categories:
    """Rows and the target's sum in each category."""

    sums: pa.Table | None = None
    squares: int = 0
    too_many: bool = False

    def add(self, texts: pa.Array, target: Floats) -> None:
        if self.too_many:
            return
        self.squares += grid_sum(target * target)
        high, low = halves(to_grid(target))
        ones = np.ones(len(target), dtype=np.int64)
        batch = pa.table({"category": texts, "rows": ones, "high": high, "low": low})
        whole = batch if self.sums is None else pa.concat_tables([self.sums, batch])
        names = ["rows", "high", "low"]
        summed = whole.group_by("category").aggregate([(name, "sum") for name in names])
        self.sums = summed.rename_columns(["category", *names])
        self.too_many = len(self.sums) > MAX_CATEGORIES

    def correlation(self) -> float | None:
        if self.too_many or self.sums is None or not len(self.sums):
            return None
        rows, high, low = (self.sums.column(n).to_pylist() for n in ("rows", "high", "low"))
        n = sum(rows)
        # A category for every few rows fits any target, and says nothing.
        if not 1 < len(rows) <= n / 10:
            return None
        sums = [joined(h, part) for h, part in zip(high, low, strict=True)]
        total, unit = sum(sums), 2**GRID
        whole = n * unit * self.squares - total * total
        if whole <= _least(n):
            return None
        within = math.fsum(s * s / k for s, k in zip(sums, rows, strict=True))
        between = within * n - total * total
        return math.sqrt(min(max(between / whole, 0.0), 1.0))


def _least(n: int) -> int:
    """The least variance, times the rows squared, that the rounding to the grid leaves exact.

    A millionth of the range as standard deviation; a column with less of it in the rows that have
    both values has its outliers where the other is null.
    """
    return (n * n) << (2 * GRID - 40)


def _said(correlation: float | None) -> list[Statistics]:
    if correlation is None or abs(correlation) <= ALMOST_EXACT:
        return []
    return [{"why": "correlation with the target", "value": correlation}]
