"""``lag``: the value of the N-th last row that was known when a row asks."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipeline.config.transforms import Lag
from pipeline.dataprep.transforms.columns import Setting, check_new, instant
from pipeline.dataprep.transforms.history import asks_at, check_history, group_columns, known_at
from pipeline.dataprep.transforms.timeline import AT, answer, own_timeline

_NTH, _CHAIN, _LAST = "__nth", "__chain", "__last"


def lag(frame: DataFrame, config: Lag, setting: Setting) -> DataFrame:
    """Add each row's last known values.

    Each fact first takes along the values of the facts before it. What the last known fact says
    of its N - 1st predecessor is then the N-th last that is known.
    """
    check_history(frame, config, setting)
    check_new(frame, [name for name, _, _ in config.named()], setting.where)
    time, groups = config.time or setting.time, group_columns(config.by)
    known = known_at(time, config)
    chained = frame.select("*", *_chain(config, time, known))
    facts = groups | {AT: known, _NTH: F.col(_NTH), _CHAIN: F.col(_CHAIN)}
    timeline = own_timeline(chained, facts, groups | {AT: asks_at(time, config)})
    totals = {_LAST: F.last(_CHAIN, ignorenulls=True)}
    answered = answer(timeline, list(groups), totals, inclusive=config.inclusive)
    own = (f"`{name}`" for name in frame.columns)
    return answered.select(*own, *(F.col(_LAST)[name].alias(name) for name, _, _ in config.named()))


def _chain(config: Lag, time: str, known: Column) -> list[Column]:
    """The place of each fact in the order of its group, and the values of those before it."""
    order = (
        # Facts that are never known are none, and are kept out of the chain of those that are.
        Window.partitionBy(*(F.col(f"`{name}`") for name in config.by), known.isNull())
        .orderBy(known, instant(time), *(F.col(f"`{name}`") for name in config.columns))
    )  # fmt: skip
    values = (
        F.lag(f"`{column}`", offset - 1).over(order).alias(name)
        for name, column, offset in config.named()
    )
    return [F.row_number().over(order).alias(_NTH), F.struct(*values).alias(_CHAIN)]
