"""What every task of a training run needs to know; sent to each worker once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.train import CandidateConfig, TrainConfig
from pipeline.training.fit import FitOptions
from pipeline.training.folds import (
    FoldBounds,
    FoldColumn,
    Period,
    Rows,
    numbered_folds,
    time_folds,
)
from pipeline.training.held_out import is_held_out
from pipeline.training.matrix import (
    Matrix,
    epoch_microseconds,
    fold_numbers,
    has_target,
    to_matrix,
)
from pipeline.training.objective import Objective


@dataclass(frozen=True)
class FitSettings:
    """The roles of the columns, the plan of the folds, and the ``train`` section.

    Attributes:
        periods: per fold (end of training, start of validation, end of validation); none where
            there is a ``fold_column``.
        test_from: microseconds since 1970 UTC; rows from there on are never trained on. None where
            there is a ``test_column``.
        threads: of a task, for BLAS and OpenMP.
        memory_bytes: that a task of fits may allocate; None for no limit but the node's.
        share: whether what candidates have in common is computed once.
        classes: all classes of the training rows, sorted; none of other tasks.
        expendable: whether the process may end with a fit that does not come back; Ray's workers
            may.
        fold_column: where folds are not by time, the column that holds them.
        test_column: where the test is not by time, the column that says ``test`` of its rows.
        outputs: where pooled fits leave their predictions for blends; None for nowhere.
    """

    train: TrainConfig
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    segment: tuple[str, ...]
    target: str
    time: str
    periods: tuple[Period, ...]
    test_from: int | None
    threads: int = 1
    memory_bytes: int | None = None
    share: bool = True
    classes: tuple[str, ...] = ()
    expendable: bool = False
    fold_column: FoldColumn | None = None
    test_column: str | None = None
    outputs: Path | None = None

    @property
    def objective(self) -> Objective:
        return Objective.of(self.train, self.classes)

    @property
    def columns(self) -> list[str]:
        """The columns that training reads."""
        weight = (self.train.weight,) if self.train.weight else ()
        fold = (self.fold_column.name,) if self.fold_column else ()
        test = (self.test_column,) if self.test_column else ()
        roles = (*self.segment, self.time, self.target, *weight, *fold, *test)
        names = (*roles, *self.numeric, *self.categorical)
        return list(dict.fromkeys(names))

    @property
    def n_folds(self) -> int:
        return self.fold_column.folds if self.fold_column else len(self.periods)

    def fold_bounds(self, fold: int) -> FoldBounds:
        """What tells a fold from others."""
        if self.fold_column is None:
            return self.periods[fold]
        return (self.fold_column.kind, self.fold_column.folds, fold)

    def folds(
        self, time: npt.NDArray[np.int64], number: npt.NDArray[np.int64] | None
    ) -> list[tuple[Rows, Rows]]:
        """Training and validation rows of each fold; all folds of a training are made here.

        Args:
            time: (n_samples,) microseconds since 1970 UTC.
            number: (n_samples,) the fold that validates on a row; None where time decides.
        """
        if self.fold_column is None:
            return time_folds(time, self.periods)
        assert number is not None, "a matrix of these settings has the fold of each row"
        return numbered_folds(number, self.fold_column.folds)

    def folds_of(self, table: pa.Table) -> list[tuple[Rows, Rows]]:
        """The same, of a table of training rows."""
        column = self.fold_column
        number = fold_numbers(table, column.name) if column else None
        return self.folds(epoch_microseconds(table, self.time), number)

    def candidates(self, scope: str) -> dict[str, CandidateConfig]:
        return {n: c for n, c in self.train.candidates.items() if c.scope == scope}

    def options(self, segment: str, fold: int) -> FitOptions:
        """How the fits of a segment's fold are made."""
        return FitOptions(
            segment=segment,
            fold=fold,
            seed=self.train.seed,
            objective=self.objective,
            threads=self.threads,
            share=self.share,
            timeout_seconds=self.train.fit_timeout_seconds,
            expendable=self.expendable,
        )

    def is_training_row(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        """(n_rows,) whether a row is not held out and has a target."""
        held_out = is_held_out(table, self.time, self.test_from, self.test_column)
        return ~held_out & has_target(table, self.target)

    def training_rows(self, table: pa.Table) -> pa.Table:
        """The rows that are not held out and have a target. No copy if all are such."""
        wanted = self.is_training_row(table)
        return table if wanted.all() else table.filter(pa.array(wanted))

    def matrix(self, table: pa.Table) -> Matrix:
        return to_matrix(
            table,
            numeric=self.numeric,
            categorical=self.categorical,
            target=self.target,
            time=self.time,
            classes=self.classes,
            weight=self.train.weight,
            fold=self.fold_column.name if self.fold_column else None,
        )
