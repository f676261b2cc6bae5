"""One fit: prepare, fit, predict, score. It reports what goes wrong instead of raising it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
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
from pipeline.training.blocks import Blocks, prepare, to_blocks
from pipeline.training.candidates import Preparation, build_model, derive_seed, preparation
from pipeline.training.matrix import Floats
from pipeline.training.result import FitResult, error_text
from pipeline.training.scorers import Scorer, score
from pipeline.training.segments import ALL
from pipeline.training.threads import limited

Rows = npt.NDArray[np.intp]


@dataclass
class FoldData:
    """The rows of one fold, prepared at most once for each distinct :class:`Preparation`.

    Args:
        X: (n_samples, n_features) as :func:`~pipeline.training.matrix.to_features` gives it.
        y: (n_samples,) float64 target.
        train_rows: (n_train,) positions of the rows to fit on.
        valid_rows: (n_valid,) positions of the rows to score on.
        categorical: the columns of X that hold categories; the others hold numbers.
    """

    X: pd.DataFrame
    y: Floats
    train_rows: Rows
    valid_rows: Rows
    categorical: tuple[str, ...] = ()
    _prepared: dict[Preparation, tuple[Floats, Floats] | Exception] = field(
        default_factory=dict, init=False, repr=False
    )

    @cached_property
    def _sides(self) -> tuple[Blocks, Blocks]:
        blocks = to_blocks(self.X, self.categorical)
        return blocks.take(self.train_rows), blocks.take(self.valid_rows)

    def preparation(self, candidate: CandidateConfig) -> Preparation:
        training = self._sides[0]
        return preparation(candidate, training.numeric, training.categorical, training.empty)

    def prepared(self, wanted: Preparation) -> tuple[Floats, Floats]:
        """Training and validation matrix, by a transformer fitted on the training rows alone."""
        if wanted not in self._prepared:
            try:
                # Not counted: only the first of those that share it would have the warning.
                with warnings.catch_warnings(action="ignore"):
                    self._prepared[wanted] = prepare(wanted, *self._sides)
            except (MemoryError, TimeoutError):
                raise  # of this fit, not of the preparation
            except Exception as error:
                # Kept, so that it fails each candidate that shares it, not the first alone.
                self._prepared[wanted] = error
        found = self._prepared[wanted]
        if isinstance(found, Exception):
            raise found
        return found


def fit_and_score(
    X: pd.DataFrame,
    y: Floats,
    candidate: CandidateConfig,
    train_rows: Rows,
    test_rows: Rows,
    *,
    name: str,
    categorical: Sequence[str] = (),
    segment: str = ALL,
    fold: int = 0,
    seed: int = 0,
    scorer: Scorer = "rmse",
    threads: int = 1,
    keep_predictions: bool = False,
) -> FitResult:
    """Fit a candidate on some rows and score it on others. See :func:`fit_fold`."""
    data = FoldData(X, y, train_rows, test_rows, tuple(categorical))
    return fit_fold(
        data,
        {name: candidate},
        segment=segment,
        fold=fold,
        seed=seed,
        scorer=scorer,
        threads=threads,
        keep_predictions=keep_predictions,
    )[0]


def fit_fold(
    data: FoldData,
    candidates: dict[str, CandidateConfig],
    *,
    segment: str,
    fold: int,
    seed: int,
    scorer: Scorer,
    threads: int = 1,
    keep_predictions: bool = False,
) -> list[FitResult]:
    """Fit and score candidates on one fold, sharing what their preparations share.

    The results are those of fitting each candidate alone. A fit that raises, does not converge or
    predicts what is not finite is ``failed``, with its reason; nothing but MemoryError and
    interrupts leaves this function.

    Args:
        data: the fold's rows.
        candidates: by name.
        segment: key of the segment, ``*`` for all rows; with the name and the fold it sets the
            seed of the fit.
        fold: number of the fold.
        seed: the configuration's seed.
        scorer: ``rmse`` or ``mae``.
        threads: upper limit for BLAS and OpenMP, so that results do not depend on the cores.
        keep_predictions: return the predictions for the validation rows too.
    """
    results = []
    for name, candidate in candidates.items():
        scope: Scope = "pooled" if candidate.scope == "pooled" else "own"
        blank = FitResult(
            segment, name, scope, fold, "failed", None, len(data.train_rows), len(data.valid_rows)
        )
        own_seed = derive_seed(seed, segment, name, fold)
        started = time.perf_counter()
        result = _fit_one(blank, data, candidate, own_seed, scorer, threads)
        if not keep_predictions:
            result = replace(result, predictions=None)
        results.append(replace(result, seconds=time.perf_counter() - started))
    return results


def _fit_one(
    blank: FitResult,
    data: FoldData,
    candidate: CandidateConfig,
    seed: int,
    scorer: Scorer,
    threads: int,
) -> FitResult:
    caught: list[warnings.WarningMessage] = []
    try:
        with _recorded(caught), limited(threads), _trusted_parameters():
            wanted = data.preparation(candidate)
            train, valid = data.prepared(wanted)
            y_train = clip_target(data.y[data.train_rows], candidate.clip)
            model = build_model(candidate, wanted, seed).fit(train, y_train)
            predictions = np.asarray(model.predict(valid), dtype=np.float64).reshape(-1)
        _refuse_bad_fit(caught, predictions)
    except MemoryError:
        raise
    except Exception as error:
        return replace(blank, warnings=len(caught), error=error_text(error))
    value = score(scorer, data.y[data.valid_rows], predictions)
    return replace(blank, status="ok", score=value, warnings=len(caught), predictions=predictions)


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
) -> Pipeline:
    """Fit a champion on all its training rows.

    Returns:
        A fitted pipeline that predicts from X's columns.

    Raises:
        Exception: whatever the estimator raises; a champion that cannot be fitted has no model.
    """
    numeric = [str(column) for column in X.columns if column not in categorical]
    empty = [column for column in numeric if X[column].isna().all()]
    wanted = preparation(candidate, numeric, categorical, empty)
    model: BaseEstimator = build_model(candidate, wanted, derive_seed(seed, segment, name, "final"))
    pipeline = Pipeline([("prepare", wanted.transformer()), ("model", model)])
    caught: list[warnings.WarningMessage] = []
    with _recorded(caught), limited(threads):
        pipeline.fit(X, clip_target(y, candidate.clip))
    return pipeline


def clip_target(y: Floats, share: float | None) -> Floats:
    """(n_samples,) the target, cut at the quantiles ``share`` and ``1 - share``."""
    if share is None or len(y) == 0:
        return y
    low, high = np.quantile(y, [share, 1 - share])
    return np.clip(y, low, high)


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
