"""What filters and rules say of each row, written beside the rows and counted file by file.

Where the rows of many files are read in one job, its aggregates are of all files together. So the
rows are written with what was said of each, and counted from there, which takes no parsing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from pipeline.config.ingest import SourceConfig
from pipeline.config.rules import counted_rules
from pipeline.dataprep.examples import examples_at
from pipeline.dataprep.measure import aggregates, read_measures
from pipeline.dataprep.read import POSITION, read_source
from pipeline.dataprep.read_lines import escape_glob
from pipeline.dataprep.rules import DROPPED, TableRules, flag, is_good
from pipeline.dataprep.split_units import Counts
from pipeline.dataprep.verdict import Example
from pipeline.store.units import RuleCount

PLACE = (*POSITION, "_row")


def marks(rules: TableRules) -> list[str]:
    """The columns that say what became of a row, besides ``read.POSITION``."""
    return ["_row", "_broken", DROPPED, *map(flag, counted_rules(rules.rules))]


def is_marked(rules: TableRules) -> Column:
    """Whether a row is good, or filters or rules have said something of it."""
    flags = [F.col(flag(name)).isNotNull() for name in counted_rules(rules.rules)]
    return reduce(or_, flags, is_good() | F.col(DROPPED).isNotNull())


def without_marks(table: pa.Table, rules: TableRules) -> pa.Table:
    """The good ones of marked rows, with their places."""
    good = pc.and_(pc.invert(table.column("_broken")), pc.is_null(table.column(DROPPED)))
    return table.filter(good).drop_columns(marks(rules))


def count_marks(
    spark: SparkSession,
    marked: Path,
    rules: TableRules,
    source: SourceConfig,
    name: str,
    files: Sequence[str],
) -> Counts:
    """Rows that each filter has dropped, and what each rule has found, by the file's URI.

    Args:
        marked: a folder of marked rows.
        files: the raw files, whose lines are counted where a row that is shown has no number.
    """
    frame = spark.read.parquet(escape_glob(str(marked)))
    counted = frame.groupBy("_file").agg(*aggregates(rules, PLACE)).collect()
    measured = {row["_file"]: read_measures(row.asDict(), rules, {}) for row in counted}
    first = {
        (file, rule): place
        for file, found in measured.items()
        for rule, place in found.first.items()
    }
    examples: Mapping[tuple[str, str], Example] = {}
    if first:
        raw = read_source(spark, source, name, files)
        examples = examples_at(first, raw, 0 if source.has_header else 1)
    return {
        file: (
            found.dropped,
            {
                rule: RuleCount(checked, found.broken[rule], first_of(examples.get((file, rule))))
                for rule, checked in found.checked.items()
            },
        )
        for file, found in measured.items()
    }


def first_of(example: Example | None) -> tuple[str, int, str | None] | None:
    """An example as it is kept with a unit."""
    if example is None or example.file is None or example.row is None:
        return None
    return example.file, example.row, example.value
