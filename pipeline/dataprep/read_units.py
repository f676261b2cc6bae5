"""Read units of a source, many in one Spark job, and keep each when its job is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.drift import Drift
from pipeline.dataprep.ingest import SourceResult, write_source
from pipeline.dataprep.parts import write_parts
from pipeline.dataprep.read import POSITION
from pipeline.dataprep.split_units import days_in, split_units
from pipeline.dataprep.units import RawUnit, batches, is_big
from pipeline.errors import StageFailed
from pipeline.store.days import Days
from pipeline.store.fingerprint import sha256_files
from pipeline.store.units import BAD, GOOD, Unit, UnitRecord, UnitStore

Made = tuple[Path, UnitRecord]
"""A folder with ``good/`` and ``quarantine/``, and its record but for the files."""


def without_key(source: SourceConfig) -> SourceConfig:
    """A source whose key is looked for later; what is in it must not be null all the same."""
    columns = {
        name: column.model_copy(update={"nullable": False}) if name in source.key else column
        for name, column in source.columns.items()
    }
    return source.model_copy(update={"columns": columns, "key": ()})


@dataclass(frozen=True)
class UnitReader:
    """Reads units of one source, and keeps them.

    Attributes:
        source: without its key.
        ordered: whether Spark must sort the rows of a big file to have them as they stand in it.
        drifts: takes the drift of the files that are read.
    """

    spark: SparkSession
    source: SourceConfig
    name: str
    store: UnitStore
    ordered: bool
    drifts: list[Drift]

    def read(self, units: Sequence[RawUnit]) -> list[Unit]:
        """Read the units of one batch.

        Raises:
            StageFailed: a file is not what its hash says, or the rows do not add up.
        """
        with self.store.working_folder() as work:
            made = [self._big(units[0], work)] if is_big(units[0]) else self._small(units, work)
            _check_unchanged(units)
            return [self.store.keep(unit.key, *one) for unit, one in zip(units, made, strict=True)]

    def _small(self, units: Sequence[RawUnit], work: Path) -> list[Made]:
        files = [file for unit in units for file in unit.files]
        good, bad = work / "good", work / "bad"
        result, _ = write_source(
            self.spark, self.source, self.name, files, good, bad, keep=POSITION
        )
        self.drifts.append(result.drift)
        made = list(split_units(units, good, bad, work / "units", self._days_of))
        self._check(result, [record for _, record in made])
        return made

    def _big(self, unit: RawUnit, work: Path) -> Made:
        """A unit of more than one batch: its files batch by batch, each into files of its own."""
        pieces = [
            RawUnit(unit.name, {file: value}, Path(file).stat().st_size, unit.days, "")
            for file, value in unit.files.items()
        ]
        target, records = work / "unit", []
        for number, group in enumerate(batches(pieces)):
            folder = work / str(number)
            folder.mkdir()
            made = (
                [self._file(group[0], folder)] if is_big(group[0]) else self._small(group, folder)
            )
            for part, record in made:
                records.append(record)
                for below in (GOOD, BAD):
                    _move_parts(part / below, target / below)
        return target, _added(records)

    def _file(self, piece: RawUnit, work: Path) -> Made:
        """A big file as Spark writes it, side by side."""
        (file,) = piece.files
        good, bad = work / GOOD, work / BAD
        written, keep = (work / "unordered", POSITION) if self.ordered else (good, ())
        result, _ = write_source(
            self.spark, self.source, self.name, [file], written, bad, keep=keep
        )
        self.drifts.append(result.drift)
        if self.ordered:
            rows = self.spark.read.parquet(str(written)).orderBy(*POSITION)
            write_parts(rows.drop(*POSITION), good)
        if not result.rows_quarantined:
            for empty in bad.iterdir():
                empty.unlink()
        days: tuple[Days, ...] = (piece.days,) if piece.days else ()
        if column := self._days_of:
            days = days_in(pq.read_table(good, columns=[column]), column)
        record = UnitRecord(
            piece.name,
            result.rows_in,
            result.rows_out,
            result.rows_quarantined,
            good_rows={file: result.rows_out},
            days=days,
        )
        return work, record

    @property
    def _days_of(self) -> str | None:
        return self.source.incremental.column if self.source.incremental else None

    def _check(self, result: SourceResult, records: Sequence[UnitRecord]) -> None:
        added = _added(records)
        if (added.rows_in, added.rows_out) != (result.rows_in, result.rows_out):
            raise StageFailed(
                f"source {self.name}: {result.rows_in:,} rows read, but its units have "
                f"{added.rows_in:,}",
                hint="a file changed while it was read; run again",
            )


def _added(records: Sequence[UnitRecord]) -> UnitRecord:
    """The record of units together."""
    return replace(
        records[0],
        rows_in=sum(record.rows_in for record in records),
        rows_out=sum(record.rows_out for record in records),
        rows_quarantined=sum(record.rows_quarantined for record in records),
        good_rows={file: n for record in records for file, n in record.good_rows.items()},
        days=tuple(sorted({days for record in records for days in record.days})),
    )


def _move_parts(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    number = sum(1 for _ in target.iterdir())
    for path in sorted(source.iterdir()) if source.is_dir() else []:
        path.rename(target / f"part-{number:05d}.parquet")
        number += 1


def _check_unchanged(units: Sequence[RawUnit]) -> None:
    files = {Path(file): value for unit in units for file, value in unit.files.items()}
    for path, found in zip(files, sha256_files(files), strict=True):
        if found != files[path]:
            raise StageFailed(
                f"{path} changed while it was read",
                hint="Run again when nothing writes to it any more.",
            )
