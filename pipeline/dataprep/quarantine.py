"""Broken rows set aside with their reasons, and the reasons counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipeline.config.ingest import SourceConfig
from pipeline.store.objects import COPY_PATTERN

MAX_RAW_CHARS = 10_000


@dataclass(frozen=True)
class Reason:
    """One rule that rows of a source broke.

    Attributes:
        rule: for example ``not_a_int``.
        column: the column, several joined by commas, or "" for the record as a whole.
        count: rows that broke it; a row can break several.
        value: a value that broke it, from the first such row.
        file, row: where that row stands.
    """

    rule: str
    column: str
    count: int
    value: str | None
    file: str
    row: int

    @property
    def name(self) -> str:
        return f"{self.column}: {self.rule}" if self.column else self.rule

    def __str__(self) -> str:
        return f"{self.name} ({self.count:,} rows; {self.value!r} in {self.file} row {self.row})"


def quarantine_table(
    bad: DataFrame, raw: DataFrame, source_name: str, source: SourceConfig
) -> DataFrame:
    """Broken rows as they are stored.

    Returns:
        ``source, file, row, raw, reasons``: the source's name; the file's path; the record's
        number in its file from 1, headers and blank lines not counted; its text, cut at 10,000
        characters; array<struct<rule, column, value>>. Ordered by file and row. Where an array is
        exploded, ``item`` behind ``row`` is the number of the element from 1.
    """
    numbered = with_row_numbers(bad, raw, first_row=0 if source.has_header else 1)
    numbered = numbered.filter("_row > 0 or not _is_header")
    return numbered.select(
        F.lit(source_name).alias("source"),
        shown_file().alias("file"),
        F.col("_row").alias("row"),
        *([F.col("_item").alias("item")] if source.explode else []),
        F.substring("_raw", 1, MAX_RAW_CHARS).alias("raw"),
        F.col("_reasons").alias("reasons"),
    ).orderBy("file", "row", *(["item"] if source.explode else []))


def shown_file() -> Column:
    """The path of the file in ``_file``, or the URI of the object that it is a copy of."""
    path = path_column("_file")
    uri = F.url_decode(F.regexp_replace(path, COPY_PATTERN, "$1://"))
    return F.when(path.rlike(COPY_PATTERN), uri).otherwise(path)


def path_column(uri: str) -> Column:
    """The path of a file from the URI that Spark gives it."""
    # A URI keeps "+" as it is, but decoding takes it for a space.
    return F.url_decode(F.regexp_replace(F.regexp_replace(uri, "^file:/*", "/"), r"\+", "%2B"))


def with_row_numbers(bad: DataFrame, raw: DataFrame, *, first_row: int) -> DataFrame:
    """Fill ``_row`` where reading could not know it, by counting the rows of each part of a file.

    Spark numbers rows by task, and a task reads one or more parts of files one after the other;
    so a row's number is its place after its part's first row, plus the rows of earlier parts.
    The numbers of a part have no gaps, so that the last tells how many there are, be there several
    rows for one number (elements of an array).

    Args:
        bad: the rows to number.
        raw: all rows.
        first_row: the number of a file's first row: 0 where that is a header.
    """
    first, last = F.min("_line"), F.max("_line")
    parts = raw.groupBy("_file", "_block").agg(
        first.alias("_first"), (last - first + 1).alias("_rows")
    )
    earlier = Window.partitionBy("_file").orderBy("_block")
    offset = F.sum("_rows").over(earlier) - F.col("_rows") - F.col("_first") + first_row
    offsets = parts.select("_file", "_block", offset.alias("_offset"))
    joined = bad.join(F.broadcast(offsets), ["_file", "_block"])
    row = F.coalesce("_row", F.col("_line") + F.col("_offset"))
    return joined.select(
        *(row.alias(name) if name == "_row" else F.col(f"`{name}`") for name in bad.columns)
    )


def count_reasons(files: Sequence[Path]) -> list[Reason]:
    """Count the reasons in written quarantine files, the most frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], tuple[str, int, str | None]] = {}
    for file in files:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(columns=["file", "row", "reasons"]):
                for record in batch.to_pylist():
                    for reason in record["reasons"]:
                        key = (reason["rule"], reason["column"] or "")
                        counts[key] += 1
                        found = (record["file"], record["row"], reason["value"])
                        if key not in first or found[:2] < first[key][:2]:
                            first[key] = found
    reasons = [
        Reason(rule, column, counts[rule, column], value, file, row)
        for (rule, column), (file, row, value) in first.items()
    ]
    return sorted(reasons, key=lambda reason: (-reason.count, reason.name))
