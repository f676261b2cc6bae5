"""Drift of scored rows against the training rows."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DataRefused
from pipeline.scoring.drift import Profile, count_rows, drift, merge_counts, profile, psi

CELLS = st.lists(
    st.tuples(
        st.none() | st.floats(-100, 100) | st.just(math.inf),
        st.none() | st.sampled_from(["a", "b", "c", ""]),
    ),
    max_size=40,
)


def table_of(rows: list) -> pa.Table:
    return pa.table(
        {
            "x": pa.array([row[0] for row in rows], pa.float64()),
            "c": pa.array([row[1] for row in rows], pa.string()),
        }
    )


@given(CELLS, CELLS, st.integers(1, 10))
def test_counts_cover_every_row_and_merge(train: list, scored: list, size: int) -> None:
    training = profile(table_of(train), ["x"], ["c"])
    assert all(sum(column.counts) == len(train) for column in training.columns.values())
    whole = count_rows(table_of(scored), training)
    assert all(counts.sum() == len(scored) for counts in whole.values())
    parts = [scored[i : i + size] for i in range(0, len(scored), size)] or [[]]
    merged = merge_counts([count_rows(table_of(part), training) for part in parts])
    for name in whole:
        np.testing.assert_array_equal(merged[name], whole[name])


@given(CELLS.filter(bool))
def test_the_training_rows_have_not_drifted(rows: list) -> None:
    training = profile(table_of(rows), ["x"], ["c"])
    found = drift(training, count_rows(table_of(rows), training))
    for column in found.values():
        assert column.psi == 0.0
        assert column.null_share_training == column.null_share_scored


def test_psi_is_the_textbook_formula() -> None:
    p, q = np.array([500_000, 300_000, 200_000]), np.array([300_000, 300_000, 400_000])
    expected = -0.2 * math.log(0.3 / 0.5) + 0.2 * math.log(0.4 / 0.2)
    assert psi(p, q) == pytest.approx(expected, rel=1e-4)
    assert math.isfinite(psi(np.array([10, 0]), np.array([0, 10])))


def test_a_shift_nulls_and_new_categories_show() -> None:
    rng = np.random.default_rng(0)
    train = pa.table({"x": rng.normal(size=5000), "c": rng.choice(["a", "b"], 5000)})
    later = pa.table(
        {
            "x": pa.array(rng.normal(1, 1, 2000), mask=rng.random(2000) < 0.25),
            "c": rng.choice(["a", "new"], 2000),
        }
    )
    training = profile(train, ["x"], ["c"])
    found = drift(training, count_rows(later, training))
    assert found["x"].psi is not None and found["x"].psi > 0.25
    assert found["x"].null_share_training == 0.0
    assert found["x"].null_share_scored == pytest.approx(0.25, abs=0.03)
    assert found["c"].psi is not None and found["c"].psi > 0.25
    same = drift(training, count_rows(train.slice(0, 2000), training))
    assert same["x"].psi is not None and same["x"].psi < 0.02


def test_a_column_of_few_values_has_a_bin_for_each() -> None:
    training = profile(pa.table({"x": [0.0] * 50 + [1.0] * 50}), ["x"], [])
    above, other, null = 0, 0, 0
    assert training.columns["x"].counts == (50, 50, above, other, null)


def test_a_profile_survives_json() -> None:
    training = profile(table_of([(1.0, "a"), (None, None), (2.0, "é")]), ["x"], ["c"])
    assert Profile.from_record(json.loads(json.dumps(training.record()))) == training


def test_a_missing_column_is_refused_and_no_rows_have_no_drift() -> None:
    training = profile(table_of([(1.0, "a")]), ["x"], ["c"])
    with pytest.raises(DataRefused):
        count_rows(pa.table({"x": [1.0]}), training)
    empty = drift(training, count_rows(table_of([]), training))
    assert empty["x"].psi is None and empty["x"].rows == 0
