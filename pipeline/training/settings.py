"""What every task of a training run needs to know; sent to each worker once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.train import CandidateConfig, TrainConfig
from pipeline.training.folds import Period, time_folds
from pipeline.training.matrix import Matrix, digest, drop_unlabelled, to_matrix
from pipeline.training.segments import runs_of_segments


@dataclass(frozen=True)
class FitSettings:
    """The roles of the columns, the plan of the folds, and the ``train`` section.

    Attributes:
        periods: per fold (end of training, start of validation, end of validation).
        test_from: microseconds since 1970 UTC; rows from there on are never trained on.
    """

    train: TrainConfig
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    segment: tuple[str, ...]
    target: str
    time: str
    periods: tuple[Period, ...]
    test_from: int
    threads: int = 1

    @property
    def columns(self) -> list[str]:
        """The columns that training reads."""
        names = (*self.segment, self.time, self.target, *self.numeric, *self.categorical)
        return list(dict.fromkeys(names))

    def candidates(self, scope: str) -> dict[str, CandidateConfig]:
        return {n: c for n, c in self.train.candidates.items() if c.scope == scope}

    def training_rows(self, table: pa.Table) -> pa.Table:
        """The rows before the test period that have a target."""
        before = pc.less(
            table.column(self.time).cast(pa.timestamp("us", "UTC")).cast(pa.int64()),
            self.test_from,
        )
        return drop_unlabelled(table.filter(before), self.target)[0]

    def matrix(self, table: pa.Table) -> Matrix:
        return to_matrix(
            table,
            numeric=self.numeric,
            categorical=self.categorical,
            target=self.target,
            time=self.time,
        )


@dataclass(frozen=True)
class SegmentRows:
    """A segment's training rows: where they lie, how many there are, and what they are.

    Attributes:
        parts: (block, start, stop) of all its rows, the test rows included, in order.
        rows: training rows with a target.
        folds: per fold (training rows, validation rows).
        digest: hash over the training rows' values.
    """

    key: str
    parts: tuple[tuple[int, int, int], ...]
    rows: int
    folds: tuple[tuple[int, int], ...]
    digest: str


def index_block(settings: FitSettings, block: int, table: pa.Table) -> list[SegmentRows]:
    """The segments of one block."""
    found = []
    for run in runs_of_segments(table, settings.segment):
        rows = settings.training_rows(table.slice(run.start, run.stop - run.start))
        times = rows.column(settings.time).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        folds = time_folds(times.to_numpy(), settings.periods)
        counts = tuple((len(train), len(valid)) for train, valid in folds)
        part = (block, run.start, run.stop)
        identity = digest(rows, settings.columns)
        found.append(SegmentRows(run.key, (part,), rows.num_rows, counts, identity))
    return found


def merge_index(blocks: Sequence[Sequence[SegmentRows]]) -> dict[str, SegmentRows]:
    """By segment key; a segment that spans blocks becomes one, its parts in order."""
    merged: dict[str, SegmentRows] = {}
    for index in blocks:
        for rows in index:
            before = merged.get(rows.key)
            merged[rows.key] = rows if before is None else _joined(before, rows)
    return merged


def _joined(first: SegmentRows, second: SegmentRows) -> SegmentRows:
    folds = zip(first.folds, second.folds, strict=True)
    return SegmentRows(
        first.key,
        first.parts + second.parts,
        first.rows + second.rows,
        tuple((a[0] + b[0], a[1] + b[1]) for a, b in folds),
        f"{first.digest}+{second.digest}",
    )
