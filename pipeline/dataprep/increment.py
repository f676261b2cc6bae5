"""Incremental ingest: read the units that are new or have changed, and put all together.

A unit's files and rows depend on nothing but its raw files and how they are read. What is about
all rows of a source together follows when the units are there: corrected rows, keys that are there
twice, and the limit on broken rows. So the table is the one that a full ingest makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from pipeline.config.incremental import IncrementalConfig
from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.assemble import assemble
from pipeline.dataprep.drift import Drift
from pipeline.dataprep.empty_columns import empty_columns
from pipeline.dataprep.ingest import (
    SourceResult,
    check_accounts,
    newest_of,
    refuse,
    write_source,
)
from pipeline.dataprep.judge_units import judge_units
from pipeline.dataprep.last_runs import LastRun
from pipeline.dataprep.quarantine import count_reasons
from pipeline.dataprep.read_lines import escape_glob
from pipeline.dataprep.read_units import UnitReader, unit_source
from pipeline.dataprep.rework import Rework
from pipeline.dataprep.rules import Parent
from pipeline.dataprep.schema import source_rules
from pipeline.dataprep.units import (
    RawUnit,
    batches,
    closed_before,
    late_days,
    only_relaxes,
    plan_units,
    shown_path,
    what_shapes,
)
from pipeline.errors import ConfigError, DataRefused
from pipeline.store.corrections import Correction
from pipeline.store.days import Days, partition_days
from pipeline.store.units import BAD, GOOD, Unit, UnitRecord, UnitStore, added, link, way

Note = Callable[..., None]
"""Called with the name of an event and its details."""


@dataclass(frozen=True)
class Before:
    """What the last published ingest had of a source.

    Attributes:
        units: unit's name → its key.
        newest: the last day that it has, of a source with partitions.
    """

    units: Mapping[str, str]
    newest: date | None


@dataclass(frozen=True)
class Increment:
    """What the ingest of one source's units is given.

    Attributes:
        files: absolute path of each raw file → its content hash.
        root: the project's folder.
        section: the source's part of the configuration as JSON, with secrets masked.
        code: versions of this code and of the libraries that shape a unit.
        store: where its units are kept.
        before: the last published ingest of it, if any.
        again: days whose partitions are read again, and are not late.
        force: read everything again.
        corrections: rows to take in the place of quarantined ones.
    """

    files: Mapping[str, str]
    root: Path
    section: Mapping[str, Any]
    code: Mapping[str, Any]
    store: UnitStore
    before: Before | None = None
    again: Days | None = None
    force: bool = False
    corrections: Sequence[Correction] = ()


@dataclass(frozen=True)
class UnitsUsed:
    """The units of an ingest.

    Attributes:
        units: unit's name → its key.
        changed: keys of those that corrections or repeated keys have changed.
        read: names of those that were read for it; the others were kept.
        late: partitions that were closed and are taken all the same.
        newest: the last day that the source has.
        corrected, unused: corrections that stand in the place of a quarantined row, and that do
            not because it is no longer there as it was.
    """

    units: dict[str, str]
    changed: list[str]
    read: list[str]
    late: list[str]
    newest: date | None
    corrected: int
    unused: int


def ingest_increment(
    spark: SparkSession,
    source: SourceConfig,
    name: str,
    given: Increment,
    good_path: Path,
    bad_path: Path,
    note: Note,
    parents: Mapping[str, Parent] | None = None,
    last: Sequence[LastRun] = (),
) -> tuple[SourceResult, UnitsUsed]:
    """Read what is new or has changed of a source, and write all of its rows.

    Args:
        parents, last: as ``ingest_source`` is given them.

    Raises:
        ConfigError: corrected rows wait for a source with filters or rules.
        DataRefused: as ``ingest_source`` does; a closed partition has late files.
        StageFailed: a file changed while it was read. Finished units are kept, whatever happens.
    """
    _refuse_corrections(source, name, given)
    ingest = _Ingest(spark, source, name, given, note)
    units = ingest.units()
    rework = Rework(spark, ingest.alone, name, source.key, given.store, ingest.how)
    named = partial(shown_path, root=given.root)
    final, corrections = rework.corrected(units, given.corrections, named)
    final = rework.unique(final, corrections)
    result = _put_together(spark, name, source, final, good_path, bad_path, parents or {}, last)
    result = replace(result, drift=sum(ingest.drifts, Drift()))
    used = UnitsUsed(
        units={unit.record.name: unit.key for unit in units},
        changed=sorted({unit.key for unit in final} - {unit.key for unit in units}),
        read=sorted(ingest.read),
        late=[str(days) for days in ingest.late],
        newest=max((days.last for unit in units for days in unit.record.days), default=None),
        corrected=len(corrections),
        unused=len(given.corrections) - len(corrections),
    )
    return result, used


def ingest_corrected(
    spark: SparkSession,
    source: SourceConfig,
    name: str,
    given: Increment,
    good_path: Path,
    bad_path: Path,
) -> tuple[SourceResult, int]:
    """Ingest a source as a whole, with corrected rows in the place of quarantined ones.

    Args:
        given: its store is the caller's to remove.

    Returns:
        What became of the rows, and how many are corrected ones.

    Raises:
        ConfigError: the source has filters or rules.
        DataRefused, StageFailed: as ``ingest_source`` does.
    """
    _refuse_corrections(source, name, given)
    with given.store.working_folder() as work:
        good, bad = work / GOOD, work / BAD
        found, _ = write_source(spark, source, name, list(given.files), good, bad)
        # Which file a row is from does not matter here: only corrected rows can come second.
        rows = {file: 0 for file in given.files} | {max(given.files): found.rows_out}
        counts = (found.rows_in, found.rows_out, found.rows_quarantined)
        whole = given.store.keep("whole", work, UnitRecord(name, *counts, good_rows=rows))
    rework = Rework(spark, unit_source(source), name, source.key, given.store, "whole")
    units, used = rework.corrected([whole], given.corrections, partial(shown_path, root=given.root))
    units = rework.unique(units, used) if used else units
    result = _put_together(spark, name, source, units, good_path, bad_path, {}, ())
    return replace(result, drift=found.drift), len(used)


@dataclass
class _Ingest:
    """Which units are kept, and which are read."""

    spark: SparkSession
    source: SourceConfig
    name: str
    given: Increment
    note: Note
    read: set[str] = field(default_factory=set)
    late: list[Days] = field(default_factory=list)
    drifts: list[Drift] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.source.incremental is not None
        self.plan: IncrementalConfig = self.source.incremental
        self.alone = unit_source(self.source)
        self.settings = {**what_shapes(self.given.section), **self.given.code}
        self.how = way(self.settings)

    def units(self) -> list[Unit]:
        """Every unit of the source, in the order of their files; those that are missing read."""
        given, store = self.given, self.given.store
        store.clear_leftovers()
        store.note_way(self.how, self.settings)
        planned = plan_units(self.name, self.plan, given.files, given.root, self.how)
        if self.plan.pattern is not None:
            self._take_or_refuse(self._changed_partitions(planned))
        kept = self._kept(planned)
        self._read([unit for unit in planned if unit.key not in kept], kept)
        if self.plan.column is not None:
            self._take_or_refuse(self._changed_days(planned, kept))
            self._read(self._to_reprocess(planned, kept), kept)
        return [kept[unit.key] for unit in planned]

    def _kept(self, planned: Sequence[RawUnit]) -> dict[str, Unit]:
        if self.given.force:
            return {}
        again = self.given.again
        kept = self.given.store.find(unit.key for unit in planned)
        for unit in planned:
            if same := kept.get(unit.key) or self._adopted(unit):
                kept[unit.key] = _as_planned(same, unit)
        return {
            key: unit
            for key, unit in kept.items()
            if again is None or not any(days.meets(again) for days in unit.record.days)
        }

    def _adopted(self, unit: RawUnit) -> Unit | None:
        """A unit that was read by stricter rules, and had no row that broke one."""
        store = self.given.store
        for other in store.of_same_files(unit.key):
            settings = store.settings_of(other.key)
            clean = not other.record.rows_quarantined
            if clean and settings and only_relaxes(settings, self.settings):
                with store.working_folder() as work:
                    for file in other.good:
                        link(file, work / GOOD / file.name)
                    return store.keep(unit.key, work, other.record)
        return None

    def _read(self, units: Sequence[RawUnit], kept: dict[str, Unit]) -> None:
        ordered = bool(self.source.key) and self.source.multiline
        rules = source_rules(self.spark, self.alone, self.name, ())
        reader = UnitReader(
            self.spark, self.alone, self.name, rules, self.given.store, ordered, self.drifts
        )
        for batch in batches(units):
            kept.update((unit.key, unit) for unit in reader.read(batch))
            names = [unit.name for unit in batch]
            self.read.update(names)
            self.note("units_read", source=self.name, units=names, of=len(units))

    def _changed(self, planned: Sequence[RawUnit]) -> set[str]:
        """Names of units that are new, gone or of other files than in the last ingest."""
        if self.given.before is None:
            return set()
        now = {unit.name: _files_of(unit.key) for unit in planned}
        then = {name: _files_of(key) for name, key in self.given.before.units.items()}
        return {name for name in {*now, *then} if now.get(name) != then.get(name)}

    def _changed_partitions(self, planned: Sequence[RawUnit]) -> list[Days]:
        found = (partition_days(name) for name in self._changed(planned))
        return [days for days in found if days is not None]

    def _changed_days(self, planned: Sequence[RawUnit], kept: Mapping[str, Unit]) -> list[Days]:
        before, changed = self.given.before, self._changed(planned)
        old = self.given.store.find(
            key for name, key in (before.units if before else {}).items() if name in changed
        )
        new = [kept[unit.key] for unit in planned if unit.name in changed]
        return [days for unit in (*old.values(), *new) for days in unit.record.days]

    def _take_or_refuse(self, changed: Sequence[Days]) -> None:
        newest = self.given.before.newest if self.given.before else None
        open_from = closed_before(newest, self.plan)
        self.late = late_days(changed, open_from, self.given.again)
        if self.late and self.plan.late == "refuse":
            shown = ", ".join(map(str, self.late[:5]))
            more = f" and {len(self.late) - 5} more" if len(self.late) > 5 else ""
            raise DataRefused(
                f"source {self.name}: files of closed partitions are new, changed or gone: "
                f"{shown}{more}. Open is what ends on {open_from} or later: "
                f"{self.plan.watermark_days} days before {newest}",
                hint=f"pipeline backfill --from {self.late[0].first} --to {self.late[-1].last} "
                f"takes them; ingest.sources.{self.name}.incremental.late: take always does.",
            )

    def _to_reprocess(self, planned: Sequence[RawUnit], kept: Mapping[str, Unit]) -> list[RawUnit]:
        if self.plan.late != "reprocess" or not self.late:
            return []
        return [
            unit
            for unit in planned
            if unit.name not in self.read
            and any(a.meets(b) for a in kept[unit.key].record.days for b in self.late)
        ]


def _as_planned(unit: Unit, planned: RawUnit) -> Unit:
    """A unit that may have been read when its files were called otherwise."""
    days = (planned.days,) if planned.days else unit.record.days
    return replace(unit, record=replace(unit.record, name=planned.name, days=days))


def _files_of(key: str) -> str:
    return key.partition("-")[0]


def _refuse_corrections(source: SourceConfig, name: str, given: Increment) -> None:
    if given.corrections and (source.filters or source.rules):
        raise ConfigError(
            f"source {name}: {len(given.corrections):,} corrected rows wait for a source that has "
            "filters or rules, which cannot take them",
            hint="correct the rows in the raw files, and remove the corrections",
        )


def _put_together(
    spark: SparkSession,
    name: str,
    source: SourceConfig,
    units: Sequence[Unit],
    good_path: Path,
    bad_path: Path,
    parents: Mapping[str, Parent],
    last: Sequence[LastRun],
) -> SourceResult:
    total = added([unit.record for unit in units])
    dropped = {by: total.dropped.get(by, 0) for by in source.filters}
    reasons = count_reasons(assemble(units, good_path, bad_path))
    rules, statistics = judge_units(
        source_rules(spark, source, name, parents),
        total,
        reasons,
        lambda: spark.read.parquet(escape_glob(str(good_path))),
        last,
        partial(newest_of, parents),
    )
    result = SourceResult(
        total.rows_in,
        total.rows_out,
        total.rows_quarantined,
        {reason.name: reason.count for reason in reasons},
        rows_dropped=dropped,
        empty_columns=empty_columns(sorted(good_path.glob("*.parquet"))),
        rules=rules,
        statistics=statistics,
    )
    check_accounts(name, result)
    refuse(name, source, result, reasons)
    return result
