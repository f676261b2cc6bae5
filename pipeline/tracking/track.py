"""Note one run of the pipeline in MLflow: once, whatever happens on the way."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.config import PipelineConfig
from pipeline.errors import PipelineError, TrackingFailed
from pipeline.store import Store
from pipeline.store.lock import exclusive
from pipeline.store.runlog import find_run
from pipeline.tracking.book import Book
from pipeline.tracking.check import check_tracking
from pipeline.tracking.connection import Client, connected
from pipeline.tracking.experiments import find_runs, open_experiment
from pipeline.tracking.facts import identity
from pipeline.tracking.models import Models
from pipeline.tracking.place import Place, place_of, settings_of
from pipeline.tracking.source import Source, read_source

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tracked:
    """What became of it.

    Attributes:
        action: ``tracked`` now, or ``known``: these models with this test were tracked before.
        segments: runs below the parent.
        models: distinct models that they and the parent have.
    """

    action: Literal["tracked", "known"]
    uri: str
    experiment: str
    mlflow_run: str
    run_id: str
    segments: int = 0
    models: int = 0


def track_run(config: PipelineConfig, run: str = "latest") -> dict[str, Any]:
    """Track a run by its id, a unique beginning of it, or ``latest``; as the command does.

    Raises:
        ConfigError: nothing is configured, a package is missing, or there is no such run.
        LockedError: a run is at work in the store.
        TrackingFailed, StoreError: see :func:`track`.
    """
    check_tracking(config)
    store = Store(config.store_path)
    record = find_run(store, run, config.name)
    with exclusive(store, config.name, "track"):
        return asdict(track(config, record))


def track(config: PipelineConfig, record: Mapping[str, Any]) -> Tracked:
    """Track a run, given its ``run.json``. The store's lock must be held.

    There is one parent run for a train artifact and an infer artifact. A run that made neither
    anew only leaves its id there, as ``pipeline.last_run_id``. What a tracking that failed or was
    killed has left is completed. Delete the parent in MLflow to have a run tracked anew.

    Raises:
        ConfigError: the run did not come to its end.
        StoreError: an artifact of it was removed, or is damaged.
        TrackingFailed: MLflow failed, or cannot be reached.
    """
    place = place_of(config)
    source = read_source(Store(config.store_path), record)
    start = time.monotonic()
    with _explained(config, place, record), connected(place) as client:
        tracked = _track(client, config, place, source)
    _log.info("%s in %.1f s: %s", tracked.action, time.monotonic() - start, tracked)
    return tracked


@contextmanager
def _explained(config: PipelineConfig, place: Place, record: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        lines = place.scrubbed(str(error)).strip().splitlines() or [type(error).__name__]
        raise TrackingFailed(
            f"run {record['run_id']} could not be tracked in MLflow at {place.shown}: "
            f"{lines[0][:300]}",
            hint=f"Mend the cause, then: pipeline track {record['run_id']} "
            f"-c {os.path.relpath(config.file)}, with the same --env and --set.",
        ) from (None if place.secrets else error)  # a traceback would show what the URI holds


def _track(client: Client, config: PipelineConfig, place: Place, source: Source) -> Tracked:
    tracked, run_id = identity(source.manifests), source.record["run_id"]
    experiment = open_experiment(client, place)
    (parent,) = find_runs(client, experiment, "pipeline.tracked", tracked)[:1] or (None,)
    if parent is not None:
        client.set_tag(parent.info.run_id, "pipeline.last_run_id", run_id)
        if parent.info.status == "FINISHED":
            return Tracked("known", place.shown, place.experiment, parent.info.run_id, run_id)
    models = Models(
        client, Store(config.store_path), experiment, tracked, config.preprocess.features
    )
    if parent is not None:
        models.find()
    book = Book(client, experiment, source, models if settings_of(config).models else None)
    keys = source.largest(settings_of(config).segments)
    at = book.write_all(parent, keys, config.description)
    return Tracked(
        "tracked", place.shown, place.experiment, at, run_id, len(keys), len(models.known)
    )
