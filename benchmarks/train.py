"""Many models side by side: ours, joblib, one Ray task a fit, Spark's applyInPandas, and the limit.

Run it with ``make bench-train`` or ``make bench-train-shared``. 400 segments of Pareto(1.2) sizes,
the largest with 35 % of all rows, three folds. ``train``: three ridges with scaling and two trees,
and ours does not share anything between them. ``train-shared``: three columns of categories and
5 % nulls, six ridges and three boostings that are prepared alike, and ours shares what it can.

The limit is the same fits one after the other in one process, divided by the number of cores. All
begin with the rows where they keep them: ours in Ray's object store, the others as arrays or a
cached DataFrame. Scores are compared to 1e-9, and so is every segment's best candidate.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from benchmarks.harness import in_turn, quiet_stdout, report
from pipeline.config.train import CandidateConfig, TrainConfig
from pipeline.training.folds import Period, microseconds, time_folds
from pipeline.training.settings import FitSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pipeline.engines.session import Engines
    from pipeline.training.parallel import ParallelTraining

PACKAGES = ("ray", "pyspark", "scikit-learn", "joblib", "numpy")
SEGMENTS, FEATURES, LARGEST = 400, 12, 0.35
START = datetime(2024, 1, 1, tzinfo=timezone.utc)
NUMBERS = [f"x{i}" for i in range(FEATURES)]
CATEGORIES = ["c0", "c1", "c2"]
RIDGE, TREE = "sklearn.linear_model.Ridge", "sklearn.tree.DecisionTreeRegressor"
BOOSTING = "sklearn.ensemble.HistGradientBoostingRegressor"

Floats = npt.NDArray[np.float64]
Segment = tuple[str, npt.NDArray[np.int64], pd.DataFrame, Floats]
Scores = dict[tuple[str, str, int], float]


@dataclass(frozen=True)
class Workload:
    """What is fitted on each segment.

    Attributes:
        categorical: columns of categories beside the numbers; with them come nulls.
        share: whether ours computes once what candidates have in common.
    """

    name: str
    candidates: dict[str, Any]
    categorical: tuple[str, ...]
    share: bool

    @property
    def columns(self) -> list[str]:
        return [*NUMBERS, *self.categorical]


_ALIKE = {"scale": True, "impute": "median", "encode": "onehot"}
WORKLOADS = {
    "train": Workload(
        "train",
        {
            **{
                f"ridge-{i}": {"estimator": RIDGE, "params": {"alpha": 10.0**i}, "scale": True}
                for i in range(3)
            },
            **{f"tree-{d}": {"estimator": TREE, "params": {"max_depth": d}} for d in (6, 10)},
        },
        categorical=(),
        share=False,
    ),
    "train-many": Workload(
        "train-many",
        {
            "ridge": {"estimator": RIDGE, "params": {"alpha": 1.0}, "scale": True},
            "tree": {"estimator": TREE, "params": {"max_depth": 3}},
        },
        categorical=(),
        share=True,
    ),
    "train-shared": Workload(
        "train-shared",
        {
            **{
                f"ridge-{i}": {"estimator": RIDGE, "params": {"alpha": 10.0 ** (i - 2)}, **_ALIKE}
                for i in range(6)
            },
            **{
                f"boosting-{n}": {
                    "estimator": BOOSTING,
                    "params": {"max_iter": n, "early_stopping": False},
                    **_ALIKE,
                }
                for n in (25, 50, 100)
            },
        },
        categorical=tuple(CATEGORIES),
        share=True,
    ),
}


def periods() -> tuple[Period, ...]:
    """Three folds of ten days, a day apart from what they are trained on."""
    starts = [START + timedelta(days=days) for days in (70, 80, 90)]
    return tuple((s - timedelta(days=1), s, s + timedelta(days=10)) for s in starts)


def settings(load: Workload) -> FitSettings:
    """What the engine is told."""
    impute = {} if load.categorical else {"impute": "none"}
    candidates = {name: {**impute, **given} for name, given in load.candidates.items()}
    train = TrainConfig.model_validate(
        {"candidates": candidates, "min_rows": 30, "min_validation_rows": 1, "seed": 0}
    )
    return FitSettings(
        train=train, numeric=tuple(NUMBERS), categorical=load.categorical, segment=("segment",),
        target="y", time="time", periods=periods(),
        test_from=microseconds(START + timedelta(days=100)), share=load.share,
    )  # fmt: skip


@lru_cache
def _candidates(load: str) -> dict[str, CandidateConfig]:
    return settings(WORKLOADS[load]).train.candidates  # checked once, not at each plain fit


def segments(load: Workload, rows: int, count: int) -> list[Segment]:
    """(name, times, X, y) of each segment, the largest first."""
    numbers = np.random.default_rng(0)
    weights = np.sort(numbers.pareto(1.2, count) + 1)[::-1]
    weights[0] = LARGEST / (1 - LARGEST) * weights[1:].sum()
    sizes = np.maximum(60, rows * weights / weights.sum()).astype(int)
    return [_segment(load, f"s{i:03d}", size, numbers) for i, size in enumerate(sizes)]


def _segment(load: Workload, key: str, size: int, numbers: np.random.Generator) -> Segment:
    X = numbers.normal(size=(size, FEATURES))
    y = X @ numbers.normal(size=FEATURES) + np.sin(3 * X[:, 0]) + numbers.normal(size=size)
    frame = pd.DataFrame(X, columns=NUMBERS)
    for name in load.categorical:
        levels = numbers.integers(0, 20, size)
        y += numbers.normal(size=20)[levels]
        frame[name] = np.array([f"level {i:02d}" for i in range(20)], dtype=object)[levels]
    if load.categorical:
        frame[NUMBERS] = frame[NUMBERS].mask(numbers.random((size, FEATURES)) < 0.05)
    step = 100 * 86_400 * 1_000_000 // size
    return key, microseconds(START) + step * np.arange(size, dtype=np.int64), frame, y


def plain_fit(load: Workload, segment: Segment, name: str, fold: int) -> float:
    """One fit as anybody would write it; the RMSE on the fold's later rows."""
    from pipeline.training.candidates import build_estimator, derive_seed
    from pipeline.training.families import seed_name

    key, times, X, y = segment
    train, valid = time_folds(times, periods())[fold]
    candidate = _candidates(load.name)[name]
    seed = derive_seed(0, f'["{key}"]', seed_name(name, candidate), fold)
    if load.categorical:
        model = build_estimator(candidate, NUMBERS, load.categorical, seed)
        model.fit(X.iloc[train], y[train])
        predicted = model.predict(X.iloc[valid])
    else:
        predicted = _plain_arrays(candidate, seed, X.to_numpy(), y, train, valid)
    return float(np.sqrt(np.mean((predicted - y[valid]) ** 2)))


def _plain_arrays(
    candidate: Any, seed: int, X: Floats, y: Floats, train: Any, valid: Any
) -> Floats:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeRegressor

    if candidate.estimator == RIDGE:
        model: Any = make_pipeline(StandardScaler(), Ridge(**candidate.params))
    else:
        model = DecisionTreeRegressor(random_state=seed, **candidate.params)
    return np.asarray(model.fit(X[train], y[train]).predict(X[valid]))


def plain_fits(load: Workload, segment: Segment) -> Scores:
    """Every candidate on every fold of a segment."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return {
            (segment[0], name, fold): plain_fit(load, segment, name, fold)
            for name in load.candidates
            for fold in range(len(periods()))
        }


def one_after_the_other(load: Workload, every: list[Segment]) -> tuple[Scores, float]:
    """All fits of some segments in this process, and the seconds they took."""
    started = time.perf_counter()
    scores: Scores = {}
    for segment in every:
        scores |= plain_fits(load, segment)
    return scores, time.perf_counter() - started


def training_of(
    load: Workload, engines: Engines, blocks: list[Any], folder: Path
) -> ParallelTraining:
    """Our engine over blocks in the object store; what it keeps lies in ``folder``."""
    from pipeline.config.engines import TasksConfig
    from pipeline.training.journal import FitJournal
    from pipeline.training.parallel import ParallelTraining

    return ParallelTraining(
        settings=settings(load),
        blocks=blocks,
        tasks=TasksConfig(),
        cpus=engines.plan.ray_cpus,
        journal=FitJournal(folder / "fits.journal"),
        progress=lambda *_: None,
    )


def _ours(load: Workload, engines: Engines, blocks: list[Any], folder: Path) -> Scores:
    from pipeline.training.result import from_table

    shutil.rmtree(folder, ignore_errors=True)  # or the fits of the round before would be kept
    training = training_of(load, engines, blocks, folder)
    training.read_index()
    training.fits(folder / "models")
    scores = {}
    for fit in from_table(training.leaderboard()):
        if fit.status != "ok":
            raise ValueError(f"{fit.segment} {fit.candidate}: {fit.error}")
        scores[fit.segment[2:-2], fit.candidate, fit.fold] = float(fit.score or 0.0)
    return scores


def _joblib(load: Workload, every: list[Segment], cpus: int) -> Scores:
    import joblib

    parts = joblib.Parallel(n_jobs=cpus, backend="loky")(
        joblib.delayed(plain_fits)(load, segment) for segment in every
    )
    return {key: score for part in parts for key, score in part.items()}


def _task_a_fit(load: Workload, every: list[Segment]) -> Scores:
    import ray

    fit = ray.remote(plain_fit)
    answers = {
        (segment[0], name, fold): fit.remote(load, segment, name, fold)
        for segment in every
        for name in load.candidates
        for fold in range(len(periods()))
    }
    return dict(zip(answers, ray.get(list(answers.values())), strict=True))


def _apply_in_pandas(load: Workload, frame: DataFrame) -> Scores:
    found = frame.groupBy("segment").applyInPandas(
        _spark_fits(load), "segment string, name string, fold long, score double"
    )
    return {(r["segment"], r["name"], int(r["fold"])): r["score"] for r in found.collect()}


def _spark_fits(load: Workload) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def fits(group: pd.DataFrame) -> pd.DataFrame:
        from benchmarks.train import plain_fits

        ordered = group.sort_values("micros")
        segment = (
            str(ordered["segment"].iloc[0]),
            ordered["micros"].to_numpy(),
            ordered[load.columns].reset_index(drop=True),
            ordered["y"].to_numpy(),
        )
        rows = [(*key, score) for key, score in plain_fits(load, segment).items()]
        return pd.DataFrame(rows, columns=["segment", "name", "fold", "score"])

    return fits


def to_table(every: list[Segment]) -> pa.Table:
    """The segments' rows, one after the other, as a block of the feature table."""
    parts = [
        pa.table(
            {
                "segment": [key] * len(y),
                "time": pa.array(times, pa.timestamp("us", "UTC")),
                "micros": times,
                "y": y,
                **{name: pa.array(X[name], from_pandas=True) for name in X.columns},
            }
        )
        for key, times, X, y in every
    ]
    # One chunk a column, as the hand-off makes its blocks: of 400 Ray takes 0.1 s to open a block.
    return pa.concat_tables(parts).combine_chunks()


def _cached(spark: SparkSession, table: pa.Table, folder: Path) -> DataFrame:
    import pyarrow.parquet as pq

    pq.write_table(table.drop_columns(["time"]), folder / "rows.parquet", row_group_size=100_000)
    frame = spark.read.parquet(f"file://{folder}/rows.parquet").cache()
    frame.count()
    return frame


def _champions(scores: Scores) -> dict[str, str]:
    """By segment, the candidate with the least mean error over the folds."""
    sums: dict[str, dict[str, float]] = {}
    for (segment, name, _), score in scores.items():
        of_segment = sums.setdefault(segment, {})
        of_segment[name] = of_segment.get(name, 0.0) + round(score, 9)
    return {key: min(found, key=lambda n: (found[n], n)) for key, found in sums.items()}


def main() -> None:
    """Let the contestants fit in turn, compare every score, and report."""
    import ray

    from pipeline.config.engines import EnginesConfig
    from pipeline.engines.session import Engines

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--segments", type=int, default=SEGMENTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-rounds", type=int, help="fewer rounds for the peers")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--shared", action="store_true", help="candidates with much in common")
    given = parser.parse_args()
    load = WORKLOADS["train-shared" if given.shared else "train"]
    every = segments(load, given.rows, given.segments)
    work = Path(tempfile.mkdtemp(prefix="bench-train-"))
    # Workers of all engines import this module.
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    config = EnginesConfig.model_validate({"ray": {"num_cpus": given.cpus}})
    limit: list[float] = []
    try:
        with (
            quiet_stdout(),
            ProcessPoolExecutor(1, get_context("spawn")) as pool,
            Engines(config) as engines,
        ):
            spark = engines.spark()
            table = to_table(every)
            frame = _cached(spark, table, work)
            rows = table.num_rows
            blocks = [ray.put(table.slice(i, 250_000)) for i in range(0, rows, 250_000)]

            def limit_of_all() -> Scores:
                scores, seconds = pool.submit(one_after_the_other, load, every).result()
                limit.append(seconds / given.cpus)
                return scores

            # A few segments warm its process: a whole first pass would take a quarter of an hour.
            pool.submit(one_after_the_other, load, every[-20:]).result()
            wanted = limit_of_all()
            rounds_of_limit = iter([wanted, wanted])  # its round that does not count, and the first

            def check(name: str, scores: Scores) -> None:
                worst = max(abs(scores[key] - score) for key, score in wanted.items())
                if scores.keys() != wanted.keys() or worst > 1e-9:
                    raise ValueError(f"{name}: the scores differ, at most by {worst:g}")
                if _champions(scores) != _champions(wanted):
                    raise ValueError(f"{name}: the champions differ")

            timings = in_turn(
                {
                    "limit": lambda: next(rounds_of_limit, None) or limit_of_all(),
                    "ours": lambda: _ours(load, engines, blocks, work / "parts"),
                    "peer joblib": lambda: _joblib(load, every, given.cpus),
                    "peer one Ray task a fit": lambda: _task_a_fit(load, every),
                    "peer Spark applyInPandas": lambda: _apply_in_pandas(load, frame),
                },
                given.rounds,
                check,
                limit_seconds=1800,
                peer_rounds=given.peer_rounds,
            )
            # Without handing the rows to the process, and spread over the cores.
            timings["limit"].first, timings["limit"].seconds = None, limit
        report(load.name, timings, rows, PACKAGES, cpus=given.cpus, fits=len(wanted))
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    # From the module, and not from __main__, workers can import the functions that they run.
    from benchmarks import train

    train.main()
