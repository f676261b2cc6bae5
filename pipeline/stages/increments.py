"""What the incremental sources of an ingest are given, and what becomes of their units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pipeline
from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.increment import (
    Before,
    Increment,
    UnitsUsed,
    ingest_corrected,
    ingest_increment,
)
from pipeline.dataprep.ingest import Ingest, SourceResult
from pipeline.dataprep.last_runs import LastRun
from pipeline.dataprep.rules import Parent
from pipeline.stages.context import StageContext
from pipeline.store.artifact import published
from pipeline.store.corrections import Correction, corrections_path, read_corrections
from pipeline.store.fingerprint import code_version, library_versions
from pipeline.store.units import UnitStore

CODE = ("dataprep", "store/units.py")
LIBRARIES = ("pyspark", "pyarrow")
_UNITS = "units"


class Increments:
    """The sources of one ingest that are not simply read as a whole.

    Attributes:
        ingests: how each of them is ingested.
    """

    def __init__(
        self, context: StageContext, hashes: Mapping[str, Mapping[str, str]], scratch: Path
    ) -> None:
        """Hashes: source → absolute path of each of its files → content hash."""
        self._context, self._hashes, self._scratch = context, hashes, scratch
        self._used: dict[str, dict[str, Any]] = {}
        self.ingests: dict[str, Ingest] = {}
        sources = context.config.ingest.sources
        self._before = _before(context) if any(s.incremental for s in sources.values()) else {}
        for name, source in sources.items():
            corrections = _corrections(context, name) if source.is_local else []
            if source.incremental is not None:
                self.ingests[name] = partial(self._by_units, name, source, corrections)
            elif corrections:
                self.ingests[name] = partial(self._corrected, name, source, corrections)

    def metrics(self, name: str) -> dict[str, Any]:
        """What the manifest says of a source's units and corrected rows; nothing of others."""
        return self._used.get(name, {})

    def _by_units(
        self,
        name: str,
        source: SourceConfig,
        corrections: Sequence[Correction],
        good: Path,
        bad: Path,
        parents: Mapping[str, Parent],
        last: Sequence[LastRun],
    ) -> SourceResult:
        given = self._given(name, unit_store(self._context, name), corrections)
        spark, note = self._context.engines.spark(), self._context.log.event
        result, used = ingest_increment(spark, source, name, given, good, bad, note, parents, last)
        self._used[name] = _summary(used)
        kept = len(used.units) - len(used.read)
        note("units", source=name, read=used.read, kept=kept, late=used.late)
        return result

    def _corrected(
        self,
        name: str,
        source: SourceConfig,
        corrections: Sequence[Correction],
        good: Path,
        bad: Path,
        _parents: Mapping[str, Parent],
        _last: Sequence[LastRun],
    ) -> SourceResult:
        given = self._given(name, UnitStore(self._scratch / name), corrections)
        spark = self._context.engines.spark()
        result, corrected = ingest_corrected(spark, source, name, given, good, bad)
        unused = len(corrections) - corrected
        self._used[name] = {"rows_corrected": corrected, "corrections_unused": unused}
        return result

    def _given(self, name: str, store: UnitStore, corrections: Sequence[Correction]) -> Increment:
        context = self._context
        return Increment(
            files=self._hashes[name],
            root=Path(context.config.root),
            section=context.config.stage("ingest")["sources"][name],
            code={
                "code_version": code_version(Path(pipeline.__file__).parent, CODE),
                "versions": library_versions(LIBRARIES),
            },
            store=store,
            before=self._before.get(name),
            again=context.again,
            force="ingest" in context.force,
            corrections=corrections,
        )


def unit_store(context: StageContext, name: str) -> UnitStore:
    """Where the units of a source are kept."""
    return UnitStore(context.store.parts("ingest") / context.config.name / name)


def _summary(used: UnitsUsed) -> dict[str, Any]:
    return {
        "rows_corrected": used.corrected,
        "corrections_unused": used.unused,
        "units_read": used.read,
        "units_kept": len(used.units) - len(used.read),
        "units_changed": used.changed,
        "late": used.late,
        "newest": used.newest.isoformat() if used.newest else None,
        _UNITS: used.units,
    }


def _before(context: StageContext) -> dict[str, Before]:
    earlier = published(context.store, "ingest", context.config.name)
    sources = earlier[-1].manifest.metrics.get("sources", {}) if earlier else {}
    return {
        name: Before(
            source[_UNITS], date.fromisoformat(source["newest"]) if source["newest"] else None
        )
        for name, source in sources.items()
        if _UNITS in source
    }


def _corrections(context: StageContext, name: str) -> list[Correction]:
    path = corrections_path(context.config, name)
    return read_corrections(path) if path.is_file() else []
