"""Arrow table → what scikit-learn takes: plain NumPy numbers and plain Python strings.

Arrow-typed pandas columns, which Ray Data hands out, trip scikit-learn and comparisons, so none
is ever made here. Numbers become float64 with NaN for null; categories become text with None for
null, whatever their type was, so that a code stored as int32 in training and as int64 in scoring
is one category.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataRefused
from pipeline.training.labels import class_codes

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Matrix:
    """The rows that models see.

    Attributes:
        X: (n_samples, n_features) float64 and object columns, with a plain index.
        y: (n_samples,) float64 target; of classes their positions.
        time: (n_samples,) int64 microseconds since 1970-01-01 UTC.
        weight: (n_samples,) what a row counts, at least 0; None where all count alike.
        fold: (n_samples,) int64 the fold that validates on a row; None where time decides.
    """

    X: pd.DataFrame
    y: Floats
    time: npt.NDArray[np.int64]
    weight: Floats | None = None
    fold: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, start: int, stop: int) -> Matrix:
        """A slice, without a copy of the numbers."""
        X = self.X.iloc[start:stop].reset_index(drop=True)
        weight = None if self.weight is None else self.weight[start:stop]
        fold = None if self.fold is None else self.fold[start:stop]
        return Matrix(X, self.y[start:stop], self.time[start:stop], weight, fold)


def to_matrix(
    table: pa.Table,
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    target: str,
    time: str,
    classes: Sequence[str] = (),
    weight: str | None = None,
    fold: str | None = None,
) -> Matrix:
    """The matrix of a table whose target has no nulls.

    Raises:
        DataRefused: a column is missing, has a type that does not fit its role, the target,
            the time or the fold has nulls, or a weight is null or negative.
    """
    X = to_features(table, numeric=numeric, categorical=categorical)
    for name in (target, time):
        if named_column(table, name).null_count:
            raise DataRefused(
                f"Column {name!r} must have no nulls here. "
                f"Got {table.column(name).null_count} of {table.num_rows} rows.",
                hint="Drop the rows without a target, or filter them in the SQL.",
            )
    column = named_column(table, target)
    y = class_codes(column, target, classes) if classes else floats(table, target)
    weights = None if weight is None else weights_of(table, weight)
    folds = None if fold is None else fold_numbers(table, fold)
    return Matrix(X, y, epoch_microseconds(table, time), weights, folds)


def fold_numbers(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    """(n_rows,) int64 the fold that validates on each row.

    Raises:
        DataRefused: the column is missing or holds no whole numbers, or a row has no fold.
    """
    column = named_column(table, name)
    if column.null_count or not pa.types.is_integer(column.type):
        raise DataRefused(
            f"Column {name!r} must hold the number of a fold in every training row. "
            f"Got {column.type} with {column.null_count} nulls in {table.num_rows} rows.",
            hint="Run preprocess again: it deals the training rows to the folds.",
        )
    return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)


def weights_of(table: pa.Table, name: str) -> Floats:
    """(n_samples,) what each row counts.

    Raises:
        DataRefused: a weight is null, infinite or negative.
    """
    values = floats(table, name)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise DataRefused(
            f"Column {name!r}: a weight must be a number of at least 0, and never null. "
            f"Got {table.column(name)[first].as_py()!r} and the like in {int(bad.sum())} rows.",
            hint="Mend or filter these rows in the SQL, or leave train.weight out.",
        )
    return values


def to_features(
    table: pa.Table, *, numeric: Sequence[str], categorical: Sequence[str]
) -> pd.DataFrame:
    """(n_samples, n_features) the features, numeric ones first.

    Raises:
        DataRefused: a column is missing or a numeric one does not hold numbers.
    """
    columns: dict[str, npt.NDArray[np.float64] | npt.NDArray[np.object_]] = {}
    for name in numeric:
        columns[name] = floats(table, name)
    for name in categorical:
        columns[name] = _strings(table, name)
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows), copy=False)


def has_target(table: pa.Table, target: str) -> npt.NDArray[np.bool_]:
    """(n_rows,) whether a row has a target: it is no null, and if a number then finite."""
    column = named_column(table, target)
    if is_number(column.type):
        return np.isfinite(numbers(column))
    return np.asarray(column.is_valid().to_numpy(), dtype=bool)


def named_column(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column by name; a missing one is refused with the nearest name."""
    if name in table.column_names:
        return table.column(name)
    near = difflib.get_close_matches(name, table.column_names, n=1)
    raise DataRefused(
        f"Column {name!r} is missing. Got {', '.join(table.column_names)} instead.",
        hint=f"Did you mean {near[0]!r}?" if near else "The rows must have the training columns.",
    )


def is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )


def floats(table: pa.Table, name: str) -> Floats:
    """(n_rows,) float64, NaN for null; without a copy where the column allows it."""
    column = named_column(table, name)
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    if not is_number(column.type):
        raise DataRefused(
            f"Column {name!r} must hold numbers. Got {column.type} instead.",
            hint="Move it to preprocess.features.categorical, or cast it in the SQL.",
        )
    return numbers(column)


def numbers(column: pa.ChunkedArray) -> Floats:
    """(n_samples,) numbers or booleans as float64; NaN for null."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    # safe=False: an int64 above 2**53 loses its last digits, which no model would have used.
    values = column.cast(pa.float64(), safe=False).to_numpy()
    return np.asarray(values, dtype=np.float64)


def _strings(table: pa.Table, name: str) -> npt.NDArray[np.object_]:
    column = named_column(table, name)
    if pa.types.is_null(column.type):
        return np.full(len(column), None, dtype=object)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    # Through a dictionary, so that equal values share one Python string.
    coded = column.cast(pa.string()).dictionary_encode().unify_dictionaries()
    values = np.empty(len(column), dtype=object)
    start = 0
    for chunk in coded.chunks:
        names = np.array([*chunk.dictionary.to_pylist(), None], dtype=object)
        indices = pc.fill_null(chunk.indices, len(names) - 1)
        values[start : start + len(chunk)] = names[np.asarray(indices)]
        start += len(chunk)
    return values


def epoch_microseconds(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    """(n_rows,) microseconds since 1970-01-01 UTC of a column without nulls."""
    column = named_column(table, name)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    if not pa.types.is_timestamp(column.type):
        raise DataRefused(
            f"Column {name!r} must hold timestamps or dates. Got {column.type} instead.",
            hint="Cast it in the SQL, or name another column in preprocess.time.",
        )
    unit = pa.timestamp("us", tz=column.type.tz)
    values = column.cast(unit, safe=False).cast(pa.int64()).to_numpy()
    return np.asarray(values, dtype=np.int64)
