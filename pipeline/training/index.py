"""Where each segment's rows lie, how many there are, and what they are: one table for all.

Kept in arrays, not in an object a segment, so that the driver's memory stays small with 10⁵ of
them.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.training.digest import row_hasher
from pipeline.training.segments import runs_of_segments
from pipeline.training.settings import FitSettings

Parts = tuple[tuple[int, int, int], ...]
"""(block, start, stop) of all rows of a segment, the test rows included, in order."""

Ints = npt.NDArray[np.int64]

_DIGEST_BYTES = 16


@dataclass(frozen=True)
class SegmentIndex:
    """The segments, in the order of their rows.

    Attributes:
        keys: (n_segments,) their keys.
        rows: (n_segments,) training rows with a target.
        folds: (n_segments, n_folds, 2) training rows and validation rows.
        digests: (n_segments,) a hash over the training rows' values, 16 bytes each.
        parts: (n_parts, 3) block, start and stop of rows that lie together.
        first_part: (n_segments + 1,) where each segment's parts begin.
    """

    keys: list[str]
    rows: Ints
    folds: Ints
    digests: list[bytes]
    parts: Ints
    first_part: Ints

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {key: i for i, key in enumerate(self.keys)}

    def number(self, key: str) -> int:
        """The position of a segment."""
        return self._numbers[key]

    def parts_of(self, key: str) -> Parts:
        """Where a segment's rows lie."""
        number = self.number(key)
        rows = self.parts[self.first_part[number] : self.first_part[number + 1]].tolist()
        return tuple((block, start, stop) for block, start, stop in rows)

    def rows_by_segment(self) -> Iterator[tuple[str, int]]:
        """Key and training rows of each segment."""
        return zip(self.keys, self.rows.tolist(), strict=True)


def index_block(settings: FitSettings, block: int, table: pa.Table) -> SegmentIndex:
    """The segments of one block, whose rows are clustered by segment."""
    runs = runs_of_segments(table, settings.segment)
    trained = settings.is_training_row(table)
    rows = settings.training_rows(table)
    bounds = np.array([(run.start, run.stop) for run in runs], dtype=np.int64).reshape(-1, 2)
    # Position among the training rows of each row's first successor among them.
    before = np.concatenate([[0], np.cumsum(trained)])
    starts, stops = before[bounds[:, 0]], before[bounds[:, 1]]
    hasher = row_hasher(rows, settings.columns)
    return SegmentIndex(
        keys=[run.key for run in runs],
        rows=stops - starts,
        folds=_fold_counts(settings, rows, starts, stops),
        digests=[
            hasher(start, stop)[:_DIGEST_BYTES]
            for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
        ],
        parts=np.column_stack([np.full(len(runs), block), bounds]).astype(np.int64),
        first_part=np.arange(len(runs) + 1, dtype=np.int64),
    )


def _fold_counts(settings: FitSettings, rows: pa.Table, starts: Ints, stops: Ints) -> Ints:
    counts = np.zeros((len(starts), settings.n_folds, 2), dtype=np.int64)
    for fold, sides in enumerate(settings.folds_of(rows)):
        for side, found in enumerate(sides):  # ascending positions
            counts[:, fold, side] = np.searchsorted(found, stops) - np.searchsorted(found, starts)
    return counts


def merge_index(blocks: Sequence[SegmentIndex]) -> SegmentIndex:
    """One index of all blocks; a segment that spans blocks becomes one, its parts in order."""
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for b, index in enumerate(blocks):
        for i, key in enumerate(index.keys):
            places[key].append((b, i))
    first_part = np.zeros(len(places) + 1, dtype=np.int64)
    first_part[1:] = np.cumsum([len(found) for found in places.values()])
    order = [place for found in places.values() for place in found]
    return SegmentIndex(
        keys=list(places),
        rows=_summed([blocks[b].rows[i] for b, i in order], first_part),
        folds=_summed([blocks[b].folds[i] for b, i in order], first_part),
        digests=[_joined([blocks[b].digests[i] for b, i in found]) for found in places.values()],
        parts=np.array([blocks[b].parts[i] for b, i in order], dtype=np.int64).reshape(-1, 3),
        first_part=first_part,
    )


def _summed(values: list[Ints], first_part: Ints) -> Ints:
    if not values:
        return np.zeros(0, dtype=np.int64)
    return np.add.reduceat(np.array(values, dtype=np.int64), first_part[:-1], axis=0)


def _joined(digests: list[bytes]) -> bytes:
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256(b"".join(digests)).digest()[:_DIGEST_BYTES]
