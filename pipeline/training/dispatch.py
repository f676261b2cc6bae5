"""How work becomes a Ray task: with which rows, what it asks of Ray, and how long it may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.config.engines import TasksConfig
from pipeline.engines.bounded import Finished, run_bounded, task_options
from pipeline.errors import StageFailed
from pipeline.training.blends import BlendPlan
from pipeline.training.finals import FinalWork, SavedModel
from pipeline.training.index import Parts, SegmentIndex, index_block, merge_index
from pipeline.training.packing import SegmentWork
from pipeline.training.parents import Group, ParentWork, group_parts
from pipeline.training.plan import PooledWork
from pipeline.training.result import error_text
from pipeline.training.segments import ALL
from pipeline.training.settings import FitSettings
from pipeline.training.tasks import (
    Done,
    fit_baselines,
    fit_blends,
    fit_finals,
    fit_group_baselines,
    fit_pack,
    fit_parent,
    fit_pooled,
)


@dataclass(frozen=True)
class BlendWork:
    """Blends of a pack of segments."""

    plan: BlendPlan
    pack: list[SegmentWork]


Work = list[SegmentWork] | PooledWork | ParentWork | BlendWork | FinalWork


class Dispatcher:
    """Starts the tasks of a training over blocks in Ray's object store, and notes when they ran.

    Args:
        settings: roles, folds and candidates.
        blocks: references to the feature table's blocks, in row order.
        tasks: what a task asks of Ray.
        cpus: CPUs that Ray has for tasks.
        watch: called at least once a second; what it raises ends the work.
    """

    def __init__(
        self,
        settings: FitSettings,
        blocks: Sequence[Any],
        tasks: TasksConfig,
        cpus: int,
        watch: Callable[[], None],
    ) -> None:
        self.share(settings)
        self._blocks, self._tasks, self._cpus, self._watch = blocks, tasks, cpus, watch
        self._functions: dict[Callable[..., Any], Any] = {}
        self._groups: dict[str, Group] = {}
        self.pooled_of_blends: SavedModel | None = None
        self._started = time.time()
        self.timeline: list[dict[str, Any]] = []

    def share(self, settings: FitSettings) -> None:
        """Let the tasks that are started from now on have these settings."""
        import ray

        self._settings, self._shared = settings, ray.put(replace(settings, expendable=True))

    def read_index(self) -> SegmentIndex:
        """Find each segment's rows; one task a block."""
        remote = self._remote(index_block)
        numbers = iter(range(len(self._blocks)))
        found: dict[int, SegmentIndex] = {}
        for end in run_bounded(
            lambda: next(numbers, None),
            lambda i: remote.remote(self._shared, i, self._blocks[i]),
            in_flight=self._in_flight,
            watch=self._watch,
        ):
            found[end.item] = value_of(end, "reading the index of a block")
        self._index = merge_index([found[i] for i in range(len(self._blocks))])
        return self._index

    def know_groups(self, groups: dict[str, Group]) -> None:
        """The groups whose winners may be fitted."""
        self._groups = groups

    def baselines(self) -> Done:
        """Those of all segments; see :func:`~pipeline.training.tasks.fit_baselines`."""
        return self._one(fit_baselines)

    def group_baselines(self, members: dict[str, list[str]]) -> Done:
        """Those of groups, by key their members' keys."""
        return self._one(fit_group_baselines, members)

    def _one(self, function: Callable[..., Done], *given: Any) -> Done:
        once: Iterator[int] = iter([1])
        remote = self._remote(function)

        def item() -> int | None:
            return next(once, None)

        def submit(_: int) -> Any:
            return remote.remote(self._shared, *given, *self._blocks)

        end = next(run_bounded(item, submit, in_flight=1, watch=self._watch))
        done: Done = value_of(end, "scoring the baselines")
        return done

    def run(
        self, next_work: Callable[[], Work | None], due: float | None = None
    ) -> Iterator[Finished[Any]]:
        """Do work until there is none left or the time is up; see ``run_bounded``."""
        return run_bounded(
            next_work,
            self._submit,
            in_flight=self._in_flight,
            limit_seconds=self._limit,
            watch=self._watch,
            due=due,
        )

    def note(self, done: Done, label: str, kind: str, fits: int) -> None:
        """Keep when and where a task ran, for the report."""
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

    def _submit(self, work: Work) -> Any:
        if isinstance(work, PooledWork):
            wanted = (work.candidate, work.fold, work.key)
            return self._remote(fit_pooled).remote(self._shared, *wanted, *self._blocks)
        if isinstance(work, ParentWork):
            blocks, places = self._places(group_parts(self._index, work.group))
            keys = [self._index.keys[number] for number in work.group.members]
            return self._remote(fit_parent).remote(self._shared, work, keys, places, *blocks)
        if isinstance(work, FinalWork):
            segments = [segment for segment, _ in work.winners]
            blocks, places = list(self._blocks), [()]
            if segments != [ALL]:
                blocks, places = self._places([self._parts_of(key) for key in segments])
            given = (work, self.pooled_of_blends, places)
            return self._remote(fit_finals).remote(self._shared, *given, *blocks)
        pack = work.pack if isinstance(work, BlendWork) else work
        blocks, places = self._places([self._index.parts_of(item.segment) for item in pack])
        if isinstance(work, BlendWork):
            return self._remote(fit_blends).remote(self._shared, work.plan, pack, places, *blocks)
        return self._remote(fit_pack).remote(self._shared, pack, places, *blocks)

    def _parts_of(self, key: str) -> Parts:
        """Where the rows of a segment, or of a group, lie."""
        if key in self._groups:
            found = group_parts(self._index, self._groups[key])
            return tuple(part for parts in found for part in parts)
        return self._index.parts_of(key)

    def _places(self, parts: Sequence[Parts]) -> tuple[list[Any], list[Parts]]:
        """The blocks that rows lie in, and their parts with positions in that list."""
        used = sorted({part[0] for found in parts for part in found})
        position = {block: i for i, block in enumerate(used)}
        places = [
            tuple((position[block], start, stop) for block, start, stop in found) for found in parts
        ]
        return [self._blocks[block] for block in used], places

    def _remote(self, function: Callable[..., Any]) -> Any:
        import ray

        # Once for each function: Ray ships every remote function that is made to every worker.
        if function not in self._functions:
            options = task_options(self._tasks)
            self._functions[function] = ray.remote(**options, name=function.__name__)(function)
        return self._functions[function]

    @property
    def _in_flight(self) -> int:
        slots = max(1, int(self._cpus / self._tasks.num_cpus))
        return slots * self._tasks.in_flight_per_cpu

    def _limit(self, work: Work) -> float:
        """Seconds after which a task is cancelled: its own limit, and that of those before it."""
        if isinstance(work, (list, BlendWork)):
            pack = work if isinstance(work, list) else work.pack
            fits = sum(len(item.fits) for item in pack)
        elif isinstance(work, ParentWork):
            fits = len(work.names)
        else:
            fits = len(work.winners) if isinstance(work, FinalWork) else 1
        waiting = self._tasks.in_flight_per_cpu
        return 60 + self._settings.train.fit_timeout_seconds * (fits + waiting)


def value_of(end: Finished[Any], doing: str) -> Any:
    """What a task that must not fail brought back.

    Raises:
        StageFailed: it failed.
    """
    if end.error is not None:
        raise StageFailed(f"{doing} failed: {error_text(end.error)}") from end.error
    return end.value
