"""Which fits are worth making: the reasons why one is skipped, in one place."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.training.result import FitResult

ONE_CLASS = "one class alone in the training rows"

HALVED = "dropped by halving"
NO_TIME = "not made within train.budget_seconds"
"""How the reasons begin of fits that might have been made."""


def halved(place: int, of: int, folds: int) -> str:
    """Why a candidate's fits on more folds are not made: it was not among the best."""
    s = "" if folds == 1 else "s"
    return f"{HALVED}: number {place} of {of} after {folds} fold{s}"


def no_time(seconds: float) -> str:
    """Why a fit was not made: the budget was used up."""
    return f"{NO_TIME} = {seconds:g}"


def was_halved(fit: FitResult) -> bool:
    return fit.status == "skipped" and (fit.error or "").startswith(HALVED)


def had_no_time(fit: FitResult) -> bool:
    return fit.status == "skipped" and (fit.error or "").startswith(NO_TIME)


def too_few_to_fit(rows: int, min_rows: int) -> str | None:
    """Why a segment gets no model of its own, or None if it does.

    Args:
        rows: training rows of the segment, over all of the training period.
        min_rows: ``train.min_rows``.
    """
    return f"{rows} training rows, fewer than min_rows = {min_rows}" if rows < min_rows else None


def too_few_to_score(rows_valid: int, min_validation_rows: int) -> str | None:
    """Why a fold of a segment is not scored, or None if it is."""
    if rows_valid >= min_validation_rows:
        return None
    return f"{rows_valid} validation rows, fewer than min_validation_rows = {min_validation_rows}"


def fold_skipped(
    rows_train: int, rows_valid: int, *, rows: int, min_rows: int, min_validation_rows: int
) -> str | None:
    """Why a segment's own fit on one fold is skipped, or None if it is to be made.

    Args:
        rows_train: training rows of the fold.
        rows_valid: validation rows of the fold.
        rows: training rows of the segment, over all of the training period.
        min_rows: ``train.min_rows``.
        min_validation_rows: ``train.min_validation_rows``.
    """
    if reason := too_few_to_fit(rows, min_rows):
        return reason
    if rows_train < 2:
        return f"{rows_train} training rows in this fold"
    return too_few_to_score(rows_valid, min_validation_rows)


def skipped_fits(
    segment: str, fold: int, rows_train: int, rows_valid: int, why: Mapping[str, str | None]
) -> list[FitResult]:
    """The leaderboard's rows for own fits that are not made: by candidate the reason, if any."""
    return [
        FitResult(segment, name, "own", fold, "skipped", None, rows_train, rows_valid, error=reason)
        for name, reason in why.items()
        if reason is not None
    ]
