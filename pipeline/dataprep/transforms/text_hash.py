"""``text_hash``: texts dealt to a fixed number of buckets.

CRC-32 rather than Spark's own hashes: whoever makes these features elsewhere finds it in every
language, Python's ``zlib.crc32`` for one.
"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.config.transforms import TextHash
from pipeline.dataprep.transforms.columns import Setting, check_texts, with_new


def text_hash(frame: DataFrame, config: TextHash, setting: Setting) -> DataFrame:
    """Add the bucket, 0 to ``buckets`` - 1, for each column."""
    check_texts(frame, config.columns, setting.where)
    buckets = F.lit(config.buckets)
    new = {
        config.name(name): F.pmod(F.crc32(F.encode(F.col(f"`{name}`"), "UTF-8")), buckets)
        for name in config.columns
    }
    return with_new(frame, new, setting.where)
