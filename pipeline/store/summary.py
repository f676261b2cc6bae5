"""What came out of a run, gathered from its record and the artifacts that it made or used."""

from __future__ import annotations

from typing import Any

from pipeline.errors import StoreError
from pipeline.store.artifact import open_artifact
from pipeline.store.layout import Store
from pipeline.store.manifest import Manifest
from pipeline.store.runlog import find_run


def summarise(store: Store, run: str, pipeline: str | None = None) -> dict[str, Any]:
    """A run's record with rows by source, the champions, and the error on the test rows."""
    record = find_run(store, run, pipeline)
    manifests = {}
    for stage in record["stages"]:
        manifest = _manifest(store, stage["stage"], stage["fingerprint"])
        if manifest is not None:
            manifests[stage["stage"]] = manifest
    return record | {
        "sources": _sources(manifests.get("ingest")),
        "champions": _champions(manifests.get("train")),
        "test": _pick(manifests.get("infer"), "overall"),
        "report": str(store.runs / record["run_id"] / "report.html"),
    }


def _manifest(store: Store, stage: str, fingerprint: str) -> Manifest | None:
    try:
        artifact = open_artifact(store, stage, fingerprint)
    except StoreError:
        return None
    return artifact.manifest if artifact else None


def _sources(manifest: Manifest | None) -> dict[str, Any]:
    sources = manifest.metrics.get("sources", {}) if manifest else {}
    keys = ("rows_in", "rows_out", "rows_quarantined")
    return {
        name: {key: source[key] for key in keys}
        | {"rows_dropped": sum(source.get("rows_dropped", {}).values())}
        for name, source in sources.items()
    }


def dropped_by_filters(manifest: Manifest) -> int:
    """Rows that the declared filters of all sources dropped; 0 of stages that have none."""
    return sum(source["rows_dropped"] for source in _sources(manifest).values())


def _champions(manifest: Manifest | None) -> dict[str, Any]:
    if manifest is None:
        return {}
    metrics = manifest.metrics
    return {
        "segments": metrics.get("segments"),
        **metrics.get("champions_by_candidate", {}),
        "fallbacks": len(metrics.get("fallbacks", [])),
    }


def _pick(manifest: Manifest | None, key: str) -> dict[str, Any]:
    found = manifest.metrics.get(key, {}) if manifest else {}
    return dict(found)
