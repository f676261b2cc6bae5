"""Test rows that are not drawn by time alone: which they are, and what the plan says of them."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline.config.preprocess import PreprocessConfig
from pipeline.dataprep.features import feature_table
from pipeline.dataprep.split_plan import Plan, plan_split
from pipeline.dataprep.write_features import FeatureCounts, write_features
from pipeline.errors import DataRefused

START = datetime(2020, 1, 1, tzinfo=timezone.utc)
GROUPED = {"kind": "group", "group": ["kind", "price"], "share": 0.3}
STRATIFIED = {"kind": "stratified", "share": 0.3}


def config(test: dict[str, Any], **split: Any) -> PreprocessConfig:
    given = {
        "steps": [{"name": "last", "sql": "x.sql"}],
        "key": ["id"],
        "time": "at",
        "segment": ["shop"],
        "target": "sold",
        "features": {"numeric": ["price"], "categorical": ["kind"]},
        "split": {"kind": "stratified", "folds": 2, "test": test, **split},
    }
    return PreprocessConfig.model_validate_json(json.dumps(given, default=str))


def rows(spark: SparkSession, n: int) -> DataFrame:
    """Shops of 2,000 rows, of 100 and of one; a tenth of the rows has no target; 151 groups."""
    at = F.col("id")
    return spark.range(n).select(
        "id",
        F.timestamp_seconds(F.lit(START.timestamp()) + at * 3600).alias("at"),
        F.when(at % 10 < 7, F.lit("large"))
        .when(at % 100 == 7, F.lit("small"))
        .otherwise(F.format_string("one %d", at))
        .alias("shop"),
        F.when(
            at % 10 != 9, F.element_at(F.array(*map(F.lit, "xxxxxxyyz")), (1 + at % 9).cast("int"))
        ).alias("sold"),
        F.when(at % 151 != 0, (at % 151).cast("double")).alias("price"),
        F.when(at % 151 != 1, F.concat(F.lit("k"), (at % 151 % 7).cast("string"))).alias("kind"),
    )


def dealt(frame: DataFrame, plan: PreprocessConfig) -> dict[int, dict[str, Any]]:
    return {row["id"]: row.asDict() for row in feature_table(frame, plan).collect()}


def written(
    frame: DataFrame, plan: PreprocessConfig, folder: Path
) -> tuple[FeatureCounts, Plan, list[Path]]:
    counts = write_features(frame, plan, folder)
    files = sorted(folder.iterdir())
    found = plan_split(files, plan, counts.gap)
    assert sorted(folder.iterdir()) == files  # nothing is left behind
    return counts, json.loads(json.dumps(found)), files


@pytest.mark.parametrize("test", [GROUPED, {"kind": "hash", "share": 0.3}], ids=["group", "hash"])
def test_groups_and_keys_stay_where_they_are_when_rows_are_added(
    spark: SparkSession, test: dict[str, Any]
) -> None:
    few, many = (dealt(rows(spark, n), config(test)) for n in (1_500, 3_000))
    assert [few[i]["split"] for i in few] == [many[i]["split"] for i in few]
    share = Counter(row["split"] for row in many.values())["test"] / len(many)
    assert 0.2 < share < 0.4
    if test is GROUPED:
        sides = defaultdict(set)
        for row in many.values():
            sides[row["kind"], row["price"]].add(row["split"])
        assert len(sides) == 151 and all(len(side) == 1 for side in sides.values())
    reseeded = dealt(rows(spark, 1_500), config({**test, "seed": 1}))
    assert any(few[i]["split"] != reseeded[i]["split"] for i in few)


def test_a_stratified_test_has_its_share_of_every_class_and_segment(spark: SparkSession) -> None:
    found = dealt(rows(spark, 3_000).repartition(3), config(STRATIFIED)).values()
    strata = defaultdict(list)
    for row in found:
        strata[row["shop"], row["sold"]].append(row["split"])
        if row["sold"] is not None:
            strata[row["shop"], "any class"].append(row["split"])
    for what, splits in strata.items():
        assert abs(splits.count("test") - 0.3 * len(splits)) < 1 + 1e-9, what
    ones = [splits for splits in strata.values() if len(splits) == 1]
    assert 0.2 < sum(splits == ["test"] for splits in ones) / len(ones) < 0.4
    for row in found:  # folds are of the training rows alone
        trained = row["split"] == "train" and row["sold"] is not None
        assert (row["fold"] is not None) == trained


def test_rows_of_the_gap_are_dropped_and_counted(spark: SparkSession, tmp_path: Path) -> None:
    test_from = START + timedelta(hours=200)
    plan = config({"gap_days": 1.5}, kind="time", test_from=test_from, validation_days=2)
    counts, found, files = written(rows(spark, 240).coalesce(2), plan, tmp_path)
    assert (counts.rows, counts.gap) == (240 - 36, 36)
    assert found["test"] == {
        "kind": "time",
        "rule": "rows from 2020-01-09 08:00 UTC on; the rows of 1.5 days before are in neither",
        "gap_days": 1.5,
        "gap_from": (test_from - timedelta(days=1.5)).isoformat(),
        "gap_rows": 36,
    }
    ends = {name: datetime.fromisoformat(found[name]) for name in ("train_last", "test_first")}
    assert ends == {"train_last": START + timedelta(hours=163), "test_first": test_from}
    assert (found["train_rows"], found["test_rows"]) == (164, 40)
    assert found["folds"][-1]["valid_until"] == found["test"]["gap_from"]
    valid = [fold["rows_valid"] for fold in found["folds"]]
    assert valid == [sum(i % 10 != 9 for i in range(a, a + 48)) for a in (68, 116)]
    without = config({}, kind="time", test_from=test_from, validation_days=2)
    assert plan_split(files, without)["test"]["rule"] == "rows from 2020-01-09 08:00 UTC on"


def test_the_plan_counts_groups_rows_and_segments(spark: SparkSession, tmp_path: Path) -> None:
    plan = config(GROUPED, kind="group", group=["kind", "price"])
    frame = rows(spark, 600)
    counts, found, files = written(frame, plan, tmp_path)
    table = dealt(frame, plan).values()
    for side in ("train", "test"):
        part = [row for row in table if row["split"] == side]
        known = [row for row in part if row["sold"] is not None]
        assert found[f"{side}_rows"] == len(part)
        assert found[f"{side}_rows_with_target"] == len(known)
        assert found["test"][f"groups_{side}"] == len({(r["kind"], r["price"]) for r in part})
        shops = {row["shop"] for row in (known if side == "train" else part)}
        missing = counts.untrained if side == "train" else counts.untested
        assert missing == len({row["shop"] for row in table} - shops) > 0
    for number, fold in enumerate(found["folds"]):
        part = [row for row in table if row["fold"] == number]
        assert fold["rows_valid"] == len(part)
        assert fold["groups_valid"] == len({(row["kind"], row["price"]) for row in part})
    sizes = Counter(row["shop"] for row in table)
    assert (counts.largest, counts.smallest) == (max(sizes.values()), min(sizes.values()))
    rule = "about 0.3 of the groups of equal kind, price, by a hash; each stays where it is when"
    assert found["test"]["rule"].startswith(rule) and "test_from" not in found
    halves = [files[:1], files[1:]] if len(files) > 1 else [files]
    assert sum(plan_split(part, plan)["train_rows"] for part in halves) == found["train_rows"]


def test_a_test_without_rows_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    plan = config({"kind": "group", "group": ["shop"], "share": 0.5})
    with pytest.raises(DataRefused, match="group must leave rows with a target to train on, and"):
        written(rows(spark, 9).withColumn("shop", F.lit("s")), plan, tmp_path)
