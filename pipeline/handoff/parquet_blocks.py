"""The ``parquet`` mode: Ray tasks read the files straight into the object store; no JVM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.errors import StageFailed
from pipeline.handoff.blocks import BlockPlan, BlockSpec, read_block

if TYPE_CHECKING:
    import ray


def blocks_from_files(plan: BlockPlan, in_flight: int) -> list[ray.ObjectRef[pa.Table]]:
    """Read the planned blocks; in the order of ``plan.specs``.

    Args:
        plan: the blocks.
        in_flight: how many are read at a time.

    Raises:
        StageFailed: a file changed since its footer was read.
    """
    import ray

    read = ray.remote(_read).options(num_returns=2, name="handoff.parquet")
    schema = ray.put(plan.schema)
    blocks: list[Any] = []
    waiting: dict[Any, BlockSpec] = {}
    for spec in plan.specs:
        block, rows = read.remote(spec, schema)
        blocks.append(block)
        waiting[rows] = spec
        if len(waiting) >= in_flight:
            _settle(waiting, 1)
    _settle(waiting, len(waiting))
    return blocks


def _read(spec: BlockSpec, schema: pa.Schema) -> tuple[pa.Table, int]:
    table = read_block(spec, schema)
    return table, table.num_rows


def _settle(waiting: dict[Any, BlockSpec], count: int) -> None:
    import ray

    done, _ = ray.wait(list(waiting), num_returns=count) if waiting else ([], [])
    for rows in done:
        spec = waiting.pop(rows)
        if ray.get(rows) != spec.rows:
            raise StageFailed(f"{ray.get(rows)} rows read from {spec.file}, not {spec.rows}")
