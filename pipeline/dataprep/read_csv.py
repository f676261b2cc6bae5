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
from pipeline.dataprep.plain_rows import (
    can_be_plain,
    check_plain,
    is_worth_it,
    without_plain,
)
from pipeline.dataprep.raw_rows import IS_HEADER, PlainRows, RawRows, problem, union
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
    lines = {layout: _lines(spark, source, layout, group) for layout, group in groups.items()}
    rows = union([_rows(found, source, layout) for layout, found in lines.items()])
    drift = sum_drift((layout.drift, len(group)) for layout, group in groups.items())
    if not all(can_be_plain(source, layout) for layout in groups) or not is_worth_it(source, files):
        return RawRows(rows, drift)
    rest = [
        _rows(without_plain(found, source, layout), source, layout)
        for layout, found in lines.items()
    ]
    checked = [check_plain(found, source, layout) for layout, found in lines.items()]
    return RawRows(rows, drift, PlainRows(union(checked), union(rest)))


def _rows(lines: DataFrame, source: SourceConfig, layout: Layout) -> DataFrame:
    """Raw rows of files that share one header, which is row 0 of each file.

    The header takes the way of a broken row, and so do lines equal to it (files joined without
    care have them): only where a row's number is known can they be told apart.

    Returns:
        ``_file, _block, _line, _row, _raw, _problem`` and the declared columns as strings, as
        described in ``read.read_source``.
    """
    records = _records(lines, source) if source.multiline else lines
    rule = _rule(source, layout)
    ruled = records.select("*", rule.alias("_rule"), _parsed(rule, source, layout).alias("_parsed"))
    cut = ruled.select("*", _cells(source, layout).alias("_cells"))
    rule, found = _of_record(source, layout)
    return cut.select(
        "_file",
        "_block",
        "_line",
        "_row",
        F.lit(None).cast("int").alias("_item"),
        F.col("value").alias("_raw"),
        problem(rule, F.lit(None).cast("string"), found).alias("_problem"),
        F.col("_rule").eqNullSafe(REPEATED_HEADER).alias(IS_HEADER),
        *(_cell(name, layout).alias(column) for column, name in source.names_in_files.items()),
    )


def _cell(name: str, layout: Layout) -> Column:
    # An empty cell is "", not null: which texts mean null is the source's to say.
    if name not in layout.names:
        return F.lit(None).cast("string")
    return F.col("_cells")[layout.names.index(name)]


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


def _rule(source: SourceConfig, layout: Layout) -> Column:
    """Why a record is not even cut into cells, or null."""
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
        .when(_has_quote(source) & (_quotes(source, value) % 2 == 1), F.lit("unclosed_quote"))
        .when((F.col("_bytes") > MAX_CELLS) & (delimiters > MAX_CELLS), F.lit("long_row"))
    )


def _has_quote(source: SourceConfig) -> Column:
    return F.contains(F.col("value"), F.lit(source.quote))


def _parsed(rule: Column, source: SourceConfig, layout: Layout) -> Column:
    """``struct<c0, …, _corrupt>`` of a record that breaks no rule and has quotes, else null."""
    special = _has_quote(source)
    if source.escape is not None:
        special = special | F.contains(F.col("value"), F.lit(source.escape))
    schema = ", ".join(f"c{index} string" for index in range(len(layout.names)))
    options = {
        "sep": delimiter_of(source).replace("\\", "\\\\"),  # Spark reads escapes in it
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
    value = F.when(rule.isNull() & special, F.col("value"))
    return F.from_csv(value, f"{schema}, _corrupt string", options)


def _cells(source: SourceConfig, layout: Layout) -> Column:
    """The texts of a record that breaks no rule, array<string>.

    Records without quotes, most of all, are cut at the delimiters, in half the time of a parser,
    and have as many texts as they have; of others null where it is not one for each name.
    """
    texts = [F.col(f"_parsed.c{index}") for index in range(len(layout.names))]
    parsed = F.array(*(F.coalesce(text, F.lit("")) for text in texts))
    cut = F.split("value", re.escape(delimiter_of(source)), -1)
    return F.when(
        F.col("_parsed").isNotNull(), F.when(F.col("_parsed._corrupt").isNull(), parsed)
    ).when(F.col("_rule").isNull(), cut)


def _of_record(source: SourceConfig, layout: Layout) -> tuple[Column, Column]:
    """The rule that a record as a whole breaks, or null; and what was found."""
    quote, escape = "\\" + source.quote, "\\" + (source.escape or source.quote)
    unquoted = F.regexp_replace("value", f"{escape}{quote}", "")
    unquoted = F.regexp_replace(unquoted, f"{quote}[^{quote}]*{quote}", "")
    cells = F.size(F.split(unquoted, "\\Q" + delimiter_of(source) + "\\E", -1))
    expected = len(layout.names)
    fits = F.coalesce(F.size("_cells") == expected, F.lit(False))
    rule = F.coalesce(
        "_rule", F.when(~fits, F.when(cells < expected, "short_row").otherwise("long_row"))
    )
    found = F.when(
        F.col("_rule").isNull(), F.concat(cells, F.lit(f" cells, expected {expected}"))
    ).otherwise(F.substring("value", 1, 200))
    return rule, found
