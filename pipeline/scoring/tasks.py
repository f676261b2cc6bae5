"""What one Ray task of scoring does. Plain functions: they run the same without Ray."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn.base import BaseEstimator

from pipeline.config.preprocess import FeaturesConfig
from pipeline.models.entry import ModelEntry, load_entry
from pipeline.scoring.drift import Counts, Profile, count_rows, profile
from pipeline.scoring.metrics import BlockStats, block_stats
from pipeline.scoring.predict import score_table
from pipeline.training.segments import ALL
from pipeline.training.settings import FitSettings


@dataclass(frozen=True)
class ScoreSettings:
    """What every scoring task needs to know; sent to each worker once.

    Attributes:
        store: the store's root; models are read from there.
        champions: by segment key.
        baselines: the constant of each segment's baseline, by key.
        keep: columns that go with the predictions.
        test_from: microseconds since 1970 UTC.
    """

    store: Path
    champions: Mapping[str, ModelEntry]
    baselines: Mapping[str, float]
    keep: tuple[str, ...]
    segment: tuple[str, ...]
    target: str
    time: str
    features: FeaturesConfig
    profile: Profile
    rows: Literal["test", "all"]
    test_from: int
    batch_rows: int
    threads: int = 1


@dataclass(frozen=True)
class Scored:
    """What a block's task brings back; the predictions themselves are in a file.

    Attributes:
        stats, baseline: errors of the champions and of the baselines, by segment.
        periods: the same by calendar month of the time column, UTC.
        drift: rows in each bin of the training profile, by feature.
    """

    rows_in: int
    rows_out: int
    rows_quarantined: int
    reused: bool
    stats: BlockStats
    baseline: BlockStats
    periods: Mapping[str, tuple[BlockStats, BlockStats]]
    drift: Mapping[str, Counts]
    started: float
    stopped: float
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")


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
    stats, baseline = _errors(good, settings.target)
    return Scored(
        rows_in=rows.num_rows,
        rows_out=good.num_rows,
        rows_quarantined=_rows(quarantine),
        reused=kept,
        stats=stats,
        baseline=baseline,
        periods=_by_month(good, settings),
        drift=count_rows(rows, settings.profile),
        started=started,
        stopped=time.time(),
    )


def _predict(settings: ScoreSettings, rows: pa.Table, predictions: Path, quarantine: Path) -> None:
    good, bad = score_table(
        rows,
        settings.champions,
        lambda entry: _model(settings.store, entry),
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
    if settings.rows == "all":
        return table
    micros = table.column(settings.time).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    return table.filter(pc.greater_equal(micros, settings.test_from))


_models: dict[tuple[Any, ...], BaseEstimator] = {}
"""A worker scores many blocks, and reading a model costs as much as scoring thousands of rows."""

_MODELS_KEPT = 32


def _model(store: Path, entry: ModelEntry) -> BaseEstimator:
    key = (store, entry.identity, entry.sha256)
    if key not in _models:
        if len(_models) >= _MODELS_KEPT:
            del _models[next(iter(_models))]
        _models[key] = load_entry(entry, store)
    return _models[key]


def _with_baseline(good: pa.Table, settings: ScoreSettings) -> pa.Table:
    codes, keys = _segments(good)
    default = settings.baselines[ALL]
    constants = np.array([settings.baselines.get(key, default) for key in keys], dtype=np.float64)
    return good.append_column("baseline", pa.array(constants[codes]))


def _segments(good: pa.Table) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Each row's segment as a position in a list of keys."""
    coded = good.column("segment").combine_chunks().dictionary_encode()
    return coded.indices.to_numpy().astype(np.int64), coded.dictionary.to_pylist()


def _errors(good: pa.Table, target: str) -> tuple[BlockStats, BlockStats]:
    codes, keys = _segments(good)
    truth = good.column(target).cast(pa.float64()).to_numpy()
    predicted = good.column("prediction").to_numpy()
    baseline = good.column("baseline").to_numpy()
    return block_stats(truth, predicted, codes, keys), block_stats(truth, baseline, codes, keys)


def _by_month(good: pa.Table, settings: ScoreSettings) -> dict[str, tuple[BlockStats, BlockStats]]:
    months = pc.strftime(good.column(settings.time).cast(pa.timestamp("us", "UTC")), "%Y-%m")
    return {
        month: _errors(good.filter(pc.equal(months, month)), settings.target)
        for month in sorted(pc.unique(months).to_pylist())
    }


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    pq.write_table(table, temporary, compression="zstd")
    os.replace(temporary, path)
