"""Baselines, and pooled fits seen from each segment: scores that need no fit of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.training.eligible import too_few_to_score
from pipeline.training.matrix import Floats
from pipeline.training.result import BASELINE, FitResult
from pipeline.training.scorers import Scorer, score
from pipeline.training.segments import ALL, Run

Rows = npt.NDArray[np.intp]
Baseline = Literal["mean", "median"]


def constant(y: Floats, kind: Baseline) -> float:
    """The baseline's one prediction: mean or median of (n_samples,) training targets."""
    return float(np.mean(y) if kind == "mean" else np.median(y))


def score_by_segment(
    fit: FitResult,
    y: Floats,
    valid_rows: Rows,
    train_rows: Rows,
    runs: Sequence[Run],
    *,
    scorer: Scorer,
    min_validation_rows: int,
) -> list[FitResult]:
    """A pooled fit's score on each segment's validation rows.

    Args:
        fit: with predictions for ``valid_rows``; of a failed fit each segment's part has failed.
        y: (n_samples,) target of all segments' rows.
        valid_rows: (n_valid,) ascending positions.
        train_rows: (n_train,) ascending positions.
        runs: where each segment's rows lie.

    Returns:
        One result a segment, ``skipped`` where it has too few validation rows.
    """
    results = []
    for run, (start, stop), n_train in zip(
        runs, _parts(valid_rows, runs), _counts(train_rows, runs), strict=True
    ):
        part = replace(
            fit,
            segment=run.key,
            rows_train=n_train,
            rows_valid=stop - start,
            seconds=0.0,
            warnings=0,
            predictions=None,
        )
        if fit.predictions is not None and fit.status == "ok":
            part = _scored(
                part,
                y[valid_rows[start:stop]],
                fit.predictions[start:stop],
                scorer,
                min_validation_rows,
            )
        results.append(part)
    return results


def score_baselines(
    y: Floats,
    train_rows: Rows,
    valid_rows: Rows,
    runs: Sequence[Run],
    *,
    fold: int,
    kind: Baseline,
    scorer: Scorer,
    min_validation_rows: int,
) -> list[FitResult]:
    """Each segment's baseline on one fold, and that of all segments together (``*``).

    A segment without training rows in the fold is scored with the constant of all segments.
    """
    blank = FitResult(ALL, BASELINE, "baseline", fold, "skipped", None, 0, 0)
    if len(train_rows) == 0:
        nothing = replace(blank, error="no training rows in this fold")
        return [nothing, *(replace(nothing, segment=run.key) for run in runs)]
    overall = constant(y[train_rows], kind)
    every = [Run(ALL, 0, len(y)), *runs]
    results = []
    for run, valid, train in zip(
        every, _parts(valid_rows, every), _parts(train_rows, every), strict=True
    ):
        own = y[train_rows[slice(*train)]]
        true = y[valid_rows[slice(*valid)]]
        value = constant(own, kind) if len(own) else overall
        part = replace(blank, segment=run.key, rows_train=len(own), rows_valid=len(true))
        predicted = np.full(len(true), value)
        results.append(_scored(part, true, predicted, scorer, min_validation_rows))
    return results


def _scored(
    part: FitResult, y: Floats, predicted: Floats, scorer: Scorer, min_validation_rows: int
) -> FitResult:
    reason = too_few_to_score(len(y), min_validation_rows)
    if reason is not None:
        return replace(part, status="skipped", score=None, error=reason)
    return replace(part, status="ok", score=score(scorer, y, predicted), error=None)


def _parts(rows: Rows, runs: Sequence[Run]) -> list[tuple[int, int]]:
    """Of ascending positions, the part that lies in each run."""
    starts = np.searchsorted(rows, [run.start for run in runs])
    stops = np.searchsorted(rows, [run.stop for run in runs])
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def _counts(rows: Rows, runs: Sequence[Run]) -> list[int]:
    return [stop - start for start, stop in _parts(rows, runs)]
