"""Footers sorted in place: the same table, and the same bytes whatever their order was."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipeline.dataprep.footer import sort_footer


def test_a_sorted_footer_describes_the_same_table(tmp_path: Path) -> None:
    numbers = pa.array(range(5000))
    table = pa.table({"a": numbers, "b": numbers.cast(pa.string()), "c": [[1, None]] * 5000})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=700, write_page_index=True)
    sort_footer(path)
    once = path.read_bytes()
    sort_footer(path)
    assert path.read_bytes() == once
    assert pq.read_table(path).equals(table)


def test_two_orders_of_the_encodings_become_one(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.range(3000).select((F.col("id") % 7).alias("a"))
    frame.coalesce(1).write.parquet(str(tmp_path / "written"))
    (path,) = (tmp_path / "written").glob("*.parquet")
    expected = pq.read_table(path)
    sort_footer(path)
    one = path.read_bytes()
    # Thrift: a list of three integers, each encoding's number doubled, a byte each.
    names = {"PLAIN": 0, "PLAIN_DICTIONARY": 2, "RLE": 3, "BIT_PACKED": 4, "RLE_DICTIONARY": 8}
    found = pq.read_metadata(path).row_group(0).column(0).encodings
    numbers = sorted(names[name] * 2 for name in found)
    listed = bytes([len(numbers) << 4 | 5, *numbers])
    assert len(numbers) > 1 and one.count(listed) == 1
    turned = bytes([listed[0], *reversed(numbers)])
    path.write_bytes(one.replace(listed, turned))
    sort_footer(path)
    assert path.read_bytes() == one
    assert pq.read_table(path).equals(expected)


def test_another_format_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + b"\x1b" * 40 + (40).to_bytes(4, "little") + b"PAR1")
    before = path.read_bytes()
    with pytest.raises((ValueError, IndexError)):
        sort_footer(path)
    assert path.read_bytes() == before
