"""Searches: plain candidates, the same ones every time, each named after its values."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.config.preprocess import FeaturesConfig
from pipeline.config.train import CandidateConfig
from pipeline.errors import ConfigError
from pipeline.training.candidates import check_candidates
from pipeline.training.search import expand_search, variant_name

RIDGE = "sklearn.linear_model.Ridge"
NET = "sklearn.neural_network.MLPRegressor"

RANDOM = {
    "alpha": {"low": 1e-3, "high": 1e3, "log": True},
    "max_iter": {"low": 2, "high": 8, "int": True},
    "tol": {"low": 0.1, "high": 0.2},
    "hidden_layer_sizes": {"choices": [[8], [16, 8]]},
}


def candidate(estimator: str = RIDGE, **settings: object) -> CandidateConfig:
    text = json.dumps({"estimator": estimator, **settings})
    return CandidateConfig.model_validate_json(text, strict=True)


def test_a_grid_is_every_combination_in_the_declared_order() -> None:
    grid = {"solver": ["svd", "lsqr"], "alpha": [10, 0.5]}
    ridge = candidate(params={"fit_intercept": False}, search={"grid": grid}, scale=True)
    found = expand_search({"plain": candidate(), "ridge": ridge}, seed=0)
    assert list(found) == [
        "plain",
        "ridge~solver=svd,alpha=10",
        "ridge~solver=svd,alpha=0.5",
        "ridge~solver=lsqr,alpha=10",
        "ridge~solver=lsqr,alpha=0.5",
    ]
    last = found["ridge~solver=lsqr,alpha=0.5"]
    assert last.params == {"fit_intercept": False, "solver": "lsqr", "alpha": 0.5}
    assert last.search is None and last.scale


def test_a_value_more_in_a_grid_leaves_the_other_candidates_as_they_were() -> None:
    few = expand_search({"r": candidate(search={"grid": {"alpha": [1, 3]}})}, seed=0)
    more = expand_search({"r": candidate(search={"grid": {"alpha": [1, 2, 3]}})}, seed=0)
    assert few.items() < more.items()


@settings(max_examples=20)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_more_draws_only_add_to_the_earlier_ones(n: int, more: int, seed: int) -> None:
    first, longer = (
        list(expand_search({"net": candidate(NET, search={"random": RANDOM, "n": k})}, seed))
        for k in (n, n + more)
    )
    assert longer[: len(first)] == first


def test_draws_lie_in_their_ranges_and_depend_on_the_seed_and_the_name() -> None:
    net = candidate(NET, search={"random": RANDOM, "n": 60})
    found = expand_search({"net": net}, seed=1)
    assert len(found) == 60
    params = [variant.params for variant in found.values()]
    assert all(1e-3 <= p["alpha"] <= 1e3 and 0.1 <= p["tol"] <= 0.2 for p in params)
    assert {p["max_iter"] for p in params} == {2, 3, 4, 5, 6, 7, 8}
    assert {p["hidden_layer_sizes"] for p in params} == {(8,), (16, 8)}
    assert 15 <= sum(p["alpha"] < 1 for p in params) <= 45  # uniform over the logarithm
    others = expand_search({"other": net}, seed=1), expand_search({"net": net}, seed=2)
    for other in others:
        assert [v.params for v in other.values()] != params


def test_equal_draws_are_fitted_once() -> None:
    random = {"fit_intercept": {"choices": [True, False]}}
    found = expand_search({"r": candidate(search={"random": random, "n": 50})}, seed=0)
    assert sorted(found) == ["r~fit_intercept=false", "r~fit_intercept=true"]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = SCALARS | st.lists(SCALARS, max_size=3).map(tuple)


@given(VALUES, VALUES)
def test_different_values_have_different_names_safe_in_files(one: object, two: object) -> None:
    names = [variant_name("m", {"p": value}) for value in (one, two)]
    assert (names[0] == names[1]) == (json.dumps(one) == json.dumps(two))
    assert all(set(name) <= SAFE and len(name) <= 120 for name in names)


SAFE = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.~=,+-")


def test_many_parameters_are_named_by_a_hash() -> None:
    values = {f"parameter_number_{i}": 0.12345 for i in range(8)}
    first, second = (variant_name("m", {**values, "last": i}) for i in (1, 2))
    assert first != second and len(first) == len("m~") + 12


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({}, "grid or in random"),
        ({"grid": {"alpha": [1]}, "random": {"tol": {"choices": [1]}}, "n": 2}, "one of the two"),
        ({"grid": {"alpha": [1]}, "n": 2}, "n, the number of draws, goes with random"),
        ({"random": {"alpha": {"choices": [1]}}}, "n, the number of draws"),
        ({"grid": {"alpha": []}}, "at least 1 item"),
        ({"random": {"alpha": {"low": 2, "high": 1}}, "n": 2}, "low must be below high"),
        ({"random": {"alpha": {"low": 0, "high": 1, "log": True}}, "n": 2}, "above 0 with log"),
        ({"random": {"alpha": {"low": 0, "high": 1.5, "int": True}}, "n": 2}, "whole numbers"),
        ({"grid": {"fit_intercept": [True]}}, "both fixed in params and searched: fit_intercept"),
    ],
)
def test_a_wrong_search_is_refused(search: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        candidate(params={"fit_intercept": True}, search=search)


def test_a_search_without_end_is_refused() -> None:
    grid = {name: list(range(40)) for name in ("alpha", "max_iter")}
    with pytest.raises(ConfigError, match=r"r\.search: must make at most 1000 .* Got 1,600"):
        expand_search({"r": candidate(search={"grid": grid})}, seed=0)


def test_what_a_search_would_try_is_checked_before_the_first_fit() -> None:
    wrong = {
        "name": candidate(search={"grid": {"alhpa": [1]}}),
        "value": candidate(search={"grid": {"alpha": [1, -1, "big"]}}),
        "range": candidate(search={"random": {"alpha": {"low": -9, "high": -8}}, "n": 3}),
        "seed": candidate(NET, search={"grid": {"random_state": [1, 2]}}),
    }
    with pytest.raises(ConfigError) as caught:
        check_candidates(wrong, FeaturesConfig(numeric=("x",)))
    text = caught.value.message
    assert "train.candidates.name.search.alhpa: Ridge has no such parameter" in text
    assert text.count("train.candidates.value.search: The 'alpha' parameter of Ridge must be") == 2
    assert "train.candidates.range.search: The 'alpha' parameter" in text
    assert "train.candidates.seed.search.random_state: leave it out" in text
    names = [line.split(".")[2] for line in text.splitlines()]
    assert all(a <= b for a, b in pairwise([list(wrong).index(name) for name in names]))
