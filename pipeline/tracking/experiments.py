"""Experiments and runs of MLflow, found again."""

from __future__ import annotations

from typing import Any

from pipeline.errors import TrackingFailed
from pipeline.tracking.connection import Client
from pipeline.tracking.place import Place

PARENT = "mlflow.parentRunId"
"""The tag by which MLflow nests runs."""


def open_experiment(client: Client, place: Place) -> str:
    """The id of the place's experiment, which is made if it is not there.

    Raises:
        TrackingFailed: it was deleted, or keeps its files elsewhere.
    """
    found = client.get_experiment_by_name(place.experiment)
    if found is None:
        return str(client.create_experiment(place.experiment, artifact_location=place.artifacts))
    if found.lifecycle_stage != "active":
        raise TrackingFailed(
            f"tracking.mlflow.experiment: {place.experiment!r} was deleted in MLflow at "
            f"{place.shown}",
            hint="Restore it there, or name another experiment.",
        )
    if place.fixed and found.artifact_location.rstrip("/") != str(place.artifacts).rstrip("/"):
        raise TrackingFailed(
            f"experiment {place.experiment!r} in MLflow at {place.shown} keeps its files in "
            f"{found.artifact_location}, not in {place.artifacts}",
            hint="MLflow cannot change that; was the store moved? Name another experiment in "
            "tracking.mlflow.experiment.",
        )
    return str(found.experiment_id)


def find_runs(client: Client, experiment: str, tag: str, value: str) -> list[Any]:
    """Runs that have a tag, oldest first; those deleted in MLflow are none."""
    found: list[Any] = []
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment],
            filter_string=f"tags.`{tag}` = '{value}'",
            max_results=1000,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        found += page
        token = page.token
        if not token:
            return found
