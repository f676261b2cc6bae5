"""Baselines, and pooled fits seen from each segment: scores that need no fit of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.models.entry import Prediction
from pipeline.training.eligible import too_few_to_score
from pipeline.training.matrix import Floats
from pipeline.training.result import BASELINE, FitResult, error_text
from pipeline.training.scorers import Scorer, UndefinedScore, as_objective, score, score_all
from pipeline.training.segments import ALL, Run

Rows = npt.NDArray[np.intp]
Baseline = Literal["mean", "median"]


def constant(y: Floats, kind: Baseline, weight: Floats | None = None) -> float:
    """The baseline's one prediction: mean or median of (n_samples,) training targets."""
    if kind == "mean":
        return float(np.mean(y) if weight is None else np.average(y, weights=weight))
    return float(np.median(y) if weight is None else _quantiles(y, (0.5,), weight)[0])


def baseline(y: Floats, kind: Baseline, scorer: Scorer, weight: Floats | None = None) -> Prediction:
    """What a baseline predicts for every row, from the training rows.

    Args:
        y: (n_samples,) targets of the training rows.
        kind: of a regression.
        scorer: the objective: of classes the shares of the rows, of quantiles those of the rows.
        weight: (n_samples,) with a sum above zero.
    """
    objective = as_objective(scorer)
    if objective.classes:
        counts = np.bincount(y.astype(np.intp), weight, minlength=len(objective.classes))
        return tuple((counts / counts.sum()).tolist())
    if objective.quantiles:
        return tuple(_quantiles(y, objective.quantiles, weight).tolist())
    return constant(y, kind, weight)


def _quantiles(y: Floats, levels: Sequence[float], weight: Floats | None) -> Floats:
    if weight is None:
        return np.quantile(y, levels)
    # The only method for which NumPy takes weights; without them it interpolates.
    return np.quantile(y, levels, weights=weight, method="inverted_cdf")


def score_by_segment(
    fit: FitResult,
    y: Floats,
    valid_rows: Rows,
    train_rows: Rows,
    runs: Sequence[Run],
    *,
    scorer: Scorer,
    min_validation_rows: int,
    weight: Floats | None = None,
) -> list[FitResult]:
    """A pooled fit's score on each segment's validation rows.

    Args:
        fit: with predictions for ``valid_rows``; of a failed fit each segment's part has failed.
        y: (n_samples,) target of all segments' rows.
        valid_rows: (n_valid,) ascending positions.
        train_rows: (n_train,) ascending positions.
        runs: where each segment's rows lie.
        weight: (n_samples,) of all segments' rows.

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
            also=(),
            predictions=None,
        )
        if fit.predictions is not None and fit.status == "ok":
            part = _scored(
                part,
                y[valid_rows[start:stop]],
                fit.predictions[start:stop],
                scorer,
                min_validation_rows,
                None if weight is None else weight[valid_rows[start:stop]],
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
    weight: Floats | None = None,
) -> list[FitResult]:
    """Each segment's baseline on one fold, and that of all segments together (``*``).

    A segment without training rows in the fold is scored with the constant of all segments.
    """
    blank = FitResult(ALL, BASELINE, "baseline", fold, "skipped", None, 0, 0)
    if _counts_nothing(weight, train_rows):
        nothing = replace(blank, error="no training rows in this fold")
        return [nothing, *(replace(nothing, segment=run.key) for run in runs)]
    overall = baseline(y[train_rows], kind, scorer, _taken(weight, train_rows))
    every = [Run(ALL, 0, len(y)), *runs]
    results = []
    for run, valid, train in zip(
        every, _parts(valid_rows, every), _parts(train_rows, every), strict=True
    ):
        own, valid_own = train_rows[slice(*train)], valid_rows[slice(*valid)]
        value = overall
        if not _counts_nothing(weight, own):
            value = baseline(y[own], kind, scorer, _taken(weight, own))
        part = replace(blank, segment=run.key, rows_train=len(own), rows_valid=len(valid_own))
        predicted = np.full((len(valid_own), *np.shape(value)), value)
        results.append(
            _scored(
                part,
                y[valid_own],
                predicted,
                scorer,
                min_validation_rows,
                _taken(weight, valid_own),
            )
        )
    return results


def baselines(
    y: Floats,
    runs: Sequence[Run],
    *,
    kind: Baseline,
    scorer: Scorer,
    weight: Floats | None = None,
) -> dict[str, Prediction]:
    """Each segment's baseline over all its training rows, and that of all of them (``*``)."""
    overall = baseline(y, kind, scorer, weight)
    found = {ALL: overall}
    for run in runs:
        own = np.arange(run.start, run.stop)
        found[run.key] = overall
        if not _counts_nothing(weight, own):
            found[run.key] = baseline(y[own], kind, scorer, _taken(weight, own))
    return found


def _taken(weight: Floats | None, rows: Rows) -> Floats | None:
    return None if weight is None else weight[rows]


def _counts_nothing(weight: Floats | None, rows: Rows) -> bool:
    return len(rows) == 0 or (weight is not None and not weight[rows].sum() > 0)


def _scored(
    part: FitResult,
    y: Floats,
    predicted: Floats,
    scorer: Scorer,
    min_validation_rows: int,
    weight: Floats | None,
) -> FitResult:
    reason = too_few_to_score(len(y), min_validation_rows)
    if reason is not None:
        return replace(part, status="skipped", score=None, error=reason)
    try:
        value = score(scorer, y, predicted, weight)
    except UndefinedScore as error:
        return replace(part, status="skipped", score=None, error=str(error))
    except ValueError as error:
        return replace(part, status="failed", score=None, error=error_text(error))
    also = tuple(score_all(scorer, y, predicted, weight).values())
    return replace(part, status="ok", score=value, also=also, error=None)


def _parts(rows: Rows, runs: Sequence[Run]) -> list[tuple[int, int]]:
    """Of ascending positions, the part that lies in each run."""
    starts = np.searchsorted(rows, [run.start for run in runs])
    stops = np.searchsorted(rows, [run.stop for run in runs])
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def _counts(rows: Rows, runs: Sequence[Run]) -> list[int]:
    return [stop - start for start, stop in _parts(rows, runs)]
