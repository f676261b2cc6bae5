"""Rows with equal keys are found whatever their type, their file and their place in it."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.dataprep import key_hashes
from pipeline.dataprep.key_hashes import repeated_hashes

TYPES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "int": (pa.int32(), [1, 2, 1]),
    "long": (pa.int64(), [2**53, 2**53 + 1, 2**53]),
    "double": (pa.float64(), [0.0, 1.5, -0.0]),
    "float": (pa.float32(), [0.1, 0.2, 0.1]),
    "string": (pa.string(), ["é", "e\u0301", "é"]),
    "boolean": (pa.bool_(), [True, False, True]),
    "date": (pa.date32(), [date(2013, 1, 1), date(2013, 1, 2), date(2013, 1, 1)]),
    "timestamp": (
        pa.timestamp("us", "UTC"),
        [datetime(2013, 1, 1), datetime(2013, 1, 1, 1), datetime(2013, 1, 1)],
    ),
    "decimal": (pa.decimal128(20, 2), [Decimal("1.00"), Decimal("1.01"), Decimal("1.00")]),
}


def written(folder: Path, table: pa.Table, files: int = 2) -> list[Path]:
    """The table's rows in files, in their order."""
    paths = [folder / f"{number}.parquet" for number in range(files)]
    rows = -(-table.num_rows // files)
    for number, path in enumerate(paths):
        pq.write_table(table.slice(number * rows, rows), path)
    return paths


@pytest.mark.parametrize("kind", TYPES)
def test_equal_values_are_found_in_two_files(tmp_path: Path, kind: str) -> None:
    type_, values = TYPES[kind]
    table = pa.table({"key": pa.array([*values, None, None], type_), "other": [1, 1, 1, 1, 1]})
    files = written(tmp_path, table)
    assert repeated_hashes(files, ["key"], 5).size == 1
    distinct = written(tmp_path, table.slice(1))  # but for the two that have no value
    assert repeated_hashes(distinct, ["key"], 4).size == 0
    assert repeated_hashes(files, ["other"], 5).size == 1


def test_a_key_of_columns_is_all_of_them(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2, 1, 2, 1], "b": ["2", "1", "1", "2", None]})
    files = written(tmp_path, table)
    assert repeated_hashes(files, ["a"], 5).size == 2
    assert repeated_hashes(files, ["a", "b"], 5).size == 0
    assert repeated_hashes(files, ["b", "a"], 5).size == 0
    again = written(tmp_path, pa.concat_tables([table, table.slice(3, 1)]))
    assert repeated_hashes(again, ["a", "b"], 6).size == 1


def test_memory_is_bounded_by_looking_at_a_part_of_the_hashes_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [*range(1000), 7, 8, 9, 7]
    files = written(tmp_path, pa.table({"key": numbers}), 3)
    whole = repeated_hashes(files, ["key"], len(numbers))
    monkeypatch.setattr(key_hashes, "ROWS_AT_ONCE", 100)
    assert repeated_hashes(files, ["key"], len(numbers)).tolist() == whole.tolist()
    assert whole.size == 3
