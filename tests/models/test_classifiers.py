"""Classifiers and models of quantiles are saved and loaded whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config.train import CandidateConfig
from pipeline.models.constant import constant_model
from pipeline.models.entry import ModelEntry
from pipeline.models.persistence import dump_model, load_model, save_model, sha256
from pipeline.training.fit import fit_final
from pipeline.training.objective import Objective, outputs

CLASSIFIERS = {
    "discriminant_analysis.LinearDiscriminantAnalysis": {},
    "dummy.DummyClassifier": {},
    "ensemble.AdaBoostClassifier": {"n_estimators": 3},
    "ensemble.BaggingClassifier": {"n_estimators": 3},
    "ensemble.ExtraTreesClassifier": {"n_estimators": 5},
    "ensemble.GradientBoostingClassifier": {"n_estimators": 5},
    "ensemble.HistGradientBoostingClassifier": {"max_iter": 20},
    "ensemble.RandomForestClassifier": {"n_estimators": 5},
    "gaussian_process.GaussianProcessClassifier": {},
    "linear_model.LogisticRegression": {},
    "linear_model.SGDClassifier": {"loss": "log_loss"},
    "naive_bayes.GaussianNB": {},
    "neighbors.KNeighborsClassifier": {},
    "neural_network.MLPClassifier": {"max_iter": 300, "hidden_layer_sizes": (4,)},
    "tree.DecisionTreeClassifier": {},
}
QUANTILES = {
    "ensemble.GradientBoostingRegressor": {"n_estimators": 5},
    "ensemble.HistGradientBoostingRegressor": {"max_iter": 10},
    "linear_model.QuantileRegressor": {},
}


@pytest.fixture
def rows() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "x": np.where(rng.random(120) < 0.1, np.nan, rng.normal(size=120)),
            "c": np.array(rng.choice(["a", "é", None], 120), dtype=object),
        }
    )
    return X, np.digitize(np.nan_to_num(X["x"].to_numpy()), [-0.5, 0.5]).astype(float)


@pytest.mark.parametrize("classes", [("no", "yes"), ("high", "low", "mid")])
@pytest.mark.parametrize("estimator", CLASSIFIERS)
@pytest.mark.filterwarnings("ignore")
def test_a_classifier_says_the_same_after_saving(
    estimator: str, classes: tuple[str, ...], rows: tuple, tmp_path: Path
) -> None:
    X, y = rows
    y = np.minimum(y, len(classes) - 1)
    objective = Objective("classification", "log_loss", classes=classes)
    _check(estimator, CLASSIFIERS[estimator], objective, X, y, tmp_path)


@pytest.mark.parametrize("estimator", QUANTILES)
def test_a_model_of_quantiles_says_the_same_after_saving(
    estimator: str, rows: tuple, tmp_path: Path
) -> None:
    objective = Objective("quantile", "pinball", quantiles=(0.1, 0.5, 0.9))
    found = _check(estimator, QUANTILES[estimator], objective, *rows, tmp_path)
    assert (np.diff(found, axis=1) >= 0).all()


def test_a_baseline_gives_the_shares_of_classes_and_quantiles_that_do_not_cross() -> None:
    model = constant_model((0.2, 0.0, 0.8), ("a", "b", "c"))
    said = outputs(model, np.zeros((3, 1)), ("a", "b", "c", "d"), ())
    np.testing.assert_array_equal(said, [[0.2, 0.0, 0.8, 0.0]] * 3)
    crossed = constant_model((2.0, 1.0))
    quantiles = outputs(crossed, np.zeros((3, 1)), (), (0.1, 0.9))
    np.testing.assert_array_equal(quantiles, [[1.0, 2.0]] * 3)


def test_an_entry_survives_its_record_and_that_of_a_regression_is_as_it_was() -> None:
    about = {"segment": "*", "candidate": "b", "scope": "baseline", "fingerprint": "f"}
    entry = ModelEntry(**about, created_at="now", constant=(0.5, 0.5), classes=("a", "b"))
    as_json = {**entry.record(), "constant": [0.5, 0.5], "classes": ["a", "b"]}
    assert ModelEntry(**as_json) == entry
    plain = ModelEntry(**about, created_at="now", constant=1.0)
    assert not {"classes", "quantiles"} & set(plain.record())


def _check(
    estimator: str,
    params: dict,
    objective: Objective,
    X: pd.DataFrame,
    y: np.ndarray,
    folder: Path,
) -> np.ndarray:
    candidate = CandidateConfig(estimator=f"sklearn.{estimator}", params=params)
    about = {"name": "m", "categorical": ("c",), "objective": objective}
    model = fit_final(X, y, candidate, **about)
    digest = save_model(model, folder / "m.skops")
    loaded = load_model(folder / "m.skops", digest)
    said = outputs(model, X, objective.classes, objective.quantiles)
    assert said.shape == (len(X), len(objective.classes) or len(objective.quantiles))
    np.testing.assert_array_equal(outputs(loaded, X, objective.classes, objective.quantiles), said)
    assert sha256(dump_model(fit_final(X, y, candidate, **about))) == digest
    return said
