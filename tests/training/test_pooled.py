"""Baselines, and pooled fits seen from each segment."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.training.eligible import fold_skipped, skipped_fits
from pipeline.training.pooled import score_baselines, score_by_segment
from pipeline.training.result import FitResult
from pipeline.training.segments import ALL, Run

RUNS = [Run('["a"]', 0, 4), Run('["b"]', 4, 6), Run('["c"]', 6, 7)]
Y = np.array([1.0, 3.0, 5.0, 7.0, 10.0, 20.0, 4.0])
TRAIN, VALID = np.array([0, 1, 4]), np.array([2, 3, 5, 6])


def test_baselines_are_the_segments_own_and_the_global_one() -> None:
    found = score_baselines(
        Y, TRAIN, VALID, RUNS, fold=2, kind="mean", scorer="mae", min_validation_rows=1
    )
    by_segment = {result.segment: result for result in found}
    assert by_segment['["a"]'].score == 4.0  # mean 2 against 5 and 7
    assert by_segment['["b"]'].score == 10.0
    assert by_segment['["c"]'].score == pytest.approx(2 / 3)  # no rows of its own: mean of 1, 3, 10
    assert by_segment['["c"]'].rows_train == 0
    assert by_segment[ALL].score == pytest.approx(np.abs(14 / 3 - Y[VALID]).mean())
    assert {result.fold for result in found} == {2}


def test_a_fold_without_training_rows_has_no_baseline() -> None:
    none = np.array([], dtype=np.intp)
    found = score_baselines(
        Y, none, VALID, RUNS, fold=0, kind="median", scorer="rmse", min_validation_rows=1
    )
    assert {result.status for result in found} == {"skipped"} and len(found) == 4


def test_a_pooled_fit_is_scored_on_each_segments_rows() -> None:
    fit = FitResult(ALL, "forest", "pooled", 0, "ok", 1.0, 3, 4, 2.5, predictions=Y[VALID] + 1)
    found = score_by_segment(fit, Y, VALID, TRAIN, RUNS, scorer="rmse", min_validation_rows=2)
    assert [(r.segment, r.status, r.score, r.rows_train, r.rows_valid) for r in found] == [
        ('["a"]', "ok", 1.0, 2, 2),
        ('["b"]', "skipped", None, 1, 1),
        ('["c"]', "skipped", None, 0, 1),
    ]
    assert {r.seconds for r in found} == {0.0}


def test_a_failed_pooled_fit_fails_for_each_segment() -> None:
    fit = FitResult(ALL, "forest", "pooled", 0, "failed", None, 3, 4, error="ValueError: no")
    found = score_by_segment(fit, Y, VALID, TRAIN, RUNS, scorer="rmse", min_validation_rows=1)
    assert [(r.status, r.error) for r in found] == [("failed", "ValueError: no")] * 3


def test_a_fold_is_skipped_for_a_reason() -> None:
    limits = {"min_rows": 200, "min_validation_rows": 10}
    assert fold_skipped(300, 50, rows=400, **limits) is None
    assert fold_skipped(1, 0, rows=1, **limits) == "1 training rows, fewer than min_rows = 200"
    assert fold_skipped(0, 50, rows=400, **limits) == "0 training rows in this fold"
    assert fold_skipped(300, 9, rows=400, **limits) == (
        "9 validation rows, fewer than min_validation_rows = 10"
    )
    (row,) = skipped_fits('["a"]', 1, 1, 0, {"x": "why", "y": None})
    assert (row.status, row.error, row.scope) == ("skipped", "why", "own")
