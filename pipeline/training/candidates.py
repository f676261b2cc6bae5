"""A candidate's scikit-learn pipeline: ``prepare`` (impute, scale, encode), then ``model``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingRegressor
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from pipeline.config.train import CandidateConfig
from pipeline.training.estimators import (
    QUANTILE_PARAMS,
    check_candidates,
    estimator_class,
    parameters,
)
from pipeline.training.seeds import derive_seed

__all__ = ["Preparation", "build_estimator", "check_candidates", "derive_seed", "estimator_class"]

MAX_CATEGORIES = 255
"""Categories a feature keeps apart when ``max_categories`` is left out; the rest share one.

It is what histogram boosting can bin, and bounds the columns that one-hot encoding makes.
"""

UNKNOWN = -1
"""Ordinal code of a category not seen in fitting; histogram boosting takes it as missing."""

TargetType = Literal["auto", "continuous"]

_CROSS_FITS = 5

# Before 1.9, the last for Python 3.10 being 1.7, TargetEncoder had a random_state and took no
# splitter; both ways give the same folds.
_SPLITTER_AS_CV = tuple(int(part) for part in sklearn.__version__.split(".")[:2]) >= (1, 9)


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
    clip: float | None = None
    """With target encoding, how the target that it sees is cut; see ``CandidateConfig.clip``."""
    seed: int = 0
    """With target encoding, of its cross-fitting; see :func:`preparation_seed`."""
    target_type: TargetType = "continuous"
    """With target encoding, what the target is; scikit-learn counts the classes by itself."""

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
        if self.encode == "target":
            return _target_encoder(self.seed, self.target_type)
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
    seed: int = 0,
) -> Preparation:
    """The preprocessing that a candidate asks for, on its subset of the features.

    ``seed`` shapes target encoding alone.
    ``empty`` names numeric features without a single value in the training rows. They are left
    out: they tell nothing, and histogram boosting (scikit-learn 1.9) cannot bin them.
    """
    chosen = candidate.features
    cls = estimator_class(candidate.estimator, task=None)
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
        clip=candidate.clip if candidate.encode == "target" else None,
        seed=seed if candidate.encode == "target" else 0,
        target_type=_target_type(candidate, cls),
    )


def _target_type(candidate: CandidateConfig, cls: type[BaseEstimator]) -> TargetType:
    # Classifiers are the candidates of classification alone; see check_candidates.
    encoded = candidate.encode == "target" and issubclass(cls, ClassifierMixin)
    return "auto" if encoded else "continuous"


def preparation_seed(seed: int, segment: str, fold: int | str) -> int:
    """The seed of what candidates share: one for all of them, whatever their names."""
    return derive_seed(seed, segment, "*", fold)


def _target_encoder(seed: int, target_type: TargetType) -> TargetEncoder:
    """The mean target of each category, drawn towards the mean of all where rows are few.

    Of classes it is the share of the second of two, or of each of several.

    A training row's code comes from the other training rows alone: from four fifths of them that
    do not hold it (cross-fitting), else the model would read the target off the code. These
    fifths are drawn at random, not by time: a training row's code may use training rows later
    than it, never a validation or test row, whose codes come from the training rows.
    """
    if _SPLITTER_AS_CV:
        folds = KFold(_CROSS_FITS, shuffle=True, random_state=seed)
        return TargetEncoder(target_type=target_type, cv=folds)
    return TargetEncoder(target_type=target_type, cv=_CROSS_FITS, random_state=seed)


def build_model(
    candidate: CandidateConfig,
    prepared: Preparation,
    seed: int,
    quantiles: Sequence[float] = (),
) -> BaseEstimator:
    """The estimator alone, for a matrix that ``prepared`` made. Seeded, on one core.

    Of quantiles there is one model each, side by side in a VotingRegressor, whose ``transform``
    gives (n_samples, n_quantiles).
    """
    if not quantiles:
        return _build_one(candidate, prepared, seed, {})
    quantile, fixed = QUANTILE_PARAMS[candidate.estimator.rpartition(".")[2]]
    return VotingRegressor(
        [
            (f"q{level:g}", _build_one(candidate, prepared, seed, {**fixed, quantile: level}))
            for level in quantiles
        ]
    )


def _build_one(
    candidate: CandidateConfig, prepared: Preparation, seed: int, params: Mapping[str, Any]
) -> BaseEstimator:
    cls = estimator_class(candidate.estimator, task=None)
    own = parameters(candidate.estimator)
    given: dict[str, Any] = {**candidate.params, **params}
    if "random_state" in own:
        given["random_state"] = seed
    if "n_jobs" in own:
        given["n_jobs"] = 1
    if cls.__module__.startswith("lightgbm."):
        given["verbosity"] = -1  # else it writes about each fit to standard output
    if prepared.native and prepared.categorical:
        given["categorical_features"] = list(range(len(prepared.categorical)))
    return cls(**given)


def build_estimator(
    candidate: CandidateConfig, numeric: Sequence[str], categorical: Sequence[str], seed: int
) -> Pipeline:
    """The whole pipeline of a candidate, unfitted.

    ``clip`` is not part of it: it changes the target, which the pipeline never does; see
    :func:`pipeline.training.blocks.clip_target`.

    Raises:
        ConfigError: the estimator is not allowed.
    """
    prepared = preparation(candidate, numeric, categorical, seed=seed)
    model = build_model(candidate, prepared, seed)
    return Pipeline([("prepare", prepared.transformer()), ("model", model)])


def _takes_categories(cls: type[BaseEstimator]) -> bool:
    return cls.__name__.startswith("HistGradientBoosting")


def _max_bins(candidate: CandidateConfig) -> int:
    bins = candidate.params.get("max_bins", MAX_CATEGORIES)
    return bins if isinstance(bins, int) else MAX_CATEGORIES
