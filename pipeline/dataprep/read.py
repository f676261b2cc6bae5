"""Raw rows of a source, whatever its files look like."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyspark.sql import DataFrame, SparkSession

from pipeline.config.ingest import SourceConfig
from pipeline.config.place import ROWS
from pipeline.dataprep.landing import open_landed
from pipeline.dataprep.partitions import partition_columns, with_partitions, without_partitions
from pipeline.dataprep.raw_rows import RawRows
from pipeline.dataprep.read_csv import open_csv
from pipeline.dataprep.read_json import open_json
from pipeline.dataprep.read_orc import open_orc
from pipeline.dataprep.read_parquet import open_parquet
from pipeline.dataprep.read_text import open_text
from pipeline.dataprep.session import prepare_session
from pipeline.errors import DataRefused

_READERS: dict[str, Callable[[SparkSession, SourceConfig, str, Sequence[str]], RawRows]] = {
    "csv": open_csv,
    "json": open_json,
    "text": open_text,
    "parquet": open_parquet,
    "orc": open_orc,
    ROWS: open_landed,
}
POSITION = ("_file", "_block", "_line", "_item")
"""The columns that order the rows of a source: by file, then as they stand in the file."""


def read_source(
    spark: SparkSession, source: SourceConfig, name: str, files: Sequence[str]
) -> DataFrame:
    """The rows of ``open_source``."""
    return open_source(spark, source, name, files).frame


def open_source(
    spark: SparkSession, source: SourceConfig, name: str, files: Sequence[str]
) -> RawRows:
    """Read files into raw rows, one row a record; nothing is dropped but blank lines and comments.

    Args:
        spark: a running session; its SQL settings are set to those of ``session.py``.
        source: how the files are written and which columns they must have.
        name: the source's name, for messages.
        files: absolute paths.

    Returns:
        The files' drift, and the declared columns, strings for CSV, JSON, text and tables and
        the declared types for Parquet and ORC, and

        - ``_file`` the file's URI; ``_block``, ``_line`` and ``_item`` order its rows;
        - ``_row`` the record's number in its file from 1, blank lines not counted and a CSV
          file's header being row 0, where it is known while reading (Parquet, ``multiline``),
          else null: Spark splits files, and ``quarantine.with_row_numbers`` counts the parts
          when numbers are needed;
        - ``_item`` the number from 1 of the element of an exploded array that the row is; null
          for a record without elements, and without ``explode``;
        - ``_raw`` the record as text (Parquet, ORC, tables: as JSON), perhaps cut at 10,000
          characters;
        - ``_problem`` struct<rule, column, value>: what is wrong with the record as a whole, or
          null. Any text: ``record_too_long``, ``nul_byte``, ``wrong_encoding``. CSV:
          ``repeated_header``, which row 0 has too, ``unclosed_quote``, ``short_row``,
          ``long_row``. JSON: ``not_json``, ``not_an_object``, ``nested_too_deep``,
          ``repeated_key``, ``undeclared_key``, ``not_an_array``, ``unclosed_array``. Text:
          ``no_match``. Parquet and ORC: a value of a changed type that does not fit.

    Raises:
        DataRefused: there is no file, or a file cannot be used; the message names it.
    """
    if not files:
        raise DataRefused(
            f"source {name}: no file at {', '.join(source.paths)}", hint="check the source's path"
        )
    prepare_session(spark)
    ordered, read = sorted(files), _READERS[source.format]
    if source.format == ROWS:
        return read(spark, source, name, ordered)
    if names := partition_columns(name, source, ordered):
        opened = read(spark, without_partitions(source, names), name, ordered)
        rows = with_partitions(opened.frame, source, names, typed=source.typed)
        return RawRows(rows, opened.drift)
    return read(spark, source, name, ordered)
