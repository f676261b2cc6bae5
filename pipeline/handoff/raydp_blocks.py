"""The ``raydp`` mode: executors of Spark on Ray leave Arrow files, and Ray tasks take them in.

The Python worker of an executor writes what it has as Arrow files into a folder of its node. A Ray
task there maps a file into memory and returns it, which copies it into the object store, once. So
Spark caches nothing, no heap ever holds a partition, and no Ray worker calls into Java; RayDP's own
fetch (``ray.data.from_spark``) does all three, and leaves workers behind on which Ray Data fails.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.engines.bounded import run_bounded
from pipeline.errors import EngineError, StageFailed
from pipeline.handoff.arrow_schema import canonical_schema, in_form
from pipeline.handoff.blocks import BlockPlan, BlockSpec, read_block, shown
from pipeline.handoff.leave import Left, leave_batches, leave_files
from pipeline.handoff.nodes import alive_nodes, readers
from pipeline.handoff.spark_calls import gist, interruptible, spark_errors

if TYPE_CHECKING:
    import ray
    from pyspark import RDD, SparkContext
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

MOST_BLOCK_BYTES = 256 * 1024**2
"""A partition larger than this becomes several blocks."""

_BATCH_BYTES = 4 * 1024**2
_ATTEMPTS = 3
_POLL_SECONDS = 1.0
_ASKED_AT_A_TIME = 16


@dataclass(frozen=True, slots=True)
class Passage:
    """The way from Spark's executors to Ray's object store.

    Attributes:
        folder: where on each node the Arrow files are left for a moment; removed at the end.
        most_bytes: how much may lie there.
        lanes: how many Ray tasks take files in at a time on a node.
        watch: called before and while Ray takes files in; what it raises ends the hand-off.
    """

    folder: Path
    most_bytes: int
    lanes: int
    watch: Callable[[], None]


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
        # Two tasks a core, not one a file: each costs Spark some 50 ms. The largest files first,
        # one to each task in turn, so that the tasks are about equal.
        ordered = sorted(wave, key=lambda i: -sizes[i])
        count = min(len(wave), 2 * context.defaultParallelism)
        wanted = [(i, plan.specs[i].file, plan.specs[i].row_groups) for i in ordered]
        tasks = context.parallelize([wanted[task::count] for task in range(count)], count)
        return _run_partitions(tasks.mapPartitions(leave), list(range(count)))

    carrier = _Carrier(
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
        carrier = _Carrier(
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
    carrier: _Carrier, places: list[tuple[int, int]], blocks: list[Any], counts: list[int]
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


@dataclass
class _Carrier:
    """Runs Spark over some partitions at a time, and Ray behind it.

    Attributes:
        leave: has Spark leave some partitions' files, and gives their :class:`Left` as tuples.
        sizes: each partition's size in Parquet, in bytes; 0 where nobody knows it.
        specs: what to read again where a block is lost; ``None`` for a DataFrame.
    """

    context: SparkContext
    leave: Callable[[list[int]], list[Any]]
    schema: pa.Schema
    passage: Passage
    sizes: list[int]
    specs: Sequence[BlockSpec] | None = None
    _nodes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _seen: dict[int, int] = field(default_factory=dict)

    def carry(self, partitions: Sequence[int] | None = None) -> list[list[tuple[Any, int]]]:
        """For each partition (``None``: all) its blocks with their rows, at least an empty one."""
        done: dict[int, list[tuple[Any, int]]] = {}
        wanted = list(range(len(self.sizes)) if partitions is None else partitions)
        todo, tries = wanted, 0
        try:
            while todo:
                failed: dict[int, str] = {}
                before: dict[Any, list[Left]] = {}
                for wave in self._waves(todo):
                    taken = self._take_in_wave(wave, done)
                    # Ray copied these while Spark wrote the next.
                    failed |= _failures(before, self.passage.watch)
                    before = taken
                failed |= _failures(before, self.passage.watch)
                todo, tries = sorted(failed), tries + 1
                if todo and tries == _ATTEMPTS:
                    raise EngineError(
                        f"{len(todo)} partitions could not be carried in {tries} tries; "
                        f"the first: {failed[todo[0]]}",
                        hint="see the engines' logs, or use convert.mode: parquet",
                    )
                if todo:
                    log.warning("%d partitions are carried again: %s", len(todo), failed[todo[0]])
        finally:
            self._remove_folder()
        return [done[partition] for partition in wanted]

    def _waves(self, partitions: Iterable[int]) -> Iterator[list[int]]:
        """Runs of partitions of about half of ``most_bytes``: one is taken in, one is written.

        What a partition will take is known from those before it. Before that, a file is taken for
        four times its size in Parquet, and a DataFrame's partition for a core's share of a wave.
        """
        most = self.passage.most_bytes // 2
        cores = max(1, self.context.defaultParallelism)
        waiting = deque(partitions)
        while waiting:
            wave, size = 0, 0
            for partition in waiting:
                size += self._guess(partition) or 4 * self.sizes[partition] or most // cores
                if wave and size > most:
                    break
                wave += 1
            if cores < wave < len(waiting):
                wave -= wave % cores  # or some cores would have nothing to do at the end
            yield [waiting.popleft() for _ in range(wave)]

    def _guess(self, partition: int) -> int:
        """Bytes of a partition's Arrow files, by the bytes of those seen; 0 where none was."""
        if not self._seen:
            return 0
        seen = sum(self._seen.values())
        if self.specs is None:
            return max(1, seen // len(self._seen))
        # Parquet's size and Arrow's differ by what the encoding saves.
        expected = sum(self.sizes[seen_before] for seen_before in self._seen)
        return max(1, seen * self.sizes[partition] // max(1, expected))

    def _take_in_wave(
        self, wave: list[int], done: dict[int, list[tuple[Any, int]]]
    ) -> dict[Any, list[Left]]:
        """Have Spark leave some partitions' files and Ray begin to take them in.

        Returns:
            By the reference that tells how it ended, the files that a task takes in.
        """
        with spark_errors():
            records = interruptible(self.context, lambda: self.leave(wave))
        answers = [Left(*record) for record in records]
        silent = set(wave) - {left.partition for left in answers}
        if silent:
            raise EngineError(f"Spark gave no answer for {len(silent)} of {len(wave)} partitions")
        found = [left for left in answers if left.rows]
        blocks: dict[Left, Any] = {}
        outcomes = {}
        for nodes, files in self._by_nodes(found).items():
            # As many tasks as CPUs, not one a file: they book no CPU (Spark's executors may have
            # booked all), and Ray would start a worker for each at once.
            count = min(self.passage.lanes * max(1, len(nodes)), len(files))
            for i in range(count):
                lane, node = files[i::count], nodes[i % len(nodes)] if nodes else None
                *taken, outcome = self._take_in(lane, node)
                blocks |= dict(zip(lane, taken, strict=True))
                outcomes[outcome] = lane
        for partition in wave:
            pieces = sorted(left for left in found if left.partition == partition)
            self._seen[partition] = sum(left.bytes for left in pieces)
            done[partition] = [(blocks[left], left.rows) for left in pieces] or [self.empty()]
        return outcomes

    def empty(self) -> tuple[Any, int]:
        """A block without rows."""
        import ray

        return ray.put(self.schema.empty_table()), 0

    def _take_in(self, files: list[Left], node: str | None) -> list[Any]:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options: dict[str, Any] = {"num_cpus": 0, "name": "handoff.raydp"}
        if node is not None:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=True)
        specs = [self.specs[left.partition] if self.specs else None for left in files]
        remote = ray.remote(_take_in).options(num_returns=len(files) + 1, **options)
        taken: list[Any] = remote.remote([left.path for left in files], specs, self.schema)
        return taken

    def _by_nodes(self, files: list[Left]) -> dict[tuple[str, ...], list[Left]]:
        found: dict[tuple[str, ...], list[Left]] = {}
        for left in sorted(files):
            found.setdefault(self._nodes_of(left), []).append(left)
        return found

    def _nodes_of(self, left: Left) -> tuple[str, ...]:
        """The Ray nodes that see a file; none where there is but one node."""
        if left.host not in self._nodes:
            self._nodes[left.host] = tuple((readers([left.path]) or {}).get(left.path, ()))
        return self._nodes[left.host]

    def _remove_folder(self) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        _remove(str(self.passage.folder))
        alive = alive_nodes()
        if len(alive) > 1:  # files may lie on any of them, whatever went wrong
            remove = ray.remote(num_cpus=0, max_retries=0)(_remove)
            strategies = [NodeAffinitySchedulingStrategy(node, soft=False) for node in alive]
            ends = [
                remove.options(scheduling_strategy=strategy).remote(str(self.passage.folder))
                for strategy in strategies
            ]
            ray.wait(ends, num_returns=len(ends), timeout=10)


def _remove(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        Path(folder).parent.rmdir()  # on another node than the driver's, nothing else is in it


def _run_partitions(rdd: RDD[Any], partitions: list[int]) -> list[Any]:
    """The rows of some partitions.

    ``SparkContext.runJob`` does the same, through one more Python worker for each partition.
    """
    from pyspark.rdd import _load_from_socket

    context = rdd.context
    java: Any = context._jvm
    answer = java.PythonRDD.runJob(context._jsc.sc(), rdd._jrdd, partitions)
    return list(_load_from_socket(answer, rdd._jrdd_deserializer))


def _failures(outcomes: dict[Any, list[Left]], watch: Callable[[], None]) -> dict[int, str]:
    """Wait for files to be taken in; the partitions of those that were not, with the reason."""
    import ray

    failed: dict[int, str] = {}
    for outcome, files in outcomes.items():
        watch()
        while not ray.wait([outcome], timeout=_POLL_SECONDS)[0]:
            watch()
        try:
            rows = ray.get(outcome)
        except ray.exceptions.RayError as problem:
            failed |= {left.partition: gist(problem) for left in files}
            continue
        for left, found in zip(files, rows, strict=True):
            if left.rows != found:
                failed[left.partition] = f"{left.rows} rows were written and {found} taken in"
    return failed


def _take_in(paths: list[str], specs: list[BlockSpec | None], schema: pa.Schema) -> list[Any]:
    """In a Ray task: the blocks, and last their rows.

    Ray runs this again when the node with a block is lost. The Arrow files are gone by then; blocks
    of an artifact are read from its files: they can be rebuilt as long as the store lives.
    """
    blocks = [_block(path, spec, schema) for path, spec in zip(paths, specs, strict=True)]
    return [*blocks, [block.num_rows for block in blocks]]


def _block(path: str, spec: BlockSpec | None, schema: pa.Schema) -> pa.Table:
    try:
        with pa.memory_map(path) as source:
            table = pa.ipc.open_stream(source).read_all()
        Path(path).unlink()  # the mapping holds the bytes until they are copied
    except OSError:
        if spec is None:
            raise
        return read_block(spec, schema)
    columns = [_with_offsets(column) for column in table.columns]
    return in_form(pa.table(columns, names=schema.names), schema)


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
