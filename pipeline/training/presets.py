"""``train.preset``: candidates that are good defaults, for those who name none or few.

They are ordered from the simplest on, as ``select: one_standard_error`` wants them. ``fast`` is
for a first look; ``standard`` weighs a linear model, a tree and boosting, each segment's own and
pooled; ``thorough`` also searches their parameters and takes many times as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pipeline.config.preprocess import FeaturesConfig
from pipeline.config.search import ChoicesConfig, ParamValue, RangeConfig, SearchConfig
from pipeline.config.train import CandidateConfig, Preset, Task


@dataclass(frozen=True)
class _Family:
    """The estimators for one task. ``penalty`` is the linear model's parameter, and its values
    from the strongest regularisation to the weakest."""

    linear: str
    penalty: str
    values: tuple[float, float, float]
    linear_params: dict[str, Any]
    tree: str
    forest: str
    boosting: str


_FAMILIES: dict[Task, _Family] = {
    "regression": _Family(
        linear="sklearn.linear_model.Ridge",
        penalty="alpha",
        values=(3000.0, 100.0, 3.0),
        linear_params={},
        tree="sklearn.tree.DecisionTreeRegressor",
        forest="sklearn.ensemble.ExtraTreesRegressor",
        boosting="sklearn.ensemble.HistGradientBoostingRegressor",
    ),
    "classification": _Family(
        linear="sklearn.linear_model.LogisticRegression",
        penalty="C",
        values=(0.001, 0.03, 1.0),
        linear_params={"max_iter": 1000},
        tree="sklearn.tree.DecisionTreeClassifier",
        forest="sklearn.ensemble.ExtraTreesClassifier",
        boosting="sklearn.ensemble.HistGradientBoostingClassifier",
    ),
}

_BOOSTING = {"learning_rate": 0.1, "min_samples_leaf": 20, "early_stopping": False}

_BOOSTING_SEARCH: dict[str, RangeConfig | ChoicesConfig] = {
    "learning_rate": RangeConfig(low=0.02, high=0.2, log=True),
    "max_leaf_nodes": ChoicesConfig(choices=(4, 8, 15, 31)),
    "min_samples_leaf": RangeConfig(low=10, high=100, log=True, int=True),
    "max_features": ChoicesConfig(choices=(0.3, 0.6, 1.0)),
}


def preset_candidates(
    preset: Preset, features: FeaturesConfig, task: Task = "regression"
) -> dict[str, CandidateConfig]:
    """The candidates of a preset for a task (not quantile), by name, the simplest first.

    What does not suit the features is left out: scaling and imputing without numeric ones,
    encoding and target encoding without categorical ones.
    """
    family = _FAMILIES[task]
    if preset == "fast":
        return _fast(family, features)
    if preset == "standard":
        return _standard(family, features)
    return _standard(family, features) | _more(family, features)


def _fast(family: _Family, features: FeaturesConfig) -> dict[str, CandidateConfig]:
    middle = {family.penalty: family.values[1]}
    return {
        "linear": _linear(family, features, middle),
        "boosting": _boosting(family, features, max_iter=60, max_leaf_nodes=8),
        "boosting-pooled": _boosting(family, features, scope="pooled", max_iter=100),
    }


def _standard(family: _Family, features: FeaturesConfig) -> dict[str, CandidateConfig]:
    grid = SearchConfig(grid={family.penalty: family.values})
    middle = {family.penalty: family.values[1]}
    target = {"linear-target": _linear(family, features, middle, encode="target")}
    tree: dict[str, ParamValue] = {"max_depth": 5, "min_samples_leaf": 20}
    return {
        "linear": _linear(family, features, search=grid),
        **(target if features.categorical else {}),
        "tree": CandidateConfig(
            estimator=family.tree,
            params=tree,
            encode="ordinal" if features.categorical else "none",
            impute=_impute(features),
        ),
        "boosting-small": _boosting(family, features, max_iter=60, max_leaf_nodes=8),
        "boosting": _boosting(family, features, max_iter=150, max_leaf_nodes=15),
        "boosting-pooled": _boosting(family, features, scope="pooled", max_iter=150),
    }


def _more(family: _Family, features: FeaturesConfig) -> dict[str, CandidateConfig]:
    middle = {family.penalty: family.values[1]}
    forest: dict[str, ParamValue] = {
        "n_estimators": 100,
        "min_samples_leaf": 5,
        "max_features": 0.5,
    }
    wide: Literal["target", "none"] = "target" if features.categorical else "none"
    search = SearchConfig(random=_BOOSTING_SEARCH, n=10)
    return {
        "linear-pooled": _linear(family, features, middle, encode=wide, scope="pooled"),
        "forest": CandidateConfig(
            estimator=family.forest, params=forest, encode=wide, impute=_impute(features)
        ),
        "boosting-search": _boosting(family, features, search=search, max_iter=150),
        "boosting-pooled-search": _boosting(
            family, features, search=search, scope="pooled", max_iter=200
        ),
    }


def _linear(
    family: _Family,
    features: FeaturesConfig,
    params: dict[str, Any] | None = None,
    encode: Any = "onehot",
    **more: Any,
) -> CandidateConfig:
    return CandidateConfig(
        estimator=family.linear,
        params={**family.linear_params, **(params or {})},
        scale=bool(features.numeric),
        impute=_impute(features),
        encode=encode if features.categorical else "none",
        # Rare categories share a column: few rows cannot tell them apart.
        max_categories=30 if encode == "onehot" and features.categorical else None,
        **more,
    )


def _boosting(
    family: _Family,
    features: FeaturesConfig,
    search: SearchConfig | None = None,
    scope: Literal["segment", "pooled"] = "segment",
    **params: Any,
) -> CandidateConfig:
    """Histogram boosting, which takes missing values and categories as they are."""
    fixed = {**_BOOSTING, **params}
    return CandidateConfig(
        estimator=family.boosting,
        params={k: v for k, v in fixed.items() if search is None or k not in search.names},
        search=search,
        scope=scope,
        impute="none",
        encode="ordinal" if features.categorical else "none",
    )


def _impute(features: FeaturesConfig) -> Literal["median", "none"]:
    return "median" if features.numeric else "none"
