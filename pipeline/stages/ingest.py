"""``ingest``: raw files and tables to typed Parquet, one folder a source, and a quarantine."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.dataprep.ingest import ingest_all
from pipeline.dataprep.last_runs import LastRun, last_runs
from pipeline.errors import DataRefused, PipelineError, StageFailed
from pipeline.stages.context import StageContext
from pipeline.stages.increments import Increments
from pipeline.stages.raw import Raw, fetch_raw
from pipeline.store.artifact import Outcome, published
from pipeline.store.fingerprint import HashCache
from pipeline.store.inputs import find_inputs
from pipeline.store.objects import with_uris

_SIDE_BY_SIDE = 4
_FETCHED, _UNITS = "_fetched", "_units"


def run(context: StageContext, folder: Path) -> Outcome:
    """Ingest every source; a raw file that changed while it was read fails the stage."""
    sources = context.config.ingest.sources
    raw = fetch_raw(context, folder / _FETCHED)
    count = sum(len(source.shown) for source in raw.values())
    context.progress(0, 0, f"{count} files and tables of {len(sources)} sources")
    hashes = {name: source.local_hashes for name, source in raw.items()}
    increments = Increments(context, hashes, folder / _UNITS)
    with _refusals_kept(context, folder):
        results = ingest_all(
            context.engines.spark(),
            sources,
            {name: [str(path) for path in source.files] for name, source in raw.items()},
            folder,
            _SIDE_BY_SIDE,
            increments.ingests,
            _last_runs(context, raw),
        )
    for name in (_FETCHED, _UNITS):
        shutil.rmtree(folder / name, ignore_errors=True)
    _check_unchanged(context, raw)
    _forget_quarantine(context)
    return Outcome(
        rows_in=sum(result.rows_in for result in results.values()),
        rows_out=sum(result.rows_out for result in results.values()),
        rows_quarantined=sum(result.rows_quarantined for result in results.values()),
        metrics={
            "sources": {
                name: {
                    "files": raw[name].shown,
                    "description": sources[name].description,
                    **dataclasses.asdict(result),
                    **increments.metrics(name),
                }
                for name, result in results.items()
            }
        },
        inputs={key: value for source in raw.values() for key, value in source.found.items()},
    )


@contextmanager
def _refusals_kept(context: StageContext, folder: Path) -> Iterator[None]:
    """Of refused data leave what people need; name objects by their URI, not by their copies."""
    try:
        yield
    except PipelineError as error:
        if isinstance(error, DataRefused):
            _keep_quarantine(context, folder)
        raise type(error)(with_uris(error.message), hint=error.hint) from error


def _last_runs(context: StageContext, raw: dict[str, Raw]) -> dict[str, list[LastRun]]:
    """What earlier artifacts say of each source."""

    def pick(source: str) -> Callable[[dict[str, Any]], Any]:
        return lambda metrics: metrics["sources"].get(source, {}).get("statistics")

    earlier = published(context.store, "ingest", context.config.name)
    # A run is planned as if tables held what they held last, and may find other rows in them.
    found = {key: value for source in raw.values() for key, value in source.found.items()}
    last = {a.manifest.fingerprint: a.manifest.inputs for a in earlier}.get(context.fingerprint, {})
    own = context.fingerprint if found.items() <= last.items() else ""
    return {name: last_runs(earlier, own, pick(name)) for name in context.config.ingest.sources}


def _keep_quarantine(context: StageContext, folder: Path) -> None:
    """Of an ingest that publishes nothing, leave what people need to see why."""
    for source in context.config.ingest.sources:
        target = context.store.refused(source, context.config.name)
        shutil.rmtree(target, ignore_errors=True)
        parts = sorted((folder / "quarantine" / source).glob("*.parquet"))
        for part in parts:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(part, target / part.name)


def _forget_quarantine(context: StageContext) -> None:
    for source in context.config.ingest.sources:
        shutil.rmtree(context.store.refused(source, context.config.name), ignore_errors=True)


def _check_unchanged(context: StageContext, raw: dict[str, Raw]) -> None:
    root, cache = Path(context.config.root), HashCache(context.store)
    for name, source in context.config.ingest.sources.items():
        if source.incremental is not None:
            continue  # its units were checked when they were read, before they were kept
        after = find_inputs(root, source, name, cache, fresh=True).hashes
        for file, value in raw[name].hashes.items():
            if after.get(file) != value:
                raise StageFailed(
                    f"{file} changed while it was read",
                    hint="Run again when nothing writes to it any more.",
                )
