"""Predict a batch; if a row breaks it, find that row and predict the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pipeline.training.matrix import Floats
from pipeline.training.result import error_text

Predict = Callable[[pd.DataFrame], Floats]

MAX_CALLS = 2_000
"""Calls of one batch after which what is left of it is not searched further.

A broken model fails on every row; to isolate each of 50,000 would take hours and tell nothing.
"""


@dataclass
class Outcome:
    """What came of a batch.

    Attributes:
        predictions: (n_samples,), or a column a class or quantile; NaN where there is none.
        reasons: why, by position in the batch; the rows that are quarantined.
    """

    predictions: Floats
    reasons: dict[int, str] = field(default_factory=dict)


def predict_batch(
    predict: Predict, X: pd.DataFrame, max_calls: int = MAX_CALLS, shape: tuple[int, ...] = ()
) -> Outcome:
    """Predict all rows that can be predicted.

    A batch that raises is halved until the rows that raise are alone. MemoryError and interrupts
    are not a row's fault and are raised.

    Args:
        predict: (n_samples, n_features) → (n_samples, *shape).
        X: the rows.
        max_calls: bound on the calls of ``predict``.
        shape: of what is predicted for one row.
    """
    outcome = Outcome(np.full((len(X), *shape), np.nan))
    waiting = [(0, len(X))] if len(X) else []
    calls = 0
    while waiting:
        start, stop = waiting.pop()
        calls += 1
        try:
            predicted = np.asarray(predict(X.iloc[start:stop]), dtype=np.float64)
            predicted = predicted.reshape(-1, *shape)
            if len(predicted) != stop - start:
                raise ValueError(f"{len(predicted)} predictions for {stop - start} rows")
        except MemoryError:
            raise
        except Exception as error:
            if stop - start == 1 or calls + len(waiting) + 2 > max_calls:
                _quarantine(outcome, start, stop, error)
            else:
                middle = (start + stop) // 2
                waiting += [(middle, stop), (start, middle)]
            continue
        outcome.predictions[start:stop] = predicted
    _quarantine_non_finite(outcome)
    return outcome


def _quarantine(outcome: Outcome, start: int, stop: int, error: Exception) -> None:
    reason = error_text(error)
    if stop - start > 1:
        reason += f" (in a batch of {stop - start} rows; not searched further)"
    outcome.reasons.update(dict.fromkeys(range(start, stop), reason))


def _quarantine_non_finite(outcome: Outcome) -> None:
    finite = np.isfinite(outcome.predictions).reshape(len(outcome.predictions), -1).all(axis=1)
    for row in np.flatnonzero(~finite).tolist():
        outcome.reasons.setdefault(row, f"the prediction is {outcome.predictions[row]}")
