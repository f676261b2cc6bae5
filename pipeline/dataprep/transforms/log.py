"""``log``: the natural logarithm."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.config.transforms import Log
from pipeline.dataprep.transforms.columns import Setting, check_numbers, number, with_new


def log(frame: DataFrame, config: Log, setting: Setting) -> DataFrame:
    """Add a logarithm for each column; Spark's is null where its argument is not above zero."""
    check_numbers(frame, config.columns, setting.where)
    plus = F.lit(config.plus)
    new = {config.name(name): F.log(number(name) + plus) for name in config.columns}
    return with_new(frame, new, setting.where)
