"""The Ray part of training: which tasks are started, in which order, and what becomes of them.

The statistics lie in :mod:`pipeline.training.tasks` and below; nothing here looks at a target.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.engines import TasksConfig
from pipeline.engines.bounded import Finished, run_bounded, task_options
from pipeline.errors import StageFailed
from pipeline.models.entry import Prediction
from pipeline.training.deadline import no_result_within
from pipeline.training.finals import (
    FinalWork,
    SavedModel,
    Winner,
    plan_finals,
    saved_models,
    single_path,
)
from pipeline.training.identity import FitKeys
from pipeline.training.index import Parts, SegmentIndex, index_block, merge_index
from pipeline.training.journal import FitJournal
from pipeline.training.objective import greater_is_better
from pipeline.training.packing import CostModel, Packer, SegmentWork
from pipeline.training.plan import FitPlan, PooledWork, plan_fits, pooled_data
from pipeline.training.result import LEADERBOARD, FitResult, error_text, from_table, to_table
from pipeline.training.segments import ALL, segment_id
from pipeline.training.selection import choose_champions
from pipeline.training.settings import FitSettings
from pipeline.training.tasks import (
    Done,
    Fitted,
    fit_baselines,
    fit_finals,
    fit_pack,
    fit_pooled,
)

_log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]

Work = list[SegmentWork] | PooledWork | FinalWork


@dataclass
class ParallelTraining:
    """Training over blocks in Ray's object store.

    Args:
        settings: roles, folds and candidates.
        blocks: references to the feature table's blocks, in row order.
        tasks: what a task asks of Ray.
        cpus: CPUs that Ray has for tasks.
        journal: keeps finished fits.
        progress: called with (done, total, what).
        watch: called at least once a second; what it raises ends the training.
    """

    settings: FitSettings
    blocks: Sequence[Any]
    tasks: TasksConfig
    cpus: int
    journal: FitJournal
    progress: Progress
    watch: Callable[[], None] = lambda: None
    timeline: list[dict[str, Any]] = field(default_factory=list)
    plan: FitPlan = field(default_factory=FitPlan)

    def __post_init__(self) -> None:
        import ray

        self._started = time.time()
        self._settings = ray.put(self.settings)
        self._functions: dict[Callable[..., Any], Any] = {}
        self._keys = FitKeys(self.settings)
        self._attempts: Counter[Any] = Counter()
        self._lost_fits: list[FitResult] = []
        self._baselines = LEADERBOARD.empty_table()

    def read_index(self) -> SegmentIndex:
        """Find each segment's rows; one task a block."""
        remote = self._remote(index_block)
        numbers = iter(range(len(self.blocks)))
        found: dict[int, SegmentIndex] = {}
        for end in run_bounded(
            lambda: next(numbers, None),
            lambda i: remote.remote(self._settings, i, self.blocks[i]),
            in_flight=self._in_flight,
            watch=self.watch,
        ):
            found[end.item] = _value(end, "reading the index of a block")
        self.index = merge_index([found[i] for i in range(len(self.blocks))])
        if not self.index.rows.any():
            raise StageFailed(
                "no training rows: no row before the test period has a target",
                hint="Check preprocess.split.test_from and the target column.",
            )
        return self.index

    def baselines(self) -> dict[str, Prediction]:
        """Score every segment's baseline; returns what they predict, by segment."""
        remote = self._remote(fit_baselines)
        done = _value(
            self._one(lambda: remote.remote(self._settings, *self.blocks)),
            "scoring the baselines",
        )
        self._note(done, "baselines", "baseline", len(self.index))
        self._baselines, constants = done.value
        return dict(constants)

    def _one(self, submit: Callable[[], Any]) -> Finished[int]:
        once: Iterator[int] = iter([1])

        def item() -> int | None:
            return next(once, None)

        return next(run_bounded(item, lambda _: submit(), in_flight=1, watch=self.watch))

    def fits(self, folder: Path) -> None:
        """Make every fit that the journal does not have; see :meth:`leaderboard` for the results.

        The champion of all segments together follows from the pooled fits alone, so its last
        fit, the longest of all, does not wait for the others; it is saved in ``folder``.
        """
        self.plan = plan_fits(self.settings, self.index, self.journal)
        packer = Packer(self.plan.work, CostModel(), self.tasks.pack_seconds)
        pooled = set(self.plan.pooled)
        total = packer.size + len(pooled)
        made = failed = 0
        waiting: deque[PooledWork | FinalWork] = deque(self.plan.pooled)

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
            if isinstance(end.item, FinalWork):
                self._note_finals(end)
                continue
            done, lost = self._settle(end, packer)
            if isinstance(end.item, PooledWork):
                pooled.discard(end.item)
                if not pooled:
                    waiting.extend(self._overall_champion(folder))
            made += done
            failed += lost
            aside = f", {failed:,} failed" if failed else ""
            kept = f", {self.plan.reused:,} kept from before" if self.plan.reused else ""
            self.progress(made, total, f"fits{aside}{kept}")

    def leaderboard(self) -> pa.Table:
        """The results of all fits, in no order; most of it lies on disk, mapped into memory."""
        return pa.concat_tables(
            [
                self._baselines,
                *self.plan.skipped,
                self.journal.results(self.plan.keys),
                to_table(self._lost_fits),
            ]
        )

    def champions(self, winners: Iterable[Winner], folder: Path) -> dict[Winner, SavedModel]:
        """Fit and save winners; a model that an earlier, killed run saved is taken as it is."""
        wanted = sorted(
            set(winners),
            # Pooled ones first, then by rows: the longest fits start first.
            key=lambda winner: (winner[0] != ALL, -self.rows(winner[0]), winner),
        )
        work = plan_finals({winner: self._final_key(*winner) for winner in wanted}, folder)
        saved: dict[Winner, SavedModel] = {}
        to_do: list[FinalWork] = []
        for item in work:
            found = saved_models(item)
            if found is None:
                to_do.append(item)
            saved.update(found or {})
        waiting = iter(to_do)
        for end in run_bounded(
            lambda: next(waiting, None),
            self._submit,
            in_flight=self._in_flight,
            limit_seconds=self._limit,
            watch=self.watch,
        ):
            saved.update(self._note_finals(end))
            self.progress(len(saved), len(wanted), "champions")
        return saved

    def _overall_champion(self, folder: Path) -> list[FinalWork]:
        train = self.settings.train
        every = self.leaderboard()
        of_all = from_table(every.filter(pc.equal(every.column("segment"), ALL)))
        overall = choose_champions(
            of_all,
            {},
            0,
            select=train.select,
            order=tuple(train.candidates),
            greater_is_better=greater_is_better(train.scorer),
        )[ALL]
        if overall.scope != "pooled":
            return []
        path = single_path(folder, self._final_key(ALL, overall.candidate))
        return [] if path.exists() else [FinalWork(((ALL, overall.candidate),), path)]

    def _note_finals(self, end: Finished[Any]) -> dict[Winner, SavedModel]:
        work: FinalWork = end.item
        segment, candidate = work.winners[0]
        done = _value(end, f"fitting the champion {candidate} of {segment}")
        name = "all rows" if segment == ALL else segment_id(segment).rsplit("-", 1)[0]
        aside = f" and {len(work.winners) - 1} more" if len(work.winners) > 1 else ""
        self._note(done, f"{name}: {candidate}{aside}", "final", len(work.winners))
        return work.saved(done.value)

    def _final_key(self, segment: str, name: str) -> bytes:
        if segment == ALL:
            data = pooled_data(self.settings, self.index)
        else:
            data = self.index.digests[self.index.number(segment)]
        return self._keys.key(segment, data, name, None)

    def rows(self, segment: str) -> int:
        """Training rows of a segment, or of all."""
        if segment == ALL:
            return int(self.index.rows.sum())
        return int(self.index.rows[self.index.number(segment)])

    # -- tasks

    def _submit(self, work: Work) -> Any:
        if isinstance(work, PooledWork):
            remote = self._remote(fit_pooled)
            return remote.remote(self._settings, work.candidate, work.fold, work.key, *self.blocks)
        if isinstance(work, FinalWork):
            blocks, places = self._places([segment for segment, _ in work.winners])
            return self._remote(fit_finals).remote(self._settings, work, places, *blocks)
        blocks, places = self._places([item.segment for item in work])
        return self._remote(fit_pack).remote(self._settings, work, places, *blocks)

    def _places(self, segments: Sequence[str]) -> tuple[list[Any], list[Parts]]:
        """The blocks that segments lie in, and their parts with positions in that list."""
        if list(segments) == [ALL]:
            return list(self.blocks), [()]
        parts = [self.index.parts_of(key) for key in segments]
        used = sorted({part[0] for found in parts for part in found})
        position = {block: i for i, block in enumerate(used)}
        places = [
            tuple((position[block], start, stop) for block, start, stop in found) for found in parts
        ]
        return [self.blocks[block] for block in used], places

    def _remote(self, function: Callable[..., Any]) -> Any:
        import ray

        # Once for each function: Ray ships every remote function that is made to every worker.
        if function not in self._functions:
            options = task_options(self.tasks)
            self._functions[function] = ray.remote(**options, name=function.__name__)(function)
        return self._functions[function]

    @property
    def _in_flight(self) -> int:
        slots = max(1, int(self.cpus / self.tasks.num_cpus))
        return slots * self.tasks.in_flight_per_cpu

    def _limit(self, work: Work) -> float:
        """Seconds after which a task is cancelled: its own limit, and that of those before it."""
        if isinstance(work, list):
            fits = sum(len(item.fits) for item in work)
        else:
            fits = len(work.winners) if isinstance(work, FinalWork) else 1
        return 60 + self.settings.train.fit_timeout_seconds * (fits + self.tasks.in_flight_per_cpu)

    # -- results

    def _settle(self, end: Finished[Any], packer: Packer) -> tuple[int, int]:
        """Keep what a task brought back; queue again, or count as failed, what was lost.

        Returns:
            Fits that are done with, and how many of them failed.
        """
        work: list[SegmentWork] | PooledWork = end.item
        if end.error is not None:
            return self._lost(work, self._why_lost(end, end.error), packer)
        done: Done = end.value
        fitted: Fitted = done.value
        self.journal.add(fitted.entry)
        for candidate, seen in fitted.seen.items():
            packer.cost.learn(candidate, seen)
        if isinstance(work, PooledWork):
            self._note(done, f"{work.candidate} fold {work.fold + 1}", "pooled", 1)
            return fitted.fits, fitted.failed
        label = segment_id(work[0].segment).rsplit("-", 1)[0]
        aside = f" and {len(work) - 1} more" if len(work) > 1 else ""
        self._note(done, label + aside, "fit", fitted.fits)
        return fitted.fits, fitted.failed

    def _why_lost(self, end: Finished[Any], error: Exception) -> Exception:
        """A single fit's worker that was lost after its time was ended by its own deadline."""
        from ray.exceptions import WorkerCrashedError

        work, limit = end.item, self.settings.train.fit_timeout_seconds
        alone = isinstance(work, PooledWork) or [len(item.fits) for item in work] == [1]
        if alone and isinstance(error, WorkerCrashedError) and end.seconds >= limit:
            return TimeoutError(f"{no_result_within(limit)}, nor an end when asked for it")
        return error

    def _lost(
        self, work: list[SegmentWork] | PooledWork, error: Exception, packer: Packer
    ) -> tuple[int, int]:
        _log.warning("a task was lost: %s", error_text(error))
        if isinstance(work, PooledWork):
            self._lost_fits += self._failed_pooled(work, error)
            return 1, 1
        fits = [(item.segment, fit) for item in work for fit in item.fits]
        self._attempts.update(fits)
        timed_out = isinstance(error, TimeoutError)
        if len(fits) > 1 or (self._attempts[fits[0]] <= self.tasks.max_retries and not timed_out):
            for item in work:
                packer.put_back(item)
            return 0, 0
        (segment, (name, fold)) = fits[0]
        rows_train, rows_valid = self.index.folds[self.index.number(segment), fold].tolist()
        text = error_text(error)
        self._lost_fits.append(
            FitResult(
                segment, name, "own", fold, "failed", None, rows_train, rows_valid, error=text
            )
        )
        return 1, 1

    def _failed_pooled(self, work: PooledWork, error: Exception) -> list[FitResult]:
        blank = FitResult(
            ALL, work.candidate, "pooled", work.fold, "failed", None, 0, 0, error=error_text(error)
        )
        return [blank, *(replace(blank, segment=key) for key in self.index.keys)]

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
