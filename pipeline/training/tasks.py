"""What one Ray task of training does. Plain functions: they run the same without Ray."""

from __future__ import annotations

import os
import socket
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.pipeline import Pipeline

from pipeline.models.persistence import dump_model, load_model, sha256
from pipeline.training.blends import (
    BlendPlan,
    blended,
    fit_blend,
    outputs_file,
    parts_of_blend,
    write_outputs,
)
from pipeline.training.blocks import Blocks, to_blocks
from pipeline.training.deadline import deadline, many_deadlines
from pipeline.training.finals import FinalWork, SavedModel, save_finals
from pipeline.training.fit import FoldData, fit_final, fit_fold
from pipeline.training.identity import FitKeys
from pipeline.training.index import Parts
from pipeline.training.journal import journal_entry
from pipeline.training.matrix import Floats, Matrix
from pipeline.training.memory import at_most
from pipeline.training.packing import Seen, SegmentWork
from pipeline.training.parents import AT, ParentWork, fit_group, group_baselines
from pipeline.training.pooled import baselines, score_baselines, score_by_segment
from pipeline.training.result import FitResult, to_table
from pipeline.training.segments import ALL, Run, runs_of_segments
from pipeline.training.settings import FitSettings


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


@dataclass(frozen=True)
class Fitted:
    """What became of a pack of fits.

    Attributes:
        entry: their rows of the leaderboard, as the journal keeps them.
        fits: how many they are.
        failed: how many of them failed.
        seen: by candidate, what they cost.
    """

    entry: bytes
    fits: int
    failed: int
    seen: dict[str, Seen]


def fit_pack(
    settings: FitSettings, pack: Sequence[SegmentWork], places: Sequence[Parts], *tables: pa.Table
) -> Done:
    """Make the fits of a pack; ``places`` says where each segment's rows lie in ``tables``."""
    with _clocked() as about, at_most(settings.memory_bytes):
        results = fit_segments(settings, pack, places, tables)
        keys = FitKeys(settings)
        data = {work.segment: work.data for work in pack}
        entry = journal_entry(
            results, [keys.key(r.segment, data[r.segment], r.candidate, r.fold) for r in results]
        )
        seen: dict[str, Seen] = defaultdict(Seen)
        for result in results:
            seen[result.candidate].add(result.rows_train, result.seconds)
        failed = sum(result.status == "failed" for result in results)
        value = Fitted(entry, len(results), failed, dict(seen))
    return Done(value, **about)


def fit_segments(
    settings: FitSettings,
    pack: Sequence[SegmentWork],
    places: Sequence[Parts],
    tables: Sequence[pa.Table],
) -> list[FitResult]:
    """The fits of some segments, one segment after the other."""
    results: list[FitResult] = []
    with many_deadlines():
        for work, fold, names, data in _folds_of(settings, pack, places, tables):
            candidates = {name: settings.train.candidates[name] for name in names}
            results += fit_fold(data, candidates, settings.options(work.segment, fold))
    return results


def _folds_of(
    settings: FitSettings,
    pack: Sequence[SegmentWork],
    places: Sequence[Parts],
    tables: Sequence[pa.Table],
) -> Iterator[tuple[SegmentWork, int, list[str], FoldData]]:
    """Each fold of each segment of a pack, with the candidates that are wanted of it."""
    for work, rows in zip(pack, segment_rows(settings, places, tables), strict=True):
        folds = settings.folds(rows.time, rows.fold)
        by_fold: dict[int, list[str]] = defaultdict(list)
        for name, fold in work.fits:
            by_fold[fold].append(name)
        for fold, names in sorted(by_fold.items()):
            yield work, fold, names, FoldData(rows.blocks, rows.y, *folds[fold], rows.weight)


def fit_blends(
    settings: FitSettings,
    plan: BlendPlan,
    pack: Sequence[SegmentWork],
    places: Sequence[Parts],
    *tables: pa.Table,
) -> Done:
    """The blends of a pack of segments; ``fits`` name their own candidates."""
    with _clocked() as about, at_most(settings.memory_bytes):
        keys = FitKeys(settings)
        results: list[FitResult] = []
        found: list[bytes] = []
        for work, fold, names, data in _folds_of(settings, pack, places, tables):
            results += [fit_blend(settings, plan, work.segment, n, fold, data) for n in names]
            blend = work.data + plan.keys[fold]
            found += [keys.key(work.segment, blend, name, fold) for name in names]
        failed = sum(result.status == "failed" for result in results)
        value = Fitted(journal_entry(results, found), len(results), failed, {})
    return Done(value, **about)


def fit_pooled(settings: FitSettings, name: str, fold: int, key: bytes, *tables: pa.Table) -> Done:
    """One pooled candidate on one fold: its score over all rows, then on each segment's."""
    with _clocked() as about, at_most(settings.memory_bytes):
        matrix, runs = all_rows(settings, tables)
        train_rows, valid_rows = settings.folds(matrix.time, matrix.fold)[fold]
        blocks = to_blocks(matrix.X, settings.categorical)
        data = FoldData(blocks, matrix.y, train_rows, valid_rows, matrix.weight)
        options = replace(settings.options(ALL, fold), keep_predictions=True)
        (fit,) = fit_fold(data, {name: settings.train.candidates[name]}, options)
        if settings.outputs is not None and fit.predictions is not None:
            file = outputs_file(settings.outputs, key)
            write_outputs(file, runs, valid_rows, fit.predictions)
        results = [replace(fit, predictions=None)]
        results += score_by_segment(
            fit,
            matrix.y,
            valid_rows,
            train_rows,
            runs,
            scorer=settings.objective,
            min_validation_rows=settings.train.min_validation_rows,
            weight=matrix.weight,
        )
        entry = journal_entry(results, [key] * len(results))
        value = Fitted(entry, 1, int(fit.status == "failed"), {})
    return Done(value, **about)


def fit_parent(
    settings: FitSettings,
    work: ParentWork,
    members: Sequence[str],
    places: Sequence[Parts],
    *tables: pa.Table,
) -> Done:
    """Some candidates on one fold of a group; ``places`` says where each member's rows lie."""
    with _clocked() as about, at_most(settings.memory_bytes):
        table = _rows_at(settings, [part for parts in places for part in parts], tables)
        stops = _training_stops(places, settings.is_training_row(table))
        runs = [
            Run(key, start, stop)
            for key, start, stop in zip(members, [0, *stops[:-1]], stops, strict=True)
        ]
        matrix = settings.matrix(settings.training_rows(table))
        results = fit_group(settings, work, matrix, runs)
        keys = FitKeys(settings)
        found = {n: keys.key(work.group.key, work.group.data, n, work.fold) for n in work.names}
        entry = journal_entry(results, [found[r.candidate.split(AT)[0]] for r in results])
        fits = [r for r in results if r.scope == "own"]
        value = Fitted(entry, len(fits), sum(r.status == "failed" for r in fits), {})
    return Done(value, **about)


def fit_group_baselines(
    settings: FitSettings, groups: Mapping[str, Sequence[str]], *tables: pa.Table
) -> Done:
    """The baseline of each group on each fold; ``groups`` are their members' keys."""
    with _clocked() as about:
        found = to_table(group_baselines(settings, groups, *all_rows(settings, tables)))
    return Done(found, **about)


def fit_baselines(settings: FitSettings, *tables: pa.Table) -> Done:
    """Every segment's baseline on every fold, and its constant over all training rows."""
    train = settings.train
    with _clocked() as about:
        matrix, runs = all_rows(settings, tables)
        results = []
        folds = settings.folds(matrix.time, matrix.fold)
        for fold, (train_rows, valid_rows) in enumerate(folds):
            results += score_baselines(
                matrix.y,
                train_rows,
                valid_rows,
                runs,
                fold=fold,
                kind=train.baseline,
                scorer=settings.objective,
                min_validation_rows=train.min_validation_rows,
                weight=matrix.weight,
            )
        constants = baselines(
            matrix.y, runs, kind=train.baseline, scorer=settings.objective, weight=matrix.weight
        )
    return Done((to_table(results), constants), **about)


def fit_finals(
    settings: FitSettings,
    work: FinalWork,
    pooled: SavedModel | None,
    places: Sequence[Parts],
    *tables: pa.Table,
) -> Done:
    """Fit winners on all their training rows and save them; brings back what was saved.

    Args:
        pooled: the pooled model of blends, saved before.
    """
    with _clocked() as about:
        models = []
        for (segment, name), parts in zip(work.winners, places, strict=True):
            if segment == ALL:
                matrix, _ = all_rows(settings, tables)
            else:
                matrix = segment_matrix(settings, parts, tables)
            blend = parts_of_blend(name)
            model = _final(settings, segment, blend[0] if blend else name, matrix)
            if blend:
                assert pooled is not None  # the driver has it fitted before
                model = blended(model, load_model(pooled.path, pooled.sha256))
            models.append(dump_model(model))
        save_finals(work, models)
    return Done([sha256(model) for model in models], **about)


def _final(settings: FitSettings, segment: str, name: str, matrix: Matrix) -> Pipeline:
    with deadline(settings.train.fit_timeout_seconds, expendable=settings.expendable):
        return fit_final(
            matrix.X,
            matrix.y,
            settings.train.candidates[name],
            name=name,
            categorical=settings.categorical,
            segment=segment,
            seed=settings.train.seed,
            threads=settings.threads,
            objective=settings.objective,
            weight=matrix.weight,
        )


@dataclass(frozen=True)
class SegmentRows:
    """A segment's training rows, as the folds take them: n_samples of each."""

    blocks: Blocks
    y: Floats
    time: npt.NDArray[np.int64]
    weight: Floats | None
    fold: npt.NDArray[np.int64] | None


def segment_rows(
    settings: FitSettings, places: Sequence[Parts], tables: Sequence[pa.Table]
) -> Iterator[SegmentRows]:
    """The training rows of some segments, made in one go: there may be thousands of small ones.

    Args:
        settings: the roles of the columns.
        places: for each segment (position in ``tables``, start, stop) of all its rows.
        tables: blocks of the feature table.
    """
    table = _rows_at(settings, [part for parts in places for part in parts], tables)
    trained = settings.is_training_row(table)
    stops = _training_stops(places, trained)
    matrix = settings.matrix(table if trained.all() else table.filter(pa.array(trained)))
    blocks = to_blocks(matrix.X, settings.categorical)
    for start, stop in zip([0, *stops[:-1]], stops, strict=True):
        rows = slice(start, stop)
        weight = None if matrix.weight is None else matrix.weight[rows]
        fold = None if matrix.fold is None else matrix.fold[rows]
        yield SegmentRows(blocks.take(rows), matrix.y[rows], matrix.time[rows], weight, fold)


def _training_stops(places: Sequence[Parts], trained: npt.NDArray[np.bool_]) -> list[int]:
    """For each segment, where its training rows end among those of all segments.

    Args:
        places: the parts of each segment's rows.
        trained: (n_samples,) whether a row, in that order, is a training row.
    """
    ends = np.cumsum([sum(stop - start for _, start, stop in parts) for parts in places])
    stops: list[int] = np.concatenate([[0], np.cumsum(trained)])[ends].tolist()
    return stops


def segment_matrix(settings: FitSettings, parts: Parts, tables: Sequence[pa.Table]) -> Matrix:
    """A segment's training rows; ``parts`` are (position in tables, start, stop)."""
    return settings.matrix(settings.training_rows(_rows_at(settings, parts, tables)))


def _rows_at(
    settings: FitSettings, parts: Sequence[tuple[int, int, int]], tables: Sequence[pa.Table]
) -> pa.Table:
    joined: list[tuple[int, int, int]] = []
    for table, start, stop in parts:
        if joined and joined[-1][0] == table and joined[-1][2] == start:  # neighbours
            joined[-1] = (table, joined[-1][1], stop)
        else:
            joined.append((table, start, stop))
    slices = [tables[i].select(settings.columns).slice(a, b - a) for i, a, b in joined]
    return pa.concat_tables(slices).combine_chunks() if len(slices) > 1 else slices[0]


def all_rows(settings: FitSettings, tables: Sequence[pa.Table]) -> tuple[Matrix, list[Run]]:
    """Every segment's training rows in one matrix, and where each segment's lie in it."""
    whole = pa.concat_tables([table.select(settings.columns) for table in tables])
    rows = settings.training_rows(whole)
    return settings.matrix(rows), runs_of_segments(rows, settings.segment)
