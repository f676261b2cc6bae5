"""In which rounds the fits are made, and which candidates are given up between two rounds.

Without halving and without a budget there is one round of all fits. With halving there is one for
each fold, the most recent first, and after each only the best candidates of a segment go on. With
a budget, and no halving, there is one for each candidate in the declared order (those that are one
computation together), so that what is done when the time is up is whole for every segment.

Pure: what is dropped depends on scores alone, not on the order of work.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.config.train import CandidateConfig, TrainConfig
from pipeline.training.eligible import halved
from pipeline.training.families import families
from pipeline.training.objective import Objective, greater_is_better
from pipeline.training.result import FitResult
from pipeline.training.segments import ALL

Dropped = dict[str, Mapping[str, str]]
"""By segment, ``*`` for the pooled ones: the candidates that were given up, and why."""

_DIGITS = 9
"""Significant digits of a score that rank a candidate; sharing work may change the later ones."""


@dataclass(frozen=True)
class Round:
    """The fits of some candidates on some folds, of each segment and of all rows."""

    candidates: frozenset[str]
    folds: tuple[int, ...]


def plan_rounds(train: TrainConfig, folds: int, objective: Objective) -> list[Round]:
    """The rounds of a training, in order; together they hold every candidate on every fold.

    Args:
        train: with plain candidates.
        folds: how many there are, the most recent last.
        objective: what is predicted; it decides which candidates are one computation.
    """
    every = frozenset(train.candidates)
    if train.halving is not None:
        return [Round(every, (fold,)) for fold in reversed(range(folds))]
    if train.budget_seconds is not None:
        groups = _groups(train.candidates, objective)
        return [Round(group, tuple(range(folds))) for group in groups]
    return [Round(every, tuple(range(folds)))]


def _groups(
    candidates: Mapping[str, CandidateConfig], objective: Objective
) -> list[frozenset[str]]:
    found = []
    for scope in ("segment", "pooled"):
        of_scope = {n: c for n, c in candidates.items() if c.scope == scope}
        found += [frozenset(names) for names, _ in families(of_scope, 0, objective)]
    order = {name: place for place, name in enumerate(candidates)}
    return sorted(found, key=lambda group: min(order[name] for name in group))


def halve(
    results: Iterable[FitResult],
    dropped: Dropped,
    train: TrainConfig,
    *,
    rounds_done: int,
) -> None:
    """Give up the candidates that are not among the best so far; adds to ``dropped``.

    Of n candidates that are still in, ceil(n / factor) with the best mean score over the folds
    that are done go on; of equal ones those declared first. One that failed on a fold comes last.
    Where no candidate was scored (too few rows in these folds), all go on.

    Args:
        results: fits of whole segments; other scopes than own ones of segments and pooled ones of
            ``*`` do not count.
        dropped: by segment, what was given up before.
        train: with plain candidates, and ``halving``.
        rounds_done: folds that results may be of.
    """
    assert train.halving is not None
    order = {name: place for place, name in enumerate(train.candidates)}
    sign = -1 if greater_is_better(train.scorer) else 1
    by_segment: dict[str, dict[str, list[FitResult]]] = defaultdict(lambda: defaultdict(list))
    for fit in results:
        if fit.scope == "own" or (fit.scope == "pooled" and fit.segment == ALL):
            by_segment[fit.segment][fit.candidate].append(fit)
    for segment, fits in by_segment.items():
        gone = dropped.get(segment, {})
        errors = {
            name: error
            for name, found in fits.items()
            if name not in gone and (error := _mean_error(found, sign)) is not None
        }
        if not any(map(math.isfinite, errors.values())):
            continue
        ranked = sorted(errors, key=lambda n: (errors[n], order[n]))
        keep = math.ceil(len(ranked) / train.halving.factor)
        late = {
            name: halved(place, len(ranked), rounds_done)
            for place, name in enumerate(ranked, start=1)
            if place > keep
        }
        if late:
            dropped[segment] = {**gone, **late}


def _mean_error(fits: Sequence[FitResult], sign: int) -> float | None:
    """Mean over the folds, infinite where one failed; None where none was worth a fit."""
    tried = [fit for fit in fits if fit.status != "skipped"]
    if not tried:
        return None
    if any(fit.status == "failed" or fit.score is None for fit in tried):
        return math.inf
    mean = math.fsum(fit.score or 0.0 for fit in tried) / len(tried)
    return sign * float(f"{mean:.{_DIGITS}g}")
