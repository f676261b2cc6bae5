"""A client of MLflow, and what MLflow must not do meanwhile: talk, phone home, or wait for long."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from pipeline.tracking.place import Place

Client: TypeAlias = Any
"""An ``mlflow.MlflowClient``; MLflow is imported only where something is tracked."""

_SETTINGS = {
    # MLflow sends its makers what is used, unless told not to before it is imported.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # By default a server that is down is waited for for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""For the environment, where the user has set nothing else."""

_TALKERS = ("mlflow", "alembic", "urllib3.connectionpool")


@contextmanager
def connected(place: Place) -> Iterator[Client]:
    """A client; MLflow's global URI, which logging a model needs, is this place's meanwhile."""
    with _environment(_SETTINGS):
        import mlflow

        before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
        with _quiet(_TALKERS):
            mlflow.set_tracking_uri(place.uri)
            try:
                yield mlflow.MlflowClient(place.uri)
            finally:
                mlflow.set_tracking_uri(before)


@contextmanager
def _environment(defaults: Mapping[str, str]) -> Iterator[None]:
    added = [name for name in defaults if name not in os.environ]
    os.environ.update({name: defaults[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _quiet(names: tuple[str, ...]) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
