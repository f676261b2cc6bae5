"""``preprocess``: SQL steps, and the roles that the columns of their result play."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator, model_validator

from pipeline.config.section import Count, Name, Section


class StepConfig(Section):
    """One SELECT over the sources and the steps before it; its name is the view it makes."""

    name: Name
    sql: str = Field(description="path of the .sql file, relative to the project's root")


class FeaturesConfig(Section):
    """The columns that models may see."""

    numeric: tuple[Name, ...] = ()
    categorical: tuple[Name, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return self.numeric + self.categorical

    @model_validator(mode="after")
    def _unique(self) -> FeaturesConfig:
        if not self.names:
            raise ValueError("must name at least one feature. Got none instead")
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise ValueError(f"named more than once: {', '.join(twice)}")
        return self


class SplitConfig(Section):
    """A split by time: test rows from one instant on, and folds that end where the test begins.

    Fold k of n validates on ``validation_days`` days and trains on everything that ends
    ``gap_days`` before them; the last fold's validation period ends at ``test_from``.
    """

    test_from: datetime
    folds: Annotated[int, Field(ge=1, le=50)] = 3
    validation_days: Annotated[float, Field(gt=0)] = 30
    gap_days: Annotated[float, Field(ge=0)] = 1

    @field_validator("test_from")
    @classmethod
    def _in_utc(cls, value: datetime) -> datetime:
        if value.tzinfo is None:
            return value.replace(tzinfo=timezone.utc)
        return value.astimezone(timezone.utc)

    def periods(self) -> list[tuple[datetime, datetime, datetime]]:
        """Per fold (end of training, start of validation, end of validation), UTC, half-open."""
        step = timedelta(days=self.validation_days)
        starts = [self.test_from - step * (self.folds - k) for k in range(self.folds)]
        return [(start - timedelta(days=self.gap_days), start, start + step) for start in starts]


class PreprocessConfig(Section):
    """Typed tables become one table of features, clustered by segment."""

    params: dict[Name, int | float | Annotated[str, StringConstraints(pattern=r"^[\w.:+ -]*$")]] = (
        Field(default={}, description="values for ${name} in the SQL files")
    )
    steps: Annotated[tuple[StepConfig, ...], Field(min_length=1)]
    main: Name | None = Field(
        default=None,
        description="the source of which each row of the result stands for one row; "
        "a join that multiplies its rows is then refused, and rows that the SQL drops are counted",
    )
    key: Annotated[tuple[Name, ...], Field(min_length=1)]
    time: Name
    segment: Annotated[tuple[Name, ...], Field(min_length=1)]
    target: Name
    features: FeaturesConfig
    carry: tuple[Name, ...] = Field(
        default=(),
        description="numeric columns that go along without being a feature: weights of rows",
    )
    split: SplitConfig
    file_mb: Count = 64

    @model_validator(mode="after")
    def _roles(self) -> PreprocessConfig:
        names = [step.name for step in self.steps]
        if len(set(names)) < len(names):
            raise ValueError("two steps have the same name")
        if self.target in self.features.names:
            raise ValueError(f"the target {self.target!r} is among the features")
        taken = {*self.key, self.time, *self.segment, self.target, *self.features.names}
        if twice := sorted(taken & set(self.carry)):
            raise ValueError(f"carry: {', '.join(twice)} has another role already")
        return self

    @property
    def output(self) -> str:
        """The step whose rows become the features: the last one."""
        return self.steps[-1].name

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of the feature table, in order, without the split."""
        roles = (*self.key, self.time, *self.segment, self.target)
        return tuple(dict.fromkeys((*roles, *self.features.names, *self.carry)))
