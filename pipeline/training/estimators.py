"""Which estimator classes a configuration may name, and whether its parameters fit them."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from sklearn.base import BaseEstimator, RegressorMixin

from pipeline.config.preprocess import FeaturesConfig
from pipeline.config.train import CandidateConfig
from pipeline.errors import ConfigError

PACKAGES = frozenset(
    f"sklearn.{name}"
    for name in (
        "cross_decomposition",
        "dummy",
        "ensemble",
        "gaussian_process",
        "isotonic",
        "kernel_ridge",
        "linear_model",
        "neighbors",
        "neural_network",
        "svm",
        "tree",
    )
)
"""Importing any other module of scikit-learn (its tests, its data sets) would be a side effect."""

SET_BY_THE_PIPELINE = {
    "random_state": "it is derived from train.seed",
    "n_jobs": "the pipeline runs many fits side by side, each on one core",
    "categorical_features": "it follows from encode: ordinal",
    "warm_start": "each fit starts afresh",
}


def estimator_class(path: str) -> type[BaseEstimator]:
    """The regressor of scikit-learn that a class path names.

    Raises:
        ConfigError: it lies outside of :data:`PACKAGES`, does not exist or is not a regressor.
    """
    module_name, _, name = path.rpartition(".")
    if module_name not in PACKAGES:
        raise ConfigError(
            f"estimator must be a regressor from {', '.join(sorted(PACKAGES))}. "
            f"Got {path!r} instead.",
        )
    module = importlib.import_module(module_name)
    found: Any = getattr(module, name, None)
    if not _is_regressor(found):
        regressors = [key for key in dir(module) if _is_regressor(getattr(module, key))]
        near = difflib.get_close_matches(name, regressors, n=1, cutoff=0.5)
        raise ConfigError(
            f"estimator must be a regressor. Got {path!r} instead.",
            hint=f"Did you mean {module_name}.{near[0]}?" if near else None,
        )
    regressor: type[BaseEstimator] = found
    return regressor


def check_candidates(candidates: Mapping[str, CandidateConfig], features: FeaturesConfig) -> None:
    """Find what is wrong with any candidate before the first fit.

    Raises:
        ConfigError: with all problems of all candidates, one a line.
    """
    lines = [
        f"train.candidates.{name}.{problem}"
        for name, candidate in candidates.items()
        for problem in _problems(candidate, features)
    ]
    if lines:
        raise ConfigError("\n".join(lines))


def _problems(candidate: CandidateConfig, features: FeaturesConfig) -> Iterator[str]:
    yield from _feature_problems(candidate, features)
    try:
        cls = estimator_class(candidate.estimator)
    except ConfigError as error:
        yield " ".join(filter(None, (error.message, error.hint)))
        return
    unknown = list(_unknown_parameters(cls, candidate.params))
    yield from unknown
    if not unknown:
        yield from _value_problems(cls, candidate)


def _feature_problems(candidate: CandidateConfig, features: FeaturesConfig) -> Iterator[str]:
    for name in candidate.features or ():
        if name not in features.names:
            near = difflib.get_close_matches(name, features.names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            yield f"features: must be among preprocess.features. Got {name!r} instead.{hint}"
    chosen = candidate.features if candidate.features is not None else features.names
    numeric = any(name in features.numeric for name in chosen)
    if not numeric and (candidate.encode == "none" or not chosen):
        yield "encode: leaves the candidate without a feature. Name a numeric one, or encode."


def _unknown_parameters(cls: type[BaseEstimator], params: Mapping[str, Any]) -> Iterator[str]:
    known = [name for name in inspect.signature(cls).parameters if name not in SET_BY_THE_PIPELINE]
    for name in params:
        if name in SET_BY_THE_PIPELINE:
            yield f"params.{name}: leave it out; {SET_BY_THE_PIPELINE[name]}."
        elif name not in known:
            near = difflib.get_close_matches(name, known, n=3) or sorted(known)
            yield (
                f"params.{name}: {cls.__name__} has no such parameter. Nearest: {', '.join(near)}."
            )


def _value_problems(cls: type[BaseEstimator], candidate: CandidateConfig) -> Iterator[str]:
    """What scikit-learn itself says of the values; it would say so at each fit."""
    try:
        cls(**candidate.params)._validate_params()
    except (TypeError, ValueError) as error:
        yield f"params: {error}"


def _is_regressor(found: Any) -> bool:
    return (
        inspect.isclass(found)
        and issubclass(found, BaseEstimator)
        and issubclass(found, RegressorMixin)
        and not inspect.isabstract(found)
        and found.__module__.startswith("sklearn.")
        and callable(getattr(found, "fit", None))
        and callable(getattr(found, "predict", None))
    )
