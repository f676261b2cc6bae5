"""Folds by group and stratified folds, as Spark deals them."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline.config.preprocess import PreprocessConfig
from pipeline.dataprep.features import feature_table
from pipeline.errors import ConfigError

START = datetime(2020, 1, 1, tzinfo=timezone.utc)
Row = dict[str, Any]

# A job of Spark costs a good part of a second, so an example is a whole table, and is not shrunk.
FEW = settings(max_examples=5, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
GROUPS = st.tuples(
    st.sampled_from([None, "", "a", "b", "c"]), st.sampled_from([None, 0.0, -0.0, 1.5, 2.0])
)
SHOPS = st.sampled_from([None, "", "s", "t"])
CLASSES = st.sampled_from([None, "x", "y", "z"])
NUMBERS = st.one_of(st.none(), st.sampled_from([0.0, -0.0, 0.5, 2.0]), st.floats(-9, 9))
# Later rows are test rows.
HOURS = st.sampled_from([1, 1, 1, 1, 9])


def config(split: Row, **changes: Any) -> PreprocessConfig:
    given_ = {
        "steps": [{"name": "last", "sql": "x.sql"}],
        "key": ["id"],
        "time": "at",
        "segment": ["shop"],
        "target": "sold",
        "features": {"numeric": ["price"], "categorical": ["kind"]},
        "split": {"test_from": START + timedelta(hours=5), "folds": 3, **split},
    }
    return PreprocessConfig.model_validate_json(json.dumps(given_ | changes, default=str))


BY_GROUP = config({"kind": "group", "group": ["kind", "price"]})
STRATIFIED = config({"kind": "stratified"})


def frame(spark: SparkSession, rows: list[Row], target: str = "double") -> DataFrame:
    whole = [
        (
            n,
            START + timedelta(hours=row.get("hour", 1)),
            row.get("shop", "s"),
            row.get("sold", 1.0),
            row.get("price", 2.0),
            row.get("kind", "k"),
        )
        for n, row in enumerate(rows)
    ]
    schema = f"id long, at timestamp, shop string, sold {target}, price double, kind string"
    return spark.createDataFrame(whole, schema).coalesce(1)


def dealt(
    spark: SparkSession, rows: list[Row], plan: PreprocessConfig, target: str = "double"
) -> list[Row]:
    """The rows of the feature table, by id."""
    found = feature_table(frame(spark, rows, target), plan).collect()
    return sorted((row.asDict() for row in found), key=lambda row: row["id"])


def by_fold(rows: list[Row]) -> Counter[int]:
    return Counter(row["fold"] for row in rows)


def assert_even(rows: list[Row], folds: int, what: object) -> None:
    counts = [by_fold(rows)[fold] for fold in range(folds)]
    assert max(counts) - min(counts) <= 1, f"{what}: {counts}"


def assert_trained_rows_alone_have_folds(rows: list[Row], folds: int) -> None:
    for row in rows:
        trained = row["split"] == "train" and row["sold"] is not None
        assert (row["fold"] in range(folds)) if trained else (row["fold"] is None), row


@FEW
@given(
    rows=st.lists(
        st.fixed_dictionaries({"group": GROUPS, "shop": SHOPS, "sold": NUMBERS, "hour": HOURS}),
        min_size=20,
        max_size=80,
    ),
    more=st.lists(st.fixed_dictionaries({"group": GROUPS, "shop": SHOPS}), max_size=20),
)
def test_a_group_is_in_one_fold_and_stays_there_when_rows_are_added(
    spark: SparkSession, rows: list[Row], more: list[Row]
) -> None:
    every = [{**row, "kind": row["group"][0], "price": row["group"][1]} for row in [*rows, *more]]
    before = dealt(spark, every[: len(rows)], BY_GROUP)
    after = dealt(spark, every, BY_GROUP)
    assert_trained_rows_alone_have_folds(after, 3)
    folds: dict[tuple[Any, Any], set[int]] = defaultdict(set)
    for row in after:
        if row["fold"] is not None:
            folds[row["kind"], row["price"]].add(row["fold"])  # 0.0 and -0.0 are one key
    assert all(len(found) == 1 for found in folds.values()), folds
    assert after[: len(rows)] == before


def test_many_groups_are_spread_and_a_seed_spreads_them_otherwise(spark: SparkSession) -> None:
    rows: list[Row] = [{"kind": f"k{n}", "price": float(n)} for n in range(1_500)]
    first = dealt(spark, rows, BY_GROUP)
    assert all(400 < count < 600 for count in by_fold(first).values())
    other = dealt(spark, rows, config({"kind": "group", "group": ["kind", "price"], "seed": 1}))
    same = sum(a["fold"] == b["fold"] for a, b in zip(first, other, strict=True))
    assert 400 < same < 600


def test_a_null_is_a_value_of_its_own_in_its_own_place(spark: SparkSession) -> None:
    many = config({"kind": "group", "group": ["shop", "kind"], "folds": 50})
    rows: list[Row] = [
        {"shop": None, "kind": "a"},
        {"shop": "a", "kind": None},
        {"shop": None, "kind": None},
        {"shop": "", "kind": ""},
    ]
    found = dealt(spark, [*rows, *rows], many)
    folds = [row["fold"] for row in found]
    assert folds[:4] == folds[4:]
    assert len(set(folds)) == 4  # of 50 folds


@FEW
@given(
    st.lists(
        st.fixed_dictionaries({"shop": SHOPS, "sold": CLASSES, "hour": HOURS}),
        min_size=20,
        max_size=80,
    )
)
def test_the_folds_of_a_class_differ_by_one_row_at_most(
    spark: SparkSession, rows: list[Row]
) -> None:
    found = dealt(spark, rows, STRATIFIED, "string")
    assert_trained_rows_alone_have_folds(found, 3)
    strata, segments = defaultdict(list), defaultdict(list)
    for row in found:
        if row["fold"] is not None:
            strata[row["shop"], row["sold"]].append(row)
            segments[row["shop"]].append(row)
    for what, part in [*strata.items(), *segments.items()]:
        assert_even(part, 3, what)


@pytest.mark.parametrize(
    ("kind", "values"),
    [("boolean", [True] * 7 + [False] * 33), ("int", [0] * 30 + [1] * 5 + [2] * 4 + [None])],
    ids=["booleans", "whole numbers"],
)
def test_rare_classes_are_in_every_fold(spark: SparkSession, kind: str, values: list[Any]) -> None:
    found = dealt(spark, [{"sold": value} for value in values], STRATIFIED, kind)
    for value in {row["sold"] for row in found} - {None}:
        part = [row for row in found if row["sold"] == value]
        assert_even(part, 3, value)
        assert set(by_fold(part)) == {0, 1, 2}


@FEW
@given(
    st.lists(
        st.fixed_dictionaries({"shop": SHOPS, "sold": NUMBERS, "hour": HOURS}),
        min_size=20,
        max_size=80,
    )
)
def test_the_folds_of_each_tenth_of_a_numeric_target_differ_by_one_row_at_most(
    spark: SparkSession, rows: list[Row]
) -> None:
    found = dealt(spark, rows, STRATIFIED)
    assert_trained_rows_alone_have_folds(found, 3)
    segments: dict[Any, list[Row]] = defaultdict(list)
    for row in found:
        if row["fold"] is not None:
            segments[row["shop"]].append(row)
    for shop, part in segments.items():
        assert_even(part, 3, shop)
        targets = sorted(row["sold"] for row in part)
        tenths = defaultdict(list)
        for row in part:
            tenths[targets.index(row["sold"]) * 10 // len(part)].append(row)
        for tenth, inside in tenths.items():
            assert_even(inside, 3, (shop, tenth))


def test_segments_of_one_row_do_not_all_validate_in_one_fold(spark: SparkSession) -> None:
    found = dealt(spark, [{"shop": f"s{n}", "sold": 0.5} for n in range(600)], STRATIFIED)
    assert all(140 < count < 260 for count in by_fold(found).values())


def test_within_a_tenth_the_target_does_not_decide(spark: SparkSession) -> None:
    rows: list[Row] = [{"sold": n + 0.5} for n in range(3_000)]
    found = dealt(spark, rows, STRATIFIED)
    means = [
        sum(row["sold"] for row in found if row["fold"] == fold) / by_fold(found)[fold]
        for fold in range(3)
    ]
    assert max(means) - min(means) < 30  # of 3,000; dealt without strata it is about 100
    runs = sum(a["fold"] != b["fold"] for a, b in pairwise(found))
    assert math.isclose(runs / len(found), 2 / 3, abs_tol=0.05)  # at random, not in turn


def test_the_folds_do_not_depend_on_partitions(spark: SparkSession) -> None:
    rows: list[Row] = [
        {"shop": f"s{n % 5}", "sold": n % 31 / 4, "hour": 1 + n % 6} for n in range(500)
    ]
    spread = frame(spark, rows).repartition(3, F.rand(3))
    table = feature_table(spread, STRATIFIED)
    assert table.dtypes[-2:] == [("split", "string"), ("fold", "int")]
    found = sorted((row.asDict() for row in table.collect()), key=lambda row: row["id"])
    assert found == dealt(spark, rows, STRATIFIED)


def test_folds_by_time_add_no_column(spark: SparkSession) -> None:
    assert feature_table(frame(spark, [{}]), config({})).columns[-1] == "split"


def test_a_column_named_fold_is_refused_where_it_would_be_the_pipelines(
    spark: SparkSession,
) -> None:
    named = frame(spark, [{}]).withColumnRenamed("kind", "Fold")
    features = {"numeric": ["price"], "categorical": ["Fold"]}
    with pytest.raises(ConfigError, match="'Fold' is the pipeline's own column"):
        feature_table(named, config({"kind": "stratified"}, features=features))
    assert "Fold" in feature_table(named, config({}, features=features)).columns
