"""Fixtures of these tests. Hypothesis keeps no deadline: other work shares these cores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from pipeline.config.train import CandidateConfig


@pytest.fixture
def flights() -> tuple[pd.DataFrame, np.ndarray]:
    """400 rows: numbers with nulls, an all-null column, categories with nulls."""
    rng = np.random.default_rng(7)
    n = 400
    X = pd.DataFrame(
        {
            "distance": rng.normal(size=n),
            "wind": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
            "empty": np.full(n, np.nan),
            "carrier": np.array(rng.choice(["UA", "AA", None], n), dtype=object),
            "dest": np.array([f"D{i % 30}" for i in range(n)], dtype=object),
        }
    )
    y = X["distance"].to_numpy() * 3 + (X["carrier"] == "UA").to_numpy() + rng.normal(size=n)
    return X, y


@pytest.fixture
def candidates() -> dict[str, CandidateConfig]:
    return {
        "ridge": CandidateConfig(estimator="sklearn.linear_model.Ridge", scale=True),
        "stiff": CandidateConfig(
            estimator="sklearn.linear_model.Ridge", params={"alpha": 50.0}, scale=True
        ),
        "tree": CandidateConfig(
            estimator="sklearn.tree.DecisionTreeRegressor",
            params={"max_depth": 4, "max_features": 0.5},
            encode="ordinal",
            clip=0.05,
        ),
        "boost": CandidateConfig(
            estimator="sklearn.ensemble.HistGradientBoostingRegressor",
            params={"max_iter": 20},
            impute="none",
            encode="ordinal",
            max_categories=8,
        ),
    }


settings.register_profile("shared-cores", deadline=None)
settings.load_profile("shared-cores")
