"""DataFrames that are nothing but columns of Parquet files: their rows need not pass a JVM.

Spark makes rows of its own of what it reads, and Arrow of these, value by value. Whoever reads the
files as Arrow has the same rows several times sooner.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.errors import DataRefused
from pipeline.handoff.arrow_schema import canonical_schema
from pipeline.handoff.blocks import BlockPlan, FilePart, plan_parts
from pipeline.handoff.spark_calls import interruptible, spark_errors

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)

_CHANGE_NOTHING = {"WholeStageCodegenExec", "InputAdapter", "ColumnarToRowExec"}
_PARQUET = "ParquetFileFormat"
_SPARKS_OWN = {
    "spark.sql.files.ignoreCorruptFiles": "true",
    "spark.sql.parquet.fieldId.read.enabled": "true",
    "spark.sql.parquet.datetimeRebaseModeInRead": "legacy",
}
"""Settings with which Spark reads files other than Arrow does."""
_MANY, _SMALL_BYTES = 1000, 1024**2


def plan_of_scan(frame: DataFrame) -> BlockPlan | None:
    """The blocks of a frame that only reads local Parquet files, in the order of its rows.

    Returns:
        ``None`` where Spark has more to do than to read (a filter, an expression, a partition
        column), or reads other than Arrow: a column that a file lacks or has in another type, the
        old kinds of timestamps, object storage with settings of Spark's own. And ``None`` for many
        small files, which Spark packs together.
    """
    from pyspark.errors import PySparkException
    from pyspark.sql.pandas.types import to_arrow_schema

    conf = frame.sparkSession.conf
    sparks_own = any(str(conf.get(key)).lower() == value for key, value in _SPARKS_OWN.items())
    if sparks_own or not frame.columns:
        return None
    with spark_errors():
        parts = interruptible(frame.sparkSession.sparkContext, lambda: _parts_of(frame))
    if not parts or not all(part.file.startswith("/") for part in parts):
        return None
    try:
        schema = canonical_schema(to_arrow_schema(frame.schema))
        plan = plan_parts(parts, frame.columns)
    except (DataRefused, PySparkException, pa.ArrowException) as problem:
        log.info("the DataFrame's files are read by Spark: %s", problem)
        return None
    small = len(plan.specs) > _MANY and plan.bytes < len(plan.specs) * _SMALL_BYTES
    return plan if plan.schema.equals(schema) and not small else None


def _parts_of(frame: DataFrame) -> list[FilePart]:
    """What Spark would read, partition by partition; nothing where it does more than read."""
    scan = _scan_of(frame._jdf.queryExecution().executedPlan())
    if scan is None:
        return []
    found = []
    for partition in scan.inputRDD().partitions():
        for part in partition.files():
            path = str(part.toPath().toString()).removeprefix("file:")
            found.append(FilePart(path, int(part.start()), int(part.length())))
    return found


def _scan_of(plan: Any) -> Any | None:
    """The scan of files at the end of a physical plan, where all above it only chooses columns."""
    while True:
        kind = plan.getClass().getSimpleName()
        if kind == "FileSourceScanExec":
            relation = plan.relation()
            only_files = not relation.partitionSchema().size() and relation.bucketSpec().isEmpty()
            options = str(relation.options().mkString("\n")).lower().splitlines()
            shifts_days = "datetimerebasemode -> legacy" in options
            parquet = relation.fileFormat().getClass().getSimpleName() == _PARQUET
            if shifts_days or not parquet or not only_files or plan.dataFilters().size():
                return None
            return plan
        if kind == "ProjectExec":
            chosen = plan.projectList()
            kinds = {chosen.apply(i).getClass().getSimpleName() for i in range(chosen.size())}
            if kinds - {"AttributeReference"}:
                return None
        elif kind not in _CHANGE_NOTHING:
            return None
        plan = plan.children().apply(0)
