"""``impute_flags``: 1 where a value is missing, so that imputation in training hides nothing."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from pipeline.config.transforms import ImputeFlags
from pipeline.dataprep.transforms.columns import Setting, check_columns, with_new

_WITH_NAN = (T.FloatType, T.DoubleType)


def impute_flags(frame: DataFrame, config: ImputeFlags, setting: Setting) -> DataFrame:
    """Add a flag for each column."""
    check_columns(frame, config.columns, setting.where)
    flags = {config.name(name): _is_missing(frame, name).cast("int") for name in config.columns}
    return with_new(frame, flags, setting.where)


def _is_missing(frame: DataFrame, name: str) -> Column:
    column = F.col(f"`{name}`")
    if isinstance(frame.schema[name].dataType, _WITH_NAN):
        return column.isNull() | F.isnan(column)
    return column.isNull()
