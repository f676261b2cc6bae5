"""The feature table as files: rows clustered by segment, the same files on every engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import StorageLevel
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from pipeline.config.preprocess import SPLIT, PreprocessConfig
from pipeline.dataprep.features import Segments, check_rows, feature_table
from pipeline.dataprep.held_out import GAP
from pipeline.dataprep.layout import Place, partition_keys, place_segments
from pipeline.dataprep.parts import count_rows, write_parts
from pipeline.dataprep.read_lines import escape_glob
from pipeline.errors import StageFailed

_PLAN = "segments.parquet"  # beside the parts for as long as they are written


@dataclass(frozen=True)
class FeatureCounts:
    """What was written.

    Attributes:
        gap: rows between training and test that were dropped.
        largest, smallest: rows of a segment.
        untrained, untested: segments without a training row that has a target, without a test row.
    """

    rows: int
    segments: int
    files: int
    gap: int
    largest: int
    smallest: int
    untrained: int
    untested: int


def write_features(frame: DataFrame, config: PreprocessConfig, folder: str | Path) -> FeatureCounts:
    """Write the feature table of ``frame`` to ``folder/part-00000.parquet`` and on.

    Rows of the gap between training and test are counted, not written.
    Rows are ordered by segment, time and key through all files. Segments that fit in
    ``config.file_mb`` MiB lie whole in one file; larger ones span files that hold nothing else.
    The same rows give the same bytes, whatever the cores and partitions.

    Raises:
        ConfigError, DataRefused: as ``feature_table`` and ``check_rows`` say.
        StageFailed: Spark wrote another number of rows or files than planned.
    """
    # Kept, since three jobs read it (segments, keys, the write) and the steps' joins cost most.
    kept = feature_table(frame, config).persist(StorageLevel.MEMORY_AND_DISK)
    plan = Path(folder) / _PLAN
    try:
        gap = kept.filter(F.col(SPLIT) == GAP).count() if config.split.test.gap_days else 0
        table = kept.filter(F.col(SPLIT) != GAP) if gap else kept
        segments = check_rows(table, config)
        places = place_segments(segments.rows, segments.row_bytes, config.file_mb)
        _write_plan(segments, places, len(config.segment), plan)
        files = write_parts(_laid_out(table, config, plan, places), folder)
    finally:
        kept.unpersist()
        plan.unlink(missing_ok=True)
    planned = places[-1].first + places[-1].files
    written = count_rows(files)
    if (len(files), written) != (planned, segments.total):
        raise StageFailed(
            f"{written:,} rows in {len(files)} files were written; "
            f"{segments.total:,} rows in {planned} files were planned",
            hint="the steps' SQL gives other rows each time: order its windows by a whole key",
        )
    return FeatureCounts(
        rows=written,
        segments=len(segments.rows),
        files=len(files),
        gap=gap,
        largest=max(segments.rows),
        smallest=min(segments.rows),
        untrained=segments.untrained,
        untested=segments.untested,
    )


def _laid_out(
    table: DataFrame, config: PreprocessConfig, plan: Path, places: list[Place]
) -> DataFrame:
    """Rows in their files' partitions and order."""
    order = [F.col(name).asc_nulls_first() for name in (*config.segment, config.time, *config.key)]
    files = places[-1].first + places[-1].files
    keys = F.array(*(F.lit(key) for key in partition_keys(files)))
    placed = _with_file(table, config, plan, places)
    by_key = placed.withColumn("_partition", F.get(keys, F.col("_file")))
    # A number of partitions that is given is kept by adaptive execution.
    parted = by_key.repartition(files, "_partition").sortWithinPartitions(*order)
    return parted.select(*table.columns)


def _write_plan(segments: Segments, places: list[Place], columns: int, path: Path) -> None:
    """The segments' places as a file: a frame made of Python rows would start Python workers."""
    values = [list(value) for value in segments.values]
    plan = {
        f"_segment_{index}": pa.array([value[index] for value in values], pa.string())
        for index in range(columns)
    }
    plan["_first"] = pa.array([place.first for place in places], pa.int32())
    plan["_files"] = pa.array([place.files for place in places], pa.int32())
    plan["_rows"] = pa.array(segments.rows, pa.int64())
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(plan), path)


def _with_file(
    table: DataFrame, config: PreprocessConfig, plan_file: Path, places: list[Place]
) -> DataFrame:
    names = [f"_segment_{index}" for index in range(len(config.segment))]
    path = escape_glob(f"file://{plan_file.absolute()}")
    plan = table.sparkSession.read.schema(_plan_schema(names)).parquet(path)
    same = [  # a null segment is a segment
        F.col(f"`{column}`").eqNullSafe(F.col(name))
        for column, name in zip(config.segment, names, strict=True)
    ]
    joined = table.join(F.broadcast(plan), same)
    if all(place.files == 1 for place in places):
        return joined.withColumn("_file", F.col("_first"))
    return _spread(joined, config)


def _plan_schema(names: list[str]) -> T.StructType:
    return T.StructType(
        [
            *(T.StructField(name, T.StringType()) for name in names),
            *(T.StructField(name, T.IntegerType()) for name in ("_first", "_files")),
            T.StructField("_rows", T.LongType()),
        ]
    )


def _spread(joined: DataFrame, config: PreprocessConfig) -> DataFrame:
    """Divide the rows of large segments among their files, in order of time and key."""
    order = Window.partitionBy(*config.segment).orderBy(config.time, *config.key)
    small, large = joined.filter("_files = 1"), joined.filter("_files > 1")
    ranked = large.withColumn("_rank", F.row_number().over(order) - 1)
    nth = F.floor(F.col("_rank") * F.col("_files") / F.col("_rows")).cast("int")
    return small.withColumn("_file", F.col("_first")).unionByName(
        ranked.withColumn("_file", F.col("_first") + nth).drop("_rank")
    )
