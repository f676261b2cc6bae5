"""When failed fits fail the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.errors import StageFailed
from pipeline.training.result import FitResult
from pipeline.training.segments import ALL

_SHOWN = 5


@dataclass(frozen=True)
class ErrorCount:
    """Fits of one candidate that failed with the same error."""

    candidate: str
    error: str
    count: int
    segment: str
    """The first of them by key, as an example."""


def made_fits(results: Iterable[FitResult]) -> list[FitResult]:
    """The fits that were tried: no skipped ones, no baselines, a pooled fit once."""
    return [
        fit
        for fit in results
        if fit.status != "skipped"
        and (fit.scope == "own" or (fit.scope == "pooled" and fit.segment == ALL))
    ]


def error_counts(results: Iterable[FitResult]) -> list[ErrorCount]:
    """Equal errors of a candidate counted together, the most frequent first."""
    failed = [fit for fit in made_fits(results) if fit.status == "failed"]
    counts = Counter((fit.candidate, fit.error or "") for fit in failed)
    example: dict[tuple[str, str], str] = {}
    for fit in sorted(failed, key=lambda fit: fit.segment):
        example.setdefault((fit.candidate, fit.error or ""), fit.segment)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [ErrorCount(*key, count, example[key]) for key, count in ordered]


def check_failures(results: Sequence[FitResult], max_failed_share: float) -> None:
    """Fail when too many fits have failed, or all of them.

    Raises:
        StageFailed: more than ``max_failed_share`` of the fits that were tried have failed, or
            each one has; it names the most frequent errors.
    """
    made = made_fits(results)
    failed = sum(fit.status == "failed" for fit in made)
    if not made or (failed / len(made) <= max_failed_share and failed < len(made)):
        return
    errors = error_counts(results)
    lines = [
        f"  {e.candidate}: {e.error} ({e.count} fits, as in {e.segment})" for e in errors[:_SHOWN]
    ]
    if len(errors) > _SHOWN:
        lines.append(f"  and {len(errors) - _SHOWN} other errors, all in the leaderboard")
    raise StageFailed(
        f"{failed} of {len(made)} fits failed; train.max_failed_share allows "
        f"{max_failed_share:.0%}:\n" + "\n".join(lines),
        hint="Mend or remove these candidates, or raise train.max_failed_share.",
    )
