"""Which fits a training consists of: those to make, those kept from before, and those not worth it.

Pure: it knows the index, the journal and the settings, and no engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.training.eligible import fold_skipped, skipped_fits
from pipeline.training.identity import FitKeys
from pipeline.training.index import SegmentIndex
from pipeline.training.journal import FitJournal, all_keys
from pipeline.training.packing import SegmentWork
from pipeline.training.result import FitResult, to_table
from pipeline.training.segments import ALL
from pipeline.training.settings import FitSettings

_SEGMENTS_AT_A_TIME = 5_000


@dataclass(frozen=True)
class PooledWork:
    """One pooled candidate on one fold, and the key of the fit."""

    candidate: str
    fold: int
    key: bytes


@dataclass
class FitPlan:
    """What is to be done.

    Attributes:
        work: fits of segments, in the order of their rows.
        pooled: fits on all rows.
        skipped: the leaderboard's rows of fits that are not worth making.
        keys: of all fits of this training, made before or not.
        reused: how many were made before.
    """

    work: list[SegmentWork] = field(default_factory=list)
    pooled: list[PooledWork] = field(default_factory=list)
    skipped: list[pa.Table] = field(default_factory=list)
    keys: pa.Array = field(default_factory=lambda: all_keys([]))
    reused: int = 0


def plan_fits(settings: FitSettings, index: SegmentIndex, journal: FitJournal) -> FitPlan:
    """Every candidate on every fold of every segment, and of all rows."""
    plan = FitPlan()
    keys = FitKeys(settings)
    made = journal.keys()
    known = [
        _plan_segments(plan, settings, index, made, keys, numbers)
        for numbers in _ranges(len(index))
    ]
    wanted = list(_pooled(settings, index, keys))
    kept = _is_in([work.key for work in wanted], made)
    plan.pooled = [work for work, is_kept in zip(wanted, kept, strict=True) if not is_kept]
    plan.reused += int(kept.sum())
    plan.keys = pa.concat_arrays([*known, all_keys(work.key for work in wanted)])
    return plan


def pooled_data(settings: FitSettings, index: SegmentIndex) -> bytes:
    """What a fit on all rows depends on.

    That is every segment's rows, and the setting that decides whether a score is given for one.
    """
    parts = [key.encode() + digest for key, digest in zip(index.keys, index.digests, strict=True)]
    return b"\n".join([str(settings.train.min_validation_rows).encode(), *parts])


def _pooled(settings: FitSettings, index: SegmentIndex, keys: FitKeys) -> Iterator[PooledWork]:
    candidates = settings.candidates("pooled")
    data = pooled_data(settings, index) if candidates else b""
    for name in candidates:
        for fold in range(settings.n_folds):
            yield PooledWork(name, fold, keys.key(ALL, data, name, fold))


def _ranges(count: int) -> list[range]:
    step = _SEGMENTS_AT_A_TIME
    return [range(i, min(i + step, count)) for i in range(0, count, step)]


def _plan_segments(
    plan: FitPlan,
    settings: FitSettings,
    index: SegmentIndex,
    made: pa.Array,
    keys: FitKeys,
    numbers: range,
) -> pa.Array:
    """Plan the fits of some segments; returns the keys of those worth making.

    ``made`` are the keys of fits that the journal has.
    """
    names = tuple(settings.candidates("segment"))
    wanted: list[tuple[int, str, int]] = []
    skipped: list[FitResult] = []
    for number in numbers:
        for fold, (rows_train, rows_valid) in enumerate(index.folds[number].tolist()):
            reason = fold_skipped(
                rows_train,
                rows_valid,
                rows=int(index.rows[number]),
                min_rows=settings.train.min_rows,
                min_validation_rows=settings.train.min_validation_rows,
            )
            if reason is None:
                wanted += [(number, name, fold) for name in names]
            else:
                key = index.keys[number]
                skipped += skipped_fits(names, key, fold, rows_train, rows_valid, reason)
    if skipped:
        plan.skipped.append(to_table(skipped))
    found = [
        keys.key(index.keys[number], index.digests[number], name, fold)
        for number, name, fold in wanted
    ]
    kept = _is_in(found, made)
    plan.reused += int(kept.sum())
    plan.work += _work(index, [w for w, is_kept in zip(wanted, kept, strict=True) if not is_kept])
    return all_keys(found)


def _is_in(keys: list[bytes], made: pa.Array) -> npt.NDArray[np.bool_]:
    """(n_keys,) whether a fit was made before."""
    return np.asarray(pc.is_in(all_keys(keys), value_set=made))


def _work(index: SegmentIndex, wanted: list[tuple[int, str, int]]) -> Iterator[SegmentWork]:
    by_segment: dict[int, list[tuple[str, int]]] = {}
    for number, name, fold in wanted:
        by_segment.setdefault(number, []).append((name, fold))
    one_of: dict[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]] = {}
    for number, found in by_segment.items():
        fits = tuple(found)
        # Most segments want the same fits; one tuple serves them all.
        fits = one_of.setdefault(fits, fits)
        yield SegmentWork(index.keys[number], index.digests[number], int(index.rows[number]), fits)
