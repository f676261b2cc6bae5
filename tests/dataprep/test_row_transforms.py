"""The transforms that look at one row, or at one key, against Python's own arithmetic."""

from __future__ import annotations

import math
import zlib
from datetime import date, datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from pipeline.errors import ConfigError
from tests.dataprep.test_history import config, made

UTC = timezone.utc
ZONE = "America/New_York"
# The hour of the night in which clocks are put back comes twice; the one of March never.
TIMES = [
    datetime(2024, 11, 3, 5, 30, tzinfo=UTC),
    datetime(2024, 11, 3, 6, 30, tzinfo=UTC),
    datetime(2024, 3, 10, 7, 0, tzinfo=UTC),
    datetime(2023, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(1969, 2, 28, 23, 15, 1, tzinfo=UTC),
    None,
]
NUMBERS = [None, math.nan, -1.0, 0.0, 2.5, 1e6]
TEXTS = [None, "", "é", "e\u0301", "😀😀", "plain"]
DAYS = [date(2024, 2, 29), None, *[date(2020, 1, 1)] * 4]
PARTS = ["year", "quarter", "month", "week", "day", "day_of_year", "weekday", "hour", "minute"]
PERIODS = ["hour", "day", "week", "month", "year"]
TRANSFORMS: list[dict[str, Any]] = [
    {"kind": "impute_flags", "columns": ["x", "text"]},
    {"kind": "log", "columns": ["x"], "plus": 1.0},
    {"kind": "clip", "columns": ["x"], "low": -0.5, "high": 3.0},
    {"kind": "ratio", "numerator": "id", "denominator": "x"},
    {"kind": "text_length", "columns": ["text"]},
    {"kind": "text_hash", "columns": ["text"], "buckets": 1000},
    {"kind": "date_parts", "column": "at", "parts": PARTS, "zone": ZONE},
    {"kind": "date_parts", "column": "day", "parts": ["day", "hour"], "zone": ZONE},
    {"kind": "cyclic_time", "column": "at", "periods": PERIODS, "zone": ZONE},
]


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> pd.DataFrame:
    given = zip(range(1, 7), TIMES, NUMBERS, TEXTS, DAYS, strict=True)
    schema = "id int, at timestamp, x double, text string, day date"
    frame = made(spark, config(*TRANSFORMS), rows=spark.createDataFrame(list(given), schema))
    collected = [row.asDict() for row in frame.orderBy("id").collect()]
    return pd.DataFrame(collected, dtype=object)


def test_numbers_and_texts(rows: pd.DataFrame) -> None:
    assert rows["x_missing"].tolist() == [1, 1, 0, 0, 0, 0]
    assert rows["text_missing"].tolist() == [1, 0, 0, 0, 0, 0]
    assert rows["x_clipped"].tolist() == [None, None, -0.5, 0.0, 2.5, 3.0]
    assert rows["id_per_x"].tolist() == [None, None, -3.0, None, 2.0, 6e-6]
    assert rows["x_log"].tolist() == [None, None, None, 0.0, math.log(3.5), math.log(1e6 + 1)]
    assert rows["text_length"].tolist() == [None, *map(len, TEXTS[1:])]
    hashes = [zlib.crc32(text.encode()) % 1000 for text in TEXTS if text is not None]
    assert rows["text_hash"].tolist() == [None, *hashes]


def test_parts_of_dates_are_those_of_the_zones_clock(rows: pd.DataFrame) -> None:
    for at, (_, row) in zip(TIMES, rows.iterrows(), strict=True):
        found = [row[f"at_{part}"] for part in PARTS]
        if at is None:
            assert found == [None] * len(PARTS)
            continue
        local = at.astimezone(ZoneInfo(ZONE))
        day = local.timetuple()
        expected = [local.year, (local.month + 2) // 3, local.month, local.isocalendar().week]
        expected += [local.day, day.tm_yday, local.weekday(), local.hour, local.minute]
        assert found == expected
    assert rows["day_day"].tolist() == [29, None, 1, 1, 1, 1]
    assert rows["day_hour"].tolist() == [0, None, 0, 0, 0, 0]


def test_cyclic_times_are_shares_of_a_turn(rows: pd.DataFrame) -> None:
    for at, (_, row) in zip(TIMES[:-1], rows.iterrows(), strict=False):
        assert at is not None
        local = pd.Timestamp(at).tz_convert(ZONE).tz_localize(None)  # clocks, not hours passed
        for period, start, length in periods(local):
            turn = 2 * math.pi * (local - start).total_seconds() / length.total_seconds()
            assert row[f"at_{period}_sin"] == pytest.approx(math.sin(turn), abs=1e-9)
            assert row[f"at_{period}_cos"] == pytest.approx(math.cos(turn), abs=1e-9)


def periods(local: pd.Timestamp) -> list[tuple[str, pd.Timestamp, pd.Timedelta]]:
    day = local.normalize()
    month, year = day.replace(day=1), day.replace(month=1, day=1)
    return [
        ("hour", local.floor("h"), pd.Timedelta("1h")),
        ("day", day, pd.Timedelta("1D")),
        ("week", day - pd.Timedelta(local.weekday(), "D"), pd.Timedelta("7D")),
        ("month", month, month + pd.DateOffset(months=1) - month),
        ("year", year, year + pd.DateOffset(years=1) - year),
    ]


@pytest.mark.parametrize(("keep", "winners"), [("last", [2, 5, 6, 7]), ("first", [1, 5, 4, 7])])
def test_of_equal_keys_the_stated_winner_is_kept(
    spark: SparkSession, keep: str, winners: list[int]
) -> None:
    given = [
        ("a", 1, 1), ("a", 2, 2),
        ("b", 3, 5),
        (None, 1, 4), (None, 4, 6), (None, None, 4),  # null is a key, and the lowest value
        ("tie", 1, 7), ("tie", 1, 7),
    ]  # fmt: skip
    rows = spark.createDataFrame(given, "k string, version int, id int").repartition(3)
    transform = {"kind": "deduplicate", "by": ["k"], "order": ["version"], "keep": keep}
    found = made(spark, config(transform), rows=rows)
    assert sorted(row["id"] for row in found.collect()) == sorted(winners)


def test_frequent_categories_are_learned_from_training_rows_alone(spark: SparkSession) -> None:
    train, test = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
    words = ["b", "b", "c", "c", "a", None]
    given = [(train, word) for word in words] + [(test, "a")] * 9 + [(test, "new"), (None, "a")]
    rows = spark.createDataFrame(given, "at timestamp, word string")
    transform = {"kind": "top_categories", "columns": ["word"], "top": 2}
    found = made(spark, config(transform, split={"test_from": test}), rows=rows)
    pairs = {(row["word"], row["word_top"]) for row in found.collect()}
    assert pairs == {("b", "b"), ("c", "c"), ("a", "other"), ("new", "other"), (None, None)}
    with pytest.raises(ConfigError, match="'b' is a frequent value of word"):
        made(spark, config(transform | {"other": "b"}), rows=rows)
