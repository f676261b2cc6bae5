"""The baseline as a model: it predicts one number."""

from __future__ import annotations

import math

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyRegressor

from pipeline.errors import StoreError


def constant_model(value: float) -> BaseEstimator:
    """A fitted regressor that predicts ``value`` for any rows.

    It is made from the number in the registry, so a baseline needs no file.

    Raises:
        StoreError: the value is not finite.
    """
    if not math.isfinite(value):
        raise StoreError(f"A baseline must be a finite number. Got {value!r} instead.")
    model = DummyRegressor(strategy="constant", constant=value)
    return model.fit(np.zeros((1, 1)), np.array([value]))
