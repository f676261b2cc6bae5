"""Errors of predictions, block by block, overall and by segment; merged without rounding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.scoring.sums import exact_sums, value

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RegressionStats:
    """Exact sums over rows; ``a + b`` is the same whatever the blocks were.

    The sums are in units of 2**-1127 of the target's unit (or its square); see
    :mod:`pipeline.scoring.sums`.
    """

    rows: int = 0
    error: int = 0
    absolute: int = 0
    squared: int = 0
    target: int = 0
    target_squared: int = 0

    def __add__(self, other: RegressionStats) -> RegressionStats:
        return RegressionStats(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(self))
        )

    def metrics(self) -> dict[str, float | int | None]:
        """``rows, rmse, mae, bias`` (mean of prediction - target) and ``r2``, None if undefined.

        ``r2`` is ``1 - sum(error**2) / sum((y - mean(y))**2)``, undefined for a constant target.
        """
        if not self.rows:
            return {"rows": 0, "rmse": None, "mae": None, "bias": None, "r2": None}
        n, squared = self.rows, value(self.squared)
        spread = value(self.target_squared) - value(self.target) ** 2 / n
        return {
            "rows": n,
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
    """

    segments: Mapping[str, RegressionStats] = field(default_factory=dict)
    skipped: int = 0

    def __add__(self, other: BlockStats) -> BlockStats:
        keys = sorted({*self.segments, *other.segments})
        none = RegressionStats()
        merged = {k: self.segments.get(k, none) + other.segments.get(k, none) for k in keys}
        return BlockStats(merged, self.skipped + other.skipped)

    def overall(self) -> RegressionStats:
        return sum(self.segments.values(), RegressionStats())


def block_stats(
    target: Floats, predicted: Floats, codes: npt.NDArray[np.int64], keys: Sequence[str]
) -> BlockStats:
    """The errors of one block.

    Args:
        target: (n_samples,) true values; NaN where unknown.
        predicted: (n_samples,) finite predictions.
        codes: (n_samples,) segment of each row as a position in ``keys``.
        keys: segment keys.
    """
    known = np.isfinite(target)
    y, error, codes = target[known], (predicted - target)[known], codes[known]
    sums = [
        exact_sums(values, codes, len(keys))
        for values in (error, np.abs(error), error * error, y, y * y)
    ]
    counts = np.bincount(codes, minlength=len(keys)).tolist()
    stats = {
        key: RegressionStats(counts[i], *(column[i] for column in sums))
        for i, key in enumerate(keys)
        if counts[i]
    }
    return BlockStats(dict(sorted(stats.items())), int(np.count_nonzero(~known)))
