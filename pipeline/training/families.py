"""Candidates whose fits are one computation: it is done once, and each gets what it would have.

- Ridge regressions that differ in ``alpha`` alone share the centred matrix and its Gram matrix;
  what is left for each is to solve a system of (n_features, n_features).
- Boosting that differs in the number of its iterations alone: the short ones are the first stages
  of the longest, for each iteration depends on those before it and on nothing else. Their seed
  must be one, too: see :func:`seed_name`.

Tests compare the scores with those of fits made one by one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from sklearn.base import BaseEstimator

from pipeline.config.train import CandidateConfig
from pipeline.training.matrix import Floats
from pipeline.training.objective import PLAIN, Objective, aligned

_RIDGE = "sklearn.linear_model.Ridge"
_RIDGE_PARAMS = frozenset({"alpha", "fit_intercept", "solver"})
_RIDGE_SOLVERS = ("auto", "cholesky")
_SKLEARN_ALPHA = 1.0

_STAGES = {
    "sklearn.ensemble.HistGradientBoostingRegressor": ("max_iter", 100),
    "sklearn.ensemble.HistGradientBoostingClassifier": ("max_iter", 100),
    "sklearn.ensemble.GradientBoostingRegressor": ("n_estimators", 100),
    "sklearn.ensemble.GradientBoostingClassifier": ("n_estimators", 100),
}
"""The parameter that counts the iterations, and scikit-learn's default of it."""

_AUTO_STOPS_ABOVE = 10_000
"""Rows above which histogram boosting with ``early_stopping: auto`` holds some of them back."""


@dataclass(frozen=True)
class Family:
    """Candidates in the order of their numbers, and the parameter in which they differ."""

    parameter: str
    names: tuple[str, ...]
    values: tuple[float, ...]

    @property
    def staged(self) -> bool:
        return self.parameter != "alpha"


def families(
    candidates: Mapping[str, CandidateConfig], rows_train: int, objective: Objective = PLAIN
) -> list[tuple[list[str], Family | None]]:
    """Group candidates; each name is in one group, and a group of one has no family.

    Of quantiles all are alone: each is several models, side by side.
    """
    groups: dict[str, list[str]] = {}
    for name, candidate in candidates.items():
        key = None if objective.quantiles else _family_key(candidate, rows_train)
        groups.setdefault(key or f"alone {name}", []).append(name)
    return [
        (names, _family(names, candidates) if len(names) > 1 else None) for names in groups.values()
    ]


def _family(names: list[str], candidates: Mapping[str, CandidateConfig]) -> Family:
    parameter, _ = _axis(candidates[names[0]])
    values = tuple(_value(candidates[name]) for name in names)
    return Family(parameter, tuple(names), values)


def _axis(candidate: CandidateConfig) -> tuple[str, float]:
    if candidate.estimator == _RIDGE:
        return "alpha", _SKLEARN_ALPHA
    return _STAGES[candidate.estimator]


def _value(candidate: CandidateConfig) -> float:
    """The number in which the candidate differs from its family; NaN where it is no number."""
    value = candidate.params.get(*_axis(candidate))
    return float(value) if isinstance(value, (int, float)) else math.nan


def _family_key(candidate: CandidateConfig, rows_train: int) -> str | None:
    """Equal for candidates of one family; None for one that cannot have any."""
    if _is_plain_ridge(candidate) or _is_staged(candidate, rows_train):
        return _without(candidate, _axis(candidate)[0])
    return None


def _is_plain_ridge(candidate: CandidateConfig) -> bool:
    params = candidate.params
    return (
        candidate.estimator == _RIDGE
        and params.keys() <= _RIDGE_PARAMS
        and params.get("solver", "auto") in _RIDGE_SOLVERS
        and _value(candidate) > 0
    )


def _is_staged(candidate: CandidateConfig, rows_train: int) -> bool:
    if candidate.estimator not in _STAGES or not _value(candidate) > 0:
        return False
    if "Hist" in candidate.estimator:
        stops = candidate.params.get("early_stopping", "auto")
        return stops is False or (stops == "auto" and rows_train <= _AUTO_STOPS_ABOVE)
    return candidate.params.get("n_iter_no_change") is None


def _without(candidate: CandidateConfig, parameter: str) -> str:
    # Without defaults: a setting that a later release adds must not change the seeds.
    dump = candidate.model_dump(mode="json", exclude_defaults=True)
    dump["params"] = {k: v for k, v in dump.get("params", {}).items() if k != parameter}
    return json.dumps(dump, sort_keys=True)


def seed_name(name: str, candidate: CandidateConfig) -> str:
    """What stands for the candidate in the seed of its fits.

    Its name; for boosting its configuration without the number of iterations, so that a short one
    is the beginning of a long one whether or not they are fitted together.
    """
    if candidate.estimator in _STAGES:
        return _without(candidate, _STAGES[candidate.estimator][0])
    return name


def ridge_predictions(
    train: Floats,
    y: Floats,
    valid: Floats,
    alphas: Sequence[float],
    *,
    fit_intercept: bool,
    weight: Floats | None = None,
) -> list[Floats]:
    """What ``Ridge(alpha).fit(train, y, weight).predict(valid)`` gives for each alpha.

    The way of scikit-learn's ``cholesky`` solver for dense matrices, which ``auto`` stands for.

    Args:
        train: (n_train, n_features).
        y: (n_train,).
        valid: (n_valid, n_features).
        weight: (n_train,) with a sum above zero.

    Raises:
        ValueError: there are more features than rows; scikit-learn then solves another system.
        LinAlgError: the matrix is singular; scikit-learn then takes another solver.
    """
    rows, width = train.shape
    if width > rows:
        raise ValueError("more features than rows")
    offset, mean = np.zeros(width), 0.0
    if fit_intercept and weight is None:
        offset, mean = train.mean(axis=0), float(y.mean())
    elif fit_intercept:
        offset, mean = np.average(train, axis=0, weights=weight), np.average(y, weights=weight)
    centred, residual = train - offset, y - mean
    if weight is not None:
        root = np.sqrt(weight)
        centred, residual = centred * root[:, None], residual * root
    gram, moment = centred.T @ centred, centred.T @ residual
    found = []
    for alpha in alphas:
        system = gram.copy()
        system.flat[:: width + 1] += alpha
        coefficients = scipy.linalg.solve(system, moment, assume_a="pos", overwrite_a=True)
        found.append(valid @ coefficients + (mean - offset @ coefficients))
    return found


def staged_predictions(
    model: BaseEstimator, valid: Floats, stages: Iterable[float], classes: tuple[str, ...] = ()
) -> list[Floats]:
    """What models of so many iterations predict, from the fitted one of the most.

    Args:
        model: a regressor, or a classifier that knows its classes as text.
        valid: (n_valid, n_features).
        stages: numbers of iterations.
        classes: all classes; of a classifier.

    Returns:
        For each stage what :func:`~pipeline.training.objective.outputs` gives.
    """
    wanted = [int(stage) for stage in stages]
    say = model.staged_predict_proba if classes else model.staged_predict
    kept = {}
    for number, predicted in enumerate(say(valid), start=1):
        if number in wanted:
            found = aligned(predicted, model.classes_, classes) if classes else predicted
            kept[number] = np.array(found, dtype=np.float64)
    return [kept[stage] for stage in wanted]
