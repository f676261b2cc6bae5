"""Whether tables of databases and catalogs have changed, as far as that is known without Spark.

A table has no file to hash. With a ``version`` query its database says whether it changed, in a
JVM that holds nothing but the driver. Without one, and for tables of Spark's catalog, which only
Spark can ask, ingest reads the table in every run; what follows is made again only if the rows
are not those of the last time.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.jdbc import JdbcConfig
from pipeline.config.pipeline import PipelineConfig
from pipeline.engines.database import ask_version
from pipeline.errors import ConfigError
from pipeline.store import Store
from pipeline.store.artifact import published
from pipeline.store.fingerprint import digest
from pipeline.store.inputs import table_input
from pipeline.store.layout import write_text

NOT_READ = "not read yet"


@dataclass(frozen=True)
class RawTables:
    """The sources that are no files.

    Attributes:
        hashes: what identifies their rows, by the name of the input.
        unsure: sources of which only reading tells whether they changed.
    """

    hashes: dict[str, str]
    unsure: Sequence[str]

    @property
    def reason(self) -> str:
        """Why ingest runs though nothing is known to have changed."""
        names = ", ".join(self.unsure[:3]) + (", …" if len(self.unsure) > 3 else "")
        return f"{names}: read in every run, having no version"


def raw_tables(
    config: PipelineConfig, store: Store, found: Mapping[str, str] | None = None
) -> RawTables:
    """Ask for versions; for tables without one take what was ``found``, or was found last.

    Raises:
        StageFailed: a database cannot be asked.
    """
    tables = {name: s for name, s in config.ingest.sources.items() if not s.paths}
    if not tables:
        return RawTables({}, ())
    last = found if found is not None else _found_last(config, store)
    hashes, unsure = {}, []
    for name, source in tables.items():
        key = table_input(name, source)
        if found is not None and key in found:
            hashes[key] = found[key]
        elif source.jdbc is not None and source.jdbc.version is not None:
            hashes[key] = digest(ask(config, name, source.jdbc))
        else:
            hashes[key] = last.get(key, NOT_READ)
            unsure.append(name)
    return RawTables(hashes, unsure)


def ask(config: PipelineConfig, name: str, jdbc: JdbcConfig) -> str:
    """The answer to a source's ``version`` query now.

    Raises:
        StageFailed: the database cannot be asked.
        ConfigError: the driver's jar is not there.
    """
    jar = driver_jar(config, name)
    given = config.engines.spark.conf.get("spark.jars", "")
    jars = [jar] if jar is not None else [Path(text) for text in given.split(",") if text]
    return ask_version(name, jdbc, jars)


def driver_jar(config: PipelineConfig, name: str) -> Path | None:
    """The file that a source names as its driver.

    Raises:
        ConfigError: it is not there.
    """
    jdbc = config.ingest.sources[name].jdbc
    if jdbc is None or jdbc.driver_jar is None:
        return None
    path = config.path(jdbc.driver_jar)
    if not path.is_file():
        raise ConfigError(
            f"ingest.sources.{name}.jdbc.driver_jar: no such file: {path}",
            hint="download the driver of the database there, or install its package",
        )
    return path


def note_found(config: PipelineConfig, store: Store, found: Mapping[str, str]) -> None:
    """Remember what ingest found in tables: it may be what an older artifact has."""
    write_text(_notes(config, store), json.dumps(dict(found)))


def _found_last(config: PipelineConfig, store: Store) -> Mapping[str, str]:
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, str] = json.loads(_notes(config, store).read_text(encoding="utf-8"))
        return found
    earlier = published(store, "ingest", config.name)  # the notes are no more than a cache
    return earlier[-1].manifest.inputs if earlier else {}


def _notes(config: PipelineConfig, store: Store) -> Path:
    return store.cache / f"tables-{config.name}.json"
