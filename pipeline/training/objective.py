"""What models predict and how it is scored: the task, its scorers, its classes or quantiles."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from pipeline.config.train import Task, TrainConfig

Floats = npt.NDArray[np.float64]

ERRORS = frozenset({"rmse", "mae", "log_loss", "pinball"})
"""The pipeline's own short names. They are errors, of which less is better; of scikit-learn's
scorers more is better."""


def greater_is_better(scorer: str) -> bool:
    """Whether more of a score is better."""
    return scorer not in ERRORS


@dataclass(frozen=True)
class Objective:
    """The task of a training run.

    Attributes:
        scorer: the one that decides.
        also: others, kept beside it.
        classes: all classes of the training rows, as text, sorted; of classification only.
        quantiles: ascending; of quantile only.
        weight: the column of the rows' weights.
    """

    task: Task = "regression"
    scorer: str = "rmse"
    also: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = ()
    weight: str | None = None

    @classmethod
    def of(cls, train: TrainConfig, classes: tuple[str, ...] = ()) -> Objective:
        return cls(
            train.task, train.scorer, train.also_score, classes, train.quantiles, train.weight
        )

    @property
    def identity(self) -> str:
        """Text that differs where a fit or its scores would."""
        if self == Objective(scorer=self.scorer):
            return self.scorer
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)


PLAIN = Objective()
"""A regression without weights, by its RMSE."""


def outputs(
    model: BaseEstimator, X: object, classes: tuple[str, ...], quantiles: tuple[float, ...]
) -> Floats:
    """What a fitted model says of rows, in the shape of its task.

    Args:
        model: fitted by the pipeline; a classifier knows its classes as text.
        X: (n_samples, n_features).
        classes: all classes; a class that the model never saw has the probability 0.
        quantiles: all quantiles. A row's values are sorted, so that quantiles do not cross
            (Chernozhukov, Fernández-Val and Galichon, Econometrica 78, 2010).

    Returns:
        (n_samples,) numbers, (n_samples, n_classes) probabilities or (n_samples, n_quantiles).
    """
    if classes:
        return aligned(model.predict_proba(X), model.classes_, classes)
    if quantiles:
        say = model.transform if hasattr(model, "transform") else model.predict
        return np.sort(np.asarray(say(X), dtype=np.float64).reshape(-1, len(quantiles)), axis=1)
    return np.asarray(model.predict(X), dtype=np.float64).reshape(-1)


def aligned(found: Floats, known: npt.NDArray[np.str_], classes: tuple[str, ...]) -> Floats:
    """(n_samples, n_classes) probabilities of all classes, from those that a model knows."""
    every = np.zeros((len(found), len(classes)))
    places = {name: place for place, name in enumerate(classes)}
    every[:, [places[str(name)] for name in known]] = found
    return every
