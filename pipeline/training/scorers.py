"""Errors of predictions; lower is better."""

from __future__ import annotations

from typing import Literal

import numpy as np

from pipeline.training.matrix import Floats

Scorer = Literal["rmse", "mae"]


def score(scorer: Scorer, y: Floats, predicted: Floats) -> float:
    """Root mean squared or mean absolute error, in the target's unit.

    Args:
        scorer: ``rmse`` or ``mae``.
        y: (n_samples,) true values.
        predicted: (n_samples,) predictions.
    """
    error = predicted - y
    if scorer == "mae":
        return float(np.mean(np.abs(error)))
    return float(np.sqrt(np.mean(error * error)))
