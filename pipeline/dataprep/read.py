"""Raw rows of a source, whatever its files look like."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import DataFrame, SparkSession

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.headers import csv_layouts
from pipeline.dataprep.read_csv import read_csv_group
from pipeline.dataprep.read_parquet import parquet_groups, read_parquet_group
from pipeline.dataprep.session import prepare_session
from pipeline.errors import DataRefused

POSITION = ("_file", "_block", "_line")
"""The columns that order the rows of a source: by file, then as they stand in the file."""


def read_source(
    spark: SparkSession, source: SourceConfig, name: str, files: Sequence[str]
) -> DataFrame:
    """Read files into raw rows, one row a record; nothing is dropped but blank lines.

    Args:
        spark: a running session; its SQL settings are set to those of ``session.py``.
        source: how the files are written and which columns they must have.
        name: the source's name, for messages.
        files: absolute paths.

    Returns:
        The declared columns, strings for CSV and the declared types for Parquet, and

        - ``_file`` the file's URI; ``_block`` and ``_line`` order its records;
        - ``_row`` the record's number in its file from 1, blank lines not counted and a CSV
          file's header being row 0, where it is known while reading (Parquet, ``multiline``),
          else null: Spark splits files, and ``quarantine.with_row_numbers`` counts the parts
          when numbers are needed;
        - ``_raw`` the record as text (Parquet: as JSON);
        - ``_problem`` struct<rule, column, value>: what is wrong with the record as a whole
          (``repeated_header``, which row 0 has too; ``record_too_long``, ``nul_byte``,
          ``wrong_encoding``, ``unclosed_quote``, ``short_row``, ``long_row``), or null.

    Raises:
        DataRefused: there is no file, or a file cannot be used; the message names it.
    """
    if not files:
        raise DataRefused(
            f"source {name}: no file at {', '.join(source.paths)}", hint="check the source's path"
        )
    prepare_session(spark)
    ordered = sorted(files)
    if source.format == "parquet":
        frames = [
            read_parquet_group(spark, source, physical, group)
            for physical, group in parquet_groups(name, source, ordered).items()
        ]
    else:
        frames = [
            read_csv_group(spark, source, layout, group)
            for layout, group in csv_layouts(name, source, ordered).items()
        ]
    return reduce(lambda left, right: left.unionByName(right), frames)
