"""What ``ingest`` reads: files where they lie, copies of objects, and tables as they landed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config.ingest import SourceConfig
from pipeline.engines.tables import ask, driver_jar
from pipeline.errors import StageFailed
from pipeline.stages.context import StageContext
from pipeline.store.fingerprint import HashCache, digest
from pipeline.store.inputs import find_inputs, table_input
from pipeline.store.objects import copy_objects

_SIDE_BY_SIDE = 4


@dataclass(frozen=True)
class Raw:
    """One source, ready to be read.

    Attributes:
        files: local files.
        shown: what they are, as reports name it.
        hashes: content hash by shown name, of files that may still change.
        local_hashes: content hash by absolute path, of files that are on this machine anyway.
        found: what identifies a table's rows, by the name of the input.
    """

    files: list[Path]
    shown: list[str]
    hashes: dict[str, str] = field(default_factory=dict)
    local_hashes: dict[str, str] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)


def fetch_raw(context: StageContext, folder: Path) -> dict[str, Raw]:
    """Find the files of every source; bring below ``folder`` what is not on this machine.

    Raises:
        DataRefused: a file, an object or a table is not there or cannot be read.
        StageFailed: a table or an object changed while it was read; a database failed.
    """
    sources = context.config.ingest.sources
    if any(not source.paths for source in sources.values()):
        context.engines.spark()  # in the main thread, as engines must be

    def fetch(name: str) -> Raw:
        if sources[name].paths:
            return _files(context, name, sources[name], folder / name)
        return _table(context, name, sources[name], folder / name)

    with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="fetch") as pool:
        return dict(zip(sources, pool.map(fetch, sources), strict=True))


def _files(context: StageContext, name: str, source: SourceConfig, folder: Path) -> Raw:
    root = Path(context.config.root)
    inputs = find_inputs(root, source, name, HashCache(context.store))
    copies = copy_objects(name, inputs.remote, source.storage, folder)
    shown = [*map(inputs.shown, inputs.local), *copies]
    local = {str(path): value for path, value in inputs.local.items()}
    return Raw([*inputs.local, *copies.values()], shown, inputs.hashes, local)


def _table(context: StageContext, name: str, source: SourceConfig, folder: Path) -> Raw:
    from pipeline.dataprep.landing import land

    config, jdbc = context.config, source.jdbc
    has_version = jdbc is not None and jdbc.version is not None
    before = ask(config, name, jdbc) if jdbc is not None and has_version else None
    jar = driver_jar(config, name)
    landed = land(context.engines.spark(), source, name, jar, folder)
    after = ask(config, name, jdbc) if jdbc is not None and has_version else None
    if before != after:
        raise StageFailed(
            f"source {name}: {source.place} changed while it was read: "
            f"its version was {before}, and is {after}",
            hint="Run again when nothing writes to it any more.",
        )
    found = landed.content if before is None else digest(before)
    return Raw(landed.files, [source.place], found={table_input(name, source): found})
