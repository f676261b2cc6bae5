"""What one Ray task of training does. Plain functions: they run the same without Ray."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.models.persistence import save_model
from pipeline.training.fit import FoldData, fit_final, fit_fold
from pipeline.training.folds import time_folds
from pipeline.training.matrix import Matrix
from pipeline.training.packing import SegmentWork
from pipeline.training.pooled import constant, score_baselines, score_by_segment
from pipeline.training.result import FitResult
from pipeline.training.segments import ALL, Run, runs_of_segments
from pipeline.training.settings import FitSettings

Parts = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Done:
    """What a task brings back, and when and where it ran (seconds since the epoch)."""

    value: Any
    started: float
    stopped: float
    worker: str


@contextmanager
def _clocked() -> Iterator[dict[str, Any]]:
    about: dict[str, Any] = {"started": time.time()}
    about["worker"] = f"{socket.gethostname()}:{os.getpid()}"
    yield about
    about["stopped"] = time.time()


def fit_pack(
    settings: FitSettings, pack: Sequence[SegmentWork], places: Sequence[Parts], *tables: pa.Table
) -> Done:
    """Make the fits of a pack; ``places`` says where each segment's rows lie in ``tables``."""
    results: list[FitResult] = []
    with _clocked() as about:
        for work, parts in zip(pack, places, strict=True):
            results += _fit_segment(settings, work, segment_matrix(settings, parts, tables))
    return Done(results, **about)


def _fit_segment(settings: FitSettings, work: SegmentWork, matrix: Matrix) -> list[FitResult]:
    folds = time_folds(matrix.time, settings.periods)
    by_fold: dict[int, list[str]] = defaultdict(list)
    for name, fold in work.fits:
        by_fold[fold].append(name)
    results = []
    for fold, names in sorted(by_fold.items()):
        data = FoldData(matrix.X, matrix.y, *folds[fold], settings.categorical)
        for name in names:
            results.append(_fit_one(settings, data, name, work.segment, fold))
    return results


def _fit_one(
    settings: FitSettings, data: FoldData, name: str, segment: str, fold: int, keep: bool = False
) -> FitResult:
    train = settings.train
    with deadline(train.fit_timeout_seconds):
        return fit_fold(
            data,
            {name: train.candidates[name]},
            segment=segment,
            fold=fold,
            seed=train.seed,
            scorer=train.scorer,
            threads=settings.threads,
            keep_predictions=keep,
        )[0]


def fit_pooled(settings: FitSettings, name: str, fold: int, *tables: pa.Table) -> Done:
    """One pooled candidate on one fold: its score over all rows, then on each segment's."""
    with _clocked() as about:
        matrix, runs = all_rows(settings, tables)
        train_rows, valid_rows = time_folds(matrix.time, settings.periods)[fold]
        data = FoldData(matrix.X, matrix.y, train_rows, valid_rows, settings.categorical)
        fit = _fit_one(settings, data, name, ALL, fold, keep=True)
        results = [replace(fit, predictions=None)]
        results += score_by_segment(
            fit,
            matrix.y,
            valid_rows,
            train_rows,
            runs,
            scorer=settings.train.scorer,
            min_validation_rows=settings.train.min_validation_rows,
        )
    return Done(results, **about)


def fit_baselines(settings: FitSettings, *tables: pa.Table) -> Done:
    """Every segment's baseline on every fold, and its constant over all training rows."""
    train = settings.train
    with _clocked() as about:
        matrix, runs = all_rows(settings, tables)
        results = []
        for fold, (train_rows, valid_rows) in enumerate(time_folds(matrix.time, settings.periods)):
            results += score_baselines(
                matrix.y,
                train_rows,
                valid_rows,
                runs,
                fold=fold,
                kind=train.baseline,
                scorer=train.scorer,
                min_validation_rows=train.min_validation_rows,
            )
        constants = {ALL: constant(matrix.y, train.baseline)}
        constants |= {
            run.key: constant(matrix.y[run.start : run.stop], train.baseline) for run in runs
        }
    return Done((results, constants), **about)


def fit_champion(
    settings: FitSettings, name: str, segment: str, parts: Parts, path: str, *tables: pa.Table
) -> Done:
    """Fit a winner on all its training rows and save it; brings back the file's SHA-256."""
    with _clocked() as about:
        if segment == ALL:
            matrix, _ = all_rows(settings, tables)
        else:
            matrix = segment_matrix(settings, parts, tables)
        with deadline(settings.train.fit_timeout_seconds):
            model = fit_final(
                matrix.X,
                matrix.y,
                settings.train.candidates[name],
                name=name,
                categorical=settings.categorical,
                segment=segment,
                seed=settings.train.seed,
                threads=settings.threads,
            )
        digest = save_model(model, Path(path))
    return Done(digest, **about)


def segment_matrix(settings: FitSettings, parts: Parts, tables: Sequence[pa.Table]) -> Matrix:
    """A segment's training rows; ``parts`` are (position in tables, start, stop)."""
    slices = [tables[i].select(settings.columns).slice(a, b - a) for i, a, b in parts]
    return settings.matrix(settings.training_rows(pa.concat_tables(slices)))


def all_rows(settings: FitSettings, tables: Sequence[pa.Table]) -> tuple[Matrix, list[Run]]:
    """Every segment's training rows in one matrix, and where each segment's lie in it."""
    whole = pa.concat_tables([table.select(settings.columns) for table in tables])
    rows = settings.training_rows(whole)
    return settings.matrix(rows), runs_of_segments(rows, settings.segment)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in this thread after some seconds.

    A fit that does not come back from compiled code is beyond its reach; the driver cancels the
    task of such a one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread takes signals; Ray runs tasks there
        return

    def expire(*_: Any) -> None:
        raise TimeoutError(f"no result within fit_timeout_seconds = {seconds:g}")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
