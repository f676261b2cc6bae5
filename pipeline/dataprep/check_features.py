"""Rules over the feature table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.config.preprocess import PreprocessConfig
from pipeline.dataprep.last_runs import LastRun
from pipeline.dataprep.measure import VALUE, TableStatistics, aggregates, read_measures, shares_of
from pipeline.dataprep.rules import apply_rules, table_rules
from pipeline.dataprep.verdict import Example, RuleResult, judge, refusals
from pipeline.errors import DataRefused


@dataclass(frozen=True)
class CheckedFeatures:
    """What became of each rule, and what the next run's are compared with."""

    rules: list[RuleResult]
    statistics: TableStatistics


def check_features(
    table: DataFrame, config: PreprocessConfig, last: Sequence[LastRun]
) -> CheckedFeatures:
    """Check the rules in one pass over the columns that they need.

    Args:
        table: the feature table as it was written.
        config: its rules and key.
        last: earlier runs that were not refused, the last one first.

    Raises:
        ConfigError: a condition is not one over a row's columns.
        DataRefused: rules do not hold, all of them named.
    """
    rules = table_rules(table, "preprocess", {}, config.rules)
    unbroken = table.select("*", F.lit(False).alias("_broken"))
    marked = apply_rules(unbroken, rules, config.key, {})
    row = marked.agg(*aggregates(rules, config.key)).first()
    measured = read_measures(row.asDict() if row else {}, rules, shares_of(lambda: table, rules))
    examples = {
        name: Example(place[VALUE], key=_key_of(place, config))
        for name, place in measured.first.items()
    }
    results = judge(rules, measured, examples, last, lambda _: None)
    problems, hints = refusals("the feature table", results)
    if problems:
        raise DataRefused("\n".join(problems), hint="; or ".join(dict.fromkeys(hints)))
    return CheckedFeatures(results, measured.statistics)


def _key_of(place: dict[str, object], config: PreprocessConfig) -> str:
    return ", ".join(f"{name}={place.get(name)!r}" for name in config.key)
