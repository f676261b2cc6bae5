"""What every reader gives: raw rows, and how the files differ from what is declared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipeline.dataprep.drift import Drift

MAX_VALUE_CHARS = 200  # of a value that is shown with a reason
PROBLEM_TYPE = "struct<rule:string,column:string,value:string>"


@dataclass(frozen=True)
class RawRows:
    """The rows of a source as ``read.read_source`` describes them, and the files' drift."""

    frame: DataFrame
    drift: Drift


def union(frames: Sequence[DataFrame]) -> DataFrame:
    """The rows of groups of files; there is at least one."""
    return reduce(lambda left, right: left.unionByName(right), frames)


def problem(rule: Column, column: Column, value: Column) -> Column:
    """``struct<rule, column, value>``, or null where the rule is null."""
    parts = (rule.alias("rule"), column.alias("column"), value.alias("value"))
    return F.when(rule.isNotNull(), F.struct(*parts)).cast(PROBLEM_TYPE)
