"""The Ray part of feature importance: rows drawn from all blocks, then features permuted in tasks.

Rows come back to the driver, no more than ``infer.importance.rows`` and a few; everything else
stays where it is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.engines import TasksConfig
from pipeline.config.infer import ImportanceConfig
from pipeline.scoring.bootstrap import Hashes
from pipeline.scoring.importance import Rises, Sample, Unit, bound, draw, packs, permute, plan
from pipeline.scoring.loaded import loaded_model
from pipeline.scoring.parallel import BlockWork, Progress, finished
from pipeline.scoring.tasks import (
    Scored,
    ScoreSettings,
    held_out,
    key_hashes,
    truth_of,
    weight_of,
    worker_name,
)
from pipeline.training.threads import limited


@dataclass(frozen=True)
class Permuted:
    """What a task of permutations brings back."""

    total: Rises
    started: float
    stopped: float
    worker: str = field(default_factory=worker_name)


def permute_features(
    settings: ScoreSettings,
    config: ImportanceConfig,
    results: Sequence[tuple[BlockWork, Scored]],
    blocks: Sequence[Any],
    *,
    tasks: TasksConfig,
    cpus: int,
    progress: Progress,
    watch: Callable[[], None] = lambda: None,
) -> list[Permuted]:
    """Permute the features of held-out rows that were predicted.

    Args:
        settings: models, roles and how losses are measured.
        config: how many rows, how often.
        results: of the blocks, all of them scored.
        blocks: references to the feature table's blocks.
        tasks: what a task asks of Ray.
        cpus: CPUs that Ray has for tasks.
        progress: called with (done, total, what).
        watch: called at least once a second; what it raises ends the work.

    Returns:
        What each task found, in any order; nothing where it is turned off or there is no row.

    Raises:
        StageFailed: a task failed, or lost its worker more than ``max_retries`` times.
    """
    import ray

    tested = sum(scored.tested for _, scored in results)
    if not config.rows or not tested:
        return []
    shared = ray.put(settings)
    over = partial(finished, tasks=tasks, cpus=cpus, watch=watch)
    parts = over(
        drawn_rows,
        [item for item, _ in results],
        lambda item: (shared, config.seed, bound(tested, config.rows), str(item.quarantine),
                      blocks[item.number]),
        lambda item: f"drawing rows of block {item.number}",
    )  # fmt: skip
    sample = merged(settings, [part for _, part in parts], config.rows)
    if not len(sample):
        return []
    work = list(packs(_units(settings, sample, config), config.repeats))
    drawn = ray.put(sample)
    done: list[Permuted] = []
    for _, permuted in over(
        permute_pack,
        work,
        lambda pack: (shared, config.repeats, drawn, pack),
        lambda pack: f"permuting features of model {pack[0].entry.model}",
    ):
        done.append(permuted)
        progress(len(done), len(work), "tasks of permuted features")
    return done


def _units(settings: ScoreSettings, sample: Sample, config: ImportanceConfig) -> list[Unit]:
    return plan(sample, settings.champions, settings.features, config.repeats)


def drawn_rows(
    settings: ScoreSettings, seed: int, highest: np.uint64, quarantine: str, table: pa.Table
) -> tuple[pa.Table, Hashes]:
    """The held-out rows of a block with a known target, a prediction and a low hash.

    Returns:
        rows: the columns of the features, the segment, the target and the weight.
        hashes: (n_samples,) of their keys.
    """
    rows = held_out(settings, table.select(_columns(settings)))
    hashes = key_hashes(rows, settings.key, seed)
    wanted = (hashes <= highest) & np.isfinite(truth_of(rows, settings))
    if os.path.exists(quarantine):
        bad = pq.read_table(quarantine, columns=list(settings.key))
        wanted &= ~np.isin(hashes, key_hashes(bad, settings.key, seed))
    return rows.filter(pa.array(wanted)), hashes[wanted]


def _columns(settings: ScoreSettings) -> list[str]:
    weight = settings.objective.weight
    roles = (*settings.key, settings.time, *settings.segment, settings.target)
    more = [name for name in (weight, settings.test_column) if name]
    names = (*roles, *settings.features.names, *more)
    return list(dict.fromkeys(names))


def merged(settings: ScoreSettings, parts: Sequence[tuple[pa.Table, Hashes]], limit: int) -> Sample:
    """The sample, from the rows drawn in each block."""
    rows = pa.concat_tables([rows for rows, _ in parts], promote_options="permissive")
    return draw(
        rows,
        truth_of(rows, settings),
        weight_of(rows, settings),
        np.concatenate([hashes for _, hashes in parts]),
        settings.segment,
        settings.features,
        limit,
    )


def permute_pack(
    settings: ScoreSettings, repeats: int, sample: Sample, units: Sequence[Unit]
) -> Permuted:
    """The rises of some units, added up."""
    started = time.time()
    total = Rises()
    with limited(settings.threads):
        for unit in units:
            total += permute(
                sample,
                unit,
                partial(loaded_model, settings.store),
                settings.features,
                settings.objective,
                repeats=repeats,
                batch_rows=settings.batch_rows,
            )
    return Permuted(total, started, time.time())


def timeline(done: Sequence[Permuted], started: float) -> list[dict[str, Any]]:
    """When and where features were permuted, in seconds since ``started``."""
    return [
        {
            "label": "permuted features",
            "kind": "permute",
            "worker": permuted.worker,
            "start": round(permuted.started - started, 3),
            "stop": round(permuted.stopped - started, 3),
            "fits": 0,
        }
        for permuted in done
    ]
