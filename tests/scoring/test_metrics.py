"""Errors by block are merged without loss."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from pipeline.scoring.metrics import BlockStats, RegressionStats, block_stats
from pipeline.scoring.sums import exact_sums, value

NUMBERS = st.floats(-1e6, 1e6)
KEYS = ['["a"]', '["b"]', '["c"]']


@given(st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 2))))
def test_sums_are_exact(rows: list) -> None:
    values = np.array([row[0] for row in rows], dtype=float)
    codes = np.array([row[1] for row in rows], dtype=np.int64)
    expected = [sum((Fraction(v) for v, c in rows if c == g), Fraction(0)) for g in range(3)]
    assert [value(total) for total in exact_sums(values, codes, 3)] == expected


def test_infinite_values_have_no_exact_sum() -> None:
    with pytest.raises(OverflowError):
        exact_sums(np.array([np.inf]), np.zeros(1, dtype=np.int64), 1)


@given(
    st.lists(st.tuples(NUMBERS | st.just(math.nan), NUMBERS, st.integers(0, 2)), max_size=30),
    st.lists(st.integers(0, 30), max_size=4),
)
def test_any_blocks_merge_to_the_same_statistics(rows: list, cuts: list) -> None:
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    blocks = [_stats(rows[a:b]) for a, b in pairwise(bounds)]
    whole = _stats(rows)
    assert reduce(BlockStats.__add__, blocks, BlockStats()) == whole
    assert reduce(BlockStats.__add__, reversed(blocks), BlockStats()) == whole
    assert whole.overall().rows + whole.skipped == len(rows)


def test_metrics_are_what_scikit_learn_computes() -> None:
    rng = np.random.default_rng(0)
    y, predicted = rng.normal(5, 3, 500), rng.normal(5, 3, 500)
    codes = rng.integers(0, 3, 500)
    stats = block_stats(y, predicted, codes, KEYS)
    for chosen, found in [
        (slice(None), stats.overall()),
        *((codes == i, stats.segments[key]) for i, key in enumerate(KEYS)),
    ]:
        metrics = found.metrics()
        assert metrics["rmse"] == pytest.approx(
            root_mean_squared_error(y[chosen], predicted[chosen])
        )
        assert metrics["mae"] == pytest.approx(mean_absolute_error(y[chosen], predicted[chosen]))
        assert metrics["r2"] == pytest.approx(r2_score(y[chosen], predicted[chosen]))
        assert metrics["bias"] == pytest.approx((predicted[chosen] - y[chosen]).mean())


def test_r2_is_undefined_for_a_constant_target_and_for_no_rows() -> None:
    y = np.full(7, 0.1)
    stats = block_stats(y, y + 1, np.zeros(7, dtype=np.int64), KEYS).overall()
    assert stats.metrics() == {
        "rows": 7,
        "rmse": pytest.approx(1.0),
        "mae": pytest.approx(1.0),
        "bias": pytest.approx(1.0),
        "r2": None,
    }
    assert RegressionStats().metrics()["rmse"] is None


def test_statistics_survive_their_record() -> None:
    stats = _stats([(1.5, -2.0, 0), (3.0, 2.5, 0)]).overall()
    assert RegressionStats.from_record(stats.record()) == stats


def _stats(rows: list) -> BlockStats:
    y, predicted = (np.array([row[i] for row in rows], dtype=float) for i in (0, 1))
    return block_stats(y, predicted, np.array([row[2] for row in rows], dtype=np.int64), KEYS)
