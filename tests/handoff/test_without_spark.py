"""RayDP's own fetch task breaks the workers it ran on. After ours, Ray works, and Spark may go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engines.session import Engines
from pipeline.handoff.to_ray import to_ray


def test_ray_works_and_blocks_live_on_when_spark_is_stopped(
    engines: Engines, tmp_path: Path
) -> None:
    import ray

    files = []
    for i in range(4):
        files.append(str(tmp_path / f"{i}.parquet"))
        pq.write_table(pa.table({"key": [i % 2] * 10, "value": list(range(10))}), files[-1])
    handed = to_ray(files, columns=None, mode="raydp", engines=engines)
    assert handed.mode == "raydp"

    assert ray.data.read_parquet(str(tmp_path)).count() == 40
    start = ray.remote(count_in_new_actor)
    assert sum(ray.get([start.remote() for _ in range(6)])) == 6

    engines.release_spark()
    assert not engines.spark_runs
    sums = handed.dataset().groupby("key").sum("value").take_all()
    assert sorted(row["sum(value)"] for row in sums) == [90, 90]


class Counter:
    def one(self) -> int:
        return 1


def count_in_new_actor() -> int:
    """In a Ray task: start an actor and ask it."""
    import ray

    counter: Any = ray.remote(num_cpus=0)(Counter)
    one: int = ray.get(counter.remote().one.remote())
    return one
