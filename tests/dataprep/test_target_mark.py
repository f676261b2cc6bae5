"""The target is known again under other names, wherever SQL has carried it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipeline.dataprep.steps import make_features
from pipeline.errors import ConfigError
from tests.dataprep.test_history import config

RENAMED = "SELECT s.*, c.copy FROM shops s JOIN (SELECT id, y AS copy FROM sales) c USING (id)"


def run(spark: SparkSession, root: Path, feature: str, *steps: dict[str, Any]) -> DataFrame:
    (root / "first.sql").write_text(RENAMED)
    (root / "last.sql").write_text(
        "SELECT f.*, f.copy AS again, f.copy * 1 AS computed, s.y "
        "FROM first f JOIN sales s USING (id)"
    )
    named = [{"name": name, "sql": f"{name}.sql"} for name in ("first", "last")]
    settings = config(steps=[*named, *steps], features={"numeric": [feature]})
    sales = spark.createDataFrame([], "id int, at timestamp, y double")
    shops = spark.createDataFrame([], "id int, at timestamp, x double")
    return make_features(spark, settings, root, {"sales": sales, "shops": shops})


def test_a_feature_may_not_be_the_target_renamed(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="again is the target 'y' under another name"):
        run(spark, tmp_path, "again")
    made = run(spark, tmp_path, "computed")
    assert {"again", "computed", "y"} < set(made.columns)
    assert [field.metadata for field in made.schema if field.metadata] == []


def test_the_history_of_a_renamed_target_needs_to_say_when_it_is_known(
    spark: SparkSession, tmp_path: Path
) -> None:
    lag = {"kind": "lag", "columns": ["again"]}
    step = {"name": "lagged", "input": "last", "transforms": [lag]}
    with pytest.raises(ConfigError, match=r"transform 1 \(lag\) recalls the target \(again\)"):
        run(spark, tmp_path, "x", step)
    join = {"kind": "join_as_of", "table": "first", "columns": ["copy"]}
    with pytest.raises(ConfigError, match=r"recalls the target \(copy\)"):
        run(spark, tmp_path, "x", step | {"transforms": [join]})
    made = run(spark, tmp_path, "x", step | {"transforms": [lag | {"known_after": "1d"}]})
    assert "again_lag_1" in made.columns
