"""Scores of predictions, by scikit-learn's names or by the pipeline's own for errors."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import (
    brier_score_loss,
    cluster,
    get_scorer,
    get_scorer_names,
    mean_pinball_loss,
    roc_auc_score,
)
from sklearn.metrics import log_loss as sklearn_log_loss

from pipeline.config.train import Task, TrainConfig
from pipeline.errors import ConfigError
from pipeline.training.objective import Floats, Objective, greater_is_better

__all__ = ["Scorer", "as_objective", "check_scorers", "greater_is_better", "score", "score_all"]

Weights = Floats | None

Scorer = Objective | Literal["rmse", "mae"]
"""An objective; of a plain regression the name of its error will do."""


class UndefinedScore(ValueError):
    """The rows allow no such score: one class alone, no weight."""


def as_objective(scorer: Scorer) -> Objective:
    return scorer if isinstance(scorer, Objective) else Objective(scorer=scorer)


def score(scorer: Scorer, y: Floats, predicted: Floats, weight: Weights = None) -> float:
    """The score that decides.

    Args:
        scorer: the objective, or ``rmse`` or ``mae``.
        y: (n_samples,) true values; of classes their positions in ``objective.classes``.
        predicted: as :func:`~pipeline.training.objective.outputs` gives it.
        weight: (n_samples,) at least 0.

    Raises:
        UndefinedScore: the rows allow no such score.
        ValueError: the scorer refuses the values, such as negative ones under a logarithm.
    """
    objective = as_objective(scorer)
    return _score(objective.scorer, objective, y, predicted, weight)


def score_all(
    scorer: Scorer, y: Floats, predicted: Floats, weight: Weights = None
) -> dict[str, float | None]:
    """The scores kept beside the one that decides, by name; None where the rows allow none."""
    objective = as_objective(scorer)
    found: dict[str, float | None] = {}
    for name in objective.also:
        try:
            found[name] = _score(name, objective, y, predicted, weight)
        except ValueError:
            found[name] = None
    return found


def check_scorers(train: TrainConfig, classes: int | None = None) -> None:
    """Refuse scorers that do not fit the task.

    Args:
        train: the section.
        classes: how many classes the target has, once it is known.

    Raises:
        ConfigError: with every such scorer.
    """
    lines = list(_problems(train, classes))
    if lines:
        raise ConfigError("\n".join(lines))


def _problems(train: TrainConfig, classes: int | None) -> Iterator[str]:
    kind = (train.task, classes, len(train.quantiles))
    for name in (train.scorer, *train.also_score):
        where = f"train.{'scorer' if name == train.scorer else 'also_score'}"
        fitting = _fitting(*kind, weighted=False)
        if name not in fitting:
            near = difflib.get_close_matches(name, fitting, n=3)
            of = f"{train.task} of {classes} classes" if classes else train.task
            hint = f"Nearest: {', '.join(near)}." if near else f"Allowed: {', '.join(fitting)}."
            yield f"{where}: must be a scorer for {of}. Got {name!r} instead. {hint}"
        elif train.weight is not None and name not in _fitting(*kind, weighted=True):
            yield (
                f"{where}: {name!r} takes no weights of rows. "
                "Choose another scorer, or leave train.weight out."
            )


def _fitting(task: Task, classes: int | None, quantiles: int, *, weighted: bool) -> list[str]:
    """The scorers that give a number for a few rows of the task."""
    counts = (2, 3) if classes is None else (classes,)
    trials = [_trial(task, n, quantiles) for n in counts]
    names = [*_OWN[task]]
    if task != "quantile":
        # Those of clusterings take any labels, and mean nothing here.
        names += [name for name in get_scorer_names() if name not in cluster.__all__]
    if task == "classification":
        taken = _fitting("regression", None, 0, weighted=False)
        names = [name for name in names if name not in taken]
    return [name for name in names if any(_works(name, *trial, weighted) for trial in trials)]


def _trial(task: Task, classes: int, quantiles: int) -> tuple[Objective, Floats, Floats]:
    if task == "regression":
        return Objective(), np.arange(1.0, 7.0), np.array([1.5, 1.0, 3.0, 4.0, 5.5, 6.0])
    if task == "quantile":
        levels = tuple((np.arange(quantiles) + 0.5) / quantiles)
        return Objective(task, quantiles=levels), np.ones(6), np.ones((6, quantiles))
    y = np.repeat(np.arange(classes, dtype=np.float64), 2)
    likely = np.eye(classes)[y.astype(int)] + 0.5
    names = tuple(map(str, range(classes)))
    return Objective(task, classes=names), y, likely / likely.sum(axis=1, keepdims=True)


def _works(name: str, objective: Objective, y: Floats, predicted: Floats, weighted: bool) -> bool:
    try:
        _score(name, objective, y, predicted, np.ones(len(y)) if weighted else None)
    except (TypeError, ValueError, IndexError, AttributeError):
        return False
    return True


def _score(name: str, objective: Objective, y: Floats, predicted: Floats, weight: Weights) -> float:
    if weight is not None and not weight.sum() > 0:
        raise UndefinedScore("the validation rows have no weight")
    own = _OWN[objective.task].get(name) or _ALIGNED.get(name)
    if own is not None:
        return float(own(objective, y, predicted, weight))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if _ranks(name):
            warnings.simplefilter("error", UndefinedMetricWarning)
        try:
            found = float(get_scorer(name)(_given(objective, predicted), y, y, **_weights(weight)))
        except UndefinedMetricWarning as error:
            raise UndefinedScore(f"{name}: {error}") from error
    if not np.isfinite(found):
        raise UndefinedScore(f"{name} is not defined on the validation rows")
    return found


def _ranks(name: str) -> bool:
    # Of precision and the like the warning says that 0 stands for 0 / 0, which is a fair score.
    return name.startswith(("roc_auc", "average_precision"))


def _weights(weight: Weights) -> dict[str, Floats]:
    return {} if weight is None else {"sample_weight": weight}


def _rmse(_: Objective, y: Floats, predicted: Floats, weight: Weights) -> float:
    error = predicted - y
    return float(np.sqrt(_mean(error * error, weight)))


def _mae(_: Objective, y: Floats, predicted: Floats, weight: Weights) -> float:
    return _mean(np.abs(predicted - y), weight)


def _mean(values: Floats, weight: Weights) -> float:
    return float(np.mean(values) if weight is None else np.average(values, weights=weight))


def _log_loss(objective: Objective, y: Floats, predicted: Floats, weight: Weights) -> float:
    labels = range(len(objective.classes))
    return float(sklearn_log_loss(y, predicted, labels=labels, sample_weight=weight))


def _brier(objective: Objective, y: Floats, predicted: Floats, weight: Weights) -> float:
    labels = range(len(objective.classes))
    return float(brier_score_loss(y, predicted, labels=labels, sample_weight=weight))


def _roc_auc_ovr(objective: Objective, y: Floats, predicted: Floats, weight: Weights) -> float:
    """Macro mean over the classes that some, but not all, rows have; all, where each occurs."""
    found = [
        roc_auc_score(y == k, predicted[:, k], sample_weight=weight)
        for k in range(len(objective.classes))
        if 0 < np.count_nonzero(y == k) < len(y)
    ]
    if not found:
        raise UndefinedScore("roc_auc_ovr is not defined where one class occurs alone")
    return float(np.mean(found))


def _pinball(objective: Objective, y: Floats, predicted: Floats, weight: Weights) -> float:
    """Mean over the quantiles of the pinball loss, in the target's unit."""
    losses = [
        mean_pinball_loss(y, predicted[:, i], alpha=quantile, sample_weight=weight)
        for i, quantile in enumerate(objective.quantiles)
    ]
    return float(np.mean(losses))


_Metric = Callable[[Objective, Floats, Floats, Any], float]
_OWN: dict[Task, dict[str, _Metric]] = {
    "regression": {"rmse": _rmse, "mae": _mae},
    "classification": {"log_loss": _log_loss},
    "quantile": {"pinball": _pinball},
}
_ALIGNED: dict[str, _Metric] = {
    # As scikit-learn's own, but told all classes: the rows of a fold may lack one.
    "neg_log_loss": lambda *given: -_log_loss(*given),
    "neg_brier_score": lambda *given: -_brier(*given),
    "roc_auc_ovr": _roc_auc_ovr,
}


def _given(objective: Objective, predicted: Floats) -> BaseEstimator:
    if objective.task == "classification":
        return _GivenClasses(predicted)
    return _GivenNumbers(predicted)


class _GivenNumbers(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """scikit-learn's scorers ask a model; this one answers what was predicted before."""

    def __init__(self, predicted: Floats) -> None:
        self.predicted = predicted

    def fit(self, *_: object) -> _GivenNumbers:
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, _: object) -> Floats:
        return self.predicted


class _GivenClasses(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The same for probabilities; the class predicted is the likeliest, of equal ones the first."""

    def __init__(self, predicted: Floats) -> None:
        self.predicted = predicted
        self.classes_ = np.arange(predicted.shape[1], dtype=np.float64)

    def fit(self, *_: object) -> _GivenClasses:
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, _: object) -> Floats:
        found: Floats = self.predicted.argmax(axis=1).astype(np.float64)
        return found

    def predict_proba(self, _: object) -> Floats:
        return self.predicted
