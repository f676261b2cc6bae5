"""Read units of a source, many in one Spark job, and keep each when its job is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from pipeline.config.ingest import SourceConfig
from pipeline.config.rules import RowAloneRule
from pipeline.dataprep.drift import Drift
from pipeline.dataprep.ingest import SourceResult, write_source
from pipeline.dataprep.marks import count_marks, first_of, without_marks
from pipeline.dataprep.parts import write_parts
from pipeline.dataprep.read import POSITION
from pipeline.dataprep.rules import TableRules
from pipeline.dataprep.split_units import Counts, days_in, split_units
from pipeline.dataprep.units import RawUnit, batches, is_big
from pipeline.dataprep.verdict import RuleResult
from pipeline.errors import StageFailed
from pipeline.store.days import Days
from pipeline.store.fingerprint import sha256_files
from pipeline.store.units import BAD, GOOD, RuleCount, Unit, UnitRecord, UnitStore, added

Made = tuple[Path, UnitRecord]
"""A folder with ``good/`` and ``quarantine/``, and its record but for the files."""


def unit_source(source: SourceConfig) -> SourceConfig:
    """A source as its units are read: without what is about all of its rows together.

    Its key is looked for later; what is in it must not be null all the same.
    """
    columns = {
        name: column.model_copy(update={"nullable": False}) if name in source.key else column
        for name, column in source.columns.items()
    }
    rules = {n: rule for n, rule in source.rules.items() if isinstance(rule, RowAloneRule)}
    return source.model_copy(update={"columns": columns, "key": (), "rules": rules})


@dataclass(frozen=True)
class UnitReader:
    """Reads units of one source, and keeps them.

    Attributes:
        source: as ``unit_source`` gives it.
        rules: its filters and rules.
        ordered: whether Spark must sort the rows of a big file to have them as they stand in it.
        drifts: takes the drift of the files that are read.
    """

    spark: SparkSession
    source: SourceConfig
    name: str
    rules: TableRules
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
        ruled = bool(self.rules.filters or self.rules.rules)
        result, _ = write_source(
            self.spark, self.source, self.name, files, good, bad, keep=POSITION, marked=ruled
        )
        self.drifts.append(result.drift)
        rows = pq.read_table(good)
        counts: Counts = {}
        if ruled:
            rows = without_marks(rows, self.rules)
            counts = count_marks(self.spark, good, self.rules, self.source, self.name, files)
        made = list(split_units(units, rows, bad, work / "units", self._days_of, counts))
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
        return target, added(records)

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
            dropped=result.rows_dropped,
            rules={rule.name: _count(rule) for rule in result.rules},
            good_rows={file: result.rows_out},
            days=days,
        )
        return work, record

    @property
    def _days_of(self) -> str | None:
        return self.source.incremental.column if self.source.incremental else None

    def _check(self, result: SourceResult, records: Sequence[UnitRecord]) -> None:
        total = added(records)
        if (total.rows_in, total.rows_out) != (result.rows_in, result.rows_out):
            raise StageFailed(
                f"source {self.name}: {result.rows_in:,} rows read, but its units have "
                f"{total.rows_in:,}",
                hint="a file changed while it was read; run again",
            )


def _count(rule: RuleResult) -> RuleCount:
    shown = None if rule.level == "quarantine" else first_of(rule.example)
    return RuleCount(rule.checked, rule.broken or 0, shown)


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
