"""``tracking``: where runs are noted beside the store. Never part of a fingerprint."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from pipeline.config.section import Section

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Databases that MLflow keeps runs in; a driver may be named too: ``postgresql+psycopg2``."""


def _uri(value: str) -> str:
    found = re.match(r"([a-z0-9]+)(\+[a-z0-9_]+)?://", value)
    if found is None or not (found[1] in DATABASES or value.startswith(("http://", "https://"))):
        # The value itself is not shown: it may be, or hold, a password.
        raise ValueError(
            "must be the URI of a database (sqlite:///FILE, postgresql://…, mysql://…, mssql://…) "
            f"or of a server (http://… or https://…). Got {_kind(value)} instead"
        )
    if found[1] == "sqlite" and len(value) <= len("sqlite:///"):
        raise ValueError("must name a file: sqlite:///FILE. Got a database in memory instead")
    return value


def _kind(value: str) -> str:
    scheme, separator, _ = value.partition("://")
    return f"{scheme}://…" if separator and scheme.isalnum() else "text without such a scheme"


class MlflowConfig(Section):
    """A run of MLflow for each run of the pipeline, and below it one for each segment.

    ``mlflow: {}`` tracks in a SQLite file in the store. A server's user and password come from the
    environment: in ``uri`` as ``${env:NAME}``, or as MLflow's own ``MLFLOW_TRACKING_USERNAME``,
    ``MLFLOW_TRACKING_PASSWORD`` or ``MLFLOW_TRACKING_TOKEN``.
    """

    uri: Annotated[str, AfterValidator(_uri)] | None = Field(
        default=None,
        repr=False,
        description="a database or a server; left out, sqlite in STORE/mlflow/mlflow.db",
    )
    artifacts: str | None = Field(
        default=None,
        description="a folder or URI for files and models; left out, what a server chooses, and "
        "STORE/mlflow/artifacts for a database",
    )
    experiment: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="left out, the pipeline's name"
    )
    segments: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=200, description="as many segments, those with most rows, get a run of their own"
    )
    models: bool = Field(
        default=True, description="log the models of these segments, as skops files"
    )


class TrackingConfig(Section):
    """Left out, nothing is tracked, and no package of a tracker is needed."""

    mlflow: MlflowConfig | None = None
