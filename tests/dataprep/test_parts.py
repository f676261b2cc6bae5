"""Part files are written where they were asked for, whatever the folder is called."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from pipeline.dataprep.parts import write_parts


def test_a_folder_with_a_space_and_a_percent_sign(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "a store, 100%"
    folder.mkdir()
    (part,) = write_parts(spark.range(5).coalesce(1), folder)
    assert part == folder / "part-00000.parquet"
    assert pq.read_table(part)["id"].to_pylist() == [0, 1, 2, 3, 4]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
