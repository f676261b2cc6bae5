"""What one Spark job wrote of many units, taken apart into one folder each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.dataprep.read import POSITION
from pipeline.dataprep.units import RawUnit
from pipeline.store.days import Days
from pipeline.store.units import BAD, GOOD, RuleCount, UnitRecord, added

PART = "part-00000.parquet"
Counts = Mapping[str, tuple[dict[str, int], dict[str, RuleCount]]]
"""Of each file: rows that filters have dropped, and what rules have found, by name."""


def path_of(uri: str) -> str:
    """The path of a local file from the URI that Spark gives it."""
    return unquote(re.sub("^file:/*", "/", uri))


def split_units(
    units: Sequence[RawUnit],
    good: pa.Table,
    bad: Path,
    folder: Path,
    days_of: str | None,
    counts: Counts,
) -> Iterator[tuple[Path, UnitRecord]]:
    """Write ``folder/<n>/good`` and ``folder/<n>/quarantine`` for each unit.

    Args:
        good: the good rows, with ``read.POSITION``.
        bad: a folder of Parquet files: the quarantine.
        days_of: the column that holds the day, of sources that are partitioned by one.
        counts: as ``count_marks`` gives them.

    Yields:
        Each unit's folder and its record but for the files. The bytes depend on the unit alone,
        and not on those that it was read with.
    """
    rows, files = _in_order(good)
    by_path = {path_of(uri): found for uri, found in counts.items()}
    broken = pq.read_table(bad).sort_by([("file", "ascending"), ("row", "ascending")])
    for number, unit in enumerate(units):
        own = [files[file] for file in unit.files if file in files]
        table = pa.concat_tables([rows.slice(0, 0), *(rows.slice(a, n) for a, n in own)])
        aside = broken.filter(pc.is_in(broken.column("file"), pa.array(list(unit.files))))
        work = folder / str(number)
        write_rows(table, work / GOOD / PART)
        if aside.num_rows:
            write_rows(aside, work / BAD / PART)
        ruled = [by_path[file] for file in unit.files if file in by_path]
        total = added([UnitRecord(unit.name, 0, 0, 0, *found) for found in ruled or [({}, {})]])
        record = replace(
            total,
            rows_in=table.num_rows + aside.num_rows + sum(total.dropped.values()),
            rows_out=table.num_rows,
            rows_quarantined=aside.num_rows,
            good_rows={file: files[file][1] if file in files else 0 for file in unit.files},
            days=(unit.days,) if unit.days else days_in(table, days_of),
        )
        yield work, record


def write_rows(table: pa.Table, path: Path) -> None:
    """A Parquet file without the schema that Spark left in the one that it was read from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(None), path, compression="zstd")


def days_in(table: pa.Table, column: str | None) -> tuple[Days, ...]:
    """The days that rows of a table have in a date or timestamp column; none without a column."""
    if column is None:
        return ()
    found = pc.unique(table.column(column).cast(pa.date32())).drop_null()
    return tuple(Days(day, day) for day in sorted(found.to_pylist()))


def _in_order(table: pa.Table) -> tuple[pa.Table, Mapping[str, tuple[int, int]]]:
    """Rows by file and place; and where each file's rows begin, and how many they are."""
    table = table.sort_by([(name, "ascending") for name in POSITION])
    runs = pc.run_end_encode(table.column("_file").combine_chunks())
    ends = runs.run_ends.to_pylist()
    starts = [0, *ends][: len(ends)]  # none where no row is good
    files = {
        path_of(uri): (start, end - start)
        for uri, start, end in zip(runs.values.to_pylist(), starts, ends, strict=True)
    }
    return table.drop_columns(list(POSITION)), files
