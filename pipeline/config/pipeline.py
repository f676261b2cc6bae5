"""The whole configuration of one pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from pipeline.config.convert import ConvertConfig
from pipeline.config.engines import EnginesConfig
from pipeline.config.infer import InferConfig
from pipeline.config.ingest import IngestConfig
from pipeline.config.preprocess import PreprocessConfig
from pipeline.config.promotion import PromotionConfig
from pipeline.config.report import ReportConfig
from pipeline.config.schedule import ScheduleConfig
from pipeline.config.section import Section, Slug
from pipeline.config.steps import find_unknown_inputs
from pipeline.config.tracking import TrackingConfig
from pipeline.config.train import TrainConfig

StageName = Literal["ingest", "preprocess", "convert", "train", "infer", "report"]
STAGES: tuple[StageName, ...] = get_args(StageName)


class PipelineConfig(Section):
    """One pipeline: its six stages, its engines, its schedule and its store."""

    name: Slug
    description: str | None = None
    store: str = "data/store"
    ingest: IngestConfig
    preprocess: PreprocessConfig
    convert: ConvertConfig = ConvertConfig()
    train: TrainConfig
    infer: InferConfig = InferConfig()
    report: ReportConfig = ReportConfig()
    promotion: PromotionConfig = PromotionConfig()
    tracking: TrackingConfig = TrackingConfig()
    engines: EnginesConfig = EnginesConfig()
    schedule: ScheduleConfig | None = None
    root: str = Field(
        default=".", exclude=True, description="set by the loader: paths are relative to it"
    )

    file: str = Field(
        default="", exclude=True, description="set by the loader: where this was read from"
    )
    secrets: dict[str, str] = Field(
        default={}, exclude=True, repr=False, description="set by the loader: key path → its text"
    )

    @model_validator(mode="after")
    def _main_is_a_source(self) -> PipelineConfig:
        main, sources = self.preprocess.main, self.ingest.sources
        if main is not None and main not in sources:
            raise ValueError(
                f"preprocess.main must be one of the sources {', '.join(sources)}. "
                f"Got {main!r} instead"
            )
        return self

    @model_validator(mode="after")
    def _steps_read_what_is_there(self) -> PipelineConfig:
        if problems := find_unknown_inputs(self.preprocess.steps, tuple(self.ingest.sources)):
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _weight_is_a_column(self) -> PipelineConfig:
        weight = self.train.weight
        allowed = (*self.preprocess.features.numeric, *self.preprocess.carry)
        if weight is not None and weight not in allowed:
            raise ValueError(
                "train.weight must be among preprocess.carry or the numeric features. "
                f"Got {weight!r} instead; name it in preprocess.carry"
            )
        return self

    @model_validator(mode="after")
    def _parents_are_wider_than_segments(self) -> PipelineConfig:
        segment = self.preprocess.segment
        for level in self.train.parents:
            if not set(level) < set(segment):
                raise ValueError(
                    f"train.parents: a group must be some of preprocess.segment "
                    f"({', '.join(segment)}), and not all. Got {list(level)} instead"
                )
        return self

    @model_validator(mode="after")
    def _folds_to_halve_between(self) -> PipelineConfig:
        if self.train.halving is not None and self.preprocess.split.folds < 2:
            raise ValueError(
                "train.halving drops candidates between folds, so preprocess.split.folds must be "
                "at least 2. Got 1 instead"
            )
        return self

    def path(self, relative: str) -> Path:
        """A path of this configuration, absolute."""
        return (Path(self.root) / relative).resolve()

    @property
    def store_path(self) -> Path:
        return self.path(self.store)

    def stage(self, name: StageName) -> dict[str, Any]:
        """The part of the configuration that one stage depends on, after defaults, as JSON.

        Where a value came from ``${env:NAME}`` that text stands, not the value.
        """
        section: Section = getattr(self, name)
        dumped: dict[str, Any] = self._masked(section.model_dump(mode="json"), name)
        return dumped

    def _masked(self, value: Any, at: str) -> Any:
        if at in self.secrets:
            return self.secrets[at]
        if isinstance(value, dict):
            return {key: self._masked(child, f"{at}.{key}") for key, child in value.items()}
        if isinstance(value, list):
            return [self._masked(child, f"{at}[{i}]") for i, child in enumerate(value)]
        return value
