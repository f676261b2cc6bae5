"""Folds by time: validate on a later period than trained on, with a gap between the two."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.intp]
Period = tuple[datetime, datetime, datetime]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def time_folds(times: npt.NDArray[np.int64], periods: Sequence[Period]) -> list[tuple[Rows, Rows]]:
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


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exact (``datetime.timestamp`` rounds to a double)."""
    return (instant - _EPOCH) // timedelta(microseconds=1)
