"""``ingest``: raw files to typed Parquet, one folder a source, and a quarantine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pipeline.dataprep.ingest import ingest_all
from pipeline.errors import StageFailed
from pipeline.stages.context import StageContext
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
    results = ingest_all(
        context.engines.spark(),
        sources,
        {name: [str(path) for path in paths] for name, paths in files.items()},
        folder,
        _SIDE_BY_SIDE,
    )
    _check_unchanged(context, before)
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
                }
                for name, result in results.items()
            }
        },
    )


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
