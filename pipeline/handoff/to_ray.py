"""The hand-off: Parquet files of an artifact become Arrow blocks in Ray's object store."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from pipeline.engines.session import Engines
from pipeline.errors import EngineError
from pipeline.handoff.blocks import BlockPlan, plan_blocks
from pipeline.handoff.choose import choose_mode, may_use_raydp
from pipeline.handoff.parquet_blocks import blocks_from_files

if TYPE_CHECKING:
    import ray
    import ray.data

log = logging.getLogger(__name__)

Mode = Literal["raydp", "parquet", "auto"]


@dataclass(frozen=True, slots=True)
class HandedOff:
    """Blocks in Ray's object store, in row order.

    Attributes:
        blocks: one reference a file, in the files' order; several for a large file.
        files: the file that each block is from.
        rows: the rows of each block.
        schema: the Arrow schema of every block.
        mode: the mode that carried them, ``raydp`` or ``parquet``.
        reason: why this mode.
        seconds: how long it took, with the start of an engine where one was started.
        bytes: their size uncompressed, as the Parquet footers state it.
    """

    blocks: list[ray.ObjectRef[pa.Table]]
    files: list[str]
    rows: list[int]
    schema: pa.Schema
    mode: str
    reason: str
    seconds: float
    bytes: int

    def dataset(self) -> ray.data.Dataset:
        """A Ray Dataset over the same blocks; nothing is copied."""
        import ray.data

        return ray.data.from_arrow_refs(self.blocks)


def to_ray(
    files: Sequence[str], *, columns: Sequence[str] | None, mode: Mode, engines: Engines
) -> HandedOff:
    """Put Parquet files into Ray's object store as Arrow blocks.

    The result is the same in every mode: same blocks, rows, order and types.

    Args:
        files: absolute paths or URIs, in the order that the blocks shall have.
        columns: the columns to keep, in this order; ``None`` keeps all.
        mode: ``parquet`` (Ray reads the files), ``raydp`` (Spark on Ray does), or ``auto``.
        engines: the run's engines; started where needed.

    Raises:
        DataRefused: a file is missing or not Parquet, or the files' schemas differ.
        EngineError: an engine did not start, or RayDP failed in mode ``raydp``. ``auto`` falls back
            to ``parquet`` with a warning.
        StageFailed: what arrived is not what the footers say.
    """
    started = time.monotonic()
    plan = plan_blocks(files, columns)
    engines.ray()
    chosen, reason = (mode, "set by convert.mode") if mode != "auto" else choose_mode(plan, engines)
    log.info("hand-off by %s: %s", chosen, reason)
    if chosen == "raydp":
        try:
            blocks = _through_spark(plan, engines)
        except EngineError as problem:
            if mode != "auto":
                raise
            chosen, reason = "parquet", f"raydp failed: {problem.message}"
            log.warning("hand-off falls back to parquet: %s", reason)
    if chosen == "parquet":
        blocks = blocks_from_files(plan, in_flight=2 * engines.plan.ray_cpus)
    return _handed_off(plan, blocks, chosen, reason, time.monotonic() - started)


def _through_spark(plan: BlockPlan, engines: Engines) -> list[Any]:
    from pipeline.handoff.raydp_blocks import blocks_through_spark

    if not may_use_raydp(engines):
        raise EngineError(
            f"convert.mode raydp needs Spark on Ray; engines.spark.master is "
            f"{engines.config.spark.master!r}",
            hint="set engines.spark.master: ray, or convert.mode: parquet",
        )
    sizes = engines.plan
    session = engines.spark()
    return blocks_through_spark(session, plan, sizes.executor_memory_bytes, sizes.executors)


def _handed_off(
    plan: BlockPlan, blocks: list[Any], mode: str, reason: str, seconds: float
) -> HandedOff:
    return HandedOff(
        blocks=blocks,
        files=[spec.file for spec in plan.specs],
        rows=[spec.rows for spec in plan.specs],
        schema=plan.schema,
        mode=mode,
        reason=reason,
        seconds=seconds,
        bytes=plan.bytes,
    )
