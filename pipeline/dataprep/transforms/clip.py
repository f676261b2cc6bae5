"""``clip``: values within declared bounds."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipeline.config.transforms import Clip
from pipeline.dataprep.transforms.columns import Setting, check_numbers, number, with_new


def clip(frame: DataFrame, config: Clip, setting: Setting) -> DataFrame:
    """Add a clipped column for each column."""
    check_numbers(frame, config.columns, setting.where)
    new = {config.name(name): _clipped(number(name), config) for name in config.columns}
    return with_new(frame, new, setting.where)


def _clipped(value: Column, config: Clip) -> Column:
    within = value
    if config.low is not None:
        within = F.greatest(within, F.lit(config.low))
    if config.high is not None:
        within = F.least(within, F.lit(config.high))
    return F.when(value.isNotNull(), within)  # greatest and least pass over null
