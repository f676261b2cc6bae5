"""Intervals of errors, and of the difference between two models' errors on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.config.infer import IntervalsConfig
from pipeline.scoring.bootstrap import Floats, Hashes, Integers, Sums, replicate_sums

REST = ""
"""The group of all rows whose segment has no interval of its own. No segment's key is empty."""

LEAST_UNITS = 5.0
"""Rows, or days, of about equal weight under which a percentile interval says nothing."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Intervals:
    """Percentile intervals, each (low, high) in the target's unit.

    Attributes:
        difference_rmse, difference_mae: of the model's error minus the reference's on the same
            rows; below zero where the model is better.
    """

    rmse: Interval
    mae: Interval
    reference_rmse: Interval
    reference_mae: Interval
    difference_rmse: Interval
    difference_mae: Interval

    def of(self, name: str) -> Interval:
        found: Interval = getattr(self, name)
        return found


def error_sums(
    target: Floats,
    predicted: Floats,
    reference: Floats,
    codes: Integers,
    keys: Sequence[str],
    hashes: Hashes,
    settings: IntervalsConfig,
    tracked: frozenset[str],
    weight: Floats | None = None,
) -> dict[str, Sums]:
    """What the intervals of one block's rows are made from, by segment.

    Args:
        target: (n_samples,) true values; rows with NaN are left out.
        predicted: (n_samples,) finite predictions of the model.
        reference: (n_samples,) finite predictions of what it is compared with.
        codes: (n_samples,) segment of each row as a position in ``keys``.
        keys: segment keys.
        hashes: (n_samples,) what each row's draws follow from.
        tracked: the segments that get intervals of their own; the others share :data:`REST`.
        weight: (n_samples,) what each row counts.
    """
    known = np.isfinite(target)
    names = [key if key in tracked else REST for key in keys]
    groups = list(dict.fromkeys(names))
    position = {name: number for number, name in enumerate(groups)}
    group_of = np.array([position[name] for name in names], dtype=np.int64)
    error, other = (predicted - target)[known], (reference - target)[known]
    counts = np.ones(len(error)) if weight is None else weight[known]
    columns = (np.ones(len(error)), error * error, np.abs(error), other * other, np.abs(other))
    values = np.column_stack([counts * column for column in columns])
    return replicate_sums(
        hashes[known], values, group_of[codes[known]], groups, replicates=settings.replicates
    )


def intervals(sums: Sums, level: float) -> Intervals | None:
    """The intervals at a level of confidence (0.95); None where there are too few rows to say."""
    totals = sums.totals()
    if not totals.size:
        return None
    drawn = totals[:, totals[0] > 0]
    if _units(totals[0]) < LEAST_UNITS:
        return None
    rows, squared, absolute, other_squared, other_absolute = drawn
    rmse, mae = np.sqrt(squared / rows), absolute / rows
    other_rmse, other_mae = np.sqrt(other_squared / rows), other_absolute / rows
    columns = (rmse, mae, other_rmse, other_mae, rmse - other_rmse, mae - other_mae)
    return Intervals(*(_percentiles(column, level) for column in columns))


def by_segment(sums: Mapping[str, Sums], level: float) -> dict[str, Intervals]:
    """The intervals of each segment that has some."""
    found = {key: intervals(part, level) for key, part in sums.items() if key != REST}
    return {key: interval for key, interval in found.items() if interval is not None}


def overall(sums: Mapping[str, Sums], level: float) -> Intervals | None:
    """The intervals over the rows of all segments."""
    return intervals(sum(sums.values(), Sums()), level)


def _units(rows: Floats) -> float:
    """How many units of equal size would make the number of rows drawn vary as much as it does.

    With Poisson(1) draws of units of n_i rows the number drawn has the mean sum(n_i) and the
    variance sum(n_i**2), so this is Kish's effective number, sum(n_i)**2 / sum(n_i**2).
    """
    variance = float(np.var(rows))
    return float(np.mean(rows)) ** 2 / variance if variance else 0.0


def _percentiles(replicates: npt.NDArray[np.float64], level: float) -> Interval:
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
