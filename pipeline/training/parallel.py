"""The Ray part of training: which tasks are started, in which order, and what becomes of them.

The statistics lie in :mod:`pipeline.training.tasks` and below; nothing here looks at a target.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.config.engines import TasksConfig
from pipeline.engines.bounded import Finished, run_bounded, task_options
from pipeline.errors import StageFailed
from pipeline.training.eligible import fold_skipped, skipped_fits
from pipeline.training.identity import fit_key
from pipeline.training.journal import FitJournal
from pipeline.training.packing import CostModel, Packer, SegmentWork
from pipeline.training.result import FitResult, error_text
from pipeline.training.segments import ALL, segment_id
from pipeline.training.selection import Champion, choose_champions
from pipeline.training.settings import FitSettings, SegmentRows, index_block, merge_index
from pipeline.training.tasks import (
    Done,
    Parts,
    fit_baselines,
    fit_champion,
    fit_pack,
    fit_pooled,
)

_log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class PooledWork:
    """One pooled candidate on one fold."""

    candidate: str
    fold: int


@dataclass(frozen=True)
class ChampionWork:
    """The last fit of a winner, on all its training rows."""

    segment: str
    candidate: str
    path: Path


Work = list[SegmentWork] | PooledWork | ChampionWork


@dataclass
class ParallelTraining:
    """Training over blocks in Ray's object store.

    Args:
        settings: roles, folds and candidates.
        blocks: references to the feature table's blocks, in row order.
        tasks: what a task asks of Ray.
        cpus: CPUs that Ray has for tasks.
        journal: keeps finished fits.
        watch: called at least once a second; what it raises ends the training.
        progress: called with (done, total, what).
    """

    settings: FitSettings
    blocks: Sequence[Any]
    tasks: TasksConfig
    cpus: int
    journal: FitJournal
    progress: Progress
    watch: Callable[[], None] = lambda: None
    index: dict[str, SegmentRows] = field(default_factory=dict)
    timeline: list[dict[str, Any]] = field(default_factory=list)
    reused: int = 0
    keys: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        import ray

        self._started = time.time()
        self._settings = ray.put(self.settings)
        self._attempts: Counter[Any] = Counter()
        self._baselines: list[FitResult] = []

    def read_index(self) -> dict[str, SegmentRows]:
        """Find each segment's rows; one task a block."""
        remote = self._remote(index_block)
        numbers = iter(range(len(self.blocks)))
        found: dict[int, list[SegmentRows]] = {}
        for end in run_bounded(
            lambda: next(numbers, None),
            lambda i: remote.remote(self._settings, i, self.blocks[i]),
            in_flight=self._in_flight,
            watch=self.watch,
        ):
            found[end.item] = _value(end, "reading the index of a block")
        self.index = merge_index([found[i] for i in range(len(self.blocks))])
        if not any(rows.rows for rows in self.index.values()):
            raise StageFailed(
                "no training rows: no row before the test period has a target",
                hint="Check preprocess.split.test_from and the target column.",
            )
        return self.index

    def baselines(self) -> tuple[list[FitResult], dict[str, float]]:
        """Scores of every segment's baseline, and the constants themselves."""
        remote = self._remote(fit_baselines)
        done = _value(
            self._one(lambda: remote.remote(self._settings, *self.blocks)),
            "scoring the baselines",
        )
        self._note(done, "baselines", "baseline", len(self.index))
        results, constants = done.value
        self._baselines = results
        return results, constants

    def _one(self, submit: Callable[[], Any]) -> Finished[int]:
        once: Iterator[int] = iter([1])

        def item() -> int | None:
            return next(once, None)

        return next(run_bounded(item, lambda _: submit(), in_flight=1, watch=self.watch))

    def fits(self, folder: Path) -> list[FitResult]:
        """Every candidate on every fold of every segment, from the journal or from a task.

        The champion of all segments together follows from the pooled fits alone, so its last
        fit, the longest of all, does not wait for the others; it is saved in ``folder``.
        """
        results, packer, pooled = self._plan_fits()
        total = packer.size + len(pooled)
        made = 0
        failed = 0
        waiting: deque[PooledWork | ChampionWork] = deque(pooled)

        def next_work() -> Any:
            # Pooled fits are the longest by far, so they start first.
            return waiting.popleft() if waiting else packer.next_pack()

        for end in run_bounded(
            next_work,
            self._submit,
            in_flight=self._in_flight,
            limit_seconds=self._limit,
            watch=self.watch,
        ):
            if isinstance(end.item, ChampionWork):
                self._note_champion(end)
                continue
            finished = self._settle(end, packer)
            if isinstance(end.item, PooledWork):
                pooled.remove(end.item)
                if not pooled:
                    waiting.extend(self._overall_champion([*results, *finished], folder))
            made += len(finished) if isinstance(end.item, list) else 1
            failed += sum(r.status == "failed" and r.scope == "own" for r in finished)
            results += finished
            aside = f", {failed:,} failed" if failed else ""
            kept = f", {self.reused:,} kept from before" if self.reused else ""
            self.progress(made, total, f"fits{aside}{kept}")
        return results

    def champions(self, winners: Sequence[Champion], folder: Path) -> dict[tuple[str, str], str]:
        """Fit and save the winners; (segment or ``*``, candidate) → SHA-256 of the saved model.

        A model that an earlier, killed run saved under the same key is taken as it is.
        """
        wanted = sorted(
            {(ALL if w.scope == "pooled" else w.segment, w.candidate) for w in winners},
            # Pooled ones first, then by rows: the longest fits start first.
            key=lambda w: (w[0] != ALL, -self.rows(w[0]), w),
        )
        work = [ChampionWork(s, c, folder / f"{self._final_key(s, c)}.skops") for s, c in wanted]
        saved = {(w.segment, w.candidate): _saved(w.path) for w in work}
        to_do = iter([w for w in work if saved[w.segment, w.candidate] is None])
        done = sum(digest is not None for digest in saved.values())
        for end in run_bounded(
            lambda: next(to_do, None),
            self._submit,
            in_flight=self._in_flight,
            limit_seconds=self._limit,
            watch=self.watch,
        ):
            item = end.item
            assert isinstance(item, ChampionWork)
            saved[item.segment, item.candidate] = self._note_champion(end)
            done += 1
            self.progress(done, len(work), "champions")
        return {key: digest for key, digest in saved.items() if digest is not None}

    def _overall_champion(self, results: list[FitResult], folder: Path) -> list[ChampionWork]:
        overall = choose_champions([*self._baselines, *results], {}, 0)[ALL]
        if overall.scope != "pooled":
            return []
        path = self.saved_model(folder, ALL, overall.candidate)
        return [] if path.exists() else [ChampionWork(ALL, overall.candidate, path)]

    def _note_champion(self, end: Finished[Any]) -> str:
        item: ChampionWork = end.item
        done = _value(end, f"fitting the champion {item.candidate} of {item.segment}")
        name = "all rows" if item.segment == ALL else segment_id(item.segment).rsplit("-", 1)[0]
        self._note(done, f"{name}: {item.candidate}", "final", 1)
        return str(done.value)

    def saved_model(self, folder: Path, segment: str, candidate: str) -> Path:
        """Where :meth:`champions` put a model."""
        return folder / f"{self._final_key(segment, candidate)}.skops"

    # -- planning

    def _plan_fits(self) -> tuple[list[FitResult], Packer, list[PooledWork]]:
        results: list[FitResult] = []
        work = []
        own = self.settings.candidates("segment")
        for rows in self.index.values():
            wanted = []
            for fold, (rows_train, rows_valid) in enumerate(rows.folds):
                reason = fold_skipped(
                    rows_train,
                    rows_valid,
                    rows=rows.rows,
                    min_rows=self.settings.train.min_rows,
                    min_validation_rows=self.settings.train.min_validation_rows,
                )
                if reason is not None:
                    results += skipped_fits(own, rows.key, fold, rows_train, rows_valid, reason)
                    continue
                for name in own:
                    kept = self._kept(rows.key, name, fold)
                    if kept is None:
                        wanted.append((name, fold))
                    results += kept or []
            if wanted:
                work.append(SegmentWork(rows.key, rows.rows, tuple(wanted)))
        pooled = []
        for name in self.settings.candidates("pooled"):
            for fold in range(len(self.settings.periods)):
                kept = self._kept(ALL, name, fold)
                if kept is None:
                    pooled.append(PooledWork(name, fold))
                results += kept or []
        return results, Packer(work, CostModel(), self.tasks.pack_seconds), pooled

    def _kept(self, segment: str, name: str, fold: int) -> list[FitResult] | None:
        key = self._key(segment, name, fold)
        self.keys.add(key)
        kept = self.journal.get(key)
        if kept is not None:
            self.reused += 1
        return kept

    def _key(self, segment: str, name: str, fold: int | None) -> str:
        train = self.settings.train
        return fit_key(
            data=self._digest(segment),
            segment=segment,
            name=name,
            candidate=train.candidates[name],
            period=None if fold is None else self.settings.periods[fold],
            scorer=train.scorer,
            seed=train.seed,
        )

    def _final_key(self, segment: str, name: str) -> str:
        return self._key(segment, name, None)

    def _digest(self, segment: str) -> str:
        if segment != ALL:
            return self.index[segment].digest
        # A pooled fit brings back a score for each segment, which depends on this setting too.
        parts = [f"{key}:{rows.digest}" for key, rows in self.index.items()]
        return "\n".join([f"{self.settings.train.min_validation_rows}", *parts])

    def rows(self, segment: str) -> int:
        """Training rows of a segment, or of all."""
        if segment == ALL:
            return sum(rows.rows for rows in self.index.values())
        return self.index[segment].rows

    # -- tasks

    def _submit(self, work: Work) -> Any:
        if isinstance(work, PooledWork):
            remote = self._remote(fit_pooled)
            return remote.remote(self._settings, work.candidate, work.fold, *self.blocks)
        if isinstance(work, ChampionWork):
            blocks, (parts,) = self._places([work.segment])
            return self._remote(fit_champion).remote(
                self._settings, work.candidate, work.segment, parts, str(work.path), *blocks
            )
        blocks, places = self._places([item.segment for item in work])
        return self._remote(fit_pack).remote(self._settings, work, places, *blocks)

    def _places(self, segments: Sequence[str]) -> tuple[list[Any], list[Parts]]:
        """The blocks that segments lie in, and their parts with positions in that list."""
        if list(segments) == [ALL]:
            return list(self.blocks), [()]
        used = sorted({part[0] for key in segments for part in self.index[key].parts})
        position = {block: i for i, block in enumerate(used)}
        places = [
            tuple((position[block], start, stop) for block, start, stop in self.index[key].parts)
            for key in segments
        ]
        return [self.blocks[block] for block in used], places

    def _remote(self, function: Callable[..., Any]) -> Any:
        import ray

        return ray.remote(**task_options(self.tasks), name=function.__name__)(function)

    @property
    def _in_flight(self) -> int:
        slots = max(1, int(self.cpus / self.tasks.num_cpus))
        return slots * self.tasks.in_flight_per_cpu

    def _limit(self, work: Work) -> float:
        """Seconds after which a task is cancelled: its own limit, and that of those before it."""
        fits = sum(len(item.fits) for item in work) if isinstance(work, list) else 1
        return 60 + self.settings.train.fit_timeout_seconds * (fits + self.tasks.in_flight_per_cpu)

    # -- results

    def _settle(self, end: Finished[Any], packer: Packer) -> list[FitResult]:
        """Keep what a task brought back; queue again, or count as failed, what was lost."""
        work: list[SegmentWork] | PooledWork = end.item
        if end.error is not None:
            return self._lost(work, end.error, packer)
        done: Done = end.value
        if isinstance(work, PooledWork):
            self._note(done, f"{work.candidate} fold {work.fold + 1}", "pooled", 1)
            self.journal.add(self._key(ALL, work.candidate, work.fold), done.value)
            return list(done.value)
        label = segment_id(work[0].segment).rsplit("-", 1)[0]
        aside = f" and {len(work) - 1} more" if len(work) > 1 else ""
        self._note(done, label + aside, "fit", len(done.value))
        for result in done.value:
            packer.cost.learn(result.candidate, result.rows_train, result.seconds)
            self.journal.add(self._key(result.segment, result.candidate, result.fold), [result])
        return list(done.value)

    def _lost(
        self, work: list[SegmentWork] | PooledWork, error: Exception, packer: Packer
    ) -> list[FitResult]:
        _log.warning("a task was lost: %s", error_text(error))
        if isinstance(work, PooledWork):
            return self._failed_pooled(work, error)
        fits = [(item.segment, fit) for item in work for fit in item.fits]
        self._attempts.update(fits)
        timed_out = isinstance(error, TimeoutError)
        if len(fits) > 1 or (self._attempts[fits[0]] <= self.tasks.max_retries and not timed_out):
            for item in work:
                packer.put_back(item)
            return []
        (segment, (name, fold)) = fits[0]
        rows_train, rows_valid = self.index[segment].folds[fold]
        text = error_text(error)
        return [
            FitResult(
                segment, name, "own", fold, "failed", None, rows_train, rows_valid, error=text
            )
        ]

    def _failed_pooled(self, work: PooledWork, error: Exception) -> list[FitResult]:
        blank = FitResult(
            ALL, work.candidate, "pooled", work.fold, "failed", None, 0, 0, error=error_text(error)
        )
        return [blank, *(replace(blank, segment=key) for key in self.index)]

    def _note(self, done: Done, label: str, kind: str, fits: int) -> None:
        self.timeline.append(
            {
                "label": label,
                "kind": kind,
                "worker": done.worker,
                "start": round(done.started - self._started, 3),
                "stop": round(done.stopped - self._started, 3),
                "fits": fits,
            }
        )


def _value(end: Finished[Any], doing: str) -> Any:
    if end.error is not None:
        raise StageFailed(f"{doing} failed: {error_text(end.error)}") from end.error
    return end.value


def _saved(path: Path) -> str | None:
    from pipeline.store.fingerprint import sha256_file

    # Renamed into place when it was whole, so what is there can be trusted.
    return sha256_file(path) if os.path.exists(path) else None
