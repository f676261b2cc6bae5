"""``convert``: how the features cross from Spark to Ray."""

from __future__ import annotations

from typing import Literal

from pipeline.config.section import Section


class ConvertConfig(Section):
    """The hand-off. Both modes give equal rows, types and order."""

    mode: Literal["auto", "raydp", "parquet"] = "auto"
