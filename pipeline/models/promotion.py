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
) -> Decision:
    """Whether a challenger replaces the champion.

    All three are errors on the same held-out rows; lower is better. The challenger must beat the
    champion by the margin, and be no worse than the baseline (a challenger may be the baseline).

    Args:
        champion_score: None where there is no champion yet.
        challenger_score: error of the challenger.
        baseline_score: None where there is none to compare with.
        margin: share of the champion's error, 0.01 for one per cent.
    """
    if not math.isfinite(challenger_score):
        return Decision(False, f"the challenger's score is {challenger_score}")
    if baseline_score is not None and challenger_score > baseline_score:
        return Decision(
            False, f"challenger {challenger_score:.6g} is worse than baseline {baseline_score:.6g}"
        )
    if champion_score is None or not math.isfinite(champion_score):
        return Decision(True, "there is no champion yet")
    limit = champion_score * (1 - margin)
    better = challenger_score < limit
    comparison = "beats" if better else "does not beat"
    return Decision(
        better,
        f"challenger {challenger_score:.6g} {comparison} champion {champion_score:.6g} "
        f"by the margin of {margin:.2%}",
    )
