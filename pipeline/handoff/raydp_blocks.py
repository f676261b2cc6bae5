"""The ``raydp`` mode: executors of Spark on Ray leave Arrow files, and Ray tasks take them in.

So Spark caches nothing, no heap ever holds a partition, and no Ray worker calls into Java; RayDP's
own fetch (``ray.data.from_spark``) does all three, and leaves workers behind on which Ray Data
fails. What is here says what Spark leaves; :mod:`pipeline.handoff.carrier` carries it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.engines.bounded import run_bounded
from pipeline.errors import StageFailed
from pipeline.handoff.arrow_schema import canonical_schema
from pipeline.handoff.blocks import BlockPlan, shown
from pipeline.handoff.carrier import Carrier, Passage
from pipeline.handoff.leave import leave_batches, leave_files
from pipeline.handoff.spark_calls import interruptible, spark_errors

if TYPE_CHECKING:
    import ray
    from pyspark import RDD
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

MOST_BLOCK_BYTES = 256 * 1024**2
"""A partition larger than this becomes several blocks."""

_BATCH_BYTES = 4 * 1024**2
_ASKED_AT_A_TIME = 16


def blocks_through_spark(
    session: SparkSession, plan: BlockPlan, passage: Passage
) -> list[ray.ObjectRef[pa.Table]]:
    """Carry the planned blocks through Spark's executors; in the order of ``plan.specs``.

    The executors' Python workers read the files themselves, where the executors run: rows that come
    from Parquet and go to Arrow gain nothing from a JVM between them.

    Args:
        session: a session on RayDP.
        plan: the blocks.
        passage: the way that they take.

    Raises:
        EngineError: a file cannot be read where the executors run, or a block was lost repeatedly.
        StageFailed: a block does not have the rows that its footer says.
    """
    context = session.sparkContext
    sizes = [spec.bytes for spec in plan.specs]
    leave = leave_files(plan.schema.names, str(passage.folder))

    def run(wave: list[int]) -> list[Any]:
        # One task a core, not one a file: each costs Spark some 50 ms. The largest files first, one
        # to each task in turn, so that the tasks are about equal.
        ordered = sorted(wave, key=lambda i: -sizes[i])
        count = min(len(wave), context.defaultParallelism)
        wanted = [(i, plan.specs[i].file, plan.specs[i].row_groups) for i in ordered]
        tasks = context.parallelize([wanted[task::count] for task in range(count)], count)
        return _run_partitions(tasks.mapPartitions(leave), list(range(count)))

    carrier = Carrier(
        context=context,
        leave=run,
        schema=plan.schema,
        passage=passage,
        sizes=sizes,
        specs=plan.specs,
    )
    carried = carrier.carry()
    for spec, pieces in zip(plan.specs, carried, strict=True):
        rows = sum(rows for _, rows in pieces)
        if rows != spec.rows:
            raise StageFailed(
                f"{rows} rows of {shown(spec.file)} came through Spark; its footer says {spec.rows}"
            )
    return [pieces[0][0] for pieces in carried]


@dataclass(frozen=True, slots=True)
class FrameBlocks:
    """A DataFrame's schema in Arrow, its blocks in row order, and their rows.

    Attributes:
        restore: carries again, as long as Spark lives, what was lost with a node of Ray, puts it in
            the place of what was lost, and says how many blocks it was.
    """

    schema: pa.Schema
    blocks: list[ray.ObjectRef[pa.Table]]
    rows: list[int]
    restore: Callable[[], int]


def blocks_of_frame(frame: DataFrame, passage: Passage) -> FrameBlocks:
    """Carry a DataFrame's partitions.

    A partition becomes one block, or several of at most :data:`MOST_BLOCK_BYTES`; one without rows
    becomes none, unless none has rows: then there is one empty block.

    Raises:
        EngineError: the frame cannot be computed, or a block was lost repeatedly.
    """
    from pyspark.sql.pandas.types import to_arrow_schema

    with spark_errors(), _batches_of(frame):
        schema = canonical_schema(to_arrow_schema(frame.schema))
        # By position: mapInArrow looks columns up by name, and stumbles over dots.
        numbered = frame.toDF(*(f"c{i}" for i in range(len(schema))))
        rows = numbered.mapInArrow(
            leave_batches(str(passage.folder), MOST_BLOCK_BYTES),
            "partition long, piece long, path string, host string, rows long, bytes long",
        )
        # Adaptive execution runs the frame's shuffles here already, to know its partitions.
        context = frame.sparkSession.sparkContext
        partitions = interruptible(context, lambda: rows.rdd.getNumPartitions())
        carrier = Carrier(
            context=context,
            leave=lambda wave: _run_partitions(rows.rdd, wave),
            schema=schema,
            passage=passage,
            sizes=[0] * partitions,
        )
        pieces = {
            (partition, i): piece
            for partition, found in enumerate(carrier.carry())
            for i, piece in enumerate(found)
            if piece[1]
        }
    if not pieces:
        block, _ = carrier.empty()
        return FrameBlocks(schema, [block], [0], lambda: 0)
    blocks = [block for block, _ in pieces.values()]
    counts = [count for _, count in pieces.values()]

    def restore() -> int:
        with spark_errors():
            return _restore(carrier, list(pieces), blocks, counts)

    restore()  # a node may have gone with blocks that had arrived there
    return FrameBlocks(schema, blocks, counts, restore)


def _restore(
    carrier: Carrier, places: list[tuple[int, int]], blocks: list[Any], counts: list[int]
) -> int:
    lost = _lost(blocks)
    if not lost:
        return 0
    partitions = sorted({places[i][0] for i in lost})
    log.warning("%d blocks were lost with a node of Ray and are carried again", len(lost))
    again = dict(zip(partitions, carrier.carry(partitions), strict=True))
    for i in lost:
        partition, piece = places[i]
        found = again[partition]
        if piece >= len(found) or found[piece][1] != counts[i]:
            raise StageFailed(
                f"partition {partition} of the DataFrame has other rows than when it was carried "
                "first",
                hint="what it is computed from has changed, or depends on chance",
            )
        blocks[i] = found[piece][0]
    return len(lost)


def _lost(blocks: Sequence[Any]) -> list[int]:
    """Numbers of the blocks that Ray does not have any more.

    Where a block lies is no proof: Ray learns late that a node is gone. So a task asks for each. Of
    a lost one Ray runs the task again that took it in, which finds no Arrow file and fails.
    """
    import ray

    if len(ray.nodes()) == 1:  # those that went down are still counted
        return []
    ask = ray.remote(num_cpus=0)(_is_there)
    numbers = iter(range(len(blocks)))
    ends = run_bounded(
        lambda: next(numbers, None), lambda i: ask.remote(blocks[i]), in_flight=_ASKED_AT_A_TIME
    )
    return sorted(end.item for end in ends if end.error is not None)


def _is_there(_block: pa.Table) -> bool:
    return True


def _run_partitions(rdd: RDD[Any], partitions: list[int]) -> list[Any]:
    """The rows of some partitions.

    ``SparkContext.runJob`` does the same, through one more Python worker for each partition.
    """
    from pyspark.rdd import _load_from_socket

    context = rdd.context
    java: Any = context._jvm
    answer = java.PythonRDD.runJob(context._jsc.sc(), rdd._jrdd, partitions)
    return list(_load_from_socket(answer, rdd._jrdd_deserializer))


@contextlib.contextmanager
def _batches_of(frame: DataFrame) -> Iterator[None]:
    """Have Spark cut a frame into Arrow batches of a few MB; it counts rows, not bytes."""
    setting = "spark.sql.execution.arrow.maxRecordsPerBatch"
    session = frame.sparkSession
    before = session.conf.get(setting) or "10000"
    row_bytes = max(1, int(frame._jdf.schema().defaultSize()))
    session.conf.set(setting, str(min(max(_BATCH_BYTES // row_bytes, 1_000), 1_000_000)))
    try:
        yield
    finally:
        session.conf.set(setting, before)
