"""``ingest``: raw files to typed Parquet, one folder a source, and a quarantine."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from pipeline.dataprep.ingest import ingest_all
from pipeline.errors import DataRefused, StageFailed
from pipeline.stages.context import StageContext
from pipeline.stages.increments import Increments
from pipeline.store.artifact import Outcome
from pipeline.store.fingerprint import HashCache
from pipeline.store.inputs import find_files

_SIDE_BY_SIDE = 4


def run(context: StageContext, folder: Path) -> Outcome:
    """Ingest every source; a raw file that changed while it was read fails the stage."""
    root, sources = Path(context.config.root), context.config.ingest.sources
    files = {name: find_files(root, source.paths, name) for name, source in sources.items()}
    every = [path for paths in files.values() for path in paths]
    before = HashCache(context.store).hashes(every)
    context.progress(0, 0, f"{len(every)} files of {len(sources)} sources")
    hashes = {name: {str(p): before[p] for p in paths} for name, paths in files.items()}
    scratch = folder / "_units"
    increments = Increments(context, hashes, scratch)
    try:
        results = ingest_all(
            context.engines.spark(),
            sources,
            {name: [str(path) for path in paths] for name, paths in files.items()},
            folder,
            _SIDE_BY_SIDE,
            increments.ingests,
        )
    except DataRefused:
        _keep_quarantine(context, folder)
        raise
    shutil.rmtree(scratch, ignore_errors=True)
    # Units were checked when they were read, before they were kept.
    whole = [p for name, paths in files.items() if not sources[name].incremental for p in paths]
    _check_unchanged(context, {path: before[path] for path in whole})
    _forget_quarantine(context)
    return Outcome(
        rows_in=sum(result.rows_in for result in results.values()),
        rows_out=sum(result.rows_out for result in results.values()),
        rows_quarantined=sum(result.rows_quarantined for result in results.values()),
        metrics={
            "sources": {
                name: {
                    "files": [_shown(path, root) for path in files[name]],
                    "description": sources[name].description,
                    **dataclasses.asdict(result),
                    **increments.metrics(name),
                }
                for name, result in results.items()
            }
        },
    )


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


def _check_unchanged(context: StageContext, before: dict[Path, str]) -> None:
    after = HashCache(context.store).hashes(before, fresh=True)
    for path, value in before.items():
        if after[path] != value:
            raise StageFailed(
                f"{path} changed while it was read",
                hint="Run again when nothing writes to it any more.",
            )


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
