"""``infer``: which rows are scored, and in what batches."""

from __future__ import annotations

from typing import Literal

from pipeline.config.section import Count, Section


class InferConfig(Section):
    """Score rows with each segment's champion."""

    rows: Literal["test", "all"] = "test"
    batch_rows: Count = 50_000
