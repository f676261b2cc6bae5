"""``train``: the candidates, and how the champion of a segment is chosen."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pipeline.config.section import Count, Name, Section, Slug

Param = bool | int | float | str | None


def _of_scikit_learn(value: str) -> str:
    if not re.fullmatch(r"sklearn(\.[a-z][a-z0-9_]*)+\.[A-Z][A-Za-z0-9]+", value):
        raise ValueError(
            "must be the path of a scikit-learn class, such as sklearn.linear_model.Ridge. "
            f"Got {value!r} instead"
        )
    return value


class CandidateConfig(Section):
    """One estimator with its preprocessing, both fitted on training rows only."""

    estimator: Annotated[str, AfterValidator(_of_scikit_learn)] = Field(
        description="class path, for example sklearn.linear_model.Ridge"
    )
    params: dict[Name, Param | tuple[Param, ...]] = Field(default={})
    scope: Literal["segment", "pooled"] = Field(
        default="segment", description="fit one model a segment, or one on all segments' rows"
    )
    features: tuple[Name, ...] | None = Field(
        default=None, description="a subset of the features; all of them when left out"
    )
    impute: Literal["median", "mean", "none"] = "median"
    scale: bool = False
    encode: Literal["onehot", "ordinal", "none"] = Field(
        default="onehot", description="categorical features; none leaves them out"
    )
    max_categories: Annotated[int, Field(ge=2)] | None = None
    clip: Annotated[float, Field(gt=0, le=0.5)] | None = Field(
        default=None,
        description="cut the training target at this share of each tail before fitting",
    )


class TrainConfig(Section):
    """Many fits, one champion a segment.

    A segment's champion has the best mean score over the folds among its own candidates, the
    pooled ones and the baseline; ties go to the simpler (baseline, pooled, own; then by name).
    """

    candidates: Annotated[dict[Slug, CandidateConfig], Field(min_length=1)]
    baseline: Literal["mean", "median"] = "mean"
    scorer: Literal["rmse", "mae"] = "rmse"
    min_rows: Count = Field(
        default=200, description="training rows under which a segment gets no model of its own"
    )
    min_validation_rows: Count = Field(
        default=10, description="rows under which a fold of a segment is not scored"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    max_failed_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    fit_timeout_seconds: Annotated[float, Field(gt=0)] = 600

    @model_validator(mode="after")
    def _not_the_baseline(self) -> TrainConfig:
        if "baseline" in self.candidates:
            raise ValueError("a candidate may not be named 'baseline'; that name is taken")
        return self
