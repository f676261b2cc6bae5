"""When failed fits fail the run."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import StageFailed
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


def made_fits(leaderboard: pa.Table) -> pa.Table:
    """The fits that were tried: no skipped ones, no baselines, a pooled fit once."""
    own = pc.is_in(leaderboard.column("scope"), value_set=pa.array(["own", "blend"]))
    pooled = pc.and_(
        pc.equal(leaderboard.column("scope"), "pooled"),
        pc.equal(leaderboard.column("segment"), ALL),
    )
    tried = pc.not_equal(leaderboard.column("status"), "skipped")
    return leaderboard.filter(pc.and_(tried, pc.or_(own, pooled)))


def error_counts(leaderboard: pa.Table) -> list[ErrorCount]:
    """Equal errors of a candidate counted together, the most frequent first."""
    made = made_fits(leaderboard)
    failed = made.filter(pc.equal(made.column("status"), "failed"))
    counted = failed.group_by(["candidate", "error"]).aggregate(
        [("segment", "count"), ("segment", "min")]
    )
    found = [
        ErrorCount(row["candidate"], row["error"] or "", row["segment_count"], row["segment_min"])
        for row in counted.to_pylist()
    ]
    return sorted(found, key=lambda e: (-e.count, e.candidate, e.error))


def check_failures(leaderboard: pa.Table, max_failed_share: float) -> None:
    """Fail when too many fits have failed, or all of them.

    Raises:
        StageFailed: more than ``max_failed_share`` of the fits that were tried have failed, or
            each one has; it names the most frequent errors.
    """
    made = made_fits(leaderboard).num_rows
    errors = error_counts(leaderboard)
    failed = sum(error.count for error in errors)
    if not made or (failed / made <= max_failed_share and failed < made):
        return
    lines = [
        f"  {e.candidate}: {e.error} ({e.count} fits, as in {e.segment})" for e in errors[:_SHOWN]
    ]
    if len(errors) > _SHOWN:
        lines.append(f"  and {len(errors) - _SHOWN} other errors, all in the leaderboard")
    raise StageFailed(
        f"{failed} of {made} fits failed; train.max_failed_share allows "
        f"{max_failed_share:.0%}:\n" + "\n".join(lines),
        hint="Mend or remove these candidates, or raise train.max_failed_share.",
    )
