"""Which fits a training consists of: those to make, those kept from before, and those not worth it.

Pure: it knows the index, the journal and the settings, and no engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from pipeline.training.blends import BlendPlan
from pipeline.training.eligible import fold_skipped, skipped_fits
from pipeline.training.identity import FitKeys
from pipeline.training.index import SegmentIndex
from pipeline.training.journal import FitJournal, all_keys, were_made
from pipeline.training.packing import SegmentWork
from pipeline.training.result import FitResult, to_table
from pipeline.training.rounds import Dropped, Round
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
    """What is to be done in a round.

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

    def extend(self, other: FitPlan) -> None:
        """Take what another round skips and keeps into account, not its work."""
        self.skipped += other.skipped
        self.keys = pa.concat_arrays([self.keys, other.keys])
        self.reused += other.reused


def plan_fits(
    settings: FitSettings, index: SegmentIndex, journal: FitJournal, now: Round, dropped: Dropped
) -> FitPlan:
    """The candidates of a round on its folds, for every segment and for all rows.

    What was dropped before is among the skipped ones.
    """
    plan = FitPlan()
    keys = FitKeys(settings)
    made = journal.keys()
    known = [
        _plan_segments(plan, settings, index, made, keys, numbers, now, dropped)
        for numbers in _ranges(len(index))
    ]
    wanted = _pooled(plan, settings, index, keys, now, dropped)
    kept = were_made([work.key for work in wanted], made)
    plan.pooled = [work for work, is_kept in zip(wanted, kept, strict=True) if not is_kept]
    plan.reused += int(kept.sum())
    plan.keys = pa.concat_arrays([*known, all_keys(work.key for work in wanted)])
    return plan


def plan_blends(
    wanted: Sequence[SegmentWork], blend: BlendPlan, made: pa.Array, keys: FitKeys
) -> tuple[list[SegmentWork], list[bytes]]:
    """Of the blends' own fits those to make, and the keys of all of them.

    Args:
        wanted: the own candidate of each segment's blend, on each fold.
        blend: the pooled part.
        made: keys of fits that were made before.
        keys: of fits.
    """
    every = [
        keys.key(work.segment, work.data + blend.keys[fold], name, fold)
        for work in wanted
        for name, fold in work.fits
    ]
    kept = iter(were_made(every, made))
    left = [replace(work, fits=tuple(f for f in work.fits if not next(kept))) for work in wanted]
    return [work for work in left if work.fits], every


def pooled_data(settings: FitSettings, index: SegmentIndex) -> bytes:
    """What a fit on all rows depends on.

    That is every segment's rows, and the setting that decides whether a score is given for one.
    """
    parts = [key.encode() + digest for key, digest in zip(index.keys, index.digests, strict=True)]
    return b"\n".join([str(settings.train.min_validation_rows).encode(), *parts])


def _pooled(
    plan: FitPlan,
    settings: FitSettings,
    index: SegmentIndex,
    keys: FitKeys,
    now: Round,
    dropped: Dropped,
) -> list[PooledWork]:
    names = [name for name in settings.candidates("pooled") if name in now.candidates]
    gone = dropped.get(ALL, {})
    late = [(name, fold) for fold in now.folds for name in names if name in gone]
    plan.skipped += [pooled_skipped(index, name, fold, gone[name]) for name, fold in late]
    data = pooled_data(settings, index) if names else b""
    return [
        PooledWork(name, fold, keys.key(ALL, data, name, fold))
        for name in names
        for fold in now.folds
        if name not in gone
    ]


def pooled_skipped(index: SegmentIndex, name: str, fold: int, reason: str) -> pa.Table:
    """The leaderboard's rows of a pooled fit that is not made: of ``*`` and of each segment."""
    blank = FitResult(ALL, name, "pooled", fold, "skipped", None, 0, 0, error=reason)
    return to_table([blank, *(replace(blank, segment=key) for key in index.keys)])


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
    now: Round,
    dropped: Dropped,
) -> pa.Array:
    """Plan the fits of some segments; returns the keys of those worth making.

    ``made`` are the keys of fits that the journal has.
    """
    names = tuple(name for name in settings.candidates("segment") if name in now.candidates)
    wanted: list[tuple[int, str, int]] = []
    skipped: list[FitResult] = []
    for number in numbers:
        gone = dropped.get(index.keys[number], {})
        counts = index.folds[number].tolist()
        for fold in now.folds:
            rows_train, rows_valid = counts[fold]
            reason = fold_skipped(
                rows_train,
                rows_valid,
                rows=int(index.rows[number]),
                min_rows=settings.train.min_rows,
                min_validation_rows=settings.train.min_validation_rows,
            )
            why = {name: reason or gone.get(name) for name in names}
            wanted += [(number, name, fold) for name in names if why[name] is None]
            key = index.keys[number]
            skipped += skipped_fits(key, fold, rows_train, rows_valid, why)
    if skipped:
        plan.skipped.append(to_table(skipped))
    found = [
        keys.key(index.keys[number], index.digests[number], name, fold)
        for number, name, fold in wanted
    ]
    kept = were_made(found, made)
    plan.reused += int(kept.sum())
    plan.work += _work(index, [w for w, is_kept in zip(wanted, kept, strict=True) if not is_kept])
    return all_keys(found)


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
