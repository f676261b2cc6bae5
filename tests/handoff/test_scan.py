"""A DataFrame that only reads Parquet is handed over as its files; any other is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline.engines.session import Engines
from pipeline.handoff import scan
from pipeline.handoff.blocks import FilePart, plan_blocks, plan_parts, read_block
from pipeline.handoff.scan import plan_of_scan

ROWS = 6_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of several row groups, the largest neither first nor last, in a path with a space."""
    made = tmp_path / "a folder"
    made.mkdir()
    ids = pa.array(range(ROWS), pa.int64())
    table = pa.table({"id": ids, "Name": pa.array([f"row {i}" for i in range(ROWS)])})
    for i, (begin, end) in enumerate(((0, 1000), (1000, 5000), (5000, 5000), (5000, ROWS))):
        pq.write_table(
            table.slice(begin, end - begin), made / f"part-{i}.parquet", row_group_size=300
        )
    return made


@pytest.fixture
def split_small(engines: Engines) -> Iterator[SparkSession]:
    """Spark with splits so small that files become several, and several one partition."""
    spark = engines.spark()
    setting = "spark.sql.files.maxPartitionBytes"
    before = spark.conf.get(setting)
    spark.conf.set(setting, "20000")
    yield spark
    spark.conf.set(setting, before)


SCANS: dict[str, Callable[[DataFrame], DataFrame]] = {
    "all": lambda frame: frame,
    "some columns": lambda frame: frame.select("Name", "id"),
    "chosen and renamed frame": lambda frame: frame.alias("x").select("x.id"),
}
OTHERS: dict[str, Callable[[DataFrame], DataFrame]] = {
    "a filter": lambda frame: frame.where("id > 10"),
    "a limit": lambda frame: frame.limit(5),
    "an expression": lambda frame: frame.select((F.col("id") + 1).alias("id")),
    "another name": lambda frame: frame.withColumnRenamed("id", "key"),
    "a name in another case": lambda frame: frame.select("ID"),
    "the file's name": lambda frame: frame.select("id", "_metadata.file_name"),
    "a sort": lambda frame: frame.orderBy("id"),
    "a shuffle": lambda frame: frame.repartition(3),
    "twice": lambda frame: frame.union(frame),
    "a sample": lambda frame: frame.sample(0.5, seed=1),
    "kept in memory": lambda frame: frame.select("id").cache(),
}


@pytest.mark.parametrize("what", SCANS)
def test_a_scan_is_planned_in_the_order_of_its_rows(
    what: str, folder: Path, split_small: SparkSession
) -> None:
    frame = SCANS[what](split_small.read.parquet(f"file://{folder}"))
    assert frame.rdd.getNumPartitions() > 2
    plan = plan_of_scan(frame)
    assert plan is not None
    found = pa.concat_tables([read_block(spec, plan.schema) for spec in plan.specs])
    assert found.column_names == frame.columns
    assert [tuple(row.values()) for row in found.to_pylist()] == [tuple(r) for r in frame.collect()]
    assert sum(spec.rows for spec in plan.specs) == ROWS


@pytest.mark.parametrize("what", OTHERS)
def test_what_spark_has_to_compute_is_no_scan(what: str, folder: Path, engines: Engines) -> None:
    frame = OTHERS[what](engines.spark().read.parquet(f"file://{folder}"))
    assert plan_of_scan(frame) is None
    frame.unpersist()


def test_what_spark_reads_other_than_arrow_is_no_scan(engines: Engines, tmp_path: Path) -> None:
    spark = engines.spark()

    def read(name: str, *tables: pa.Table, **options: str) -> DataFrame:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for i, table in enumerate(tables):
            pq.write_table(table, folder / f"part-{i}.parquet", **options)
        return spark.read.parquet(f"file://{folder}")

    one, two = pa.table({"x": [1], "y": ["a"]}), pa.table({"x": [2]})
    version, legacy = "org.apache.spark.version", "org.apache.spark.legacyDateTime"
    new = one.replace_schema_metadata({version: "3.5.7"})
    old = one.replace_schema_metadata({version: "3.5.7", legacy: ""})
    older = one.replace_schema_metadata({version: "2.4.8"})
    instant = pa.table({"t": pa.array([0], pa.timestamp("us", tz="UTC"))})
    assert plan_of_scan(read("plain", one, one)) is not None
    assert plan_of_scan(read("lacks a column", one, two)) is None
    assert plan_of_scan(read("unsigned", pa.table({"x": pa.array([1], pa.uint32())}))) is None
    assert plan_of_scan(read("of today", new)) is not None
    assert plan_of_scan(read("old calendar", old)) is None
    assert plan_of_scan(read("older calendar", older)) is None
    asked = spark.read.option("datetimeRebaseMode", "LEGACY").parquet(f"file://{tmp_path}/plain")
    assert plan_of_scan(asked) is None
    assert plan_of_scan(asked.select()) is None
    assert plan_of_scan(read("int96", instant, use_deprecated_int96_timestamps=True)) is None
    partitioned = tmp_path / "partitioned"
    spark.range(4).selectExpr("id", "id % 2 as p").write.partitionBy("p").parquet(
        partitioned.as_uri()
    )
    assert plan_of_scan(spark.read.parquet(partitioned.as_uri())) is None
    assert plan_of_scan(spark.read.schema("x string").parquet(f"file://{tmp_path}/plain")) is None
    csv = tmp_path / "csv"
    spark.range(4).write.csv(f"file://{csv}")
    assert plan_of_scan(spark.read.csv(f"file://{csv}")) is None


def test_a_scan_of_files_without_rows_is_one_empty_block(engines: Engines, tmp_path: Path) -> None:
    for i in range(2):
        pq.write_table(pa.table({"x": pa.array([], pa.int64())}), tmp_path / f"part-{i}.parquet")
    plan = plan_of_scan(engines.spark().read.parquet(f"file://{tmp_path}"))
    assert plan is not None
    assert [read_block(spec, plan.schema).num_rows for spec in plan.specs] == [0]


def test_many_small_files_are_left_to_spark_and_large_parts_are_cut(
    engines: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"x": pa.array(range(1000), pa.int64())})
    for i in range(3):
        pq.write_table(table, tmp_path / f"part-{i}.parquet", row_group_size=100)
    frame = engines.spark().read.parquet(f"file://{tmp_path}")
    plan = plan_of_scan(frame)
    assert plan is not None
    assert len(plan.specs) == 3
    part = FilePart(plan.specs[0].file, 0, 10**9)
    cut = plan_parts([part], ["x"], most_bytes=3 * plan.bytes // 30 + 10)
    assert [spec.rows for spec in cut.specs] == [300, 300, 300, 100]
    monkeypatch.setattr(scan, "_MANY", 2)
    assert plan_of_scan(frame) is None


def test_a_frame_without_a_type_in_arrow_is_no_scan(engines: Engines) -> None:
    frame = engines.spark().range(3).selectExpr("make_ym_interval(1, int(id)) as x")
    assert plan_of_scan(frame) is None


def test_nested_coded_columns_of_several_row_groups_are_read(tmp_path: Path) -> None:
    values = pa.array([["a"], ["b", "a"], ["c"]]).cast(
        pa.list_(pa.dictionary(pa.int32(), pa.string()))
    )
    pq.write_table(pa.table({"x": values}), tmp_path / "nested.parquet", row_group_size=1)
    plan = plan_blocks([str(tmp_path / "nested.parquet")])
    assert read_block(plan.specs[0], plan.schema).to_pydict() == {"x": [["a"], ["b", "a"], ["c"]]}
