"""What is about all units of a source together: corrected rows, and keys that are there twice.

Each changes some units and leaves the others as they are. A changed unit is kept beside the one
that it was made of, so that the next run finds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.assemble import QUARANTINE, places_of, read_quarantine
from pipeline.dataprep.incomplete import count_incomplete
from pipeline.dataprep.parts import write_parts
from pipeline.dataprep.replay import Named, Replayed, applicable, judge
from pipeline.dataprep.split_units import PART, write_rows
from pipeline.dataprep.unit_keys import (
    Place,
    Repeated,
    quarantined_duplicates,
    repeated_rows,
)
from pipeline.store.corrections import Correction
from pipeline.store.fingerprint import digest
from pipeline.store.units import BAD, GOOD, Unit, UnitRecord, UnitStore, link, unit_key

Corrections = Mapping[tuple[str, int], Correction]


@dataclass(frozen=True)
class Rework:
    """One source, and where its units are kept.

    Attributes:
        source: the source as ``unit_source`` gives it.
        name: its name.
        key: the columns that are unique together in all of its rows; may be none.
        how: the half of its units' keys that says how they were read.
    """

    spark: SparkSession
    source: SourceConfig
    name: str
    key: Sequence[str]
    store: UnitStore
    how: str

    def corrected(
        self, units: Sequence[Unit], corrections: Sequence[Correction], named: Named
    ) -> tuple[list[Unit], Corrections]:
        """The units with corrected rows in the place of quarantined ones, and which these are."""
        wanted = {unit.key: _applicable(unit, corrections, named) for unit in units}
        wanted = {key: found for key, found in wanted.items() if found}
        names = {
            key: self._variant(key, [(*at, item.corrected) for at, item in found.items()])
            for key, found in wanted.items()
        }
        kept = self.store.find(names.values())
        missing = [u for u in units if u.key in wanted and names[u.key] not in kept]
        if missing:
            every = {at: item for unit in missing for at, item in wanted[unit.key].items()}
            with self.store.working_folder() as work:
                found = judge(self.spark, self.source, self.name, every, work)
                for unit in missing:
                    part = _of_rows(found, wanted[unit.key])
                    made = self._with_corrected(unit, wanted[unit.key], part, work / unit.key)
                    kept[names[unit.key]] = self.store.keep(names[unit.key], *made)
        chosen = [kept[names[unit.key]] if unit.key in names else unit for unit in units]
        return chosen, {at: item for found in wanted.values() for at, item in found.items()}

    def unique(self, units: Sequence[Unit], corrections: Corrections) -> list[Unit]:
        """The units without rows whose key is there before; these are quarantined."""
        repeated = repeated_rows(units, self.key)
        names = {key: self._variant(key, found.rows) for key, found in repeated.items()}
        kept = self.store.find(names.values())
        missing = [u for u in units if u.key in repeated and names[u.key] not in kept]
        if missing:
            with self.store.working_folder() as work:
                places = {at: t for unit in missing for at, t in repeated[unit.key].keys.items()}
                aside = self._duplicates(places, corrections, work)
                for unit in missing:
                    made = self._without(unit, repeated[unit.key], aside, work / unit.key)
                    kept[names[unit.key]] = self.store.keep(names[unit.key], *made)
        return [kept[names[unit.key]] if unit.key in names else unit for unit in units]

    def _variant(self, key: str, change: Sequence[Any]) -> str:
        return unit_key({key: digest(list(change))}, self.how)

    def _with_corrected(
        self, unit: Unit, corrections: Corrections, found: Replayed, work: Path
    ) -> tuple[Path, UnitRecord]:
        for number, file in enumerate(unit.good):
            link(file, work / GOOD / f"part-{number:05d}.parquet")
        if found.good.num_rows:
            write_rows(found.good, work / GOOD / f"part-{len(unit.good):05d}.parquet")
        before = read_quarantine(unit.bad)
        stays = [at not in corrections for at in places_of(before)]
        left = before.filter(pa.array(stays, pa.bool_()))
        aside = pa.concat_tables([left, found.bad.cast(QUARANTINE)])
        _write_quarantine(aside, work)
        return work, replace(
            unit.record,
            rows_out=unit.record.rows_out + found.good.num_rows,
            rows_quarantined=aside.num_rows,
            corrected=tuple(found.good_at),
        )

    def _duplicates(
        self, places: Mapping[Place, str], corrections: Corrections, work: Path
    ) -> dict[Place, dict[str, Any]]:
        """Rows of the quarantine, by the place where their key stands again."""
        column = ",".join(self.key)
        found = {}
        for at, text in places.items():
            if at[0]:
                found[at] = {
                    "source": self.name,
                    "file": at[1],
                    "row": at[2],
                    "raw": corrections[at[1:]].corrected,
                    "reasons": [{"rule": "duplicate_key", "column": column, "value": text}],
                }
        raw = [at for at in places if not at[0]]
        if raw:
            frame = quarantined_duplicates(self.spark, self.source, self.name, self.key, raw)
            rows = read_quarantine(write_parts(frame, work / "again"))
            found |= zip(sorted(raw), rows.to_pylist(), strict=True)
        return found

    def _without(
        self,
        unit: Unit,
        repeated: Repeated,
        aside: Mapping[Place, dict[str, Any]],
        work: Path,
    ) -> tuple[Path, UnitRecord]:
        start = 0
        for number, file in enumerate(unit.good):
            table = pq.read_table(file)
            numbers = pa.array(range(start, start + table.num_rows), pa.int64())
            again = pc.is_in(numbers, pa.array(repeated.rows, pa.int64()))
            write_rows(table.filter(pc.invert(again)), work / GOOD / f"part-{number:05d}.parquet")
            start += table.num_rows
        rows = pa.Table.from_pylist([aside[at] for at in repeated.keys], QUARANTINE)
        both = pa.concat_tables([read_quarantine(unit.bad), rows])
        _write_quarantine(both, work)
        fewer = Counter(file for is_corrected, file, _ in repeated.keys if not is_corrected)
        incomplete = count_incomplete(
            self.spark, self.source, self.name, unit.record, repeated.keys
        )
        return work, replace(
            unit.record,
            rows_out=unit.record.rows_out - len(repeated.rows),
            rows_quarantined=both.num_rows,
            rules=unit.record.rules | incomplete,
            good_rows={file: n - fewer[file] for file, n in unit.record.good_rows.items()},
            corrected=tuple(at for at in unit.record.corrected if (True, *at) not in repeated.keys),
        )


def _applicable(unit: Unit, corrections: Sequence[Correction], named: Named) -> Corrections:
    files = {named(file) for file in unit.record.good_rows}
    own = [item for item in corrections if item.file in files]
    if not own or not unit.bad:
        return {}
    return applicable(read_quarantine(unit.bad), own, named)


def _of_rows(found: Replayed, corrections: Corrections) -> Replayed:
    """The part of what became of corrected rows that is about some of them."""
    own = [at in corrections for at in found.good_at]
    return Replayed(
        found.good.filter(pa.array(own, pa.bool_())),
        [at for at in found.good_at if at in corrections],
        found.bad.filter(pa.array([at in corrections for at in places_of(found.bad)], pa.bool_())),
    )


def _write_quarantine(table: pa.Table, work: Path) -> None:
    if table.num_rows:
        ordered = table.sort_by([("file", "ascending"), ("row", "ascending")])
        write_rows(ordered, work / BAD / PART)
