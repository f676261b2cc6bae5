"""Training on Ray gives what the plain functions give one after the other."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config.engines import TasksConfig
from pipeline.config.train import TrainConfig
from pipeline.training.folds import microseconds
from pipeline.training.journal import FitJournal
from pipeline.training.packing import SegmentWork
from pipeline.training.parallel import ParallelTraining
from pipeline.training.result import FitResult, from_table
from pipeline.training.selection import choose_champions
from pipeline.training.settings import FitSettings
from pipeline.training.tasks import fit_baselines, fit_pooled, fit_segments

if TYPE_CHECKING:
    from pipeline.engines.session import Engines

START = datetime(2024, 1, 1, tzinfo=timezone.utc)
CANDIDATES = {
    "ridge": {"estimator": "sklearn.linear_model.Ridge", "scale": True},
    "forest": {
        "estimator": "sklearn.ensemble.ExtraTreesRegressor",
        "params": {"n_estimators": 5},
        "encode": "ordinal",
    },
    "boosting": {
        "estimator": "sklearn.ensemble.HistGradientBoostingRegressor",
        "params": {"max_iter": 10},
        "scope": "pooled",
        "impute": "none",
        "encode": "ordinal",
    },
    "broken": {"estimator": "sklearn.svm.LinearSVR", "params": {"max_iter": 1}},
}


def table(sizes: dict[str, int]) -> pa.Table:
    """Rows clustered by segment and ordered by time, with nulls and a category."""
    random = np.random.default_rng(0)
    parts = []
    for name, rows in sizes.items():
        x = random.normal(size=(rows, 2))
        parts.append(
            pa.table(
                {
                    "g": pa.array([name] * rows, pa.string()),
                    "t": pa.array(
                        [START + timedelta(days=100 * i / rows) for i in range(rows)],
                        pa.timestamp("us", "UTC"),
                    ),
                    "y": x[:, 0] * 2 + len(name) + random.normal(size=rows) / 4,
                    "a": pa.array(x[:, 0], mask=random.random(rows) < 0.1),
                    "b": x[:, 1],
                    "c": pa.array(random.choice(["u", "v", None], rows), pa.string()),
                }
            )
        )
    return pa.concat_tables(parts)


@pytest.fixture(scope="module")
def settings() -> FitSettings:
    test_from = START + timedelta(days=80)
    periods = tuple(
        (start - timedelta(days=1), start, start + timedelta(days=10))
        for start in (test_from - timedelta(days=20), test_from - timedelta(days=10))
    )
    train = TrainConfig.model_validate({"candidates": CANDIDATES, "min_rows": 40, "seed": 3})
    return FitSettings(
        train=train, numeric=("a", "b"), categorical=("c",), segment=("g",), target="y", time="t",
        periods=periods, test_from=microseconds(test_from),
    )  # fmt: skip


SIZES = {"big": 900, "middle": 300, "small": 160, "tiny": 3}


def sequential(settings: FitSettings, whole: pa.Table) -> list[FitResult]:
    """The same fits by the same plain functions, without Ray, in another order."""
    results = from_table(fit_baselines(settings, whole).value[0])
    start = 0
    names = list(settings.candidates("segment"))[::-1]
    for name, rows in SIZES.items():
        if rows * 0.8 >= settings.train.min_rows:
            fits = tuple((c, fold) for fold in (1, 0) for c in names)
            work = SegmentWork(f'["{name}"]', b"", rows, fits)
            results += fit_segments(settings, [work], [((0, start, start + rows),)], [whole])
        start += rows
    for fold in (1, 0):
        done = fit_pooled(settings, "boosting", fold, bytes(16), whole)
        results += from_table(pa.ipc.open_stream(done.value.entry).read_all().drop_columns(["key"]))
    return results


@pytest.mark.parametrize(("pack_seconds", "cpus"), [(0.001, 2), (100.0, 1)])
def test_any_packing_on_any_cpus_equals_the_sequential_fits(
    engines: Engines, settings: FitSettings, tmp_path: Path, pack_seconds: float, cpus: int
) -> None:
    import ray

    engines.ray()
    whole = table(SIZES)
    blocks = [ray.put(whole.slice(0, 500)), ray.put(whole.slice(500))]  # "big" spans both
    training = ParallelTraining(
        settings, blocks, TasksConfig(pack_seconds=pack_seconds), cpus,
        FitJournal(tmp_path / "fits.journal"), lambda *_: None,
    )  # fmt: skip
    index = training.read_index()
    constants = training.baselines()
    training.fits(tmp_path / "models")
    found = from_table(training.leaderboard())
    made = [r for r in found if r.status != "skipped" or r.scope != "own"]

    def by_name(results: list[FitResult]) -> dict[Any, FitResult]:
        return {(r.segment, r.candidate, r.fold): r for r in results}

    assert by_name(made) == by_name(sequential(settings, whole))
    assert {r.error for r in found if r.candidate == "broken" and r.status == "failed"} != {None}
    rows = dict(index.rows_by_segment())
    champions = choose_champions(found, rows, settings.train.min_rows)
    fitted = [
        ("*" if c.scope == "pooled" else c.segment, c.candidate)
        for c in champions.values()
        if c.scope != "baseline"
    ]
    saved = training.champions(fitted, tmp_path / "models")
    assert len(saved) >= 2
    assert set(constants) == {"*", *index.keys}

    again = ParallelTraining(
        settings, blocks, TasksConfig(), 2, FitJournal(tmp_path / "fits.journal"), lambda *_: None
    )
    again.read_index()
    again.baselines()
    again.fits(tmp_path / "models")
    assert by_name(from_table(again.leaderboard())) == by_name(found)
    assert again.plan.reused == len(again.plan.keys) > 10
    assert again.champions(fitted, tmp_path / "models") == saved
    assert not [task for task in again.timeline if task["kind"] != "baseline"]
