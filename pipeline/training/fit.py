"""One fit: prepare, fit, predict, score. It reports what goes wrong instead of raising it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline

from pipeline.config.train import CandidateConfig
from pipeline.models.entry import Scope
from pipeline.training.array_checks import quick_array_checks
from pipeline.training.blocks import Blocks, FoldMatrices, Sides, clip_target, to_blocks
from pipeline.training.candidates import (
    Preparation,
    build_model,
    derive_seed,
    preparation,
    preparation_seed,
)
from pipeline.training.deadline import deadline
from pipeline.training.eligible import ONE_CLASS
from pipeline.training.families import (
    Family,
    families,
    ridge_predictions,
    seed_name,
    staged_predictions,
)
from pipeline.training.labels import labels
from pipeline.training.matrix import Floats
from pipeline.training.objective import PLAIN, Objective, outputs
from pipeline.training.result import FitResult, error_text
from pipeline.training.scorers import UndefinedScore, score, score_all
from pipeline.training.segments import ALL
from pipeline.training.threads import limited

Rows = npt.NDArray[np.intp]


class FoldData:
    """The rows of one fold; what candidates have in common is prepared at most once.

    Args:
        blocks: (n_samples,) features of the segment's rows.
        y: (n_samples,) float64 target; of classes their positions.
        train_rows: (n_train,) positions of the rows to fit on.
        valid_rows: (n_valid,) positions of the rows to score on.
        weight: (n_samples,) what each row counts; None where all count alike.
    """

    def __init__(
        self,
        blocks: Blocks,
        y: Floats,
        train_rows: Rows,
        valid_rows: Rows,
        weight: Floats | None = None,
    ) -> None:
        self._blocks = blocks
        self.y, self.weight = y, weight
        self.train_rows, self.valid_rows = train_rows, valid_rows
        self._train = blocks.take(train_rows)
        self._matrices = FoldMatrices(self._train, blocks.take(valid_rows), y[train_rows])
        self._prepared: dict[Preparation, Sides | Exception] = {}

    def alone(self) -> FoldData:
        """The same rows, with nothing prepared."""
        return FoldData(self._blocks, self.y, self.train_rows, self.valid_rows, self.weight)

    def weights(self, rows: Rows) -> Floats | None:
        return None if self.weight is None else self.weight[rows]

    def preparation(self, candidate: CandidateConfig, seed: int = 0) -> Preparation:
        """What a candidate asks for; ``seed`` is that of :func:`preparation_seed`."""
        rows = self._train
        return preparation(candidate, rows.numeric, rows.categorical, rows.empty, seed)

    def prepared(self, wanted: Preparation) -> Sides:
        """Training and validation matrix, by a transformer fitted on the training rows alone."""
        if wanted not in self._prepared:
            try:
                # Not counted: only the first of those that share it would have the warning.
                with warnings.catch_warnings(action="ignore"):
                    self._prepared[wanted] = self._matrices.prepare(wanted)
            except (MemoryError, TimeoutError):
                raise  # of this fit, not of the preparation
            except Exception as error:
                # Kept, so that it fails each candidate that shares it, not the first alone.
                self._prepared[wanted] = error
        found = self._prepared[wanted]
        if isinstance(found, Exception):
            raise found
        return found


@dataclass(frozen=True)
class FitOptions:
    """How the fits of a fold are made. None of it depends on the order of work.

    Attributes:
        segment: key of the segment, ``*`` for all rows; with the candidate and the fold it sets the
            seed of the fit.
        fold: number of the fold.
        seed: the configuration's seed.
        objective: what is predicted and how it is scored.
        threads: upper limit for BLAS and OpenMP, so that results do not depend on the cores.
        keep_predictions: return the predictions for the validation rows too.
        share: compute once what candidates have in common; the results are the same.
        timeout_seconds: a fit that takes longer has failed.
        expendable: whether the process may end with a fit that does not come back.
    """

    segment: str = ALL
    fold: int = 0
    seed: int = 0
    objective: Objective = PLAIN
    threads: int = 1
    keep_predictions: bool = False
    share: bool = True
    timeout_seconds: float | None = None
    expendable: bool = False

    @property
    def preparation_seed(self) -> int:
        """One for all candidates, so that they can share what is prepared."""
        return preparation_seed(self.seed, self.segment, self.fold)


def fit_and_score(
    X: pd.DataFrame,
    y: Floats,
    candidate: CandidateConfig,
    train_rows: Rows,
    test_rows: Rows,
    *,
    name: str,
    categorical: Sequence[str] = (),
    options: FitOptions | None = None,
) -> FitResult:
    """Fit a candidate on some rows and score it on others. See :func:`fit_fold`.

    Args:
        X: (n_samples, n_features) as :func:`~pipeline.training.matrix.to_features` gives it.
        y: (n_samples,) float64 target; of classes their positions.
        candidate: its configuration.
        train_rows: (n_train,) positions of the rows to fit on.
        test_rows: (n_test,) positions of the rows to score on.
        name: the candidate's name, which is part of the seed.
        categorical: the columns of X that hold categories; the others hold numbers.
        options: how to fit; left out, with the defaults.
    """
    data = FoldData(to_blocks(X, categorical), y, train_rows, test_rows)
    return fit_fold(data, {name: candidate}, options or FitOptions())[0]


def fit_fold(
    data: FoldData, candidates: Mapping[str, CandidateConfig], options: FitOptions
) -> list[FitResult]:
    """Fit and score candidates on one fold, in their order.

    The results are those of fitting each candidate alone. A fit that raises, does not converge,
    takes too long or predicts what is not finite is ``failed``, with its reason; one whose rows
    allow no fit or no score (one class, no weight) is ``skipped``. Nothing but MemoryError and
    interrupts leaves this function.
    """
    if reason := _no_fit(data, options.objective):
        blanks = [_blank(data, name, candidate, options) for name, candidate in candidates.items()]
        return [replace(blank, status="skipped", error=reason) for blank in blanks]
    found: dict[str, FitResult] = {}
    with limited(options.threads), _trusted_parameters(), quick_array_checks():
        if not options.share:
            for name, candidate in candidates.items():
                found[name] = _fit_alone(data.alone(), name, candidate, options)
            return list(found.values())
        for names, family in families(candidates, len(data.train_rows), options.objective):
            members = {name: candidates[name] for name in names}
            together = family and _fit_family(data, family, members, options)
            for name, candidate in members.items():
                found[name] = (
                    together[name] if together else _fit_alone(data, name, candidate, options)
                )
    return [found[name] for name in candidates]


def _no_fit(data: FoldData, objective: Objective) -> str | None:
    if objective.classes and len(np.unique(data.y[data.train_rows])) == 1:
        return ONE_CLASS
    if data.weight is not None and not data.weight[data.train_rows].sum() > 0:
        return "the training rows have no weight"
    return None


def _fit_alone(
    data: FoldData, name: str, candidate: CandidateConfig, options: FitOptions
) -> FitResult:
    blank = _blank(data, name, candidate, options)
    caught: list[warnings.WarningMessage] = []
    started = time.perf_counter()
    try:
        with _recorded(caught), deadline(options.timeout_seconds, expendable=options.expendable):
            wanted = data.preparation(candidate, options.preparation_seed)
            train, valid = data.prepared(wanted)
            model = _fitted(data, name, candidate, options, wanted, train)
            objective = options.objective
            predictions = outputs(model, valid, objective.classes, objective.quantiles)
        _refuse_bad_fit(caught, predictions)
        scored = _scored(blank, data, predictions, options)
    except UndefinedScore as error:
        return replace(blank, status="skipped", warnings=len(caught), error=str(error))
    except MemoryError:
        raise
    except Exception as error:
        seconds = time.perf_counter() - started
        return replace(blank, warnings=len(caught), error=error_text(error), seconds=seconds)
    return replace(scored, warnings=len(caught), seconds=time.perf_counter() - started)


def _fit_family(
    data: FoldData, family: Family, members: Mapping[str, CandidateConfig], options: FitOptions
) -> dict[str, FitResult] | None:
    """Every member from one computation; None where each must be fitted alone.

    That is where anything goes wrong, so that each member has its own error, or none.
    """
    caught: list[warnings.WarningMessage] = []
    started = time.perf_counter()
    found = {}
    try:
        with _recorded(caught), deadline(options.timeout_seconds, expendable=options.expendable):
            every = _family_predictions(data, family, members, options)
        for name, predictions in zip(family.names, every, strict=True):
            _refuse_bad_fit(caught, predictions)
            blank = _blank(data, name, members[name], options)
            found[name] = replace(_scored(blank, data, predictions, options), warnings=len(caught))
    except MemoryError:
        raise
    except Exception:
        # Not reported here: fitted alone, the member that it comes from reports it as its own.
        return None
    share = (time.perf_counter() - started) / len(found)
    return {name: replace(result, seconds=share) for name, result in found.items()}


def _family_predictions(
    data: FoldData, family: Family, members: Mapping[str, CandidateConfig], options: FitOptions
) -> list[Floats]:
    largest = max(zip(family.values, family.names, strict=True))[1]
    candidate = members[largest]
    wanted = data.preparation(candidate, options.preparation_seed)
    train, valid = data.prepared(wanted)
    if family.staged:
        model = _fitted(data, largest, candidate, options, wanted, train)
        return staged_predictions(model, valid, family.values, options.objective.classes)
    y = clip_target(data.y[data.train_rows], candidate.clip)
    intercept = bool(candidate.params.get("fit_intercept", True))
    weight = data.weights(data.train_rows)
    return ridge_predictions(train, y, valid, family.values, fit_intercept=intercept, weight=weight)


def _blank(data: FoldData, name: str, candidate: CandidateConfig, options: FitOptions) -> FitResult:
    scope: Scope = "pooled" if candidate.scope == "pooled" else "own"
    rows_train, rows_valid = len(data.train_rows), len(data.valid_rows)
    return FitResult(
        options.segment, name, scope, options.fold, "failed", None, rows_train, rows_valid
    )


def _fitted(
    data: FoldData,
    name: str,
    candidate: CandidateConfig,
    options: FitOptions,
    wanted: Preparation,
    train: Floats,
) -> BaseEstimator:
    seed = derive_seed(options.seed, options.segment, seed_name(name, candidate), options.fold)
    weight = data.weights(data.train_rows)
    given = {} if weight is None else {"sample_weight": weight}
    y = _target(data.y[data.train_rows], candidate, options.objective)
    return build_model(candidate, wanted, seed, options.objective.quantiles).fit(train, y, **given)


def _target(y: Floats, candidate: CandidateConfig, objective: Objective) -> npt.NDArray[Any]:
    """What the model is fitted to: numbers, or names of classes, which it then knows by itself."""
    return labels(y, objective.classes) if objective.classes else clip_target(y, candidate.clip)


def _scored(
    blank: FitResult, data: FoldData, predictions: Floats, options: FitOptions
) -> FitResult:
    given = (data.y[data.valid_rows], predictions, data.weights(data.valid_rows))
    return replace(
        blank,
        status="ok",
        score=score(options.objective, *given),
        also=tuple(score_all(options.objective, *given).values()),
        predictions=predictions if options.keep_predictions else None,
    )


def fit_final(
    X: pd.DataFrame,
    y: Floats,
    candidate: CandidateConfig,
    *,
    name: str,
    categorical: Sequence[str] = (),
    segment: str = ALL,
    seed: int = 0,
    threads: int = 1,
    objective: Objective = PLAIN,
    weight: Floats | None = None,
) -> Pipeline:
    """Fit a champion on all its training rows.

    Returns:
        A fitted pipeline that predicts from X's columns; see
        :func:`~pipeline.training.objective.outputs`.

    Raises:
        Exception: whatever the estimator raises; a champion that cannot be fitted has no model.
    """
    numeric = [str(column) for column in X.columns if column not in categorical]
    empty = [column for column in numeric if X[column].isna().all()]
    shared = preparation_seed(seed, segment, "final")
    wanted = preparation(candidate, numeric, categorical, empty, shared)
    final_seed = derive_seed(seed, segment, seed_name(name, candidate), "final")
    model: BaseEstimator = build_model(candidate, wanted, final_seed, objective.quantiles)
    given = {} if weight is None else {"model__sample_weight": weight}
    pipeline = Pipeline([("prepare", wanted.transformer()), ("model", model)])
    caught: list[warnings.WarningMessage] = []
    with _recorded(caught), limited(threads):
        pipeline.fit(X, _target(y, candidate, objective), **given)
    return pipeline


@contextmanager
def _recorded(caught: list[warnings.WarningMessage]) -> Iterator[None]:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            caught.extend(seen)


def _trusted_parameters() -> Any:
    # check_candidates has validated them once; doing so again is a large part of a tiny fit.
    return config_context(skip_parameter_validation=True)


def _refuse_bad_fit(caught: list[warnings.WarningMessage], predictions: Floats) -> None:
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            raise ConvergenceWarning(str(warning.message))
    if not np.isfinite(predictions).all():
        raise ValueError("the predictions for the validation rows are not all finite")
