"""What rules need to know of a table, as aggregates that ride along in one pass over its rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipeline.config.rules import FreshRule, counted_rules, measured_columns
from pipeline.dataprep.rules import DROPPED, TableRules, flag, is_good, value_of

DISTINCT_ERROR = 0.01
TOP_VALUES = 100
VALUE = "_value"
"""What shows why a row breaks a rule, beside its position."""
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class ColumnStatistics:
    """Of a column's values in the rows that come out; None where not measured or without value.

    Attributes:
        nulls: rows without a value.
        mean, std: of numbers; the standard deviation of the values as a whole (n).
        distinct: estimated number of distinct values, within 1 %.
        shares: share of each of the 100 most frequent values among all values.
    """

    nulls: int
    mean: float | None
    std: float | None
    distinct: int | None
    shares: dict[str, float] | None


@dataclass(frozen=True)
class TableStatistics:
    """Of the rows that come out, for the next run to compare with."""

    rows: int
    columns: dict[str, ColumnStatistics]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TableStatistics:
        columns = {name: ColumnStatistics(**found) for name, found in value["columns"].items()}
        return cls(value["rows"], columns)


@dataclass(frozen=True)
class Measures:
    """What the aggregates came to, by rule, filter or column.

    Attributes:
        dropped: rows that each filter dropped.
        checked, broken: rows that each rule checked, and that break it.
        first: the first row that breaks a rule, of rules that do not set rows aside.
        newest: of columns that must be fresh.
        statistics: of columns that are compared with the last run.
    """

    dropped: dict[str, int]
    checked: dict[str, int]
    broken: dict[str, int]
    first: dict[str, dict[str, Any]]
    newest: dict[str, datetime | None]
    statistics: TableStatistics


def aggregates(rules: TableRules, position: Sequence[str]) -> list[Column]:
    """Aggregates over rows that ``apply_rules`` has marked, for ``read_measures``.

    Args:
        rules: what the rows were marked by.
        position: columns that say where a row stands, by which the first one is found.
    """
    found = [F.count_if(is_good()).alias("good")]
    found += [F.count_if(F.col(DROPPED) == n).alias(f"dropped_{n}") for n in rules.filters]
    for name, rule in counted_rules(rules.rules).items():
        broken = F.col(flag(name))
        found += [
            F.count(broken).alias(f"checked_{name}"),
            F.count_if(broken).alias(f"broken_{name}"),
        ]
        if rule.level != "quarantine":
            row = F.struct(*position, value_of(rules.shown[name]).alias(VALUE))
            found.append(F.to_json(F.min(F.when(broken, row))).alias(f"first_{name}"))
    for name in _fresh_columns(rules):
        newest = F.max(F.when(is_good(), F.col(f"`{name}`"))).cast("timestamp")
        found.append(F.unix_micros(newest).alias(f"newest_{name}"))
    for name, measures in measured_columns(rules.rules).items():
        found += _statistics(name, measures)
    return found


def _statistics(name: str, measures: set[str]) -> list[Column]:
    value = F.when(is_good(), F.col(f"`{name}`"))
    found = [F.count(value).alias(f"count_{name}")]
    if "mean" in measures:
        number = value.cast("double")
        found += [F.avg(number).alias(f"mean_{name}"), F.stddev_pop(number).alias(f"std_{name}")]
    if "distinct" in measures:
        estimate = F.approx_count_distinct(value, DISTINCT_ERROR)
        found.append(estimate.alias(f"distinct_{name}"))
    return found


def read_measures(
    values: Mapping[str, Any], rules: TableRules, shares: Mapping[str, dict[str, float]]
) -> Measures:
    """Put the values of ``aggregates`` in order.

    Args:
        values: by alias.
        shares: as ``shares_of`` gives them.
    """
    counted = counted_rules(rules.rules)
    firsts = {name: values.get(f"first_{name}") for name in counted}
    columns = {
        name: ColumnStatistics(
            nulls=values["good"] - values[f"count_{name}"],
            mean=_rounded(values.get(f"mean_{name}")),
            std=_rounded(values.get(f"std_{name}")),
            distinct=values.get(f"distinct_{name}"),
            shares=shares.get(name),
        )
        for name in measured_columns(rules.rules)
    }
    return Measures(
        dropped={name: values[f"dropped_{name}"] for name in rules.filters},
        checked={name: values[f"checked_{name}"] for name in counted},
        broken={name: values[f"broken_{name}"] for name in counted},
        first={name: json.loads(text) for name, text in firsts.items() if text is not None},
        newest={name: _instant(values[f"newest_{name}"]) for name in _fresh_columns(rules)},
        statistics=TableStatistics(values["good"], columns),
    )


def shares_of(good: Callable[[], DataFrame], rules: TableRules) -> dict[str, dict[str, float]]:
    """Share of each of the most frequent values of the columns that are compared by it.

    A small job a column, over the written rows: a group for each value has no place among the
    aggregates of one pass.

    Args:
        good: reads the written rows, which costs a job of its own; called where shares are asked.
    """
    measured = measured_columns(rules.rules)
    names = [name for name, measures in measured.items() if "shares" in measures]
    frame = good() if names else None
    return {name: _shares(frame, name) for name in names if frame is not None}


def _shares(good: DataFrame, name: str) -> dict[str, float]:
    values = good.select(F.col(f"`{name}`").cast("string").alias("value")).na.drop()
    counts = values.groupBy("value").agg(F.count("*").alias("rows"))
    top = counts.orderBy(F.desc("rows"), "value").limit(TOP_VALUES).collect()
    total = values.count()
    return {row["value"]: row["rows"] / total for row in top}


def measure_rows(good: DataFrame, rules: TableRules) -> Measures:
    """What rules over a table as a whole ask for, of rows that have come out.

    Args:
        rules: none that counts rows.
    """
    none_set_aside = (F.lit(False).alias("_broken"), F.lit(None).cast("string").alias(DROPPED))
    row = good.select("*", *none_set_aside).agg(*aggregates(rules, ())).first()
    assert row is not None
    return read_measures(row.asDict(), rules, shares_of(lambda: good, rules))


def newest_in(frame: DataFrame, column: str) -> datetime | None:
    """The newest value of a date or time, in UTC."""
    newest = F.max(f"`{column}`").cast("timestamp")
    row = frame.agg(F.unix_micros(newest).alias("newest")).first()
    return None if row is None else _instant(row["newest"])


def _fresh_columns(rules: TableRules) -> list[str]:
    return list(dict.fromkeys(rule.column for rule in rules.of_kind(FreshRule).values()))


def _instant(micros: int | None) -> datetime | None:
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)


def _rounded(value: float | None) -> float | None:
    # Partial sums meet in any order; the last digits are not the data's.
    return None if value is None else float(f"{value:.12g}")
