"""Candidates: what is allowed, and how features are prepared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.config.preprocess import FeaturesConfig
from pipeline.config.train import CandidateConfig
from pipeline.errors import ConfigError
from pipeline.training.blocks import FoldMatrices, clip_target, to_blocks
from pipeline.training.candidates import (
    build_estimator,
    check_candidates,
    derive_seed,
    estimator_class,
    preparation,
)

FEATURES = FeaturesConfig(numeric=("distance", "wind", "empty"), categorical=("carrier", "dest"))
HGB = "sklearn.ensemble.HistGradientBoostingRegressor"


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "builtins.eval",
        "sklearn.utils.os.System",
        "sklearn.linear_model.LogisticRegression",
        "sklearn.datasets.load_iris",
        "sklearn.tests.random_seed.Fixture",
        "sklearn.linear_model._ridge.Ridge",
        "sklearn.linear_model.ABC",
        "sklearn.base.RegressorMixin",
        "sklearn.ensemble.BaseEnsemble",
    ],
)
def test_only_regressors_of_named_packages_are_imported(path: str) -> None:
    with pytest.raises(ConfigError, match="estimator must be a regressor"):
        estimator_class(path)


def test_a_misspelled_estimator_gets_the_nearest_name() -> None:
    with pytest.raises(ConfigError) as caught:
        estimator_class("sklearn.linear_model.Rigde")
    assert "Did you mean sklearn.linear_model.Ridge?" in str(caught.value)


def test_all_problems_of_all_candidates_are_told_at_once() -> None:
    ridge = "sklearn.linear_model.Ridge"
    bad = {
        "typo": CandidateConfig(estimator=ridge, params={"alhpa": 1.0}),
        "text": CandidateConfig(estimator=ridge, params={"alpha": "big"}),
        "jobs": CandidateConfig(
            estimator="sklearn.ensemble.RandomForestRegressor", params={"n_jobs": 4}
        ),
        "column": CandidateConfig(estimator=ridge, features=("distnace",)),
        "nothing": CandidateConfig(estimator=ridge, features=("dest",), encode="none"),
        "class": CandidateConfig(estimator="sklearn.tree.DecisionTreeClassifier"),
        "needs": CandidateConfig(estimator="sklearn.ensemble.VotingRegressor"),
    }
    with pytest.raises(ConfigError) as caught:
        check_candidates(bad, FEATURES)
    lines = caught.value.message.splitlines()
    assert len(lines) == 7
    text = caught.value.message
    assert "train.candidates.typo.params.alhpa: Ridge has no such parameter. Nearest: alpha" in text
    assert "'alpha' parameter of Ridge must be" in text
    assert "Did you mean 'distance'?" in text
    assert "train.candidates.jobs.params.n_jobs: leave it out" in text
    assert "Did you mean sklearn.tree.DecisionTreeRegressor?" in text
    assert "train.candidates.needs.params:" in text


def test_good_candidates_pass(candidates: dict[str, CandidateConfig]) -> None:
    tuples = CandidateConfig(
        estimator="sklearn.neural_network.MLPRegressor", params={"hidden_layer_sizes": (8, 4)}
    )
    grid = CandidateConfig(estimator="sklearn.linear_model.RidgeCV", params={"alphas": (0.1, 1.0)})
    check_candidates({**candidates, "net": tuples, "grid": grid}, FEATURES)


def test_arrays_are_prepared_as_the_saved_pipeline_prepares_frames(
    flights: tuple, candidates: dict[str, CandidateConfig]
) -> None:
    X, y = flights
    mean = CandidateConfig(
        estimator="sklearn.linear_model.Ridge", scale=True, encode="target", clip=0.1
    )
    few = CandidateConfig(
        estimator="sklearn.linear_model.Ridge",
        features=("dest", "wind", "carrier"),
        impute="mean",
        scale=True,
        max_categories=5,
    )
    blocks = to_blocks(X, FEATURES.categorical)
    train, valid = np.arange(0, 250), np.arange(250, 400)
    for candidate in (*candidates.values(), few, mean):
        wanted = preparation(candidate, FEATURES.numeric, FEATURES.categorical, seed=4)
        transformer = wanted.transformer()
        expected = (
            transformer.fit_transform(X.iloc[train], clip_target(y[train], wanted.clip)),
            transformer.transform(X.iloc[valid]),
        )
        matrices = FoldMatrices(blocks.take(train), blocks.take(valid), y[train])
        found = matrices.prepare(wanted)
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-12, atol=1e-12)


def test_unseen_and_missing_categories_are_encoded_as_declared() -> None:
    X = pd.DataFrame({"c": np.array(["a", "b", None, "a"], dtype=object)})
    new = pd.DataFrame({"c": np.array(["zz", None, "b"], dtype=object)})
    cases = {
        ("sklearn.linear_model.Ridge", "onehot"): [[0, 0, 0], [0, 0, 1], [0, 1, 0]],
        ("sklearn.tree.DecisionTreeRegressor", "ordinal"): [[-1], [2], [1]],
        (HGB, "ordinal"): [[np.nan], [2], [1]],
    }
    for (estimator, encode), expected in cases.items():
        candidate = CandidateConfig(estimator=estimator, encode=encode)
        transformer = preparation(candidate, (), ("c",)).transformer().fit(X)
        np.testing.assert_array_equal(transformer.transform(new), expected)


def test_target_encoding_is_the_mean_target_of_the_other_training_rows() -> None:
    n = 4_000
    rng = np.random.default_rng(1)
    wide = np.array([f"k{i}" for i in rng.integers(0, 1_500, n)], dtype=object)
    wide[:200] = None
    X = pd.DataFrame({"c": wide})
    y = np.where(X["c"].isna(), 50.0, 0.0) + rng.normal(size=n)
    candidate = CandidateConfig(estimator="sklearn.linear_model.Ridge", encode="target")
    wanted = preparation(candidate, (), ("c",), seed=3)
    encoder = wanted.transformer()
    codes = encoder.fit_transform(X, y)[:, 0]
    new = encoder.transform(pd.DataFrame({"c": np.array([None, "never seen"], dtype=object)}))[:, 0]
    assert new[0] == pytest.approx(y[:200].mean(), abs=0.5)  # null is a category of its own
    assert new[1] == pytest.approx(y.mean())
    # Were a row's own target in its code, noise would look like a strong feature.
    assert abs(np.corrcoef(codes[200:], y[200:])[0, 1]) < 0.1
    assert np.corrcoef(encoder.transform(X)[200:, 0], y[200:])[0, 1] > 0.3
    again = preparation(candidate, (), ("c",), seed=4).transformer().fit_transform(X, y)[:, 0]
    assert not np.array_equal(again, codes)


def test_histogram_boosting_takes_more_categories_than_it_can_bin() -> None:
    n = 3_000
    X = pd.DataFrame(
        {
            "x": np.random.default_rng(0).normal(size=n),
            "c": np.array([f"k{i % 400}" for i in range(n)], dtype=object),
        }
    )
    y = np.arange(n) % 400 * 1.0
    for params in ({"max_iter": 5}, {"max_iter": 5, "max_bins": 16}):
        candidate = CandidateConfig(estimator=HGB, params=params, encode="ordinal")
        model = build_estimator(candidate, ["x"], ["c"], seed=1).fit(X, y)
        assert model[-1].is_categorical_.tolist() == [True, False]
        assert np.isfinite(model.predict(X.assign(c="new"))).all()


def test_seeds_depend_on_what_is_fitted() -> None:
    seeds = {
        derive_seed(s, g, c, f)
        for s in (0, 1)
        for g in ('["a"]', '["b"]')
        for c in ("x", "y")
        for f in (0, 1, "final")
    }
    assert len(seeds) == 24 and all(0 <= seed < 2**31 for seed in seeds)
    assert derive_seed(0, '["a"]', "x", 0) == derive_seed(0, '["a"]', "x", 0)


def test_models_are_seeded_and_stay_on_one_core() -> None:
    forest = CandidateConfig(estimator="sklearn.ensemble.RandomForestRegressor")
    model = build_estimator(forest, ["x"], [], seed=5)[-1]
    assert (model.random_state, model.n_jobs) == (5, 1)
