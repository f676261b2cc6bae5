"""Fits of classes, of quantiles, and with weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.config.preprocess import FeaturesConfig
from pipeline.config.train import CandidateConfig
from pipeline.errors import ConfigError, DataRefused
from pipeline.training.blocks import to_blocks
from pipeline.training.candidates import check_candidates
from pipeline.training.eligible import ONE_CLASS
from pipeline.training.fit import FitOptions, FoldData, fit_final, fit_fold
from pipeline.training.labels import class_codes, class_names, labels
from pipeline.training.matrix import has_target, to_matrix
from pipeline.training.objective import Objective, outputs
from pipeline.training.pooled import baseline, score_baselines
from pipeline.training.result import (
    BASELINE,
    LEADERBOARD,
    FitResult,
    from_table,
    published,
    to_table,
)
from pipeline.training.segments import ALL, Run
from pipeline.training.selection import choose_champions
from pipeline.training.survey import merge_survey, refuse_unfit_classes

ABC = Objective("classification", "log_loss", ("accuracy",), ("a", "b", "c"))
FEATURES = FeaturesConfig(numeric=("x",))
A = '["a"]'


def _candidate(path: str, **params: object) -> CandidateConfig:
    return CandidateConfig(estimator=f"sklearn.{path}", params=params)


def _fit(
    y: np.ndarray,
    candidate: CandidateConfig,
    objective: Objective,
    weight: np.ndarray | None = None,
) -> FitResult:
    X = pd.DataFrame({"x": np.sin(np.arange(len(y)))})
    half = len(y) // 2
    data = FoldData(to_blocks(X, ()), y, np.arange(half), np.arange(half, len(y)), weight)
    options = FitOptions(segment=A, objective=objective, keep_predictions=True)
    return fit_fold(data, {"m": candidate}, options)[0]


def test_probabilities_are_those_of_all_classes_in_order() -> None:
    y = np.array([2.0, 0.0] * 20 + [1.0, 0.0] * 20)  # the first half lacks b, the second c
    result = _fit(y, _candidate("linear_model.LogisticRegression"), ABC)
    assert result.predictions is not None
    assert result.predictions.shape == (40, 3)
    assert (result.predictions[:, 1] == 0).all()
    np.testing.assert_allclose(result.predictions.sum(axis=1), 1)
    assert result.status == "ok"
    (accuracy,) = result.also
    assert accuracy is not None and accuracy <= 0.5
    assert from_table(to_table([result])) == [result]


def test_the_published_leaderboard_has_a_column_for_each_further_scorer() -> None:
    fits = [
        FitResult(A, "m", "own", 0, "ok", 0.1, 9, 9, also=(0.5, None)),
        FitResult(A, "m", "own", 1, "skipped", None, 9, 9, error=ONE_CLASS),
    ]
    table = published(to_table(fits), ("accuracy", "roc_auc"))
    assert table.column("score_accuracy").to_pylist() == [0.5, None]
    assert table.column("score_roc_auc").to_pylist() == [None, None]
    plain = published(to_table(fits), ())
    assert plain.column_names == [name for name in LEADERBOARD.names if name != "also"]


def test_fits_and_scores_of_another_objective_are_others() -> None:
    others = (
        Objective(scorer="mae"),
        Objective(weight="w"),
        Objective(also=("r2",)),
        ABC,
        replace(ABC, classes=("a", "b", "d")),
        Objective("quantile", "pinball", quantiles=(0.5,)),
        Objective("quantile", "pinball", quantiles=(0.1,)),
    )
    assert Objective().identity == "rmse"  # as it was before there were other tasks
    assert len({"rmse", *(objective.identity for objective in others)}) == len(others) + 1


def test_a_segment_of_one_class_falls_back_with_its_reason() -> None:
    result = _fit(np.zeros(40), _candidate("linear_model.LogisticRegression"), ABC)
    assert (result.status, result.error) == ("skipped", ONE_CLASS)
    pooled = FitResult(A, "p", "pooled", 0, "ok", 0.2, 1, 1)
    champion = choose_champions([result, pooled], {A: 400}, 10)[A]
    assert (champion.candidate, champion.scope, champion.fallback) == ("p", "pooled", ONE_CLASS)


def test_the_direction_of_the_score_decides() -> None:
    fits = [FitResult(A, n, "own", 0, "ok", s, 9, 9) for n, s in (("good", 0.9), ("bad", 0.6))]
    assert choose_champions(fits, {A: 40}, 10, greater_is_better=True)[A].candidate == "good"
    assert choose_champions(fits, {A: 40}, 10)[A].candidate == "bad"


def test_one_standard_error_is_taken_in_the_direction_of_the_score() -> None:
    found = {BASELINE: (0.5, 0.6), "bad": (0.6, 0.7), "near": (0.72, 0.9), "best": (0.75, 0.95)}
    fits = [
        FitResult(A, name, "baseline" if name == BASELINE else "own", fold, "ok", score, 9, 9)
        for name, scores in found.items()
        for fold, score in enumerate(scores)
    ]
    rule = {"select": "one_standard_error", "order": ("bad", "near", "best")}
    chosen = choose_champions(fits, {A: 40}, 10, greater_is_better=True, **rule)[A]
    assert chosen.candidate == "near"
    mirrored = [replace(fit, score=-fit.score) for fit in fits]
    assert choose_champions(mirrored, {A: 40}, 10, **rule)[A].candidate == "near"


@pytest.mark.parametrize("classes", [("no", "yes"), ("a", "b", "c")])
def test_target_encoding_of_classes_is_that_of_the_saved_pipeline(
    flights: tuple, classes: tuple[str, ...]
) -> None:
    X, _ = flights
    codes = np.random.default_rng(0).integers(0, len(classes), len(X)).astype(float)
    objective = Objective("classification", "log_loss", (), classes)
    encoded = CandidateConfig(
        estimator="sklearn.linear_model.LogisticRegression", encode="target", scale=True
    )
    data = FoldData(to_blocks(X, ["carrier", "dest"]), codes, np.arange(300), np.arange(300, 400))
    wanted = data.preparation(encoded, seed=1)
    assert wanted.target_type == "auto"
    train, valid = data.prepared(wanted)
    saved = wanted.transformer()
    expected = saved.fit_transform(X.iloc[:300], labels(codes[:300], classes))
    np.testing.assert_allclose(train, expected)
    np.testing.assert_allclose(valid, saved.transform(X.iloc[300:]))
    columns = 2 * (1 if len(classes) == 2 else len(classes))
    assert train.shape[1] == columns + data.prepared(
        data.preparation(encoded.model_copy(update={"features": ("distance", "wind")}))
    )[0].shape[1]  # fmt: skip
    (result,) = fit_fold(data, {"m": encoded}, FitOptions(objective=objective))
    assert result.status == "ok", result.error
    model = fit_final(
        X, codes, encoded, name="m", categorical=("carrier", "dest"), objective=objective
    )
    assert outputs(model, X, classes, ()).shape == (400, len(classes))


def test_early_stopping_sees_no_validation_row() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200).astype(float)
    binary = Objective("classification", "log_loss", classes=("a", "b"))
    for path, params in (
        ("ensemble.HistGradientBoostingClassifier", {"early_stopping": True}),
        ("ensemble.GradientBoostingClassifier", {"n_iter_no_change": 3}),
    ):
        other = np.concatenate([y[:100], 1 - y[100:]])
        first, second = (_fit(t, _candidate(path, **params), binary) for t in (y, other))
        np.testing.assert_array_equal(first.predictions, second.predictions)
        assert first.score != second.score


def test_balanced_classes_and_weights_of_rows_change_the_fit() -> None:
    y = np.array(([0.0] * 9 + [1.0]) * 8)
    binary = Objective("classification", "log_loss", classes=("a", "b"))
    plain = _fit(y, _candidate("linear_model.LogisticRegression"), binary)
    balanced = _fit(
        y, _candidate("linear_model.LogisticRegression", class_weight="balanced"), binary
    )
    by_hand = _fit(
        y, _candidate("linear_model.LogisticRegression"), binary, np.where(y == 1, 5.0, 5 / 9)
    )
    assert plain.predictions is not None and balanced.predictions is not None
    assert plain.predictions[:, 1].mean() < 0.2 < balanced.predictions[:, 1].mean()
    np.testing.assert_allclose(by_hand.predictions, balanced.predictions, atol=1e-6)
    none = _fit(y, _candidate("linear_model.LogisticRegression"), binary, np.zeros(80))
    assert none.status == "skipped"


@pytest.mark.parametrize(
    "path",
    [
        "ensemble.HistGradientBoostingRegressor",
        "ensemble.GradientBoostingRegressor",
        "linear_model.QuantileRegressor",
    ],
)
def test_quantiles_cover_and_do_not_cross(path: str) -> None:
    y = np.random.default_rng(1).exponential(size=600)
    objective = Objective("quantile", "pinball", quantiles=(0.1, 0.5, 0.9))
    params = {"alpha": 0.0} if "Quantile" in path else {"max_depth": 2, "learning_rate": 0.05}
    result = _fit(y, _candidate(path, **params), objective)
    assert result.status == "ok" and result.predictions is not None
    assert (np.diff(result.predictions, axis=1) >= 0).all()
    shares = (y[300:, None] <= result.predictions).mean(axis=0)
    np.testing.assert_allclose(shares, (0.1, 0.5, 0.9), atol=0.12)


def test_baselines_are_shares_and_quantiles() -> None:
    y = np.array([0.0, 0.0, 2.0, 2.0])
    assert baseline(y, "mean", ABC) == (0.5, 0.0, 0.5)
    assert baseline(y, "mean", ABC, np.array([1.0, 1.0, 1.0, 5.0])) == (0.25, 0.0, 0.75)
    halves = Objective("quantile", "pinball", quantiles=(0.0, 0.5))
    assert baseline(np.array([1.0, 2.0, 9.0]), "mean", halves) == (1.0, 2.0)
    assert baseline(np.array([1.0, 3.0]), "mean", "rmse", np.array([3.0, 1.0])) == 1.5
    rows = np.arange(4)
    runs = [Run(A, 0, 4)]
    (overall, own) = score_baselines(
        y, rows, rows, runs, fold=0, kind="mean", scorer=ABC, min_validation_rows=1
    )
    assert (overall.segment, own.segment) == (ALL, A)
    assert own.score == pytest.approx(np.log(2)) and own.also == (0.5,)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (pa.array(["b", None, ""]), ["b", None, ""]),
        (pa.array([True, None, False]), ["true", None, "false"]),
        (pa.array([1.0, None, -2.0]), ["1", None, "-2"]),
        (pa.array([7, None, 0], pa.int64()), ["7", None, "0"]),
    ],
)
def test_classes_are_text_without_loss(values: pa.Array, names: list) -> None:
    column = pa.chunked_array([values])
    assert class_names(column, "y").to_pylist() == names
    assert has_target(pa.table({"y": column}), "y").tolist() == [True, False, True]
    codes = class_codes(column, "y", sorted({n for n in names if n is not None})[:1])
    assert np.isnan(codes[1]) and sorted(codes[[0, 2]].tolist()) == [-1.0, 0.0]


def test_what_is_no_class_or_no_weight_is_refused() -> None:
    with pytest.raises(DataRefused, match="'y' must hold classes"):
        class_names(pa.chunked_array([pa.array([0.5])]), "y")
    for classes in ((), ("a",), tuple(map(str, range(300)))):
        with pytest.raises(DataRefused, match="needs 2 to 200 classes"):
            refuse_unfit_classes(classes)
    with pytest.raises(DataRefused, match="above 0 in some training row"):
        merge_survey([({"a"}, 0.0)])
    assert merge_survey([({"b"}, 1.0), ({"a", "b"}, 0.0)]) == ("a", "b")
    for bad in (-1.0, None, float("nan")):
        table = pa.table(
            {"x": [1.0], "y": [1.0], "t": pa.array([0], pa.timestamp("us")), "w": [bad]}
        )
        table = table.set_column(3, "w", pa.array([bad], pa.float64()))
        with pytest.raises(DataRefused, match="a weight must be"):
            to_matrix(table, numeric=["x"], categorical=[], target="y", time="t", weight="w")


@pytest.mark.parametrize(
    ("task", "path", "params", "message"),
    [
        ("classification", "linear_model.Ridge", {}, "must be a classifier"),
        ("classification", "linear_model.LogisticRegresion", {}, "LogisticRegression?"),
        ("classification", "svm.LinearSVC", {}, "gives no probabilities"),
        ("regression", "linear_model.LogisticRegression", {}, "must be a regressor"),
        ("quantile", "linear_model.Ridge", {}, "must fit quantiles: Grad"),
        (
            "quantile",
            "linear_model.QuantileRegressor",
            {"quantile": 0.2},
            "train.quantiles sets it",
        ),
        ("classification", "neighbors.KNeighborsClassifier", {}, "takes no weights of rows"),
    ],
)
def test_a_candidate_of_another_task_is_refused(
    task: str, path: str, params: dict, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_candidates({"m": _candidate(path, **params)}, FEATURES, task=task, weighted=True)
    assert message in str(caught.value)
