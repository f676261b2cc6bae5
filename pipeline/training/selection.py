"""Each segment's champion, from the scores of all fits. Pure and independent of their order."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.config.train import Select
from pipeline.models.entry import Scope
from pipeline.training.blends import AND
from pipeline.training.eligible import ONE_CLASS, had_no_time, too_few_to_fit, was_halved
from pipeline.training.parents import AT, Levels
from pipeline.training.result import BASELINE, GLOBAL_BASELINE, FitResult
from pipeline.training.segments import ALL

_SIMPLICITY: dict[Scope, int] = {
    "baseline": 0,
    "pooled": 1,
    "parent": 2,
    "own": 3,
    "blend": 4,
}

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
        scope: where the model was fitted; of ``parent`` the candidate is ``name@level``, of
            ``blend`` it is ``own&pooled``.
        fallback: why the choice was narrowed, or None.
        mean_score: mean over ``folds`` of the score that decides; None if not scored.
        std: population standard deviation over ``folds``.
        baseline_score: the baseline's mean score over the same folds.
        folds: numbers of the folds that were compared.
        fold_scores: the score on each of ``folds``.
    """

    segment: str
    candidate: str
    scope: Scope
    fallback: str | None
    mean_score: float | None
    std: float | None
    baseline_score: float | None
    folds: tuple[int, ...]
    fold_scores: tuple[float, ...] = ()
    parent: str | None = None
    """Of scope ``parent``, the key of the group that the model is fitted on."""

    @property
    def fit(self) -> tuple[str, str]:
        """Segment, group or ``*``, and candidate, of the model's last fit."""
        if self.scope == "pooled":
            return ALL, self.candidate
        if self.parent is not None:
            return self.parent, self.candidate.split(AT)[0]
        return self.segment, self.candidate


@dataclass(frozen=True)
class Parents:
    """What may stand in for segments without a fit of their own.

    Attributes:
        levels: above the segments, the nearest first.
        champions: by key of a group, the best of its own candidates.
    """

    levels: Levels
    champions: Mapping[str, Champion]

    def above(self, segment: str) -> dict[str, str]:
        """``candidate@level`` → key of the group, the nearest first."""
        return {
            f"{self.champions[group].candidate}{AT}{level}": group
            for level, group in self.levels.above(segment)
            if group in self.champions
        }


@dataclass(frozen=True)
class _Rule:
    """How the winner is chosen.

    Attributes:
        order: names of the candidates, from the simplest on.
        sign: what makes an error of a score, of which less is better: -1 where more is better.
    """

    select: Select
    order: tuple[str, ...]
    sign: int

    def simplest_first(self, key: tuple[Scope, str]) -> tuple[int, int, str]:
        scope, name = key
        plain = name.split(AT)[0].split(AND)[0]
        place = self.order.index(plain) if plain in self.order else len(self.order)
        return _SIMPLICITY[scope], place, name


def choose_champions(
    results: Iterable[FitResult],
    rows: Mapping[str, int],
    min_rows: int,
    *,
    select: Select = "best",
    order: Sequence[str] = (),
    greater_is_better: bool = False,
    parents: Parents | None = None,
) -> dict[str, Champion]:
    """Choose for each segment, and for all of them together (``*``).

    Contenders are compared on the folds that all of them were scored on. With ``best`` the best
    mean score wins, and of equal ones the simplest: baseline, pooled, parent, own, blend, then by
    name.

    A segment that no candidate of its own was scored for is offered the champions of the groups
    above it. Where no fold of it could be scored, the nearest of them stands in, or, if there is
    none, the champion of all.

    With ``one_standard_error`` the simplest wins of those whose mean is at most one standard error
    worse than the best (the sample standard deviation of that candidate's fold scores over the
    square root of their number; zero for one fold), simplest being: pooled, parent, own, blend,
    then by the declared ``order``. The baseline is what they are measured against: it wins only
    where it is itself the best, and none that is worse than it can win.

    So with either no champion is worse than its baseline on its folds.

    Args:
        results: every fit: own, pooled seen from each segment and from ``*``, baselines.
        rows: training rows of each segment, by key; each gets a champion.
        min_rows: segments with fewer are not offered their own candidates.
        select: the rule.
        order: names of the candidates, the simplest first; for ``one_standard_error``.
        greater_is_better: of the scores; errors are not.
        parents: champions of groups of segments; see :func:`choose_parents`.

    Returns:
        By segment key, ``*`` first.
    """
    by_segment: dict[str, list[FitResult]] = defaultdict(list)
    for result in results:
        by_segment[result.segment].append(result)
    declared = tuple(order) if select == "one_standard_error" else ()
    rule = _Rule(select, declared, sign=-1 if greater_is_better else 1)
    overall = _choose_overall(by_segment[ALL], rule)
    champions = {ALL: overall}
    for segment in sorted(rows):
        few = too_few_to_fit(rows[segment], min_rows)
        fits = by_segment[segment]
        above = {} if parents is None or _is_served(fits) else parents.above(segment)
        champions[segment] = _choose(segment, fits, few, above, overall, rule)
    return champions


def choose_parents(results: Iterable[FitResult], **rule: Any) -> dict[str, Champion]:
    """The champions of groups, by key; none where the group's baseline is as good.

    Args:
        results: of groups: their own candidates and their baselines.
        rule: see :func:`best_by_segment`.
    """
    found = best_by_segment(results, {"own", "baseline"}, **rule)
    return {group: best for group, best in found.items() if best.scope == "own"}


def best_by_segment(
    results: Iterable[FitResult],
    scopes: set[Scope],
    *,
    select: Select = "best",
    order: Sequence[str] = (),
    greater_is_better: bool = False,
) -> dict[str, Champion]:
    """The best among some scopes for each segment or group, by key; none where none was scored.

    Args:
        results: whole segments.
        scopes: that may win.
        select, order, greater_is_better: see :func:`choose_champions`.
    """
    by_segment: dict[str, list[FitResult]] = defaultdict(list)
    for result in results:
        by_segment[result.segment].append(result)
    declared = tuple(order) if select == "one_standard_error" else ()
    rule = _Rule(select, declared, sign=-1 if greater_is_better else 1)
    found = {
        segment: _best(segment, _contenders(fits, scopes), None, rule)
        for segment, fits in sorted(by_segment.items())
    }
    return {segment: best for segment, best in found.items() if best is not None}


def _is_served(fits: Iterable[FitResult]) -> bool:
    """Whether a candidate of the segment's own was scored."""
    return any(fit.scope == "own" and fit.status == "ok" for fit in fits)


def _choose_overall(fits: list[FitResult], rule: _Rule) -> Champion:
    chosen = _best(ALL, _contenders(fits, {"pooled", "baseline"}), None, rule)
    if chosen is None or chosen.scope == "baseline":
        fallback = None if chosen else "no fold could be scored"
        chosen = replace(chosen or _unscored(ALL, GLOBAL_BASELINE, "baseline"), fallback=fallback)
        return replace(chosen, candidate=GLOBAL_BASELINE)
    return chosen


def _choose(
    segment: str,
    fits: list[FitResult],
    few: str | None,
    above: Mapping[str, str],
    overall: Champion,
    rule: _Rule,
) -> Champion:
    scopes: set[Scope] = {"pooled", "baseline", "parent"}
    if not few:
        scopes |= {"own", "blend"}
    fallback = few or _all_failed(fits) or _one_class(fits) or _no_time(fits)
    offered = [fit for fit in fits if fit.scope != "parent" or fit.candidate in above]
    chosen = _best(segment, _contenders(offered, scopes), fallback, rule)
    if chosen is None:
        reason = "; ".join(filter(None, (fallback, "no fold could be scored")))
        name, scope = overall.candidate, overall.scope
        if above:
            name, scope = next(iter(above)), "parent"
        chosen = replace(_unscored(segment, name, scope), fallback=reason)
    return replace(chosen, parent=above[chosen.candidate]) if chosen.scope == "parent" else chosen


def _contenders(fits: Iterable[FitResult], scopes: set[Scope]) -> Contenders:
    """The scores of those that may win, by fold.

    What halving dropped may not. What a budget left no time for may only where nothing but
    baselines is whole.
    """
    contenders: Contenders = defaultdict(dict)
    halved, unfinished = set(), set()
    for fit in fits:
        if fit.scope not in scopes:
            continue
        key = (fit.scope, fit.candidate)
        if fit.status == "ok" and fit.score is not None:
            contenders[key][fit.fold] = fit.score
        elif was_halved(fit):
            halved.add(key)
        elif had_no_time(fit):
            unfinished.add(key)
    left = {key: scores for key, scores in contenders.items() if key not in halved}
    whole = {key: scores for key, scores in left.items() if key not in unfinished}
    return whole if any(scope != "baseline" for scope, _ in whole) else left


def _best(
    segment: str, contenders: Contenders, fallback: str | None, rule: _Rule
) -> Champion | None:
    if not contenders:
        return None
    folds, compared = _common_folds(contenders)
    scores = {key: tuple(by_fold[f] for f in folds) for key, by_fold in compared.items()}
    means = {key: math.fsum(values) / len(folds) for key, values in scores.items()}
    winner = _winner(scores, means, rule)
    return Champion(
        segment,
        candidate=winner[1],
        scope=winner[0],
        fallback=fallback,
        mean_score=means[winner],
        std=statistics.pstdev(scores[winner]),
        baseline_score=means.get(("baseline", BASELINE)),
        folds=folds,
        fold_scores=scores[winner],
    )


def _winner(
    scores: Mapping[tuple[Scope, str], tuple[float, ...]],
    means: Mapping[tuple[Scope, str], float],
    rule: _Rule,
) -> tuple[Scope, str]:
    errors = {key: rule.sign * mean for key, mean in means.items()}
    lowest = min(errors.values())
    tied = [key for key, error in errors.items() if error <= lowest + _TIE * abs(lowest)]
    best = min(tied, key=rule.simplest_first)
    if rule.select == "best" or best[0] == "baseline":
        return best
    limit = min(errors[best] + _standard_error(scores[best]), _baseline_error(errors))
    near = [key for key, error in errors.items() if key[0] != "baseline" and error <= limit]
    return min([best, *near], key=rule.simplest_first)


def _standard_error(scores: Sequence[float]) -> float:
    return statistics.stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else 0.0


def _baseline_error(errors: Mapping[tuple[Scope, str], float]) -> float:
    return min((error for key, error in errors.items() if key[0] == "baseline"), default=math.inf)


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


def _one_class(fits: list[FitResult]) -> str | None:
    own = [fit for fit in fits if fit.scope == "own"]
    alone = any(fit.error == ONE_CLASS for fit in own)
    return ONE_CLASS if alone and all(fit.status != "ok" for fit in own) else None


def _no_time(fits: list[FitResult]) -> str | None:
    late = next((fit.error for fit in fits if fit.scope == "own" and had_no_time(fit)), None)
    return late if late and not _is_served(fits) else None


def _unscored(segment: str, candidate: str, scope: Scope) -> Champion:
    return Champion(segment, candidate, scope, None, None, None, None, ())
