"""The Ray part of scoring: one task a block, and finished blocks kept for a run that resumes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pipeline.config.engines import TasksConfig
from pipeline.engines.bounded import run_bounded, task_options
from pipeline.errors import StageFailed
from pipeline.scoring.drift import Profile
from pipeline.scoring.tasks import Scored, ScoreSettings, profile_block, score_block, score_held_out
from pipeline.training.result import error_text
from pipeline.training.settings import FitSettings

Progress = Callable[[int, int, str], None]
Work = TypeVar("Work")


@dataclass(frozen=True)
class BlockWork:
    """One block: its number, what its result depends on, and where its files go."""

    number: int
    key: str
    predictions: Path
    quarantine: Path


def profile_blocks(settings: FitSettings, blocks: Sequence[Any]) -> Profile:
    """The training rows' profile, over all blocks."""
    import ray

    profile: Profile = ray.get(ray.remote(profile_block).remote(settings, *blocks))
    return profile


def score_blocks(
    settings: ScoreSettings,
    blocks: Sequence[Any],
    keys: Sequence[str],
    folder: Path,
    *,
    tasks: TasksConfig,
    cpus: int,
    progress: Progress,
    watch: Callable[[], None] = lambda: None,
) -> list[tuple[BlockWork, Scored]]:
    """Score every block, in order; a block whose predictions are there is not predicted again.

    Args:
        settings: models, roles and rows wanted.
        blocks: references to the feature table's blocks.
        keys: for each block a hash of everything that its predictions depend on.
        folder: where finished blocks are kept until the artifact is published.
        tasks: what a task asks of Ray.
        cpus: CPUs that Ray has for tasks.
        progress: called with (done, total, what).
        watch: called at least once a second; what it raises ends the scoring.

    Raises:
        StageFailed: a block's task failed, or lost its worker more than ``max_retries`` times.
    """
    import ray

    work = [
        BlockWork(i, key, folder / f"{key}.parquet", folder / f"{key}.quarantine.parquet")
        for i, key in enumerate(keys)
    ]
    done: dict[int, Scored] = {}
    shared = ray.put(settings)
    for item, scored in finished(
        score_block,
        work,
        lambda item: (shared, str(item.predictions), str(item.quarantine), blocks[item.number]),
        lambda item: f"scoring block {item.number}",
        tasks=tasks,
        cpus=cpus,
        watch=watch,
    ):
        done[item.number] = scored
        progress(len(done), len(work), "blocks scored")
    return [(item, done[item.number]) for item in work]


def finished(
    function: Callable[..., Any],
    work: Sequence[Work],
    arguments: Callable[[Work], tuple[Any, ...]],
    named: Callable[[Work], str],
    *,
    tasks: TasksConfig,
    cpus: int,
    watch: Callable[[], None],
) -> Iterator[tuple[Work, Any]]:
    """Run a function over items in tasks, few at a time; each item and its result, as they come.

    An item whose task loses its worker is tried again.

    Args:
        arguments: what the function is called with for an item.
        named: an item's part in the message of its failure.

    Raises:
        StageFailed: a task failed, or lost its worker more than ``max_retries`` times.
    """
    import ray

    waiting = list(range(len(work)))[::-1]
    attempts: Counter[int] = Counter()
    remote = ray.remote(**task_options(tasks))(function)
    for end in run_bounded(
        lambda: waiting.pop() if waiting else None,
        lambda number: remote.remote(*arguments(work[number])),
        in_flight=max(1, int(cpus / tasks.num_cpus)) * tasks.in_flight_per_cpu,
        watch=watch,
    ):
        number = end.item
        if end.error is None:
            yield work[number], end.value
            continue
        attempts[number] += 1
        lost = isinstance(end.error, ray.exceptions.RayError)
        if not lost or attempts[number] > tasks.max_retries:
            message = f"{named(work[number])} failed: {error_text(end.error)}"
            raise StageFailed(message) from end.error
        waiting.append(number)


def held_out_scores(
    settings: ScoreSettings, results: Sequence[tuple[BlockWork, Scored]], tasks: TasksConfig
) -> dict[str, float | None]:
    """See :func:`~pipeline.scoring.tasks.score_held_out`; one task, which reads the files again.

    Nothing is read for a plain regression, whose errors are sums over rows.
    """
    import ray

    if settings.objective.identity in ("rmse", "mae"):
        return {}
    paths = [str(item.predictions) for item, _ in results]
    remote = ray.remote(**task_options(tasks))(score_held_out)
    found: dict[str, float | None] = ray.get(remote.remote(settings, paths))
    return found


def timeline(results: Sequence[tuple[BlockWork, Scored]], started: float) -> list[dict[str, Any]]:
    """When and where each block was scored, in seconds since ``started``."""
    return [
        {
            "label": f"block {item.number}",
            "kind": "score",
            "worker": scored.worker,
            "start": round(scored.started - started, 3),
            "stop": round(scored.stopped - started, 3),
            "fits": 0,
        }
        for item, scored in results
    ]
