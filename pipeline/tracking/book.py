"""The runs of MLflow that one run of the pipeline gets, as they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.config.pipeline import StageName
from pipeline.models.card import model_card
from pipeline.models.entry import ModelEntry
from pipeline.tracking.connection import Client
from pipeline.tracking.experiments import PARENT, find_runs
from pipeline.tracking.facts import Facts, batches, run_facts, segment_facts
from pipeline.tracking.models import Models
from pipeline.tracking.source import Source
from pipeline.training.segments import ALL, segment_id

_FILES: Mapping[StageName, tuple[str, ...]] = {
    "report": ("report.html",),
    "train": ("leaderboard.parquet", "champions.json"),
}
_PARAMS, _METRICS = 100, 500
"""In one request; MLflow takes at most 100 parameters and 1,000 of everything."""


@dataclass(frozen=True)
class Book:
    """One parent run and its children, as they are written.

    A model is logged before the metrics of its run: MLflow copies to it those that are there.
    """

    client: Client
    experiment: str
    source: Source
    models: Models | None

    def write_all(self, parent: Any, keys: Sequence[str], about: str | None) -> str:
        """Write what is missing; returns the parent's id."""
        record, manifests = self.source.record, self.source.manifests
        facts = run_facts(record, manifests)
        children = {}
        if parent is not None:
            found = find_runs(self.client, self.experiment, PARENT, parent.info.run_id)
            children = {child.data.tags["pipeline.segment"]: child for child in found}
        start, end = milliseconds(record["started_at"]), milliseconds(record["ended_at"])
        note = {"mlflow.note.content": about} if about else {}
        with self._run(parent, facts, note, start, end) as at:
            self._log_shared_models(at, keys)
            self._log(at, facts)
            self._log_files(at)
            for key in keys:
                self._write_child(at, key, children.get(key))
        return at

    @contextmanager
    def _run(
        self, known: Any, facts: Facts, tags: Mapping[str, str], start: int, end: int
    ) -> Iterator[str]:
        """A new run, or one that was left unfinished; finished afterwards, or failed."""
        if known is None:
            made = self.client.create_run(
                self.experiment, start_time=start, tags={**facts.tags, **tags}, run_name=facts.name
            )
            at = made.info.run_id
        else:
            at = known.info.run_id
            self.client.update_run(at, status="RUNNING")
        try:
            yield at
        except BaseException:
            with suppress(Exception):
                self.client.set_terminated(at, "FAILED")
            raise
        self.client.set_terminated(at, "FINISHED", end_time=max(start, end))

    def _log_shared_models(self, parent: str, keys: Sequence[str]) -> None:
        entries = [self.source.entries[key] for key in (ALL, *keys)]
        for entry in entries:
            if self.models is not None and entry.is_shared:
                self.models.log(entry, parent, model_name(entry.scope, entry.candidate))
        uri = self._model_uri(self.source.entries[ALL])
        if uri is not None:
            self.client.set_tag(parent, "pipeline.default_model_uri", uri)

    def _write_child(self, parent: str, key: str, known: Any) -> None:
        if known is not None and known.info.status == "FINISHED":
            return
        entry, train = self.source.entries[key], self.source.manifests["train"]
        facts = segment_facts(
            key, self.source.champions[key], self.source.record, self.source.manifests
        )
        start = milliseconds(train.started_at)
        end = start + round(1000 * train.seconds)
        with self._run(known, facts, {PARENT: parent}, start, end) as at:
            if self.models is not None and not entry.is_shared:
                self.models.log(entry, at, model_name("segment", segment_id(key)))
            self._log(at, facts, entry)

    def _log(self, run: str, facts: Facts, entry: ModelEntry | None = None) -> None:
        """Metrics have the time of the test, not of today: written twice, they are there once."""
        from mlflow.entities import Metric, Param, RunTag

        when = milliseconds(self.source.manifests["infer"].started_at)
        own = entry is not None and not entry.is_shared
        model = self._model_id(entry) if entry is not None and own else None
        uri = self._model_uri(entry) if entry is not None else None
        metrics = [Metric(m.key, m.value, when, m.step, model_id=model) for m in facts.metrics]
        params = [Param(key, value) for key, value in facts.params.items()]
        tags = [RunTag("pipeline.model_uri", uri)] if uri else []
        self.client.log_batch(run, metrics[:_METRICS], params[:_PARAMS], tags)
        for more in batches(metrics[_METRICS:], _METRICS):
            self.client.log_batch(run, metrics=more)
        for more in batches(params[_PARAMS:], _PARAMS):
            self.client.log_batch(run, params=more)

    def _model_id(self, entry: ModelEntry) -> str | None:
        return self.models.known.get(entry.sha256 or "") if self.models is not None else None

    def _model_uri(self, entry: ModelEntry) -> str | None:
        found = self._model_id(entry)
        return f"models:/{found}" if found else None

    def _log_files(self, run: str) -> None:
        for stage, names in _FILES.items():
            for name in names:
                path = self.source.artifacts[stage].folder / name
                self.client.log_artifact(run, str(path))
        manifests = self.source.manifests
        self.client.log_dict(run, model_card(manifests), "model_card.json")
        settings = {stage: manifest.config for stage, manifest in manifests.items()}
        self.client.log_dict(run, settings, "config.json")


def model_name(kind: str, name: str) -> str:
    """MLflow allows no ``/ : . % \"`` and no apostrophe in the name of a model."""
    return re.sub(r"[^A-Za-z0-9_~=-]+", "-", f"{kind}-{name}")[:200]


def milliseconds(at: str) -> int:
    """Since 1970, of an ISO 8601 time."""
    return round(1000 * datetime.fromisoformat(at).timestamp())
