"""Rules over the feature table."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pipeline.dataprep.check_features import CheckedFeatures, check_features
from pipeline.dataprep.write_features import write_features
from pipeline.errors import DataRefused
from tests.dataprep.test_features import config, frame


def check(spark: SparkSession, folder: Path, rules: dict[str, Any]) -> CheckedFeatures:
    """Check the written feature table of four rows, one without a price."""
    changes = [{"price": 1.0}, {"price": None}, {"price": 3.0, "kind": "other"}, {"price": 4.0}]
    settings = config(rules=rules)
    write_features(frame(spark, *changes), settings, folder)
    return check_features(spark.read.parquet(str(folder)), settings, [])


def test_rules_over_the_feature_table(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "pipeline")
    rules = {
        "low": {"kind": "condition", "sql": "price < 3.5", "level": "warn"},
        "usual": {"kind": "like_last_run", "column": "price", "mean": 0.1, "distinct": 0.1,
                  "shares": 0.1},
        "recent": {"kind": "fresh", "column": "at", "max_age_hours": 1,
                   "as_of": "2020-01-01T04:00:00Z"},
        "rows": {"kind": "rows", "min": 4, "max": 4},
        "filled": {"kind": "complete", "columns": ["price"], "max_rows": 1},
    }  # fmt: skip
    found = check(spark, tmp_path, rules)
    results = {rule.name: (rule.checked, rule.broken, rule.passed) for rule in found.rules}
    assert results == {
        "low": (4, 1, False),
        "usual": (4, None, True),
        "recent": (4, None, True),
        "rows": (4, None, True),
        "filled": (4, 1, True),
    }
    assert [record.getMessage() for record in caplog.records] == [
        "the feature table: rule low (condition): 1 of 4 rows (25.00%) break it; allowed: none; "
        "for example '4.0' with key id=3"
    ]
    price = found.statistics.columns["price"]
    assert (found.statistics.rows, price.nulls, price.distinct) == (4, 1, 3)
    assert price.mean == pytest.approx(8 / 3)
    assert price.std == pytest.approx((14 / 9) ** 0.5)
    assert price.shares == {"1.0": 1 / 3, "3.0": 1 / 3, "4.0": 1 / 3}


def test_a_feature_table_that_breaks_rules_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    rules = {
        "kinds": {"kind": "unique", "columns": ["kind"]},
        "many": {"kind": "rows", "min": 5},
    }
    with pytest.raises(DataRefused) as refused:
        check(spark, tmp_path, rules)
    assert refused.value.message.splitlines() == [
        "the feature table: rule kinds (unique): 2 of 4 rows (50.00%) break it; allowed: none; "
        "for example 'k' with key id=1",
        "the feature table: rule many (rows): 4 rows; allowed: min 5",
    ]


def test_rows_of_the_feature_table_are_not_set_aside() -> None:
    rule = {"kind": "condition", "sql": "price > 1", "level": "quarantine"}
    with pytest.raises(ValueError, match="'warn' or 'refuse'"):
        config(rules={"low": rule})
    with pytest.raises(ValueError, match="no column 'prise'"):
        config(rules={"low": {"kind": "complete", "columns": ["prise"]}})
