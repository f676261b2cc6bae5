"""Aggregates, lags and joins as of a time, against their definitions in SQLite.

The oracle asks for each row, by a subquery, which other rows were known when it asked. The tables
are small on purpose and full of ties: times on a grid of hours, windows that end on it, nulls.
"""

from __future__ import annotations

import json
import math
import sqlite3
import statistics
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from pipeline.config.duration import micros
from pipeline.config.preprocess import PreprocessConfig
from pipeline.config.transforms import Expanding, JoinAsOf, Lag, Rolling
from pipeline.dataprep.steps import make_features
from pipeline.errors import ConfigError

Rows = list[tuple[Any, ...]]
# Clocks in New York were put forth in this night; windows are measured on UTC's axis.
START = datetime(2024, 3, 10, 5, tzinfo=timezone.utc)
HOUR = 3_600_000_000
ALL = ["count", "sum", "mean", "min", "max", "std"]
CASES = {"by": ["case"], "columns": ["x"]}
ROLLING: dict[str, dict[str, Any]] = {
    "plain": CASES | {"windows": ["5h"], "aggregates": ALL},
    "late": CASES | {"windows": ["3h"], "aggregates": ALL, "horizon": "2h", "inclusive": True},
    "two": {
        "by": ["case", "shop"],
        "columns": ["y", "x"],
        "windows": ["2h", "4h"],
        "aggregates": ["std", "count"],
        "known_after": "known",
        "horizon": "30m",
    },
}
EXPANDING: dict[str, dict[str, Any]] = {
    "known": CASES | {"columns": ["y"], "aggregates": ALL, "known_after": "known"},
    "over_all": {"columns": ["word"], "aggregates": ["count"], "known_after": "90m"},
}
LAGS: dict[str, dict[str, Any]] = {
    "last": CASES | {"columns": ["y", "word"], "offsets": [1, 3], "known_after": "1h"},
    "told": CASES | {"columns": ["y"], "offsets": [2], "known_after": "known", "horizon": "1h"},
}
OTHER: dict[str, Any] = {"by": ["case"], "table": "other", "table_by": ["a_case"]}
JOINS: dict[str, dict[str, Any]] = {
    "then": OTHER | {"columns": ["v", "w"], "tolerance": "3h", "table_time": "seen_at"},
    "told_then": OTHER
    | {
        "columns": ["w"],
        "known_after": "told_at",
        "horizon": "1h",
        "inclusive": False,
        "table_time": "seen_at",
    },
    "self": CASES | {"table": "rows", "columns": ["y"], "horizon": "1h", "known_after": "0s"},
}


def transforms() -> list[dict[str, Any]]:
    kinds = {"rolling": ROLLING, "expanding": EXPANDING, "lag": LAGS, "join_as_of": JOINS}
    return [
        {"kind": kind, "prefix": prefix, **settings}
        for kind, cases in kinds.items()
        for prefix, settings in cases.items()
    ]


def config(*built_in: dict[str, Any], **changes: Any) -> PreprocessConfig:
    settings = {
        "steps": [{"name": "made", "input": "rows", "transforms": built_in}],
        "key": ["id"],
        "time": "at",
        "segment": ["case"],
        "target": "y",
        "features": {"numeric": ["x"]},
        "split": {"test_from": START},
    }
    return PreprocessConfig.model_validate_json(json.dumps(settings | changes, default=str))


def made(spark: SparkSession, settings: PreprocessConfig, **views: DataFrame) -> DataFrame:
    return make_features(spark, settings, Path(), views)


def moment(rng: np.random.Generator, missing: float = 0.1) -> datetime | None:
    """A time on a grid of half hours, within a few of them, so that many are equal."""
    return None if rng.random() < missing else START + timedelta(hours=int(rng.integers(0, 24)) / 2)


def drawn(rng: np.random.Generator, *values: Any) -> Any:
    return values[int(rng.integers(0, len(values)))]


def make_rows(seed: int) -> Rows:
    """(id, case, shop, at, known, x, y, word); a case in ten has one row, some a null name."""
    rng = np.random.default_rng(seed)
    rows: Rows = []
    for case in range(70):
        for _ in range(1 if case % 10 == 0 else int(rng.integers(0, 14))):
            at = moment(rng)
            # Some rows claim that they were known before they were there.
            waits = timedelta(hours=int(rng.integers(-2, 5)))
            known = None if at is None or rng.random() < 0.2 else at + waits
            x = drawn(rng, None, math.nan, -2.0, 0.0, 0.1, 0.25, 3.0, 1e4 / 3)
            y = drawn(rng, None, *range(-3, 4))
            name = None if case == 7 else f"case {case}"
            shop, word = drawn(rng, "a", "b", None), drawn(rng, "", "p", "q", None)
            rows.append((len(rows), name, shop, at, known, x, y, word))
    return rows


def make_other(seed: int) -> Rows:
    """(a_case, seen_at, told_at, v, w)."""
    rng = np.random.default_rng(seed)
    names = [None, *(f"case {case}" for case in range(1, 70, 2))]
    letters = ("p", "q")
    return [
        (drawn(rng, *names), moment(rng), moment(rng), drawn(rng, None, 1, 2), drawn(rng, *letters))
        for _ in range(300)
    ]


ROWS, OTHERS = make_rows(1), make_other(2)


@pytest.fixture(scope="module")
def found(spark: SparkSession) -> dict[int, dict[str, Any]]:
    """What Spark makes of all cases and transforms at once, by id."""
    rows = spark.createDataFrame(
        ROWS, "id int, case string, shop string, at timestamp, known timestamp, x double, y int, "
        "word string"
    ).repartition(3)  # fmt: skip
    other = spark.createDataFrame(
        OTHERS, "a_case string, seen_at timestamp, told_at timestamp, v int, w string"
    )
    frame = made(spark, config(*transforms()), rows=rows, other=other)
    return {row["id"]: row.asDict() for row in frame.collect()}


class Std:
    """SQLite has no standard deviation; this one is exact in fractions."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def step(self, value: float | None) -> None:
        if value is not None:
            self.values.append(value)

    def finalize(self) -> float | None:
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@pytest.fixture(scope="module")
def sqlite() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.create_aggregate("std", 1, Std)  # type: ignore[arg-type]
    connection.execute("CREATE TABLE rows (id, 'case', shop, at, known, x, y, word)")
    connection.execute("CREATE TABLE other (a_case, seen_at, told_at, v, w)")
    for name, rows in {"rows": ROWS, "other": OTHERS}.items():
        places = ", ".join("?" * len(rows[0]))
        plain = [[in_micros(value) for value in row] for row in rows]
        connection.executemany(f"INSERT INTO {name} VALUES ({places})", plain)
    return connection


def in_micros(value: Any) -> Any:
    return round(value.timestamp() * 1e6) if isinstance(value, datetime) else value


def known(settings: dict[str, Any], time: str = "f.at") -> str:
    """SQL: when a fact is known."""
    after = settings.get("known_after", "0s")
    if after[0].isdigit():
        return f"{time} + {micros(after)}"
    return f"CASE WHEN f.{after} IS NOT NULL THEN max(f.{after}, {time}) END"


def asks(settings: dict[str, Any]) -> str:
    return f"q.at - {micros(settings.get('horizon', '0s'))}"


def group(settings: dict[str, Any]) -> str:
    by, other = settings.get("by", []), settings.get("table_by", settings.get("by", []))
    same = [f"f.'{o}' = q.'{b}'" for b, o in zip(by, other, strict=True)]
    return " AND ".join(["TRUE", *same]).replace("'", '"')


def expected(connection: sqlite3.Connection, select: str) -> dict[int, Any]:
    return dict(connection.execute(f"SELECT q.id, ({select}) FROM rows q").fetchall())


def assert_equal(found: dict[int, dict[str, Any]], name: str, wanted: dict[int, Any]) -> None:
    assert len(found) == len(wanted) == len(ROWS)
    assert len(set(wanted.values())) > 1, "the oracle must tell rows apart"
    for key, value in wanted.items():
        got = found[key][name]
        close = pytest.approx(value, rel=1e-12, abs=1e-9) if isinstance(value, float) else value
        assert got == close, f"{name} of row {ROWS[key]}: {got}, by definition {value}"


def aggregated(
    connection: sqlite3.Connection, settings: dict[str, Any], call: str, condition: str
) -> dict[int, Any]:
    select = f"SELECT {call} FROM rows f WHERE {group(settings)} AND {condition}"
    return expected(connection, select.replace("mean(", "avg("))


@pytest.mark.parametrize("prefix", ROLLING)
def test_rolling_windows_are_those_of_the_definition(
    found: dict[int, dict[str, Any]], sqlite: sqlite3.Connection, prefix: str
) -> None:
    settings = ROLLING[prefix]
    at, end = known(settings), asks(settings)
    section = Rolling.model_validate_json(json.dumps({"kind": "rolling", **settings}))
    for window in settings["windows"]:
        start = f"{end} - {micros(window)}"
        inside = f"{at} >= {start} AND {at} < {end}"
        if settings.get("inclusive"):
            inside = f"{at} > {start} AND {at} <= {end}"
        for name, column, aggregate in section.named(window):
            wanted = aggregated(sqlite, settings, f"{aggregate}(f.{column})", inside)
            assert_equal(found, f"{prefix}_{name}", wanted)


@pytest.mark.parametrize("prefix", EXPANDING)
def test_expanding_aggregates_are_those_of_the_definition(
    found: dict[int, dict[str, Any]], sqlite: sqlite3.Connection, prefix: str
) -> None:
    settings = EXPANDING[prefix]
    section = Expanding.model_validate_json(json.dumps({"kind": "expanding", **settings}))
    for name, column, aggregate in section.named():
        before = f"{known(settings)} < {asks(settings)}"
        wanted = aggregated(sqlite, settings, f"{aggregate}(f.{column})", before)
        assert_equal(found, f"{prefix}_{name}", wanted)


@pytest.mark.parametrize("prefix", LAGS)
def test_lags_are_those_of_the_definition(
    found: dict[int, dict[str, Any]], sqlite: sqlite3.Connection, prefix: str
) -> None:
    settings = LAGS[prefix]
    section = Lag.model_validate_json(json.dumps({"kind": "lag", **settings}))
    ties = ", ".join(f"f.{column} DESC" for column in settings["columns"])
    for name, column, offset in section.named():
        select = (
            f"SELECT f.{column} FROM rows f WHERE {group(settings)} "
            f"AND {known(settings)} < {asks(settings)} "
            f"ORDER BY {known(settings)} DESC, f.at DESC, {ties} LIMIT 1 OFFSET {offset - 1}"
        )
        assert_equal(found, f"{prefix}_{name}", expected(sqlite, select))


@pytest.mark.parametrize("prefix", JOINS)
def test_joins_as_of_a_time_are_those_of_the_definition(
    found: dict[int, dict[str, Any]], sqlite: sqlite3.Connection, prefix: str
) -> None:
    settings = JOINS[prefix]
    section = JoinAsOf.model_validate_json(json.dumps({"kind": "join_as_of", **settings}))
    time = f"f.{section.table_time or 'at'}"
    before = "<=" if section.inclusive else "<"
    ties = ", ".join(f"f.{column} DESC" for column in section.columns)
    oldest = f"{asks(settings)} - {micros(section.tolerance or '999w')}"
    for column in section.columns:
        select = (
            f"SELECT f.{column} FROM {section.table} f WHERE {group(settings)} "
            f"AND {known(settings, time)} {before} {asks(settings)} AND {time} >= {oldest} "
            f"ORDER BY {time} DESC, {ties} LIMIT 1"
        )
        assert_equal(found, f"{prefix}_{column}", expected(sqlite, select))


def test_rows_and_columns_stay_as_they_were(found: dict[int, dict[str, Any]]) -> None:
    assert sorted(found) == [row[0] for row in ROWS]
    for key, case, shop, at, known_at, x, y, word in ROWS:
        row = found[key]
        times = [value and value.astimezone().replace(tzinfo=None) for value in (at, known_at)]
        assert [row["case"], row["shop"], row["y"], row["word"]] == [case, shop, y, word]
        assert [row["at"], row["known"]] == times
        assert row["x"] == x or math.isnan(row["x"])
    assert not [name for name in found[0] if name.startswith("__")]


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ({"columns": ["z"]}, r"step made, transform 1 \(rolling\): no column 'z'"),
        ({"columns": ["word"]}, "word must be a number. Got string instead"),
        ({"time": "x"}, "x must be a timestamp or a date. Got double instead"),
        ({"known_after": "tim"}, r"no column 'tim'"),
        ({"by": ["shop", "cse"]}, r"no column 'cse' \(there is 'case'\)"),
    ],
)
def test_a_history_of_the_wrong_columns_is_refused(
    spark: SparkSession, transform: dict[str, Any], message: str
) -> None:
    rows = spark.createDataFrame([], "id int, case string, shop string, at timestamp, x double, "
                                 "word string")  # fmt: skip
    rolling = {"kind": "rolling", "windows": ["1h"], "aggregates": ["mean"], "columns": ["x"]}
    with pytest.raises(ConfigError, match=message):
        made(spark, config(rolling | transform), rows=rows)


def test_new_columns_do_not_hide_others(spark: SparkSession) -> None:
    rows = spark.createDataFrame([], "id int, at timestamp, x double")
    expanding = {"kind": "expanding", "aggregates": ["mean"], "columns": ["x"]}
    with pytest.raises(ConfigError, match=r"transform 2 .* a column 'x_mean' already"):
        made(spark, config(expanding, expanding), rows=rows)
