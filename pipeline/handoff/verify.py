"""Prove that what lies in Ray's object store is what the Parquet files hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pyarrow as pa

from pipeline.engines.bounded import run_bounded
from pipeline.errors import StageFailed
from pipeline.handoff.checksum import ChecksumPart, column_checksums, merge


def block_checksums(
    blocks: Sequence[Any], *, in_flight: int, watch: Callable[[], None] = lambda: None
) -> dict[str, str]:
    """Checksums of the columns over all blocks, as :func:`table_checksums` gives them.

    One task a block, where the block lies; only the checksums travel.
    """
    import ray

    remote = ray.remote(max_retries=3)(column_checksums)
    waiting = iter(blocks)
    parts: dict[str, ChecksumPart] = {}
    for end in run_bounded(
        lambda: next(waiting, None), remote.remote, in_flight=in_flight, watch=watch
    ):
        if end.error is not None:
            raise StageFailed(f"a block could not be verified: {end.error}") from end.error
        parts = merge(parts, end.value)
    return _as_text(parts)


def table_checksums(tables: Iterable[pa.Table]) -> dict[str, str]:
    """Checksum of each column over tables, in any order and however they are cut.

    As text, "rows:nulls:sum of hashes"; JSON readers other than Python round 64-bit integers.
    """
    parts: dict[str, ChecksumPart] = {}
    for table in tables:
        parts = merge(parts, column_checksums(table))
    return _as_text(parts)


def _as_text(parts: dict[str, ChecksumPart]) -> dict[str, str]:
    return {name: f"{p.rows}:{p.nulls}:{p.total:016x}" for name, p in parts.items()}
