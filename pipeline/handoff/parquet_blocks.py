"""The ``parquet`` mode: Ray tasks read the files straight into the object store; no JVM."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.errors import EngineError, StageFailed
from pipeline.handoff.blocks import BlockPlan, BlockSpec, read_block, shown
from pipeline.handoff.nodes import alive_nodes, readers
from pipeline.handoff.spark_calls import gist

if TYPE_CHECKING:
    import ray

_POLL_SECONDS = 1.0


def blocks_from_files(
    plan: BlockPlan, in_flight: int, watch: Callable[[], None]
) -> list[ray.ObjectRef[pa.Table]]:
    """Read the planned blocks; in the order of ``plan.specs``.

    A file that lies on some nodes only is read on one of them.

    Args:
        plan: the blocks.
        in_flight: how many are read at a time.
        watch: called at least once a second; what it raises ends the hand-off.

    Raises:
        EngineError: no node of the cluster sees a file.
        StageFailed: a file changed since its footer was read.
    """
    import ray

    read = ray.remote(num_returns=2)(_read)
    schema = ray.put(plan.schema)
    place = _Placement(plan)
    blocks: list[Any] = []
    waiting: dict[Any, BlockSpec] = {}
    for spec in plan.specs:
        options = {"name": "handoff.parquet", **place.options(spec.file)}
        block, rows = read.options(**options).remote(spec, schema)
        blocks.append(block)
        waiting[rows] = spec
        while len(waiting) >= in_flight:
            _settle(waiting, watch)
    while waiting:
        _settle(waiting, watch)
    return blocks


class _Placement:
    """On which node a file is read: spread over those that see it."""

    def __init__(self, plan: BlockPlan) -> None:
        self._readers = readers(list(dict.fromkeys(spec.file for spec in plan.specs)))
        self._nodes = alive_nodes()
        self._turn = count()
        blind = [file for file, nodes in (self._readers or {}).items() if not nodes]
        if blind:
            raise EngineError(
                f"no node of the Ray cluster sees {shown(blind[0])}",
                hint="put the store where every node mounts it, or use convert.mode: raydp with "
                "Spark on Ray",
            )

    def options(self, file: str) -> dict[str, Any]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        if len(self._nodes) == 1:
            return {}
        nodes = self._readers[file] if self._readers is not None else self._nodes
        if len(nodes) == len(self._nodes):
            return {"scheduling_strategy": "SPREAD"}
        node = nodes[next(self._turn) % len(nodes)]
        # Soft: should the node go down, another one that sees the file may yet be tried.
        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True)}


def _read(spec: BlockSpec, schema: pa.Schema) -> tuple[pa.Table, int]:
    table = read_block(spec, schema)
    return table, table.num_rows


def _settle(waiting: dict[Any, BlockSpec], watch: Callable[[], None]) -> None:
    import ray

    done, _ = ray.wait(list(waiting), num_returns=1, timeout=_POLL_SECONDS)
    watch()
    for rows in done:
        spec = waiting.pop(rows)
        try:
            found = ray.get(rows)
        except ray.exceptions.RayError as problem:
            raise EngineError(
                f"{shown(spec.file)} could not be read by Ray: {gist(problem)}"
            ) from problem
        if found != spec.rows:
            raise StageFailed(f"{found} rows read from {shown(spec.file)}, not {spec.rows}")
