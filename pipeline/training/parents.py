"""Wider groups of segments, and their models, for segments without one of their own.

A level names some of the segment's columns, such as ``[carrier]``; the segments that agree in them
are a group. A group's candidates are fitted on the rows of all its segments and compared on the
group's own folds; the best stands in for a segment that has no fit of its own, if it beats the
group's baseline. On a segment's validation rows it then competes with the pooled candidates and
the segment's baseline, as those do with each other.

Only groups of two or more segments are fitted, and only those above a segment that needs it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.training.blocks import to_blocks
from pipeline.training.eligible import fold_skipped, skipped_fits
from pipeline.training.fit import FoldData, fit_fold
from pipeline.training.identity import FitKeys
from pipeline.training.index import Parts, SegmentIndex
from pipeline.training.journal import were_made
from pipeline.training.matrix import Matrix
from pipeline.training.pooled import score_baselines, score_by_segment
from pipeline.training.result import FitResult, Status
from pipeline.training.segments import Run, group_key, segment_values
from pipeline.training.settings import FitSettings

AT = "@"
"""Between a candidate's name and the level that it was fitted on: ``ridge@carrier``."""


@dataclass(frozen=True)
class Levels:
    """The levels above the segments, the nearest first."""

    segment: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]

    def above(self, key: str) -> list[tuple[str, str]]:
        """Name of the level and key of the group, of each level above a segment."""
        values = dict(zip(self.segment, segment_values(key), strict=True))
        return [
            ("+".join(level), group_key(level, [values[name] for name in level]))
            for level in self.columns
        ]


@dataclass(frozen=True)
class Group:
    """Some segments together.

    Attributes:
        level: its name.
        members: positions of its segments in the index.
        data: hash of the members' rows, and of what decides whether a score is given for one.
        rows: training rows.
        folds: per fold (training rows, validation rows).
    """

    key: str
    level: str
    members: tuple[int, ...]
    data: bytes
    rows: int
    folds: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ParentWork:
    """Some candidates on one fold of a group."""

    group: Group
    fold: int
    names: tuple[str, ...]


class ParentQueue:
    """Hands out the work of groups, the largest first."""

    def __init__(self, work: Iterable[ParentWork]) -> None:
        self.waiting = deque(sorted(work, key=lambda w: -w.group.folds[w.fold][0]))

    def next_work(self) -> ParentWork | None:
        return self.waiting.popleft() if self.waiting else None

    def put_back(self, work: ParentWork) -> None:
        """Queue work again, each candidate alone: one that kills its worker is found."""
        self.waiting.extend(replace(work, names=(name,)) for name in work.names)


def groups_above(
    settings: FitSettings, index: SegmentIndex, needy: Iterable[str]
) -> dict[str, Group]:
    """The groups that may stand in for some segments, by key; none with a single segment."""
    levels = Levels(settings.segment, settings.train.parents)
    wanted = {group for key in needy for _, group in levels.above(key)}
    members: dict[str, list[int]] = {}
    names: dict[str, str] = {}
    for number, key in enumerate(index.keys):
        for level, group in levels.above(key):
            if group in wanted:
                members.setdefault(group, []).append(number)
                names[group] = level
    return {
        key: _group(settings, index, key, names[key], found)
        for key, found in members.items()
        if len(found) > 1
    }


def _group(
    settings: FitSettings, index: SegmentIndex, key: str, level: str, members: list[int]
) -> Group:
    parts = [index.keys[number].encode() + index.digests[number] for number in members]
    counts = index.folds[members].sum(axis=0).tolist()
    return Group(
        key=key,
        level=level,
        members=tuple(members),
        data=b"\n".join([str(settings.train.min_validation_rows).encode(), *parts]),
        rows=int(index.rows[members].sum()),
        folds=tuple((train, valid) for train, valid in counts),
    )


def plan_parents(
    settings: FitSettings, groups: Iterable[Group], made: pa.Array, keys: FitKeys
) -> tuple[list[ParentWork], list[FitResult], list[bytes]]:
    """What is to be fitted, the leaderboard's rows of what is not worth it, and all fits' keys.

    Args:
        settings: of the training.
        groups: see :func:`groups_above`.
        made: keys of fits that were made before.
        keys: of fits.
    """
    names = tuple(settings.candidates("segment"))
    wanted: list[ParentWork] = []
    skipped: list[FitResult] = []
    for group in groups:
        for fold, (rows_train, rows_valid) in enumerate(group.folds):
            reason = fold_skipped(
                rows_train,
                rows_valid,
                rows=group.rows,
                min_rows=settings.train.min_rows,
                min_validation_rows=settings.train.min_validation_rows,
            )
            if reason is None:
                wanted.append(ParentWork(group, fold, names))
            why = dict.fromkeys(names, reason)
            skipped += skipped_fits(group.key, fold, rows_train, rows_valid, why)
    every = [
        keys.key(work.group.key, work.group.data, name, work.fold)
        for work in wanted
        for name in names
    ]
    kept = iter(were_made(every, made))
    left = [replace(work, names=tuple(n for n in names if not next(kept))) for work in wanted]
    return [work for work in left if work.names], skipped, every


def unmade(work: ParentWork, status: Status, reason: str) -> list[FitResult]:
    """The leaderboard's rows of work that was lost or had no time."""
    counts = work.group.folds[work.fold]
    return [
        FitResult(work.group.key, name, "own", work.fold, status, None, *counts, error=reason)
        for name in work.names
    ]


def group_parts(index: SegmentIndex, group: Group) -> list[Parts]:
    """Where the rows of each member lie."""
    return [index.parts_of(index.keys[number]) for number in group.members]


def fit_group(
    settings: FitSettings, work: ParentWork, matrix: Matrix, runs: Sequence[Run]
) -> list[FitResult]:
    """A group's candidates on one fold: scored on the group's rows, then on each member's.

    Args:
        settings: of the training.
        work: what is to be fitted.
        matrix: (n_samples,) training rows of the group.
        runs: where the rows of each member lie in it.

    Returns:
        Of each candidate a result of scope ``own`` for the group, and one of scope ``parent`` for
        each member, named ``candidate@level``.
    """
    train_rows, valid_rows = settings.folds(matrix.time, matrix.fold)[work.fold]
    blocks = to_blocks(matrix.X, settings.categorical)
    data = FoldData(blocks, matrix.y, train_rows, valid_rows, matrix.weight)
    options = replace(settings.options(work.group.key, work.fold), keep_predictions=True)
    candidates = {name: settings.train.candidates[name] for name in work.names}
    results = []
    for fit in fit_fold(data, candidates, options):
        seen = replace(fit, scope="parent", candidate=f"{fit.candidate}{AT}{work.group.level}")
        results.append(replace(fit, predictions=None))
        results += score_by_segment(
            seen,
            matrix.y,
            valid_rows,
            train_rows,
            runs,
            scorer=settings.objective,
            min_validation_rows=settings.train.min_validation_rows,
            weight=matrix.weight,
        )
    return results


def group_baselines(
    settings: FitSettings, groups: Mapping[str, Sequence[str]], matrix: Matrix, runs: Sequence[Run]
) -> Iterator[FitResult]:
    """The baseline of each group on each fold.

    Args:
        settings: of the training.
        groups: by key, the keys of its members.
        matrix: (n_samples,) training rows of all segments.
        runs: where each segment's rows lie in it.
    """
    places = {run.key: np.arange(run.start, run.stop) for run in runs}
    for key, members in groups.items():
        rows = np.concatenate([places[m] for m in members if m in places])
        weight = None if matrix.weight is None else matrix.weight[rows]
        number = None if matrix.fold is None else matrix.fold[rows]
        for fold, sides in enumerate(settings.folds(matrix.time[rows], number)):
            (found,) = score_baselines(
                matrix.y[rows],
                *sides,
                [],
                fold=fold,
                kind=settings.train.baseline,
                scorer=settings.objective,
                min_validation_rows=settings.train.min_validation_rows,
                weight=weight,
            )
            yield replace(found, segment=key)


def needy_segments(leaderboard: pa.Table, keys: Sequence[str]) -> list[str]:
    """The segments that no candidate of their own was scored for."""
    own = pc.equal(leaderboard.column("scope"), "own")
    good = pc.equal(leaderboard.column("status"), "ok")
    served = set(pc.unique(leaderboard.filter(pc.and_(own, good)).column("segment")).to_pylist())
    return [key for key in keys if key not in served]
