"""Lines of text files, each with the place where it stands."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline.dataprep.quarantine import MAX_RAW_CHARS


def read_lines(
    spark: SparkSession, encoding: str, files: Sequence[str], max_bytes: int
) -> DataFrame:
    """One row a line: ``value, _bytes, _whole, _file, _block``.

    ``value`` is the decoded text, of a line longer than ``max_bytes`` only its beginning: a line
    of 100 MB would be copied a dozen times otherwise. What cannot be decoded becomes U+FFFD.
    ``_whole`` is the line as Spark read it, all of it, for who needs that.

    Spark's text reader is used and not its CSV or JSON reader, which drop more than blank lines:
    also those of nothing but tabs, NUL or other control characters.

    Args:
        spark: a running session.
        encoding: the encoding under Java's name, UTF-16 with its byte order.
        files: absolute paths; files that end in .gz or .bz2 are decompressed.
        max_bytes: the length of a line up to which all of it is given.
    """
    reader = spark.read.option("recursiveFileLookup", True)  # no columns from folders as a=1/
    wide = encoding.upper().startswith("UTF-16")
    if wide:  # the default looks for single bytes
        reader = reader.option("lineSep", "\n").option("encoding", encoding)
    whole, length = F.col("value"), F.octet_length("value")
    cut = F.when(length > max_bytes, F.substring(whole, 1, MAX_RAW_CHARS)).otherwise(whole)
    value = F.decode(cut.cast("binary"), encoding)
    if wide:
        value = F.regexp_replace(value, "^\ufeff|\r$", "")
    return reader.text([escape_glob(file) for file in files]).select(
        value.alias("value"),
        length.alias("_bytes"),
        whole.alias("_whole"),
        F.col("_metadata.file_path").alias("_file"),
        F.col("_metadata.file_block_start").alias("_block"),
    )


def number_lines(lines: DataFrame) -> DataFrame:
    """Add ``_line``, which orders the lines of a part of a file, and an empty ``_row``.

    What is dropped must be dropped before: the numbers of a part have no gaps, and
    ``quarantine.with_row_numbers`` makes row numbers of them.
    """
    return lines.select(
        "*",
        F.monotonically_increasing_id().alias("_line"),
        F.lit(None).cast("long").alias("_row"),
    )


def escape_glob(path: str) -> str:
    """A path that Hadoop takes literally; it reads ``[``, ``{``, ``*`` and ``?`` as patterns."""
    return "".join("\\" + char if char in "\\[]{}*?" else char for char in path)
