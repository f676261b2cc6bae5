"""``deduplicate``: one row a key, by a stated order."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipeline.config.transforms import Deduplicate
from pipeline.dataprep.transforms.columns import Setting, check_columns

_PLACE = "__place"


def deduplicate(frame: DataFrame, config: Deduplicate, setting: Setting) -> DataFrame:
    """Keep the winner of each key."""
    check_columns(frame, (*config.by, *config.order), setting.where)
    # All other columns too, or the winner among equals would differ from run to run.
    names = dict.fromkeys((*config.order, *frame.columns))
    direction = F.asc_nulls_first if config.keep == "first" else F.desc_nulls_last
    window = Window.partitionBy(*(F.col(f"`{name}`") for name in config.by)).orderBy(
        *(direction(F.col(f"`{name}`")) for name in names if name not in config.by)
    )
    placed = frame.select("*", F.row_number().over(window).alias(_PLACE))
    return placed.filter(F.col(_PLACE) == 1).drop(_PLACE)
