"""CSV files as raw rows: each record's own text, and its cells as strings.

Records are taken as lines first and parsed after, so that the raw text of every row is at hand
and nothing is parsed that could not be parsed safely. With ``multiline`` a record goes on while
a quote is open; quoted line ends become ``\\n``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.drift import sum_drift
from pipeline.dataprep.headers import Layout, blanks_of, csv_layouts, delimiter_of
from pipeline.dataprep.raw_rows import RawRows, union
from pipeline.dataprep.read_lines import number_lines, read_lines

MAX_CELLS = 20_000  # Univocity ends the whole job above 20,480 cells a row

REPEATED_HEADER = "repeated_header"


def open_csv(spark: SparkSession, source: SourceConfig, name: str, files: Sequence[str]) -> RawRows:
    """Raw rows of CSV files, read together where their headers are equal.

    Raises:
        DataRefused: a file cannot be used; see ``headers.csv_layouts``.
        ConfigError: the encoding is not known.
    """
    groups = csv_layouts(name, source, files)
    frames = [_read_group(spark, source, layout, group) for layout, group in groups.items()]
    return RawRows(
        union(frames), sum_drift((layout.drift, len(group)) for layout, group in groups.items())
    )


def _read_group(
    spark: SparkSession, source: SourceConfig, layout: Layout, files: Sequence[str]
) -> DataFrame:
    """Raw rows of files that share one header, which is row 0 of each file.

    The header takes the way of a broken row, and so do lines equal to it (files joined without
    care have them): only where a row's number is known can they be told apart.

    Returns:
        ``_file, _block, _line, _row, _raw, _problem`` and the declared columns as strings, as
        described in ``read.read_source``.
    """
    lines = _lines(spark, source, layout, files)
    records = _records(lines, source) if source.multiline else lines
    checked = records.select("*", _problem(source, layout).alias("_rule"))
    parsed = checked.select("*", _parse(source, layout).alias("_cells"))
    return parsed.select(
        "_file",
        "_block",
        "_line",
        "_row",
        F.lit(None).cast("int").alias("_item"),
        F.col("value").alias("_raw"),
        _problem_struct(source, layout).alias("_problem"),
        *(_cell(name, layout).alias(column) for column, name in source.names_in_files.items()),
    )


def _cell(name: str, layout: Layout) -> Column:
    if name not in layout.names:
        return F.lit(None).cast("string")
    # An empty cell is "", not null: which texts mean null is the source's to say.
    return F.coalesce(F.col(f"_cells.c{layout.names.index(name)}"), F.lit(""))


def _lines(
    spark: SparkSession, source: SourceConfig, layout: Layout, files: Sequence[str]
) -> DataFrame:
    """One row a line, headers too: those of ``read_lines``, and ``_line, _row, _is_blank``."""
    lines = read_lines(spark, layout.encoding, files, source.max_record_mb << 20)
    blank = F.btrim("value", F.lit(blanks_of(source))) == ""
    if not source.multiline:  # in a quoted cell a blank line is text
        lines = lines.filter(~blank)
    if source.comment is not None:
        lines = lines.filter(~F.startswith("value", F.lit(source.comment)))
    return number_lines(lines.select("*", blank.alias("_is_blank")))


def _records(lines: DataFrame, source: SourceConfig) -> DataFrame:
    """Join the lines of one file between an opening and its closing quote.

    All lines of a file pass through one task, as they do in Spark's own ``multiLine``; but of a
    record that is too long no more is kept than of any other, be its quote never closed.
    """
    limit = source.max_record_mb << 20
    before = Window.partitionBy("_file").orderBy("_block", "_line")
    open_quotes = F.sum("_odd").over(before.rowsBetween(Window.unboundedPreceding, -1))
    starts = F.coalesce(open_quotes, F.lit(0)) % 2 == 0
    quotes = F.when(F.col("_bytes") > limit, _quotes(source, F.col("_whole")))
    numbered = (
        lines.withColumn("_odd", quotes.otherwise(_quotes(source, F.col("value"))) % 2)
        .drop("_whole")
        .withColumn("_starts", starts)
        .filter(~(F.col("_starts") & F.col("_is_blank")))
        # A header is row 0.
        .withColumn(
            "_row", F.sum(F.col("_starts").cast("long")).over(before) - int(source.has_header)
        )
    )
    of_record = Window.partitionBy("_file", "_row").orderBy("_block", "_line")
    so_far = F.sum("_bytes").over(of_record.rowsBetween(Window.unboundedPreceding, -1))
    kept = F.coalesce(so_far, F.lit(0)) <= limit
    part = F.when(kept, F.struct("_block", "_line", "value"))
    return (
        numbered.select("_file", "_row", "_bytes", part.alias("_part"))
        .groupBy("_file", "_row")
        .agg(F.sort_array(F.collect_list("_part")).alias("_parts"), F.sum("_bytes").alias("_bytes"))
        .select(
            F.array_join(F.col("_parts.value"), "\n").alias("value"),
            "_file",
            F.lit(0).cast("long").alias("_block"),
            F.col("_row").alias("_line"),
            "_row",
            "_bytes",
        )
    )


def _quotes(source: SourceConfig, value: Column) -> Column:
    """How many quotes of a line have a meaning."""
    if source.escape is not None:
        value = F.regexp_replace(value, re.escape(source.escape) + ".", "")
    return F.length(value) - F.length(F.replace(value, F.lit(source.quote), F.lit("")))


def _problem(source: SourceConfig, layout: Layout) -> Column:
    """Why a record is not even parsed, or null."""
    value = F.col("value")
    delimiter = delimiter_of(source)
    removed = F.length(F.replace(value, F.lit(delimiter), F.lit("")))
    delimiters = (F.length(value) - removed) / len(delimiter)
    is_header = F.lit(False) if layout.line is None else value == F.lit(layout.line)
    return (
        F.when(is_header, F.lit(REPEATED_HEADER))
        .when(F.col("_bytes") > source.max_record_mb << 20, F.lit("record_too_long"))
        .when(F.contains(value, F.lit("\0")), F.lit("nul_byte"))
        # What could not be decoded became U+FFFD.
        .when(F.contains(value, F.lit("\ufffd")), F.lit("wrong_encoding"))
        .when(_quotes(source, value) % 2 == 1, F.lit("unclosed_quote"))
        .when((F.length(value) > MAX_CELLS) & (delimiters > MAX_CELLS), F.lit("long_row"))
    )


def _parse(source: SourceConfig, layout: Layout) -> Column:
    cells = ", ".join(f"c{index} string" for index in range(len(layout.names)))
    options = {
        "sep": delimiter_of(source),
        "quote": source.quote,
        # RFC 4180: a quote in a quoted cell is doubled.
        "escape": source.escape or source.quote,
        "mode": "PERMISSIVE",
        # In the schema, else Spark cuts long rows and fills short ones without a word.
        "columnNameOfCorruptRecord": "_corrupt",
        # Records with NUL never get here, so that no cell is taken for null by its text.
        "nullValue": "\0",
        "emptyValue": "",
    }
    return F.from_csv(
        F.when(F.col("_rule").isNull(), F.col("value")), f"{cells}, _corrupt string", options
    )


def _problem_struct(source: SourceConfig, layout: Layout) -> Column:
    """``struct<rule, column, value>`` of what is wrong with the record as a whole, or null."""
    quote, escape = "\\" + source.quote, "\\" + (source.escape or source.quote)
    unquoted = F.regexp_replace("value", f"{escape}{quote}", "")
    unquoted = F.regexp_replace(unquoted, f"{quote}[^{quote}]*{quote}", "")
    cells = F.size(F.split(unquoted, "\\Q" + delimiter_of(source) + "\\E", -1))
    expected = len(layout.names)
    rule = F.coalesce(
        F.col("_rule"),
        F.when(
            F.col("_cells._corrupt").isNotNull(),
            F.when(cells < expected, "short_row").otherwise("long_row"),
        ),
    )
    found = F.when(
        F.col("_rule").isNull(), F.concat(cells, F.lit(f" cells, expected {expected}"))
    ).otherwise(F.substring("value", 1, 200))
    return F.when(
        rule.isNotNull(),
        F.struct(
            rule.alias("rule"),
            F.lit(None).cast("string").alias("column"),
            found.alias("value"),
        ),
    )
