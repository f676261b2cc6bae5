"""Errors of predictions, block by block, overall and by segment; merged without rounding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from pipeline.scoring.sums import exact_sums, value

Floats = npt.NDArray[np.float64]


class Stats(Protocol):
    """Exact sums over rows; ``a + b`` is the same whatever the blocks were."""

    def __add__(self, other: Self) -> Self: ...

    def metrics(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class RegressionStats:
    """Exact sums over rows; ``a + b`` is the same whatever the blocks were.

    ``weight`` is the sum of the rows' weights: their number, where all count alike.

    The sums are in units of 2**-1127 of the target's unit (or its square); see
    :mod:`pipeline.scoring.sums`.
    """

    rows: int = 0
    error: int = 0
    absolute: int = 0
    squared: int = 0
    target: int = 0
    target_squared: int = 0
    weight: int = 0

    def __add__(self, other: RegressionStats) -> RegressionStats:
        return RegressionStats(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(self))
        )

    def metrics(self) -> dict[str, float | int | None]:
        """``rows, rmse, mae, bias`` (mean of prediction - target) and ``r2``, None if undefined.

        ``r2`` is ``1 - sum(error**2) / sum((y - mean(y))**2)``, undefined for a constant target.
        """
        n, squared = value(self.weight), value(self.squared)
        if not n:
            return {"rows": self.rows, "rmse": None, "mae": None, "bias": None, "r2": None}
        spread = value(self.target_squared) - value(self.target) ** 2 / n
        return {
            "rows": self.rows,
            "rmse": math.sqrt(squared / n),
            "mae": float(value(self.absolute) / n),
            "bias": float(value(self.error) / n),
            # Below one rounding error of the squares the target counts as constant.
            "r2": float(1 - squared / spread)
            if spread > value(self.target_squared) / 2**52
            else None,
        }

    def record(self) -> dict[str, int | str]:
        """JSON; sums as hexadecimal text, because few readers keep integers of 1,000 bits."""
        return {f.name: hex(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> RegressionStats:
        return cls(**{name: int(text, 16) for name, text in record.items()})


@dataclass(frozen=True)
class BlockStats:
    """The errors of one block of rows, or of many.

    Attributes:
        segments: by segment key.
        skipped: rows without a finite target, which have no error.
        none: those of no row.
    """

    segments: Mapping[str, Any] = field(default_factory=dict)
    skipped: int = 0
    none: Any = RegressionStats()

    def __add__(self, other: BlockStats) -> BlockStats:
        keys = sorted({*self.segments, *other.segments})
        # That of no block at all, with which a sum begins, does not know the task.
        none = other.none if not self.segments else self.none
        merged = {k: self.segments.get(k, none) + other.segments.get(k, none) for k in keys}
        return BlockStats(merged, self.skipped + other.skipped, none)

    def overall(self) -> Stats:
        total: Stats = sum(self.segments.values(), self.none)
        return total


def block_stats(
    target: Floats,
    predicted: Floats,
    codes: npt.NDArray[np.int64],
    keys: Sequence[str],
    weight: Floats | None = None,
) -> BlockStats:
    """The errors of one block.

    Args:
        target: (n_samples,) true values; NaN where unknown.
        predicted: (n_samples,) finite predictions.
        codes: (n_samples,) segment of each row as a position in ``keys``.
        keys: segment keys.
        weight: (n_samples,) what each row counts.
    """
    known = np.isfinite(target)
    y, error, codes = target[known], (predicted - target)[known], codes[known]
    w = np.ones(len(y)) if weight is None else weight[known]
    columns = [w * values for values in (error, np.abs(error), error * error, y, y * y)]
    stats = {
        key: RegressionStats(rows, *sums)
        for key, rows, sums in group_sums([*columns, w], codes, keys)
    }
    return BlockStats(stats, int(np.count_nonzero(~known)))


def group_sums(
    columns: Sequence[Floats], codes: npt.NDArray[np.int64], keys: Sequence[str]
) -> list[tuple[str, int, list[int]]]:
    """Per segment with rows, by key: (key, rows, the exact sum of each column)."""
    sums = [exact_sums(column, codes, len(keys)) for column in columns]
    counts = np.bincount(codes, minlength=len(keys)).tolist()
    found = [(key, counts[i], [s[i] for s in sums]) for i, key in enumerate(keys) if counts[i]]
    return sorted(found, key=lambda group: group[0])


def mean(total: int, weight: int) -> float | None:
    """A weighted mean out of exact sums; None where nothing has a weight."""
    by: Fraction = value(weight)
    return float(value(total) / by) if by else None
