"""The target under other names: a mark on its column that Spark carries through renames.

The metadata of a column goes with it through SELECT, joins and aliases, and not through
computations; so what carries the mark is the target itself.
"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

_MARK = "pipeline.target"


def mark_target(frame: DataFrame, target: str) -> DataFrame:
    """The frame with its target marked, if it has one."""
    if target not in frame.columns:
        return frame
    metadata = frame.schema[target].metadata | {_MARK: True}
    return frame.withMetadata(target, metadata)


def marked_columns(frame: DataFrame) -> list[str]:
    """The columns that are the target, whatever their names."""
    return [field.name for field in frame.schema if _MARK in field.metadata]


def without_marks(frame: DataFrame) -> DataFrame:
    """The frame as it was: files keep the metadata of their columns."""
    for name in marked_columns(frame):
        kept = {key: value for key, value in frame.schema[name].metadata.items() if key != _MARK}
        # Spark takes empty metadata for none given, and then inherits the column's; a computation
        # inherits nothing.
        frame = frame.withColumn(name, F.coalesce(F.col(f"`{name}`")).alias(name, metadata=kept))
    return frame
