"""The Ray part of training: what is done in which order, and what becomes of it.

How work becomes a task lies in :mod:`pipeline.training.dispatch`, the statistics in
:mod:`pipeline.training.tasks` and below; nothing here looks at a target.
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
from pipeline.engines.bounded import DueError, Finished
from pipeline.errors import StageFailed
from pipeline.models.entry import Prediction
from pipeline.training.blends import BlendPlan, blend_name, outputs_file, parts_of_blend
from pipeline.training.deadline import no_result_within
from pipeline.training.dispatch import BlendWork, Dispatcher, value_of
from pipeline.training.eligible import no_time
from pipeline.training.families import families
from pipeline.training.finals import (
    FinalWork,
    SavedModel,
    Winner,
    plan_finals,
    saved_models,
    single_path,
)
from pipeline.training.identity import FitKeys
from pipeline.training.index import SegmentIndex
from pipeline.training.journal import FitJournal, all_keys
from pipeline.training.objective import greater_is_better
from pipeline.training.packing import CostModel, Packer, SegmentWork, each_alone
from pipeline.training.parents import (
    Group,
    ParentQueue,
    ParentWork,
    groups_above,
    needy_segments,
    plan_parents,
    unmade,
)
from pipeline.training.plan import (
    FitPlan,
    PooledWork,
    plan_blends,
    plan_fits,
    pooled_data,
    pooled_skipped,
)
from pipeline.training.result import LEADERBOARD, FitResult, error_text, from_table, in_order
from pipeline.training.result import to_table as results_table
from pipeline.training.rounds import Dropped, Round, halve, plan_rounds
from pipeline.training.segments import ALL, is_group, segment_id
from pipeline.training.selection import Champion, best_by_segment, choose_champions
from pipeline.training.settings import FitSettings
from pipeline.training.tasks import Done, Fitted

_log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]

Fits = list[SegmentWork] | PooledWork | ParentWork | BlendWork


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
    plan: FitPlan = field(default_factory=FitPlan)

    def __post_init__(self) -> None:
        self._dispatch = Dispatcher(self.settings, self.blocks, self.tasks, self.cpus, self.watch)
        self._keys = FitKeys(self.settings)
        self._attempts: Counter[Any] = Counter()
        self._lost_fits: list[FitResult] = []
        self._baselines = LEADERBOARD.empty_table()
        self._groups: dict[str, Group] = {}
        self._due: float | None = None
        self._blend: BlendPlan | None = None
        self._made = self._failed = self._total = 0

    @property
    def timeline(self) -> list[dict[str, Any]]:
        """When and where each task ran, for the report."""
        return self._dispatch.timeline

    def read_index(self) -> SegmentIndex:
        """Find each segment's rows; one task a block."""
        self.index = self._dispatch.read_index()
        if not self.index.rows.any():
            raise StageFailed(
                "no training rows: no row before the test period has a target",
                hint="Check preprocess.split and the target column.",
            )
        return self.index

    def baselines(self) -> dict[str, Prediction]:
        """Score every segment's baseline; returns what they predict, by segment."""
        done = self._dispatch.baselines()
        self._dispatch.note(done, "baselines", "baseline", len(self.index))
        self._baselines, constants = done.value
        return dict(constants)

    def fits(self, folder: Path) -> None:
        """Make every fit that the journal does not have; see :meth:`leaderboard` for the results.

        The champion of all segments together follows from the pooled fits alone, so its last
        fit, the longest of all, does not wait for the others; it is saved in ``folder``.
        """
        train = self.settings.train
        rounds = plan_rounds(train, self.settings.n_folds, self.settings.objective)
        dropped: Dropped = {}
        if train.blend:
            self._share(outputs=folder)
        if train.budget_seconds is not None:
            self._due = time.monotonic() + train.budget_seconds
        for number, now in enumerate(rounds):
            plan = plan_fits(self.settings, self.index, self.journal, now, dropped)
            self.plan.extend(plan)
            self._run_round(plan, folder if number == len(rounds) - 1 else None)
            if self._is_over:
                self._give_up(rounds[number:], dropped)
                break
            if train.halving is not None and number < len(rounds) - 1:
                for piece in in_order(self.leaderboard()):
                    halve(from_table(piece), dropped, train, rounds_done=number + 1)
        if train.blend and not self._is_over:
            self._blend_fits(folder)
        if train.parents:
            self._parent_fits()

    def _share(self, **changed: Any) -> None:
        """Let tasks know more than was known at first."""
        self.settings = replace(self.settings, **changed)
        self._dispatch.share(self.settings)

    @property
    def _is_over(self) -> bool:
        return self._due is not None and time.monotonic() >= self._due

    def _together(self, names: Sequence[str], rows: int) -> list[list[str]]:
        """Candidates in groups that :func:`~pipeline.training.fit.fit_fold` fits together."""
        if not self.settings.share:
            return each_alone(names, rows)
        candidates = {name: self.settings.train.candidates[name] for name in names}
        return [group for group, _ in families(candidates, rows, self.settings.objective)]

    def _run_round(self, plan: FitPlan, folder: Path | None) -> None:
        """Make the fits of a round; in the last one ``folder`` takes the overall champion."""
        packer = Packer(plan.work, CostModel(), self.tasks.pack_seconds, self._together)
        pooled = set(plan.pooled)
        self._total += packer.size + len(pooled)
        waiting: deque[PooledWork | FinalWork] = deque(plan.pooled)

        def next_work() -> Any:
            # Pooled fits are the longest by far, so they start first.
            return waiting.popleft() if waiting else packer.next_pack()

        for end in self._dispatch.run(next_work, self._due):
            if isinstance(end.item, FinalWork):
                if not isinstance(end.error, DueError):
                    self._note_finals(end)
                continue
            self._settle(end, packer)
            if isinstance(end.item, PooledWork):
                pooled.discard(end.item)
                if not pooled and folder is not None:
                    waiting.extend(self._overall_champion(folder))

    def _give_up(self, rounds: Sequence[Round], dropped: Dropped) -> None:
        """Note what the budget left no time for: the rest of the first round, and the others."""
        reason = no_time(self.settings.train.budget_seconds or 0.0)
        lost = {(fit.segment, fit.candidate, fit.fold) for fit in self._lost_fits}
        for number, now in enumerate(rounds):
            plan = plan_fits(self.settings, self.index, self.journal, now, dropped)
            if number:  # of the first they are noted already
                self.plan.extend(plan)
            late = [
                self._skipped(work.segment, name, fold, reason)
                for work in plan.work
                for name, fold in work.fits
                if (work.segment, name, fold) not in lost
            ]
            self.plan.skipped.append(results_table(late))
            self.plan.skipped += [
                pooled_skipped(self.index, work.candidate, work.fold, reason)
                for work in plan.pooled
                if (ALL, work.candidate, work.fold) not in lost
            ]

    def _skipped(self, segment: str, name: str, fold: int, reason: str) -> FitResult:
        rows_train, rows_valid = self.index.folds[self.index.number(segment), fold].tolist()
        return FitResult(
            segment, name, "own", fold, "skipped", None, rows_train, rows_valid, error=reason
        )

    def _blend_fits(self, folder: Path) -> None:
        """Score the blend of each segment's best own candidate and the best pooled one."""
        more = greater_is_better(self.settings.train.scorer)
        every = self.leaderboard()
        of_all = from_table(every.filter(pc.equal(every.column("segment"), ALL)))
        pooled = best_by_segment(of_all, {"pooled"}, greater_is_better=more).get(ALL)
        if pooled is None:
            return
        self._blend = self._pooled_part(pooled, folder)
        wanted = [
            SegmentWork(
                best.segment,
                self._data(best.segment),
                self.rows(best.segment),
                tuple((best.candidate, fold) for fold in best.folds if fold in pooled.folds),
            )
            for piece in in_order(every)
            for best in best_by_segment(from_table(piece), {"own"}, greater_is_better=more).values()
            if best.segment != ALL and not is_group(best.segment)
        ]
        work, keys = plan_blends(wanted, self._blend, self.journal.keys(), self._keys)
        fits = sum(len(item.fits) for item in work)
        self.plan.extend(FitPlan([], [], [], all_keys(keys), len(keys) - fits))
        self._total += fits
        packer = Packer(work, CostModel(), self.tasks.pack_seconds)
        plan = self._blend

        def next_work() -> BlendWork | None:
            pack = packer.next_pack()
            return BlendWork(plan, pack) if pack else None

        late: list[FitResult] = []
        for end in self._dispatch.run(next_work, self._due):
            if isinstance(end.error, DueError):
                late += self._late_blends(end.item.pack)
            else:
                self._settle(end, packer)
        while pack := packer.next_pack():
            late += self._late_blends(pack)
        self.plan.skipped.append(results_table(late))

    def _pooled_part(self, pooled: Champion, folder: Path) -> BlendPlan:
        """The predictions of a pooled candidate on each fold; made again where they are gone."""
        name = pooled.candidate
        folds = range(self.settings.n_folds)
        keys = tuple(self._keys.key(ALL, self._data(ALL), name, fold) for fold in folds)
        files = tuple(outputs_file(folder, key) for key in keys)
        gone = deque(
            PooledWork(name, fold, key)
            for fold, key, file in zip(folds, keys, files, strict=True)
            if fold in pooled.folds and not file.exists()
        )
        for end in self._dispatch.run(lambda: gone.popleft() if gone else None):
            value_of(end, f"fitting {name} on all rows again")  # the journal has its scores
        return BlendPlan(name, keys, files)

    def _late_blends(self, pack: list[SegmentWork]) -> list[FitResult]:
        assert self._blend is not None
        reason = no_time(self.settings.train.budget_seconds or 0.0)
        return [
            replace(
                self._skipped(item.segment, blend_name(name, self._blend.pooled), fold, reason),
                scope="blend",
            )
            for item in pack
            for name, fold in item.fits
        ]

    def _parent_fits(self) -> None:
        """Fit the groups above the segments that have no fit of their own; see ``parents``."""
        needy = needy_segments(self.leaderboard(), self.index.keys)
        self._groups = groups_above(self.settings, self.index, needy)
        if not self._groups:
            return
        self._dispatch.know_groups(self._groups)
        members = {
            key: [self.index.keys[number] for number in group.members]
            for key, group in self._groups.items()
        }
        done = self._dispatch.group_baselines(members)
        self._dispatch.note(done, "baselines of groups", "baseline", len(members))
        self._baselines = pa.concat_tables([self._baselines, done.value])
        made = self.journal.keys()
        work, skipped, keys = plan_parents(self.settings, self._groups.values(), made, self._keys)
        fits = sum(len(item.names) for item in work)
        kept = len(keys) - fits
        self.plan.extend(FitPlan([], [], [results_table(skipped)], all_keys(keys), kept))
        self._total += fits
        queue = ParentQueue(work)
        late: list[FitResult] = []
        reason = no_time(self.settings.train.budget_seconds or 0.0)
        for end in self._dispatch.run(queue.next_work, self._due):
            if isinstance(end.error, DueError):
                late += unmade(end.item, "skipped", reason)
            else:
                self._settle(end, queue)
        late += [fit for item in queue.waiting for fit in unmade(item, "skipped", reason)]
        self.plan.skipped.append(results_table(late))

    def leaderboard(self) -> pa.Table:
        """The results of all fits, in no order; most of it lies on disk, mapped into memory."""
        return pa.concat_tables(
            [
                self._baselines,
                *self.plan.skipped,
                self.journal.results(self.plan.keys),
                results_table(self._lost_fits),
            ]
        )

    def champions(self, winners: Iterable[Winner], folder: Path) -> dict[Winner, SavedModel]:
        """Fit and save winners; a model that an earlier, killed run saved is taken as it is."""
        wanted = sorted(
            set(winners),
            # Pooled ones first, then by rows: the longest fits start first.
            key=lambda winner: (winner[0] != ALL, -self.rows(winner[0]), winner),
        )
        pooled = [winner for winner in wanted if winner[0] == ALL]
        if self._blend is not None and any(parts_of_blend(name) for _, name in wanted):
            part = (ALL, self._blend.pooled)
            pooled = list(dict.fromkeys([part, *pooled]))
            saved = self._save_all(pooled, folder, len(wanted), {})
            self._dispatch.pooled_of_blends = saved[part]  # blends hold it, so it is there first
            return self._save_all(wanted, folder, len(wanted), saved)
        return self._save_all(wanted, folder, len(wanted), {})

    def _save_all(
        self, wanted: Sequence[Winner], folder: Path, total: int, saved: dict[Winner, SavedModel]
    ) -> dict[Winner, SavedModel]:
        """Fit and save winners, unless they were saved before; returns these with ``saved``."""
        saved = dict(saved)
        work = plan_finals({winner: self._final_key(*winner) for winner in wanted}, folder)
        to_do: list[FinalWork] = []
        for item in work:
            found = saved_models(item)
            if found is None:
                to_do.append(item)
            saved.update(found or {})
        waiting = iter(to_do)
        for end in self._dispatch.run(lambda: next(waiting, None)):
            saved.update(self._note_finals(end))
            self.progress(len(saved), total, "champions")
        return saved

    def rows(self, segment: str) -> int:
        """Training rows of a segment, of a group, or of all."""
        if segment == ALL:
            return int(self.index.rows.sum())
        if is_group(segment):
            return self._groups[segment].rows
        return int(self.index.rows[self.index.number(segment)])

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
        done = value_of(end, f"fitting the champion {candidate} of {segment}")
        name = "all rows" if segment == ALL else _short(segment)
        aside = f" and {len(work.winners) - 1} more" if len(work.winners) > 1 else ""
        self._dispatch.note(done, f"{name}: {candidate}{aside}", "final", len(work.winners))
        return work.saved(done.value)

    def _final_key(self, segment: str, name: str) -> bytes:
        data = self._data(segment)
        if blend := parts_of_blend(name):
            name, pooled = blend
            data += self._final_key(ALL, pooled)
        return self._keys.key(segment, data, name, None)

    @property
    def kept_files(self) -> frozenset[Path]:
        """The predictions of pooled fits that the next training may want again."""
        return frozenset(self._blend.files if self._blend else ())

    def _data(self, segment: str) -> bytes:
        """What the fits of a segment, of a group, or of all rows depend on."""
        if segment == ALL:
            return pooled_data(self.settings, self.index)
        if is_group(segment):
            return self._groups[segment].data
        return self.index.digests[self.index.number(segment)]

    # -- results

    def _settle(self, end: Finished[Any], queue: Packer | ParentQueue) -> None:
        """Keep what a task brought back; queue again, or count as failed, what was lost.

        What was cancelled because the time was up is neither.
        """
        if isinstance(end.error, DueError):
            return
        made = failed = 0
        if end.error is not None:
            made = failed = self._lost(end.item, self._why_lost(end, end.error), queue.put_back)
        else:
            done: Done = end.value
            fitted: Fitted = done.value
            self.journal.add(fitted.entry)
            if isinstance(queue, Packer):
                for candidate, seen in fitted.seen.items():
                    queue.cost.learn(candidate, seen)
            self._dispatch.note(done, *_named(end.item), fitted.fits)
            made, failed = fitted.fits, fitted.failed
        self._made += made
        self._failed += failed
        aside = f", {self._failed:,} failed" if self._failed else ""
        kept = f", {self.plan.reused:,} kept from before" if self.plan.reused else ""
        self.progress(self._made, self._total, f"fits{aside}{kept}")

    def _why_lost(self, end: Finished[Any], error: Exception) -> Exception:
        """A single fit's worker that was lost after its time was ended by its own deadline."""
        from ray.exceptions import WorkerCrashedError

        work: Fits = end.item
        limit = self.settings.train.fit_timeout_seconds
        alone = isinstance(work, PooledWork) or len(_fits_of(work)) == 1
        if alone and isinstance(error, WorkerCrashedError) and end.seconds >= limit:
            return TimeoutError(f"{no_result_within(limit)}, nor an end when asked for it")
        return error

    def _lost(self, work: Fits, error: Exception, put_back: Callable[[Any], None]) -> int:
        """Queue a lost task's fits again, or note them as failed; returns how many failed."""
        _log.warning("a task was lost: %s", error_text(error))
        if isinstance(work, PooledWork):
            self._lost_fits += self._failed_pooled(work, error)
            return 1
        fits = _fits_of(work)
        self._attempts.update(fits)
        timed_out = isinstance(error, TimeoutError)
        if len(fits) > 1 or (self._attempts[fits[0]] <= self.tasks.max_retries and not timed_out):
            for item in [work] if isinstance(work, ParentWork) else _pack(work):
                put_back(item)
            return 0
        if isinstance(work, ParentWork):
            self._lost_fits += unmade(work, "failed", error_text(error))
        else:
            (segment, name, fold) = fits[0]
            lost = self._skipped(segment, name, fold, error_text(error))
            if isinstance(work, BlendWork):
                name = blend_name(name, work.plan.pooled)
                lost = replace(lost, candidate=name, scope="blend")
            self._lost_fits.append(replace(lost, status="failed"))
        return 1

    def _failed_pooled(self, work: PooledWork, error: Exception) -> Iterator[FitResult]:
        blank = FitResult(
            ALL, work.candidate, "pooled", work.fold, "failed", None, 0, 0, error=error_text(error)
        )
        yield blank
        yield from (replace(blank, segment=key) for key in self.index.keys)


def _fits_of(work: list[SegmentWork] | ParentWork | BlendWork) -> list[tuple[str, str, int]]:
    """(segment or group, candidate, fold) of each fit."""
    if isinstance(work, ParentWork):
        return [(work.group.key, name, work.fold) for name in work.names]
    return [(item.segment, name, fold) for item in _pack(work) for name, fold in item.fits]


def _pack(work: list[SegmentWork] | BlendWork) -> list[SegmentWork]:
    return work.pack if isinstance(work, BlendWork) else work


def _named(work: Fits) -> tuple[str, str]:
    """What a task is called in the report, and of which kind it is."""
    if isinstance(work, PooledWork):
        return f"{work.candidate} fold {work.fold + 1}", "pooled"
    if isinstance(work, ParentWork):
        return f"{_short(work.group.key)} fold {work.fold + 1}", "parent"
    pack = _pack(work)
    aside = f" and {len(pack) - 1} more" if len(pack) > 1 else ""
    return _short(pack[0].segment) + aside, "blend" if isinstance(work, BlendWork) else "fit"


def _short(segment: str) -> str:
    return segment_id(segment).rsplit("-", 1)[0]
