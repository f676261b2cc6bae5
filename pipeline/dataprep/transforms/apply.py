"""Apply one transform, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import DataFrame

from pipeline.config.transforms import Transform
from pipeline.dataprep.transforms.clip import clip
from pipeline.dataprep.transforms.columns import Setting
from pipeline.dataprep.transforms.cyclic_time import cyclic_time
from pipeline.dataprep.transforms.date_parts import date_parts
from pipeline.dataprep.transforms.deduplicate import deduplicate
from pipeline.dataprep.transforms.impute_flags import impute_flags
from pipeline.dataprep.transforms.join_as_of import join_as_of
from pipeline.dataprep.transforms.lag import lag
from pipeline.dataprep.transforms.log import log
from pipeline.dataprep.transforms.ratio import ratio
from pipeline.dataprep.transforms.rolling import expanding, rolling
from pipeline.dataprep.transforms.text_hash import text_hash
from pipeline.dataprep.transforms.text_length import text_length
from pipeline.dataprep.transforms.top_categories import top_categories

_APPLY: Mapping[str, Callable[[DataFrame, Any, Setting], DataFrame]] = {
    "clip": clip,
    "cyclic_time": cyclic_time,
    "date_parts": date_parts,
    "deduplicate": deduplicate,
    "expanding": expanding,
    "impute_flags": impute_flags,
    "join_as_of": join_as_of,
    "lag": lag,
    "log": log,
    "ratio": ratio,
    "rolling": rolling,
    "text_hash": text_hash,
    "text_length": text_length,
    "top_categories": top_categories,
}


def apply_transform(frame: DataFrame, transform: Transform, setting: Setting) -> DataFrame:
    """The frame with the transform's columns, or without the rows that it drops.

    Raises:
        ConfigError: a column is missing, of a type that the transform cannot use, or there already.
    """
    return _APPLY[transform.kind](frame, transform, setting)
