"""``text_length``: how long texts are."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.config.transforms import TextLength
from pipeline.dataprep.transforms.columns import Setting, check_texts, with_new


def text_length(frame: DataFrame, config: TextLength, setting: Setting) -> DataFrame:
    """Add the number of characters (code points) for each column."""
    check_texts(frame, config.columns, setting.where)
    new = {config.name(name): F.char_length(F.col(f"`{name}`")) for name in config.columns}
    return with_new(frame, new, setting.where)
