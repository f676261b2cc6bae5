"""What one Ray task of scoring does. Plain functions: they run the same without Ray."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.config.infer import IntervalsConfig
from pipeline.config.preprocess import FeaturesConfig
from pipeline.models.entry import ModelEntry, Prediction
from pipeline.scoring.bootstrap import Hashes, Sums, row_hashes
from pipeline.scoring.classes import Reliability, class_stats, reliability
from pipeline.scoring.drift import Counts, Profile, count_rows, profile
from pipeline.scoring.intervals import error_sums
from pipeline.scoring.loaded import loaded_model
from pipeline.scoring.metrics import BlockStats, block_stats
from pipeline.scoring.outputs import Outputs
from pipeline.scoring.predict import score_table
from pipeline.scoring.quantiles import quantile_stats
from pipeline.training.held_out import is_held_out
from pipeline.training.labels import class_codes
from pipeline.training.matrix import Floats, numbers, weights_of
from pipeline.training.objective import PLAIN, Objective
from pipeline.training.scorers import score_all
from pipeline.training.segments import ALL
from pipeline.training.settings import FitSettings


@dataclass(frozen=True)
class ScoreSettings:
    """What every scoring task needs to know; sent to each worker once.

    Attributes:
        store: the store's root; models are read from there.
        champions: by segment key.
        baselines: what each segment's baseline predicts, by key.
        keep: columns that go with the predictions.
        key: columns that name a row, whatever block it lies in.
        test_from: microseconds since 1970 UTC; None where there is a ``test_column``.
        test_column: where the test is not by time, the column that says ``test`` of its rows.
        tracked: the segments that get intervals of their own.
    """

    store: Path
    champions: Mapping[str, ModelEntry]
    baselines: Mapping[str, Prediction]
    keep: tuple[str, ...]
    key: tuple[str, ...]
    segment: tuple[str, ...]
    target: str
    time: str
    features: FeaturesConfig
    profile: Profile
    rows: Literal["test", "all"]
    test_from: int | None
    batch_rows: int
    intervals: IntervalsConfig
    tracked: frozenset[str]
    threads: int = 1
    objective: Objective = PLAIN
    test_column: str | None = None

    @property
    def outputs(self) -> Outputs:
        return Outputs(self.objective.classes, self.objective.quantiles)


def worker_name() -> str:
    """The process that a task runs in."""
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True)
class Scored:
    """What a block's task brings back; the predictions themselves are in a file.

    Attributes:
        stats, baseline: errors of the champions and of the baselines, by segment.
        periods: the same by calendar month of the time column, UTC.
        sums: what the intervals of the errors are made from, by segment; of regressions.
        drift: rows in each bin of the training profile, by feature.
        reliability: of classes, rows by their probability.
        tested: rows that took no part in training, with a known target and a prediction.
    """

    rows_in: int
    rows_out: int
    rows_quarantined: int
    reused: bool
    stats: BlockStats
    baseline: BlockStats
    periods: Mapping[str, tuple[BlockStats, BlockStats]]
    sums: Mapping[str, Sums]
    drift: Mapping[str, Counts]
    started: float
    stopped: float
    reliability: Reliability | None = None
    tested: int = 0
    worker: str = field(default_factory=worker_name)


def score_block(
    settings: ScoreSettings, predictions: str, quarantine: str, table: pa.Table
) -> Scored:
    """Score the wanted rows of a block, write the files, and measure the errors.

    Predictions that a killed run has left are taken as they are: their name is a hash of all
    that they depend on, and they were renamed into place when they were whole.
    """
    started = time.time()
    rows = wanted_rows(settings, table)
    kept = os.path.exists(predictions)
    if not kept:
        _predict(settings, rows, Path(predictions), Path(quarantine))
    good = pq.read_table(predictions)
    stats, baseline = _errors(good, settings)
    return Scored(
        rows_in=rows.num_rows,
        rows_out=good.num_rows,
        rows_quarantined=_rows(quarantine),
        reused=kept,
        stats=stats,
        baseline=baseline,
        periods=_by_month(good, settings),
        sums=_sums(good, settings),
        drift=count_rows(rows, settings.profile),
        started=started,
        stopped=time.time(),
        reliability=_reliability(good, settings),
        tested=int(np.isfinite(truth_of(held_out(settings, good), settings)).sum()),
    )


def _predict(settings: ScoreSettings, rows: pa.Table, predictions: Path, quarantine: Path) -> None:
    good, bad = score_table(
        rows,
        settings.champions,
        partial(loaded_model, settings.store),
        settings.features,
        settings.batch_rows,
        segment=settings.segment,
        keep=settings.keep,
        threads=settings.threads,
    )
    quarantine.unlink(missing_ok=True)
    if bad.num_rows:
        _write(bad, quarantine)
    # Last, for its presence means that both files are whole.
    _write(_with_baseline(good, settings), predictions)


def _rows(path: str) -> int:
    return int(pq.read_metadata(path).num_rows) if os.path.exists(path) else 0


def profile_block(settings: FitSettings, *tables: pa.Table) -> Profile:
    """What the training rows look like."""
    whole = pa.concat_tables([table.select(settings.columns) for table in tables])
    rows = settings.training_rows(whole)
    return profile(rows, settings.numeric, settings.categorical)


def wanted_rows(settings: ScoreSettings, table: pa.Table) -> pa.Table:
    """The rows of a block that are to be scored."""
    return table if settings.rows == "all" else held_out(settings, table)


def held_out(settings: ScoreSettings, table: pa.Table) -> pa.Table:
    """The rows that took no part in training."""
    found = is_held_out(table, settings.time, settings.test_from, settings.test_column)
    return table.filter(pa.array(found))


def _with_baseline(good: pa.Table, settings: ScoreSettings) -> pa.Table:
    return good.append_column("baseline", settings.outputs.prediction(_baseline(good, settings)))


def _baseline(good: pa.Table, settings: ScoreSettings) -> Floats:
    """(n_samples, *shape) what each row's baseline predicts."""
    codes, keys = _segments(good)
    default = settings.baselines[ALL]
    constants = settings.outputs.baselines([settings.baselines.get(key, default) for key in keys])
    return constants[codes]


def _segments(good: pa.Table) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Each row's segment as a position in a list of keys."""
    coded = good.column("segment").combine_chunks().dictionary_encode()
    return coded.indices.to_numpy().astype(np.int64), coded.dictionary.to_pylist()


def _errors(good: pa.Table, settings: ScoreSettings) -> tuple[BlockStats, BlockStats]:
    """Of the champions, and of the baselines."""
    codes, keys = _segments(good)
    truth, weight = truth_of(good, settings), weight_of(good, settings)
    levels = settings.objective.quantiles

    def measured(values: Floats) -> BlockStats:
        if settings.objective.classes:
            return class_stats(truth, values, codes, keys, weight)
        if levels:
            return quantile_stats(truth, values, levels, codes, keys, weight)
        return block_stats(truth, values, codes, keys, weight)

    return measured(settings.outputs.values(good)), measured(_baseline(good, settings))


def truth_of(good: pa.Table, settings: ScoreSettings) -> Floats:
    """(n_samples,) numbers, or positions of classes; NaN where unknown."""
    column = good.column(settings.target)
    if settings.objective.classes:
        return class_codes(column, settings.target, settings.objective.classes)
    return np.asarray(numbers(column), dtype=np.float64)


def weight_of(good: pa.Table, settings: ScoreSettings) -> Floats | None:
    weight = settings.objective.weight
    return None if weight is None else weights_of(good, weight)


def _reliability(good: pa.Table, settings: ScoreSettings) -> Reliability | None:
    if not settings.objective.classes:
        return None
    values = settings.outputs.values(good)
    return reliability(truth_of(good, settings), values, weight_of(good, settings))


def score_held_out(settings: ScoreSettings, paths: Sequence[str]) -> dict[str, float | None]:
    """The scorers that no sum over rows gives, over the rows of all blocks together.

    They are those of the configuration, and of classes the area under the ROC curve (of more
    than two the macro mean of one class against the rest). Rows of classes not seen in training
    are left out.

    Returns:
        By name, and ``baseline_<name>``; None where the rows allow none.
    """
    objective = settings.objective
    names = [objective.scorer, *objective.also]
    if objective.classes:
        names.append("roc_auc" if len(objective.classes) == 2 else "roc_auc_ovr")
    roles = [settings.target, "segment", "prediction", *settings.outputs.names]
    wanted = [*roles, objective.weight] if objective.weight else roles
    good = pa.concat_tables([pq.read_table(path, columns=wanted) for path in paths])
    truth, weight = truth_of(good, settings), weight_of(good, settings)
    known = np.isfinite(truth) & ~((truth < 0) & bool(objective.classes))
    every = replace(objective, also=tuple(dict.fromkeys(names)))
    weights = None if weight is None else weight[known]
    sides = {"": settings.outputs.values(good), "baseline_": _baseline(good, settings)}
    return {
        f"{side}{name}": value
        for side, values in sides.items()
        for name, value in score_all(every, truth[known], values[known], weights).items()
    }


def _sums(good: pa.Table, settings: ScoreSettings) -> dict[str, Sums]:
    if settings.objective.task != "regression":
        return {}  # only errors of numbers have intervals
    codes, keys = _segments(good)
    return error_sums(
        truth_of(good, settings),
        good.column("prediction").to_numpy(),
        good.column("baseline").to_numpy(),
        codes,
        keys,
        drawn_by(good, settings),
        settings.intervals,
        settings.tracked,
        weight_of(good, settings),
    )


def drawn_by(rows: pa.Table, settings: ScoreSettings) -> Hashes:
    """(n_samples,) hashes of the rows' keys, or of their days where whole days are drawn."""
    if settings.intervals.resample == "day":
        micros = rows.column(settings.time).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        return row_hashes({"day": micros.to_numpy() // _DAY}, settings.intervals.seed)
    return key_hashes(rows, settings.key, settings.intervals.seed)


def key_hashes(rows: pa.Table, key: Sequence[str], seed: int) -> Hashes:
    """(n_samples,) a hash of each row's key."""
    # As text, so that a key stored as int32 in one file and int64 in another is one key.
    columns = {
        name: rows.column(name).cast(pa.string()).to_numpy(zero_copy_only=False) for name in key
    }
    return row_hashes(columns, seed)


_DAY = 86_400_000_000
"""Microseconds."""


def _by_month(good: pa.Table, settings: ScoreSettings) -> dict[str, tuple[BlockStats, BlockStats]]:
    months = pc.strftime(good.column(settings.time).cast(pa.timestamp("us", "UTC")), "%Y-%m")
    return {
        month: _errors(good.filter(pc.equal(months, month)), settings)
        for month in sorted(pc.unique(months).to_pylist())
    }


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    pq.write_table(table, temporary, compression="zstd")
    os.replace(temporary, path)
