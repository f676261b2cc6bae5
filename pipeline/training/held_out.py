"""Which rows are held out for the test: those from an instant on, or those that a column names."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

TEST = "test"
"""What the column says of a row that is held out."""


def is_held_out(
    table: pa.Table, time: str, test_from: int | None, column: str | None
) -> npt.NDArray[np.bool_]:
    """(n_rows,) whether a row is held out.

    Args:
        time: the column of the rows' times.
        test_from: microseconds since 1970 UTC, of a test by time.
        column: of other tests, the column that says ``test`` of a row.
    """
    if column is not None:
        return np.asarray(pc.equal(table.column(column), TEST).fill_null(False))
    assert test_from is not None, "a test that is not by time has a column"
    times = table.column(time).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    return np.asarray(pc.greater_equal(times, test_from).fill_null(False))
