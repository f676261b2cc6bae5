"""A candidate's scikit-learn pipeline: ``prepare`` (impute, scale, encode), then ``model``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from pipeline.config.train import CandidateConfig
from pipeline.training.estimators import check_candidates, estimator_class

__all__ = ["Preparation", "build_estimator", "check_candidates", "derive_seed", "estimator_class"]

MAX_CATEGORIES = 255
"""Categories a feature keeps apart when ``max_categories`` is left out; the rest share one.

It is what histogram boosting can bin, and bounds the columns that one-hot encoding makes.
"""

UNKNOWN = -1
"""Ordinal code of a category not seen in fitting; histogram boosting takes it as missing."""


@dataclass(frozen=True)
class Preparation:
    """The preprocessing of a candidate. Candidates with equal ones share the prepared matrices."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    impute: str
    scale: bool
    encode: str
    max_categories: int
    native: bool
    """Whether the model takes categories as such (histogram boosting)."""

    def transformer(self) -> ColumnTransformer:
        """Unfitted; it gives dense float64, the encoded categories first.

        They come first because the model is told their positions before it is known how many
        columns the missing-value indicators will add.
        """
        parts: list[tuple[str, Any, list[str]]] = []
        if self.categorical:
            parts.append(("categorical", self.encoder(), list(self.categorical)))
        if self.numeric:
            steps = self.numeric_steps()
            numbers = make_pipeline(*steps) if steps else "passthrough"
            parts.append(("numeric", numbers, list(self.numeric)))
        return ColumnTransformer(parts, sparse_threshold=0.0, verbose_feature_names_out=False)

    def numeric_steps(self) -> list[BaseEstimator]:
        """Unfitted; what is done to the numbers, in order."""
        steps: list[BaseEstimator] = []
        if self.impute != "none":
            # That a value is missing is information (a flight without a matched plane), hence the
            # indicator.
            steps.append(
                SimpleImputer(strategy=self.impute, add_indicator=True, keep_empty_features=True)
            )
        if self.scale:
            steps.append(StandardScaler())
        return steps

    def encoder(self) -> BaseEstimator:
        """Unfitted; what is done to the categories. Null, as None, is a category of its own."""
        if self.encode == "onehot":
            return OneHotEncoder(
                handle_unknown="infrequent_if_exist",
                max_categories=self.max_categories,
                sparse_output=False,
            )
        return OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=np.nan if self.native else UNKNOWN,
            max_categories=self.max_categories,
        )


def preparation(
    candidate: CandidateConfig,
    numeric: Sequence[str],
    categorical: Sequence[str],
    empty: Collection[str] = (),
) -> Preparation:
    """The preprocessing that a candidate asks for, on its subset of the features.

    ``empty`` names numeric features without a single value in the training rows. They are left
    out: they tell nothing, and histogram boosting (scikit-learn 1.9) cannot bin them.
    """
    chosen = candidate.features
    cls = estimator_class(candidate.estimator)
    limit = candidate.max_categories or MAX_CATEGORIES
    native = candidate.encode == "ordinal" and _takes_categories(cls)
    if native:
        limit = min(limit, _max_bins(candidate))
    return Preparation(
        numeric=tuple(n for n in numeric if n not in empty and (chosen is None or n in chosen)),
        categorical=tuple(
            n for n in categorical if candidate.encode != "none" and (chosen is None or n in chosen)
        ),
        impute=candidate.impute,
        scale=candidate.scale,
        encode=candidate.encode,
        max_categories=limit,
        native=native,
    )


def build_model(candidate: CandidateConfig, prepared: Preparation, seed: int) -> BaseEstimator:
    """The estimator alone, for a matrix that ``prepared`` made. Seeded, on one core."""
    cls = estimator_class(candidate.estimator)
    model = cls(**candidate.params)
    own = model.get_params(deep=False)
    if "random_state" in own:
        model.set_params(random_state=seed)
    if "n_jobs" in own:
        model.set_params(n_jobs=1)
    if prepared.native and prepared.categorical:
        model.set_params(categorical_features=list(range(len(prepared.categorical))))
    return model


def build_estimator(
    candidate: CandidateConfig, numeric: Sequence[str], categorical: Sequence[str], seed: int
) -> Pipeline:
    """The whole pipeline of a candidate, unfitted.

    ``clip`` is not part of it: it changes the target, which the pipeline never does; see
    :func:`pipeline.training.fit.clip_target`.

    Raises:
        ConfigError: the estimator is not allowed.
    """
    prepared = preparation(candidate, numeric, categorical)
    model = build_model(candidate, prepared, seed)
    return Pipeline([("prepare", prepared.transformer()), ("model", model)])


def derive_seed(seed: int, segment: str, candidate: str, fold: int | str) -> int:
    """A seed below 2**31 that depends on what is fitted, never on the order of work."""
    text = json.dumps([seed, segment, candidate, fold], ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def _takes_categories(cls: type[BaseEstimator]) -> bool:
    return cls.__name__ == "HistGradientBoostingRegressor"


def _max_bins(candidate: CandidateConfig) -> int:
    bins = candidate.params.get("max_bins", MAX_CATEGORIES)
    return bins if isinstance(bins, int) else MAX_CATEGORIES
