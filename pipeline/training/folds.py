"""Rows into folds: by time, with a gap between training and validation, or as they were dealt.

Folds by group and stratified ones are dealt in Spark, over all segments; a column of the feature
table holds the number of the fold that validates on a row. See ``pipeline.dataprep.folds``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.intp]
Numbers = npt.NDArray[np.int64]
Period = tuple[datetime, datetime, datetime]

FoldBounds = Period | tuple[str, int, int]
"""What tells a fold from others: its period, or (kind, number of folds, which of them)."""

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def time_folds(times: Numbers, periods: Sequence[Period]) -> list[tuple[Rows, Rows]]:
    """Training and validation rows of each fold.

    Args:
        times: (n_samples,) microseconds since 1970-01-01 UTC, in any order.
        periods: per fold (end of training, start of validation, end of validation), half-open,
            as ``SplitConfig.periods()`` gives them.

    Returns:
        Per fold (training rows, validation rows), each ascending; either may be empty.
    """
    folds = []
    for period in periods:
        train_end, start, end = (microseconds(instant) for instant in period)
        training = np.flatnonzero(times < train_end)
        validation = np.flatnonzero((times >= start) & (times < end))
        folds.append((training, validation))
    return folds


@dataclass(frozen=True)
class FoldColumn:
    """The column that says which fold validates on a row.

    Attributes:
        name: of the column; never a feature.
        kind: by what rows were dealt: ``group`` or ``stratified``.
        folds: how many folds there are.
    """

    name: str
    kind: str
    folds: int


def numbered_folds(numbers: Numbers, folds: int) -> list[tuple[Rows, Rows]]:
    """Training and validation rows of each fold: a row validates in one, and trains in the others.

    Args:
        numbers: (n_samples,) the fold that validates on each row, from 0 to ``folds`` - 1.
        folds: how many there are.

    Returns:
        Per fold (training rows, validation rows), each ascending; either may be empty.
    """
    return [
        (np.flatnonzero(numbers != fold), np.flatnonzero(numbers == fold)) for fold in range(folds)
    ]


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exact (``datetime.timestamp`` rounds to a double)."""
    return (instant - EPOCH) // timedelta(microseconds=1)
