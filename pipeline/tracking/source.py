"""What there is to track: a run's record, and the six artifacts that it made or used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config.pipeline import STAGES, StageName
from pipeline.errors import ConfigError, StoreError
from pipeline.models.champions import ChampionRecord, model_entries, read_champions
from pipeline.models.entry import ModelEntry
from pipeline.store import Artifact, Manifest, Store
from pipeline.store.artifact import open_artifact
from pipeline.training.segments import ALL


@dataclass(frozen=True)
class Source:
    """One finished run.

    Attributes:
        record: its ``run.json``.
        artifacts: by stage, in order.
        champions, entries: by segment key.
    """

    record: Mapping[str, Any]
    artifacts: Mapping[StageName, Artifact]
    champions: Mapping[str, ChampionRecord]
    entries: Mapping[str, ModelEntry]

    @property
    def manifests(self) -> dict[StageName, Manifest]:
        return {stage: artifact.manifest for stage, artifact in self.artifacts.items()}

    def largest(self, number: int) -> list[str]:
        """Keys of the segments with most training rows, largest first."""
        own = (key for key in self.champions if key != ALL)
        return sorted(own, key=lambda key: (-self.champions[key].rows_train, key))[:number]


def read_source(store: Store, record: Mapping[str, Any]) -> Source:
    """Open what a run made.

    Raises:
        ConfigError: the run did not come to its end.
        StoreError: an artifact was removed since, or is damaged.
    """
    made = {stage["stage"]: stage for stage in record["stages"]}
    if "report" not in made or made["report"]["action"] == "failed":
        raise ConfigError(
            f"run {record['run_id']} ({record['status']}) has no report, and only runs that came "
            "to their end are tracked",
            hint="Run the pipeline to its end, or name another run: pipeline runs.",
        )
    report = _open(store, record, "report", made["report"]["fingerprint"])
    inputs = report.manifest.inputs
    artifacts: dict[StageName, Artifact] = {
        stage: _open(store, record, stage, inputs[stage]) for stage in STAGES if stage != "report"
    }
    artifacts["report"] = report
    train = artifacts["train"]
    return Source(
        record=record,
        artifacts=artifacts,
        champions=read_champions(train.folder),
        entries=model_entries(train),
    )


def _open(store: Store, record: Mapping[str, Any], stage: str, fingerprint: str) -> Artifact:
    artifact = open_artifact(store, stage, fingerprint)
    if artifact is None:
        raise StoreError(
            f"run {record['run_id']}: the artifact of {stage}, {fingerprint}, is not in the store "
            "any more",
            hint="Run the pipeline again; what is made is tracked then.",
        )
    return artifact
