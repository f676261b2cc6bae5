"""Permutation importance equals a plain loop, whatever the blocks, tasks and CPUs were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator
from sklearn.metrics import (
    log_loss,
    mean_absolute_error,
    mean_pinball_loss,
    root_mean_squared_error,
)
from sklearn.pipeline import Pipeline

from pipeline.config.engines import TasksConfig
from pipeline.config.infer import ImportanceConfig, IntervalsConfig
from pipeline.config.preprocess import FeaturesConfig
from pipeline.config.train import CandidateConfig
from pipeline.models.entry import ModelEntry
from pipeline.models.persistence import save_model
from pipeline.scoring import importance as module
from pipeline.scoring.drift import Profile
from pipeline.scoring.importance import (
    Rises,
    Sample,
    bound,
    importance,
    packs,
    permutation,
    permute,
    plan,
)
from pipeline.scoring.loaded import loaded_model
from pipeline.scoring.parallel import score_blocks
from pipeline.scoring.permuting import drawn_rows, merged, permute_features
from pipeline.scoring.tasks import ScoreSettings
from pipeline.training.candidates import build_model, preparation
from pipeline.training.folds import microseconds
from pipeline.training.matrix import to_features
from pipeline.training.objective import Objective, outputs

if TYPE_CHECKING:
    from pipeline.engines.session import Engines

START = datetime(2024, 1, 1, tzinfo=timezone.utc)
FEATURES = FeaturesConfig(numeric=("a", "b", "idle"), categorical=("c", "g"))
QUANTILES = (0.1, 0.5, 0.9)
CLASSES = ("no", "yes")
TASKS = {
    "rmse": Objective(),
    "mae": Objective(scorer="mae", weight="w"),
    "log_loss": Objective("classification", "log_loss", classes=CLASSES, weight="w"),
    "pinball": Objective("quantile", "pinball", quantiles=QUANTILES),
}
REPEATS = 3
CONFIG = ImportanceConfig(rows=150, repeats=REPEATS)


def rows_of(n: int = 400, seed: int = 0) -> pa.Table:
    """Segments A and B, whose models are their own, C, and one row each of D and E.

    The first quarter is before the test, some rows have no target, and one a value that no model
    takes.
    """
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    c = rng.choice(["u", "v", None], n)
    g = np.concatenate([["D", "E"], rng.choice(["A", "B", "C"], n - 2)])
    y = 3 * a + b + np.where(c == "u", 2.0, 0.0) + rng.normal(size=n) / 2
    days = np.concatenate([[50, 60], rng.integers(0, 100, n - 2)])
    return pa.table(
        {
            "id": np.arange(n),
            "t": pa.array(
                [START + timedelta(days=int(d)) for d in days], pa.timestamp("us", "UTC")
            ),
            "g": pa.array(g.tolist(), pa.string()),
            "y": pa.array(y, mask=np.arange(n) % 19 == 5),
            "late": pa.array(np.where(y > 0, "yes", "no").tolist(), pa.string()),
            "w": rng.integers(0, 4, n).astype(float),
            "a": pa.array(np.where(np.arange(n) % 50 == 7, np.inf, a)),
            "b": pa.array(b, mask=rng.random(n) < 0.1),
            "idle": rng.normal(size=n),
            "c": pa.array(c.tolist(), pa.string()),
        }
    )


def fitted(objective: Objective, estimator: str, frame: pd.DataFrame, y: Any) -> BaseEstimator:
    candidate = CandidateConfig.model_validate(
        {
            "estimator": estimator,
            "features": ("a", "b", "c", "g"),
            "encode": "ordinal" if "Boosting" in estimator else "onehot",
        }
        | ({"params": {"max_iter": 8}} if "Boosting" in estimator else {})
    )
    prepared = preparation(candidate, FEATURES.numeric, FEATURES.categorical)
    model = build_model(candidate, prepared, 0, objective.quantiles)
    return Pipeline([("prepare", prepared.transformer()), ("model", model)]).fit(frame, y)


@dataclass(frozen=True)
class Trained:
    settings: ScoreSettings
    table: pa.Table


@pytest.fixture(scope="module", params=TASKS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Linear models of A and B, pooled boosting for all others; they lie in a store."""
    objective = TASKS[request.param]
    classes = bool(objective.classes)
    linear = "QuantileRegressor" if objective.quantiles else "Ridge"
    if classes:
        linear = "LogisticRegression"
    boosting = f"HistGradientBoosting{'Classifier' if classes else 'Regressor'}"
    fit = rows_of(300, seed=1)
    fit = fit.filter(
        pa.array(np.isfinite(fit.column("a").to_numpy()) & fit.column("y").is_valid().to_numpy())
    )
    frame = to_features(fit, numeric=FEATURES.numeric, categorical=FEATURES.categorical)
    y = np.array(fit.column("late" if classes else "y").to_pylist())
    store = tmp_path_factory.mktemp("store")
    entries = {}
    for key, estimator in {
        '["A"]': f"sklearn.linear_model.{linear}",
        '["B"]': f"sklearn.linear_model.{linear}",
        "*": f"sklearn.ensemble.{boosting}",
    }.items():
        own = np.ones(len(y), bool) if key == "*" else (frame.g == key[2]).to_numpy()
        model = fitted(objective, estimator, frame[own], y[own])
        file = f"{estimator}-{key[2:3] or 'all'}.skops"
        digest = save_model(model, store / file)
        entries[key] = ModelEntry(
            key, "m", "own", "f", START.isoformat(), file, digest,
            classes=objective.classes, quantiles=objective.quantiles,
        )  # fmt: skip
    default = (0.5, 0.5) if classes else QUANTILES if objective.quantiles else 0.0
    settings = ScoreSettings(
        store, entries, {"*": default}, ("id", "t", "g", "y", "late", "w"), ("id",), ("g",),
        "late" if classes else "y", "t", FEATURES, Profile({}), "test",
        microseconds(START + timedelta(days=25)), 1_000, IntervalsConfig(replicates=50),
        frozenset(), 1, objective,
    )  # fmt: skip
    return Trained(settings, rows_of())


def drawn(settings: ScoreSettings, blocks: list[pa.Table], limit: int = CONFIG.rows) -> Sample:
    highest = bound(sum(block.num_rows for block in blocks), limit)
    parts = [drawn_rows(settings, 0, highest, "/no/such/file", block) for block in blocks]
    return merged(settings, parts, limit)


def rises(settings: ScoreSettings, sample: Sample, batch_rows: int = 1_000) -> Rises:
    units = plan(sample, settings.champions, settings.features, REPEATS)
    return sum((unit_rises(settings, sample, unit, batch_rows) for unit in units), Rises())


def unit_rises(settings: ScoreSettings, sample: Sample, unit: Any, batch_rows: int) -> Rises:
    return permute(
        sample, unit, lambda entry: loaded_model(settings.store, entry), settings.features,
        settings.objective, repeats=REPEATS, batch_rows=batch_rows,
    )  # fmt: skip


def oracle(settings: ScoreSettings, sample: Sample) -> dict[str, list[float]]:
    """Feature by feature and segment by segment, with scikit-learn's own errors."""
    objective = settings.objective
    X = to_features(sample.rows, numeric=FEATURES.numeric, categorical=FEATURES.categorical)
    good = np.isfinite(X.a).to_numpy()
    keep = np.flatnonzero(good)
    sample, X = sample.take(keep), X[good].reset_index(drop=True)

    def error(frame: pd.DataFrame) -> float:
        shape = (len(frame), *((len(objective.classes or objective.quantiles),)
                               if objective.task != "regression" else ()))  # fmt: skip
        said = np.empty(shape)
        for code, key in enumerate(sample.keys):
            own = sample.codes == code
            if own.any():
                entry = settings.champions.get(key, settings.champions["*"])
                model = loaded_model(settings.store, entry)
                said[own] = outputs(model, frame[own], objective.classes, objective.quantiles)
        return ERRORS[module.measure(objective)](sample.truth, said, sample.weight)

    plain = error(X)
    found = {"": [plain]}
    for name in FEATURES.names:
        found[name] = []
        for repeat in range(REPEATS):
            changed = X.copy()
            changed[name] = X[name].to_numpy()[permutation(sample, name, repeat)]
            found[name].append(error(changed) - plain)
    return found


ERRORS: dict[str, Callable[..., float]] = {
    "rmse": lambda y, p, w: root_mean_squared_error(y, p, sample_weight=w),
    "mae": lambda y, p, w: mean_absolute_error(y, p, sample_weight=w),
    "log_loss": lambda y, p, w: log_loss(y, p, sample_weight=w, labels=[0, 1]),
    "pinball": lambda y, p, w: np.mean(
        [mean_pinball_loss(y, p[:, i], alpha=q, sample_weight=w) for i, q in enumerate(QUANTILES)]
    ),
}


def test_it_equals_a_loop_over_features(trained: Trained) -> None:
    settings = trained.settings
    sample = drawn(settings, [trained.table])
    assert len(sample) == CONFIG.rows
    found = importance(rises(settings, sample), settings.objective, REPEATS)
    wanted = oracle(settings, sample)
    assert found is not None
    (plain,) = wanted.pop("")
    assert found["measure"] == next(k for k, v in TASKS.items() if v == settings.objective)
    assert found["plain"] == pytest.approx(plain, rel=1e-9)
    features: Any = found["features"]
    assert {f["name"] for f in features} == set(FEATURES.names)
    for feature in features:
        each = wanted[feature["name"]]
        assert feature["mean"] == pytest.approx(np.mean(each), rel=1e-6, abs=1e-12)
        assert feature["std"] == pytest.approx(np.std(each), rel=1e-6, abs=1e-12)
    assert features[0]["name"] == "a"
    assert [f["mean"] for f in features] == sorted((f["mean"] for f in features), reverse=True)
    of = {f["name"]: (f["mean"], f["std"]) for f in features}
    assert of["idle"] == (0.0, 0.0)  # no model uses it
    assert of["g"] == (0.0, 0.0)  # it is constant in each segment
    assert of["c"][0] > 0


def test_blocks_batches_and_units_change_no_bit(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, table = trained.settings, trained.table
    sample = drawn(settings, [table])
    whole = rises(settings, sample)
    shuffled = table.take(pa.array(np.random.default_rng(2).permutation(table.num_rows)))
    blocks = [shuffled.slice(start, size) for start, size in ((0, 3), (3, 0), (3, 250), (253, 147))]
    again = drawn(settings, blocks)
    assert again.rows.equals(sample.rows.combine_chunks()) or again.rows == sample.rows
    assert again.keys == sample.keys and (again.hashes == sample.hashes).all()
    assert rises(settings, again) == whole
    monkeypatch.setattr(module, "UNIT_ROWS", 1)
    units = plan(sample, settings.champions, settings.features, REPEATS)
    assert len(units) > 10 and len(list(packs(units, REPEATS))) == len(units)
    apart = importance(rises(settings, sample, batch_rows=100), settings.objective, REPEATS)
    # Bits may differ here: BLAS rounds a row by its place in a batch.
    assert means(apart) == pytest.approx(
        means(importance(whole, settings.objective, REPEATS)), rel=1e-9, abs=1e-12
    )


def means(found: Any) -> dict[str, float]:
    return {feature["name"]: feature["mean"] for feature in found["features"]}


@pytest.mark.parametrize("trained", ["log_loss", "rmse"], indirect=True)
def test_rays_results_are_those_of_the_plain_functions_with_one_cpu_and_with_two(
    engines: Engines, trained: Trained, tmp_path: Path
) -> None:
    import ray

    engines.ray()
    settings = replace(trained.settings, batch_rows=40)
    found = {}
    for cpus, cuts in {1: (0, 400), 2: (0, 90, 91, 400)}.items():
        parts = [trained.table.slice(a, b - a) for a, b in pairwise(cuts)]
        blocks = [ray.put(part) for part in parts]
        keys = [f"{cpus}-{i}" for i in range(len(blocks))]
        common: dict[str, Any] = {"tasks": TasksConfig(), "cpus": cpus, "progress": lambda *_: None}
        results = score_blocks(settings, blocks, keys, tmp_path, **common)
        assert sum(scored.rows_quarantined for _, scored in results) > 3
        done = permute_features(settings, CONFIG, results, blocks, **common)
        found[cpus] = sum((permuted.total for permuted in done), Rises())
        assert not permute_features(
            settings, CONFIG.model_copy(update={"rows": 0}), results, blocks, **common
        )
    good = np.isfinite(trained.table.column("a").to_numpy())
    sample = drawn(settings, [trained.table.filter(pa.array(good))])
    assert found[1] == found[2] == rises(settings, sample, batch_rows=40)
    assert found[1].rows == CONFIG.rows
    assert found[1].alone == np.count_nonzero(np.bincount(sample.codes) == 1)


@pytest.mark.parametrize("limit", [1, 7, 50, 5_000])
def test_the_rows_drawn_are_those_with_the_lowest_hashes(trained: Trained, limit: int) -> None:
    settings = trained.settings
    every = drawn(settings, [trained.table], 100_000)
    some = drawn(settings, [trained.table], limit)
    assert len(some) == min(limit, len(every))
    assert set(some.hashes) == set(np.sort(every.hashes)[:limit])
    assert (np.diff(some.codes) >= 0).all()
    # Held out and with a target alone.
    times = trained.table.column("t").cast(pa.int64()).to_numpy()
    known = trained.table.column(settings.target).is_valid().to_numpy()
    assert len(every) == np.count_nonzero((times >= settings.test_from) & known)


def test_a_permutation_stays_in_its_segment_and_every_order_is_as_likely() -> None:
    codes = np.repeat([0, 1, 2], [1, 3, 4])
    empty = pa.table({"x": np.zeros(8)})
    hashes = np.random.default_rng(0).integers(0, 2**63, 8).astype(np.uint64)
    sample = Sample(empty, np.zeros(8), np.ones(8), hashes, codes, ("a", "b", "c"))
    seen: dict[tuple[int, ...], int] = {}
    for repeat in range(3_000):
        order = permutation(sample, "x", repeat)
        assert (codes[order] == codes).all() and sorted(order) == list(range(8))
        middle = tuple(order[1:4].tolist())
        seen[middle] = seen.get(middle, 0) + 1
    assert len(seen) == 6 and min(seen.values()) > 420 and max(seen.values()) < 580
    assert any((permutation(sample, "x", 0) != permutation(sample, "y", r)).any() for r in (0, 1))


def test_a_permuted_row_that_cannot_be_predicted_counts_as_unchanged() -> None:
    class Picky:
        """Refuses the value 1 of x with c = 'b'."""

        def predict(self, X: pd.DataFrame) -> np.ndarray:
            if ((X.x == 1) & (X.c == "b")).any():
                raise ValueError("refused")
            return X.x.to_numpy()

    n = 40
    x = np.tile([1.0, 2.0], n // 2)
    c = ["a" if value == 1 else "b" for value in x]
    hashes = np.arange(n, dtype=np.uint64)
    codes = np.zeros(n, dtype=np.int64)
    sample = Sample(pa.table({"x": x, "c": c}), x, np.ones(n), hashes, codes, ('["s"]',))
    entry = ModelEntry("*", "m", "own", "f", "now", "m.skops", "0" * 64)
    features = FeaturesConfig(numeric=("x",), categorical=("c",))
    (unit,) = plan(sample, {"*": entry}, features, 1)
    total = permute(sample, unit, lambda _: Picky(), features, Objective(), repeats=1, batch_rows=9)
    # Only rows with 'a' got another value: each is then wrong by one.
    moved = (x[permutation(sample, "x", 0)] == 2) & (x == 1)
    found = importance(total, Objective(), 1)
    assert means(found)["x"] == pytest.approx(np.sqrt(moved.sum() / n)) and moved.any()
    assert importance(Rises(), Objective(), 1) is None
