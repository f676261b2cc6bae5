"""Functions of the project's own folder as steps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipeline.dataprep.steps import make_features
from pipeline.errors import ConfigError, DataRefused, StageFailed
from tests.dataprep.test_history import config

LIBRARY = """
def twice(x):
    return x * 2
"""
FUNCTION = """
from pyspark.sql import functions as F
from library.numbers import twice

def add(inputs, params):
    double = F.udf(twice, "long")
    return inputs["plain"].withColumn("double", double("id") + params["more"])
"""


def run(spark: SparkSession, root: Path, text: str, **params: Any) -> DataFrame:
    """An SQL step, the function, and a transform of its result."""
    (root / "own.py").write_text(text)
    (root / "plain.sql").write_text("SELECT id FROM numbers")
    clip = {"kind": "clip", "columns": ["double"], "low": 5.0}
    steps = [
        {"name": "plain", "sql": "plain.sql"},
        {"name": "own", "python": "own:add"},
        {"name": "last", "input": "own", "transforms": [clip]},
    ]
    settings = config(steps=steps, params=params)
    return make_features(spark, settings, root, {"numbers": spark.range(3)})


def test_three_kinds_of_steps_follow_each_other(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "numbers.py").write_text(LIBRARY)
    before = set(sys.modules), list(sys.path)
    found = run(spark, tmp_path, FUNCTION, more=2)
    assert found.columns == ["id", "double", "double_clipped"]
    # Its modules are forgotten here, and were never known to Spark's Python workers.
    assert not {"own", "library", "library.numbers"} & set(sys.modules)
    assert (list(sys.path), before[0] - set(sys.modules)) == (before[1], set())
    assert not list(tmp_path.rglob("__pycache__"))
    assert sorted(tuple(row) for row in found.collect()) == [(0, 2, 5.0), (1, 4, 5.0), (2, 6, 6.0)]


def test_the_file_is_read_again(spark: SparkSession, tmp_path: Path) -> None:
    for name in ("double", "triple"):
        select = f"inputs['plain'].selectExpr('1 AS double', '2 AS {name}2')"
        text = f"def add(inputs, params):\n    return {select}"
        assert run(spark, tmp_path, text).columns[1] == f"{name}2"


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ("return inputs['plan']", StageFailed, r"own\.py, line 2: KeyError: 'plan'"),
        ("raise SystemExit(0)", StageFailed, r"own\.py, line 2: SystemExit"),
        ("return inputs['plain'].select('x')", ConfigError, r"own\.py, line 2: .*`x`"),
        ("return None", ConfigError, "must return a DataFrame. Got NoneType instead"),
        ("import importlib; importlib.import_module('hidden'); return inputs['plain']",
         ConfigError, "hidden is imported in a way that a plan cannot see"),
        ("from pipeline.errors import DataRefused; raise DataRefused('no rows')",
         DataRefused, "^no rows$"),
    ],
)  # fmt: skip
def test_what_goes_wrong_has_its_file_and_line(
    spark: SparkSession, tmp_path: Path, body: str, error: type[Exception], message: str
) -> None:
    (tmp_path / "hidden.py").write_text("")
    with pytest.raises(error, match=message):
        run(spark, tmp_path, f"def add(inputs, params):\n    {body}\n")
    assert "hidden" not in sys.modules


def test_a_function_takes_inputs_and_parameters(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 1: must take two arguments"):
        run(spark, tmp_path, "def add(inputs):\n    return inputs\n")


def test_a_module_does_not_take_an_installed_ones_name(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("def add(inputs, params): ...")
    settings = config(steps=[{"name": "own", "python": "json:add"}])
    with pytest.raises(ConfigError, match="json is the name of an installed module"):
        make_features(spark, settings, tmp_path, {"numbers": spark.range(3)})
