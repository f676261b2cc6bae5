"""100,000 segments of 50 rows, 2 candidates, 3 folds: what a fit costs beyond itself.

Run it with ``make bench-train-many``. The limit and one Ray task a fit are taken from a share of
the segments and scaled, for the latter would need hours. Beside the times it states the overhead of
a fit (all seconds of all cores less those in the fits), the driver's memory before and after, and
how many tasks and files there were.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.harness import Timing, quiet_stdout, report
from benchmarks.train import (
    FEATURES,
    NUMBERS,
    PACKAGES,
    START,
    WORKLOADS,
    Segment,
    one_after_the_other,
    plain_fit,
    to_table,
    training_of,
)
from pipeline.training.folds import microseconds

ROWS = 50
BLOCK_SEGMENTS = 5_000
LOAD = WORKLOADS["train-many"]


def some_segments(first: int, count: int) -> list[Segment]:
    """Segments by number: each has its own seed, so any share of them can be made alone."""
    step = 100 * 86_400 * 1_000_000 // ROWS
    times = microseconds(START) + step * np.arange(ROWS, dtype=np.int64)
    found = []
    for number in range(first, first + count):
        numbers = np.random.default_rng(number)
        X = numbers.normal(size=(ROWS, FEATURES))
        y = X @ numbers.normal(size=FEATURES) + numbers.normal(size=ROWS)
        found.append((f"s{number:06d}", times, _frame(X), y))
    return found


def _frame(X: Any) -> Any:
    import pandas as pd

    return pd.DataFrame(X, columns=NUMBERS)


def _put_block(first: int, count: int) -> pa.Table:
    return to_table(some_segments(first, count))


def _megabytes() -> float:
    return float(psutil.Process().memory_info().rss / 1e6)


def main() -> None:
    """Run ours on all segments, the others on a share of them, and report."""
    import ray

    from pipeline.config.engines import EnginesConfig
    from pipeline.engines.session import Engines

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segments", type=int, default=100_000)
    parser.add_argument("--sample", type=int, default=2_000)
    parser.add_argument("--cpus", type=int, default=2)
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="bench-train-many-"))
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    config = EnginesConfig.model_validate({"ray": {"num_cpus": given.cpus}})
    sample = some_segments(0, min(given.sample, given.segments))
    scale = given.segments / len(sample)
    timings = {name: Timing() for name in ("limit", "ours", "peer one Ray task a fit")}
    try:
        with (
            quiet_stdout(),
            ProcessPoolExecutor(1, get_context("spawn")) as pool,
            Engines(config) as engines,
        ):
            engines.ray()
            wanted, _ = pool.submit(one_after_the_other, LOAD, sample).result()  # warms it
            wanted, seconds = pool.submit(one_after_the_other, LOAD, sample).result()
            timings["limit"].seconds.append(seconds * scale / given.cpus)
            put = ray.remote(_put_block)
            blocks = [
                put.remote(first, min(BLOCK_SEGMENTS, given.segments - first))
                for first in range(0, given.segments, BLOCK_SEGMENTS)
            ]
            ray.wait(blocks, num_returns=len(blocks))
            before = _megabytes()
            started = time.perf_counter()
            training = training_of(LOAD, engines, blocks, work)
            training.read_index()
            indexed = time.perf_counter() - started
            index_memory = _megabytes()
            training.fits(work / "models")
            timings["ours"].seconds.append(time.perf_counter() - started)
            after = _megabytes()
            found = training.leaderboard()
            in_fits = float(pc.sum(found.column("seconds")).as_py())
            fits = found.num_rows
            _check(found, wanted)
            started = time.perf_counter()
            fit = ray.remote(plain_fit)
            few = sample[: max(1, len(sample) // 4)]
            answers = [
                fit.remote(LOAD, s, n, f) for s in few for n in LOAD.candidates for f in range(3)
            ]
            ray.get(answers)
            seconds = (time.perf_counter() - started) * given.segments / len(few)
            timings["peer one Ray task a fit"].seconds.append(seconds)
        overhead = timings["ours"].median * given.cpus - in_fits
        report(
            "train-many",
            timings,
            given.segments * ROWS,
            PACKAGES,
            cpus=given.cpus,
            fits=fits,
            overhead_ms_per_fit=round(1e3 * overhead / fits, 3),
            fit_ms=round(1e3 * in_fits / fits, 3),
            index_seconds=round(indexed, 2),
            driver_mb={
                "before": round(before),
                "with the index": round(index_memory),
                "after": round(after),
            },
            tasks=len(training.timeline),
            files=sum(path.is_file() for path in work.rglob("*")),
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _check(found: pa.Table, wanted: dict[tuple[str, str, int], float]) -> None:
    statuses = json.dumps(pc.value_counts(found.column("status")).to_pylist())
    if pc.unique(found.column("status")).to_pylist() != ["ok"]:
        raise ValueError(f"not every fit was made: {statuses}")
    keys = pa.array([f'["{segment}"]' for segment in {key[0] for key in wanted}])
    some = found.filter(pc.is_in(found.column("segment"), value_set=keys)).to_pylist()
    scores = {(r["segment"][2:-2], r["candidate"], r["fold"]): r["score"] for r in some}
    worst = max(abs(scores[key] - score) for key, score in wanted.items())
    if scores.keys() != wanted.keys() or worst > 1e-9:
        raise ValueError(f"the scores differ, at most by {worst:g}")


if __name__ == "__main__":
    # From the module, and not from __main__, workers can import the functions that they run.
    from benchmarks import train_many

    train_many.main()
