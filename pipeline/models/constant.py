"""The baseline as a model: it predicts the same for every row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier, DummyRegressor

from pipeline.errors import StoreError


def constant_model(value: float | tuple[float, ...], classes: Sequence[str] = ()) -> BaseEstimator:
    """A fitted model that predicts ``value`` for any rows.

    It is made from the numbers in the registry, so a baseline needs no file.

    Args:
        value: a number, or one a quantile, or the share of each class.
        classes: their names; the model is then a classifier.

    Raises:
        StoreError: the value is not finite, or does not fit the classes.
    """
    if not np.isfinite(value).all():
        raise StoreError(f"A baseline must be a finite number. Got {value!r} instead.")
    if classes:
        if np.shape(value) != (len(classes),):
            raise StoreError(f"A baseline must have one share a class. Got {value!r} instead.")
        model = DummyClassifier(strategy="prior").fit(np.zeros((len(classes), 1)), list(classes))
        model.class_prior_ = np.array(value)
        return model
    model = DummyRegressor(strategy="constant", constant=value)
    return model.fit(np.zeros((1, 1)), np.array([value]))
