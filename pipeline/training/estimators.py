"""Which estimator classes a configuration may name, and whether its parameters fit them."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import has_fit_parameter

from pipeline.config.preprocess import FeaturesConfig
from pipeline.config.train import EXTRAS, CandidateConfig, Task
from pipeline.errors import ConfigError
from pipeline.training.search import expand_search

PACKAGES = frozenset(
    f"sklearn.{name}"
    for name in (
        "cross_decomposition",
        "discriminant_analysis",
        "dummy",
        "ensemble",
        "gaussian_process",
        "isotonic",
        "kernel_ridge",
        "linear_model",
        "naive_bayes",
        "neighbors",
        "neural_network",
        "svm",
        "tree",
    )
)
"""Importing any other module of scikit-learn (its tests, its data sets) would be a side effect.

The packages of :data:`pipeline.config.train.EXTRAS` are allowed beside these, as whole ones.
"""

SET_BY_THE_PIPELINE = {
    "random_state": "it is derived from train.seed",
    "n_jobs": "the pipeline runs many fits side by side, each on one core",
    "categorical_features": "it follows from encode: ordinal",
    "warm_start": "each fit starts afresh",
    "copy_X": "a fit may not change rows that other candidates are fitted on too",
}

QUANTILE_PARAMS: dict[str, tuple[str, dict[str, str]]] = {
    "GradientBoostingRegressor": ("alpha", {"loss": "quantile"}),
    "HistGradientBoostingRegressor": ("quantile", {"loss": "quantile"}),
    "QuantileRegressor": ("quantile", {}),
}
"""Regressors that fit a quantile: its parameter, and what else the pipeline sets for it."""


def estimator_class(path: str, task: Task | None = "regression") -> type[BaseEstimator]:
    """The estimator that a class path names.

    Args:
        path: of the class.
        task: a classifier is wanted for classification, else a regressor; None takes both, for
            candidates that were checked before.

    Raises:
        ConfigError: it lies outside of :data:`PACKAGES` and the extras, does not exist or is of
            another kind; or its package is not installed.
    """
    wanted = _wanted(task)
    module_name, _, name = path.rpartition(".")
    if module_name not in PACKAGES and module_name not in EXTRAS:
        raise ConfigError(
            f"estimator must be a {wanted} from {', '.join((*sorted(PACKAGES), *EXTRAS))}. "
            f"Got {path!r} instead.",
        )
    module = _import(module_name)
    found: Any = getattr(module, name, None)
    if not _is_of(task, found):
        fitting = [key for key in dir(module) if _is_of(task, getattr(module, key))]
        near = difflib.get_close_matches(name, fitting, n=1, cutoff=0.5)
        raise ConfigError(
            f"estimator must be a {wanted}. Got {path!r} instead.",
            hint=f"Did you mean {module_name}.{near[0]}?" if near else None,
        )
    estimator: type[BaseEstimator] = found
    return estimator


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"estimator: the package {name} cannot be imported here ({error}).",
            hint=f"Install the extra: pip install 'spark-ray-pipeline[{name}]', on every node.",
        ) from error


def check_candidates(
    candidates: Mapping[str, CandidateConfig],
    features: FeaturesConfig,
    seed: int = 0,
    *,
    task: Task = "regression",
    weighted: bool = False,
) -> None:
    """Find what is wrong with any candidate before the first fit.

    Args:
        candidates: by name, as declared; of a search every combination of values is tried.
        features: what they may use.
        seed: ``train.seed``, which sets what a random search draws.
        task: what the candidates must be able to do.
        weighted: whether they must take weights of rows.

    Raises:
        ConfigError: with all problems of all candidates, one a line.
    """
    lines = [
        f"train.candidates.{name}.{problem}"
        for name, candidate in candidates.items()
        for problem in (
            *_feature_problems(candidate, features),
            *_estimator_problems(name, candidate, seed, task, weighted),
        )
    ]
    if lines:
        raise ConfigError("\n".join(lines))


def _estimator_problems(
    name: str, candidate: CandidateConfig, seed: int, task: Task, weighted: bool
) -> Iterator[str]:
    try:
        cls = estimator_class(candidate.estimator, task)
    except ConfigError as error:
        yield " ".join(filter(None, (error.message, error.hint)))
        return
    searched = candidate.search.names if candidate.search else ()
    unknown = [
        *_unknown_parameters(candidate.estimator, candidate.params, "params"),
        *_unknown_parameters(candidate.estimator, searched, "search"),
        *_task_problems(cls, candidate, task),
    ]
    yield from unknown
    if not unknown:
        # Several values may fail for one reason, which is told once.
        yield from dict.fromkeys(_value_problems(cls, name, candidate, seed, task))
    if weighted and not has_fit_parameter(cls, "sample_weight"):
        yield (
            f"estimator: {cls.__name__} takes no weights of rows. "
            "Choose another, or leave train.weight out."
        )


def _task_problems(
    cls: type[BaseEstimator], candidate: CandidateConfig, task: Task
) -> Iterator[str]:
    if task == "classification" and candidate.clip is not None:
        yield "clip: leave it out; classes have no tails to cut."
    if task == "quantile":
        if cls.__name__ not in QUANTILE_PARAMS:
            allowed = ", ".join(QUANTILE_PARAMS)
            yield f"estimator: must fit quantiles: {allowed}. Got {cls.__name__} instead."
            return
        quantile, fixed = QUANTILE_PARAMS[cls.__name__]
        searched = candidate.search.names if candidate.search else ()
        for where, given in (("params", tuple(candidate.params)), ("search", searched)):
            for name in (quantile, *fixed):
                if name in given:
                    yield f"{where}.{name}: leave it out; train.quantiles sets it."


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


def _unknown_parameters(estimator: str, params: Iterable[str], where: str) -> Iterator[str]:
    cls = estimator.rpartition(".")[2]
    known = [name for name in parameters(estimator) if name not in SET_BY_THE_PIPELINE]
    for name in params:
        if name in SET_BY_THE_PIPELINE:
            yield f"{where}.{name}: leave it out; {SET_BY_THE_PIPELINE[name]}."
        elif name not in known:
            near = difflib.get_close_matches(name, known, n=3) or sorted(known)
            yield (f"{where}.{name}: {cls} has no such parameter. Nearest: {', '.join(near)}.")


@lru_cache(maxsize=256)  # reading a signature costs as much as a small fit
def parameters(estimator: str) -> tuple[str, ...]:
    """Names of an estimator's parameters; XGBoost's are in no signature."""
    cls = estimator_class(estimator, task=None)
    if cls.__module__.startswith("sklearn."):
        return tuple(inspect.signature(cls).parameters)
    return tuple(cls().get_params(deep=False))


def _value_problems(
    cls: type[BaseEstimator], name: str, candidate: CandidateConfig, seed: int, task: Task
) -> Iterator[str]:
    """What scikit-learn itself says of the values; it would say so at each fit."""
    if not cls.__module__.startswith("sklearn."):
        return  # these look at their values in fit alone
    where = "search" if candidate.search else "params"
    for plain in expand_search({name: candidate}, seed).values():
        try:
            model = cls(**plain.params)
            model._validate_params()
        except (TypeError, ValueError) as error:
            yield f"{where}: {error}"
            continue
        if task == "classification" and not hasattr(model, "predict_proba"):
            yield (
                f"estimator: {cls.__name__} gives no probabilities with these parameters "
                "(it has no predict_proba), and predictions hold one a class. Choose another."
            )


def _wanted(task: Task | None) -> str:
    return {None: "regressor or classifier", "classification": "classifier"}.get(task, "regressor")


def _is_of(task: Task | None, found: Any) -> bool:
    kinds: tuple[Any, ...] = (RegressorMixin, ClassifierMixin)
    if task is not None:
        kinds = (ClassifierMixin,) if task == "classification" else (RegressorMixin,)
    return (
        inspect.isclass(found)
        and issubclass(found, BaseEstimator)
        and issubclass(found, kinds)
        and not inspect.isabstract(found)
        and found.__module__.partition(".")[0] in ("sklearn", *EXTRAS)
        and callable(getattr(found, "fit", None))
        and callable(getattr(found, "predict", None))
    )
