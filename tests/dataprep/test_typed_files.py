"""Parquet and ORC: nested columns, exploded arrays, clocks, and types that changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import orc
from pyspark.sql import SparkSession

from pipeline.dataprep.ingest import ingest_source
from pipeline.errors import DataRefused
from tests.dataprep.ingesting import Ingested, source

WRITERS: dict[str, Callable[[pa.Table, str], None]] = {
    "parquet": pq.write_table,
    "orc": orc.write_table,
}
BOTH = pytest.mark.parametrize("kind", WRITERS)
UTC = timezone.utc


def read(
    spark: SparkSession, folder: Path, kind: str, *tables: pa.Table, **settings: Any
) -> Ingested:
    files = []
    for number, table in enumerate(tables):
        files.append(str(folder / f"{number}.{kind}"))
        WRITERS[kind](table, files[-1])
    declared = source(format=kind, **settings)
    result = ingest_source(spark, declared, "shop", files, folder / "good", folder / "bad")
    return Ingested(result, folder)


@BOTH
def test_nested_columns_and_elements_of_arrays_are_rows(
    spark: SparkSession, tmp_path: Path, kind: str
) -> None:
    lines = pa.list_(pa.struct([("sku", pa.string()), ("amounts", pa.list_(pa.float64()))]))
    table = pa.table({
        "Order No": pa.array([1, 2, 3], pa.int32()),
        "to": pa.array([{"city": "Ulm"}, None, {"city": None}]),
        "lines": pa.array(
            [[{"sku": "a", "amounts": [0.5]}, {"sku": None, "amounts": []}], [], [{"sku": "c"}]],
            lines,
        ),
    })  # fmt: skip
    columns = {
        "order": {"type": "int", "from": "Order No"},
        "city": {"type": "string", "from": "to.city", "default": "?"},
        "sku": {"type": "string", "from": "lines.sku", "nullable": False},
        "amount": {"type": "double", "from": "lines.amounts[0]"},
    }
    found = read(spark, tmp_path, kind, table, explode="lines", columns=columns)
    assert [tuple(row.values()) for row in found.good] == [
        (1, "Ulm", "a", 0.5),
        (3, "?", "c", None),
    ]
    assert [(r["row"], r["item"], r["reasons"][0]["rule"]) for r in found.bad] == [
        (1, 2, "null"),
        (2, None, "null"),
    ]
    assert '"Order No":2' in found.bad[1]["raw"]
    assert found.result.rows_in == 4


@BOTH
def test_clocks_are_read_in_the_declared_zone(
    spark: SparkSession, tmp_path: Path, kind: str
) -> None:
    shown = [datetime(2013, 7, 1, 12), datetime(2013, 3, 10, 2, 30), datetime(2013, 11, 3, 1, 30)]
    table = pa.table({
        "local": pa.array(shown, pa.timestamp("us")),
        "instant": pa.array(shown, pa.timestamp("us", "UTC")),
        "clock": pa.array(shown, pa.timestamp("us")),
    })  # fmt: skip
    zone = {"type": "timestamp", "zone": "America/New_York"}
    columns = {"local": zone, "instant": zone, "clock": {"type": "timestamp"}}
    if kind == "orc":
        with pytest.raises(DataRefused, match=r"timestamp with local time zone.* of instant"):
            read(spark, tmp_path, kind, table, columns=columns)
        columns["instant"] = columns["clock"]
        table = table.set_column(1, "instant", table.column("clock"))
    found = read(spark, tmp_path, kind, table, columns=columns)
    noon, night = shown[0].replace(tzinfo=UTC), shown[2].replace(tzinfo=UTC)
    assert found.good == [
        {"local": datetime(2013, 7, 1, 16, tzinfo=UTC), "instant": noon, "clock": noon},
        {"local": datetime(2013, 11, 3, 5, 30, tzinfo=UTC), "instant": night, "clock": night},
    ]
    assert [(row, rule) for row, rule, _ in found.rules] == [(2, "skipped_by_clocks")]


def shop(**columns: pa.Array) -> pa.Table:
    whole = {"id": pa.array([1, 2, 3], pa.int32()), "price": pa.array([1.0, 2.0, 3.0])}
    return pa.table(whole | {"note": pa.array(["a", None, "c"])} | columns)


@BOTH
def test_values_of_a_changed_type_are_read_where_they_fit(
    spark: SparkSession, tmp_path: Path, kind: str
) -> None:
    changed = shop(
        id=pa.array([4, 2**40, 6]), price=pa.array(["4.5", "x", None]), note=pa.array([7, 8, 9])
    )
    columns = {
        "id": {"type": "int"},
        "price": {"type": "decimal(5,1)"},
        "note": {"type": "string"},
    }
    found = read(spark, tmp_path, kind, shop(), changed, columns=columns, changed_types="cast")
    assert [tuple(row.values()) for row in sorted(found.good, key=lambda row: row["id"])] == [
        (1, Decimal("1.0"), "a"),
        (2, Decimal("2.0"), None),
        (3, Decimal("3.0"), "c"),
        (4, Decimal("4.5"), "7"),
        (6, None, "9"),
    ]
    assert found.rules == [(2, "not_a_int", str(2**40))]
    assert found.result.drift.retyped == {
        "id: int64, not int": 1,
        "price: double, not decimal(5,1)": 1,
        "price: string, not decimal(5,1)": 1,
        "note: int64, not string": 1,
    }
    with pytest.raises(DataRefused, match="column 'id' is int64; int is declared"):
        read(spark, tmp_path, kind, shop(), changed)


@BOTH
def test_a_column_that_some_parts_lack_is_refused_or_filled(
    spark: SparkSession, tmp_path: Path, kind: str
) -> None:
    old = pa.table({"price": [5.0], "id": pa.array([5], pa.int32()), "more": [1]})
    with pytest.raises(DataRefused, match=r"1\.(parquet|orc): no column 'note'"):
        read(spark, tmp_path, kind, shop(), old)
    found = read(spark, tmp_path, kind, shop(), old, missing_columns="fill")
    assert found.good[-1] == {"id": 5, "price": 5.0, "note": None}
    drift = found.result.drift
    assert (drift.missing, drift.extra, drift.reordered) == ({"note": 1}, {"more": 1}, 1)


def test_a_file_that_is_not_orc_is_refused_by_name(spark: SparkSession, tmp_path: Path) -> None:
    orc.write_table(shop(), str(tmp_path / "a.orc"))
    whole = (tmp_path / "a.orc").read_bytes()
    settings = source(format="orc")
    for content in (whole[:-20], b"id,price,note\n"):
        (tmp_path / "b.orc").write_bytes(content)
        files = [str(tmp_path / name) for name in ("a.orc", "b.orc")]
        with pytest.raises(DataRefused, match=r"b\.orc is not a whole ORC file"):
            ingest_source(spark, settings, "shop", files, tmp_path / "good", tmp_path / "bad")
