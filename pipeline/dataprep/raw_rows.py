"""What every reader gives: raw rows, and how the files differ from what is declared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipeline.dataprep.drift import Drift

MAX_VALUE_CHARS = 200  # of a value that is shown with a reason
IS_HEADER = "_is_header"
"""The column of raw rows that says whether a row is a header; only CSV files have it."""
PROBLEM_TYPE = "struct<rule:string,column:string,value:string>"
REASONS_TYPE = f"array<{PROBLEM_TYPE}>"


@dataclass(frozen=True)
class RawRows:
    """The rows of a source as ``read.read_source`` describes them, and the files' drift.

    Attributes:
        plain: where there may be many, the rows that are plainly good, taken apart from the rest.
    """

    frame: DataFrame
    drift: Drift
    plain: PlainRows | None = None


@dataclass(frozen=True)
class PlainRows:
    """The rows of a source in two frames; see ``plain_rows``.

    Attributes:
        checked: as ``schema.enforce`` gives them, rows that are not plain taken for broken.
        rest: those, as ``read.read_source`` describes them.
    """

    checked: DataFrame
    rest: DataFrame


def union(frames: Sequence[DataFrame]) -> DataFrame:
    """The rows of groups of files; there is at least one."""
    return reduce(lambda left, right: left.unionByName(right), frames)


def problem(rule: Column, column: Column, value: Column) -> Column:
    """``struct<rule, column, value>``, or null where the rule is null."""
    parts = (rule.alias("rule"), column.alias("column"), value.alias("value"))
    return F.when(rule.isNotNull(), F.struct(*parts)).cast(PROBLEM_TYPE)
