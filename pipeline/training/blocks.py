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
from sklearn.base import BaseEstimator

from pipeline.training.candidates import Preparation
from pipeline.training.matrix import Floats


@dataclass(frozen=True)
class Blocks:
    """The features of some rows, column by column in memory.

    Scalers, imputers and encoders go through columns, and so do trees; rows side by side would
    make them touch all of the memory for each (a scaled ridge takes half the time this way).

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
            name
            for name, column in zip(self.numeric, self.numbers.T, strict=True)
            if np.isnan(column[:1]).all() and np.isnan(column).all()
        )

    def take(self, rows: npt.NDArray[np.intp] | slice) -> Blocks:
        """Some of the rows; neighbours, as a slice or by position, are not copied."""
        if not isinstance(rows, slice) and _are_neighbours(rows):
            rows = slice(int(rows[0]), int(rows[-1]) + 1)
        return Blocks(
            self.numeric, self.categorical, _rows(self.numbers, rows), _rows(self.codes, rows)
        )


def _are_neighbours(rows: npt.NDArray[np.intp]) -> bool:
    return bool(len(rows)) and bool((np.diff(rows) == 1).all())


def _rows(values: Floats, rows: npt.NDArray[np.intp] | slice) -> Floats:
    if isinstance(rows, slice):
        return values[rows]
    return np.take(values.T, rows, axis=1).T


def _columns(values: Floats, columns: Sequence[int]) -> Floats:
    """(n_samples, n_columns) a copy, each column in one piece, wherever the rows came from.

    So that what an estimator does with it neither depends on its neighbours nor reaches them.
    """
    return values.T[list(columns)].T


def to_blocks(X: pd.DataFrame, categorical: Sequence[str]) -> Blocks:
    """The blocks of (n_samples, n_features) object and float64 columns."""
    numeric = tuple(str(name) for name in X.columns if name not in categorical)
    numbers = np.empty((len(X), len(numeric)), order="F")
    for i, name in enumerate(numeric):
        numbers[:, i] = X[name].to_numpy()
    codes = np.empty((len(X), len(categorical)), order="F")
    for i, name in enumerate(categorical):
        ranks, categories = pd.factorize(X[name].to_numpy(), sort=True)
        codes[:, i] = np.where(ranks < 0, len(categories), ranks)
    return Blocks(numeric, tuple(categorical), numbers, codes)


def clip_target(y: Floats, share: float | None) -> Floats:
    """(n_samples,) the target, cut at the quantiles ``share`` and ``1 - share``."""
    if share is None or len(y) == 0:
        return y
    low, high = np.quantile(y, [share, 1 - share])
    return np.clip(y, low, high)


Sides = tuple[Floats, Floats]
"""Training and validation matrix of a fold, (n_train, width) and (n_valid, width)."""


class FoldMatrices:
    """The prepared matrices of a fold, by encoders, imputers and scalers fitted on ``train`` alone.

    Each step is done once, whatever the number of candidates that ask for it: those that scale
    begin from what those that only impute have, and all that encode alike share the codes.

    Args:
        train: (n_train,) rows to fit on.
        valid: (n_valid,) rows to score on.
        y: (n_train,) the target of the rows of ``train``.
    """

    def __init__(self, train: Blocks, valid: Blocks, y: Floats) -> None:
        self._train, self._valid, self._y = train, valid, y
        self._parts: dict[tuple[object, ...], Sides] = {}

    def prepare(self, wanted: Preparation) -> Sides:
        """The encoded categories first, then the numbers.

        Raises:
            ValueError: no feature is left.
        """
        parts = []
        if wanted.categorical:
            parts.append(self._encoded(wanted))
        if wanted.numeric:
            parts.append(self._numbers(wanted, wanted.numeric_steps()))
        if not parts:
            raise ValueError("no feature has a value in the training rows")
        if len(parts) == 1:
            return parts[0]
        train, valid = zip(*parts, strict=True)
        return np.hstack(train), np.hstack(valid)

    def _encoded(self, wanted: Preparation) -> Sides:
        how = (
            wanted.encode,
            wanted.max_categories,
            wanted.native,
            wanted.clip,
            wanted.seed,
            wanted.target_type,
        )
        key = (wanted.categorical, *how)
        if key not in self._parts:
            columns = [self._train.categorical.index(name) for name in wanted.categorical]
            encoder = wanted.encoder()
            y = clip_target(self._y, wanted.clip)  # target encoding alone looks at it
            fitted = encoder.fit_transform(_columns(self._train.codes, columns), y)
            self._parts[key] = fitted, encoder.transform(_columns(self._valid.codes, columns))
        return self._parts[key]

    def _numbers(self, wanted: Preparation, steps: Sequence[BaseEstimator]) -> Sides:
        done = [(type(step).__name__, getattr(step, "strategy", None)) for step in steps]
        key = (wanted.numeric, *done)
        if key not in self._parts:
            if steps:
                before, after = self._numbers(wanted, steps[:-1])
                self._parts[key] = steps[-1].fit_transform(before), steps[-1].transform(after)
            else:
                columns = [self._train.numeric.index(name) for name in wanted.numeric]
                train, valid = self._train.numbers, self._valid.numbers
                self._parts[key] = _columns(train, columns), _columns(valid, columns)
        return self._parts[key]
