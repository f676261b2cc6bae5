"""Each segment's champion, from the scores of all fits. Pure and independent of their order."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pipeline.models.entry import Scope
from pipeline.training.eligible import too_few_to_fit
from pipeline.training.result import BASELINE, GLOBAL_BASELINE, FitResult
from pipeline.training.segments import ALL

_SIMPLICITY: dict[Scope, int] = {"baseline": 0, "pooled": 1, "own": 2}

_TIE = 1e-9
"""Relative difference of mean scores that rounding may make, and that decides nothing."""

Contenders = dict[tuple[Scope, str], dict[int, float]]


@dataclass(frozen=True)
class Champion:
    """The model that a segment's rows are predicted with, and why.

    Attributes:
        segment: its key; ``*`` for the champion of rows from segments not trained on.
        candidate: a candidate's name, ``baseline`` (the segment's own mean or median) or
            ``baseline of all segments``.
        scope: where the model was fitted.
        fallback: why the choice was narrowed, or None.
        mean_score: mean over ``folds`` of the error, in the target's unit; None if not scored.
        std: population standard deviation over ``folds``.
        baseline_score: the baseline's mean error over the same folds.
        folds: numbers of the folds that were compared.
    """

    segment: str
    candidate: str
    scope: Scope
    fallback: str | None
    mean_score: float | None
    std: float | None
    baseline_score: float | None
    folds: tuple[int, ...]


def choose_champions(
    results: Iterable[FitResult], rows: Mapping[str, int], min_rows: int
) -> dict[str, Champion]:
    """Choose for each segment, and for all of them together (``*``).

    Contenders are compared on the folds that all of them were scored on; the lowest mean error
    wins, and of equal ones the simplest: baseline, pooled, own, then by name. So no champion is
    worse than its baseline on its folds.

    Args:
        results: every fit: own, pooled seen from each segment and from ``*``, baselines.
        rows: training rows of each segment, by key; each gets a champion.
        min_rows: segments with fewer are not offered their own candidates.

    Returns:
        By segment key, ``*`` first.
    """
    by_segment: dict[str, list[FitResult]] = defaultdict(list)
    for result in results:
        by_segment[result.segment].append(result)
    overall = _choose_overall(by_segment[ALL])
    champions = {ALL: overall}
    for segment in sorted(rows):
        champions[segment] = _choose(segment, by_segment[segment], rows[segment], min_rows, overall)
    return champions


def _choose_overall(fits: list[FitResult]) -> Champion:
    chosen = _best(ALL, _contenders(fits, {"pooled", "baseline"}), fallback=None)
    if chosen is None or chosen.scope == "baseline":
        fallback = None if chosen else "no fold could be scored"
        chosen = replace(chosen or _unscored(ALL, GLOBAL_BASELINE, "baseline"), fallback=fallback)
        return replace(chosen, candidate=GLOBAL_BASELINE)
    return chosen


def _choose(
    segment: str, fits: list[FitResult], rows: int, min_rows: int, overall: Champion
) -> Champion:
    few = too_few_to_fit(rows, min_rows)
    scopes: set[Scope] = {"pooled", "baseline"} if few else {"own", "pooled", "baseline"}
    chosen = _best(segment, _contenders(fits, scopes), few or _all_failed(fits))
    if chosen is not None:
        return chosen
    reason = "; ".join(filter(None, (few, "no fold could be scored")))
    return replace(_unscored(segment, overall.candidate, overall.scope), fallback=reason)


def _contenders(fits: Iterable[FitResult], scopes: set[Scope]) -> Contenders:
    contenders: Contenders = defaultdict(dict)
    for fit in fits:
        if fit.status == "ok" and fit.score is not None and fit.scope in scopes:
            contenders[fit.scope, fit.candidate][fit.fold] = fit.score
    return dict(contenders)


def _best(segment: str, contenders: Contenders, fallback: str | None) -> Champion | None:
    if not contenders:
        return None
    folds, compared = _common_folds(contenders)
    means = {key: math.fsum(compared[key][f] for f in folds) / len(folds) for key in compared}
    lowest = min(means.values())
    tied = [key for key, mean in means.items() if mean <= lowest + _TIE * abs(lowest)]
    winner = min(tied, key=_simplest_first)
    return Champion(
        segment,
        candidate=winner[1],
        scope=winner[0],
        fallback=fallback,
        mean_score=means[winner],
        std=statistics.pstdev(compared[winner][fold] for fold in folds),
        baseline_score=means.get(("baseline", BASELINE)),
        folds=folds,
    )


def _common_folds(contenders: Contenders) -> tuple[tuple[int, ...], Contenders]:
    """The folds that every contender was scored on.

    A contender is left out only where keeping it would leave no fold at all; those scored on more
    folds, then the simpler, come first.
    """
    order = sorted(contenders, key=lambda key: (-len(contenders[key]), *_simplest_first(key)))
    common = set(contenders[order[0]])
    kept = {order[0]: contenders[order[0]]}
    for key in order[1:]:
        if shared := common & set(contenders[key]):
            common = shared
            kept[key] = contenders[key]
    return tuple(sorted(common)), kept


def _simplest_first(key: tuple[Scope, str]) -> tuple[int, str]:
    return _SIMPLICITY[key[0]], key[1]


def _all_failed(fits: list[FitResult]) -> str | None:
    own = [fit for fit in fits if fit.scope == "own" and fit.status != "skipped"]
    if own and all(fit.status == "failed" for fit in own):
        return "all candidates of its own failed"
    return None


def _unscored(segment: str, candidate: str, scope: Scope) -> Champion:
    return Champion(segment, candidate, scope, None, None, None, None, ())
