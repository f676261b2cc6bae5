"""Folders that name a column and its value: ``date=2024-01-01/part.csv``."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import orc
from pyspark.sql import SparkSession

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.ingest import ingest_source
from pipeline.errors import DataRefused

Row = dict[str, Any]
COLUMNS = {
    "id": {"type": "int"},
    "day": {"type": "date", "nullable": False},
    "place": {"type": "string", "from": "town"},
}
Ingest = Callable[..., tuple[list[Row], list[Row]]]


@pytest.fixture
def ingest(spark: SparkSession, tmp_path: Path) -> Ingest:
    def run(folders: dict[str, int], file_format: str = "csv") -> tuple[list[Row], list[Row]]:
        files = []
        for folder, number in folders.items():
            file = tmp_path / folder / f"a b%.{file_format}"
            file.parent.mkdir(parents=True)
            table = pa.table({"id": pa.array([number], pa.int32())})
            if file_format in ("csv", "json"):
                file.write_text(
                    f"id\n{number}\n" if file_format == "csv" else f'{{"id": {number}}}'
                )
            else:
                (pq if file_format == "parquet" else orc).write_table(table, file)
            files.append(str(file))
        settings = {"path": "x", "format": file_format, "columns": COLUMNS,
                    "null_values": [], "max_quarantined_share": 0.9}  # fmt: skip
        source = SourceConfig.model_validate_json(json.dumps(settings))
        good, bad = tmp_path / "good", tmp_path / "bad"
        ingest_source(spark, source, "shop", files, good, bad)
        return read_rows(good), read_rows(bad)

    return run


def read_rows(folder: Path) -> list[Row]:
    tables = [pq.read_table(file) for file in sorted(folder.glob("*.parquet"))]
    return [dict(row) for row in pa.concat_tables(tables).to_pylist()]


@pytest.mark.parametrize("file_format", ("csv", "json", "parquet", "orc"))
def test_folders_give_typed_columns(ingest: Ingest, file_format: str) -> None:
    good, bad = ingest(
        {
            "day=2024-01-01/town=007": 1,
            "day=2024-01-02/town=": 2,
            "day=2024-01-03/town=__HIVE_DEFAULT_PARTITION__": 3,
            "day=2024-01-04/town=a%2Fb+c é": 4,
            "day=2024-01-05/town=100%": 5,
            "day=2024-01-06/town=x/town=last": 6,
            "day=soon/town=a": 7,
            "day=__HIVE_DEFAULT_PARTITION__/town=a": 8,
        },
        file_format,
    )
    assert {row["id"]: (row["day"].day, row["place"]) for row in good} == {
        1: (1, "007"), 2: (2, ""), 3: (3, None), 4: (4, "a/b+c é"), 5: (5, "100%"), 6: (6, "last"),
    }  # fmt: skip
    assert good[0]["day"] == date(2024, 1, 1)
    reasons = {Path(row["file"]).parts[-3]: row["reasons"][0] for row in bad}
    assert reasons["day=soon"] == {"rule": "not_a_date", "column": "day", "value": "soon"}
    assert reasons["day=__HIVE_DEFAULT_PARTITION__"]["rule"] == "null"


def test_a_file_outside_of_such_folders_is_refused(ingest: Ingest) -> None:
    with pytest.raises(DataRefused, match=r"town=a/a b%\.csv lies in no folder day="):
        ingest({"day=2024-01-01/town=a": 1, "other/town=a": 2})
