"""DataFrames that are nothing but columns of Parquet files: their rows need not pass a JVM.

Spark makes rows of its own of what it reads, and Arrow of these, value by value. Whoever reads the
files as Arrow has the same rows several times sooner.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataRefused
from pipeline.handoff.arrow_schema import canonical_schema
from pipeline.handoff.blocks import BlockPlan, FilePart, plan_parts
from pipeline.handoff.spark_calls import spark_errors

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)

_CHANGE_NOTHING = {"WholeStageCodegenExec", "InputAdapter", "ColumnarToRowExec"}
_PARQUET = "ParquetFileFormat"


def plan_of_scan(frame: DataFrame) -> BlockPlan | None:
    """The blocks of a frame that only reads local Parquet files, in the order of its rows.

    Returns:
        ``None`` where Spark has more to do than to read (a filter, an expression, a partition
        column), or reads other than Arrow: a column that a file lacks or has in another type, the
        old kinds of timestamps, object storage with settings of Spark's own.
    """
    from pyspark.sql.pandas.types import to_arrow_schema

    with spark_errors():
        scan = _scan_of(frame._jdf.queryExecution().executedPlan())
        parts = None if scan is None else list(_parts_of(scan))
        schema = canonical_schema(to_arrow_schema(frame.schema))
    if not parts or not all(part.file.startswith("/") for part in parts):
        return None
    try:
        plan = plan_parts(parts, frame.columns)
    except DataRefused as problem:
        log.info("the DataFrame's files are read by Spark: %s", problem.message)
        return None
    return plan if plan.schema.equals(schema) else None


def _scan_of(plan: Any) -> Any | None:
    """The scan of files at the end of a physical plan, where all above it only chooses columns."""
    while True:
        kind = plan.getClass().getSimpleName()
        if kind == "FileSourceScanExec":
            relation = plan.relation()
            only_files = not relation.partitionSchema().size() and relation.bucketSpec().isEmpty()
            parquet = relation.fileFormat().getClass().getSimpleName() == _PARQUET
            return plan if parquet and only_files and not plan.dataFilters().size() else None
        if kind == "ProjectExec":
            chosen = plan.projectList()
            kinds = {chosen.apply(i).getClass().getSimpleName() for i in range(chosen.size())}
            if kinds - {"AttributeReference"}:
                return None
        elif kind not in _CHANGE_NOTHING:
            return None
        plan = plan.children().apply(0)


def _parts_of(scan: Any) -> Iterator[FilePart]:
    """What Spark would read, partition by partition."""
    for partition in scan.inputRDD().partitions():
        for part in partition.files():
            path = str(part.toPath().toString())
            yield FilePart(path.removeprefix("file:"), int(part.start()), int(part.length()))
