"""Scorers: scikit-learn's, by name, on what was predicted; and which fit a task."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer, mean_pinball_loss

from pipeline.config.train import TrainConfig
from pipeline.errors import ConfigError
from pipeline.training.objective import Objective, greater_is_better
from pipeline.training.scorers import UndefinedScore, check_scorers, score, score_all

CANDIDATES = {"a": {"estimator": "sklearn.linear_model.Ridge"}}
NAMES = ["accuracy", "balanced_accuracy", "neg_log_loss", "neg_brier_score", "f1_macro"]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("classes", "more"), [(2, ["roc_auc", "f1", "average_precision"]), (3, ["roc_auc_ovr"])]
)
def test_a_score_is_what_scikit_learns_scorer_says_of_the_model(
    classes: int, more: list[str], weighted: bool
) -> None:
    rng = np.random.default_rng(classes)
    X = rng.normal(size=(200, 3))
    y = np.digitize(X[:, 0] + rng.normal(size=200), [0.0, 0.8][: classes - 1]).astype(float)
    weight = rng.random(200) if weighted else None
    model = LogisticRegression().fit(X, y)
    probabilities = model.predict_proba(X)
    for name in NAMES + more:
        objective = Objective("classification", name, classes=tuple("abc"[:classes]))
        expected = get_scorer(name)(model, X, y, sample_weight=weight)
        assert score(objective, y, probabilities, weight) == pytest.approx(expected, rel=1e-12)


def test_a_fold_may_lack_a_class() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3]])
    y = np.array([0.0, 1.0, 1.0])  # the third class does not occur
    objective = Objective("classification", "log_loss", ("roc_auc_ovr",), ("a", "b", "c"))
    assert score(objective, y, p) == pytest.approx(-np.log([0.7, 0.5, 0.6]).mean())
    assert score_all(objective, y, p) == {"roc_auc_ovr": 1.0}
    unseen = np.array([[1.0, 0.0, 0.0]])  # a model that never saw the true class
    assert score(objective, np.array([1.0]), unseen) == pytest.approx(36.04, abs=0.01)


def test_a_score_that_the_rows_do_not_allow_is_undefined() -> None:
    objective = Objective(
        "classification", "roc_auc", ("average_precision", "accuracy"), ("a", "b")
    )
    p = np.array([[0.4, 0.6], [0.3, 0.7]])
    with pytest.raises(UndefinedScore, match="roc_auc"):
        score(objective, np.ones(2), p)
    assert score_all(objective, np.ones(2), p)["accuracy"] == 1.0
    with pytest.raises(UndefinedScore, match="no weight"):
        score("rmse", np.ones(2), np.ones(2), np.zeros(2))


def test_errors_of_numbers_are_weighted_means() -> None:
    y, predicted = np.array([0.0, 0.0]), np.array([1.0, 3.0])
    assert score("rmse", y, predicted) == np.sqrt(5.0)
    assert score("mae", y, predicted, np.array([3.0, 1.0])) == 1.5
    assert score("rmse", y, predicted, np.array([3.0, 1.0])) == np.sqrt(3.0)
    assert score(Objective(scorer="r2"), np.arange(2.0), np.arange(2.0)) == 1.0


def test_pinball_is_the_mean_over_the_quantiles() -> None:
    y, predicted = np.array([1.0, 5.0]), np.array([[0.0, 2.0], [1.0, 9.0]])
    objective = Objective("quantile", "pinball", quantiles=(0.1, 0.9))
    expected = [mean_pinball_loss(y, predicted[:, i], alpha=a) for i, a in enumerate((0.1, 0.9))]
    assert score(objective, y, predicted) == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"scorer": "accuracy"}, "train.scorer: must be a scorer for regression. Got 'accuracy'"),
        ({"scorer": "neg_mean_squred_error"}, "Nearest: neg_mean_squared_error"),
        ({"also_score": ("adjusted_rand_score",)}, "train.also_score: must be a scorer"),
        ({"task": "classification", "scorer": "rmse"}, "for classification. Got 'rmse'"),
        ({"task": "classification", "scorer": "r2"}, "for classification. Got 'r2'"),
        ({"task": "quantile", "quantiles": (0.5,), "scorer": "r2"}, "for quantile. Got 'r2'"),
        ({"scorer": "neg_max_error", "weight": "w"}, "takes no weights of rows"),
    ],
)
def test_a_scorer_that_does_not_fit_is_refused(section: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_scorers(TrainConfig(candidates=CANDIDATES, **section))
    assert message in str(caught.value)


def test_a_scorer_for_two_classes_is_refused_for_three() -> None:
    train = TrainConfig(candidates=CANDIDATES, task="classification", scorer="f1")
    check_scorers(train, 2)
    with pytest.raises(ConfigError, match="classification of 3 classes"):
        check_scorers(train, 3)


def test_the_task_has_its_own_default_and_errors_are_better_when_less() -> None:
    assert TrainConfig(candidates=CANDIDATES).scorer == "rmse"
    assert TrainConfig(candidates=CANDIDATES, task="classification").scorer == "log_loss"
    assert not greater_is_better("log_loss") and greater_is_better("neg_log_loss")
    for wrong in ({"task": "quantile"}, {"quantiles": (0.5,)}, {"also_score": ("rmse",)}):
        with pytest.raises(ValueError, match="Got"):
            TrainConfig(candidates=CANDIDATES, **wrong)
