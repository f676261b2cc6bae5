"""Corrected rows in the place of quarantined ones: judged by the rules like every other row."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.headers import csv_layouts
from pipeline.dataprep.ingest import write_source
from pipeline.dataprep.quarantine import MAX_RAW_CHARS
from pipeline.dataprep.read import POSITION
from pipeline.dataprep.split_units import path_of
from pipeline.errors import DataRefused
from pipeline.store.corrections import Correction

Named = Callable[[str], str]
"""A raw file's path as corrections name it."""


@dataclass(frozen=True)
class Replayed:
    """What became of corrected rows; each is in one of the two tables, or a filter dropped it.

    Attributes:
        good: the declared columns of those that break no rule now.
        good_at: (n_good,) file and row that each stands for.
        bad: the others, as quarantine.
    """

    good: pa.Table
    good_at: list[tuple[str, int]]
    bad: pa.Table


def applicable(
    quarantine: pa.Table, corrections: Sequence[Correction], named: Named
) -> dict[tuple[str, int], Correction]:
    """The corrections of rows that are in the quarantine as they were, by file and row.

    A raw file that was mended itself, or another row in its place, leaves its correction unused.
    """
    by_place = {(item.file, item.row): item for item in corrections}
    some = quarantine.filter(pc.is_in(quarantine.column("row"), pa.array({r for _, r in by_place})))
    found = {}
    for row in some.select(["file", "row", "raw"]).to_pylist():
        item = by_place.get((named(row["file"]), row["row"]))
        if item is not None and item.raw == row["raw"]:
            found[row["file"], row["row"]] = item
    return found


def judge(
    spark: SparkSession,
    source: SourceConfig,
    name: str,
    corrections: Mapping[tuple[str, int], Correction],
    work: Path,
) -> Replayed:
    """Read corrected rows as a source is read, each as a file of its own.

    Args:
        source: without its key.
        corrections: (raw file, row) → its correction.
        work: an empty folder.

    Raises:
        DataRefused: a corrected text is not one record.
    """
    places = list(corrections)
    files = _write_records(source, name, corrections, work / "in")
    alone = source.model_copy(update={"encoding": "UTF-8"})
    write_source(spark, alone, name, files, work / "good", work / "bad", keep=POSITION)
    good, bad = pq.read_table(work / "good"), pq.read_table(work / "bad")
    numbers = {file: number for number, file in enumerate(files)}
    good_at = [places[numbers[path_of(uri)]] for uri in good.column("_file").to_pylist()]
    bad_at = [places[numbers[file]] for file in bad.column("file").to_pylist()]
    order = sorted(range(len(good_at)), key=good_at.__getitem__)
    if good.num_rows + bad.num_rows > len(places):
        raise DataRefused(f"source {name}: a corrected row is more than one record")
    return Replayed(
        good.drop_columns(list(POSITION)).take(pa.array(order, pa.int64())),
        [good_at[number] for number in order],
        _at(bad, bad_at),
    )


def _at(bad: pa.Table, places: Sequence[tuple[str, int]]) -> pa.Table:
    """A quarantine with other files and rows."""
    columns = {"file": [file for file, _ in places], "row": [row for _, row in places]}
    for name, values in columns.items():
        field = bad.schema.field(name)
        bad = bad.set_column(bad.schema.get_field_index(name), field, pa.array(values, field.type))
    return bad


def _write_records(
    source: SourceConfig,
    name: str,
    corrections: Mapping[tuple[str, int], Correction],
    folder: Path,
) -> list[str]:
    """One file a record, so that its number in a file that is joined of many need not be known."""
    folder.mkdir(parents=True)
    files = sorted({file for file, _ in corrections})
    headers = {
        file: layout.line for layout, group in csv_layouts(name, source, files).items()
        for file in group
    }  # fmt: skip
    written = []
    for number, ((file, _), item) in enumerate(corrections.items()):
        check_correction(source, item)
        path = folder / f"{number:07d}.csv"
        lines = [line for line in (headers[file], item.corrected, "") if line is not None]
        path.write_text("\n".join(lines), encoding="utf-8", newline="")
        written.append(os.path.normpath(path))
    return written


def check_correction(source: SourceConfig, item: Correction) -> None:
    """Refuse what would not be read as one record.

    Raises:
        DataRefused: naming the row.
    """
    where = f"the correction of row {item.row} of {item.file}"
    text = item.corrected
    if source.format != "csv":
        raise DataRefused(
            f"{where}: rows of {source.format} cannot be corrected as text",
            hint="Correct the file, or the source's columns, and run again.",
        )
    if len(item.raw) >= MAX_RAW_CHARS:
        raise DataRefused(
            f"{where}: the quarantine has only its first {MAX_RAW_CHARS:,} characters",
            hint="Correct the file itself and run again.",
        )
    lines = text.count("\n") + text.count("\r")
    if not text.strip() or (lines and (not source.multiline or text.count(source.quote) % 2)):
        raise DataRefused(f"{where} must be one record. Got {text[:200]!r} instead")
