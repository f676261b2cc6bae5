"""The classes of a target: their names as text, and a row's class as a number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataRefused
from pipeline.training.objective import Floats

MAX_CLASSES = 200
"""Each is a column of the predictions; more are most likely a number or a key."""


def class_names(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Each row's class as text: text as it is, ``true`` or ``false``, whole numbers as ``-7``.

    Raises:
        DataRefused: the column holds numbers with a fraction, or what is no class at all.
    """
    kind = column.type
    if pa.types.is_boolean(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.string())
    if pa.types.is_dictionary(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    try:
        # Safe casts: a fraction is refused, and a whole double loses its ".0".
        return column.cast(pa.int64()).cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataRefused(
            f"Column {name!r} must hold classes: text, booleans or whole numbers. "
            f"Got {kind} instead: {error}",
            hint="Use train.task: regression, or make classes of it in the SQL.",
        ) from error


def class_codes(column: pa.ChunkedArray, name: str, classes: Sequence[str]) -> Floats:
    """(n_samples,) position of each row's class in ``classes``; NaN for null, -1 for another."""
    names = class_names(column, name)
    places = pc.index_in(names, value_set=pa.array(classes, pa.string()))
    codes = pc.if_else(pc.is_valid(names), pc.fill_null(places, -1), None)
    return np.asarray(codes.cast(pa.float64()).to_numpy(), dtype=np.float64)


def labels(codes: Floats, classes: Sequence[str]) -> npt.NDArray[np.str_]:
    """(n_samples,) the names of classes, of their positions."""
    return np.asarray(classes, dtype=np.str_)[codes.astype(np.intp)]
