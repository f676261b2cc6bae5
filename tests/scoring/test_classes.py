"""Measures of classes and quantiles, merged over blocks, and the columns of predictions."""

from __future__ import annotations

from functools import reduce
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    log_loss,
    mean_pinball_loss,
)

from pipeline.config.preprocess import FeaturesConfig
from pipeline.errors import StoreError
from pipeline.models.constant import constant_model
from pipeline.models.entry import ModelEntry
from pipeline.models.promotion import decide
from pipeline.scoring.classes import Reliability, class_stats, reliability
from pipeline.scoring.metrics import BlockStats, block_stats
from pipeline.scoring.outputs import Outputs, probability_column, quantile_column
from pipeline.scoring.predict import score_table
from pipeline.scoring.quantiles import quantile_stats

KEYS = ['["a"]', '["b"]']
RNG = np.random.default_rng(5)
N = 90


def _rows(classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    p = RNG.dirichlet(np.ones(classes), N)
    return RNG.integers(0, classes, N).astype(float), p, RNG.integers(0, 2, N), RNG.random(N)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_measures_of_classes_are_scikit_learns_whatever_the_blocks(
    classes: int, weighted: bool
) -> None:
    y, p, codes, w = _rows(classes)
    weight = w if weighted else None
    whole = class_stats(y, p, codes, KEYS, weight)
    parts = [slice(0, 30), slice(30, 31), slice(31, N)]
    blocks = [class_stats(y[s], p[s], codes[s], KEYS, w[s] if weighted else None) for s in parts]
    assert reduce(BlockStats.__add__, blocks, BlockStats()) == whole
    labels = range(classes)
    chosen = p.argmax(axis=1)
    assert whole.overall().metrics() == {
        "rows": N,
        "log_loss": pytest.approx(log_loss(y, p, labels=labels, sample_weight=weight)),
        "accuracy": pytest.approx(accuracy_score(y, chosen, sample_weight=weight)),
        "balanced_accuracy": pytest.approx(
            balanced_accuracy_score(y, chosen, sample_weight=weight)
        ),
        "brier": pytest.approx(brier_score_loss(y, p, labels=labels, sample_weight=weight)),
    }
    bins = [reliability(y[s], p[s], w[s] if weighted else None) for s in parts]
    assert sum(bins, Reliability()) == reliability(y, p, weight)


def test_rows_without_truth_are_skipped_and_unseen_classes_are_never_right() -> None:
    p = np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]])
    stats = class_stats(np.array([np.nan, -1.0, 0.0]), p, np.zeros(3, dtype=np.int64), KEYS, None)
    found = stats.overall().metrics()
    assert (stats.skipped, found["rows"], found["accuracy"]) == (1, 2, 0.5)
    assert found["balanced_accuracy"] == 0.5
    assert found["log_loss"] == pytest.approx((52 + 1) * np.log(2) / 2)
    assert BlockStats().overall().metrics()["rows"] == 0


def test_reliability_counts_the_second_of_two_classes_and_the_likeliest_of_more() -> None:
    second = np.array([0.05, 0.05, 0.95, 1.0])
    p = np.column_stack([1 - second, second])
    record = reliability(np.array([0.0, 1.0, 1.0, 1.0]), p, None).record()
    assert [(b["rows"], b["observed_share"]) for b in record if b["rows"]] == [(2, 0.5), (2, 1.0)]
    assert record[9]["mean_probability"] == pytest.approx(0.975)
    three = reliability(np.array([0.0]), np.array([[0.2, 0.5, 0.3]]), None).record()
    assert (three[5]["rows"], three[5]["observed_share"]) == (1, 0.0)


@pytest.mark.parametrize("weighted", [False, True])
def test_measures_of_quantiles(weighted: bool) -> None:
    y, q = RNG.normal(size=N), np.sort(RNG.normal(size=(N, 2)), axis=1)
    codes, w = RNG.integers(0, 2, N), RNG.random(N)
    weight = w if weighted else None
    whole = quantile_stats(y, q, (0.1, 0.9), codes, KEYS, weight)
    first, second = (
        quantile_stats(y[s], q[s], (0.1, 0.9), codes[s], KEYS, w[s] if weighted else None)
        for s in (slice(0, 40), slice(40, N))
    )
    assert BlockStats() + first + second == whole
    found = whole.overall().metrics()
    losses = [
        mean_pinball_loss(y, q[:, i], alpha=a, sample_weight=weight)
        for i, a in enumerate((0.1, 0.9))
    ]
    assert found["pinball"] == pytest.approx(np.mean(losses))
    inside = (q[:, 0] <= y) & (y <= q[:, 1])
    assert found["coverage"] == pytest.approx(np.average(inside, weights=weight))


def test_weights_count_in_the_errors_of_numbers() -> None:
    y, predicted = np.zeros(3), np.array([1.0, 3.0, 2.0])
    codes = np.zeros(3, dtype=np.int64)
    weighted = block_stats(y, predicted, codes, KEYS, np.array([2.0, 1.0, 0.0])).overall().metrics()
    repeated = block_stats(y, predicted[[0, 0, 1]], codes, KEYS).overall().metrics()
    assert {**weighted, "rows": 0} == {**repeated, "rows": 0}


@given(st.lists(st.text(), unique=True))
def test_columns_of_classes_are_distinct_safe_and_lossless(names: list[str]) -> None:
    columns = [probability_column(name) for name in names]
    assert [unquote(column.removeprefix("probability_")) for column in columns] == names
    assert all(
        set(c) <= set("%_-") | {d for d in c if d.isascii() and d.isalnum()} for c in columns
    )


def test_a_table_gets_a_column_a_class_and_a_quantile() -> None:
    table = pa.table({"g": ["a", "b"], "x": [1.0, 2.0]})
    entry = {"candidate": "baseline", "scope": "baseline", "fingerprint": "f", "created_at": "now"}
    champions = {
        '["a"]': ModelEntry('["a"]', **entry, constant=(0.3, 0.7), classes=("late", "on time")),
        "*": ModelEntry("*", **entry, constant=(0.5, 0.5), classes=("late", "new")),
    }
    good, bad = _scored(table, champions)
    assert bad.num_rows == 0
    assert good.select(["prediction", "probability_new"]).to_pylist() == [
        {"prediction": "on time", "probability_new": 0.0},
        {"prediction": "late", "probability_new": 0.5},
    ]
    assert good.column("probability_on%20time").to_pylist() == [0.7, 0.0]
    levels = {"*": ModelEntry("*", **entry, constant=(1.0, 2.0), quantiles=(0.025, 0.5))}
    good, _ = _scored(table, levels)
    assert good.column("prediction").to_pylist() == [2.0, 2.0]
    assert good.column(quantile_column(0.025)).to_pylist() == [1.0, 1.0]
    assert quantile_column(0.025) == "quantile_0_025"
    with pytest.raises(StoreError, match="different tasks"):
        Outputs.of([*champions.values(), *levels.values()])


def test_promotion_honours_the_direction() -> None:
    assert decide(0.7, 0.8, 0.5, greater_is_better=True).promote
    assert not decide(0.7, 0.6, 0.5, greater_is_better=True).promote
    assert not decide(None, 0.4, 0.5, greater_is_better=True).promote
    assert not decide(-0.50, -0.499, -0.6, 0.01, greater_is_better=True).promote
    assert decide(-0.50, -0.49, -0.6, 0.01, greater_is_better=True).promote


def _scored(table: pa.Table, champions: dict[str, ModelEntry]) -> tuple[pa.Table, pa.Table]:
    return score_table(
        table,
        champions,
        lambda entry: constant_model(entry.constant, entry.classes),
        FeaturesConfig(numeric=("x",)),
        10,
        segment=["g"],
    )
