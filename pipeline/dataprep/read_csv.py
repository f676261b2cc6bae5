"""CSV files as raw rows: each record's own text, and its cells as strings.

Records are taken as lines first and parsed after, so that the raw text of every row is at hand
and nothing is parsed that could not be parsed safely. With ``multiline`` a record goes on while
a quote is open; quoted line ends become ``\\n``.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.headers import Layout, blanks_of, delimiter_of

MAX_RECORD_BYTES = 1 << 20
MAX_CELLS = 20_000  # Univocity ends the whole job above 20,480 cells a row

REPEATED_HEADER = "repeated_header"


def read_csv_group(
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
    records = _records(lines, source.quote) if source.multiline else lines
    checked = records.select("*", _problem(source, layout).alias("_rule"))
    parsed = checked.select("*", _parse(source, layout).alias("_cells"))
    return parsed.select(
        "_file",
        "_block",
        "_line",
        "_row",
        F.col("value").alias("_raw"),
        _problem_struct(source, layout).alias("_problem"),
        # An empty cell is "", not null: which texts mean null is the source's to say.
        *(
            F.coalesce(F.col(f"_cells.c{layout.names.index(column)}"), F.lit("")).alias(column)
            for column in source.columns
        ),
    )


def _lines(
    spark: SparkSession, source: SourceConfig, layout: Layout, files: Sequence[str]
) -> DataFrame:
    """One row a line, headers among them: ``value, _file, _block, _line, _row, _is_blank``.

    Spark's text reader is used and not its CSV reader, which drops more than blank lines: also
    those of nothing but tabs, NUL or other control characters.
    """
    reader = spark.read.option("recursiveFileLookup", True)  # no columns from folders as a=1/
    wide = layout.encoding.upper().startswith("UTF-16")
    if wide:  # the default looks for single bytes
        reader = reader.option("lineSep", "\n").option("encoding", layout.encoding)
    value = F.decode(F.col("value").cast("binary"), layout.encoding)
    if wide:
        value = F.regexp_replace(value, "^\ufeff|\r$", "")
    lines = reader.text([escape_glob(file) for file in files]).select(
        value.alias("value"),
        F.col("_metadata.file_path").alias("_file"),
        F.col("_metadata.file_block_start").alias("_block"),
    )
    blank = F.btrim("value", F.lit(blanks_of(source))) == ""
    if not source.multiline:  # in a quoted cell a blank line is text
        lines = lines.filter(~blank)
    return lines.select(
        "*",
        F.monotonically_increasing_id().alias("_line"),
        F.lit(None).cast("long").alias("_row"),
        blank.alias("_is_blank"),
    )


def _records(lines: DataFrame, quote: str) -> DataFrame:
    """Join the lines of one file between an opening and its closing quote.

    All lines of a file pass through one task, as they do in Spark's own ``multiLine``.
    """
    before = Window.partitionBy("_file").orderBy("_block", "_line")
    open_quotes = F.sum(_quotes(quote) % 2).over(before.rowsBetween(Window.unboundedPreceding, -1))
    starts = F.coalesce(open_quotes, F.lit(0)) % 2 == 0
    numbered = (
        lines.select("*", starts.alias("_starts"))
        .filter(~(F.col("_starts") & F.col("_is_blank")))
        # The header is row 0.
        .withColumn("_row", F.sum(F.col("_starts").cast("long")).over(before) - 1)
    )
    parts = F.sort_array(F.collect_list(F.struct("_block", "_line", "value")))
    return (
        numbered.groupBy("_file", "_row")
        .agg(parts.alias("_parts"))
        .select(
            F.array_join(F.col("_parts.value"), "\n").alias("value"),
            "_file",
            F.lit(0).cast("long").alias("_block"),
            F.col("_row").alias("_line"),
            "_row",
        )
    )


def _quotes(quote: str) -> Column:
    without = F.replace(F.col("value"), F.lit(quote), F.lit(""))
    return F.length("value") - F.length(without)


def _problem(source: SourceConfig, layout: Layout) -> Column:
    """Why a record is not even parsed, or null."""
    value = F.col("value")
    delimiter = delimiter_of(source)
    removed = F.length(F.replace(value, F.lit(delimiter), F.lit("")))
    delimiters = (F.length(value) - removed) / len(delimiter)
    return (
        F.when(value == F.lit(layout.line), F.lit(REPEATED_HEADER))
        .when(F.octet_length(value) > MAX_RECORD_BYTES, F.lit("record_too_long"))
        .when(F.contains(value, F.lit("\0")), F.lit("nul_byte"))
        # What could not be decoded became U+FFFD.
        .when(F.contains(value, F.lit("\ufffd")), F.lit("wrong_encoding"))
        .when(_quotes(source.quote) % 2 == 1, F.lit("unclosed_quote"))
        .when((F.length(value) > MAX_CELLS) & (delimiters > MAX_CELLS), F.lit("long_row"))
    )


def _parse(source: SourceConfig, layout: Layout) -> Column:
    cells = ", ".join(f"c{index} string" for index in range(len(layout.names)))
    options = {
        "sep": delimiter_of(source),
        "quote": source.quote,
        "escape": source.quote,  # RFC 4180: a quote in a quoted cell is doubled
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
    quote = "\\" + source.quote
    unquoted = F.regexp_replace("value", f"{quote}[^{quote}]*{quote}", "")
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


def escape_glob(path: str) -> str:
    """A path that Hadoop takes literally; it reads ``[``, ``{``, ``*`` and ``?`` as patterns."""
    return "".join("\\" + char if char in "\\[]{}*?" else char for char in path)
