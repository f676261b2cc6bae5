"""Which rows of the feature table go into which file: a plan made from segment sizes alone.

The plan depends on the data and ``file_mb``, never on cores, partitions or their timing, so that
the same rows always give the same files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

MIN_FILES = 8  # enough for a small cluster's tasks to share the work
MIN_FILE_BYTES = 1 << 20  # under this, another file costs more to open than it helps


@dataclass(frozen=True, slots=True)  # there may be 10⁵ of them
class Place:
    """Where one segment's rows lie: ``files`` consecutive files from ``first``, equally filled."""

    first: int
    files: int = 1


def place_segments(rows: Sequence[int], row_bytes: float, file_mb: int) -> list[Place]:
    """Give each segment, in order, its place; a file never holds part of one and all of another.

    A file closes as soon as the next segment would take it further over its share than it is
    under it now. Segments that fit in ``file_mb`` stay whole; larger ones get files of their own.

    Args:
        rows: rows of each segment, all positive, in the order of the table.
        row_bytes: mean bytes of a row in memory.
        file_mb: MiB of rows, in memory, that a file holds at most.
    """
    capacity = max(int(file_mb * 2**20 / row_bytes), 1)
    share = min(capacity, max(ceil(sum(rows) / MIN_FILES), int(MIN_FILE_BYTES / row_bytes), 1))
    places: list[Place] = []
    file, filled = 0, 0
    for count in rows:
        if filled and not _goes_on(filled, count, share, capacity):
            file, filled = file + 1, 0
        files = ceil(count / capacity)
        places.append(Place(file, files))
        if files > 1:
            file, filled = file + files, 0
        else:
            filled += count
    return places


def _goes_on(filled: int, count: int, share: int, capacity: int) -> bool:
    under, over = share - filled, filled + count - share
    return filled + count <= capacity and over <= under


def partition_keys(partitions: int) -> list[int]:
    """For each partition, an integer that Spark's hash partitioning sends to it.

    ``repartition(n, column)`` puts a row into partition ``hash(column) mod n``; two plain file
    numbers can meet in one partition, and another stays empty.
    """
    keys: dict[int, int] = {}
    candidate = 0
    while len(keys) < partitions:
        keys.setdefault(spark_hash(candidate) % partitions, candidate)
        candidate += 1
    return [keys[index] for index in range(partitions)]


def spark_hash(value: int) -> int:
    """Spark's ``hash`` of one 32-bit integer: Murmur3 x86-32 with seed 42, as a signed number."""
    mask = 0xFFFFFFFF
    mixed = value * 0xCC9E2D51 & mask
    mixed = (mixed << 15 | mixed >> 17) & mask
    mixed = mixed * 0x1B873593 & mask
    state = 42 ^ mixed
    state = (state << 13 | state >> 19) & mask
    state = (state * 5 + 0xE6546B64) & mask
    state ^= 4  # the length of an integer in bytes
    state = (state ^ state >> 16) * 0x85EBCA6B & mask
    state = (state ^ state >> 13) * 0xC2B2AE35 & mask
    state ^= state >> 16
    return state - (1 << 32) if state >> 31 else state
