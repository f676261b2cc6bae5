"""``complete`` rules of a unit that has lost rows to its source's key.

They are about rows that come out, and the first row that breaks one may be among the lost ones.
"""

from __future__ import annotations

from collections.abc import Collection

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipeline.config.ingest import SourceConfig
from pipeline.config.rules import CompleteRule
from pipeline.dataprep.examples import examples_at
from pipeline.dataprep.marks import PLACE, first_of
from pipeline.dataprep.measure import aggregates, read_measures
from pipeline.dataprep.read import read_source
from pipeline.dataprep.rules import TableRules
from pipeline.dataprep.schema import source_rules
from pipeline.dataprep.unit_keys import Place, number_good_rows
from pipeline.store.units import RuleCount, UnitRecord


def count_incomplete(
    spark: SparkSession,
    source: SourceConfig,
    name: str,
    record: UnitRecord,
    lost: Collection[Place],
) -> dict[str, RuleCount]:
    """What ``complete`` rules find in the rows that a unit has left; its files are read again.

    Args:
        source: as ``unit_source`` gives it.
        record: of the unit with all of its rows.
        lost: places of the rows that it has no more.
    """
    complete = {n: rule for n, rule in source.rules.items() if isinstance(rule, CompleteRule)}
    if not any(record.rules[rule].broken for rule in complete):
        left = record.rows_out - len(lost)
        return {rule: RuleCount(left, 0) for rule in complete}
    files = list(record.good_rows)
    rules = source_rules(spark, source, name, ())
    raw = read_source(spark, source, name, files)
    gone = spark.createDataFrame(
        [(file, number) for _, file, number in lost], "_path string, _number long"
    )
    rows = number_good_rows(raw, source, rules).join(
        F.broadcast(gone), ["_path", "_number"], "left_anti"
    )
    only = TableRules({}, complete, rules.shown)
    row = rows.agg(*aggregates(only, PLACE)).first()
    assert row is not None
    found = read_measures(row.asDict(), only, {})
    examples = examples_at(found.first, raw, 0 if source.has_header else 1)
    return {
        rule: RuleCount(found.checked[rule], found.broken[rule], first_of(examples.get(rule)))
        for rule in complete
    }
