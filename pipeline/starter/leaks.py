"""Columns that know the target: filled only when it is, or the target in disguise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.starter.column import Column
from pipeline.starter.table import Table

_LEAST_MISSING = 5
_LEAST_ROWS = 20
_MOSTLY = 0.9
_SAME = 0.99999
_ROWS_A_VALUE = 3


def leaks(table: Table, target: Column) -> dict[str, str]:
    """By column: why it should be no feature."""
    found = {}
    for column in table.columns:
        if column.name == target.name:
            continue
        if _filled_with(column.values, target.values):
            found[column.name] = f"filled only where {target.name} is: known too late?"
        elif column.is_number and target.is_number and _same_numbers(column.values, target.values):
            found[column.name] = f"the same as {target.name} but for its unit"
        elif _determines(column, target):
            found[column.name] = f"each of its values goes with one {target.name}"
    return found


def _filled_with(values: pa.Array, target: pa.Array) -> bool:
    known, filled = target.is_valid(), values.is_valid()
    missing = len(known) - pc.sum(known).as_py()
    if missing < _LEAST_MISSING:
        return False
    alone = pc.sum(pc.and_(filled, pc.invert(known))).as_py()
    both = pc.sum(pc.and_(filled, known)).as_py()
    return bool(alone == 0 and both >= _MOSTLY * (len(known) - missing))


def _same_numbers(values: pa.Array, target: pa.Array) -> bool:
    x, y = _numbers(values), _numbers(target)
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < _LEAST_ROWS or not x.std() or not y.std():
        return False
    return bool(abs(np.corrcoef(x, y)[0, 1]) > _SAME)


def _numbers(values: pa.Array) -> npt.NDArray[np.float64]:
    array: npt.NDArray[np.float64] = values.cast(pa.float64(), safe=False).to_numpy(
        zero_copy_only=False
    )
    return array


def _determines(column: Column, target: Column) -> bool:
    """Whether every value of a column goes with one value of the target, and few rows have it."""
    distinct = pc.count_distinct(column.values, mode="only_valid").as_py()
    if distinct < 2 or len(column.values) < _ROWS_A_VALUE * distinct:
        return False
    pairs = pa.table({"value": column.values, "target": target.values}).filter(
        pc.and_(column.values.is_valid(), target.values.is_valid())
    )
    each = pairs.group_by("value").aggregate([("target", "count_distinct")])
    return len(each) > 1 and pc.max(each.column("target_count_distinct")).as_py() == 1
