"""Intervals do not depend on blocks, cover what they should, and agree with another bootstrap."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.config.infer import IntervalsConfig
from pipeline.scoring.bootstrap import Sums, draws, merge, row_hashes
from pipeline.scoring.intervals import REST, by_segment, error_sums, intervals, overall

KEYS = ["a", "b", "c"]
SETTINGS = IntervalsConfig(replicates=50)


def rows_of(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.normal(0, 30, n)
    return {
        "id": np.arange(n),
        "target": target,
        "predicted": target + rng.normal(0, 10, n),
        "reference": target + rng.normal(0, 12, n),
        "codes": rng.integers(0, 3, n),
    }


def sums_of(
    rows: dict[str, np.ndarray],
    settings: IntervalsConfig = SETTINGS,
    tracked: frozenset[str] = frozenset(KEYS),
    weight: np.ndarray | None = None,
) -> dict[str, Sums]:
    return error_sums(
        rows["target"],
        rows["predicted"],
        rows["reference"],
        rows["codes"],
        KEYS,
        row_hashes({"id": rows["id"]}, settings.seed),
        settings,
        tracked,
        weight,
    )


@given(st.lists(st.integers(0, 60), max_size=5), st.integers(0, 10))
def test_blocks_and_order_change_no_bit(cuts: list[int], seed: int) -> None:
    rows = rows_of(60, seed)
    rows["target"][::7] *= 1e6
    rows["target"][3] = np.nan
    whole = sums_of(rows)
    order = np.random.default_rng(seed).permutation(60)
    shuffled = {name: values[order] for name, values in rows.items()}
    bounds = [0, *sorted(cuts), 60]
    blocks = [
        sums_of({name: values[a:b] for name, values in shuffled.items()})
        for a, b in pairwise(bounds)
    ]
    merged = merge(reversed(blocks))
    assert merged.keys() == whole.keys()
    for key in whole:
        assert np.array_equal(merged[key].totals(), whole[key].totals())
    assert overall(merged, 0.95) == overall(whole, 0.95)


def test_the_sums_are_those_of_the_draws() -> None:
    rows = rows_of(500)
    weights = draws(row_hashes({"id": rows["id"]}, 0), 50)
    inside = rows["codes"] == 1
    found = sums_of(rows)["b"].totals()
    np.testing.assert_array_equal(found[0], weights[inside].sum(axis=0))
    squared = (rows["predicted"] - rows["target"]) ** 2
    np.testing.assert_allclose(found[1], squared[inside] @ weights[inside], rtol=1e-6)


def test_draws_are_poisson_and_independent_between_rows_replicates_and_seeds() -> None:
    hashes = row_hashes({"id": np.arange(20_000)}, 0)
    drawn = draws(hashes, 50)
    counts = np.bincount(drawn.ravel(), minlength=7)[:7]
    expected = stats.poisson.pmf(np.arange(7), 1) * drawn.size
    assert np.abs(counts - expected).max() < 5 * np.sqrt(drawn.size)
    correlation = np.corrcoef(drawn[:, :10].T)[np.triu_indices(10, 1)]
    assert np.abs(correlation).max() < 0.04
    other = draws(row_hashes({"id": np.arange(20_000)}, 1), 50)
    assert abs(np.corrcoef(drawn[:, 0], other[:, 0])[0, 1]) < 0.04


def test_intervals_agree_with_scipy() -> None:
    rows = rows_of(2_000)
    found = overall(sums_of(rows, IntervalsConfig(replicates=1_000)), 0.95)
    assert found is not None
    error = rows["predicted"] - rows["target"]
    other = rows["reference"] - rows["target"]

    def rmse(*columns: np.ndarray, axis: int = -1) -> np.ndarray:
        first, second = (np.sqrt(np.mean(c * c, axis=axis)) for c in columns)
        return first - second

    plain = stats.bootstrap(
        (error, other), rmse, paired=True, method="percentile", n_resamples=1_000, rng=1
    ).confidence_interval
    width = plain.high - plain.low
    assert found.difference_rmse == pytest.approx((plain.low, plain.high), abs=0.15 * width)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(200):
        found = overall(sums_of(rows_of(300, seed), IntervalsConfig(replicates=100)), 0.9)
        assert found is not None
        covered += found.rmse[0] <= 10 <= found.rmse[1]
    assert 165 <= covered <= 195


def test_rows_of_one_day_are_drawn_together_and_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(40), 50)
    error = np.repeat(rng.gamma(2, 5, 40), 50)
    zero, codes = np.zeros(len(day)), np.zeros(len(day), dtype=np.int64)

    def width(by: np.ndarray) -> float:
        hashes = row_hashes({"by": by}, 0)
        sums = error_sums(zero, error, zero, codes, ["a"], hashes, SETTINGS, frozenset("a"))
        found = overall(sums, 0.95)
        assert found is not None
        return found.rmse[1] - found.rmse[0]

    assert width(day) > 4 * width(np.arange(len(day)))


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    rows = rows_of(200)
    weight = np.where(np.arange(200) % 3 == 0, 2.0, 1.0)
    twice = {name: np.repeat(values, weight.astype(int)) for name, values in rows.items()}
    found = sums_of(rows, weight=weight)
    assert by_segment(found, 0.95) == by_segment(sums_of(twice), 0.95)
    assert overall(found, 0.95) == overall(sums_of(twice), 0.95)
    assert overall(sums_of(rows, weight=np.zeros(200)), 0.95) is None


def test_segments_that_are_not_tracked_still_count_overall() -> None:
    rows = rows_of(300)
    some = sums_of(rows, tracked=frozenset({"b"}))
    assert set(some) == {"b", REST}
    assert by_segment(some, 0.95) == {"b": by_segment(sums_of(rows), 0.95)["b"]}
    assert overall(some, 0.95) == overall(sums_of(rows), 0.95)


def test_few_rows_have_no_interval() -> None:
    assert intervals(Sums(), 0.95) is None
    rows = rows_of(2)
    assert overall(sums_of(rows), 0.95) is None
    rows["target"][:] = np.nan
    assert sums_of(rows) == {}
