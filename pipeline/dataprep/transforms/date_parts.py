"""``date_parts``: what the calendar and the clock say."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from pipeline.config.transforms import DatePart, DateParts
from pipeline.dataprep.transforms.columns import Setting, check_times, with_new

_PARTS: Mapping[DatePart, Callable[[Column], Column]] = {
    "year": F.year,
    "quarter": F.quarter,
    "month": F.month,
    "week": F.weekofyear,
    "day": F.dayofmonth,
    "day_of_year": F.dayofyear,
    "weekday": F.weekday,
    "hour": F.hour,
    "minute": F.minute,
}


def date_parts(frame: DataFrame, config: DateParts, setting: Setting) -> DataFrame:
    """Add the parts, as whole numbers."""
    check_times(frame, [config.column], setting.where)
    local = clock(frame, config.column, config.zone)
    parts = (_PARTS[part](local) for part in config.parts)
    return with_new(frame, dict(zip(config.made_of(), parts, strict=True)), setting.where)


def clock(frame: DataFrame, name: str, zone: str) -> Column:
    """What clocks in the zone show at an instant; a date is the same everywhere."""
    column = F.col(f"`{name}`").cast("timestamp")
    is_date = isinstance(frame.schema[name].dataType, T.DateType)
    return column if is_date else F.from_utc_timestamp(column, zone)
