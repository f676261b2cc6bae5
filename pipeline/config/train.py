"""``train``: the candidates, and how the champion of a segment is chosen."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pipeline.config.search import ParamValue, SearchConfig
from pipeline.config.section import Count, Name, Section, Slug

Task = Literal["regression", "classification", "quantile"]
SCORERS: dict[Task, str] = {
    "regression": "rmse",
    "classification": "log_loss",
    "quantile": "pinball",
}
"""What decides where ``scorer`` is left out."""

Preset = Literal["fast", "standard", "thorough"]
Select = Literal["best", "one_standard_error"]


EXTRAS = ("lightgbm", "xgboost")
"""Packages beside scikit-learn that estimators may come from, each an optional extra."""


def _of_known_package(value: str) -> str:
    extras = "|".join(EXTRAS)
    if not re.fullmatch(rf"(sklearn(\.[a-z][a-z0-9_]*)+|{extras})\.[A-Z][A-Za-z0-9]+", value):
        raise ValueError(
            "must be the path of a scikit-learn class, such as sklearn.linear_model.Ridge, or a "
            f"class of {' or '.join(EXTRAS)}. Got {value!r} instead"
        )
    return value


class CandidateConfig(Section):
    """One estimator with its preprocessing, both fitted on training rows only."""

    estimator: Annotated[str, AfterValidator(_of_known_package)] = Field(
        description="class path, for example sklearn.linear_model.Ridge"
    )
    params: dict[Name, ParamValue] = Field(
        default={},
        description="fixed parameters, class_weight: balanced and early_stopping: true included; "
        "early stopping sets its rows aside within the fold's training rows",
    )
    search: SearchConfig | None = Field(
        default=None, description="parameters tried in several values, each a candidate of its own"
    )
    scope: Literal["segment", "pooled"] = Field(
        default="segment", description="fit one model a segment, or one on all segments' rows"
    )
    features: tuple[Name, ...] | None = Field(
        default=None, description="a subset of the features; all of them when left out"
    )
    impute: Literal["median", "mean", "none"] = "median"
    scale: bool = False
    encode: Literal["onehot", "ordinal", "target", "none"] = Field(
        default="onehot", description="categorical features; none leaves them out"
    )
    max_categories: Annotated[int, Field(ge=2)] | None = None
    clip: Annotated[float, Field(gt=0, le=0.5)] | None = Field(
        default=None,
        description="cut the training target at this share of each tail before fitting",
    )

    @model_validator(mode="after")
    def _no_limit_without_use(self) -> CandidateConfig:
        if self.encode == "target" and self.max_categories is not None:
            raise ValueError("max_categories: leave it out with encode: target, which keeps all")
        return self

    @model_validator(mode="after")
    def _fixed_or_searched(self) -> CandidateConfig:
        both = sorted(set(self.params) & set(self.search.names if self.search else ()))
        if both:
            raise ValueError(f"both fixed in params and searched: {', '.join(both)}")
        return self


class HalvingConfig(Section):
    """Drop candidates between folds, each segment its own: after each fold only the best go on.

    The most recent fold comes first, for it is the likest to the test. The pooled candidates are
    compared over all rows, and apart from those of the segments.
    """

    factor: Annotated[float, Field(gt=1)] = Field(
        default=3.0, description="of the candidates, one in so many goes on to the next fold"
    )


class TrainConfig(Section):
    """Many fits, one champion a segment.

    A segment's champion has the best mean score over the folds among its own candidates, the
    pooled ones and the baseline; ties go to the simpler (baseline, pooled, own; then by name).
    ``select`` may let a simpler one win that is within one standard error of it.

    ``task`` says what is predicted: a number, a class (text, booleans or whole numbers), or the
    declared quantiles of a number, with one model a quantile. ``scorer`` alone decides;
    ``also_score`` are kept beside it. Names are scikit-learn's, of which more is better, or the
    errors ``rmse``, ``mae`` (regression), ``log_loss`` (classification) and ``pinball``
    (quantile), of which less is better.
    """

    task: Task = "regression"
    quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        default=(), description="of task: quantile, ascending; for example [0.1, 0.5, 0.9]"
    )
    weight: Name | None = Field(
        default=None,
        description="a numeric column of the features or of preprocess.carry, at least 0 in every "
        "row: what the row counts in fits, baselines and scores",
    )

    preset: Preset | None = Field(
        default=None, description="default candidates; those of candidates with equal names win"
    )
    candidates: dict[Slug, CandidateConfig] = Field(default={})
    baseline: Literal["mean", "median"] = Field(
        default="mean",
        description="of task: regression; the others have the shares of the classes, or the "
        "quantiles, of a segment's training rows",
    )
    scorer: Name = Field(
        default="rmse",
        description="decides; by default rmse, log_loss or pinball, by task",
    )
    also_score: tuple[Name, ...] = Field(
        default=(), description="kept in the leaderboard and measured on the held-out rows"
    )
    select: Select = Field(
        default="best",
        description="one_standard_error takes the simplest candidate that is about as good as the "
        "best: pooled before own, then in the order in which the candidates are declared",
    )
    halving: HalvingConfig | None = Field(
        default=None,
        description="make fewer fits: {factor: 3} keeps a third of the candidates after each fold",
    )
    budget_seconds: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="what the fits of the folds may take, all together; candidates are then tried "
        "in their order, and those not done in time are left out. What is chosen may then differ "
        "from run to run. Baselines before and the winners' last fits after it are not counted",
    )
    parents: tuple[Annotated[tuple[Name, ...], Field(min_length=1)], ...] = Field(
        default=(),
        description="columns of preprocess.segment that name wider groups, the nearest first, such "
        "as [[carrier]]: a segment without a model of its own may have that of its group",
    )
    blend: bool = Field(
        default=False,
        description="of task: regression; the mean of a segment's best own model and the best "
        "pooled one is a contender too. Each such model holds a copy of the pooled one",
    )
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
    def _scorer_of_the_task(self) -> TrainConfig:
        if "scorer" not in self.model_fields_set:
            # The section is frozen for all others; a validator is the last hand on it.
            object.__setattr__(self, "scorer", SCORERS[self.task])
        return self

    @model_validator(mode="after")
    def _quantiles_of_the_task(self) -> TrainConfig:
        if (self.task == "quantile") != bool(self.quantiles):
            raise ValueError(
                "task: quantile and quantiles go together. "
                f"Got task {self.task!r} and quantiles {list(self.quantiles)} instead"
            )
        if list(self.quantiles) != sorted(set(self.quantiles)):
            raise ValueError(
                f"quantiles must ascend, each once. Got {list(self.quantiles)} instead"
            )
        if len({self.scorer, *self.also_score}) < 1 + len(self.also_score):
            raise ValueError(
                "scorer and also_score must name each scorer once. "
                f"Got {self.scorer}, {', '.join(self.also_score)} instead"
            )
        return self

    @model_validator(mode="after")
    def _any_candidate(self) -> TrainConfig:
        if self.preset is not None and self.task == "quantile":
            raise ValueError(
                "preset has no candidates that fit quantiles: name some in candidates. "
                f"Got preset {self.preset!r} instead"
            )
        if self.preset is None and not self.candidates:
            raise ValueError(
                "must have candidates, or a preset: fast, standard or thorough. Got neither instead"
            )
        return self

    @model_validator(mode="after")
    def _blend_of_numbers(self) -> TrainConfig:
        if self.blend and self.task != "regression":
            raise ValueError(
                "blend is for task: regression, whose predictions have a mean. "
                f"Got task {self.task!r} instead"
            )
        scopes = {candidate.scope for candidate in self.candidates.values()}
        if self.blend and self.preset is None and scopes != {"segment", "pooled"}:
            raise ValueError(
                "blend needs candidates of both scopes, segment and pooled. "
                f"Got {', '.join(sorted(scopes))} alone instead"
            )
        return self

    @model_validator(mode="after")
    def _parents_differ(self) -> TrainConfig:
        groups = [frozenset(level) for level in self.parents]
        if len(set(groups)) < len(groups) or any(
            len(set(level)) < len(level) for level in self.parents
        ):
            raise ValueError(
                "parents must name each group of columns once, and each column once in a group. "
                f"Got {[list(level) for level in self.parents]} instead"
            )
        return self

    @model_validator(mode="after")
    def _not_the_baseline(self) -> TrainConfig:
        if "baseline" in self.candidates:
            raise ValueError("a candidate may not be named 'baseline'; that name is taken")
        return self
