"""Arrow table → what scikit-learn takes: plain NumPy numbers and plain Python strings.

Arrow-typed pandas columns, which Ray Data hands out, trip scikit-learn and comparisons, so none
is ever made here. Numbers become float64 with NaN for null; categories become text with None for
null, whatever their type was, so that a code stored as int32 in training and as int64 in scoring
is one category.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataRefused

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Matrix:
    """The rows that models see.

    Attributes:
        X: (n_samples, n_features) float64 and object columns, with a plain index.
        y: (n_samples,) float64 target.
        time: (n_samples,) int64 microseconds since 1970-01-01 UTC.
    """

    X: pd.DataFrame
    y: Floats
    time: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, start: int, stop: int) -> Matrix:
        """A slice, without a copy of the numbers."""
        X = self.X.iloc[start:stop].reset_index(drop=True)
        return Matrix(X, self.y[start:stop], self.time[start:stop])


def to_matrix(
    table: pa.Table,
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    target: str,
    time: str,
) -> Matrix:
    """The matrix of a table whose target has no nulls.

    Raises:
        DataRefused: a column is missing, has a type that does not fit its role, or the target or
            the time has nulls.
    """
    X = to_features(table, numeric=numeric, categorical=categorical)
    for name in (target, time):
        if _column(table, name).null_count:
            raise DataRefused(
                f"Column {name!r} must have no nulls here. "
                f"Got {table.column(name).null_count} of {table.num_rows} rows.",
                hint="Drop the rows without a target (drop_unlabelled) or filter them in the SQL.",
            )
    return Matrix(X, _floats(table, target), _microseconds(table, time))


def to_features(
    table: pa.Table, *, numeric: Sequence[str], categorical: Sequence[str]
) -> pd.DataFrame:
    """(n_samples, n_features) the features, numeric ones first.

    Raises:
        DataRefused: a column is missing or a numeric one does not hold numbers.
    """
    columns: dict[str, npt.NDArray[np.float64] | npt.NDArray[np.object_]] = {}
    for name in numeric:
        columns[name] = _floats(table, name)
    for name in categorical:
        columns[name] = _strings(table, name)
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows), copy=False)


def drop_unlabelled(table: pa.Table, target: str) -> tuple[pa.Table, int]:
    """The rows with a finite target, and the number of those without. No copy if all have one."""
    y = _floats(table, target)
    keep = np.isfinite(y)
    dropped = int(len(y) - np.count_nonzero(keep))
    return (table.filter(pa.array(keep)) if dropped else table), dropped


def digest(table: pa.Table, columns: Sequence[str]) -> str:
    """SHA-256 of the values of some columns, in hex.

    It depends on names and values alone, not on chunks, slices, or the types that hold them.
    """
    total = hashlib.sha256()
    for name in columns:
        column = _column(table, name)
        total.update(f"{name}\0{column.type}\0{len(column)}\0".encode())
        if _is_number(column.type):
            total.update(np.ascontiguousarray(_floats(table, name)).data)
        else:
            _update_with_text(total, column.cast(pa.large_string()))
    return total.hexdigest()


def _update_with_text(total: hashlib._Hash, column: pa.ChunkedArray) -> None:
    total.update(np.asarray(pc.is_valid(column)).tobytes())
    lengths = pc.fill_null(pc.binary_length(column), 0)
    total.update(np.asarray(lengths).astype(np.int64).tobytes())
    for chunk in column.chunks:
        valid = chunk.drop_null()
        _, offsets, data = valid.buffers()
        if len(valid) and data is not None:
            ends = np.frombuffer(offsets, dtype=np.int64)
            start, stop = ends[valid.offset], ends[valid.offset + len(valid)]
            total.update(memoryview(data)[start:stop])


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name in table.column_names:
        return table.column(name)
    near = difflib.get_close_matches(name, table.column_names, n=1)
    raise DataRefused(
        f"Column {name!r} is missing. Got {', '.join(table.column_names)} instead.",
        hint=f"Did you mean {near[0]!r}?" if near else "The rows must have the training columns.",
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )


def _floats(table: pa.Table, name: str) -> Floats:
    column = _column(table, name)
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    if not _is_number(column.type):
        raise DataRefused(
            f"Column {name!r} must hold numbers. Got {column.type} instead.",
            hint="Move it to preprocess.features.categorical, or cast it in the SQL.",
        )
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    # safe=False: an int64 above 2**53 loses its last digits, which no model would have used.
    values = column.cast(pa.float64(), safe=False).to_numpy()
    return np.asarray(values, dtype=np.float64)


def _strings(table: pa.Table, name: str) -> npt.NDArray[np.object_]:
    column = _column(table, name)
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


def _microseconds(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    column = _column(table, name)
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
