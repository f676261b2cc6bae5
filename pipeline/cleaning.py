"""Remove what nobody needs any more from a store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pipeline.config import STAGES, PipelineConfig
from pipeline.models.registry import Registry
from pipeline.planning import plan
from pipeline.store import Store
from pipeline.store.artifact import clear_leftovers, published
from pipeline.store.lock import exclusive
from pipeline.store.runlog import list_runs
from pipeline.store.units import UnitStore

RUNS_KEPT = 30


def clean_store(config: PipelineConfig, *, keep: int, dry_run: bool) -> list[dict[str, Any]]:
    """Remove this pipeline's old artifacts and runs; returns what was (or would be) removed.

    What stays: the ``keep`` newest artifacts of each stage, those that the current configuration
    would skip to, those that a version in the registry rests on, the units that these are made of,
    and the 30 newest runs.
    """
    store = Store(config.store_path)
    with exclusive(store, config.name, "clean"):
        if not dry_run:
            clear_leftovers(store)
        needed = {p.fingerprint for p in plan(config)}
        needed |= _registered(Registry(store.root, config.name))
        removed = []
        for stage in STAGES:
            for artifact in published(store, stage, config.name)[:-keep]:
                if artifact.manifest.fingerprint not in needed:
                    removed.append(_remove(artifact.folder, f"{stage} artifact", dry_run))
        removed += _remove_units(store, config.name, dry_run, {item["name"] for item in removed})
        for run in list_runs(store, config.name)[:-RUNS_KEPT]:
            removed.append(_remove(store.runs / run["run_id"], "run", dry_run))
        return removed


def _remove_units(
    store: Store, pipeline: str, dry_run: bool, removed: set[str]
) -> list[dict[str, Any]]:
    """Units of incremental sources that no ingest artifact is made of any more.

    Removing one that an artifact shares its files with would free nothing, and cost a read.
    """
    used: set[str] = set()
    for artifact in published(store, "ingest", pipeline):
        if artifact.manifest.fingerprint not in removed:
            for source in artifact.manifest.metrics["sources"].values():
                used.update(source.get("units", {}).values(), source.get("units_changed", ()))
    folders = sorted((store.parts("ingest") / pipeline).glob("*/"))
    unused = [path for folder in folders for path in UnitStore(folder).unused(used)]
    return [_remove(path, f"unit of {path.parent.name}", dry_run) for path in unused]


def _registered(registry: Registry) -> set[str]:
    """Train artifacts that a rollback may need."""
    versions = (registry.show(name) for name in registry.versions())
    return {entry.fingerprint for version in versions for entry in version.entries.values()}


def _remove(folder: Path, kind: str, dry_run: bool) -> dict[str, Any]:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if not dry_run:
        shutil.rmtree(folder)
    return {"what": kind, "name": folder.name, "bytes": size}
