"""``preprocess``: its steps, and the roles that the columns of their result play."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from pipeline.config.held_out import HeldOutConfig
from pipeline.config.leakage import find_leaks
from pipeline.config.rules import ColumnOfType, FeatureRules, problems_of_rules
from pipeline.config.section import Count, Name, Section
from pipeline.config.steps import StepConfig

FoldKind = Literal["time", "group", "stratified"]

SPLIT = "split"
"""The column of the feature table that says ``train`` or ``test``."""

FOLD = "fold"
"""The column of the feature table that holds the folds by group and the stratified ones."""


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
    """Test rows, from one instant on unless ``test`` says otherwise, and folds of all others.

    ``kind: time``: fold k of n validates on ``validation_days`` days and trains on everything
    that ends ``gap_days`` before them; the last fold's validation period ends where the training
    rows do: at ``test_from``, or at the gap before it.

    ``group`` and ``stratified``: fold k validates on a share of all training rows and trains on
    the others, whatever their times. By group, rows with equal values in the columns of ``group``
    are in one fold, in all segments; the fold is a hash of these values, so that it stays where
    it is when rows are added. Where a segment lies in one group, as if grouped by segment, its own
    candidates have nothing to train on in one fold and nothing to validate on in the others, so
    that the pooled ones alone are compared. Stratified, each fold has the same share of every class
    of a segment, or of every tenth of a segment's targets if they are numbers with a fraction.
    """

    test_from: datetime | None = Field(default=None, description="of a test by time")
    test: HeldOutConfig = Field(
        default=HeldOutConfig(),
        # So that what was made before there were other kinds keeps its fingerprint.
        exclude_if=lambda test: bool(test == HeldOutConfig()),
    )
    kind: FoldKind = "time"
    folds: Annotated[int, Field(ge=1, le=50)] = 3
    validation_days: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="of kind: time; 30 when left out"
    )
    gap_days: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="of kind: time; 1 when left out"
    )
    group: tuple[Name, ...] = Field(
        default=(),
        description="of kind: group: columns with a role, whose values together are the group",
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        default=0, description="of the hash that deals rows to the folds of the other kinds"
    )

    @field_validator("test_from")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            return value.replace(tzinfo=timezone.utc)
        return value.astimezone(timezone.utc)

    @model_validator(mode="after")
    def _days_by_default(self) -> SplitConfig:
        if self.kind == "time":
            # The section is frozen for all others; a validator is the last hand on it.
            object.__setattr__(self, "validation_days", self.validation_days or 30.0)
            object.__setattr__(self, "gap_days", 1.0 if self.gap_days is None else self.gap_days)
        return self

    @model_validator(mode="after")
    def _settings_of_the_kind(self) -> SplitConfig:
        problems = [] if self.kind == "time" else self._problems_of_numbered_folds()
        if self.kind == "time" and self.seed:
            problems.append(
                "seed is of kind: group and kind: stratified. "
                f"Got {self.seed} with kind: time instead"
            )
        if (self.kind == "group") != bool(self.group):
            problems.append(
                "kind: group and group go together. "
                f"Got kind {self.kind!r} and group {list(self.group)} instead"
            )
        problems += self._problems_of_the_test()
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems_of_the_test(self) -> list[str]:
        by_time = self.test.by_time
        if by_time == (self.test_from is None):
            found = "none" if self.test_from is None else self.test_from.isoformat()
            must = "be given" if by_time else "be left out"
            return [f"test_from must {must} with test.kind: {self.test.kind}. Got {found} instead"]
        if not by_time and self.kind == "time":
            return [
                f"kind: time needs test.kind: time, for the folds end where the test begins. "
                f"Got test.kind: {self.test.kind} instead; set kind: group or kind: stratified"
            ]
        return []

    def _problems_of_numbered_folds(self) -> list[str]:
        given = {"validation_days": self.validation_days, "gap_days": self.gap_days}
        problems = [
            f"{name} is of kind: time alone; with kind: {self.kind} leave it out or set it to "
            f"null. Got {value:g} instead"
            for name, value in given.items()
            if value is not None
        ]
        if self.folds < 2:
            problems.append(
                f"folds must be at least 2 with kind: {self.kind}. Got {self.folds} instead"
            )
        if len(set(self.group)) < len(self.group):
            problems.append(
                f"group must name each column once. Got {', '.join(self.group)} instead"
            )
        return problems

    @property
    def train_until(self) -> datetime | None:
        """Where the training rows end: at ``test_from`` or the gap before it; None if not by time.

        Half-open.
        """
        if self.test_from is None:
            return None
        return self.test_from - timedelta(days=self.test.gap_days or 0)

    def periods(self) -> list[tuple[datetime, datetime, datetime]]:
        """Per fold (end of training, start of validation, end of validation), UTC, half-open.

        None of the kinds that are not by time.
        """
        end = self.train_until
        if self.validation_days is None or self.gap_days is None or end is None:
            return []
        step = timedelta(days=self.validation_days)
        starts = [end - step * (self.folds - k) for k in range(self.folds)]
        return [(start - timedelta(days=self.gap_days), start, start + step) for start in starts]


class PreprocessConfig(Section):
    """Typed tables become one table of features, clustered by segment."""

    params: dict[Name, int | float | Annotated[str, StringConstraints(pattern=r"^[\w.:+ -]*$")]] = (
        Field(default={}, description="values for ${name} in the SQL files, and for functions")
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
        description="numeric columns that go along without being a feature: weights of rows, "
        "or groups of folds",
    )
    split: SplitConfig
    rules: FeatureRules = Field(
        default={}, description="what must hold of the feature table, by name"
    )
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
        if leaks := find_leaks(self.steps, self.target, self.features.names):
            raise ValueError("; ".join(leaks))
        return self

    @model_validator(mode="after")
    def _groups_are_columns(self) -> PreprocessConfig:
        test = self.split.test
        for where, names in (
            ("split.group", self.split.group),
            ("split.test.group", test.group),
            ("split.test.key", test.key),
        ):
            if unknown := [name for name in names if name not in self.columns]:
                raise ValueError(
                    f"{where} must name columns that have a role: "
                    f"{', '.join(self.columns)}. Got {', '.join(unknown)} instead; "
                    "add it to key (which stays unique), or to carry if it is a number"
                )
        return self

    @model_validator(mode="after")
    def _rules_fit_the_columns(self) -> PreprocessConfig:
        types = dict.fromkeys(self.features.categorical + self.segment, "string")
        types |= dict.fromkeys(self.features.numeric + self.carry, "double")
        types[self.time] = "timestamp"
        columns = {name: ColumnOfType(types.get(name)) for name in self.columns}
        if problems := problems_of_rules(self.rules, columns):
            raise ValueError("; ".join(problems))
        return self

    @property
    def output(self) -> str:
        """The step whose rows become the features: the last one."""
        return self.steps[-1].name

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of the feature table, in order, without ``split`` and ``fold``."""
        roles = (*self.key, self.time, *self.segment, self.target)
        return tuple(dict.fromkeys((*roles, *self.features.names, *self.carry)))
