"""The hand-off: an artifact's Parquet files, or a DataFrame, become Arrow blocks in Ray."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from uuid import uuid4

import pyarrow as pa

from pipeline.engines.resources import MIB
from pipeline.engines.session import Engines
from pipeline.errors import DataRefused, EngineError, StageFailed
from pipeline.handoff.blocks import BlockPlan, plan_blocks
from pipeline.handoff.choose import choose_mode, may_use_raydp
from pipeline.handoff.nodes import alive_nodes
from pipeline.handoff.parquet_blocks import blocks_from_files
from pipeline.handoff.scan import plan_of_scan

if TYPE_CHECKING:
    import ray
    import ray.data
    from pyspark.sql import DataFrame

    from pipeline.handoff.carrier import Passage
    from pipeline.handoff.raydp_blocks import FrameBlocks

log = logging.getLogger(__name__)

Mode = Literal["raydp", "parquet", "auto"]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class HandedOff:
    """Blocks in Ray's object store, in row order.

    Attributes:
        blocks: one reference a file or partition, in order; several for a large one, and none
            for a DataFrame's partition without rows.
        files: the file that each block is from; empty for a DataFrame that Spark computed.
        rows: the rows of each block.
        schema: the Arrow schema of every block.
        mode: the mode that carried them, ``raydp`` or ``parquet``.
        reason: why this mode.
        seconds: how long it took, with the start of an engine where one was started.
        bytes: their size uncompressed, as the Parquet footers state it; 0 where Spark computed
            them.
        restore: puts back what was lost with a node of Ray, and says how many blocks it was; for a
            DataFrame that Spark computed, as long as Spark lives. Blocks that were read from files
            need no help, Ray reads them again.
    """

    blocks: list[ray.ObjectRef[pa.Table]]
    files: list[str]
    rows: list[int]
    schema: pa.Schema
    mode: str
    reason: str
    seconds: float
    bytes: int
    restore: Callable[[], int] = field(default=lambda: 0, repr=False)

    def dataset(self) -> ray.data.Dataset:
        """A Ray Dataset over the same blocks; nothing is copied."""
        import ray.data

        return ray.data.from_arrow_refs(self.blocks)


def to_ray(
    source: Sequence[str] | DataFrame,
    *,
    columns: Sequence[str] | None,
    mode: Mode,
    engines: Engines,
) -> HandedOff:
    """Put Parquet files, or a DataFrame of the engines' Spark, into Ray's object store.

    The result is the same in every mode: same rows, order and types; for files, same blocks. A
    DataFrame that only reads Parquet files is handed over as these files.

    Args:
        source: absolute paths or URIs in the order that the blocks shall have; or a DataFrame.
        columns: the columns to keep, in this order; ``None`` keeps all.
        mode: ``parquet`` (Ray reads files; a DataFrame is written as such first), ``raydp`` (the
            executors of Spark on Ray carry the rows), or ``auto``.
        engines: the run's engines; started where needed.

    Raises:
        DataRefused: a file is missing or not Parquet, or the files' schemas differ.
        EngineError: an engine did not start, the hand-off took longer than
            ``engines.handoff_timeout_seconds``, or RayDP failed in mode ``raydp``. ``auto`` falls
            back to ``parquet`` with a warning.
        StageFailed: what arrived is not what the footers say.
    """
    engines.ray()
    with engines.handoff_deadline("the hand-off to Ray"):
        if isinstance(source, Sequence):
            started = time.monotonic()
            return _files_to_ray(plan_blocks(source, columns), mode, engines, started)
        return _frame_to_ray(source if columns is None else _chosen(source, columns), mode, engines)


def _files_to_ray(plan: BlockPlan, mode: Mode, engines: Engines, started: float) -> HandedOff:
    engines.spill.refuse_beyond(plan.bytes)
    chosen, reason = (mode, "set by convert.mode") if mode != "auto" else choose_mode(plan, engines)
    log.info("hand-off by %s: %s", chosen, reason)
    blocks: list[Any] | None = None
    if chosen == "raydp":
        from pipeline.handoff.raydp_blocks import blocks_through_spark

        blocks, failure = _by_raydp(
            lambda: blocks_through_spark(engines.spark(), plan, _passage(engines)), mode, engines
        )
        chosen, reason = ("parquet", failure) if blocks is None else (chosen, reason)
    if blocks is None:
        blocks = _from_files(plan, engines)
    return _handed_off(plan, blocks, chosen, reason, time.monotonic() - started)


def _frame_to_ray(frame: DataFrame, mode: Mode, engines: Engines) -> HandedOff:
    started = time.monotonic()
    twice = [name for name, count in Counter(frame.columns).items() if count > 1]
    if twice:
        raise DataRefused(f"the DataFrame has two columns {twice[0]!r}", hint="rename one of them")
    # On other machines the same path may be another file.
    scanned = plan_of_scan(frame) if may_use_raydp(engines) or _on_one_machine(engines) else None
    if scanned is not None:
        return _files_to_ray(scanned, mode, engines, started)
    chosen, reason = (mode, "set by convert.mode") if mode != "auto" else _mode_of_frame(engines)
    carried: FrameBlocks | None = None
    if chosen == "raydp":
        from pipeline.handoff.raydp_blocks import blocks_of_frame

        carried, failure = _by_raydp(
            lambda: blocks_of_frame(frame, _passage(engines)), mode, engines
        )
        chosen, reason = ("parquet", failure) if carried is None else (chosen, reason)
    if carried is None:
        carried = _through_files(frame, engines)
    return HandedOff(
        blocks=carried.blocks,
        files=[],
        rows=carried.rows,
        schema=carried.schema,
        mode=chosen,
        reason=reason,
        seconds=time.monotonic() - started,
        bytes=0,
        restore=carried.restore,
    )


def _chosen(frame: DataFrame, columns: Sequence[str]) -> DataFrame:
    return frame.select(*("`" + name.replace("`", "``") + "`" for name in columns))


def _mode_of_frame(engines: Engines) -> tuple[str, str]:
    if may_use_raydp(engines):
        return "raydp", "the executors of Spark on Ray hold the rows already"
    return "parquet", "Spark does not run on Ray, so its rows go through files"


def _on_one_machine(engines: Engines) -> bool:
    return not engines.ray().client and len(alive_nodes()) == 1


def _through_files(frame: DataFrame, engines: Engines) -> FrameBlocks:
    from pipeline.handoff.raydp_blocks import FrameBlocks

    plan = _written(frame, engines.scratch_folder / f"frame-{uuid4().hex[:8]}", engines)
    engines.spill.refuse_beyond(plan.bytes)
    rows = [spec.rows for spec in plan.specs]
    return FrameBlocks(plan.schema, _from_files(plan, engines), rows, restore=lambda: 0)


def _written(frame: DataFrame, folder: Path, engines: Engines) -> BlockPlan:
    """A DataFrame as Parquet files, in the order of its partitions; they stay for the run."""
    from pyspark.sql import Observation
    from pyspark.sql import functions as F

    from pipeline.handoff.spark_calls import interruptible, spark_errors

    if not _on_one_machine(engines):
        raise EngineError(
            "a DataFrame goes through files on one machine only, and Ray has several nodes",
            hint="use convert.mode: raydp with Spark on Ray, or write it to the store and pass "
            "its files",
        )
    written = Observation()
    with spark_errors():
        observed = frame.observe(written, F.count(F.lit(1)).alias("rows"))
        context = frame.sparkSession.sparkContext
        interruptible(context, lambda: observed.write.parquet(f"file://{folder}"))
    plan = plan_blocks([str(path) for path in sorted(folder.glob("part-*.parquet"))])
    found = sum(spec.rows for spec in plan.specs)
    if found != written.get["rows"]:
        raise StageFailed(f"{written.get['rows']} rows were written, but {found} lie in {folder}")
    return plan


def _by_raydp(
    carry: Callable[[], Result], mode: Mode, engines: Engines
) -> tuple[Result | None, str]:
    """What Spark's executors carried; or ``None`` and why not, where ``auto`` goes on without."""
    try:
        _refuse_without_raydp(engines)
        return carry(), ""
    except EngineError as problem:
        if mode != "auto":
            raise
        log.warning("hand-off falls back to parquet: raydp failed: %s", problem.message)
        return None, f"raydp failed: {problem.message}"


def _passage(engines: Engines) -> Passage:
    from pipeline.handoff.carrier import Passage

    return Passage(
        folder=engines.scratch_folder / f"handoff-{uuid4().hex[:8]}",
        most_bytes=max(512 * MIB, engines.plan.object_store_bytes // 4),
        lanes=engines.plan.ray_cpus,
        watch=engines.spill.check,
    )


def _from_files(plan: BlockPlan, engines: Engines) -> list[Any]:
    in_flight = 2 * engines.plan.ray_cpus
    return blocks_from_files(plan, in_flight=in_flight, watch=engines.spill.check)


def _refuse_without_raydp(engines: Engines) -> None:
    if not may_use_raydp(engines):
        raise EngineError(
            f"convert.mode raydp needs Spark on Ray; engines.spark.master is "
            f"{engines.config.spark.master!r}",
            hint="set engines.spark.master: ray, or convert.mode: parquet",
        )


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
