"""The rule by which a challenger becomes champion."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Decision:
    promote: bool
    reason: str


def decide(
    champion_score: float | None,
    challenger_score: float,
    baseline_score: float | None,
    margin: float = 0.0,
    *,
    greater_is_better: bool = False,
) -> Decision:
    """Whether a challenger replaces the champion.

    All three are scores on the same held-out rows. The challenger must beat the champion by the
    margin, and the baseline by as much; without a margin it may equal the baseline.

    Args:
        champion_score: None where there is no champion yet.
        challenger_score: that of the challenger.
        baseline_score: None where there is none to compare with, or the challenger is the baseline.
        margin: share of the other's score, without its sign; 0.01 for one per cent.
        greater_is_better: of the scores; errors are not.
    """
    sign = -1 if greater_is_better else 1
    if not math.isfinite(challenger_score):
        return Decision(False, f"the challenger's score is {challenger_score}")
    error = sign * challenger_score
    if baseline_score is not None and error > _limit(sign * baseline_score, margin):
        return Decision(
            False,
            f"challenger {challenger_score:.6g} does not beat baseline {baseline_score:.6g} "
            f"by the margin of {margin:.2%}",
        )
    if champion_score is None or not math.isfinite(champion_score):
        return Decision(True, "there is no champion yet")
    better = error < _limit(sign * champion_score, margin)
    comparison = "beats" if better else "does not beat"
    return Decision(
        better,
        f"challenger {challenger_score:.6g} {comparison} champion {champion_score:.6g} "
        f"by the margin of {margin:.2%}",
    )


def _limit(error: float, margin: float) -> float:
    """An error less the margin; that of a score of which more is better may be below zero."""
    return error * (1 - margin) if error >= 0 else error * (1 + margin)
