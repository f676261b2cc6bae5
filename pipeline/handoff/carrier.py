"""Runs Spark over some partitions at a time, and Ray behind it, which takes in what they left.

The Python worker of an executor writes what it has as Arrow files into a folder of its node. A Ray
task there maps a file into memory and returns it, which copies it into the object store, once.
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

from pipeline.errors import EngineError
from pipeline.handoff.arrow_schema import in_form
from pipeline.handoff.blocks import BlockSpec, read_block
from pipeline.handoff.leave import Left
from pipeline.handoff.nodes import alive_nodes, readers
from pipeline.handoff.spark_calls import gist, interruptible, spark_errors

if TYPE_CHECKING:
    from pyspark import SparkContext

log = logging.getLogger(__name__)

_ATTEMPTS = 3
_POLL_SECONDS = 1.0


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


@dataclass
class Carrier:
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
