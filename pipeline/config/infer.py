"""``infer``: which rows are scored, in what batches, how sure their errors are, and what they
owe to each feature."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.section import Count, Section


class IntervalsConfig(Section):
    """Bootstrap intervals of the errors of a regression on rows with a known target."""

    replicates: Annotated[int, Field(ge=50, le=10_000)] = 200
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    resample: Literal["row", "day"] = Field(
        default="row",
        description="what is drawn: rows, or whole days (UTC) of the time column, which is more "
        "honest where the errors of one day go together, and needs weeks of rows",
    )
    segments: Count = Field(
        default=200,
        description="the segments with most training rows get intervals of their own; each takes "
        "about 50 kB while errors are added up",
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class ImportanceConfig(Section):
    """Permutation importance of the features, on held-out rows with a known target."""

    rows: Annotated[int, Field(ge=0, le=100_000)] = Field(
        default=5_000, description="upper limit of rows drawn in all; 0 turns it off"
    )
    repeats: Annotated[int, Field(ge=1, le=50)] = Field(
        default=5, description="permutations of each feature"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class InferConfig(Section):
    """Score rows with each segment's champion."""

    rows: Literal["test", "all"] = "test"
    batch_rows: Count = 50_000
    intervals: IntervalsConfig = IntervalsConfig()
    importance: ImportanceConfig = ImportanceConfig()
