"""Many Ray tasks, few at a time: results as they come, a limit on each, and no silent loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from pipeline.config.engines import TasksConfig
from pipeline.engines.resources import parse_bytes

Item = TypeVar("Item")

_POLL_SECONDS = 1.0


class DueError(TimeoutError):
    """A task was cancelled because the time for all of them was up."""


@dataclass(frozen=True)
class Finished(Generic[Item]):
    """One task's end: its value, or the error that ended it (a lost worker, a time-out).

    ``seconds`` count from its submission, and so with its wait for a free CPU.
    """

    item: Item
    value: Any
    error: Exception | None
    seconds: float = 0.0


def task_options(tasks: TasksConfig) -> dict[str, Any]:
    """What a task of ``train`` or ``infer`` asks of Ray."""
    options: dict[str, Any] = {
        "num_cpus": tasks.num_cpus,
        "num_gpus": tasks.num_gpus,
        "resources": dict(tasks.resources),
        # Ray would retry a task that runs out of memory for ever; retries are the caller's.
        "max_retries": 0,
    }
    if (memory := task_memory(tasks)) is not None:
        options["memory"] = memory
    return options


def task_memory(tasks: TasksConfig) -> int | None:
    """Bytes that a task books, if the configuration says so."""
    return parse_bytes(tasks.memory) if tasks.memory else None


def run_bounded(
    next_item: Callable[[], Item | None],
    submit: Callable[[Item], Any],
    *,
    in_flight: int,
    limit_seconds: Callable[[Item], float] | None = None,
    watch: Callable[[], None] = lambda: None,
    due: float | None = None,
) -> Iterator[Finished[Item]]:
    """Keep up to ``in_flight`` tasks going until ``next_item`` returns None and all have ended.

    Args:
        next_item: asked whenever there is room, so that the order can follow what was learned.
        submit: starts an item's task and returns its ObjectRef.
        in_flight: the most tasks at a time; the driver's memory is bounded by it.
        limit_seconds: how long an item may be in flight before its task is cancelled by force.
            It counts from submission, so leave room for the tasks that wait before it.
        watch: called at least once a second; what it raises ends the work.
        due: when, by ``time.monotonic``, nothing more is started, and what is in flight is
            cancelled by force and ends with a :class:`DueError`.

    Tasks that are still going when the caller stops listening are cancelled.
    """
    import ray

    flying: dict[Any, tuple[Item, float]] = {}
    try:
        while True:
            left = _POLL_SECONDS if due is None else due - time.monotonic()
            while left > 0 and len(flying) < in_flight and (item := next_item()) is not None:
                flying[submit(item)] = (item, time.monotonic())
            if not flying:
                return
            over = left <= 0
            ready, _ = ray.wait(
                list(flying),
                num_returns=len(flying) if over else 1,
                timeout=0 if over else min(left, _POLL_SECONDS),
            )
            watch()
            for ref in ready:
                item, since = flying.pop(ref)
                yield replace(_collect(item, ref), seconds=time.monotonic() - since)
            if over:
                yield from _cancel(flying, lambda *_: DueError("the time was up"))
            elif not ready and limit_seconds is not None:
                yield from _cancel(flying, _late(limit_seconds))
    finally:
        for ref in flying:
            ray.cancel(ref, force=True)


def _collect(item: Item, ref: Any) -> Finished[Item]:
    import ray

    try:
        return Finished(item, ray.get(ref), None)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        return Finished(item, None, cause if isinstance(cause, Exception) else error)
    except ray.exceptions.RayError as error:
        return Finished(item, None, error)


def _late(limit_seconds: Callable[[Item], float]) -> Callable[[Item, float], Exception | None]:
    def late(item: Item, seconds: float) -> Exception | None:
        over = seconds > limit_seconds(item)
        return TimeoutError(f"no result after {seconds:.0f} s") if over else None

    return late


def _cancel(
    flying: dict[Any, tuple[Item, float]], why: Callable[[Item, float], Exception | None]
) -> Iterator[Finished[Item]]:
    """Cancel the tasks for which there is a reason, given the seconds that they took so far."""
    import ray

    now = time.monotonic()
    for ref, (item, since) in list(flying.items()):
        if (error := why(item, now - since)) is not None:
            del flying[ref]
            ray.cancel(ref, force=True)
            yield Finished(item, None, error, now - since)
