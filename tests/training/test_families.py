"""What candidates share is computed once, and the results are those of fitting each alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from pipeline.config.train import CandidateConfig
from pipeline.training.blocks import to_blocks
from pipeline.training.families import families, ridge_predictions
from pipeline.training.fit import FitOptions, FoldData, fit_fold
from pipeline.training.objective import Objective
from pipeline.training.result import FitResult

RIDGE = "sklearn.linear_model.Ridge"
HISTOGRAM = "sklearn.ensemble.HistGradientBoostingRegressor"
GRADIENT = "sklearn.ensemble.GradientBoostingRegressor"


def candidate(estimator: str, params: dict[str, Any], **more: Any) -> CandidateConfig:
    return CandidateConfig(estimator=estimator, params=params, **more)


def histogram(iterations: int, **params: Any) -> CandidateConfig:
    given = {"max_iter": iterations, "early_stopping": False, "max_features": 0.5, **params}
    return candidate(HISTOGRAM, given, impute="none", encode="ordinal")


EVERY = {
    **{f"ridge-{i}": candidate(RIDGE, {"alpha": 10.0**i}, scale=True) for i in range(-1, 3)},
    "ridge-default": candidate(RIDGE, {}, scale=True),
    "ridge-alone": candidate(RIDGE, {"alpha": 7.0, "solver": "svd"}, scale=True),
    **{f"histogram-{n}": histogram(n) for n in (30, 5, 12)},
    **{
        f"gradient-{n}": candidate(GRADIENT, {"n_estimators": n, "subsample": 0.5}) for n in (10, 4)
    },
    "clipped": candidate(RIDGE, {"alpha": 3.0}, scale=True, clip=0.1),
}


ROWS = (np.arange(300), np.arange(310, 400))


def scores(flights: tuple, candidates: dict[str, CandidateConfig], **options: Any) -> list[float]:
    return [result.score for result in results(flights, candidates, **options)]


def results(
    flights: tuple, candidates: dict[str, CandidateConfig], **options: Any
) -> list[FitResult]:
    X, y = flights
    blocks = to_blocks(X, ["carrier", "dest"])
    data = FoldData(blocks, y, *ROWS)
    return fit_fold(data, candidates, FitOptions(segment='["a"]', seed=3, **options))


def test_shared_fits_equal_fits_made_alone(flights: tuple) -> None:
    alone = results(flights, EVERY, share=False, keep_predictions=True)
    shared = results(flights, EVERY, share=True, keep_predictions=True)
    assert [r.candidate for r in shared] == list(EVERY)
    assert {r.status for r in shared} == {"ok"}
    # They were made together indeed: the time of a family is spread over its members evenly.
    assert len({r.seconds for r in shared}) == len(families(EVERY, 300))
    for one, other in zip(alone, shared, strict=True):
        assert other.score == pytest.approx(one.score, rel=1e-12)
        np.testing.assert_allclose(other.predictions, one.predictions, rtol=1e-9)
    assert len({round(r.score, 9) for r in shared}) == len(EVERY) - 1  # ridge-0 is the default


def test_only_what_differs_in_one_number_is_shared() -> None:
    groups = [names for names, family in families(EVERY, 300) if family]
    assert groups == [
        ["ridge--1", "ridge-0", "ridge-1", "ridge-2", "ridge-default"],
        ["histogram-30", "histogram-5", "histogram-12"],
        ["gradient-10", "gradient-4"],
    ]
    stops = {f"h{n}": histogram(n, early_stopping="auto") for n in (5, 9)}
    assert len(families(stops, 10_000)) == 1
    assert len(families(stops, 10_001)) == 2  # rows are held back to stop by, and n matters then
    other = {"a": histogram(5), "b": histogram(9, learning_rate=0.2)}
    assert len(families(other, 300)) == 2


def test_a_family_that_fails_is_fitted_one_by_one(flights: tuple) -> None:
    both = {n: EVERY[n] for n in ("ridge-0", "ridge-1")}
    X, y = flights
    y = np.where(np.arange(400) == 5, np.inf, y)
    found = results((X, y), both)
    assert {r.status for r in found} == {"failed"}
    assert all("infinity" in (r.error or "") for r in found)


def test_members_made_before_change_nothing(flights: tuple) -> None:
    names = ("histogram-5", "histogram-12", "ridge-2")
    apart = [scores(flights, {name: EVERY[name]})[0] for name in names]
    assert scores(flights, {name: EVERY[name] for name in names}) == pytest.approx(apart, rel=1e-12)


CLASSES = ("a", "b", "c")
CLASSIFIERS = {
    **{
        f"histogram-{n}": candidate(
            "sklearn.ensemble.HistGradientBoostingClassifier",
            {"max_iter": n, "early_stopping": False, "class_weight": "balanced"},
            impute="none",
            encode="ordinal",
        )
        for n in (12, 4)
    },
    **{
        f"gradient-{n}": candidate(
            "sklearn.ensemble.GradientBoostingClassifier", {"n_estimators": n, "subsample": 0.5}
        )
        for n in (3, 8)
    },
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("known", [(0, 1, 2), (0, 2)], ids=["all classes", "one is missing"])
def test_stages_of_classifiers_equal_fits_made_alone(
    flights: tuple, known: tuple[int, ...], weighted: bool
) -> None:
    X, y = flights
    places = np.digitize(y, np.quantile(y, [0.3, 0.6]))
    codes = np.where(np.isin(places, known), places, 0).astype(float)
    codes[310:320] = 1.0  # validation rows may have a class that no training row has
    objective = Objective("classification", "log_loss", ("accuracy",), CLASSES)
    weight = np.linspace(0, 2, 400) if weighted else None
    data = FoldData(to_blocks(X, ["carrier", "dest"]), codes, *ROWS, weight)
    options = FitOptions(objective=objective, seed=3, keep_predictions=True)
    assert len(families(CLASSIFIERS, 300, objective)) == 2
    shared = fit_fold(data, CLASSIFIERS, options)
    alone = fit_fold(data, CLASSIFIERS, replace(options, share=False))
    assert shared == alone and {r.status for r in shared} == {"ok"}
    for one, other in zip(alone, shared, strict=True):
        np.testing.assert_array_equal(other.predictions, one.predictions)
        assert one.predictions is not None and (one.predictions[:, 1] > 0).any() == (1 in known)


def test_weights_go_into_shared_fits_and_scores(flights: tuple) -> None:
    X, y = flights
    weight = np.where(np.arange(400) % 3, 1.0, 4.0)
    data = FoldData(to_blocks(X, ["carrier", "dest"]), y, *ROWS, weight)
    options = FitOptions(objective=Objective(weight="w"), seed=3, keep_predictions=True)
    shared, alone = (
        fit_fold(data, EVERY, replace(options, share=share)) for share in (True, False)
    )
    for one, other in zip(alone, shared, strict=True):
        assert other.score == pytest.approx(one.score, rel=1e-9)
        np.testing.assert_allclose(other.predictions, one.predictions, rtol=1e-8)
    plain = results(flights, EVERY)
    assert all(a.score != b.score for a, b in zip(plain, shared, strict=True))


def test_models_of_quantiles_share_no_fit(flights: tuple) -> None:
    X, y = flights
    both = {name: EVERY[name] for name in ("histogram-5", "histogram-12")}
    objective = Objective("quantile", "pinball", quantiles=(0.1, 0.9))
    assert len(families(both, 300, objective)) == 2
    data = FoldData(to_blocks(X, ["carrier", "dest"]), y, *ROWS)
    shared, alone = (
        fit_fold(data, both, FitOptions(objective=objective, share=share))
        for share in (True, False)
    )
    assert shared == alone and {r.status for r in shared} == {"ok"}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [True, False])
def test_ridge_regressions_equal_those_of_scikit_learn(intercept: bool, weighted: bool) -> None:
    numbers = np.random.default_rng(0)
    X, y = numbers.normal(size=(200, 30)) + 5, numbers.normal(size=200) + 3
    alphas = [1e-3, 1.0, 1e4]
    weight = numbers.integers(0, 4, 150).astype(float) if weighted else None
    found = ridge_predictions(
        X[:150], y[:150], X[150:], alphas, fit_intercept=intercept, weight=weight
    )
    for alpha, predicted in zip(alphas, found, strict=True):
        model = Ridge(alpha=alpha, fit_intercept=intercept).fit(X[:150], y[:150], weight)
        np.testing.assert_allclose(predicted, model.predict(X[150:]), rtol=1e-9)
    with pytest.raises(ValueError, match="more features"):
        ridge_predictions(X[:20], y[:20], X, alphas, fit_intercept=intercept)
