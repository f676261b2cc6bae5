"""The ``raydp`` mode: Spark partitions become Arrow blocks in Ray's object store.

RayDP caches each partition as Arrow bytes in its executor, and a Ray task asks the executor's
actor for them. RayDP's own task (``raydp.spark.dataset``) sets a flag in its worker that it never
resets, which breaks later tasks there; :func:`_fetch` is ours for that reason.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.engines.spark_session import apply_sql_settings
from pipeline.errors import EngineError, StageFailed
from pipeline.handoff.arrow_schema import in_form
from pipeline.handoff.blocks import SPLIT_BYTES, BlockPlan, BlockSpec, is_local, read_block

if TYPE_CHECKING:
    import ray
    from pyspark.sql import DataFrame, SparkSession

# RayDP sends a partition as one Java byte array, which ends at 2 GiB; Arrow adds its padding.
MOST_BLOCK_BYTES = 1536 * 1024**2

# RayDP holds a partition up to three times in the executor's heap while it is fetched.
_HEAP_SHARE = 0.15
_BATCH_BYTES = 32 * 1024**2
_FETCHES_PER_EXECUTOR = 2  # an executor's actor answers two calls at a time


@dataclass(frozen=True, slots=True)
class _Source:
    """Where one cached Spark partition lies."""

    actor: str
    rdd: int
    partition: int
    schema_json: str
    agent_url: str


def blocks_through_spark(
    session: SparkSession, plan: BlockPlan, heap_bytes: int, executors: int
) -> list[ray.ObjectRef[pa.Table]]:
    """Carry the planned blocks through Spark on Ray; in the order of ``plan.specs``.

    Files go in waves that fit the executors' heap, and each wave is dropped from Spark as soon as
    it has arrived; afterwards Spark may stop.

    Args:
        session: a session on RayDP.
        plan: the blocks.
        heap_bytes: the heap of one executor.
        executors: how many there are.

    Raises:
        EngineError: a block is too large for RayDP, Spark cannot read a file, or a block was lost.
        StageFailed: a block does not have the rows that its footer says.
    """
    too_large = next((spec for spec in plan.specs if spec.bytes > MOST_BLOCK_BYTES), None)
    if too_large is not None:
        raise EngineError(
            f"{too_large.file} has a block of {too_large.bytes} bytes; RayDP carries at most "
            f"{MOST_BLOCK_BYTES}",
            hint="write smaller row groups, or use convert.mode: parquet",
        )
    refs: dict[BlockSpec, Any] = {}
    with _spark_errors():
        reader = _reading_session(session, plan)
        for wave in _waves(plan.specs, int(heap_bytes * executors * _HEAP_SHARE)):
            refs |= _carry(reader, wave, plan.schema, _FETCHES_PER_EXECUTOR * executors)
    return [refs[spec] for spec in plan.specs]


def _gist(problem: Exception) -> str:
    # Java and Spark say what it is in the first line, a Ray task's traceback in the last.
    lines = str(problem).strip().splitlines() or [type(problem).__name__]
    return lines[-1 if "Traceback" in str(problem) or "ray::" in lines[0] else 0]


@contextlib.contextmanager
def _spark_errors() -> Iterator[None]:
    """Turn what Spark, py4j and Ray raise into the one error that ``auto`` falls back on."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from ray.exceptions import RayError

    try:
        yield
    except (Py4JError, PySparkException, RayError) as problem:
        raise EngineError(
            f"Spark or RayDP failed to carry the files: {_gist(problem)}",
            hint="see spark-driver.log among the engines' logs, or use convert.mode: parquet",
        ) from problem


def _reading_session(session: SparkSession, plan: BlockPlan) -> SparkSession:
    """A session over the same executors in which one file (or split) is one partition."""
    reader = session.newSession()
    rows = max(1, sum(spec.rows for spec in plan.specs))
    batch_rows = _BATCH_BYTES * rows // max(1, plan.bytes)
    apply_sql_settings(
        reader,
        {
            # A file "costs" as much to open as a whole partition holds: nothing shares one.
            "spark.sql.files.maxPartitionBytes": str(SPLIT_BYTES),
            "spark.sql.files.openCostInBytes": str(SPLIT_BYTES),
            "spark.sql.files.ignoreCorruptFiles": "false",
            "spark.sql.files.ignoreMissingFiles": "false",
            "spark.sql.caseSensitive": "true",
            # The default of 10,000 rows gives blocks of hundreds of chunks.
            "spark.sql.execution.arrow.maxRecordsPerBatch": str(
                min(max(batch_rows, 10_000), 4_000_000)
            ),
        },
    )
    return reader


def _waves(specs: Sequence[BlockSpec], most_bytes: int) -> Iterator[list[BlockSpec]]:
    """Cut ``specs`` between files into runs of at most ``most_bytes``, or of one file."""
    wave: list[BlockSpec] = []
    for file in dict.fromkeys(spec.file for spec in specs):
        of_file = [spec for spec in specs if spec.file == file]
        if wave and sum(spec.bytes for spec in wave + of_file) > most_bytes:
            yield wave
            wave = []
        wave = wave + of_file
    if wave:
        yield wave


def _carry(
    reader: SparkSession, wave: list[BlockSpec], schema: pa.Schema, in_flight: int
) -> dict[BlockSpec, ray.ObjectRef[pa.Table]]:
    from pyspark import StorageLevel

    frame = _frame(reader, wave, schema)
    positions = _partition_of(frame, wave)
    context = frame.sparkSession.sparkContext
    java: Any = context._jvm
    writer = java.org.apache.spark.sql.raydp.ObjectStoreWriter
    level = context._getJavaStorageLevel(StorageLevel.MEMORY_AND_DISK)
    cached = writer.prepareRecoverableRDD(frame._jdf, level)
    try:
        sources = {spec: _source(cached, positions[spec]) for spec in wave}
        return _fetch_all(sources, schema, in_flight)
    finally:
        writer.releaseRecoverableRDD(cached.rddId())


def _frame(reader: SparkSession, wave: list[BlockSpec], schema: pa.Schema) -> DataFrame:
    from pyspark.sql import functions as F

    paths = [_escape_glob(_spark_path(file)) for file in dict.fromkeys(s.file for s in wave)]
    # recursiveFileLookup: folders named key=value above a file must not become columns.
    frame = reader.read.option("recursiveFileLookup", "true").parquet(*paths)
    return frame.select([F.col(f"`{name.replace('`', '``')}`") for name in schema.names])


def _partition_of(frame: DataFrame, wave: list[BlockSpec]) -> dict[BlockSpec, int]:
    """The Spark partition that holds each block.

    Spark sorts partitions by size, so their order says nothing. Each scan partition names its
    files and offsets, also for a file without rows, where ``input_file_name`` would not.
    """
    java: Any = frame.sparkSession.sparkContext._jvm
    name_of = {
        f: str(java.org.apache.hadoop.fs.Path(_spark_path(f)).toString())
        for f in dict.fromkeys(spec.file for spec in wave)
    }
    found: dict[tuple[str, int], int] = {}
    partitions = frame._jdf.queryExecution().toRdd().partitions()
    for position, partition in enumerate(partitions):
        pieces = list(partition.files())
        if len(pieces) != 1:
            raise EngineError(f"Spark put {len(pieces)} file pieces into one partition, not one")
        found[(str(pieces[0].toPath().toString()), int(pieces[0].start()))] = position
    missing = [spec for spec in wave if (name_of[spec.file], spec.start) not in found]
    if missing:
        raise EngineError(
            f"Spark has no partition for {missing[0].file} at byte {missing[0].start}",
            hint="file names that begin with _ or . are invisible to Spark",
        )
    return {spec: found[(name_of[spec.file], spec.start)] for spec in wave}


def _source(cached: Any, partition: int) -> _Source:
    executor = cached.locations()[partition]
    if executor is None:
        raise EngineError(f"no Spark executor holds partition {partition} after it was cached")
    return _Source(
        f"raydp-executor-{executor}",
        int(cached.rddId()),
        partition,
        str(cached.schemaJson()),
        str(cached.driverAgentUrl()),
    )


def _fetch_all(
    sources: dict[BlockSpec, _Source], schema: pa.Schema, in_flight: int
) -> dict[BlockSpec, ray.ObjectRef[pa.Table]]:
    """Fetch with at most ``in_flight`` partitions under way; each holds copies in the heap."""
    import ray

    # No CPU: a fetch waits for the executor, and must run where Spark's work books every CPU.
    fetch = ray.remote(_fetch).options(num_cpus=0, num_returns=2, name="handoff.raydp")
    todo = list(sources.items())
    blocks: dict[BlockSpec, Any] = {}
    waiting: dict[Any, BlockSpec] = {}
    while todo or waiting:
        while todo and len(waiting) < in_flight:
            spec, source = todo.pop(0)
            blocks[spec], outcome = fetch.remote(source, spec, schema)
            waiting[outcome] = spec
        for outcome in ray.wait(list(waiting))[0]:
            _check(waiting.pop(outcome), *ray.get(outcome))
    return blocks


def _check(spec: BlockSpec, origin: str, rows: int) -> None:
    if origin != "raydp":
        raise EngineError(f"RayDP could not give {spec.file}: {origin}")
    if rows != spec.rows:
        raise StageFailed(
            f"{rows} rows of {spec.file} came through Spark; its footer says {spec.rows}"
        )


def _fetch(source: _Source, spec: BlockSpec, schema: pa.Schema) -> tuple[pa.Table, tuple[str, int]]:
    """In a Ray task: the block, and where it came from with its number of rows.

    Ray runs this again when a node with the block is lost. Spark may be gone by then; the block is
    then read from its file, so that it can be rebuilt as long as the store lives.
    """
    try:
        table, origin = in_form(_from_executor(source), schema), "raydp"
    except Exception as problem:
        table, origin = read_block(spec, schema), str(problem)
    return table, (origin, table.num_rows)


def _from_executor(source: _Source) -> pa.Table:
    import ray

    with _java_calls():
        actor = ray.get_actor(source.actor)
        stream = ray.get(
            actor.getRDDPartition.remote(
                source.rdd, source.partition, source.schema_json, source.agent_url
            )
        )
    table = pa.ipc.open_stream(pa.BufferReader(stream)).read_all()
    columns = [_with_offsets(column) for column in table.columns]
    return pa.Table.from_arrays(columns, names=table.column_names)


def _with_offsets(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Rewrite the buffers of a nested column.

    Java leaves the offsets of an empty nested list out altogether; Ray's own serialisation of
    Arrow stumbles over that ("Buffer #1 too small"). Concatenation writes them.
    """
    if not pa.types.is_nested(column.type):
        return column
    chunks = [pa.concat_arrays([chunk, chunk.slice(0, 0)]) for chunk in column.chunks]
    return pa.chunked_array(chunks, column.type)


@contextlib.contextmanager
def _java_calls() -> Iterator[None]:
    """Allow calls to Java actors in this worker, and only here.

    The flag makes Ray skip the export of Python classes. RayDP leaves it set, and every actor that
    a later task on this worker creates dies: "Expected str or bytes, got NoneType".
    """
    from ray._private.worker import global_worker

    global_worker.set_load_code_from_local(True)
    try:
        yield
    finally:
        global_worker.set_load_code_from_local(False)


def _spark_path(file: str) -> str:
    if file.startswith("s3://"):
        return "s3a://" + file.removeprefix("s3://")
    return file if not is_local(file) else "file://" + file.removeprefix("file://")


def _escape_glob(path: str) -> str:
    return re.sub(r"([\\{}\[\]*?])", r"\\\1", path)
