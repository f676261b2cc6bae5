"""What halving saves, and what it costs: its regret against fitting every candidate on every fold.

Run it with ``make bench-halving``, after ``make run``: one in three of the flights' segments, and
16 candidates that are near to each other. The regret of a segment is how much worse, as a share,
the mean score over the folds is of the best candidate that halving leaves, than that of the best of
all. All run over the same blocks in the same session, in turn.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.harness import Timing, quiet_stdout, report
from benchmarks.train import PACKAGES
from pipeline.config import load_config
from pipeline.config.engines import EnginesConfig, TasksConfig
from pipeline.config.train import HalvingConfig, TrainConfig
from pipeline.store import Store
from pipeline.store.artifact import published
from pipeline.training.folds import microseconds
from pipeline.training.journal import FitJournal
from pipeline.training.parallel import ParallelTraining
from pipeline.training.segments import runs_of_segments
from pipeline.training.settings import FitSettings

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig

RIDGE, LASSO = "sklearn.linear_model.Ridge", "sklearn.linear_model.Lasso"
TREE = "sklearn.tree.DecisionTreeRegressor"
BOOSTING = "sklearn.ensemble.HistGradientBoostingRegressor"
_LINEAR = {"scale": True, "max_categories": 30}
_ORDINAL = {"impute": "none", "encode": "ordinal"}
CANDIDATES: dict[str, Any] = {
    **{
        f"lasso-{i}": {"estimator": LASSO, "params": {"alpha": alpha}, **_LINEAR}
        for i, alpha in enumerate((3.0, 1.0, 0.3))
    },
    **{
        f"ridge-{cut}": {"estimator": RIDGE, "params": {"alpha": 3000.0}, "clip": cut / 100}
        | _LINEAR
        for cut in (1, 5)
    },
    **{
        f"tree-{depth}-{leaf}": {
            "estimator": TREE,
            "params": {"max_depth": depth, "min_samples_leaf": leaf},
            "encode": "ordinal",
        }
        for depth, leaf in ((3, 60), (5, 60), (8, 200))
    },
    **{
        f"boosting-{leaves}-{round(100 * rate)}": {
            "estimator": BOOSTING,
            "params": {
                "max_iter": 60,
                "max_leaf_nodes": leaves,
                "learning_rate": rate,
                "min_samples_leaf": 60,
                "max_features": 0.4,
                "early_stopping": False,
            },
            **_ORDINAL,
        }
        for leaves in (4, 8, 15, 31)
        for rate in (0.04, 0.1)
    },
}
FACTORS = (2.0, 3.0)


def some_flights(config: PipelineConfig, share: int) -> pa.Table:
    """The rows of one in ``share`` segments of the last feature table."""
    made = published(Store(config.store_path), "preprocess", config.name)
    if not made:
        sys.exit("there are no features: do `make run` first")
    table = pq.read_table([str(path) for path in made[-1].files("features")])
    runs = runs_of_segments(table, config.preprocess.segment)[::share]
    return pa.concat_tables([table.slice(r.start, r.stop - r.start) for r in runs]).combine_chunks()


def settings(config: PipelineConfig, halving: HalvingConfig | None) -> FitSettings:
    """The shipped job's roles and folds, with these candidates."""
    given = {"candidates": CANDIDATES, "min_rows": config.train.min_rows, "halving": halving}
    roles = config.preprocess
    assert roles.split.test_from is not None  # the shipped job's test is by time
    return FitSettings(
        train=TrainConfig.model_validate(given), numeric=roles.features.numeric,
        categorical=roles.features.categorical, segment=roles.segment, target=roles.target,
        time=roles.time, periods=tuple(roles.split.periods()),
        test_from=microseconds(roles.split.test_from),
    )  # fmt: skip


def _best(board: pa.Table) -> dict[str, float]:
    """By segment, the best mean score of the candidates that were scored on all folds."""
    good = board.filter(pc.equal(board.column("status"), "ok"))
    wanted = [("score", "mean"), ("score", "count")]
    means = good.group_by(["segment", "candidate"]).aggregate(wanted)
    whole = means.filter(pc.equal(means.column("score_count"), 3))
    best = whole.group_by("segment").aggregate([("score_mean", "min")])
    return dict(
        zip(
            best.column("segment").to_pylist(),
            best.column("score_mean_min").to_pylist(),
            strict=True,
        )
    )


def main() -> None:
    """Run all fits and halving in turn, and print seconds, fits and regret."""
    import ray

    from pipeline.engines.session import Engines

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="conf/flights.yaml")
    parser.add_argument("--share", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cpus", type=int, default=2)
    given = parser.parse_args()
    config = load_config(Path(given.config))
    work = Path(tempfile.mkdtemp(prefix="bench-halving-"))
    engines_config = EnginesConfig.model_validate({"ray": {"num_cpus": given.cpus}})
    contestants: dict[str, HalvingConfig | None] = {"limit": None}
    contestants |= {f"ours, factor {factor:g}": HalvingConfig(factor=factor) for factor in FACTORS}
    timings = {name: Timing() for name in contestants}
    best: dict[str, dict[str, float]] = {}
    fits: dict[str, int] = {}
    try:
        with quiet_stdout(), Engines(engines_config) as engines:
            engines.ray()
            table = some_flights(config, given.share)
            block = ray.put(table)
            for number in range(given.rounds):
                for name, halving in contestants.items():
                    training = ParallelTraining(
                        settings(config, halving), [block], TasksConfig(), engines.plan.ray_cpus,
                        FitJournal(work / f"{number}-{name}.journal"), lambda *_: None,
                    )  # fmt: skip
                    started = time.perf_counter()
                    training.read_index()
                    training.fits(work)
                    timings[name].seconds.append(time.perf_counter() - started)
                    board = training.leaderboard()
                    best[name] = _best(board)
                    fits[name] = pc.sum(pc.equal(board.column("status"), "ok")).as_py()
        report("halving", timings, table.num_rows, PACKAGES, cpus=given.cpus)
        for name in contestants:
            print(json.dumps({"bench": "halving", "name": name, **_regret(best, fits, name)}))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _regret(best: dict[str, dict[str, float]], fits: dict[str, int], name: str) -> dict[str, Any]:
    plain = best["limit"]
    regrets = np.array([best[name][key] / plain[key] - 1 for key in plain])
    return {
        "fits": fits[name],
        "segments": len(regrets),
        "segments_without_regret": int((regrets < 1e-9).sum()),
        "mean_regret": round(float(regrets.mean()), 5),
        "largest_regret": round(float(regrets.max()), 5),
    }


if __name__ == "__main__":
    main()
