"""Features as two plain arrays, for the many fits of the folds.

A ColumnTransformer over a DataFrame costs more than a small fit does, and encoders are slow on
strings. So the folds prepare arrays: one of numbers, one of category codes in the order of the
strings. The same encoders, imputers and scalers see them, so the prepared matrices equal those of
the pipeline that a champion is saved as (there is a test).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.training.candidates import Preparation
from pipeline.training.matrix import Floats


@dataclass(frozen=True)
class Blocks:
    """The features of some rows.

    Attributes:
        numeric: names of the columns of ``numbers``.
        categorical: names of the columns of ``codes``.
        numbers: (n_samples, n_numeric) NaN for null.
        codes: (n_samples, n_categorical) rank of the category among all rows'; null is the
            last, as encoders sort None.
    """

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    numbers: Floats
    codes: Floats

    @cached_property
    def empty(self) -> tuple[str, ...]:
        """The numeric columns without a single value."""
        return tuple(
            name for i, name in enumerate(self.numeric) if np.isnan(self.numbers[:, i]).all()
        )

    def take(self, rows: npt.NDArray[np.intp]) -> Blocks:
        return Blocks(self.numeric, self.categorical, self.numbers[rows], self.codes[rows])


def to_blocks(X: pd.DataFrame, categorical: Sequence[str]) -> Blocks:
    """The blocks of (n_samples, n_features) object and float64 columns."""
    numeric = tuple(str(name) for name in X.columns if name not in categorical)
    numbers = np.empty((len(X), len(numeric)))
    for i, name in enumerate(numeric):
        numbers[:, i] = X[name].to_numpy()
    codes = np.empty((len(X), len(categorical)))
    for i, name in enumerate(categorical):
        ranks, categories = pd.factorize(X[name].to_numpy(), sort=True)
        codes[:, i] = np.where(ranks < 0, len(categories), ranks)
    return Blocks(numeric, tuple(categorical), numbers, codes)


def prepare(wanted: Preparation, train: Blocks, valid: Blocks) -> tuple[Floats, Floats]:
    """Both sides of a fold, by encoders, imputers and scalers fitted on ``train`` alone."""
    parts: list[tuple[Floats, Floats]] = []
    if wanted.categorical:
        columns = [train.categorical.index(name) for name in wanted.categorical]
        encoder = wanted.encoder()
        fitted = encoder.fit_transform(train.codes[:, columns])
        parts.append((fitted, encoder.transform(valid.codes[:, columns])))
    if wanted.numeric:
        columns = [train.numeric.index(name) for name in wanted.numeric]
        before, after = train.numbers[:, columns], valid.numbers[:, columns]
        for step in wanted.numeric_steps():
            before, after = step.fit_transform(before), step.transform(after)
        parts.append((before, after))
    if not parts:
        raise ValueError("no feature has a value in the training rows")
    return np.hstack([part[0] for part in parts]), np.hstack([part[1] for part in parts])
