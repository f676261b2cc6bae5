"""Columns without any value, from the footers of written files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq


def empty_columns(files: Sequence[Path]) -> list[str]:
    """Top-level columns that are null in every row of all files together, in their order.

    A column whose writer kept no count of nulls is taken to have values.
    """
    filled: dict[str, bool] = {}
    for file in files:
        if filled and all(filled.values()):
            break  # there may be ten thousand files
        footer = pq.read_metadata(file)
        for group in range(footer.num_row_groups):
            rows = footer.row_group(group).num_rows
            for index in range(footer.num_columns):
                column = footer.row_group(group).column(index)
                name = column.path_in_schema.partition(".")[0]
                found = column.statistics
                nulls = found.null_count if found is not None and found.has_null_count else None
                filled[name] = filled.get(name, False) or nulls != rows
    return [name for name, has_values in filled.items() if not has_values]
