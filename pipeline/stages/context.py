"""What a stage is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.config.pipeline import PipelineConfig, StageName
from pipeline.store import Artifact, Store
from pipeline.store.days import Days
from pipeline.store.runlog import RunLog

if TYPE_CHECKING:
    from pipeline.engines.session import Engines
    from pipeline.handoff.to_ray import HandedOff

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what) as work goes on."""


@dataclass
class StageContext:
    """One run's state: settings, the artifacts so far, the engines, and the live Dataset."""

    config: PipelineConfig
    store: Store
    engines: Engines
    log: RunLog
    progress: Progress
    artifacts: dict[StageName, Artifact] = field(default_factory=dict)
    force: frozenset[StageName] = frozenset()
    """Stages that are run though nothing has changed: all of their work is done again."""
    again: Days | None = None
    """The days of a backfill: ingest reads their partitions again."""
    handed_off: HandedOff | None = None
    """The blocks that ``convert`` put into Ray in this run; ``train`` and ``infer`` use them."""
    fingerprint: str = ""
    """Of the artifact that is being made."""
