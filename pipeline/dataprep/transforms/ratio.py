"""``ratio``: one column divided by another."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.config.transforms import Ratio
from pipeline.dataprep.transforms.columns import Setting, check_numbers, number, with_new


def ratio(frame: DataFrame, config: Ratio, setting: Setting) -> DataFrame:
    """Add the quotient; null where it is divided by zero."""
    check_numbers(frame, (config.numerator, config.denominator), setting.where)
    divisor = number(config.denominator)
    quotient = F.when(divisor != 0, number(config.numerator) / divisor)
    return with_new(frame, {config.output: quotient}, setting.where)
