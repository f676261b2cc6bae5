"""One fit: equal however it is made, and honest about what goes wrong."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from pipeline.config.train import CandidateConfig
from pipeline.training.blocks import FoldMatrices, to_blocks
from pipeline.training.fit import (
    FitOptions,
    FoldData,
    clip_target,
    fit_and_score,
    fit_final,
    fit_fold,
)
from pipeline.training.identity import fit_key, fit_recipe
from pipeline.training.objective import Objective
from pipeline.training.result import FitResult, from_table, to_table

CATEGORICAL = ("carrier", "dest")
TRAIN, VALID = np.arange(0, 300), np.arange(300, 400)


def test_candidates_that_share_a_fold_score_as_each_alone_in_any_order(
    flights: tuple, candidates: dict[str, CandidateConfig]
) -> None:
    together = _fold(flights, candidates)
    names = list(candidates)
    random.Random(3).shuffle(names)
    shuffled = _fold(flights, {name: candidates[name] for name in names})
    alone = [_alone(flights, name, candidate) for name, candidate in candidates.items()]
    assert together == alone
    assert sorted(shuffled, key=lambda r: r.candidate) == sorted(alone, key=lambda r: r.candidate)
    assert all(result.status == "ok" for result in together)


def test_a_score_is_what_scikit_learn_computes() -> None:
    X = pd.DataFrame({"x": np.arange(20.0)})
    y = np.arange(20.0) ** 2
    result = fit_and_score(
        X,
        y,
        _plain(impute="none"),
        np.arange(15),
        np.arange(15, 20),
        name="line",
        options=FitOptions(objective=Objective(scorer="mae")),
    )
    oracle = LinearRegression().fit(X.to_numpy()[:15], y[:15])
    assert result.score == pytest.approx(np.abs(oracle.predict(X.to_numpy()[15:]) - y[15:]).mean())
    assert (result.rows_train, result.rows_valid, result.scope) == (15, 5, "own")


def test_the_final_model_predicts_as_the_folds_did(
    flights: tuple, candidates: dict[str, CandidateConfig]
) -> None:
    X, y = flights
    for name in ("ridge", "boost"):
        fold = _alone(flights, name, candidates[name], keep_predictions=True)
        head = X.iloc[TRAIN].reset_index(drop=True)
        model = fit_final(head, y[TRAIN], candidates[name], name=name, categorical=CATEGORICAL)
        np.testing.assert_allclose(model.predict(X.iloc[VALID]), fold.predictions, rtol=1e-9)


def test_target_encoded_candidates_share_a_fold_as_each_alone(flights: tuple) -> None:
    both = {
        "weak": _plain(encode="target"),
        "cut": _plain(encode="target", clip=0.2),
        "same": _plain(encode="target"),
    }
    together = _fold(flights, both)
    assert together == [_alone(flights, name, candidate) for name, candidate in both.items()]
    assert together[0].score == together[2].score != together[1].score


def test_the_codes_of_validation_rows_do_not_know_their_targets(flights: tuple) -> None:
    X, y = flights
    other = np.where(np.arange(400) < 300, y, 1e6)
    data = [FoldData(to_blocks(X, CATEGORICAL), target, TRAIN, VALID) for target in (y, other)]
    wanted = data[0].preparation(_plain(encode="target"), seed=1)
    for one, two in zip(data[0].prepared(wanted), data[1].prepared(wanted), strict=True):
        np.testing.assert_array_equal(one, two)


def test_target_encoding_sees_the_clipped_target_as_the_saved_pipeline_does(flights: tuple) -> None:
    X, y = flights
    data = FoldData(to_blocks(X, CATEGORICAL), y, TRAIN, VALID)
    wanted = data.preparation(_plain(encode="target", clip=0.2), seed=1)
    transformer = wanted.transformer()
    expected = transformer.fit_transform(X.iloc[TRAIN], clip_target(y[TRAIN], 0.2))
    np.testing.assert_allclose(data.prepared(wanted)[0], expected, rtol=1e-12, atol=1e-12)


def test_only_training_rows_shape_the_preparation(flights: tuple) -> None:
    X, y = flights
    changed = X.copy()
    changed.loc[VALID, "wind"] = 1e6
    before = _final_scale(X, y)
    assert before == _final_scale(changed, y)


def test_an_error_is_reported_not_raised(flights: tuple) -> None:
    X, _ = flights
    broken = {
        "nan": _plain(impute="none"),
        "rows": CandidateConfig(
            estimator="sklearn.neighbors.KNeighborsRegressor", params={"n_neighbors": 5000}
        ),
        "slow": CandidateConfig(
            estimator="sklearn.neural_network.MLPRegressor", params={"max_iter": 2}
        ),
        "good": _plain(),
    }
    found = {result.candidate: result for result in _fold(flights, broken)}
    assert [found[name].status for name in broken] == ["failed", "failed", "failed", "ok"]
    assert found["nan"].error and found["nan"].error.startswith("ValueError: Input X contains NaN")
    assert "\n" not in found["nan"].error
    assert found["rows"].error and "n_neighbors" in found["rows"].error
    assert found["slow"].error and found["slow"].error.startswith("ConvergenceWarning: ")
    assert found["slow"].warnings == 1
    assert found["nan"].score is None and found["nan"].rows_train == 300
    unfit = fit_and_score(
        X, np.full(400, np.inf), _plain(), TRAIN, VALID, name="x", categorical=CATEGORICAL
    )
    assert unfit.status == "failed"


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt()])
def test_memory_and_interrupts_are_raised(
    flights: tuple, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LinearRegression, "fit", _raising(error))
    with pytest.raises(type(error)):
        _alone(flights, "x", _plain())


def test_a_deadline_that_strikes_in_the_preparation_fails_one_fit_alone(
    flights: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = FoldMatrices.prepare, []

    def slow_once(*args: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise TimeoutError("no result within 1 s")
        return real(*args)

    monkeypatch.setattr(FoldMatrices, "prepare", slow_once)
    first, second = _fold(flights, {"a": _plain(), "b": _plain()})
    assert first.error == "TimeoutError: no result within 1 s"
    assert second.status == "ok"


def test_a_feature_that_is_all_null_in_a_fold_does_not_break_it(
    flights: tuple, candidates: dict[str, CandidateConfig]
) -> None:
    X, y = flights
    X = X.assign(wind=np.where(np.arange(400) < 300, np.nan, 1.0))
    X.loc[:299, "carrier"] = None
    assert {r.status for r in _fold((X, y), candidates)} == {"ok"}


def test_a_clipped_target_is_cut_at_both_tails(flights: tuple) -> None:
    y = np.arange(101.0)
    clipped = clip_target(y, 0.1)
    assert (clipped.min(), clipped.max(), len(clipped)) == (10.0, 90.0, 101)
    assert clip_target(y, None) is y
    X = pd.DataFrame({"x": np.zeros(101)})
    dummy = CandidateConfig(
        estimator="sklearn.dummy.DummyRegressor",
        params={"strategy": "quantile", "quantile": 1.0},
        clip=0.1,
    )
    model = fit_final(X, y, dummy, name="top")
    assert model.predict(X.iloc[:1])[0] == 90.0


def test_warnings_of_the_model_are_counted_and_those_of_shared_work_are_not() -> None:
    n = 60
    X = pd.DataFrame({"x": np.zeros(n), "c": np.array([f"k{i}" for i in range(n)], dtype=object)})
    train, valid = np.arange(50), np.arange(50, n)  # none of the validation categories was seen
    noisy = CandidateConfig(
        estimator="sklearn.linear_model.LassoLarsIC", params={"noise_variance": 1.0}
    )
    net = CandidateConfig(
        estimator="sklearn.neural_network.MLPRegressor",
        params={"batch_size": 1000, "max_iter": 500},
    )
    data = FoldData(to_blocks(X, ["c"]), np.ones(n), train, valid)
    found = fit_fold(data, {"noisy": noisy, "net": net}, FitOptions())
    assert [result.warnings for result in found] == [0, 1]
    assert {result.status for result in found} == {"ok"}


def test_a_result_survives_its_record() -> None:
    result = FitResult('["a"]', "x", "own", 1, "ok", 0.1, 10, 5, 0.2, 3, also=(0.5, None))
    assert from_table(to_table([result])) == [result]
    assert replace(result, seconds=9.0) == result


def test_a_fit_key_changes_iff_what_it_depends_on_does() -> None:
    base = dict(name="x", candidate=_plain(), period=None, scorer="rmse", seed=0)
    from datetime import datetime, timezone

    day = datetime(2013, 1, 1, tzinfo=timezone.utc)
    changes = dict(
        name="y", candidate=_plain(scale=True), period=(day, day, day), scorer="mae", seed=1
    )
    recipes = {fit_recipe(**{**base, name: value}) for name, value in changes.items()}
    assert len(recipes | {fit_recipe(**base)}) == len(changes) + 1
    recipe = fit_recipe(**base)
    keys = {fit_key(recipe, '["a"]', b"d"), fit_key(recipe, '["b"]', b"d")}
    assert len(keys | {fit_key(recipe, '["a"]', b"e"), fit_key(min(recipes), '["a"]', b"d")}) == 4
    assert fit_key(recipe, '["a"]', b"d") in keys


def _plain(**more: object) -> CandidateConfig:
    settings = {"estimator": "sklearn.linear_model.LinearRegression", **more}
    return CandidateConfig(**settings)


OPTIONS = FitOptions(segment='["a"]', fold=1, seed=3)


def _fold(
    flights: tuple, candidates: dict[str, CandidateConfig], **options: object
) -> list[FitResult]:
    X, y = flights
    data = FoldData(to_blocks(X, CATEGORICAL), y, TRAIN, VALID)
    return fit_fold(data, candidates, replace(OPTIONS, **options))


def _alone(
    flights: tuple, name: str, candidate: CandidateConfig, keep_predictions: bool = False
) -> FitResult:
    return fit_and_score(
        *flights, candidate, TRAIN, VALID, name=name, categorical=CATEGORICAL,
        options=replace(OPTIONS, keep_predictions=keep_predictions),
    )  # fmt: skip


def _final_scale(X: pd.DataFrame, y: np.ndarray) -> list[float]:
    ridge = CandidateConfig(estimator="sklearn.linear_model.Ridge", scale=True)
    data = FoldData(to_blocks(X, CATEGORICAL), y, TRAIN, VALID)
    return data.prepared(data.preparation(ridge))[0].sum(axis=0).tolist()


def _raising(error: BaseException):
    def fit(*_: object, **__: object) -> None:
        raise error

    return fit
