"""LightGBM and XGBoost: checked, seeded, on one core and saved like any other estimator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.config.preprocess import FeaturesConfig
from pipeline.config.train import CandidateConfig
from pipeline.errors import ConfigError
from pipeline.models.persistence import dump_model, load_model, save_model
from pipeline.training.candidates import build_estimator, check_candidates, estimator_class
from pipeline.training.fit import fit_and_score, fit_final
from pipeline.training.identity import fit_recipe

CLASSES = [("lightgbm", "LGBMRegressor"), ("xgboost", "XGBRegressor")]
FEATURES = FeaturesConfig(numeric=("distance", "wind", "empty"), categorical=("carrier", "dest"))


@pytest.mark.parametrize(("package", "name"), CLASSES)
def test_an_extra_is_fitted_and_its_saved_model_predicts_the_same(
    package: str, name: str, flights: tuple, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    pytest.importorskip(package)
    X, y = flights
    boost = CandidateConfig(
        estimator=f"{package}.{name}",
        params={"n_estimators": 20, "subsample": 0.5},
        impute="none",
        encode="target",
    )
    check_candidates({"boost": boost}, FEATURES)
    train, valid = np.arange(300), np.arange(300, 400)
    result = fit_and_score(
        X, y, boost, train, valid, name="boost", categorical=FEATURES.categorical
    )
    assert result.status == "ok" and result.score is not None and result.score < y[valid].std()
    models = [
        fit_final(X, y, boost, name="boost", categorical=FEATURES.categorical) for _ in range(2)
    ]
    assert dump_model(models[0]) == dump_model(models[1])
    digest = save_model(models[0], tmp_path / "m.skops")
    loaded = load_model(tmp_path / "m.skops", digest)
    np.testing.assert_array_equal(loaded.predict(X), models[0].predict(X))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("package", "name"), CLASSES)
def test_parameters_of_an_extra_are_known_by_name(package: str, name: str) -> None:
    pytest.importorskip(package)
    path = f"{package}.{name}"
    wrong = {
        "typo": CandidateConfig(estimator=path, params={"n_estimator": 5}),
        "cores": CandidateConfig(estimator=path, params={"n_jobs": 8}),
        "alias": CandidateConfig(estimator=path, params={"nthread": 8}),
    }
    with pytest.raises(ConfigError) as caught:
        check_candidates(wrong, FEATURES)
    typo, cores, alias = caught.value.message.splitlines()
    assert f"params.n_estimator: {name} has no such parameter. Nearest: n_estimators" in typo
    assert "params.n_jobs: leave it out" in cores
    assert f"params.nthread: {name} has no such parameter" in alias
    model = build_estimator(CandidateConfig(estimator=path), ["x"], [], seed=5)[-1]
    assert (model.random_state, model.n_jobs) == (5, 1)
    settings = dict(name="x", period=None, scorer="rmse", seed=0)
    assert fit_recipe(candidate=CandidateConfig(estimator=path), **settings)


def test_other_classes_of_an_extra_are_refused() -> None:
    pytest.importorskip("lightgbm")
    with pytest.raises(ConfigError, match=r"Got 'lightgbm\.Booster' instead"):
        estimator_class("lightgbm.Booster")


def test_an_extra_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xgboost", None)
    with pytest.raises(ConfigError) as caught:
        estimator_class("xgboost.XGBRegressor")
    assert "spark-ray-pipeline[xgboost]" in str(caught.value)
