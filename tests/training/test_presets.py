"""Presets: defaults that fit any table, beside which a configuration's own candidates win."""

from __future__ import annotations

import importlib

import numpy as np
import pandas as pd
import pytest

from pipeline.config.preprocess import FeaturesConfig
from pipeline.config.train import CandidateConfig, TrainConfig
from pipeline.training.blocks import to_blocks
from pipeline.training.candidates import check_candidates
from pipeline.training.expand import declared_candidates, expand_candidates
from pipeline.training.fit import FitOptions, FoldData, fit_fold
from pipeline.training.objective import Objective
from pipeline.training.presets import preset_candidates
from pipeline.training.scorers import check_scorers

PRESETS = ("fast", "standard", "thorough")
KINDS = [
    FeaturesConfig(numeric=("distance", "wind", "empty"), categorical=("carrier", "dest")),
    FeaturesConfig(numeric=("distance", "wind")),
    FeaturesConfig(categorical=("carrier", "dest")),
]


@pytest.mark.parametrize("features", KINDS, ids=["both", "numbers", "categories"])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_allowed_for_every_kind_of_features(
    preset: str, features: FeaturesConfig
) -> None:
    declared = declared_candidates(TrainConfig(preset=preset), features)
    check_candidates(declared, features)
    prepared = {c.encode for c in declared.values()}
    assert ("none" in prepared) == (not features.categorical)
    assert any(c.scale for c in declared.values()) == bool(features.numeric)


@pytest.mark.parametrize("features", KINDS, ids=["both", "numbers", "categories"])
def test_every_candidate_of_the_standard_preset_can_be_fitted(
    flights: tuple, features: FeaturesConfig
) -> None:
    X, y = flights
    train = expand_candidates(TrainConfig(preset="standard"), features)
    blocks = to_blocks(pd.DataFrame(X[list(features.names)]), features.categorical)
    data = FoldData(blocks, y, np.arange(300), np.arange(300, 400))
    results = fit_fold(data, train.candidates, FitOptions())
    assert [(r.candidate, r.error) for r in results if r.status != "ok"] == []
    assert "linear~alpha=100.0" in train.candidates and train.preset is None


@pytest.mark.parametrize("features", KINDS, ids=["both", "numbers", "categories"])
def test_presets_follow_the_task(flights: tuple, features: FeaturesConfig) -> None:
    X, y = flights
    codes = np.digitize(y, np.quantile(y, [0.3, 0.6])).astype(float)
    train = expand_candidates(TrainConfig(preset="standard", task="classification"), features)
    check_candidates(train.candidates, features, task="classification", weighted=True)
    check_scorers(TrainConfig(preset="standard", task="classification"))
    objective = Objective.of(train, ("a", "b", "c"))
    blocks = to_blocks(pd.DataFrame(X[list(features.names)]), features.categorical)
    data = FoldData(blocks, codes, np.arange(300), np.arange(300, 400), np.linspace(0, 1, 400))
    results = fit_fold(data, train.candidates, FitOptions(objective=objective))
    assert [(r.candidate, r.error) for r in results if r.status != "ok"] == []
    with pytest.raises(ValueError, match="preset has no candidates that fit quantiles"):
        TrainConfig(preset="standard", task="quantile", quantiles=(0.5,))


@pytest.mark.parametrize("preset", PRESETS)
def test_classifiers_are_built_with_parameters_that_scikit_learn_takes(preset: str) -> None:
    for candidate in preset_candidates(preset, KINDS[0], "classification").values():
        module, _, name = candidate.estimator.rpartition(".")
        cls = getattr(importlib.import_module(module), name)
        assert name.endswith(("Classifier", "LogisticRegression"))
        cls(**candidate.params)._validate_params()


def test_the_presets_grow_from_simple_to_many() -> None:
    sizes = [len(expand_candidates(TrainConfig(preset=p), KINDS[0]).candidates) for p in PRESETS]
    assert sizes == [3, 8, 30]
    assert next(iter(preset_candidates("standard", KINDS[0]))) == "linear"


def test_a_candidate_of_the_same_name_wins_and_others_are_added() -> None:
    own = CandidateConfig(estimator="sklearn.svm.LinearSVR")
    declared = declared_candidates(
        TrainConfig(preset="fast", candidates={"linear": own, "svm": own}), KINDS[1]
    )
    assert list(declared) == ["linear", "boosting", "boosting-pooled", "svm"]
    assert declared["linear"] is own


def test_neither_preset_nor_candidate_is_refused() -> None:
    with pytest.raises(ValueError, match="must have candidates, or a preset"):
        TrainConfig()
