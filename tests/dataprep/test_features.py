"""The feature table: its roles, its checks, and files that do not depend on the engine."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline.config.preprocess import PreprocessConfig
from pipeline.dataprep.features import feature_table
from pipeline.dataprep.layout import partition_keys, place_segments, spark_hash
from pipeline.dataprep.split_plan import plan_split
from pipeline.dataprep.write_features import write_features
from pipeline.errors import ConfigError, DataRefused

START = datetime(2020, 1, 1, tzinfo=timezone.utc)
ODD = ["", "a/b", "..", "=", "%2F", "😀", "\u00e9", "e\u0301", "007", "7", "_x", ".x", " ", "null"]
SEGMENTS = [None, "__HIVE_DEFAULT_PARTITION__", *ODD]


def config(**changes: Any) -> PreprocessConfig:
    settings = {
        "steps": [{"name": "last", "sql": "x.sql"}],
        "key": ["id"],
        "time": "at",
        "segment": ["shop"],
        "target": "sold",
        "features": {"numeric": ["price"], "categorical": ["kind"]},
        "split": {"test_from": START + timedelta(hours=3)},
    }
    return PreprocessConfig.model_validate_json(json.dumps(settings | changes, default=str))


def frame(spark: SparkSession, *changes: dict[str, Any]) -> DataFrame:
    """One row an item, an hour apart, each complete but for the item's changes."""
    rows = [
        {
            "id": n,
            "at": START + timedelta(hours=n),
            "shop": "s",
            "sold": 1,
            "price": 2.0,
            "kind": "k",
        }
        | change
        for n, change in enumerate(changes or ({},))
    ]
    schema = "id long, at timestamp, shop string, sold int, price double, kind string"
    return spark.createDataFrame([tuple(row.values()) for row in rows], schema)


def read(folder: Path) -> list[dict[str, Any]]:
    tables = [pq.read_table(file) for file in sorted(folder.iterdir())]
    return [dict(row) for table in tables for row in table.to_pylist()]


def test_columns_take_the_type_of_their_role(spark: SparkSession) -> None:
    table = feature_table(frame(spark, {"price": float("nan")}, {}, {}, {}), config())
    assert [(name, kind) for name, kind in table.dtypes] == [
        ("id", "bigint"),
        ("at", "timestamp"),
        ("shop", "string"),
        ("sold", "double"),
        ("price", "double"),
        ("kind", "string"),
        ("split", "string"),
    ]
    rows = table.orderBy("id").collect()
    assert [row["price"] for row in rows] == [None, 2.0, 2.0, 2.0]
    assert [row["split"] for row in rows] == ["train", "train", "train", "test"]


def test_missing_columns_are_named_with_the_nearest(spark: SparkSession) -> None:
    wrong = config(features={"numeric": ["prise", "kind"]}, target="solt")
    with pytest.raises(ConfigError) as refused:
        feature_table(frame(spark), wrong)
    assert "no column 'prise' (there is 'price')" in refused.value.message
    assert "no column 'solt' (there is 'sold')" in refused.value.message
    assert "kind must be a number. Got string instead" in refused.value.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": 1}, r"key \(id\) is not unique in step last: 2 rows have \{'id': 1\}"),
        ({"id": None}, "1 rows of step last have a null in its key"),
        ({"at": None}, "1 rows of step last have no at"),
        ({"price": float("inf")}, "1 rows .* have an infinite number, in price"),
    ],
)
def test_rows_that_models_cannot_use_are_refused(
    spark: SparkSession, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataRefused, match=message):
        write_features(frame(spark, changes, {}), config(), tmp_path)


def test_no_row_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="no row"):
        write_features(frame(spark).filter("false"), config(), tmp_path)


def test_every_spelling_of_a_segment_is_kept_apart(spark: SparkSession, tmp_path: Path) -> None:
    rows = [{"shop": shop} for shop in SEGMENTS for _ in range(3)]
    counts = write_features(frame(spark, *rows), config(), tmp_path)
    assert (counts.rows, counts.segments) == (len(rows), len(SEGMENTS))
    written = read(tmp_path)
    order = [(row["shop"] is not None, (row["shop"] or "").encode(), row["at"]) for row in written]
    assert order == sorted(order)
    shops = [row["shop"] for row in written]
    assert {shop: shops.count(shop) for shop in shops} == dict.fromkeys(SEGMENTS, 3)
    assert {path.name for path in tmp_path.iterdir()} == {"part-00000.parquet"}


def many_rows(spark: SparkSession, rows: int, segments: int) -> DataFrame:
    """Segments of very different sizes."""
    n = F.col("id")
    return spark.range(rows).select(
        n,
        F.timestamp_seconds(n % 997).alias("at"),
        F.format_string("shop %05d", (n * n % 7919) % F.lit(segments)).alias("shop"),
        n.alias("sold"),
        (n * 0.1).alias("price"),
        F.sha2(n.cast("string"), 256).alias("kind"),
    )


def hashes(folder: Path) -> list[tuple[str, str]]:
    files = sorted(folder.iterdir())
    return [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]


def test_the_same_rows_give_the_same_bytes_on_any_partitions(
    spark: SparkSession, tmp_path: Path
) -> None:
    written = []
    for shuffles, partitions, adaptive in ((1, 1, "false"), (5, 7, "true"), (2, 3, "false")):
        spark.conf.set("spark.sql.shuffle.partitions", str(shuffles))
        spark.conf.set("spark.sql.adaptive.enabled", adaptive)
        folder = tmp_path / str(partitions)
        rows = many_rows(spark, 120_000, 40).repartition(partitions, F.rand(partitions))
        counts = write_features(rows, config(file_mb=1), folder)
        written.append(hashes(folder))
    spark.conf.unset("spark.sql.shuffle.partitions")
    spark.conf.unset("spark.sql.adaptive.enabled")
    assert counts.files >= 8
    assert written[0] == written[1] == written[2]


def test_segments_are_whole_or_have_files_of_their_own(spark: SparkSession, tmp_path: Path) -> None:
    large = many_rows(spark, 40_000, 3).withColumn("shop", F.lit("large"))
    small = many_rows(spark, 10_000, 50).withColumn("id", F.col("id") + 1_000_000)
    write_features(large.unionByName(small), config(file_mb=1), tmp_path)
    read = [pq.read_table(file) for file in sorted(tmp_path.iterdir())]
    assert max(table.nbytes for table in read) < 1.1 * 2**20  # also of a segment with most rows
    tables = [table.to_pylist() for table in read]
    shops = [{row["shop"] for row in rows} for rows in tables]
    holding = [number for number, found in enumerate(shops) if "large" in found]
    assert len(holding) > 1
    assert holding == list(range(holding[0], holding[-1] + 1))
    assert all(shops[number] == {"large"} for number in holding)
    others = [shop for found in shops for shop in found if shop != "large"]
    assert len(others) == len(set(others))
    order = [(row["shop"], row["at"], row["id"]) for rows in tables for row in rows]
    assert order == sorted(order) and len(order) == 50_000


def test_a_hundred_thousand_segments_make_few_files_in_little_memory(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = spark.range(200_000).select(
        "id",
        F.timestamp_seconds("id").alias("at"),
        (F.col("id") % 100_000).cast("string").alias("shop"),
        F.lit(1).alias("sold"),
        F.lit(1.0).alias("price"),
        F.lit("k").alias("kind"),
    )
    tracemalloc.start()
    counts = write_features(rows, config(), tmp_path)
    files = sorted(tmp_path.iterdir())
    plan = plan_split(files, config())
    heap = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (counts.rows, counts.segments) == (200_000, 100_000)
    assert 8 <= counts.files <= 16 and len(files) == counts.files
    assert heap < 1_000 * counts.segments  # bytes, of this process; Spark has its own limit
    assert len(json.dumps(plan)) < 2_000  # no list of segments


@given(
    st.lists(st.integers(1, 5000), min_size=1, max_size=60),
    st.floats(8, 4000),
    st.integers(1, 4),
)
def test_places_are_consecutive_bounded_and_whole(
    rows: list[int], row_bytes: float, file_mb: int
) -> None:
    places = place_segments(rows, row_bytes, file_mb)
    capacity = max(int(file_mb * 2**20 / row_bytes), 1)
    filled: dict[int, int] = {}
    owners: dict[int, list[int]] = {}
    for number, (place, count) in enumerate(zip(places, rows, strict=True)):
        assert (place.files > 1) == (count > capacity)
        for file in range(place.first, place.first + place.files):
            owners.setdefault(file, []).append(number)
        filled[place.first] = filled.get(place.first, 0) + -(-count // place.files)
    assert sorted(owners) == list(range(len(owners)))
    assert [n for file in sorted(owners) for n in owners[file]] == sorted(
        n for numbers in owners.values() for n in numbers
    )
    assert max(filled.values()) <= capacity
    assert all(len(owners[p.first]) == 1 for p in places if p.files > 1)


def test_the_hash_is_sparks(spark: SparkSession) -> None:
    found = spark.range(500).select(F.hash(F.col("id").cast("int"))).collect()
    assert [row[0] for row in found] == [spark_hash(number) for number in range(500)]


def test_each_partition_has_a_key() -> None:
    keys = partition_keys(37)
    assert [spark_hash(key) % 37 for key in keys] == list(range(37))
